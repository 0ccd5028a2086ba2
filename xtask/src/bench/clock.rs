//! How far a run is, on stderr: a line for what is done, and on a terminal one for what is being done.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use crate::plan::{Group, Measure};

/// How far the run is.
pub(crate) struct Clock {
    start: Instant,
    /// Measures, and what they take in all, in an unknown unit.
    number: usize,
    count: usize,
    effort_done: f64,
    effort: f64,
    rounds: f64,
    terminal: bool,
}

impl Clock {
    pub(crate) fn new(groups: &[Group], rounds: usize) -> Self {
        let measures = || groups.iter().flat_map(|group| &group.measures);
        let mut clock = Self {
            start: Instant::now(),
            number: 0,
            count: measures().count(),
            effort_done: 0.0,
            effort: 0.0,
            rounds: rounds as f64,
            terminal: stderr().is_terminal(),
        };
        clock.effort = groups.iter().map(|group| clock.effort(group)).sum();
        clock
    }

    fn effort(&self, group: &Group) -> f64 {
        let measures = group.measures.iter();
        measures
            .map(|&measure| self.effort_of(group, measure))
            .sum()
    }

    /// All rounds of a measure, and filling the context for it.
    fn effort_of(&self, group: &Group, measure: Measure) -> f64 {
        let fill = match measure {
            Measure::Decode { depth, .. } => f64::from(depth) / 3.0,
            _ => 0.0,
        };
        (self.rounds * measure.effort() + fill) / (group.threads as f64).sqrt()
    }

    /// What is being done, where somebody looks on.
    pub(crate) fn show(&self, name: &str, round: usize, rounds: usize) {
        if self.terminal {
            let [spent, left] = self.times();
            eprint!(
                "\r\x1b[K[{}/{}] {name}: round {} of {rounds}; {spent} gone, about {left} left",
                self.number + 1,
                self.count,
                round + 1
            );
        }
    }

    pub(crate) fn done(&mut self, group: &Group, measure: Measure, found: &str) {
        self.number += 1;
        self.effort_done += self.effort_of(group, measure);
        let [spent, left] = self.times();
        self.say(&format!(
            "[{}/{}] {}: {} {}  ({spent} gone, about {left} left)",
            self.number,
            self.count,
            group.name(&measure),
            found,
            measure.unit()
        ));
    }

    pub(crate) fn say(&self, line: &str) {
        let line_start = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{line_start}{line}");
    }

    /// What is over, and what is to come at this pace.
    fn times(&self) -> [String; 2] {
        let spent = self.start.elapsed();
        let left = if self.effort_done > 0.0 {
            spent.mul_f64((self.effort / self.effort_done - 1.0).max(0.0))
        } else {
            Duration::ZERO
        };
        let text = |time: Duration| {
            let seconds = time.as_secs();
            format!("{}:{:02}", seconds / 60, seconds % 60)
        };
        let left = if self.effort_done > 0.0 {
            text(left)
        } else {
            "?".to_owned()
        };
        [text(spent), left]
    }
}

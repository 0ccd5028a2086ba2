//! Measuring in turns: in each round everyone does the same once, so that what the machine does besides hits all alike.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::clock::Clock;
use crate::driver::Driver;
use crate::machine::{gust_version, machine};
use crate::order::Order;
use crate::peers::{self, Peer, Peers, output};
use crate::plan::{self, Group, Measure, USUAL_CONTEXT};
use crate::results::{Results, Row, median, ratio};

/// Measures what is asked for, and hands over the rows of each measure when they are there.
pub(crate) fn measure(
    order: &Order,
    peers: &Peers,
    known: &Results,
    mut keep: impl FnMut(Vec<Row>) -> Result<()>,
) -> Result<()> {
    let run = Run {
        order,
        peers,
        gust_version: gust_version(),
        machine: machine(),
        date: output(Command::new("date").args(["-u", "+%F"]))?
            .trim()
            .to_owned(),
    };
    let groups = run.left(known)?;
    let mut clock = Clock::new(&groups, order.rounds);
    for group in &groups {
        if let Err(error) = run.group(group, &mut clock, &mut keep) {
            // The rest may still be measured, and what is missing can be asked for again.
            clock.say(&format!(
                "failed: {}/{}/{}: {error:#}",
                group.model, group.ty, group.threads
            ));
        }
    }
    Ok(())
}

struct Run<'a> {
    order: &'a Order,
    peers: &'a Peers,
    gust_version: String,
    machine: String,
    date: String,
}

/// One who takes part, and what has been found of it.
struct Participant<'a> {
    peer: &'a Peer,
    model: &'a Path,
    /// For speeds, it stays; for the others, there is a new one each time.
    driver: Option<Driver>,
    version: String,
    found: Vec<f64>,
    has_failed: bool,
}

impl Run<'_> {
    /// What is asked for and not known.
    fn left(&self, known: &Results) -> Result<Vec<Group>> {
        let mut groups = self.order.groups()?;
        if !self.peers.has_threads && groups.iter().any(|group| group.threads > 1) {
            eprintln!("left out: more than one thread, because `gust bench` has no `--threads`");
            groups.retain(|group| group.threads == 1);
        }
        for group in &mut groups {
            let is_known = |group: &Group, measure: &Measure| {
                let others = self.others(group, *measure);
                let name = group.name(measure);
                others
                    .iter()
                    .all(|peer| known.has(&name, peer.name, &self.gust_version))
            };
            let mut measures = std::mem::take(&mut group.measures);
            measures.retain(|measure| {
                let others = self.others(group, *measure);
                let is_done = self.order.missing && is_known(group, measure);
                !others.is_empty() && !is_done
            });
            group.measures = measures;
        }
        groups.retain(|group| !group.measures.is_empty());
        Ok(groups)
    }

    /// Who is compared with gust in a measure.
    fn others(&self, group: &Group, measure: Measure) -> Vec<&Peer> {
        let compares = |peer: &&Peer| {
            let is_compared = match measure {
                Measure::FirstToken => peer.tells_first_token(),
                Measure::Load | Measure::PeakMemory => peer.is_another_program(),
                _ => true,
            };
            is_compared && peer.takes_part(group.threads)
        };
        self.peers.others.iter().filter(compares).collect()
    }

    fn group(
        &self,
        group: &Group,
        clock: &mut Clock,
        keep: &mut impl FnMut(Vec<Row>) -> Result<()>,
    ) -> Result<()> {
        // What gust has packed for itself, the others have as it was.
        let [ours, theirs] = [group.ty, group.ty.trim_end_matches(plan::PACKED)];
        let real = self.order.real.as_deref();
        let [ours, theirs] = [
            peers::model(&group.model, ours, real)?,
            peers::model(&group.model, theirs, real)?,
        ];
        let mut drivers: Vec<(&str, Driver)> = Vec::new();
        // As drivers say them; what is measured without one is of the same version.
        let mut versions: BTreeMap<&str, String> = BTreeMap::new();
        for &measure in &group.measures {
            let others = self.others(group, measure);
            let mut participants = Vec::new();
            for peer in std::iter::once(&self.peers.gust).chain(others) {
                let at = drivers.iter().position(|(name, _)| *name == peer.name);
                participants.push(Participant {
                    peer,
                    model: if peer.is_gust() { &ours } else { &theirs },
                    driver: at.map(|at| drivers.swap_remove(at).1),
                    version: versions.get(peer.name).cloned().unwrap_or_default(),
                    found: Vec::new(),
                    has_failed: false,
                });
            }
            if !matches!(measure, Measure::FirstToken) {
                participants.retain_mut(|participant| {
                    let ready = participant.get_ready(group, measure);
                    if let Err(error) = &ready {
                        clock.say(&format!("missing: {}: {error:#}", group.name(&measure)));
                    }
                    ready.is_ok() || participant.peer.name == "gust"
                });
            }
            self.rounds(group, measure, &mut participants, clock)?;
            keep(self.rows(group, measure, &participants))?;
            let values: Vec<String> = participants
                .iter()
                .map(|one| format!("{} {}", one.peer.name, rounded(median(&one.found))))
                .collect();
            clock.done(group, measure, &values.join(", "));
            for participant in participants {
                versions.insert(participant.peer.name, participant.version);
                if let Some(driver) = participant.driver {
                    drivers.push((participant.peer.name, driver));
                }
            }
        }
        Ok(())
    }

    fn rounds(
        &self,
        group: &Group,
        measure: Measure,
        participants: &mut Vec<Participant<'_>>,
        clock: &mut Clock,
    ) -> Result<()> {
        let rounds = match measure {
            // It hardly differs from one time to the next.
            Measure::PeakMemory => 1,
            _ => self.order.rounds,
        };
        for round in 0..rounds {
            clock.show(&group.name(&measure), round, rounds);
            // Who follows on whom changes.
            for index in 0..participants.len() {
                let at = (index + round) % participants.len();
                let participant = &mut participants[at];
                let name = participant.peer.name;
                match participant.once(group, measure) {
                    Ok(value) => participant.found.push(value),
                    Err(error) if name == "gust" => return Err(error.context(name)),
                    Err(error) => {
                        clock.say(&format!(
                            "missing: {name}: {}: {error:#}",
                            group.name(&measure)
                        ));
                        participant.has_failed = true;
                    }
                }
            }
            participants.retain(|participant| !participant.has_failed);
        }
        Ok(())
    }

    fn rows(&self, group: &Group, measure: Measure, participants: &[Participant<'_>]) -> Vec<Row> {
        let Some((gust, others)) = participants.split_first() else {
            return Vec::new();
        };
        let value = |participant: &Participant<'_>| median(&participant.found);
        let others = others.iter();
        others
            .map(|other| Row {
                model: group.model.clone(),
                ty: group.ty.to_owned(),
                threads: group.threads,
                measure: measure.to_string(),
                peer: other.peer.name.to_owned(),
                gust: rounded(value(gust)),
                other: rounded(value(other)),
                ratio: ratio(measure, value(gust), value(other)),
                unit: measure.unit().to_owned(),
                rounds: gust.found.len(),
                gust_version: self.gust_version.clone(),
                other_version: other.version.clone(),
                machine: self.machine.clone(),
                isa: self.order.isa.name().to_owned(),
                features: self.order.isa.features().join(" "),
                date: self.date.clone(),
            })
            .collect()
    }
}

impl Participant<'_> {
    /// Starts the driver for speeds and warms it up.
    fn get_ready(&mut self, group: &Group, measure: Measure) -> Result<()> {
        if measure.is_speed() && self.driver.is_none() {
            let context = plan::context(&group.measures);
            let mut driver = self.peer.start(self.model, group.threads, context)?;
            driver.time(Measure::Prefill { tokens: 16 })?;
            driver.time(Measure::Decode {
                tokens: 4,
                depth: 0,
            })?;
            self.driver = Some(driver);
        }
        if let Some(driver) = &self.driver {
            self.version.clone_from(&driver.ready.version);
        }
        Ok(())
    }

    /// One round, in the measure's unit.
    fn once(&mut self, group: &Group, measure: Measure) -> Result<f64> {
        let (peer, model) = (self.peer, self.model);
        let fresh = || peer.start(model, group.threads, USUAL_CONTEXT);
        match measure {
            Measure::Prefill { tokens } | Measure::Decode { tokens, .. } => {
                let driver = self.driver.as_mut().context("no driver")?;
                Ok(f64::from(tokens) / driver.time(measure)?)
            }
            Measure::Load => {
                let driver = fresh()?;
                self.version.clone_from(&driver.ready.version);
                Ok(driver.ready.load_ms)
            }
            Measure::FirstToken => {
                let seconds = self.peer.first_token(self.model, group.threads)?;
                Ok(1000.0 * seconds.context("its first token is not measured")?)
            }
            Measure::PeakMemory => {
                let mut driver = fresh()?;
                self.version.clone_from(&driver.ready.version);
                driver.time(Measure::Prefill { tokens: 128 })?;
                driver.time(Measure::Decode {
                    tokens: 64,
                    depth: 0,
                })?;
                Ok(driver.peak_memory()? as f64 / 1e6)
            }
        }
    }
}

/// Four digits are more than anybody can measure here.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn four_digits_are_kept() {
        assert_eq!(rounded(1234.56), 1235.0);
        assert_eq!(rounded(12.345678), 12.35);
        assert_eq!(rounded(0.0), 0.0);
    }
}

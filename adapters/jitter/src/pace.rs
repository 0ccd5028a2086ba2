//! When the next token may be seen.

use std::time::Duration;

/// The environment variable with the interval in milliseconds.
pub const INTERVAL: &str = "GUST_JITTER_MS";

/// Without one: 20 tokens a second, which is faster than people read.
pub const DEFAULT: Duration = Duration::from_millis(50);

/// Multiples of an interval, of which each is used once.
#[derive(Debug, Clone)]
pub struct Pace {
    interval: Duration,
    /// The multiple that was used last.
    used: u32,
}

impl Pace {
    /// The pace with the interval that `text` says, in milliseconds, or the default.
    ///
    /// # Errors
    /// If it is no number from 1 to 60,000. Carries what it is.
    pub fn parse(text: Option<&str>) -> Result<Pace, String> {
        let interval = match text {
            None => DEFAULT,
            Some(text) => match text.trim().parse() {
                Ok(milliseconds @ 1..=60_000) => Duration::from_millis(milliseconds),
                _ => return Err(text.to_owned()),
            },
        };
        Ok(Pace { interval, used: 0 })
    }

    /// Starts again: a prompt was fed.
    pub fn begin(&mut self) {
        self.used = 0;
    }

    /// When to give out what is ready `elapsed` after the beginning, counted from there too.
    pub fn next(&mut self, elapsed: Duration) -> Duration {
        let intervals = elapsed.as_nanos().div_ceil(self.interval.as_nanos());
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.used = intervals.max(self.used.saturating_add(1));
        self.interval.saturating_mul(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_multiple_is_used_once() {
        let mut pace = Pace::parse(Some("10")).expect("a pace");
        // What was ready when, and when it is seen; milliseconds.
        for (ready, seen) in [
            (0, 10),
            (1, 20),
            (29, 30),
            (30, 40),
            (47, 50),
            (93, 100),
            (94, 110),
        ] {
            let next = pace.next(Duration::from_millis(ready));
            assert_eq!(next, Duration::from_millis(seen), "ready at {ready}");
        }
        pace.begin();
        assert_eq!(
            pace.next(Duration::from_millis(11)),
            Duration::from_millis(20)
        );
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for text in ["", "0", "-1", "fast", "60001"] {
            assert_eq!(Pace::parse(Some(text)).err().as_deref(), Some(text));
        }
        assert!(Pace::parse(None).is_ok());
    }
}

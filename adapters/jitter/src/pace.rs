//! When to release the next token.

use std::time::Duration;

/// The environment variable with the interval in milliseconds.
pub const INTERVAL: &str = "GUST_JITTER_MS";

/// The default interval: 20 tokens per second, which is faster than people read.
pub const DEFAULT: Duration = Duration::from_millis(50);

/// The multiples of an interval, each of which is used at most once.
#[derive(Debug, Clone)]
pub struct Pace {
    interval: Duration,
    /// The last multiple used.
    used: u32,
}

impl Pace {
    /// The pace for the interval in `text`, in milliseconds, or for the default interval.
    ///
    /// # Errors
    /// If `text` is not a number from 1 to 60,000. Carries `text`.
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

    /// Restarts the pace after a prompt was fed.
    pub fn begin(&mut self) {
        self.used = 0;
    }

    /// The time to release a token that is ready after `elapsed`; both are counted from the beginning.
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
        // When a token is ready and when it is released, in milliseconds.
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

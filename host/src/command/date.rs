//! Dates in options: `YYYY-MM-DD`. The front ends of `adapters/` have this file too.

/// The seconds from the beginning of 1970 to the beginning of a date, in UTC. `None` for any other text.
pub fn seconds_until(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let mut number = |digits: usize| -> Option<i64> {
        let part = parts.next()?;
        let right = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        right.then(|| part.parse().ok())?
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if parts.next().is_some() || year == 0 || !(1..=days).contains(&day) {
        return None;
    }
    // Years that begin in March end with their leap day.
    let march_year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
    let days = 365 * march_year + leap_days + day_of_year - 719_468;
    Some(days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::seconds_until;

    /// Expected values: Python's `calendar.timegm`.
    #[test]
    fn dates_are_those_of_python() {
        for (date, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2024-07-26", 1_721_952_000),
            ("2100-03-01", 4_107_542_400),
            ("1969-12-31", -86_400),
            ("0001-01-01", -62_135_596_800),
        ] {
            assert_eq!(seconds_until(date), Some(seconds), "{date}");
        }
        for wrong in [
            "",
            "today",
            "2024-7-26",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "2024-01-00",
            "2024-01-01-01",
            "+024-01-01",
            "0000-01-01",
            "2024/01/01",
        ] {
            assert_eq!(seconds_until(wrong), None, "{wrong}");
        }
    }
}

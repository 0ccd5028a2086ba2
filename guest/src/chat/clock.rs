//! `strftime_now` without a clock: the sandbox has none, so the caller says what time it is.
//!
//! The time is the variable `unix_time`, seconds since 1970.

use minijinja::{Error, ErrorKind, State};

/// 26 July 2024, the default date of Llama's templates: the time where a contract has no place for it.
pub(super) const DEFAULT: i64 = 1_721_952_000;
/// The variable with the time.
pub(super) const VARIABLE: &str = "unix_time";
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// The template function: formats the time like Python's `strftime` in the C locale.
pub(super) fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    let time = match state.lookup(VARIABLE) {
        Some(time) if !time.is_none() && !time.is_undefined() => i64::try_from(time)?,
        _ => DEFAULT,
    };
    let moment =
        Moment::new(time).ok_or_else(|| invalid("`unix_time` is outside the years 1 to 9999"))?;
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        // glibc's `%-d` drops leading zeros.
        let (code, bare) = match chars.next() {
            Some('-') => (chars.next(), true),
            code => (code, false),
        };
        let part = code.and_then(|code| moment.part(code));
        let part =
            part.ok_or_else(|| invalid(format!("unknown `strftime_now` format `{format}`")))?;
        let bare_part = part.trim_start_matches('0');
        text.push_str(match bare {
            true if bare_part.is_empty() => "0",
            true => bare_part,
            false => &part,
        });
    }
    Ok(text)
}

struct Moment {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    /// 0 is a Monday.
    weekday: i64,
    day_of_year: i64,
}

impl Moment {
    fn new(unix_time: i64) -> Option<Self> {
        let days = unix_time.div_euclid(86_400);
        // From 1 January of year 1 to the end of 9999.
        if !(-719_162..2_932_897).contains(&days) {
            return None;
        }
        // Years start in March, so the leap day is the last day (the usual algorithm for the 400-year cycle).
        let shifted = days + 719_468;
        let cycle = shifted.div_euclid(146_097);
        let day_of_cycle = shifted.rem_euclid(146_097);
        let leap_days = day_of_cycle / 1_460 - day_of_cycle / 36_524 + day_of_cycle / 146_096;
        let year_of_cycle = (day_of_cycle - leap_days) / 365;
        let day_of_march_year =
            day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let month = (march_month + 2) % 12 + 1;
        let year = 400 * cycle + year_of_cycle + i64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year = if month > 2 {
            day_of_march_year + 59 + i64::from(leap)
        } else {
            day_of_march_year - 306
        };
        Some(Self {
            year,
            month,
            day: day_of_march_year - (153 * march_month + 2) / 5 + 1,
            second_of_day: unix_time.rem_euclid(86_400),
            weekday: (days + 3).rem_euclid(7),
            day_of_year: day_of_year + 1,
        })
    }

    fn part(&self, code: char) -> Option<String> {
        let (hour, minute) = (self.second_of_day / 3_600, self.second_of_day / 60 % 60);
        let month = MONTHS[self.month as usize - 1];
        let day = DAYS[self.weekday as usize];
        let parts = |format: &str| -> Option<String> {
            format
                .chars()
                .map(|c| {
                    if c.is_alphabetic() {
                        self.part(c)
                    } else {
                        Some(c.into())
                    }
                })
                .collect()
        };
        Some(match code {
            'Y' => format!("{}", self.year),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'B' => month.into(),
            'b' | 'h' => month[..3].into(),
            'A' => day.into(),
            'a' => day[..3].into(),
            'u' => format!("{}", self.weekday + 1),
            'w' => format!("{}", (self.weekday + 1) % 7),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'M' => format!("{minute:02}"),
            'S' => format!("{:02}", self.second_of_day % 60),
            'p' => if hour < 12 { "AM" } else { "PM" }.into(),
            'z' => "+0000".into(),
            'Z' => "UTC".into(),
            'F' => parts("Y-m-d")?,
            'D' => parts("m/d/y")?,
            'T' => parts("H:M:S")?,
            'R' => parts("H:M")?,
            '%' => "%".into(),
            _ => return None,
        })
    }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

#[cfg(test)]
mod tests {
    use super::Moment;

    /// `datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %j %a %H:%M:%S %I %p")` of Python 3.11.
    #[test]
    fn moments_are_those_of_python() {
        let expected = [
            (0, "1970-01-01 001 Thu 00:00:00 12 AM"),
            (1_721_952_000, "2024-07-26 208 Fri 00:00:00 12 AM"),
            (951_782_399, "2000-02-28 059 Mon 23:59:59 11 PM"),
            (951_782_400, "2000-02-29 060 Tue 00:00:00 12 AM"),
            (951_868_800, "2000-03-01 061 Wed 00:00:00 12 AM"),
            (978_264_000, "2000-12-31 366 Sun 12:00:00 12 PM"),
            (4_107_542_400, "2100-03-01 060 Mon 00:00:00 12 AM"),
            (-1, "1969-12-31 365 Wed 23:59:59 11 PM"),
            (-62_135_596_800, "1-01-01 001 Mon 00:00:00 12 AM"),
            (253_402_300_799, "9999-12-31 365 Fri 23:59:59 11 PM"),
        ];
        for (time, text) in expected {
            let moment = Moment::new(time).expect("a moment");
            let part = |code| moment.part(code).expect("a part");
            let found = format!(
                "{}-{}-{} {} {} {} {} {}",
                part('Y'),
                part('m'),
                part('d'),
                part('j'),
                part('a'),
                part('T'),
                part('I'),
                part('p')
            );
            assert_eq!(found, text);
        }
        assert!(Moment::new(i64::MAX).is_none() && Moment::new(i64::MIN).is_none());
    }
}

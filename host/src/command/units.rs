//! Numbers with units, as people write and read them.

use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::date;

/// A number of bytes: `2GiB`, `512 MiB`, `1.5G`, `64MB`, `4096`. K, M and G alone are powers of 1,024, as in KiB.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        other => {
            return Err(format!(
                "expected a unit such as KiB, MiB or GiB, found `{other}`"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("expected a number such as 2GiB, found `{text}`"))?;
    let bytes = number * factor as f64;
    if bytes < 1.0 || bytes >= u64::MAX as f64 {
        return Err(format!(
            "expected at least one byte and less than 16 EiB, found `{text}`"
        ));
    }
    Ok(bytes as u64)
}

/// The beginning of a date: `2025-07-10`.
pub(super) fn parse_date(text: &str) -> Result<SystemTime, String> {
    let seconds = date::seconds_until(text);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let time = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    time.ok_or_else(|| format!("expected a date from 1970 on, such as 2025-07-10, found `{text}`"))
}

/// A time in seconds, above 0; fractions are allowed.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a number of seconds above 0, found `{text}`");
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(expected()),
    }
}

/// A whole number; `None` for -1, which other programs take for no limit, or for any seed.
pub(super) fn parse_whole<T>(text: &str) -> Result<Option<T>, String>
where
    T: FromStr<Err = ParseIntError>,
{
    if text == "-1" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: ParseIntError| {
        let expected = match error.kind() {
            IntErrorKind::PosOverflow => "a smaller number",
            _ => "a whole number of 0 or more, or -1 for none",
        };
        format!("expected {expected}, found `{text}`")
    })
}

/// A number from 0 to 1.
pub(super) fn parse_share(text: &str) -> Result<f32, String> {
    parse_between(text, 0.0, 1.0)
}

/// A penalty that is subtracted: -2 to 2.
pub(super) fn parse_penalty(text: &str) -> Result<f32, String> {
    parse_between(text, -2.0, 2.0)
}

/// A finite number, 0 or more.
pub(super) fn parse_temperature(text: &str) -> Result<f32, String> {
    parse_between(text, 0.0, f32::MAX)
}

/// A finite number above 0.
pub(super) fn parse_factor(text: &str) -> Result<f32, String> {
    parse_between(text, f32::MIN_POSITIVE, f32::MAX)
}

/// Bytes for people: three digits and a binary unit.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{count} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} EiB")
}

/// A count for people: digits in groups of three.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time for people.
pub(super) fn time(duration: Duration) -> String {
    let ms = milliseconds(duration);
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..1_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1_000.0),
    }
}

/// Milliseconds with their fraction.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Tokens per second; 0 if no time has passed.
pub(super) fn per_second(tokens: u64, duration: Duration) -> f64 {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 {
        tokens as f64 / seconds
    } else {
        0.0
    }
}

fn parse_between(text: &str, low: f32, high: f32) -> Result<f32, String> {
    let range = || match (low, high) {
        (f32::MIN_POSITIVE, _) => "a finite number above 0".to_owned(),
        (low, f32::MAX) => format!("a finite number of {low} or more"),
        (low, high) => format!("a number from {low} to {high}"),
    };
    match text.parse::<f32>() {
        Ok(number) if number >= low && number <= high => Ok(number),
        _ => Err(format!("expected {}, found `{text}`", range())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_unit() {
        for (text, expected) in [
            ("2GiB", 2 << 30),
            ("512 MiB", 512 << 20),
            ("1.5k", 1536),
            ("64MB", 64_000_000),
            ("7", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "GiB",
            "0",
            "-1",
            "1 lot",
            "1e400",
            "99999999999GiB",
            "1..2",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for text in ["nan", "inf", "-0.1", "1.1", "x", ""] {
            assert!(parse_share(text).is_err(), "{text}");
        }
        assert_eq!(parse_share("0.5"), Ok(0.5));
        assert!(parse_temperature("inf").is_err() && parse_temperature("-1").is_err());
        assert!(parse_factor("0").is_err() && parse_factor("1.1").is_ok());
        assert!(
            parse_seconds("0").is_err()
                && parse_seconds("nan").is_err()
                && parse_seconds("-3").is_err()
        );
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn minus_one_is_no_number() {
        assert_eq!(parse_whole::<u32>("-1"), Ok(None));
        assert_eq!(parse_whole::<u32>("4294967295"), Ok(Some(u32::MAX)));
        for text in ["-2", "", "x", "1.5", "4294967296"] {
            let error = parse_whole::<u32>(text).expect_err(text);
            assert!(error.ends_with(&format!("found `{text}`")), "{error}");
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            (count(0), count(999), count(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(
            (bytes(512), bytes(1536), bytes(3 << 30)),
            ("512 B".into(), "1.5 KiB".into(), "3.0 GiB".into())
        );
        assert_eq!(time(Duration::from_micros(1_234)), "1.23 ms");
        assert_eq!(time(Duration::from_millis(2_340)), "2.34 s");
    }
}

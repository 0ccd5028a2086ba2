//! `tojson` as in Hugging Face's templates: Python's `json.dumps` without ASCII escapes.

use std::fmt::Write;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::methods::pay;

/// Values nested deeper than this are rejected.
const MAX_DEPTH: usize = 64;
/// The largest indentation per level, in bytes.
const MAX_INDENT: usize = 16;

/// The filter: `tojson(value, ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
pub(super) fn tojson(state: &mut State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) if text.len() <= MAX_INDENT => text.to_string(),
            Some(_) => return Err(invalid("the indent of `tojson` is too long")),
            None => " ".repeat(usize::try_from(indent)?.min(MAX_INDENT)),
        }),
    };
    let separators: Option<Vec<String>> = options.get("separators")?;
    let default = if indent.is_some() { "," } else { ", " };
    let (item, key) = match separators.as_deref() {
        None => (default, ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err(invalid("`separators` of `tojson` must be two strings")),
    };
    let mut writer = Writer {
        state,
        text: String::new(),
        paid: 0,
        indent: indent.as_deref(),
        item,
        key,
        ascii: options
            .get::<Option<bool>>("ensure_ascii")?
            .unwrap_or(false),
        sort: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    writer.value(value, 0)?;
    Ok(writer.text)
}

struct Writer<'a, 's, 't, 'e> {
    state: &'s mut State<'t, 'e>,
    text: String,
    /// Bytes of `text` already paid for.
    paid: usize,
    indent: Option<&'a str>,
    item: &'a str,
    key: &'a str,
    ascii: bool,
    sort: bool,
}

impl Writer<'_, '_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        // Pays one step for the value, and for the text written since the last one.
        self.state.consume_fuel(1)?;
        let written = self.text.len() - std::mem::replace(&mut self.paid, self.text.len());
        pay(self.state, written)?;
        if depth > MAX_DEPTH {
            return Err(invalid("`tojson` of a value that is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self
                .text
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Map => return self.map(value, depth),
            ValueKind::Seq | ValueKind::Iterable => {
                self.text.push('[');
                let mut first = true;
                for item in value.try_iter()? {
                    self.separate(&mut first, depth + 1);
                    self.value(&item, depth + 1)?;
                }
                self.close(first, depth, ']');
            }
            kind => return Err(invalid(format!("`tojson` does not support {kind}"))),
        }
        Ok(())
    }

    fn map(&mut self, map: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = map.try_iter()?.collect();
        if self.sort {
            keys.sort();
        }
        self.text.push('{');
        let mut first = true;
        for key in keys {
            self.separate(&mut first, depth + 1);
            match key.kind() {
                ValueKind::String => self.string(key.as_str().unwrap_or_default()),
                ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                    self.text.push('"');
                    self.value(&key, depth)?;
                    self.text.push('"');
                }
                kind => {
                    return Err(invalid(format!(
                        "`tojson` does not support {kind} as a map key"
                    )));
                }
            }
            self.text.push_str(self.key);
            self.value(&map.get_item(&key)?, depth + 1)?;
        }
        self.close(first, depth, '}');
        Ok(())
    }

    fn separate(&mut self, first: &mut bool, depth: usize) {
        if !std::mem::take(first) {
            self.text.push_str(self.item);
        }
        self.line(depth);
    }

    fn close(&mut self, empty: bool, depth: usize, end: char) {
        if !empty {
            self.line(depth);
        }
        self.text.push(end);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.text.push('\n');
            (0..depth).for_each(|_| self.text.push_str(indent));
        }
    }

    fn number(&mut self, value: &Value) {
        if value.is_integer() {
            let _ = write!(self.text, "{value}");
        } else if let Ok(number) = f64::try_from(value.clone()) {
            self.text.push_str(&float(number));
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            let escape = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                c if c < ' ' || self.ascii && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                    continue;
                }
                c => {
                    self.text.push(c);
                    continue;
                }
            };
            self.text.push_str(escape);
        }
        self.text.push('"');
    }
}

/// Python's `repr` of a float: the shortest digits, an exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if number != 0.0 && !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{number:?}"),
    }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

#[cfg(test)]
mod tests {
    use super::float;

    /// Expected values: Python 3.11's output.
    #[test]
    fn floats_are_those_of_python() {
        let expected = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (123456789.125, "123456789.125"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (-2.5e-7, "-2.5e-07"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
        ];
        for (number, text) in expected {
            assert_eq!(float(number), text);
        }
    }
}

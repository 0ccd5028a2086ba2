//! Filters and tests of Jinja2 that the engine lacks, or has in another way.

use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

use super::filters::parts;
use super::marks::Marks;
use super::methods::pay;

/// In Jinja2 a sequence is anything with a length and items, including strings and maps.
pub(super) fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::String | ValueKind::Seq | ValueKind::Map
    )
}

/// In Jinja2 `none` is not iterable; something undefined is.
pub(super) fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// `default(value, default_value='', boolean=false)`.
pub(super) fn default(args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of(args)?;
    let value = arguments.get(0, "value")?.unwrap_or_default();
    let other = arguments
        .get(1, "default_value")?
        .unwrap_or_else(|| "".into());
    let lax = arguments
        .get(2, "boolean")?
        .is_some_and(|lax| lax.is_true());
    arguments.options.assert_all_used()?;
    match value.is_undefined() || lax && !value.is_true() {
        true => Ok(other),
        false => Ok(value),
    }
}

/// `indent(s, width=4, first=false, blank=false)`; the width may also be the text to put before each line.
pub(super) fn indent(state: &State, marks: &Marks, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of(args)?;
    let text = arguments.get(0, "s")?.unwrap_or_default();
    let text = text
        .as_str()
        .map_or_else(|| text.to_string(), str::to_owned);
    let width = arguments.get(1, "width")?.unwrap_or_else(|| 4.into());
    let is_set = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let first = is_set(arguments.get(2, "first")?);
    let blank = is_set(arguments.get(3, "blank")?);
    arguments.options.assert_all_used()?;

    // Lines and the breaks between them, in turn.
    let plain = marks.plain(&text);
    let mut ranges = Vec::new();
    let mut at = 0;
    for (start, found) in plain.match_indices(['\n', '\r']) {
        // The second half of `\r\n` belongs to the first.
        if start < at {
            continue;
        }
        let pair = found == "\r" && plain[start..].starts_with("\r\n");
        let end = start + if pair { 2 } else { 1 };
        ranges.extend([at..start, start..end]);
        at = end;
    }
    ranges.push(at..plain.len());

    let before = match width.as_str() {
        Some(text) => {
            pay(state, ranges.len().saturating_mul(text.len()))?;
            text.to_owned()
        }
        None => {
            let width = usize::try_from(width)?;
            pay(state, ranges.len().saturating_mul(width))?;
            let spaces = " ".repeat(width);
            match marks.marked(&text) {
                true => marks.mark(&spaces),
                false => spaces,
            }
        }
    };
    let mut result = String::new();
    for (nth, part) in parts(&text, &plain, &ranges).iter().enumerate() {
        let part = part.as_str().unwrap_or_default();
        match nth % 2 {
            0 => {
                let indented = match nth {
                    0 => first,
                    _ => blank || !part.is_empty(),
                };
                if indented {
                    result.push_str(&before);
                }
                result.push_str(part);
            }
            _ if marks.marked(part) => result.push_str(&marks.mark("\n")),
            _ => result.push('\n'),
        }
    }
    Ok(result.into())
}

/// The operands of `+`. If one of two texts has passed `safe`, Jinja2 escapes the other for HTML.
pub(super) fn escaped(state: &State, marks: &Marks, operands: &Value) -> Result<Value, Error> {
    let operands: Vec<Value> = operands.try_iter()?.collect();
    let [left, right] = operands.as_slice() else {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "`+` takes two operands",
        ));
    };
    let escape = |value: &Value| -> Result<Value, Error> {
        let text = value.as_str().unwrap_or_default();
        pay(state, text.len())?;
        Ok(Value::from_safe_string(marks.escape(text)))
    };
    let texts = left.as_str().is_some() && right.as_str().is_some();
    Ok(match (texts, left.is_safe(), right.is_safe()) {
        (true, true, false) => vec![left.clone(), escape(right)?],
        (true, false, true) => vec![escape(left)?, right.clone()],
        _ => operands,
    }
    .into())
}

/// Arguments that have a position and a name.
struct Arguments<'a> {
    positional: &'a [Value],
    options: Kwargs,
}

impl<'a> Arguments<'a> {
    fn of(args: &'a [Value]) -> Result<Self, Error> {
        let named = args.last().is_some_and(Value::is_kwargs);
        let (positional, options) = args.split_at(args.len() - usize::from(named));
        let (options,) = from_args(options)?;
        Ok(Self {
            positional,
            options,
        })
    }

    fn get(&self, at: usize, name: &str) -> Result<Option<Value>, Error> {
        match self.positional.get(at) {
            None if self.options.has(name) => Ok(Some(self.options.get(name)?)),
            other => Ok(other.cloned()),
        }
    }
}

//! The methods of Python's strings, lists and dictionaries that templates call.
//!
//! Most are minijinja-contrib's. Here are those that it lacks, and those that can turn a small input into a large
//! output (`replace`, `join`, `format`): they pay for their output before they produce it, because the engine only
//! charges for output that already exists.
//!
//! A text that may be marked as the template's (`marks`) is processed in its plain form; [`marked`] then finds what came
//! out of it in the marked text.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::filters::{
    Look, Strings, Style, directives_plain, look, parts, places, plain, plain_values,
};
use super::marks::{Marks, cut};

/// Bytes per unit of fuel.
pub(super) const BYTES_PER_FUEL: usize = 64;

/// Calls a method of a value.
pub(super) fn call(
    state: &mut State,
    marks: &Marks,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => {
            pay(state, text.len())?;
            let all = [std::slice::from_ref(value), args].concat();
            let look = look(state, marks, &all)?;
            match look.marked {
                true => marked(state, marks, (value, method), args, look),
                false => string(state, (value, text), method, args),
            }
        }
        None if args.iter().any(|arg| arg.as_object().is_some()) && method != "get" => {
            Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("`{method}` does not take a list or map"),
            ))
        }
        None => match (value.kind(), method) {
            (ValueKind::Map, "copy") | (ValueKind::Seq, "copy") => Ok(value.clone()),
            (ValueKind::Seq, "index") => {
                let (wanted,): (Value,) = from_args(args)?;
                let wanted = plain(state, marks, wanted, Strings::All)?;
                let items = plain(state, marks, value.clone(), Strings::All)?;
                let mut items = items.try_iter()?;
                let at = items.position(|item| item == wanted);
                at.map(Value::from).ok_or_else(|| missing("list"))
            }
            (_, "get") if args.first().is_some_and(|key| key.as_object().is_some()) => {
                Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "`get` does not take a list or map",
                ))
            }
            (_, "get") if !args.is_empty() => {
                let mut args = args.to_vec();
                args[0] = plain(state, marks, args[0].clone(), Strings::All)?;
                unknown_method_callback(state, value, method, &args)
            }
            (_, "count") => {
                let value = plain(state, marks, value.clone(), Strings::All)?;
                unknown_method_callback(state, &value, method, &plain_values(marks, args)?)
            }
            _ => unknown_method_callback(state, value, method, args),
        },
    }
}

/// Calls a method of a string, where it or the arguments have marks. What is cut out of the string keeps its marks, and
/// so does what is put into it; any other text counts as text from outside, unless everything is the template's.
pub(super) fn marked(
    state: &mut State,
    marks: &Marks,
    (value, method): (&Value, &str),
    args: &[Value],
    look: Look,
) -> Result<Value, Error> {
    let own = value.as_str().unwrap_or_default();
    match method {
        "join" => return string(state, (value, own), method, args),
        "format" => {
            let text = directives_plain(marks, own, Style::Braces);
            let printed = |arg: &Value| plain(state, marks, arg.clone(), Strings::Inner);
            let args = args.iter().map(printed).collect::<Result<Vec<_>, _>>()?;
            return string(state, (&text.as_str().into(), &text), method, &args);
        }
        _ => {}
    }
    let plain = marks.plain(own);
    let plain_args = plain_values(marks, args)?;
    let mut on_plain = |method| {
        let plain_value = Value::from(plain.as_ref());
        string(state, (&plain_value, &plain), method, &plain_args)
    };
    if method == "replace" {
        let (old, _, count): (&str, &str, Option<i64>) = from_args(&plain_args)?;
        let new = args.get(1).and_then(Value::as_str).unwrap_or_default();
        let found = plain.match_indices(old).take(at_most(count));
        let mut at = 0;
        let mut ranges: Vec<_> = found
            .map(|(start, _)| std::mem::replace(&mut at, start + old.len())..start)
            .collect();
        pay(state, ranges.len().saturating_mul(new.len()))?;
        ranges.push(at..plain.len());
        return Ok(cut(own, &plain, &ranges).join(new).into());
    }
    let result = on_plain(method)?;
    let pieces: Vec<Value> = match result.kind() {
        ValueKind::Seq => result.try_iter()?.collect(),
        _ => vec![result.clone()],
    };
    let pieces: Vec<&str> = pieces.iter().filter_map(Value::as_str).collect();
    let length = pieces.first().map_or(0, |piece| piece.len());
    let one = |start: usize| std::iter::once(start..start + length).collect::<Vec<_>>();
    let ranges = match method {
        "strip" => {
            let left = on_plain("lstrip")?;
            one(plain.len() - left.as_str().map_or(0, str::len))
        }
        "lstrip" | "removeprefix" => one(plain.len() - length),
        "rstrip" | "removesuffix" => one(0),
        "split" | "rsplit" => {
            let separator = plain_args.first().and_then(Value::as_str);
            places(&plain, &pieces, separator.map(str::len))
        }
        "partition" | "rpartition" => places(&plain, &pieces, Some(0)),
        _ if look.wholly => return marks.mark_value(&result),
        _ => return Ok(result),
    };
    let mut parts = parts(own, &plain, &ranges);
    match result.kind() {
        ValueKind::Seq => Ok(parts.into()),
        _ => Ok(parts.pop().unwrap_or_default()),
    }
}

/// How often `replace` replaces.
fn at_most(count: Option<i64>) -> usize {
    count
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(usize::MAX)
}

fn string(
    state: &mut State,
    (value, text): (&Value, &str),
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        "replace" => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(args)?;
            let most = at_most(count);
            let found = text.matches(old).take(most).count();
            pay(state, found.saturating_mul(new.len()))?;
            Ok(Value::from(text.replacen(old, new, most)))
        }
        "join" => {
            let (items,): (Value,) = from_args(args)?;
            let mut joined = String::new();
            for (nth, item) in items.try_iter()?.enumerate() {
                let item = item.as_str().ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidOperation,
                        format!("`join` takes strings, found {}", item.kind()),
                    )
                })?;
                let separator = if nth > 0 { text } else { "" };
                pay(state, separator.len() + item.len())?;
                joined.push_str(separator);
                joined.push_str(item);
            }
            Ok(Value::from(joined))
        }
        "format" => {
            // More than three digits of width or precision are an attack.
            let long_number = text
                .as_bytes()
                .windows(4)
                .any(|four| four.iter().all(u8::is_ascii_digit));
            let container = args
                .iter()
                .any(|arg| arg.as_object().is_some() && !arg.is_kwargs());
            if long_number || container {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "`format` takes no list or map, and no number of more than three digits",
                ));
            }
            unknown_method_callback(state, value, method, args)
        }
        // A list takes more memory than its text.
        "split" | "splitlines" => {
            pay(state, text.len().saturating_mul(8))?;
            unknown_method_callback(state, value, method, args)
        }
        "rsplit" => {
            let (separator, most): (Option<&str>, Option<usize>) = from_args(args)?;
            pay(state, text.len().saturating_mul(8))?;
            let most = most.unwrap_or(usize::MAX - 1).saturating_add(1);
            let mut parts: Vec<Value> = match separator {
                Some("") => {
                    return Err(Error::new(
                        ErrorKind::InvalidOperation,
                        "`rsplit` does not take an empty separator",
                    ));
                }
                Some(separator) => text.rsplitn(most, separator).map(Value::from).collect(),
                None if most > text.len() => {
                    text.split_whitespace().rev().map(Value::from).collect()
                }
                None => {
                    return Err(Error::new(
                        ErrorKind::InvalidOperation,
                        "`rsplit` with a limit needs a separator",
                    ));
                }
            };
            parts.reverse();
            Ok(Value::from(parts))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let found = match method {
                "partition" => text.split_once(separator),
                _ => text.rsplit_once(separator),
            };
            let parts = match found {
                Some((before, behind)) => [before, separator, behind],
                None if method == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Ok(parts.into_iter().collect())
        }
        "index" => {
            let found = unknown_method_callback(state, value, "find", args)?;
            if found == Value::from(-1) {
                Err(missing("string"))
            } else {
                Ok(found)
            }
        }
        _ => unknown_method_callback(state, value, method, args),
    }
}

fn missing(place: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("`index`: the value is not in the {place}"),
    )
}

/// Pays for processing this many bytes.
pub(super) fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)
}

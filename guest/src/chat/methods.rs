//! The methods of Python's strings, lists and dictionaries that templates call.
//!
//! Most are minijinja-contrib's. Here are those that it lacks, and those that can turn a small input into a large
//! output (`replace`, `join`, `format`): they pay for their output before they produce it, because the engine only
//! charges for output that already exists.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Bytes per unit of fuel.
pub(super) const BYTES_PER_FUEL: usize = 64;

/// Calls a method of a value.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => {
            pay(state, text.len())?;
            string(state, (value, text), method, args)
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
                let mut items = value.try_iter()?;
                let at = items.position(|item| item == wanted);
                at.map(Value::from).ok_or_else(|| missing("list"))
            }
            (_, "get") if args.first().is_some_and(|key| key.as_object().is_some()) => {
                Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "`get` does not take a list or map",
                ))
            }
            _ => unknown_method_callback(state, value, method, args),
        },
    }
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
            let most = count
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(usize::MAX);
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

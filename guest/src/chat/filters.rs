//! Filters and tests on text that may be marked as the template's (`marks`).
//!
//! Every filter of a template is called through [`apply`], every test through [`test`]. Filters that only hand values
//! on get them as they are, and a few work with marks. All others get plain text, and their result counts as text from
//! outside, unless all their text is the template's.

use std::ops::Range;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::marks::{Marks, cut};
use super::renderer::{is_namespace, is_own, weigh};

/// Values that one unit of fuel pays for.
const NODES_PER_FUEL: usize = 4;
/// Bytes that one unit of fuel pays for when strings are searched for marks.
const BYTES_PER_FUEL: usize = 4096;

/// What is known of the strings in some values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Some characters are marked.
    pub(super) marked: bool,
    /// All are.
    pub(super) wholly: bool,
}

/// Looks for marks in values, and pays for that.
pub(super) fn look(state: &State, marks: &Marks, values: &[Value]) -> Result<Look, Error> {
    let (mut nodes, mut bytes) = (0, 0);
    let (mut marked, mut wholly) = (false, true);
    let mut see = |text: &str| {
        bytes += text.len();
        let any = marks.marked(text);
        marked |= any;
        wholly &= text.is_empty() || any && marks.wholly_marked(text);
    };
    for value in values {
        match value.kind() {
            ValueKind::String => see(value.as_str().unwrap_or_default()),
            ValueKind::Map if value.is_kwargs() => {
                for name in value.try_iter()? {
                    nodes += look_into(&value.get_item(&name)?, &mut see)?;
                }
            }
            _ => nodes += look_into(value, &mut see)?,
        }
    }
    state.consume_fuel((nodes / NODES_PER_FUEL + bytes / BYTES_PER_FUEL) as u64)?;
    Ok(Look {
        marked,
        wholly: wholly && marked,
    })
}

fn look_into(value: &Value, see: &mut dyn FnMut(&str)) -> Result<usize, Error> {
    match value.kind() {
        ValueKind::String => {
            see(value.as_str().unwrap_or_default());
            Ok(1)
        }
        // The engine's own objects may contain anything. Of these, only namespaces hold values that a template sees.
        _ if is_own(value) => {
            let mut nodes = 1;
            if is_namespace(value) {
                for name in value.try_iter()? {
                    let value = value.get_item(&name)?;
                    nodes += match is_own(&value) {
                        true => 1,
                        false => look_into(&value, see)?,
                    };
                }
            }
            Ok(nodes)
        }
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => weigh(value, see),
        _ => Ok(1),
    }
}

/// Which strings of a value are made plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// All, because the value is compared or looked up.
    All,
    /// Those within lists and maps, because these are printed with quotes and escapes. A string is printed as it is.
    Inner,
}

/// The value without marks.
pub(super) fn plain(
    state: &State,
    marks: &Marks,
    value: Value,
    strings: Strings,
) -> Result<Value, Error> {
    if value.kind() == ValueKind::String && strings == Strings::Inner {
        return Ok(value);
    }
    match look(state, marks, std::slice::from_ref(&value))?.marked {
        true => marks.plain_value(&value),
        false => Ok(value),
    }
}

/// Performs a test, on plain values.
pub(super) fn test(
    state: &mut State,
    marks: &Marks,
    name: &str,
    args: &[Value],
) -> Result<bool, Error> {
    let found = match look(state, marks, args)?.marked {
        true => state.perform_test(name, &plain_values(marks, args)?),
        false => state.perform_test(name, args),
    };
    found.map_err(|error| named(error, ErrorKind::UnknownTest, "test", name))
}

/// Applies a filter.
pub(super) fn apply(
    state: &mut State,
    marks: &Marks,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let look = look(state, marks, args)?;
    let result = match look.marked {
        true => apply_to_marked(state, marks, (name, args), look),
        false => state.apply_filter(name, args),
    };
    result.map_err(|error| named(error, ErrorKind::UnknownFilter, "filter", name))
}

fn named(error: Error, kind: ErrorKind, what: &str, name: &str) -> Error {
    match error.detail() {
        None if error.kind() == kind => Error::new(kind, format!("{what} {name} is unknown")),
        _ => error,
    }
}

fn apply_to_marked(
    state: &mut State,
    marks: &Marks,
    (name, args): (&str, &[Value]),
    look: Look,
) -> Result<Value, Error> {
    match (name, args) {
        // These hand on what they are given.
        (
            "default" | "d" | "list" | "first" | "last" | "reverse" | "items" | "length" | "count"
            | "batch" | "slice" | "safe",
            _,
        )
        // This one knows of marks.
        | ("indent", [_, ..])
        | ("dictsort", [_]) => state.apply_filter(name, args),
        ("attr", [value, attribute]) => {
            let attribute = marks.plain_value(attribute)?;
            state.apply_filter(name, &[value.clone(), attribute])
        }
        ("map", [list, options]) if options.is_kwargs() => {
            let options = marks.plain_value(options)?;
            state.apply_filter(name, &[list.clone(), options])
        }
        ("string", [value]) => {
            let value = plain(state, marks, value.clone(), Strings::Inner)?;
            state.apply_filter(name, &[value])
        }
        ("join", [items] | [items, _]) if args.last().is_some_and(|arg| !arg.is_kwargs()) => {
            let mut args = args.to_vec();
            if items.kind() != ValueKind::String {
                let item = |item| plain(state, marks, item, Strings::Inner);
                args[0] = items.try_iter()?.map(item).collect::<Result<_, _>>()?;
            }
            state.apply_filter(name, &args)
        }
        ("trim", [text] | [text, _]) if args.iter().all(|arg| arg.as_str().is_some()) => {
            let method = "strip";
            let result = super::methods::marked(state, marks, (text, method), &args[1..], look)?;
            Ok(result)
        }
        ("replace", [text, _, _]) if args.iter().all(|arg| arg.as_str().is_some()) => {
            super::methods::marked(state, marks, (text, "replace"), &args[1..], look)
        }
        ("format", [text, values @ ..]) if text.as_str().is_some() => {
            let text = directives_plain(marks, text.as_str().unwrap_or_default(), Style::Percent);
            let mut args = vec![Value::from(text)];
            for value in values {
                args.push(plain(state, marks, value.clone(), Strings::Inner)?);
            }
            state.apply_filter(name, &args)
        }
        _ => {
            let result = state.apply_filter(name, &plain_values(marks, args)?)?;
            match look.wholly {
                true => marks.mark_value(&result),
                false => Ok(result),
            }
        }
    }
}

pub(super) fn plain_values(marks: &Marks, values: &[Value]) -> Result<Vec<Value>, Error> {
    values
        .iter()
        .map(|value| marks.plain_value(value))
        .collect()
}

/// How a text says where values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `%s`, `%(name)s`, `%%`.
    Percent,
    /// `{}`, `{name:>5}`, `{{`.
    Braces,
}

/// The text of a format, with plain directives and everything else as it is.
pub(super) fn directives_plain(marks: &Marks, text: &str, style: Style) -> String {
    let plain = marks.plain(text);
    let (mut result, mut open) = (String::with_capacity(text.len()), false);
    let (mut depth, mut in_name) = (0u32, false);
    for (marked, c) in text.chars().zip(plain.chars()) {
        let directive = match style {
            Style::Braces => {
                let inside = depth > 0;
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                inside || matches!(c, '{' | '}')
            }
            Style::Percent if open => {
                match c {
                    '(' => in_name = true,
                    ')' => in_name = false,
                    _ => open = in_name || !(c.is_ascii_alphabetic() || c == '%'),
                }
                true
            }
            Style::Percent => {
                open = c == '%';
                open
            }
        };
        result.push(if directive { c } else { marked });
    }
    result
}

/// Where `pieces` lie in `text`, which they are parts of, in order, with `gap` bytes between them, or white space.
pub(super) fn places(text: &str, pieces: &[&str], gap: Option<usize>) -> Vec<Range<usize>> {
    let mut at = 0;
    let place = |(nth, piece): (usize, &&str)| {
        let rest = text.get(at..).unwrap_or_default();
        at += match gap {
            Some(gap) => gap * usize::from(nth > 0),
            None => rest.len() - rest.trim_start().len(),
        };
        let start = at;
        at += piece.len();
        start..at
    };
    pieces.iter().enumerate().map(place).collect()
}

/// The parts of a marked text that lie there in its plain form.
pub(super) fn parts(marked: &str, plain: &str, ranges: &[Range<usize>]) -> Vec<Value> {
    cut(marked, plain, ranges)
        .into_iter()
        .map(Value::from)
        .collect()
}

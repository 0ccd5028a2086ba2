//! What is put around a text, and around two: the file's post-processor, as lists of tokens.

use serde_json::Value;

use super::file::{kind, shortened};
use super::parts::{list, unknown};
use crate::error::{Error, Result, invalid_model, unsupported};

const PART: &str = "post_processor";

/// The most tokens around a text. Known templates add two.
const MAX_ADDED: usize = 64;

/// The tokens around one text, and around two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    /// Before and after a text.
    pub(super) single: [Vec<u32>; 2],
    /// Before, between and after two texts.
    pub(super) pair: [Vec<u32>; 3],
}

impl Around {
    pub(super) fn read(value: Option<&Value>) -> Result<Self> {
        let mut around = Self::default();
        if let Some(value) = value.filter(|value| !value.is_null()) {
            around.add(value)?;
        }
        Ok(around)
    }

    /// All of the tokens.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> {
        self.single.iter().chain(&self.pair).flatten().copied()
    }

    fn add(&mut self, value: &Value) -> Result<()> {
        let added = match kind(PART, value)? {
            "Sequence" => {
                let parts = list(PART, value, "processors")?;
                return parts.iter().try_for_each(|value| self.add(value));
            }
            // It changes offsets only.
            "ByteLevel" => return Ok(()),
            "BertProcessing" => {
                let (cls, sep) = (named(value, "cls")?, named(value, "sep")?);
                Self {
                    single: [vec![cls], vec![sep]],
                    pair: [vec![cls], vec![sep], vec![sep]],
                }
            }
            "RobertaProcessing" => {
                let (cls, sep) = (named(value, "cls")?, named(value, "sep")?);
                Self {
                    single: [vec![cls], vec![sep]],
                    pair: [vec![cls], vec![sep, sep], vec![sep]],
                }
            }
            "TemplateProcessing" => template(value)?,
            other => return Err(unknown(PART, other)),
        };
        if *self != Self::default() {
            return Err(unsupported(PART, "one part that adds tokens", "two"));
        }
        *self = added;
        Ok(())
    }
}

/// The number of a token that is written with its name: `["[SEP]", 102]`.
fn named(value: &Value, field: &str) -> Result<u32> {
    let id = value.get(field).and_then(|pair| number(pair.get(1)?));
    id.ok_or_else(|| {
        let subject = format!("`{field}` of the {PART}");
        invalid_model(subject, "a token and its number", shortened(value))
    })
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn template(value: &Value) -> Result<Around> {
    let [before, after] = texts(value, "single", ["A"])?;
    Ok(Around {
        single: [before, after],
        pair: texts(value, "pair", ["A", "B"])?,
    })
}

/// The tokens around the texts of a template, which must be there once each, in this order.
fn texts<const TEXTS: usize, const LISTS: usize>(
    value: &Value,
    field: &str,
    names: [&str; TEXTS],
) -> Result<[Vec<u32>; LISTS]> {
    let mut lists = std::array::from_fn(|_| Vec::new());
    let mut seen = 0;
    let wrong = |found: String| -> Error {
        let expected = format!("the texts {} in this order", names.join(" and "));
        unsupported(format!("`{field}` of the {PART}"), expected, found)
    };
    for piece in list(PART, value, field)? {
        if let Some(text) = piece.get("Sequence") {
            let name = text.get("id").and_then(Value::as_str);
            if name != names.get(seen).copied() {
                return Err(wrong(shortened(piece)));
            }
            seen += 1;
            continue;
        }
        let name = piece
            .get("SpecialToken")
            .and_then(|token| token.get("id")?.as_str());
        let ids = name.and_then(|name| {
            value
                .get("special_tokens")?
                .get(name)?
                .get("ids")?
                .as_array()
        });
        let ids = ids.and_then(|ids| ids.iter().map(number).collect::<Option<Vec<_>>>());
        let ids = ids.ok_or_else(|| {
            let expected = "a text, or a token of `special_tokens` with its numbers";
            invalid_model(
                format!("`{field}` of the {PART}"),
                expected,
                shortened(piece),
            )
        })?;
        lists[seen].extend(ids);
        if lists[seen].len() > MAX_ADDED {
            let expected = format!("at most {MAX_ADDED} tokens before, between and after texts");
            return Err(unsupported(PART, expected, lists[seen].len()));
        }
    }
    match seen == TEXTS {
        true => Ok(lists),
        false => Err(wrong(format!("{seen} of them"))),
    }
}

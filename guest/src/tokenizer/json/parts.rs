//! What happens to a text before the model sees it: it is normalised, and cut into words. The crate's parts do that, made
//! from descriptions that are checked first, because some of them panic on wrong ones.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{
    NormalizedString, Normalizer as _, PreTokenizedString, PreTokenizer as _,
    SplitDelimiterBehavior,
};

use super::charsmap;
use super::file::{kind, shortened};
use super::pattern::Pattern;
use super::{Failed, failed};
use crate::error::{Result, invalid_model, unsupported};
use crate::tokenizer::bpe::char_of;

/// A step of the normalisation.
#[derive(Debug)]
pub(super) enum Normalizer {
    /// Replaces what a pattern matches.
    Replace(Pattern, String),
    /// One of the crate's.
    Other(Box<NormalizerWrapper>),
}

impl Normalizer {
    /// The steps of a description, in order.
    pub(super) fn read(value: Option<&Value>) -> Result<Vec<Self>> {
        steps(value, Self::push)
    }

    fn push(value: &Value, steps: &mut Vec<Self>) -> Result<()> {
        let part = "normalizer";
        let step = match kind(part, value)? {
            "Sequence" => {
                let parts = list(part, value, "normalizers")?;
                return parts.iter().try_for_each(|value| Self::push(value, steps));
            }
            "Replace" => {
                let pattern = Pattern::read(part, value.get("pattern"), false)?;
                Self::Replace(pattern, short_text(part, value, "content")?.to_owned())
            }
            "Prepend" => {
                short_text(part, value, "prepend")?;
                Self::Other(of_crate(part, value)?)
            }
            "Precompiled" => {
                charsmap::check(value.get("precompiled_charsmap"))?;
                Self::Other(of_crate(part, value)?)
            }
            "BertNormalizer" | "Strip" | "StripAccents" | "NFC" | "NFD" | "NFKC" | "NFKD"
            | "Lowercase" | "Nmt" | "ByteLevel" => Self::Other(of_crate(part, value)?),
            other => return Err(unknown(part, other)),
        };
        steps.push(step);
        Ok(())
    }

    pub(super) fn apply(&self, text: &mut NormalizedString) -> Result<(), Failed> {
        match self {
            Self::Replace(pattern, content) => text
                .replace(pattern, content)
                .map_err(|error| failed(error, pattern)),
            Self::Other(normalizer) => normalizer.normalize(text).map_err(Failed::from),
        }
    }
}

/// A step of cutting a text into words.
#[derive(Debug)]
pub(super) enum PreTokenizer {
    /// Cuts where a pattern matches.
    Split(Pattern, SplitDelimiterBehavior),
    /// Puts a space before a text that has none, and cuts by GPT-2's pattern, each if it is meant to; then writes bytes as
    /// characters.
    ByteLevel {
        add_prefix_space: bool,
        pattern: Option<Pattern>,
    },
    /// One of the crate's.
    Other(Box<PreTokenizerWrapper>),
}

impl PreTokenizer {
    /// The steps of a description, in order.
    pub(super) fn read(value: Option<&Value>) -> Result<Vec<Self>> {
        steps(value, Self::push)
    }

    fn push(value: &Value, steps: &mut Vec<Self>) -> Result<()> {
        let part = "pre_tokenizer";
        let flag = |name: &str, default: bool| match value.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(invalid_model(
                format!("`{name}` of the {part}"),
                "true or false",
                shortened(other),
            )),
        };
        let step = match kind(part, value)? {
            "Sequence" => {
                let parts = list(part, value, "pretokenizers")?;
                return parts.iter().try_for_each(|value| Self::push(value, steps));
            }
            "Split" => {
                let pattern = Pattern::read(part, value.get("pattern"), flag("invert", false)?)?;
                let behavior = value.get("behavior").cloned().unwrap_or_default();
                let behavior = serde_json::from_value(behavior).map_err(|error| {
                    invalid_model(format!("`behavior` of the {part}"), "a known one", error)
                })?;
                Self::Split(pattern, behavior)
            }
            "ByteLevel" => Self::ByteLevel {
                add_prefix_space: flag("add_prefix_space", true)?,
                pattern: match flag("use_regex", true)? {
                    true => Some(Pattern::gpt2()?),
                    false => None,
                },
            },
            "FixedLength" if value.get("length").and_then(Value::as_u64) == Some(0) => {
                let subject = format!("`length` of the {part}");
                return Err(invalid_model(subject, "at least 1", 0));
            }
            "BertPreTokenizer" | "CharDelimiterSplit" | "Delimiter" | "Metaspace"
            | "Whitespace" | "Punctuation" | "WhitespaceSplit" | "Digits" | "UnicodeScripts"
            | "FixedLength" => Self::Other(of_crate(part, value)?),
            other => return Err(unknown(part, other)),
        };
        steps.push(step);
        Ok(())
    }

    pub(super) fn apply(&self, text: &mut PreTokenizedString) -> Result<(), Failed> {
        match self {
            Self::Split(pattern, behavior) => text
                .split(|_, text| text.split(pattern, *behavior))
                .map_err(|error| failed(error, pattern)),
            Self::ByteLevel {
                add_prefix_space,
                pattern,
            } => {
                let cut = text.split(|_, mut text| {
                    if *add_prefix_space && !text.get().starts_with(' ') {
                        text.prepend(" ");
                    }
                    match pattern {
                        Some(pattern) => text.split(pattern, SplitDelimiterBehavior::Isolated),
                        None => Ok(vec![text]),
                    }
                });
                cut.map_err(|error| match pattern {
                    Some(pattern) => failed(error, pattern),
                    None => error.into(),
                })?;
                text.normalize(|text| {
                    bytes_as_characters(text);
                    Ok(())
                })
                .map_err(Failed::from)
            }
            Self::Other(pre_tokenizer) => pre_tokenizer.pre_tokenize(text).map_err(Failed::from),
        }
    }
}

/// Writes each byte of a text as the character that stands for it.
fn bytes_as_characters(text: &mut NormalizedString) {
    let mut changed = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.get().chars() {
        let bytes = c.encode_utf8(&mut buffer).bytes().enumerate();
        changed.extend(bytes.map(|(nth, byte)| (char_of(byte), isize::from(nth > 0))));
    }
    text.transform(changed, 0);
}

/// The steps of a description, if there is one; `push` appends those of a part.
fn steps<T>(
    value: Option<&Value>,
    push: impl FnOnce(&Value, &mut Vec<T>) -> Result<()>,
) -> Result<Vec<T>> {
    let mut steps = Vec::new();
    if let Some(value) = value.filter(|value| !value.is_null()) {
        push(value, &mut steps)?;
    }
    Ok(steps)
}

/// The parts in a sequence.
pub(super) fn list<'v>(part: &str, value: &'v Value, field: &str) -> Result<&'v [Value]> {
    let parts = value.get(field).and_then(Value::as_array);
    let parts = parts.ok_or_else(|| {
        let expected = format!("a list in `{field}`");
        invalid_model(part, expected, shortened(value))
    })?;
    Ok(parts)
}

/// A text that is put into others, which must not make those much longer.
fn short_text<'v>(part: &str, value: &'v Value, field: &str) -> Result<&'v str> {
    const MAX: usize = 16;
    let text = value.get(field).and_then(Value::as_str);
    text.filter(|text| text.len() <= MAX).ok_or_else(|| {
        let expected = format!("a text of at most {MAX} bytes in `{field}`");
        invalid_model(part, expected, shortened(value))
    })
}

fn of_crate<T: DeserializeOwned>(part: &str, value: &Value) -> Result<Box<T>> {
    let parsed = serde_json::from_value(value.clone());
    parsed.map(Box::new).map_err(|error| {
        let expected = "a description that the tokenizers library can read";
        invalid_model(part, expected, format!("{} ({error})", shortened(value)))
    })
}

pub(super) fn unknown(part: &str, kind: &str) -> crate::error::Error {
    let found = format!("`{}`", kind.escape_default());
    unsupported(part, "one of a known type", found)
}

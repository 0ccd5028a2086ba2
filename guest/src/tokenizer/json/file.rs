//! The file: its parts as data, with limits on what it may hold.
//!
//! The crate's own types read such a file too, but some of them panic on wrong ones, and none has limits. Vocabulary and
//! merges are read straight into lists; what describes the other parts is small, and stays JSON until it is checked.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::SUBJECT;
use crate::error::{Result, invalid_model, unsupported};
use crate::pulse::work;
use crate::tokenizer::bpe::MAX_MERGES;
use crate::tokenizer::vocab::MAX_TOKENS;

/// The largest file, in bytes. The largest known ones have 35 MB.
const MAX_FILE: u64 = 64 << 20;
/// How deep the description of a part may be nested. Known ones are up to 8 deep.
const MAX_DEPTH: usize = 16;
/// The largest description of a part, in values. That of DeepSeek's longest expression has 30.
const MAX_VALUES: usize = 1 << 14;

/// A `tokenizer.json`.
#[derive(serde::Deserialize)]
pub(super) struct File {
    version: Option<String>,
    #[serde(default)]
    pub(super) added_tokens: List<AddedToken>,
    pub(super) normalizer: Option<Value>,
    pub(super) pre_tokenizer: Option<Value>,
    pub(super) post_processor: Option<Value>,
    pub(super) decoder: Option<Value>,
    pub(super) model: ModelFile,
}

/// A token besides the model's, or one of those that a text is searched for.
#[derive(serde::Deserialize, Clone)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    /// It counts only where no letter is beside it.
    pub(super) single_word: bool,
    /// It takes the white space before it along.
    pub(super) lstrip: bool,
    /// It takes the white space after it along.
    pub(super) rstrip: bool,
    /// It is searched for in the normalised text.
    pub(super) normalized: bool,
    pub(super) special: bool,
}

/// The field `model`: that of any kind.
#[derive(serde::Deserialize)]
pub(super) struct ModelFile {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) vocab: Option<Tokens>,
    pub(super) merges: Option<List<Merge>>,
    pub(super) dropout: Option<f32>,
    pub(super) unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) fuse_unk: Option<bool>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
    pub(super) max_input_chars_per_word: Option<usize>,
    pub(super) unk_id: Option<usize>,
}

impl File {
    /// # Errors
    /// `invalid-model` for what is no such file; `unsupported` for one beyond the limits.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        check_size(bytes.len() as u64)?;
        let file: Self = serde_json::from_slice(bytes)
            .map_err(|error| invalid_model(SUBJECT, "a tokenizer.json", error))?;
        if let Some(version) = file.version.as_ref().filter(|version| *version != "1.0") {
            return Err(unsupported(
                format!("version of {SUBJECT}"),
                "1.0",
                format!("`{}`", version.escape_default()),
            ));
        }
        for (name, part) in [
            ("normalizer", &file.normalizer),
            ("pre_tokenizer", &file.pre_tokenizer),
            ("post_processor", &file.post_processor),
            ("decoder", &file.decoder),
        ] {
            let mut left = MAX_VALUES;
            if !part.iter().all(|part| fits(part, MAX_DEPTH, &mut left)) {
                let expected =
                    format!("at most {MAX_VALUES} values, nested {MAX_DEPTH} deep at most");
                return Err(unsupported(name, expected, "more"));
            }
        }
        Ok(file)
    }
}

/// # Errors
/// `unsupported` for a file that is too large.
pub(in crate::tokenizer) fn check_size(bytes: u64) -> Result<usize> {
    if bytes <= MAX_FILE {
        return Ok(bytes as usize);
    }
    let expected = format!("at most {MAX_FILE} bytes");
    Err(unsupported(SUBJECT, expected, format!("{bytes} bytes")))
}

/// Whether a value has at most so many values in it, nested at most so deep.
fn fits(value: &Value, depth: usize, left: &mut usize) -> bool {
    let Some(less) = left.checked_sub(1) else {
        return false;
    };
    *left = less;
    let Some(below) = depth.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(values) => values.iter().all(|value| fits(value, below, left)),
        Value::Object(fields) => fields.values().all(|value| fits(value, below, left)),
        _ => true,
    }
}

/// What kind of part a description is of.
///
/// # Errors
/// `invalid-model` if it does not say so.
pub(super) fn kind<'v>(part: &str, value: &'v Value) -> Result<&'v str> {
    value
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| invalid_model(part, "an object with a `type`", shortened(value)))
}

/// A value for an error.
pub(super) fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The tokens of a model.
pub(super) enum Tokens {
    /// Each with its number.
    Numbered(Vec<(String, u32)>),
    /// In the order of their numbers, each with its score.
    Scored(Vec<(String, f64)>),
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;

        impl<'de> Visitor<'de> for Lists {
            type Value = Tokens;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their numbers, or with their scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tokens, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = map.next_entry()? {
                    push(&mut tokens, token, MAX_TOKENS)?;
                }
                Ok(Tokens::Numbered(tokens))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tokens, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = seq.next_element()? {
                    push(&mut tokens, token, MAX_TOKENS)?;
                }
                Ok(Tokens::Scored(tokens))
            }
        }

        deserializer.deserialize_any(Lists)
    }
}

/// A list of at most [`MAX_MERGES`] elements.
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(Vec<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<List<T>, A::Error> {
                while let Some(element) = seq.next_element()? {
                    push(&mut self.0, element, MAX_MERGES)?;
                }
                Ok(List(self.0))
            }
        }

        deserializer.deserialize_seq(Elements(Vec::new()))
    }
}

fn push<T, E: de::Error>(list: &mut Vec<T>, element: T, most: usize) -> Result<(), E> {
    work(1);
    if list.len() == most {
        return Err(E::custom(format!(
            "expected at most {most} elements, found more"
        )));
    }
    list.push(element);
    Ok(())
}

/// Two tokens that become one: as a list of two, or as one text with a space between them.
pub(super) struct Merge(pub(super) String, pub(super) String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Halves;

        impl<'de> Visitor<'de> for Halves {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens, as a list or with one space between them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Merge, E> {
                let halves = text.split_once(' ');
                match halves.filter(|(_, right)| !right.contains(' ')) {
                    Some((left, right)) => Ok(Merge(left.to_owned(), right.to_owned())),
                    None => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge, A::Error> {
                let wrong = |found| de::Error::invalid_length(found, &self);
                let left = seq.next_element()?.ok_or_else(|| wrong(0))?;
                let right = seq.next_element()?.ok_or_else(|| wrong(1))?;
                match seq.next_element::<String>()? {
                    None => Ok(Merge(left, right)),
                    Some(_) => Err(wrong(3)),
                }
            }
        }

        deserializer.deserialize_any(Halves)
    }
}

//! What each token stands for in running text: the file's decoder, token by token.
//!
//! The crate's decoders turn the tokens of a whole text into that text, which a stream does not have. So their rules are
//! applied to one token here, and what they do at the beginning of a text (taking a space away) is left out, as it is for
//! all other tokenizers; a `cleanup` of spaces before punctuation is left out too.

use serde_json::Value;

use super::file::{kind, shortened};
use super::parts::{list, unknown};
use crate::error::{Result, invalid_model, unsupported};
use crate::tokenizer::bpe;
use crate::tokenizer::vocab::{MAX_TOKEN_LEN, TokenType, Vocab, byte_named};

const PART: &str = "decoder";
/// The most that a token may be spelled as, in bytes.
const MAX_SPELLED: usize = 4 * MAX_TOKEN_LEN;
/// The longest text in a rule, in bytes.
const MAX_RULE: usize = 64;

/// How tokens are spelled.
#[derive(Debug)]
pub(in crate::tokenizer) struct Spelling(Vec<Rule>);

#[derive(Debug)]
enum Rule {
    /// Characters stand for bytes.
    Bytes,
    /// `<0x1F>` is a byte.
    ByteNames,
    Replace(String, String),
    /// A token continues a word if it begins with this, and begins a word otherwise.
    Continues(String),
    /// The last character of a word.
    EndOfWord(String),
    /// Takes this character away at the beginning and the end of a token, up to so many times.
    Strip(char, [usize; 2]),
}

impl Spelling {
    pub(super) fn read(value: Option<&Value>) -> Result<Self> {
        let mut rules = Vec::new();
        match value.filter(|value| !value.is_null()) {
            Some(value) => {
                push(value, &mut rules, &mut true)?;
            }
            // Tokens are joined by spaces.
            None => rules.push(Rule::Continues(String::new())),
        }
        Ok(Self(rules))
    }

    /// Appends the bytes that a token stands for.
    ///
    /// # Errors
    /// `unsupported` for a token that becomes too long.
    pub(in crate::tokenizer) fn append(
        &self,
        vocab: &Vocab,
        id: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let text = vocab.text(id).unwrap_or_default();
        if !matches!(
            vocab.token_type(id),
            TokenType::Normal | TokenType::UserDefined | TokenType::Byte
        ) {
            return Ok(());
        }
        let mut text = text.to_owned();
        for rule in &self.0 {
            if text.len() > MAX_SPELLED {
                let expected = format!("at most {MAX_SPELLED} bytes for a token");
                return Err(unsupported(PART, expected, format!("more for token {id}")));
            }
            match rule {
                Rule::Bytes => {
                    bpe::append_bytes(&text, TokenType::Normal, bytes);
                    return Ok(());
                }
                Rule::ByteNames => {
                    if let Some(byte) = byte_named(&text) {
                        bytes.push(byte);
                        return Ok(());
                    }
                }
                Rule::Replace(from, to) => text = text.replace(from, to),
                Rule::Continues(prefix) => {
                    let rest = text.strip_prefix(prefix.as_str());
                    text = match rest.filter(|_| !prefix.is_empty()) {
                        Some(rest) => rest.to_owned(),
                        None => format!(" {text}"),
                    };
                }
                Rule::EndOfWord(suffix) => text = text.replace(suffix, " "),
                Rule::Strip(c, most) => text = stripped(&text, *c, *most).to_owned(),
            }
        }
        bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn stripped(text: &str, c: char, [start, end]: [usize; 2]) -> &str {
    let count = |chars: &mut dyn Iterator<Item = char>, most| {
        chars.take(most).take_while(|found| *found == c).count() * c.len_utf8()
    };
    let from = count(&mut text.chars(), start);
    let to = text.len() - count(&mut text[from..].chars().rev(), end);
    &text[from..to]
}

/// Appends the rules of a description. `apart` is whether the tokens are still apart from each other.
fn push(value: &Value, rules: &mut Vec<Rule>, apart: &mut bool) -> Result<()> {
    let text = |field: &str| {
        let text = value.get(field).and_then(Value::as_str);
        text.filter(|text| text.len() <= MAX_RULE).ok_or_else(|| {
            let expected = format!("a text of at most {MAX_RULE} bytes in `{field}`");
            invalid_model(PART, expected, shortened(value))
        })
    };
    let rule = match kind(PART, value)? {
        "Sequence" => {
            let parts = list(PART, value, "decoders")?;
            return parts.iter().try_for_each(|value| push(value, rules, apart));
        }
        "Fuse" => {
            *apart = false;
            return Ok(());
        }
        // The beginning of the whole text is left as it is.
        "Strip" if !*apart => return Ok(()),
        "Strip" => {
            let most = |field: &str| value.get(field).and_then(Value::as_u64).unwrap_or(0) as usize;
            let content = text("content")?.chars().next().unwrap_or(' ');
            Rule::Strip(content, [most("start"), most("stop")])
        }
        "ByteLevel" => Rule::Bytes,
        "ByteFallback" => Rule::ByteNames,
        "Metaspace" => Rule::Replace(text("replacement")?.to_owned(), " ".to_owned()),
        "Replace" => {
            let from = value
                .get("pattern")
                .and_then(|pattern| pattern.get("String")?.as_str());
            let from = from.filter(|from| !from.is_empty()).ok_or_else(|| {
                unsupported(PART, "a `pattern` that is a `String`", shortened(value))
            })?;
            Rule::Replace(from.to_owned(), text("content")?.to_owned())
        }
        "WordPiece" => Rule::Continues(text("prefix")?.to_owned()),
        "BPEDecoder" => Rule::EndOfWord(text("suffix")?.to_owned()),
        other => return Err(unknown(PART, other)),
    };
    rules.push(rule);
    Ok(())
}

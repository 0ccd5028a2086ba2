//! A tokenizer of Hugging Face's, from its `tokenizer.json`, in place of the vocabulary in the model's file.
//!
//! The `tokenizers` crate normalises a text and cuts it into words, and its unigram model finds the tokens of each; the
//! tokens are those of Python's `tokenizers`. Around that are the things which the crate does not do as an engine needs them:
//!
//! - `file` reads the file within limits, and `parts`, `charsmap` and `model` check what the crate would panic on.
//! - `kinds` are the other models: the crate's read files and random numbers.
//! - `pattern` makes an error of an expression that gives up; the crate would go on with other tokens.
//! - `added` searches for tokens by name. Control tokens count only where they may: see [`Control`].
//! - `around` are the tokens before and after a text, `spelling` is what each token stands for: both as data.
//!
//! What the model's file says of single tokens still holds: its number for the end of a sequence is that of a row of its
//! embedding, whatever the vocabulary. `truncation` and `padding` in the file are for training, and are ignored.

mod added;
mod around;
mod charsmap;
mod file;
mod kinds;
mod model;
mod parts;
mod pattern;
mod spelling;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::RefCell;
use std::ops::Range;

use tokenizers::{NormalizedString, OffsetType, PreTokenizedString, Token};

use self::added::Added;
use self::around::Around;
pub(super) use self::file::check_size;
use self::file::{AddedToken, File};
use self::model::{Listed, Model};
use self::parts::{Normalizer, PreTokenizer};
use self::pattern::Pattern;
pub(super) use self::spelling::Spelling;
use super::merge::Merger;
use super::special::{Defaults, Special};
use super::vocab::{MAX_TOKENS, TokenType, Vocab, byte_named};
use crate::error::{Error, Result, invalid_argument, invalid_model, unsupported};
use crate::gguf::Metadata;
use crate::pulse::work;

/// What errors call the file.
const SUBJECT: &str = "tokenizer.json";

/// The longest allowed text, in bytes: the crate needs up to 200 bytes for each.
const MAX_TEXT: usize = 4 << 20;

/// Where the name of a control token in a text becomes that token.
#[derive(Debug, Clone, Copy)]
pub(super) enum Control<'a> {
    Nowhere,
    Anywhere,
    /// In these ranges of the text's bytes.
    In(&'a [Range<usize>]),
}

/// The tokenizer.
#[derive(Debug)]
pub(super) struct Json {
    /// What is searched for in a text as it is.
    before: Added,
    normalizers: Vec<Normalizer>,
    /// What is searched for in the normalised text.
    after: Added,
    pre_tokenizers: Vec<PreTokenizer>,
    model: Model,
    /// Whether a text begins with a space that it does not have.
    pub(super) adds_space: bool,
}

/// A tokenizer, with what all tokenizers have.
pub(super) struct Loaded {
    pub(super) vocab: Vocab,
    pub(super) special: Special,
    pub(super) json: Json,
    pub(super) spelling: Spelling,
}

/// Reads the file of a model with so many rows.
///
/// # Errors
/// As [`Tokenizer::from_json`](super::Tokenizer::from_json).
pub(super) fn load(bytes: &[u8], metadata: &Metadata, rows: Option<u32>) -> Result<Loaded> {
    let file = File::read(bytes)?;
    let added = file.added_tokens.0;
    let (mut model, listed) = Model::read(file.model)?;
    check_added(&added, &model)?;
    let around = Around::read(file.post_processor.as_ref())?;
    let mut vocab = vocabulary(&added, listed, rows)?;
    if let Some(id) = around.tokens().find(|id| *id >= vocab.len()) {
        let expected = format!("tokens below {}", vocab.len());
        return Err(invalid_model("post_processor", expected, id));
    }
    let special = special(&mut vocab, metadata, around)?;
    let is_control = |id| vocab.token_type(id) == TokenType::Control;
    model.keep_from((0..vocab.len()).map(is_control).collect());

    let normalizers = Normalizer::read(file.normalizer.as_ref())?;
    let sought = sought(&vocab, &added);
    let of = |normalized: bool| {
        sought
            .iter()
            .filter(move |token| token.normalized == normalized)
    };
    let before = Added::new(&vocab, of(false), |name| Ok(name.to_owned()))?;
    let after = Added::new(&vocab, of(true), |name| {
        let mut name = NormalizedString::from(name);
        normalize(&normalizers, &mut name).map_err(Failed::of_file)?;
        Ok(name.get().to_owned())
    })?;
    let mut json = Json {
        before,
        normalizers,
        after,
        pre_tokenizers: PreTokenizer::read(file.pre_tokenizer.as_ref())?,
        model,
        adds_space: false,
    };
    let spelling = Spelling::read(file.decoder.as_ref())?;
    json.adds_space = json.adds_space(&vocab, &spelling)?;
    Ok(Loaded {
        vocab,
        special,
        json,
        spelling,
    })
}

/// The added tokens must have the numbers that the crate gives them, which Python uses whatever the file says.
fn check_added(added: &[AddedToken], model: &Model) -> Result<()> {
    let mut names: Vec<_> = added.iter().map(|token| &token.content).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let found = format!("`{}` twice", pair[0].escape_default());
        return Err(invalid_model("added_tokens", "each token once", found));
    }
    let mut next = model.size() as u32;
    for token in added {
        let name = token.content.as_str();
        let expected = match model.find(name) {
            Some(id) => id,
            None => {
                next += 1;
                next - 1
            }
        };
        if token.id != expected {
            return Err(invalid_model(
                format!("number of the added token `{}`", name.escape_default()),
                format!("{expected}, which the tokenizers library gives it"),
                token.id,
            ));
        }
    }
    Ok(())
}

/// All tokens of the file, and padding up to the model's rows.
fn vocabulary(added: &[AddedToken], listed: Listed, rows: Option<u32>) -> Result<Vocab> {
    let mut tokens: Vec<Option<(String, TokenType)>> = Vec::new();
    let mut set = |id: u32, text: String, ty: TokenType| {
        let at = id as usize;
        if tokens.len() <= at {
            tokens.resize(at + 1, None);
        }
        tokens[at] = Some((text, ty));
    };
    for (text, id) in listed.tokens {
        let is_byte = listed.byte_fallback && byte_named(&text).is_some();
        let ty = match () {
            () if Some(id) == listed.unknown => TokenType::Unknown,
            () if is_byte => TokenType::Byte,
            () => TokenType::Normal,
        };
        set(id, text, ty);
    }
    for token in added {
        if token.id as usize >= MAX_TOKENS {
            let expected = format!("numbers below {MAX_TOKENS}");
            return Err(unsupported("added_tokens", expected, token.id));
        }
        let ty = match token.special {
            true if Some(token.id) == listed.unknown => TokenType::Unknown,
            true => TokenType::Control,
            false => TokenType::UserDefined,
        };
        set(token.id, token.content.clone(), ty);
    }
    let Some((last, _)) = tokens.last().and_then(Option::as_ref) else {
        return Err(invalid_model(SUBJECT, "tokens", "none"));
    };
    match rows {
        Some(rows) if tokens.len() > rows as usize => {
            return Err(invalid_model(
                SUBJECT,
                format!("at most {rows} tokens, as many as the model has rows in its embedding"),
                format!(
                    "{}, the last of them `{}`",
                    tokens.len(),
                    last.escape_default()
                ),
            ));
        }
        Some(rows) => tokens.resize(rows as usize, None),
        None => {}
    }
    // llama.cpp's name for such tokens.
    let padding = |id: usize| (format!("[PAD{id}]"), TokenType::Unused);
    let tokens = tokens.into_iter().enumerate();
    let tokens = tokens.map(|(id, token)| token.unwrap_or_else(|| padding(id)));
    let tokens: Vec<_> = tokens.collect();
    Vocab::of(
        SUBJECT,
        tokens.iter().map(|(text, ty)| (text.as_str(), *ty)),
    )
}

/// The tokens with a special role: by number, what the model's file says; by name, as in any vocabulary; and around a text,
/// what the file says.
fn special(vocab: &mut Vocab, metadata: &Metadata, around: Around) -> Result<Special> {
    let special = Special::find(vocab, metadata, Defaults::JSON)?;
    let Around {
        single: [prefix, suffix],
        pair,
    } = around;
    let ends_text = |id: &&u32| special.ends.contains(id);
    Ok(Special {
        bos: special.bos.or(prefix.first().copied()),
        eos: special
            .eos
            .or_else(|| suffix.iter().find(ends_text).copied())
            .or(special.ends.first().copied()),
        prefix,
        suffix,
        pair,
        ..special
    })
}

/// What texts are searched for: the added tokens, and those that are control tokens by their names.
fn sought(vocab: &Vocab, added: &[AddedToken]) -> Vec<AddedToken> {
    let mut sought = added.to_vec();
    let mut is_added = vec![false; vocab.len() as usize];
    for token in added {
        is_added[token.id as usize] = true;
    }
    let is_control = |id: &u32| vocab.token_type(*id) == TokenType::Control;
    for id in (0..vocab.len()).filter(is_control) {
        if !is_added[id as usize] {
            sought.push(AddedToken {
                id,
                content: vocab.text(id).unwrap_or_default().to_owned(),
                single_word: false,
                lstrip: false,
                rstrip: false,
                normalized: false,
                special: true,
            });
        }
    }
    sought
}

impl Json {
    /// Appends the tokens of a text.
    ///
    /// # Errors
    /// `invalid-argument` for a text of more than 4 MiB, for one that an expression of the file gives up on, or that the normalisation makes too long;
    /// `invalid-model` for one that the file has no tokens for.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        control: Control<'_>,
        tokens: &mut Vec<u32>,
    ) -> Result<()> {
        if text.len() > MAX_TEXT {
            let expected = format!("at most {MAX_TEXT} bytes with a {SUBJECT}");
            return Err(invalid_argument(
                "text",
                expected,
                format!("{} bytes", text.len()),
            ));
        }
        let encoded = self.tokens(vocab, text, control);
        tokens.extend(encoded.map_err(Failed::of_text)?);
        Ok(())
    }

    fn tokens(&self, vocab: &Vocab, text: &str, control: Control<'_>) -> Result<Vec<u32>, Failed> {
        work(text.len());
        let mut text = PreTokenizedString::from(text);
        text.split(|_, text| Ok(self.before.split(vocab, &text, control)))?;
        let mut failed = None;
        let split = text.split(|_, mut text| {
            if let Err(error) = normalize(&self.normalizers, &mut text) {
                failed = Some(error);
                return Err("not normalised".into());
            }
            Ok(self.after.split(vocab, &text, control))
        });
        split.map_err(|error| failed.unwrap_or_else(|| error.into()))?;
        for step in &self.pre_tokenizers {
            step.apply(&mut text)?;
        }
        let merger = RefCell::<Merger>::default();
        text.tokenize(|word| {
            let ids = self.model.tokenize(word.get(), &mut merger.borrow_mut())?;
            let ids = ids.into_iter();
            Ok(ids
                .map(|id| Token::new(id, String::new(), (0, 0)))
                .collect())
        })?;
        let encoding = text.into_encoding(None, 0, OffsetType::None)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether a text begins with a space that it does not have.
    fn adds_space(&self, vocab: &Vocab, spelling: &Spelling) -> Result<bool> {
        let mut tokens = Vec::new();
        self.encode(vocab, "a", Control::Nowhere, &mut tokens)?;
        let mut bytes = Vec::new();
        for id in tokens {
            spelling.append(vocab, id, &mut bytes)?;
        }
        Ok(bytes.first() == Some(&b' '))
    }
}

/// The longest text after its normalisation, in bytes.
const MAX_NORMALIZED: usize = 4 * MAX_TEXT;

fn normalize(steps: &[Normalizer], text: &mut NormalizedString) -> Result<(), Failed> {
    for step in steps {
        step.apply(text)?;
        if text.len() > MAX_NORMALIZED {
            return Err(Failed::TooLong(text.len()));
        }
    }
    Ok(())
}

/// Why a text has no tokens.
#[derive(Debug)]
enum Failed {
    /// An expression gave up.
    GaveUp(String),
    /// The normalised text has so many bytes.
    TooLong(usize),
    /// Anything else that the crate says.
    Other(String),
}

/// Why a search failed.
fn failed(error: tokenizers::Error, pattern: &Pattern) -> Failed {
    match pattern.gave_up() {
        true => Failed::GaveUp(error.to_string()),
        false => error.into(),
    }
}

impl From<tokenizers::Error> for Failed {
    fn from(error: tokenizers::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl Failed {
    /// The error for a text of the caller's.
    fn of_text(self) -> Error {
        match self {
            Self::GaveUp(reason) => invalid_argument(
                "text",
                format!("a text that the expressions of {SUBJECT} can be searched for in"),
                format!(
                    "one with a part that is too long for that, such as a run of spaces ({reason})"
                ),
            ),
            Self::TooLong(bytes) => invalid_argument(
                "text",
                format!("one that {SUBJECT} makes at most {MAX_NORMALIZED} bytes of"),
                format!("{bytes} bytes"),
            ),
            Self::Other(reason) => invalid_model(SUBJECT, "tokens for every text", reason),
        }
    }

    /// The error for a name in the file.
    fn of_file(self) -> Error {
        let found = match self {
            Self::GaveUp(reason) | Self::Other(reason) => reason,
            Self::TooLong(bytes) => format!("{bytes} bytes"),
        };
        invalid_model("added_tokens", "names that can be normalised", found)
    }
}

//! The tokenizer: text to tokens and back, as the model's file describes it.
//!
//! There are six kinds, and for all of them the tokens match llama.cpp's. `tokenizer.ggml.model` names them:
//!
//! | name | module | what it is |
//! |---|---|---|
//! | `llama` | `spm` | SentencePiece with scores, joined greedily |
//! | `gpt2`, `gemma4` | `bpe` | byte-pair encoding, of bytes and of characters |
//! | `bert` | `wpm` | WordPiece: the longest tokens of each word |
//! | `t5` | `ugm` | SentencePiece's unigram model: the greatest sum of scores |
//! | `rwkv` | `rwkv` | the longest token, again and again |
//! | `plamo2` | `plamo2` | the greatest sum of rounded scores |
//!
//! In the order of use: `vocab` (the checked lists), `special` (the tokens with a special role), `markers` (tokens
//! found by name), then one of the above. `bpe` first splits a text into words with `pre` (by `rules` over `classes`; `families` for files that do not say which),
//! and `ugm` normalises it with `charsmap`. Shared are `index` (a token by its text), `trie` (the tokens that a text
//! starts with) and `merge` (joining neighbours). The test models of llama.cpp have a kind of their own, `chunks`.
//!
//! Two things differ from llama.cpp's on purpose: a text does not become a control token by chance, and characters that
//! are newer than llama.cpp's tables (Unicode 15.1) have their class, case and decomposition.

mod bpe;
mod charsmap;
mod chunks;
mod classes;
mod families;
mod index;
#[cfg(feature = "tokenizer-json")]
mod json;
mod markers;
mod merge;
mod plamo2;
mod pre;
mod rules;
mod rwkv;
mod special;
mod spm;
mod trie;
mod ugm;
mod vocab;
mod wpm;

use std::ops::Range;

pub use vocab::TokenType;

use crate::error::{Result, invalid_argument, unsupported};
use crate::gguf::Metadata;
use bpe::Bpe;
#[cfg(feature = "tokenizer-json")]
use json::Json;
#[cfg(all(test, feature = "tokenizer-json"))]
pub(crate) use json::tests as json_tests;
use markers::{Markers, Part};
use plamo2::Plamo2;
use pre::{AddBos, Alphabet, Pre};
use rwkv::Rwkv;
use special::{Defaults, Special, needed};
use spm::Spm;
use ugm::Ugm;
use vocab::Vocab;
use wpm::Wpm;

/// The longest allowed text, in bytes: about three million tokens, more than any context holds.
pub const MAX_TEXT_LEN: usize = 12 << 20;

/// How to turn text into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Adds the tokens that the model expects around a text, such as begin-of-sequence, except for one that ends it: a
    /// prompt is to be continued (see [`Tokenizer::encode_whole`]).
    pub add_special: bool,
    /// Parses the names of control tokens in the text as those tokens. For templates only.
    pub parse_special: bool,
}

impl Default for EncodeOptions {
    /// The options for user text: special tokens are added, but not parsed.
    fn default() -> Self {
        Self {
            add_special: true,
            parse_special: false,
        }
    }
}

/// What control tokens (and unknown ones) become when tokens are turned into text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialTokens {
    /// Nothing.
    Hide,
    /// Their names.
    Render,
}

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    method: Method,
    special: Special,
    assumption: Option<&'static str>,
    /// The bytes that each token stands for in running text, concatenated.
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`.
    ends: Vec<u32>,
}

/// How text becomes tokens.
#[derive(Debug)]
#[cfg_attr(
    feature = "tokenizer-json",
    expect(clippy::large_enum_variant, reason = "a model has one")
)]
enum Method {
    /// As the model's file says: markers first, and then the text between them.
    File(Markers, Model),
    /// As a `tokenizer.json` says.
    #[cfg(feature = "tokenizer-json")]
    Json(Box<Json>),
}

#[derive(Debug)]
enum Model {
    Spm(Spm),
    Bpe(Bpe),
    Wpm(Wpm),
    Ugm(Ugm),
    Rwkv(Rwkv),
    Plamo2(Plamo2),
    Chunks,
}

impl Tokenizer {
    /// Builds the tokenizer from a file's metadata.
    ///
    /// # Errors
    /// `invalid-model` for inconsistent lists, `unsupported` for an unknown kind of tokenizer or pre-tokenizer.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let kind = metadata.str("tokenizer.ggml.model")?;
        let kind = kind.unwrap_or_default();
        check_kind(kind)?;
        let mut vocab = Vocab::from_metadata(metadata)?;
        let (special, model, assumption) = model(kind, &mut vocab, metadata)?;
        let markers = Markers::new(&vocab, metadata)?;
        let (bytes, ends) = running_text(vocab.len(), |id, bytes| {
            append_bytes(&vocab, &model, id, bytes);
            Ok(())
        })?;
        Ok(Self {
            vocab,
            method: Method::File(markers, model),
            special,
            assumption,
            bytes,
            ends,
        })
    }

    /// Builds the tokenizer from Hugging Face's `tokenizer.json`. The model's metadata says which tokens have a special
    /// role; `rows` is the number of rows of its embedding, if that is known: tokens that the file has less are padding.
    ///
    /// # Errors
    /// `invalid-model` for a file that is broken, or has tokens that the model has no rows for; `unsupported` for parts
    /// that this engine does not know, or a file that is too large.
    #[cfg(feature = "tokenizer-json")]
    pub fn from_json(file: &[u8], metadata: &Metadata, rows: Option<u32>) -> Result<Self> {
        let json::Loaded {
            vocab,
            special,
            json,
            spelling,
        } = json::load(file, metadata, rows)?;
        let append = |id, bytes: &mut Vec<u8>| spelling.append(&vocab, id, bytes);
        let (bytes, ends) = running_text(vocab.len(), append)?;
        Ok(Self {
            vocab,
            method: Method::Json(Box::new(json)),
            special,
            assumption: None,
            bytes,
            ends,
        })
    }

    /// The size of a `tokenizer.json` of so many bytes, if it is one that can be read.
    ///
    /// # Errors
    /// `unsupported` for a larger one.
    #[cfg(feature = "tokenizer-json")]
    pub fn check_json_size(bytes: u64) -> Result<usize> {
        json::check_size(bytes)
    }

    /// The name of the pre-tokenizer that was assumed, if the file does not name one: that of a family of models which
    /// the vocabulary belongs to, or else `default`, which may give other tokens than the model was trained with.
    pub fn assumption(&self) -> Option<&str> {
        self.assumption
    }

    /// The number of tokens.
    pub fn vocab_size(&self) -> u32 {
        self.vocab.len()
    }

    /// The tokens of a text. An empty text has only the tokens that are added.
    ///
    /// # Errors
    /// `invalid-argument` for a text longer than [`MAX_TEXT_LEN`], or too long after the file's normalisation;
    /// `invalid-model` and `unsupported` if the text leads to a broken part of the file's `precompiled_charsmap`.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>> {
        let suffix = self.special.suffix.iter().copied();
        let suffix: Vec<_> = suffix
            .filter(|id| !self.is_end_of_generation(*id))
            .collect();
        self.encode_before(text, options, &suffix)
    }

    /// The tokens of a text that is not continued, as a model that embeds texts expects it: with all that the file asks for
    /// around a text, the end of a sequence (`add_eos_token`) included.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_whole(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_before(text, EncodeOptions::default(), &self.special.suffix)
    }

    fn encode_before(
        &self,
        text: &str,
        options: EncodeOptions,
        suffix: &[u32],
    ) -> Result<Vec<u32>> {
        check_length(text)?;
        let mut tokens = Vec::new();
        if options.add_special {
            tokens.extend(&self.special.prefix);
        }
        match &self.method {
            Method::File(markers, model) => {
                let parts = markers.split(&self.vocab, text, options.parse_special);
                self.encode_parts(model, parts, &mut tokens)?;
            }
            #[cfg(feature = "tokenizer-json")]
            Method::Json(json) => {
                let control = match options.parse_special {
                    true => json::Control::Anywhere,
                    false => json::Control::Nowhere,
                };
                json.encode(&self.vocab, text, control, &mut tokens)?;
            }
        }
        if options.add_special {
            tokens.extend(suffix);
        }
        Ok(tokens)
    }

    /// The tokens of a text that a chat template wrote, up to an answer. Control tokens are parsed in the given ranges of
    /// its bytes, which are the template's own text, and nowhere else. The text begins with the begin-of-sequence token
    /// if [`EncodeOptions::add_special`] would add it, but only once if the template writes it too. No token is added
    /// after it, because the model continues there.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str, template: &[Range<usize>]) -> Result<Vec<u32>> {
        check_length(text)?;
        let mut tokens = Vec::new();
        let written = match &self.method {
            Method::File(markers, model) => {
                let parts = markers.split_prompt(&self.vocab, text, template);
                let written = match parts.first() {
                    Some(Part::Token(id)) => Some(*id),
                    _ => None,
                };
                self.encode_parts(model, parts, &mut tokens)?;
                written
            }
            #[cfg(feature = "tokenizer-json")]
            Method::Json(json) => {
                let control = json::Control::In(template);
                json.encode(&self.vocab, text, control, &mut tokens)?;
                tokens.first().copied().filter(|id| self.is_marker(*id))
            }
        };
        let prefix = self.special.prefix.iter().copied();
        let prefix = prefix.filter(|id| Some(*id) != written);
        tokens.splice(..0, prefix.collect::<Vec<_>>());
        Ok(tokens)
    }

    fn encode_parts(
        &self,
        model: &Model,
        parts: Vec<Part<'_>>,
        tokens: &mut Vec<u32>,
    ) -> Result<()> {
        let mut first = true;
        for part in parts {
            match (part, model) {
                (Part::Token(id), _) => tokens.push(id),
                (Part::Text(text), Model::Bpe(bpe)) => bpe.encode(&self.vocab, text, tokens),
                (Part::Text(text), Model::Chunks) => {
                    chunks::encode(self.vocab_size(), text, tokens);
                }
                (Part::Text(text), Model::Spm(spm)) => {
                    spm.encode(&self.vocab, (text, first), tokens);
                }
                (Part::Text(text), Model::Wpm(wpm)) => wpm.encode(text, tokens),
                (Part::Text(text), Model::Ugm(ugm)) => ugm.encode(text, tokens)?,
                (Part::Text(text), Model::Rwkv(rwkv)) => rwkv.encode(text, tokens),
                (Part::Text(text), Model::Plamo2(plamo2)) => plamo2.encode(text, tokens),
            }
            first = matches!(part, Part::Token(_));
        }
        Ok(())
    }

    /// The tokens of a query and a document, as a reranker without a template expects them: each as a text of its own, with
    /// the tokens between that the file asks for.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_pair(&self, query: &str, document: &str) -> Result<Vec<u32>> {
        let plain = EncodeOptions {
            add_special: false,
            parse_special: false,
        };
        let [before, between, after] = &self.special.pair;
        let mut tokens = before.clone();
        tokens.extend(self.encode(query, plain)?);
        tokens.extend(between);
        tokens.extend(self.encode(document, plain)?);
        tokens.extend(after);
        Ok(tokens)
    }

    /// Whether a token has a name that is no text: a control token, or one that the file's author defined.
    pub fn is_marker(&self, id: u32) -> bool {
        matches!(
            self.token_type(id),
            TokenType::Control | TokenType::Unknown | TokenType::UserDefined
        )
    }

    /// The bytes that a token stands for in running text, independent of its neighbours: what a session streams. A
    /// control or unknown token has none; a character may span several tokens. `None` for a number outside the
    /// vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        let at = id as usize;
        let end = *self.ends.get(at)? as usize;
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..end)
    }

    /// The tokens' bytes, concatenated. The space that [`Self::adds_space`] puts before a text is kept: it belongs to
    /// the first token, and a stream keeps it too.
    ///
    /// # Errors
    /// `invalid-argument` for a number outside the vocabulary.
    pub fn decode(&self, ids: &[u32], special: SpecialTokens) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for &id in ids {
            let of_token = self.token_bytes(id).ok_or_else(|| {
                invalid_argument("token", format!("a number below {}", self.vocab_size()), id)
            })?;
            let named = matches!(self.token_type(id), TokenType::Control | TokenType::Unknown);
            match (special, self.name(id)) {
                (SpecialTokens::Render, Some(name)) if named => {
                    bytes.extend_from_slice(name.as_bytes())
                }
                _ => bytes.extend_from_slice(of_token),
            }
        }
        Ok(bytes)
    }

    /// Whether a text (and the text after a control token) is encoded with an extra space in front, so that decoding
    /// gives one byte more.
    pub fn adds_space(&self) -> bool {
        match &self.method {
            Method::File(_, model) => match model {
                Model::Spm(spm) => spm.space_prefix,
                Model::Ugm(ugm) => ugm.adds_space(),
                Model::Wpm(_) => true,
                Model::Bpe(_) | Model::Rwkv(_) | Model::Plamo2(_) | Model::Chunks => false,
            },
            #[cfg(feature = "tokenizer-json")]
            Method::Json(json) => json.adds_space,
        }
    }

    /// Whether [`EncodeOptions::add_special`] puts the begin-of-sequence token before a text.
    pub fn adds_bos(&self) -> bool {
        !self.special.prefix.is_empty()
    }

    /// The begin-of-sequence token, if there is one.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// The end-of-sequence token, if there is one.
    pub fn eos(&self) -> Option<u32> {
        self.special.eos
    }

    /// Whether a token ends an answer.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.special.ends.binary_search(&id).is_ok()
    }

    /// The tokens that end an answer, in ascending order.
    pub fn end_of_generation(&self) -> &[u32] {
        &self.special.ends
    }

    /// A token's text as in the file, or `None` for a number outside the vocabulary.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.vocab.text(id)
    }

    /// The token with this name.
    pub fn token_named(&self, name: &str) -> Option<u32> {
        self.vocab.find(name.as_bytes())
    }

    /// A token's type; `Undefined` for a number outside the vocabulary. A token with the name of a known control token
    /// is a control token, whatever the file says.
    pub fn token_type(&self, id: u32) -> TokenType {
        self.vocab.token_type(id)
    }
}

/// # Errors
/// `unsupported` for a kind of tokenizer that is not known.
fn check_kind(kind: &str) -> Result<()> {
    if matches!(
        kind,
        "llama" | "gpt2" | "gemma4" | "bert" | "t5" | "rwkv" | "plamo2" | "test"
    ) {
        return Ok(());
    }
    let found = match kind {
        "" => "none".into(),
        kind => format!("`{}`", kind.escape_default()),
    };
    Err(unsupported(
        "tokenizer.ggml.model",
        "`llama` (SentencePiece), `gpt2` or `gemma4` (byte-pair encoding), `bert` (WordPiece), `t5` (unigram), \
         `rwkv` or `plamo2`",
        found,
    ))
}

/// What is particular to a kind of tokenizer.
fn model(
    kind: &str,
    vocab: &mut Vocab,
    metadata: &Metadata,
) -> Result<(Special, Model, Option<&'static str>)> {
    let mut assumption = None;
    let unknown_key = "tokenizer.ggml.unknown_token_id";
    let (special, model) = match kind {
        "llama" => {
            let special = Special::find(vocab, metadata, Defaults::SPM)?;
            let spm = Spm::new(vocab, special.unknown.unwrap_or(0), metadata)?;
            (special, Model::Spm(spm))
        }
        "bert" => {
            let special = Special::find(vocab, metadata, Defaults::WPM)?;
            let unknown = needed(unknown_key, special.unknown)?;
            (special, Model::Wpm(Wpm::new(vocab, unknown, metadata)?))
        }
        "t5" => {
            let special = Special::find(vocab, metadata, Defaults::UGM)?;
            let unknown = needed(unknown_key, special.unknown)?;
            (special, Model::Ugm(Ugm::new(vocab, unknown, metadata)?))
        }
        "rwkv" => {
            let special = Special::find(vocab, metadata, Defaults::RWKV)?;
            let rwkv = Rwkv::new(vocab, special.unknown);
            (special, Model::Rwkv(rwkv))
        }
        "plamo2" => {
            let special = Special::find(vocab, metadata, Defaults::PLAMO2)?;
            (special, Model::Plamo2(Plamo2::new(vocab, metadata)?))
        }
        "test" => {
            let special = Special::find(vocab, metadata, Defaults::bpe(false))?;
            (special, Model::Chunks)
        }
        _ => {
            let name = match kind {
                "gemma4" => Some(kind),
                _ => metadata.str("tokenizer.ggml.pre")?,
            };
            let pre = Pre::named(name.unwrap_or_else(|| {
                let name = families::assumed(vocab);
                assumption = Some(name);
                name
            }))?;
            let mut defaults = Defaults::bpe(pre.add_bos != AddBos::IfSaid);
            // Some converters wrote `false` into files of Gemma 4.
            if pre.add_bos == AddBos::Always {
                defaults = defaults.needing_bos();
            }
            let special = Special::find(vocab, metadata, defaults)?;
            let bpe = Bpe::new(vocab, pre, metadata)?;
            (special, Model::Bpe(bpe))
        }
    };
    Ok((special, model, assumption))
}

fn check_length(text: &str) -> Result<()> {
    if text.len() <= MAX_TEXT_LEN {
        return Ok(());
    }
    let expected = format!("at most {MAX_TEXT_LEN} bytes");
    let found = format!("{} bytes", text.len());
    Err(invalid_argument("text", expected, found))
}

/// The bytes of `n` tokens, concatenated, and where each ends.
fn running_text(
    n: u32,
    append: impl Fn(u32, &mut Vec<u8>) -> Result<()>,
) -> Result<(Vec<u8>, Vec<u32>)> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(n as usize));
    for id in 0..n {
        append(id, &mut bytes)?;
        // Hardly longer than the texts, which are much shorter than 2^32 bytes.
        ends.push(bytes.len() as u32);
    }
    Ok((bytes, ends))
}

/// Appends the bytes that a token stands for in running text.
fn append_bytes(vocab: &Vocab, model: &Model, id: u32, bytes: &mut Vec<u8>) {
    let (text, ty) = (vocab.text(id).unwrap_or_default(), vocab.token_type(id));
    match model {
        Model::Bpe(bpe) if bpe.alphabet() == Alphabet::Bytes => bpe::append_bytes(text, ty, bytes),
        Model::Spm(_) | Model::Bpe(_) | Model::Wpm(_) | Model::Ugm(_) => {
            spm::append_bytes(text, ty, bytes)
        }
        Model::Rwkv(_) => rwkv::append_bytes(text, ty, bytes),
        Model::Plamo2(_) => plamo2::append_bytes(text, ty, bytes),
        Model::Chunks => chunks::append_bytes(id, bytes),
    }
}

#[cfg(test)]
mod tests;

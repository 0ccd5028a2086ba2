//! The tokenizer: text to tokens and back, as the model's file describes it.
//!
//! Two kinds exist among the models that this engine runs, and tokens come out as in llama.cpp for both: SentencePiece
//! with scores (`tokenizer.ggml.model` is `llama`) and byte-level byte-pair encoding (`gpt2`). In the order of use:
//! `vocab` (the checked lists), `special` (the tokens with a part to play), `markers` (tokens found by name),
//! then `spm`, or `pre` (cutting into words, by `rules` over `classes`) and `bpe`; `merge` and `index` are
//! what both stand on.

mod bpe;
mod classes;
mod index;
mod markers;
mod merge;
mod pre;
mod rules;
mod special;
mod spm;
mod vocab;

pub use vocab::TokenType;

use crate::error::{Result, invalid_argument, unsupported};
use crate::gguf::Metadata;
use bpe::Bpe;
use markers::{Markers, Part};
use pre::Pre;
use special::{Defaults, Special};
use spm::Spm;
use vocab::Vocab;

/// The length of a text at most, in bytes: about a million tokens, more than any context holds.
pub const MAX_TEXT_LEN: usize = 4 << 20;

/// How text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Adds the tokens that the model wants around a text, such as begin-of-sequence.
    pub add_special: bool,
    /// Reads the names of control tokens in the text as those tokens. For templates only.
    pub parse_special: bool,
}

impl Default for EncodeOptions {
    /// For text of users: special tokens are added and none is parsed.
    fn default() -> Self {
        Self {
            add_special: true,
            parse_special: false,
        }
    }
}

/// What control tokens (and unknown ones) give when tokens become text.
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
    model: Model,
    special: Special,
    markers: Markers,
    /// What each token stands for in running text, one after the other.
    bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    ends: Vec<u32>,
}

#[derive(Debug)]
enum Model {
    Spm(Spm),
    Bpe(Bpe),
}

impl Tokenizer {
    /// The tokenizer of a file.
    ///
    /// # Errors
    /// `invalid-model` for lists that do not fit together, `unsupported` for another kind of tokenizer or
    /// pre-tokenizer.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let key = "tokenizer.ggml.model";
        let kind = metadata.str(key)?;
        if !matches!(kind, Some("llama" | "gpt2")) {
            let found = kind.map_or("none".into(), |kind| format!("`{}`", kind.escape_default()));
            return Err(unsupported(
                key,
                "`llama` (SentencePiece) or `gpt2` (byte-level BPE)",
                found,
            ));
        }
        let mut vocab = Vocab::from_metadata(metadata)?;
        let (special, model) = if kind == Some("llama") {
            let special = Special::find(&mut vocab, metadata, Defaults::SPM)?;
            let spm = Spm::new(&vocab, special.unknown.unwrap_or(0), metadata)?;
            (special, Model::Spm(spm))
        } else {
            let pre = Pre::named(metadata.str("tokenizer.ggml.pre")?)?;
            let special = Special::find(&mut vocab, metadata, Defaults::bpe(pre.add_bos))?;
            let bpe = Bpe::new(&vocab, pre, metadata)?;
            (special, Model::Bpe(bpe))
        };
        let markers = Markers::new(&vocab, metadata);
        let (bytes, ends) = running_text(&vocab, &model);
        Ok(Self {
            vocab,
            model,
            special,
            markers,
            bytes,
            ends,
        })
    }

    /// The number of tokens.
    pub fn vocab_size(&self) -> u32 {
        self.vocab.len()
    }

    /// The tokens of a text. An empty text has none but those that are added.
    ///
    /// # Errors
    /// `invalid-argument` for a text longer than [`MAX_TEXT_LEN`].
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT_LEN {
            let found = format!("{} bytes", text.len());
            return Err(invalid_argument(
                "text",
                format!("at most {MAX_TEXT_LEN} bytes"),
                found,
            ));
        }
        let mut tokens = Vec::new();
        let (prefix, suffix) = (self.special.prefix, self.special.suffix);
        tokens.extend(prefix.filter(|_| options.add_special));
        let mut first = true;
        for part in self.markers.split(&self.vocab, text, options.parse_special) {
            match (part, &self.model) {
                (Part::Token(id), _) => tokens.push(id),
                (Part::Text(text), Model::Bpe(bpe)) => bpe.encode(&self.vocab, text, &mut tokens),
                (Part::Text(text), Model::Spm(spm)) => {
                    spm.encode(&self.vocab, (text, first), &mut tokens);
                }
            }
            first = matches!(part, Part::Token(_));
        }
        tokens.extend(suffix.filter(|_| options.add_special));
        Ok(tokens)
    }

    /// The bytes that a token stands for in running text, whatever stands around it: what a session streams. A control or
    /// unknown token has none; a character may span several tokens. `None` for a number outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        let at = id as usize;
        let end = *self.ends.get(at)? as usize;
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..end)
    }

    /// The tokens' bytes one after the other. The space that [`Self::adds_space`] puts before a text stays: it is the
    /// first token's own, and a stream keeps it too.
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

    /// Whether a text (and what follows a control token) is encoded with a space before it that is not its own, so that
    /// decoding gives one byte more.
    pub fn adds_space(&self) -> bool {
        matches!(&self.model, Model::Spm(spm) if spm.space_prefix)
    }

    /// Whether [`EncodeOptions::add_special`] puts the begin-of-sequence token before a text.
    pub fn adds_bos(&self) -> bool {
        self.special.prefix.is_some()
    }

    /// The token that begins a text, if there is one.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// The token that ends a text, if there is one.
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

    /// A token's text as the file has it, or `None` for a number outside the vocabulary.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.vocab.text(id)
    }

    /// The token with this name.
    pub fn token_named(&self, name: &str) -> Option<u32> {
        self.vocab.find(name.as_bytes())
    }

    /// What kind of token something is; `Undefined` for a number outside the vocabulary. A token with a known control
    /// token's name is one whatever the file says.
    pub fn token_type(&self, id: u32) -> TokenType {
        self.vocab.token_type(id)
    }
}

fn running_text(vocab: &Vocab, model: &Model) -> (Vec<u8>, Vec<u32>) {
    let append = match model {
        Model::Spm(_) => spm::append_bytes,
        Model::Bpe(_) => bpe::append_bytes,
    };
    let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(vocab.len() as usize));
    for id in 0..vocab.len() {
        append(
            vocab.text(id).unwrap_or_default(),
            vocab.token_type(id),
            &mut bytes,
        );
        // Never longer than the texts, which stay below 2^32 bytes.
        ends.push(bytes.len() as u32);
    }
    (bytes, ends)
}

#[cfg(test)]
mod tests;

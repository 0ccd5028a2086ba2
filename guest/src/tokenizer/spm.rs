//! SentencePiece's greedy tokenizer, as in llama.cpp: spaces become `▁`, characters are joined into the tokens with the
//! best scores, and text that is not a token falls back to its bytes.

use super::merge::{Join, Merger, NONE, Symbol};
use super::vocab::{self, TokenType, Vocab, byte_named};
use crate::error::Result;
use crate::gguf::Metadata;

/// What stands for a space.
pub(super) const SPACE: &str = "\u{2581}";

/// A vocabulary with scores.
#[derive(Debug)]
pub(super) struct Spm {
    /// By token: the better the score, the smaller the rank.
    ranks: Vec<u32>,
    /// By byte: the token that it falls back to.
    bytes: Vec<u32>,
    /// Whether an extra space is put before a text.
    pub(super) space_prefix: bool,
    /// The length of the longest token in bytes: longer pairs need not be looked up.
    longest: u32,
    /// No token has a space after another character, so words can be encoded one by one.
    pub(super) words_apart: bool,
}

impl Spm {
    /// `unknown` is the token for bytes that have no token of their own.
    ///
    /// # Errors
    /// `invalid-model` for scores that do not fit the vocabulary.
    pub(super) fn new(vocab: &Vocab, unknown: u32, metadata: &Metadata) -> Result<Self> {
        let scores = vocab::scores(metadata, vocab.len())?;
        let space_prefix = metadata.bool("tokenizer.ggml.add_space_prefix")?;
        let token_of = |byte: u8| {
            let name = format!("<0x{byte:02X}>");
            vocab
                .find(name.as_bytes())
                .or_else(|| vocab.find(&[byte]))
                .unwrap_or(unknown)
        };
        let texts = || {
            (0..vocab.len())
                .filter(|id| vocab.is_text(*id))
                .filter_map(|id| vocab.text(id))
        };
        Ok(Self {
            ranks: scores.into_iter().map(rank).collect(),
            bytes: (0..=255).map(token_of).collect(),
            space_prefix: space_prefix.unwrap_or(true),
            longest: texts().map(str::len).max().unwrap_or(0) as u32,
            words_apart: texts().all(|text| word_end(text) == text.len()),
        })
    }

    /// Appends the tokens of `text`. `first` means that it is preceded by nothing or by a marker.
    pub(super) fn encode(&self, vocab: &Vocab, (text, first): (&str, bool), tokens: &mut Vec<u32>) {
        let prefix = if first && self.space_prefix {
            SPACE
        } else {
            ""
        };
        let text = format!("{prefix}{}", text.replace(' ', SPACE));
        let (mut rest, mut merger) = (text.as_str(), Merger::default());
        while !rest.is_empty() {
            let end = if self.words_apart {
                word_end(rest)
            } else {
                rest.len()
            };
            let (word, behind) = rest.split_at(end);
            self.encode_word(vocab, word, &mut merger, tokens);
            rest = behind;
        }
    }

    fn encode_word(&self, vocab: &Vocab, word: &str, merger: &mut Merger, tokens: &mut Vec<u32>) {
        let bytes = |start: u32, len: u32| &word.as_bytes()[start as usize..(start + len) as usize];
        let find = |start, len| {
            vocab
                .find(bytes(start, len))
                .filter(|id| vocab.is_text(*id))
        };
        merger.symbols.clear();
        merger.symbols.extend(word.char_indices().map(|(start, c)| {
            let (start, len) = (start as u32, c.len_utf8() as u32);
            Symbol {
                start,
                len,
                id: find(start, len).unwrap_or(NONE),
            }
        }));
        merger.merge(|left, right| {
            let len = left.len + right.len;
            let id = (len <= self.longest).then(|| find(left.start, len))??;
            Some(Join {
                rank: self.ranks[id as usize],
                id,
            })
        });
        for symbol in &merger.symbols {
            if symbol.id != NONE {
                tokens.push(symbol.id);
            } else {
                let bytes = bytes(symbol.start, symbol.len).iter();
                tokens.extend(bytes.map(|byte| self.bytes[usize::from(*byte)]));
            }
        }
    }
}

/// Where the first word ends: before the first space that follows another character.
pub(super) fn word_end(text: &str) -> usize {
    let spaces = text.len() - text.trim_start_matches(SPACE).len();
    text[spaces..]
        .find(SPACE)
        .map_or(text.len(), |at| spaces + at)
}

/// The bytes that a token stands for in running text.
pub(super) fn append_bytes(text: &str, ty: TokenType, bytes: &mut Vec<u8>) {
    match ty {
        TokenType::Normal => bytes.extend_from_slice(text.replace(SPACE, " ").as_bytes()),
        TokenType::UserDefined => bytes.extend_from_slice(text.as_bytes()),
        TokenType::Byte => bytes.extend(byte_named(text)),
        _ => {}
    }
}

/// The rank of a score, in reverse order: the best score has the smallest rank. The score must not be NaN.
fn rank(score: f32) -> u32 {
    // The usual trick: floats of one sign have the same order as their bits. The sum turns -0 into 0.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn better_scores_come_first() {
        let scores = [
            f32::INFINITY,
            7.5,
            1e-40,
            0.0,
            -1e-40,
            -3.0,
            -1e9,
            f32::NEG_INFINITY,
        ];
        assert!(scores.map(rank).is_sorted_by(|a, b| a < b));
        assert_eq!(rank(-0.0), rank(0.0));
    }
}

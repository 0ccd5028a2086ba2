//! The tokenizer of PLaMo 2, as in llama.cpp: of all ways to spell a text in tokens, the one with the greatest sum of
//! scores.
//!
//! Unlike the unigram model of `ugm`, it adds scores as integers, from the end of the text, normalises nothing, and
//! spells a character that is no token in bytes. The reference walks all texts at once, like Aho and Corasick; looking
//! up the tokens that start at each character comes to the same tokens.

use super::trie::Trie;
use super::vocab::{self, TokenType, Vocab, byte_named};
use crate::error::{Result, invalid_model};
use crate::gguf::Metadata;

/// What scores are multiplied with before they are rounded.
const SCALE: f64 = 1e4;
/// The cost of a character that is spelled in bytes.
const BYTES_COST: i64 = 10_000_000;
/// A token with this score or a lower one is never used.
const LEAST_SCORE: f64 = -20_000_000.0;

/// A vocabulary with scores, and with a token for each byte.
#[derive(Debug)]
pub(super) struct Plamo2 {
    tokens: Trie,
    /// By token.
    scores: Vec<i32>,
    /// By byte.
    bytes: Vec<u32>,
}

/// The best way to spell a text from some place to its end.
#[derive(Debug, Clone, Copy, Default)]
struct Best {
    cost: i64,
    /// The length of the first token, in bytes.
    len: u32,
    /// The first token; `None` for a character in bytes.
    id: Option<u32>,
}

impl Plamo2 {
    /// # Errors
    /// `invalid-model` for scores that do not fit the vocabulary, and for a byte without a token.
    pub(super) fn new(vocab: &Vocab, metadata: &Metadata) -> Result<Self> {
        let scores = vocab::scores(metadata, vocab.len())?.into_iter();
        let scores: Vec<_> = scores
            .map(|score| (f64::from(score) * SCALE).round())
            .collect();
        let is_used = |id: u32| {
            let score = scores[id as usize];
            vocab.is_text(id) && score.is_finite() && score > LEAST_SCORE
        };
        let mut bytes = [None; 256];
        for (text, id) in vocab.texts(|id| vocab.token_type(id) == TokenType::Byte) {
            let byte = std::str::from_utf8(text).ok().and_then(byte_named);
            if let Some(byte) = byte {
                bytes[usize::from(byte)] = Some(id);
            }
        }
        let bytes = (0..=255).zip(bytes).map(|(byte, id): (u8, Option<u32>)| {
            let found = || format!("none for <0x{byte:02X}>");
            id.ok_or_else(|| {
                invalid_model("tokenizer.ggml.tokens", "a token for each byte", found())
            })
        });
        Ok(Self {
            tokens: Trie::new(vocab.texts(is_used)),
            bytes: bytes.collect::<Result<_>>()?,
            scores: scores.iter().map(|score| *score as i32).collect(),
        })
    }

    /// Appends the tokens of `text`. A byte order mark at its start is left out.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut best = vec![Best::default(); text.len() + 1];
        for (at, c) in text.char_indices().rev() {
            let len = c.len_utf8();
            let mut here = Best {
                cost: best[at + len].cost + BYTES_COST,
                len: len as u32,
                id: None,
            };
            self.tokens.walk(&text.as_bytes()[at..], |len, id| {
                let cost = best[at + len].cost - i64::from(self.scores[id as usize]);
                // Of equal ones, the longest token wins.
                if cost <= here.cost {
                    here = Best {
                        cost,
                        len: len as u32,
                        id: Some(id),
                    };
                }
            });
            best[at] = here;
        }
        let mut at = 0;
        while at < text.len() {
            let end = at + best[at].len as usize;
            match best[at].id {
                Some(id) => tokens.push(id),
                None => {
                    let bytes = text.as_bytes()[at..end].iter();
                    tokens.extend(bytes.map(|byte| self.bytes[usize::from(*byte)]));
                }
            }
            at = end;
        }
    }
}

/// The bytes that a token stands for in running text.
pub(super) fn append_bytes(text: &str, ty: TokenType, bytes: &mut Vec<u8>) {
    match ty {
        TokenType::Control | TokenType::Unknown => {}
        TokenType::Byte => bytes.extend(byte_named(text)),
        _ => bytes.extend_from_slice(text.as_bytes()),
    }
}

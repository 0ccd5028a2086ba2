//! The kinds of models, except the unigram model, which is the crate's.
//!
//! The crate has these too, but making one of its links in what reads files and asks for random numbers, and an engine
//! imports neither. Its rules are followed to the letter.

use super::file::Merge;
use crate::error::{Result, invalid_model};
use crate::pulse::work;
use crate::tokenizer::bpe::Merges;
use crate::tokenizer::merge::{Merger, NONE, Symbol};
use crate::tokenizer::vocab::{TokenType, Vocab};

/// A token found in a word, and where: its bytes from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The tokens of a model by their texts. Their numbers need not be their places.
#[derive(Debug)]
pub(super) struct Names {
    texts: Vocab,
    ids: Vec<u32>,
}

impl Names {
    pub(super) fn new(subject: &str, tokens: &[(String, u32)]) -> Result<Self> {
        let texts = tokens
            .iter()
            .map(|(text, _)| (text.as_str(), TokenType::Normal));
        Ok(Self {
            texts: Vocab::of(subject, texts)?,
            ids: tokens.iter().map(|(_, id)| *id).collect(),
        })
    }

    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let place = self.texts.find(text.as_bytes())?;
        Some(self.ids[place as usize])
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Byte-pair encoding of characters.
#[derive(Debug)]
pub(super) struct Bpe {
    pub(super) names: Names,
    merges: Merges,
    unknown: Option<u32>,
    /// Unknown characters in a row are one token.
    fuse_unk: bool,
    /// By byte: the token that spells it, if characters without a token are spelled and all bytes of them have one.
    bytes: Option<Vec<u32>>,
    /// A word that is a token is not built by merges.
    ignore_merges: bool,
    /// What is put before each character but the first, and after the last, to look it up.
    prefix: String,
    suffix: String,
}

/// How a [`Bpe`] works.
pub(super) struct BpeRules {
    pub(super) unknown: Option<u32>,
    pub(super) fuse_unk: bool,
    pub(super) byte_fallback: bool,
    pub(super) ignore_merges: bool,
    pub(super) prefix: String,
    pub(super) suffix: String,
}

impl Bpe {
    /// # Errors
    /// `invalid-model` for merges whose tokens are none.
    pub(super) fn new(
        subject: &str,
        names: Names,
        merges: Vec<Merge>,
        rules: BpeRules,
    ) -> Result<Self> {
        let find = |nth: usize, text: &str| {
            names.find(text).ok_or_else(|| {
                let found = format!("`{}` in merge {nth}, which is none", text.escape_default());
                invalid_model(subject, "merges of its tokens", found)
            })
        };
        let (mut pairs, mut joined) = (Vec::with_capacity(merges.len()), String::new());
        for (nth, Merge(left, right)) in merges.iter().enumerate() {
            work(1);
            // What is put before a character is there once in the whole.
            let rest = right.get(rules.prefix.len()..).ok_or_else(|| {
                let expected = format!("second tokens that start with `{}`", rules.prefix);
                invalid_model(subject, expected, format!("`{right}` in merge {nth}"))
            })?;
            joined.clear();
            joined.push_str(left);
            joined.push_str(rest);
            pairs.push([find(nth, left)?, find(nth, right)?, find(nth, &joined)?]);
        }
        let bytes = (0..=255).map(|byte| names.find(&format!("<0x{byte:02X}>")).unwrap_or(NONE));
        Ok(Self {
            bytes: rules.byte_fallback.then(|| bytes.collect()),
            merges: Merges::of(&latest(pairs)),
            names,
            unknown: rules.unknown,
            fuse_unk: rules.fuse_unk,
            ignore_merges: rules.ignore_merges,
            prefix: rules.prefix,
            suffix: rules.suffix,
        })
    }

    pub(super) fn tokenize(&self, word: &str, merger: &mut Merger) -> Vec<Piece> {
        let whole = self.ignore_merges.then(|| self.names.find(word)).flatten();
        if let Some(id) = whole {
            let end = word.len();
            return vec![Piece { id, start: 0, end }];
        }
        self.symbols(word, &mut merger.symbols);
        merger.merge(|left, right| self.merges.find(left.id, right.id));
        let piece = |symbol: &Symbol| {
            let start = symbol.start as usize;
            let end = start + symbol.len as usize;
            Piece {
                id: symbol.id,
                start,
                end,
            }
        };
        merger.symbols.iter().map(piece).collect()
    }

    /// A word's characters, in tokens. One without any is left out.
    fn symbols(&self, word: &str, symbols: &mut Vec<Symbol>) {
        symbols.clear();
        // Unknown characters that are not among the symbols yet.
        let mut unknown: Option<Symbol> = None;
        let mut spelled = String::new();
        for (start, c) in word.char_indices() {
            let (start, len) = (start as u32, c.len_utf8() as u32);
            let is_last = start as usize + c.len_utf8() == word.len();
            spelled.clear();
            if start > 0 {
                spelled.push_str(&self.prefix);
            }
            spelled.push(c);
            if is_last {
                spelled.push_str(&self.suffix);
            }
            if let Some(id) = self.names.find(&spelled) {
                symbols.extend(unknown.take());
                symbols.push(Symbol { start, len, id });
            } else if let Some(ids) = self.spelled(&spelled) {
                // As in the crate, these come before unknown characters that are waiting.
                symbols.extend((0..).zip(ids).map(|(at, id)| Symbol {
                    start: start + at,
                    len: 1,
                    id,
                }));
            } else if let Some(id) = self.unknown {
                unknown = Some(match unknown {
                    Some(before) if self.fuse_unk => Symbol {
                        len: before.len + len,
                        ..before
                    },
                    before => {
                        symbols.extend(before);
                        Symbol { start, len, id }
                    }
                });
            }
        }
        symbols.extend(unknown);
    }

    /// The tokens of a text's bytes, if each has one.
    fn spelled(&self, text: &str) -> Option<Vec<u32>> {
        let bytes = self.bytes.as_ref()?;
        let ids = text.bytes().map(|byte| bytes[usize::from(byte)]);
        ids.map(|id| (id != NONE).then_some(id)).collect()
    }
}

/// Of merges of the same two tokens, the last counts.
fn latest(pairs: Vec<[u32; 3]>) -> Vec<[u32; 3]> {
    let mut order: Vec<_> = (0..pairs.len()).collect();
    order.sort_unstable_by_key(|nth| (pairs[*nth][0], pairs[*nth][1], *nth));
    let same = |a: usize, b: usize| pairs[a][..2] == pairs[b][..2];
    let mut counts = vec![true; pairs.len()];
    for two in order.windows(2).filter(|two| same(two[0], two[1])) {
        counts[two[0]] = false;
    }
    let pairs = pairs.into_iter().zip(counts);
    pairs
        .filter_map(|(pair, counts)| counts.then_some(pair))
        .collect()
}

/// The longest tokens of a word, from left to right.
#[derive(Debug)]
pub(super) struct WordPiece {
    pub(super) names: Names,
    pub(super) unknown: u32,
    /// What is put before a part that is not the first, to look it up.
    pub(super) prefix: String,
    /// Longer words are unknown, in characters.
    pub(super) longest: usize,
}

impl WordPiece {
    pub(super) fn tokenize(&self, word: &str) -> Vec<Piece> {
        let unknown = vec![Piece {
            id: self.unknown,
            start: 0,
            end: word.len(),
        }];
        if word.chars().count() > self.longest {
            return unknown;
        }
        let (mut pieces, mut start, mut text) = (Vec::new(), 0, String::new());
        while start < word.len() {
            let ends = word[start..].char_indices().rev();
            let found = ends
                .map(|(at, c)| start + at + c.len_utf8())
                .find_map(|end| {
                    text.clear();
                    if start > 0 {
                        text.push_str(&self.prefix);
                    }
                    text.push_str(&word[start..end]);
                    work(1);
                    let id = self.names.find(&text)?;
                    Some(Piece { id, start, end })
                });
            let Some(piece) = found else {
                return unknown;
            };
            start = piece.end;
            pieces.push(piece);
        }
        pieces
    }
}

impl Merges {
    /// These merges, the first of them first.
    fn of(pairs: &[[u32; 3]]) -> Self {
        let mut merges = Self::with_capacity(pairs.len());
        for [left, right, id] in pairs {
            work(1);
            merges.push(*left, *right, *id);
        }
        merges
    }
}

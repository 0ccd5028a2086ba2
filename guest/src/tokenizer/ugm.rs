//! SentencePiece's unigram model, as in llama.cpp: the tokenizer of T5, and of XLM-RoBERTa and embedding models built
//! like it.
//!
//! A text is normalised (by `charsmap`, and white space by the file's flags), and spaces become `▁`. Of all ways to
//! spell it in tokens, the one with the greatest sum of scores is taken (Kudo, "Subword Regularization", 2018), which
//! Viterbi's algorithm finds from left to right. A character that is no token is unknown, with a score below all
//! others; unknown characters in a row are one token.
//!
//! A text is bytes here, because a user-defined token may break up a character (see `piece`), as in llama.cpp.

use super::charsmap::Charsmap;
use super::spm::{SPACE, word_end};
use super::trie::Trie;
use super::vocab::{self, TokenType, Vocab};
use crate::error::{Result, invalid_argument};
use crate::gguf::Metadata;

/// The longest allowed text after normalisation, in bytes: that of a longest allowed text of which every character is a
/// space, or is replaced by one four times as long.
const MAX_NORMALIZED_LEN: usize = 4 * super::MAX_TEXT_LEN;

/// How far below the least score that of an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// A vocabulary with scores, the logarithms of probabilities.
#[derive(Debug)]
pub(super) struct Ugm {
    tokens: Trie,
    user_defined: Trie,
    charsmap: Option<Charsmap>,
    /// By token.
    scores: Vec<f32>,
    unknown: u32,
    unknown_score: f32,
    /// Whether an extra space is put before a text.
    space_prefix: bool,
    /// Whether each run of spaces becomes one space before the word that follows, and each text starts with one.
    merge_spaces: bool,
    /// No token has a space after another character, so words can be encoded one by one.
    pub(super) words_apart: bool,
}

/// The best way to spell a text up to some place.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f64,
    /// Where the last token starts.
    start: u32,
    /// The last token.
    id: u32,
}

impl Ugm {
    /// # Errors
    /// `invalid-model` for scores that do not fit the vocabulary, and for keys of the wrong type.
    pub(super) fn new(vocab: &Vocab, unknown: u32, metadata: &Metadata) -> Result<Self> {
        use TokenType::*;
        let of_type =
            |types: &'static [TokenType]| vocab.texts(|id| types.contains(&vocab.token_type(id)));
        let mut scores = vocab::scores(metadata, vocab.len())?;
        let normal = of_type(&[Normal]).map(|(_, id)| scores[id as usize]);
        let least = normal.fold(f32::MAX, f32::min);
        for (_, id) in of_type(&[UserDefined]) {
            scores[id as usize] = 0.0;
        }
        let flag = |key| Ok(metadata.bool(key)?.unwrap_or(false));
        let is_word = |text: &[u8]| {
            let text = std::str::from_utf8(text).unwrap_or_default();
            word_end(text) == text.len()
        };
        const TEXT: &[TokenType] = &[Normal, UserDefined, Unused];
        Ok(Self {
            tokens: Trie::new(of_type(TEXT)),
            user_defined: Trie::new(of_type(&[UserDefined])),
            charsmap: Charsmap::from_metadata(metadata)?,
            scores,
            unknown,
            unknown_score: least - UNKNOWN_PENALTY,
            space_prefix: flag("tokenizer.ggml.add_space_prefix")?,
            merge_spaces: flag("tokenizer.ggml.remove_extra_whitespaces")?,
            words_apart: of_type(TEXT).all(|(text, _)| is_word(text)),
        })
    }

    /// Whether a text starts with an extra space.
    pub(super) fn adds_space(&self) -> bool {
        self.space_prefix || self.merge_spaces
    }

    /// Appends the tokens of `text`.
    ///
    /// # Errors
    /// `invalid-model` and `unsupported` if the text leads to a broken part of the file's `precompiled_charsmap`,
    /// `invalid-argument` for a text that normalisation makes too long.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<()> {
        let text = self.normalized(text.as_bytes())?;
        let (mut best, first) = (Vec::new(), tokens.len());
        match std::str::from_utf8(&text) {
            Ok(mut rest) if self.words_apart => {
                while !rest.is_empty() {
                    let (word, behind) = rest.split_at(word_end(rest));
                    self.encode_word(word.as_bytes(), &mut best, (tokens, first));
                    rest = behind;
                }
            }
            _ => self.encode_word(&text, &mut best, (tokens, first)),
        }
        Ok(())
    }

    /// Replaces what is to be replaced, and turns spaces into `▁`.
    fn normalized(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut normalized = Vec::with_capacity(text.len() + SPACE.len());
        let (mut rest, mut in_word, mut has_prefix) = (text, false, !self.space_prefix);
        while !rest.is_empty() {
            let (piece, len) = self.piece(rest)?;
            for &byte in piece {
                if byte == b' ' {
                    in_word = false;
                    if !self.merge_spaces {
                        normalized.extend_from_slice(SPACE.as_bytes());
                    }
                    continue;
                }
                if !in_word && (self.merge_spaces || !has_prefix) {
                    normalized.extend_from_slice(SPACE.as_bytes());
                    has_prefix = true;
                }
                in_word = true;
                normalized.push(byte);
            }
            if normalized.len() > MAX_NORMALIZED_LEN {
                let expected = format!("at most {MAX_NORMALIZED_LEN} bytes after normalisation");
                return Err(invalid_argument("text", expected, "more"));
            }
            rest = &rest[len..];
        }
        Ok(normalized)
    }

    /// What the start of `text`, which is not empty, is replaced by, and how long it is, at least one byte. The start
    /// of a user-defined token stays as it is, even if the rest of the token is missing and the start ends within a
    /// character. The rest of such a character is replaced by U+FFFD, byte by byte.
    fn piece<'a>(&'a self, text: &'a [u8]) -> Result<(&'a [u8], usize)> {
        let reach = self.user_defined.walk(text, |_, _| {});
        if reach > 0 {
            return Ok((&text[..reach], reach));
        }
        if let Some(charsmap) = &self.charsmap
            && let Some(replaced) = charsmap.longest(text)?
        {
            return Ok(replaced);
        }
        let is_rest = matches!(text[0], 0x80..=0xbf);
        let len = char_len(text);
        let piece = if is_rest {
            "\u{fffd}".as_bytes()
        } else {
            &text[..len]
        };
        Ok((piece, len))
    }

    /// Appends the tokens of `text`. Those from `first` on belong to the same text.
    fn encode_word(
        &self,
        text: &[u8],
        best: &mut Vec<Best>,
        (tokens, first): (&mut Vec<u32>, usize),
    ) {
        let nothing = Best {
            score: f64::MIN,
            start: 0,
            id: self.unknown,
        };
        best.clear();
        best.resize(text.len() + 1, nothing);
        best[0].score = 0.0;
        let mut at = 0;
        while at < text.len() {
            let (here, len) = (best[at].score, char_len(&text[at..]));
            let mut consider = |end: usize, id: u32, score: f32| {
                let score = here + f64::from(score);
                if score > best[end].score {
                    let start = at as u32;
                    best[end] = Best { score, start, id };
                }
            };
            let mut is_known = false;
            self.tokens.walk(&text[at..], |n, id| {
                is_known |= n == len;
                consider(at + n, id, self.scores[id as usize]);
            });
            if !is_known {
                consider(at + len, self.unknown, self.unknown_score);
            }
            at += len;
        }
        // Backwards from the end. Every token starts before its end, so this comes to the start.
        let (mut at, mut backwards) = (text.len(), Vec::new());
        while at > 0 {
            backwards.push(best[at].id);
            at = best[at].start as usize;
        }
        for &id in backwards.iter().rev() {
            let repeats = id == self.unknown && tokens[first..].last() == Some(&id);
            if !repeats {
                tokens.push(id);
            }
        }
    }
}

/// The length of the first character in bytes, by its first byte, or what is left of it.
fn char_len(text: &[u8]) -> usize {
    let len = match text[0] {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    };
    text.len().min(len)
}

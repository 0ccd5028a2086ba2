//! Byte-level byte-pair encoding: the file's merges join a word's bytes, the earliest merge first.
//!
//! Such vocabularies write each byte as a character (GPT-2's table: printable ones as they are, the others from U+0100
//! on). Gemma 4's starts from characters instead: a space is `▁`, and a character without a token is spelled in bytes.
//! Encoding works with token numbers and pairs of them, not with texts.
//!
//! The `tokenizers` crate implements this model too, and the tests use it as the reference. It is not used here because
//! it does not fit: its regular expressions silently stop on a million spaces (there is a test for that), it rejects a
//! file with a single malformed merge, it allocates a string for each text and each half of a merge while loading, and
//! it would make up most of the component.

use super::index::Index;
use super::merge::{Join, Merger, NONE, Symbol};
use super::pre::{Alphabet, Pre};
use super::spm::SPACE;
use super::vocab::{TokenType, Vocab, byte_named};
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::Metadata;
use crate::pulse::work;

/// The most merges allowed. Llama 3 has 280,147.
pub(super) const MAX_MERGES: usize = 1 << 21;

/// A vocabulary with merges.
#[derive(Debug)]
pub(super) struct Bpe {
    pre: Pre,
    /// By byte: its token, or [`NONE`].
    bytes: Vec<u32>,
    merges: Merges,
}

/// Merges in file order: the pair and what it becomes.
#[derive(Debug)]
pub(super) struct Merges {
    pairs: Vec<[u32; 3]>,
    index: Index,
}

impl Bpe {
    /// # Errors
    /// `invalid-model` for merges that are not pairs, `unsupported` for too many.
    pub(super) fn new(vocab: &Vocab, pre: Pre, metadata: &Metadata) -> Result<Self> {
        let token_of = |byte: u8| {
            let text = match pre.alphabet {
                Alphabet::Bytes => char_of(byte).to_string(),
                Alphabet::Characters => format!("<0x{byte:02X}>"),
            };
            vocab.find(text.as_bytes()).unwrap_or(NONE)
        };
        Ok(Self {
            pre,
            bytes: (0..=255).map(token_of).collect(),
            merges: Merges::from_metadata(vocab, metadata)?,
        })
    }

    /// Appends the tokens of `text`. A byte without a token is skipped, as in llama.cpp: real vocabularies lack only
    /// bytes that never occur in UTF-8.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, tokens: &mut Vec<u32>) {
        if self.alphabet() == Alphabet::Characters {
            return self.encode_characters(vocab, text, tokens);
        }
        let (mut merger, mut name) = (Merger::default(), String::new());
        self.pre.split(text, |word| {
            work(1);
            if self.pre.keeps_whole(word) {
                name.clear();
                name.extend(word.bytes().map(char_of));
                if let Some(id) = vocab.find(name.as_bytes()).filter(|id| vocab.is_text(*id)) {
                    tokens.push(id);
                    return;
                }
            }
            merger.symbols.clear();
            let ids = word.bytes().map(|byte| self.bytes[usize::from(byte)]);
            let symbols = (0..)
                .zip(ids)
                .map(|(start, id)| Symbol { start, len: 1, id });
            merger.symbols.extend(symbols);
            merger.merge(|left, right| self.merges.find(left.id, right.id));
            let ids = merger.symbols.iter().map(|symbol| symbol.id);
            tokens.extend(ids.filter(|id| *id != NONE));
        });
    }

    pub(super) fn alphabet(&self) -> Alphabet {
        self.pre.alphabet
    }

    fn encode_characters(&self, vocab: &Vocab, text: &str, tokens: &mut Vec<u32>) {
        let text = text.replace(' ', SPACE);
        let find = |text: &str| {
            let id = vocab.find(text.as_bytes());
            id.filter(|id| vocab.is_text(*id))
        };
        let mut merger = Merger::default();
        self.pre.split(&text, |word| {
            work(1);
            if self.pre.keeps_whole(word)
                && let Some(id) = find(word)
            {
                tokens.push(id);
                return;
            }
            merger.symbols.clear();
            merger.symbols.extend(word.char_indices().map(|(start, c)| {
                let (start, len) = (start as u32, c.len_utf8() as u32);
                let id = find(c.encode_utf8(&mut [0; 4])).unwrap_or(NONE);
                Symbol { start, len, id }
            }));
            merger.merge(|left, right| self.merges.find(left.id, right.id));
            for symbol in &merger.symbols {
                if symbol.id != NONE {
                    tokens.push(symbol.id);
                    continue;
                }
                let bytes = word.bytes().skip(symbol.start as usize);
                let ids = bytes.map(|byte| self.bytes[usize::from(byte)]);
                tokens.extend(ids.take(symbol.len as usize).filter(|id| *id != NONE));
            }
        });
    }
}

impl Merges {
    /// A merge with a token that is not in the vocabulary could never lead to a token and is skipped, as is one that
    /// repeats an earlier merge or makes a control token.
    fn from_metadata(vocab: &Vocab, metadata: &Metadata) -> Result<Self> {
        let key = "tokenizer.ggml.merges";
        let Some(merges) = metadata.strings(key)? else {
            return Err(invalid_model(key, "an array of strings", "nothing"));
        };
        if merges.len() > MAX_MERGES {
            let found = format!("{} merges", merges.len());
            return Err(unsupported(key, format!("at most {MAX_MERGES}"), found));
        }
        let mut all = Self::with_capacity(merges.len());
        let (mut joined, mut last) = (Vec::new(), 0);
        for (nth, merge) in merges.iter_strings().enumerate() {
            // The first byte belongs to the left half even if it is a space.
            let space = merge.iter().skip(1).position(|byte| *byte == b' ');
            let Some((left, right)) = space.map(|at| (&merge[..at + 1], &merge[at + 2..])) else {
                let found = format!("`{}` as merge {nth}", merge.escape_ascii());
                return Err(invalid_model(key, "two tokens separated by a space", found));
            };
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            // Most vocabularies list tokens in the order of their merges, so checking there first avoids a search.
            let next = (last..=last + 1).find(|id| vocab.is_named(*id, &joined));
            let ids = [vocab.find(left), vocab.find(right)];
            if let [Some(left), Some(right)] = ids
                && let Some(id) = next.or_else(|| vocab.find(&joined))
            {
                last = id;
                if vocab.is_text(id) {
                    all.push(left, right, id);
                }
            }
        }
        Ok(all)
    }

    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            pairs: Vec::with_capacity(count),
            index: Index::with_capacity(count),
        }
    }

    /// Adds a merge after all others.
    pub(super) fn push(&mut self, left: u32, right: u32, id: u32) {
        let hash = self.index.hash_number(pair(left, right));
        let same = |nth: u32| self.pairs[nth as usize][..2] == [left, right];
        let first = self.index.insert(hash, self.pairs.len() as u32, same);
        if first.is_none() {
            self.pairs.push([left, right, id]);
        }
    }

    pub(super) fn find(&self, left: u32, right: u32) -> Option<Join> {
        let hash = self.index.hash_number(pair(left, right));
        let rank = self
            .index
            .find(hash, |nth| self.pairs[nth as usize][..2] == [left, right])?;
        Some(Join {
            rank,
            id: self.pairs[rank as usize][2],
        })
    }
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The bytes that a token stands for in running text. A text with a character that stands for no byte is used
/// unchanged.
pub(super) fn append_bytes(text: &str, ty: TokenType, bytes: &mut Vec<u8>) {
    match ty {
        TokenType::Normal => {
            let before = bytes.len();
            for c in text.chars() {
                let Some(byte) = byte_of(c) else {
                    bytes.truncate(before);
                    bytes.extend_from_slice(text.as_bytes());
                    return;
                };
                bytes.push(byte);
            }
        }
        TokenType::UserDefined => bytes.extend_from_slice(text.as_bytes()),
        TokenType::Byte => bytes.extend(byte_named(text)),
        _ => {}
    }
}

/// The bytes that are not written as themselves, in the order of their characters from U+0100 on.
const MOVED: [u8; 68] = {
    let (mut moved, mut n, mut byte) = ([0; 68], 0, 0);
    while byte < 256 {
        if !stays(byte as u8) {
            moved[n] = byte as u8;
            n += 1;
        }
        byte += 1;
    }
    moved
};

const fn stays(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character that stands for each byte.
const CHARS: [char; 256] = {
    let (mut chars, mut byte) = (['\0'; 256], 0);
    while byte < 256 {
        chars[byte] = byte as u8 as char;
        byte += 1;
    }
    let mut n = 0;
    while n < MOVED.len() {
        // U+0100 to U+0143.
        if let Some(c) = char::from_u32(0x100 + n as u32) {
            chars[MOVED[n] as usize] = c;
        }
        n += 1;
    }
    chars
};

pub(super) fn char_of(byte: u8) -> char {
    CHARS[usize::from(byte)]
}

fn byte_of(c: char) -> Option<u8> {
    match u8::try_from(c) {
        Ok(byte) => stays(byte).then_some(byte),
        Err(_) => MOVED.get((c as usize).checked_sub(0x100)?).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::{byte_of, char_of};

    #[test]
    fn every_byte_has_a_character_and_comes_back() {
        for byte in 0..=255 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        // From GPT-2's published vocabulary: a space, a newline, the byte 0xAD.
        assert_eq!([b' ', b'\n', 0xAD].map(char_of), ['Ġ', 'Ċ', 'Ń']);
        assert_eq!(
            ['\u{144}', ' ', '\u{ad}', '\u{4e00}'].map(byte_of),
            [None; 4]
        );
    }
}

//! SentencePiece's `precompiled_charsmap`: which strings a text's normalisation replaces by which others.
//!
//! The file has it as bytes: the length of a trie, the trie, and the replacements, each ending in a zero. The trie is a
//! double array (Kanda, "Space- and Time-Efficient String Dictionaries", 2018; Darts-clone's layout) of 32-bit units:
//!
//! | bits | of a node | of a value |
//! |---|---|---|
//! | 0-7 | the byte that leads to it | where the replacement starts: bits 0-30 |
//! | 8 | whether a value belongs to it | |
//! | 9 | whether the base is multiplied by 256 | |
//! | 10-30 | the base | |
//! | 31 | 0 | 1 |
//!
//! A node's base, combined with its own index by XOR, is where its value is, and combined with a byte where the child for
//! this byte would be: it is one if its own bits 0-7 and 31 say so. Nothing of that is known to hold until a text leads
//! there, so everything is checked then: a trie may have any index, a circle, or no end of a replacement.

use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::Metadata;

const KEY: &str = "tokenizer.ggml.precompiled_charsmap";

/// The longest key, and the longest replacement, in bytes. The longest known replacement has 33: a ligature of four
/// words.
const MAX_LEN: usize = 256;

/// Replacements of strings.
#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

impl Charsmap {
    /// # Errors
    /// `invalid-model` for a key of the wrong type, and for a map that is not divided into a trie and replacements.
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<Option<Self>> {
        let Some(bytes) = metadata.bytes(KEY)? else {
            return Ok(None);
        };
        let split = bytes.split_first_chunk().and_then(|(len, rest)| {
            let len = u32::from_le_bytes(*len) as usize;
            rest.split_at_checked(len)
                .filter(|(_, rest)| !rest.is_empty())
        });
        let Some((trie, replacements)) = split else {
            let expected = "the length of a trie, the trie, and replacements";
            return Err(invalid_model(
                KEY,
                expected,
                format!("{} bytes", bytes.len()),
            ));
        };
        let (units, _) = trie.as_chunks();
        let map = Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: replacements.to_vec(),
        };
        Ok((!map.units.is_empty()).then_some(map))
    }

    /// The longest key that `text` starts with: its replacement and its length.
    ///
    /// # Errors
    /// `invalid-model` where the map leads outside itself, `unsupported` for a longer key or replacement than allowed.
    pub(super) fn longest(&self, text: &[u8]) -> Result<Option<(&[u8], usize)>> {
        let (mut at, mut longest) = (base(self.unit(0)?), None);
        for (len, &byte) in text.iter().enumerate() {
            if byte == 0 {
                break;
            }
            at ^= u32::from(byte);
            let node = self.unit(at)?;
            if node & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            if len == MAX_LEN {
                let expected = format!("keys of at most {MAX_LEN} bytes");
                return Err(unsupported(KEY, expected, "a longer one"));
            }
            at ^= base(node);
            if node & 1 << 8 != 0 {
                longest = Some((self.unit(at)? & !(1 << 31), len + 1));
            }
        }
        let replacement = longest.map(|(start, len)| Ok((self.replacement(start)?, len)));
        replacement.transpose()
    }

    fn unit(&self, at: u32) -> Result<u32> {
        self.units.get(at as usize).copied().ok_or_else(|| {
            let expected = format!("indices below {} in its trie", self.units.len());
            invalid_model(KEY, expected, at)
        })
    }

    fn replacement(&self, start: u32) -> Result<&[u8]> {
        let text = self.replacements.get(start as usize..);
        let text = text.filter(|text| !text.is_empty()).ok_or_else(|| {
            let expected = format!("replacements before byte {}", self.replacements.len());
            invalid_model(KEY, expected, format!("one at {start}"))
        })?;
        let len = text.iter().take(MAX_LEN + 1).position(|byte| *byte == 0);
        match len {
            Some(len) => Ok(&text[..len]),
            None => {
                let expected = format!("replacements of at most {MAX_LEN} bytes and a zero");
                Err(unsupported(KEY, expected, format!("another at {start}")))
            }
        }
    }
}

fn base(unit: u32) -> u32 {
    (unit >> 10) << if unit & 1 << 9 != 0 { 8 } else { 0 }
}

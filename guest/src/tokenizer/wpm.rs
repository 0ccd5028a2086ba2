//! WordPiece, as in llama.cpp: the tokenizer of BERT and of embedding models built like it.
//!
//! A text is lower-cased, loses its accents and is cut into words at white space; punctuation and Chinese characters
//! are words of their own. Each word is then the longest token it starts with, again and again. GGUF marks the tokens
//! that start a word with `▁`, and the others, `##ing` in the model's own files, have no mark. A word that cannot be
//! spelled in tokens to its end is unknown as a whole.
//!
//! Lower case and accents go by llama.cpp's rules, which are simpler than Unicode's: a character becomes the first one
//! of its decomposition, then the first one of its lower case.

use unicode_normalization::char::decompose_canonical;

use super::classes::{self, class_of};
use super::spm;
use super::trie::Trie;
use super::vocab::Vocab;
use crate::error::Result;
use crate::gguf::Metadata;

/// A vocabulary of words and their parts.
#[derive(Debug)]
pub(super) struct Wpm {
    tokens: Trie,
    /// The token of a word that cannot be spelled.
    unknown: u32,
    lower_case: bool,
    strip_accents: bool,
}

impl Wpm {
    /// # Errors
    /// `invalid-model` for a key of the wrong type.
    pub(super) fn new(vocab: &Vocab, unknown: u32, metadata: &Metadata) -> Result<Self> {
        let lower_case = metadata.bool("tokenizer.ggml.normalizer.lowercase")?;
        let lower_case = lower_case.unwrap_or(true);
        let strip_accents = metadata.bool("tokenizer.ggml.normalizer.strip_accents")?;
        Ok(Self {
            tokens: Trie::new(vocab.texts(|id| vocab.is_text(id))),
            unknown,
            lower_case,
            strip_accents: strip_accents.unwrap_or(lower_case),
        })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut word = String::from(spm::SPACE);
        for c in text.chars() {
            let c = if self.strip_accents {
                without_accents(c)
            } else {
                c
            };
            let class = class_of(c);
            if class == classes::SPACE {
                self.end_word(&mut word, tokens);
                continue;
            }
            if is_dropped(c) || (self.strip_accents && class == classes::MARK) {
                continue;
            }
            let apart = class == classes::PUNCTUATION
                || (class == classes::SYMBOL && c < '\u{7f}')
                || is_chinese(c);
            if apart {
                self.end_word(&mut word, tokens);
            }
            word.push(if self.lower_case { lower_case(c) } else { c });
            if apart {
                self.end_word(&mut word, tokens);
            }
        }
        self.end_word(&mut word, tokens);
    }

    /// Appends the tokens of `word`, if it is not empty, and starts the next one.
    fn end_word(&self, word: &mut String, tokens: &mut Vec<u32>) {
        if word.len() == spm::SPACE.len() {
            return;
        }
        let before = tokens.len();
        let mut rest = word.as_bytes();
        while !rest.is_empty() {
            let Some((len, id)) = self.tokens.longest(rest) else {
                tokens.truncate(before);
                tokens.push(self.unknown);
                break;
            };
            tokens.push(id);
            rest = &rest[len..];
        }
        word.truncate(spm::SPACE.len());
    }
}

/// The first character of the canonical decomposition.
fn without_accents(c: char) -> char {
    let mut first = None;
    decompose_canonical(c, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(c)
}

/// The lower case in one character. In full, that of `İ` has two.
fn lower_case(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Characters that are left out: the replacement character, and those that control something, are formatting or have a
/// private meaning. An unassigned character stays.
fn is_dropped(c: char) -> bool {
    c == char::REPLACEMENT_CHARACTER || c.is_control() || is_private(c) || is_format(c)
}

/// `\p{Co}`.
fn is_private(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

/// `\p{Cf}`, which is part of a larger class in `classes`.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
        | '\u{e0020}'..='\u{e007f}')
}

/// The ranges that are cut into single characters. The sixth starts 256 characters late, as in the `tokenizers` crate and
/// in llama.cpp.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2b73f}'
        | '\u{2b740}'..='\u{2b81f}' | '\u{2b920}'..='\u{2ceaf}' | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_becomes_the_first_of_its_parts() {
        // ế decomposes in two steps, a Hangul syllable by rule, and U+0344 into two marks.
        let found = ['a', 'é', 'ế', 'Å', '각', '\u{344}', 'ﬁ', 'İ'].map(without_accents);
        assert_eq!(found, ['a', 'e', 'e', 'A', 'ᄀ', '\u{308}', 'ﬁ', 'I']);
        assert_eq!(
            ['A', 'İ', 'Σ', 'ß', 'ǅ'].map(lower_case),
            ['a', 'i', 'σ', 'ß', 'ǆ']
        );
    }

    /// The reference: regex-syntax's tables.
    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn format_and_private_characters_are_those_of_regex_syntax() {
        type Check = fn(char) -> bool;
        for (name, is) in [(r"\p{Cf}", is_format as Check), (r"\p{Co}", is_private)] {
            let hir = regex_syntax::parse(name).expect("a class");
            let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) =
                hir.kind()
            else {
                panic!("{name} is a class of characters")
            };
            let mut expected = 0;
            for range in set.ranges() {
                for c in range.start()..=range.end() {
                    assert!(is(c), "{name}: {c:?}");
                    expected += 1;
                }
            }
            let found = ('\0'..=char::MAX).filter(|c| is(*c)).count();
            assert_eq!(found, expected, "{name}");
        }
    }
}

//! The tokens that a text is searched for, before and after it is normalised.
//!
//! The crate's own search (`AddedVocabulary`) knows two ways: all of them count, or none that is `special`. Here control
//! tokens count where the template wrote them, which needs the place of each. What counts as found, and which white space
//! goes with it, is as in the crate.

use std::ops::Range;

use tokenizers::normalizer::Range as Span;
use tokenizers::{NormalizedString, Token};

use super::Control;
use super::file::AddedToken;
use crate::error::Result;
use crate::tokenizer::classes::is_word;
use crate::tokenizer::markers::{Set, counts_in_prompt};
use crate::tokenizer::vocab::{TokenType, Vocab};

/// Tokens to search for.
#[derive(Debug)]
pub(super) struct Added {
    /// Those that are no control tokens.
    text: Set,
    /// All of them.
    all: Set,
    /// Those with rules of their own, and the texts that they are searched for as, by their numbers.
    tokens: Vec<Sought>,
}

#[derive(Debug)]
struct Sought {
    id: u32,
    text: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
}

/// A part of a text, and its token if it is one.
type Part = (NormalizedString, Option<Vec<Token>>);

impl Added {
    /// The tokens to search for, each as the text that `written` makes of its name.
    pub(super) fn new<'t>(
        vocab: &Vocab,
        tokens: impl Iterator<Item = &'t AddedToken>,
        written: impl Fn(&str) -> Result<String>,
    ) -> Result<Self> {
        let mut sought = Vec::new();
        for token in tokens {
            sought.push(Sought {
                id: token.id,
                text: written(&token.content)?,
                single_word: token.single_word,
                lstrip: token.lstrip,
                rstrip: token.rstrip,
            });
        }
        sought.sort_by_key(|token| token.id);
        let text = |id: u32| match sought.binary_search_by_key(&id, |token| token.id) {
            Ok(at) => sought[at].text.as_bytes(),
            Err(_) => b"",
        };
        let ids = || sought.iter().map(|token| token.id);
        let is_text = |id: &u32| vocab.token_type(*id) == TokenType::UserDefined;
        Ok(Self {
            text: Set::new(ids().filter(is_text).collect(), text)?,
            all: Set::new(ids().collect(), text)?,
            tokens: sought,
        })
    }

    fn sought(&self, id: u32) -> Option<&Sought> {
        let at = self.tokens.binary_search_by_key(&id, |token| token.id);
        at.ok().map(|at| &self.tokens[at])
    }

    /// The parts of a text. `control` says where control tokens count.
    pub(super) fn split(
        &self,
        vocab: &Vocab,
        text: &NormalizedString,
        control: Control<'_>,
    ) -> Vec<Part> {
        let set = match control {
            Control::Nowhere => &self.text,
            Control::Anywhere | Control::In(_) => &self.all,
        };
        let inside = text.get();
        let begin = text.offsets_original().0;
        let counts = |id: u32, found: &Range<usize>| match control {
            Control::Nowhere | Control::Anywhere => true,
            Control::In(template) => {
                // Where it is in the text as it was.
                let original = text.convert_offsets(Span::Normalized(found.clone()));
                original.is_some_and(|original| {
                    let original = begin + original.start..begin + original.end;
                    counts_in_prompt(
                        vocab.token_type(id),
                        &inside[found.clone()],
                        original,
                        template,
                    )
                })
            }
        };
        let len = |id: u32| self.sought(id).map_or(0, |token| token.text.len());
        let part = |range: Range<usize>| text.slice(Span::Normalized(range));
        let (mut parts, mut at) = (Vec::new(), 0);
        for (id, found) in set.matches(inside, len, counts) {
            let Some(token) = self.sought(id) else {
                continue;
            };
            let (before, after) = (&inside[..found.start], &inside[found.end..]);
            if token.single_word
                && (before.chars().next_back().is_some_and(is_word)
                    || after.chars().next().is_some_and(is_word))
            {
                continue;
            }
            let (mut start, mut end) = (found.start, found.end);
            if token.lstrip {
                start = before.trim_end().len().max(at);
            }
            if token.rstrip {
                end += after.len() - after.trim_start().len();
            }
            if at < start {
                parts.extend(part(at..start).map(|text| (text, None)));
            }
            let token = Token::new(id, String::new(), (0, end - start));
            parts.extend(part(start..end).map(|text| (text, Some(vec![token]))));
            at = end;
        }
        if at < inside.len() {
            parts.extend(part(at..inside.len()).map(|text| (text, None)));
        }
        parts
    }
}

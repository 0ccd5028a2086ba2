//! Markers: tokens that are searched for by name in a text before anything else.
//!
//! User-defined tokens always count; control and unknown tokens only if the caller asks for it, because user text must
//! not be able to produce `<|im_end|>`. The search goes from left to right, and at each position the longest marker
//! wins. (llama.cpp searches for the longest marker first; the results differ only if one marker ends with the start of
//! a longer one, which no known vocabulary has, and left to right needs one pass.)

use super::vocab::{TokenType, Vocab};
use crate::gguf::Metadata;

/// The markers of a vocabulary.
#[derive(Debug)]
pub(super) struct Markers {
    /// The markers that always count.
    always: Set,
    /// All markers.
    all: Set,
    /// Phi-3's markers swallow the white space after them, except these.
    swallow: Option<[Option<u32>; 3]>,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

/// Tokens in the order of their texts.
#[derive(Debug)]
struct Set {
    ids: Vec<u32>,
    /// Whether any of them starts with this byte.
    begins: [bool; 256],
}

impl Markers {
    pub(super) fn new(vocab: &Vocab, metadata: &Metadata) -> Self {
        let set = |types: &[TokenType]| {
            let wanted = |id: &u32| types.contains(&vocab.token_type(*id));
            Set::new(vocab, (0..vocab.len()).filter(wanted).collect())
        };
        // The file does not say so; llama.cpp also uses the model's name.
        let name = metadata
            .str("general.name")
            .ok()
            .flatten()
            .unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let swallow = (name.contains("phi-3") || name.contains("phi3"))
            .then(|| ["<unk>", "<s>", "<|endoftext|>"].map(|text| vocab.find(text.as_bytes())));
        Self {
            always: set(&[TokenType::UserDefined]),
            all: set(&[
                TokenType::UserDefined,
                TokenType::Control,
                TokenType::Unknown,
            ]),
            swallow,
        }
    }

    /// Splits a text into parts, none of them empty. With `parse_special`, control and unknown tokens count too.
    pub(super) fn split<'t>(
        &self,
        vocab: &Vocab,
        text: &'t str,
        parse_special: bool,
    ) -> Vec<Part<'t>> {
        let set = if parse_special {
            &self.all
        } else {
            &self.always
        };
        let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let Some((id, len)) = set.longest_at(vocab, &text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            if start < at {
                parts.push(Part::Text(&text[start..at]));
            }
            parts.push(Part::Token(id));
            at += len;
            if self
                .swallow
                .is_some_and(|except| !except.contains(&Some(id)))
            {
                let space = |b: &&u8| matches!(b, b' ' | b'\t'..=b'\r');
                at += text.as_bytes()[at..].iter().take_while(space).count();
            }
            start = at;
        }
        if start < text.len() {
            parts.push(Part::Text(&text[start..]));
        }
        parts
    }
}

impl Set {
    fn new(vocab: &Vocab, mut ids: Vec<u32>) -> Self {
        ids.sort_unstable_by_key(|id| vocab.text(*id));
        let mut begins = [false; 256];
        for first in ids.iter().filter_map(|id| vocab.text(*id)?.bytes().next()) {
            begins[usize::from(first)] = true;
        }
        Self { ids, begins }
    }

    /// The longest marker that `bytes` starts with, and its length. Narrows the sorted list byte by byte.
    fn longest_at(&self, vocab: &Vocab, bytes: &[u8]) -> Option<(u32, usize)> {
        if !self.begins[usize::from(*bytes.first()?)] {
            return None;
        }
        let byte = |id: &u32, at: usize| {
            vocab
                .text(*id)
                .and_then(|text| text.as_bytes().get(at).copied())
        };
        let (mut ids, mut longest) = (self.ids.as_slice(), None);
        for (at, wanted) in bytes.iter().enumerate() {
            // `None`, the end of a shorter text, sorts before any byte.
            ids = &ids[ids.partition_point(|id| byte(id, at) < Some(*wanted))..];
            ids = &ids[..ids.partition_point(|id| byte(id, at) == Some(*wanted))];
            match ids.first() {
                None => break,
                Some(id) if byte(id, at + 1).is_none() => longest = Some((*id, at + 1)),
                Some(_) => {}
            }
        }
        longest
    }
}

//! Markers: tokens that are looked for in a text by their name before anything else is done with it.
//!
//! User-defined tokens always count; control and unknown tokens only where the caller asks, because text of users must
//! not be able to say `<|im_end|>`. At each place the longest marker wins, from left to right. (llama.cpp places the
//! longest marker of all first; the two differ only if one marker ends as a longer one begins, which no known
//! vocabulary has, and left to right needs one pass.)

use super::vocab::{TokenType, Vocab};
use crate::gguf::Metadata;

/// The markers of a vocabulary.
#[derive(Debug)]
pub(super) struct Markers {
    /// Those that always count.
    always: Set,
    /// All of them.
    all: Set,
    /// Phi-3's markers swallow the white space behind them, except these.
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
    /// Whether any of them begins with this byte.
    begins: [bool; 256],
}

impl Markers {
    pub(super) fn new(vocab: &Vocab, metadata: &Metadata) -> Self {
        let set = |types: &[TokenType]| {
            let wanted = |id: &u32| types.contains(&vocab.token_type(*id));
            Set::new(vocab, (0..vocab.len()).filter(wanted).collect())
        };
        // The file says nothing of it; llama.cpp goes by the model's name too.
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

    /// The parts of a text, none of them empty. `parse_special`: control and unknown tokens count too.
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

    /// The longest marker that `bytes` begin with, and its length. Narrows the sorted list byte by byte.
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

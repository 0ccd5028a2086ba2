//! Markers: tokens that are searched for by name in a text before anything else.
//!
//! User-defined tokens always count; control and unknown tokens only if the caller asks for it, because user text must
//! not be able to produce `<|im_end|>`. The search goes from left to right, and at each position the longest marker
//! wins. (llama.cpp searches for the longest marker first; the results differ only if one marker ends with the start of
//! a longer one, which no known vocabulary has, and left to right needs one pass.)

use super::trie::Trie;
use super::vocab::{TokenType, Vocab};
use crate::gguf::Metadata;

/// The markers of a vocabulary.
#[derive(Debug)]
pub(super) struct Markers {
    /// The markers that always count.
    always: Trie,
    /// All markers.
    all: Trie,
    /// Phi-3's markers swallow the white space after them, except these.
    swallow: Option<[Option<u32>; 3]>,
    /// The mask of some embedding models, which swallows the white space before it.
    swallow_before: Option<u32>,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

impl Markers {
    pub(super) fn new(vocab: &Vocab, metadata: &Metadata) -> Self {
        let set = |types: &[TokenType]| {
            let texts = vocab.texts(|id| types.contains(&vocab.token_type(id)));
            Trie::new(texts)
        };
        // The file does not say so; llama.cpp also goes by these names.
        let named = |key: &str, names: &[&str]| {
            let name = metadata.str(key).ok().flatten().unwrap_or_default();
            let name = name.to_ascii_lowercase();
            names.iter().any(|part| name.contains(part))
        };
        let find = |text: &str| vocab.find(text.as_bytes());
        let (mut swallow, mut swallow_before) = (None, None);
        if named(
            "tokenizer.ggml.pre",
            &["jina-v2-de", "jina-v2-es", "jina-v2-code"],
        ) || named("general.architecture", &["nomic-bert-moe", "jina-bert-v3"])
        {
            swallow_before = find("<mask>");
        } else if named("general.name", &["phi-3", "phi3"]) {
            swallow = Some(["<unk>", "<s>", "<|endoftext|>"].map(find));
        } else if named("general.name", &["modern-bert"]) {
            swallow_before = find("[MASK]");
        }
        Self {
            always: set(&[TokenType::UserDefined]),
            all: set(&[
                TokenType::UserDefined,
                TokenType::Control,
                TokenType::Unknown,
            ]),
            swallow,
            swallow_before,
        }
    }

    /// Splits a text into parts, none of them empty. With `parse_special`, control and unknown tokens count too.
    pub(super) fn split<'t>(&self, text: &'t str, parse_special: bool) -> Vec<Part<'t>> {
        let set = if parse_special {
            &self.all
        } else {
            &self.always
        };
        let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let Some((len, id)) = set.longest(&text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            let mut before = &text[start..at];
            if self.swallow_before == Some(id) {
                before = before.trim_end_matches(is_space);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before));
            }
            parts.push(Part::Token(id));
            at += len;
            if self
                .swallow
                .is_some_and(|except| !except.contains(&Some(id)))
            {
                at = text.len() - text[at..].trim_start_matches(is_space).len();
            }
            start = at;
        }
        if start < text.len() {
            parts.push(Part::Text(&text[start..]));
        }
        parts
    }
}

/// C's `isspace`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

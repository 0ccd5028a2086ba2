//! Regular expressions that say when they give up.
//!
//! The crate's own splitting takes an expression that runs into a limit for one that matches no more, and the rest of the
//! text becomes a single word: silently other tokens. Here that is an error. Python's `tokenizers` has another library for
//! expressions (Oniguruma, in C), which has no such limit.

use std::sync::atomic::{AtomicBool, Ordering};

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;
use tokenizers::tokenizer::pattern::Pattern as Search;
use tokenizers::{Offsets, Result as Found};

use super::file::shortened;
use crate::error::{Result, invalid_model, unsupported};
use crate::pulse::work;

/// The longest expression, in bytes. That of the longest known one has 2,600.
const MAX_LEN: usize = 1 << 14;
/// The largest program of an expression's parts without look-around, in bytes. Known ones have up to 200 kB.
const MAX_PROGRAM: usize = 4 << 20;
/// The most steps back in one search. A run of so many spaces has as many.
const MAX_BACKTRACKS: usize = 1 << 20;

/// GPT-2's expression, which `ByteLevel` stands for.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// An expression, ready to search.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// Whether what it does not match is what is meant.
    invert: bool,
    /// Whether a search has given up.
    gave_up: AtomicBool,
}

impl Pattern {
    /// From `{"Regex": ...}` or `{"String": ...}`.
    pub(super) fn read(part: &str, value: Option<&Value>, invert: bool) -> Result<Self> {
        let field = |name: &str| value?.get(name)?.as_str();
        match (field("Regex"), field("String")) {
            (Some(regex), None) => Self::new(part, regex, invert),
            (None, Some(text)) => Self::new(part, &fancy_regex::escape(text), invert),
            _ => {
                let found = value.map_or("nothing".to_owned(), shortened);
                let expected = "a `pattern` with a `Regex` or a `String`";
                Err(invalid_model(part, expected, found))
            }
        }
    }

    pub(super) fn gpt2() -> Result<Self> {
        Self::new("ByteLevel", GPT2, false)
    }

    fn new(part: &str, regex: &str, invert: bool) -> Result<Self> {
        if regex.len() > MAX_LEN {
            let found = format!("one of {} bytes", regex.len());
            let expected = format!("expressions of at most {MAX_LEN} bytes");
            return Err(unsupported(part, expected, found));
        }
        let regex = RegexBuilder::new(regex)
            .backtrack_limit(MAX_BACKTRACKS)
            .delegate_size_limit(MAX_PROGRAM)
            .build()
            .map_err(|error| {
                let expected = "a regular expression that this engine can compile";
                unsupported(part, expected, error)
            })?;
        Ok(Self {
            regex,
            invert,
            gave_up: AtomicBool::new(false),
        })
    }

    /// Whether a search has given up since this was asked last.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up.swap(false, Ordering::Relaxed)
    }
}

impl Search for &Pattern {
    fn find_matches(&self, inside: &str) -> Found<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        for found in self.regex.find_iter(inside) {
            let found = found.inspect_err(|_| self.gave_up.store(true, Ordering::Relaxed))?;
            work(1 + found.end() - at);
            if at < found.start() {
                pieces.push(((at, found.start()), self.invert));
            }
            pieces.push(((found.start(), found.end()), !self.invert));
            at = found.end();
        }
        if at < inside.len() {
            pieces.push(((at, inside.len()), self.invert));
        }
        Ok(pieces)
    }
}

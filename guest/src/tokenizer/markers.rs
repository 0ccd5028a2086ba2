//! Markers: tokens that are searched for by name in a text before anything else.
//!
//! User-defined tokens always count; control and unknown tokens only if the caller asks for it, because user text must
//! not be able to produce `<|im_end|>`. In a prompt with text of a template and text of others, control tokens count
//! where the template wrote all of the name. The search goes from left to right, and at each position the longest marker
//! wins. (llama.cpp searches for the longest marker first; the results differ only if one marker ends with the start of
//! a longer one, which no known vocabulary has, and left to right needs one pass.)

use std::ops::Range;

use super::vocab::{TokenType, Vocab};
use crate::error::{Result, unsupported};
use crate::gguf::Metadata;
use crate::pulse::work;

/// The markers of a vocabulary.
#[derive(Debug)]
pub(super) struct Markers {
    /// The markers that always count.
    always: Set,
    /// All markers.
    all: Set,
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

/// The most bytes of all markers together. Real vocabularies have less than 100,000; the automaton takes up to 13 times as
/// much.
const MAX_MARKERS: usize = 16 << 20;

/// No token.
const NONE: u32 = u32::MAX;

/// The automaton that finds them (Aho and Corasick, 1975), which reads a text from its end. Where it has read the start
/// of a marker, it knows the longest one that starts there, and it takes a number of steps that grows with the text
/// alone, whatever the markers are.
///
/// A node is the end of some markers, the root an empty one. Nodes are numbered by their lengths, and those that one
/// byte more leads to from the same node follow each other.
#[derive(Debug)]
pub(super) struct Set {
    /// The byte that leads to each node from the next shorter one; the root's means nothing.
    bytes: Vec<u8>,
    /// Where each node's longer ones begin; they end where the next node's begin.
    longer: Vec<u32>,
    /// The longest node that each node starts with, other than itself: what is left of it if its last bytes do not
    /// belong to the marker.
    rest: Vec<u32>,
    /// The longest marker that each node starts with, or [`NONE`].
    marker: Vec<u32>,
    /// Markers, and the longest one that each starts with, other than itself, or [`NONE`]; by their numbers.
    shorter: Vec<[u32; 2]>,
}

impl Markers {
    /// # Errors
    /// `unsupported` if there are too many.
    pub(super) fn new(vocab: &Vocab, metadata: &Metadata) -> Result<Self> {
        let set = |types: &[TokenType]| {
            let wanted = |id: &u32| types.contains(&vocab.token_type(*id));
            let text = |id: u32| vocab.text(id).unwrap_or_default().as_bytes();
            Set::new((0..vocab.len()).filter(wanted).collect(), text)
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
        Ok(Self {
            always: set(&[TokenType::UserDefined])?,
            all: set(&[
                TokenType::UserDefined,
                TokenType::Control,
                TokenType::Unknown,
            ])?,
            swallow,
            swallow_before,
        })
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
        self.split_where(vocab, text, set, |_, _| true)
    }

    /// Splits a prompt into parts, none of them empty. `template` are the ranges of its bytes that the template wrote; see
    /// [`counts_in_prompt`] for which markers count.
    pub(super) fn split_prompt<'t>(
        &self,
        vocab: &Vocab,
        text: &'t str,
        template: &[Range<usize>],
    ) -> Vec<Part<'t>> {
        let counts = |id: u32, found: Range<usize>| {
            counts_in_prompt(vocab.token_type(id), &text[found.clone()], found, template)
        };
        self.split_where(vocab, text, &self.all, counts)
    }

    fn split_where<'t>(
        &self,
        vocab: &Vocab,
        text: &'t str,
        set: &Set,
        counts: impl Fn(u32, Range<usize>) -> bool,
    ) -> Vec<Part<'t>> {
        let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
        // From the end of the text, so the last one is the first to be used.
        let mut found = set.find(text.as_bytes());
        while let Some((from, id)) = found.pop() {
            // It starts within the marker before it, or in the white space that belongs to that.
            if from < at {
                continue;
            }
            let here = set.longest_first(id).find_map(|id| {
                let len = vocab.text(id).map_or(0, str::len);
                counts(id, from..from + len).then_some((id, len))
            });
            let Some((id, len)) = here else {
                continue;
            };
            let mut before = &text[start..from];
            if self.swallow_before == Some(id) {
                before = before.trim_end_matches(is_space);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before));
            }
            parts.push(Part::Token(id));
            at = from + len;
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

/// Whether a marker counts in a prompt, where it was `found` as `text`.
///
/// A control token's name counts where all of it is the template's. Any other text that is always one token counts
/// where it is all the template's or all from outside: a text from outside that ends with the beginning of such a
/// name must not take the first character of the control token behind it. White space is the exception, because it
/// is no name, and its runs become the tokens that they are without any template.
pub(super) fn counts_in_prompt(
    ty: TokenType,
    text: &str,
    found: Range<usize>,
    template: &[Range<usize>],
) -> bool {
    // The first range that ends behind the start.
    let at = template.partition_point(|range| range.end <= found.start);
    let range = template.get(at);
    let whole = range.is_some_and(|r| r.start <= found.start && found.end <= r.end);
    let none = range.is_none_or(|range| found.end <= range.start);
    whole || ty == TokenType::UserDefined && (none || text.trim().is_empty())
}

/// C's `isspace`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

impl Set {
    /// The set of these markers, each with its text.
    pub(super) fn new<'t>(mut ids: Vec<u32>, text: impl Fn(u32) -> &'t [u8]) -> Result<Self> {
        ids.retain(|id| !text(*id).is_empty());
        let total: usize = ids.iter().map(|id| text(*id).len()).sum();
        if total > MAX_MARKERS {
            return Err(unsupported(
                "control and user-defined tokens",
                format!("at most {MAX_MARKERS} bytes of text"),
                total,
            ));
        }
        // By their texts from the end, and tokens with the same text by their numbers.
        let reversed = |id: u32| text(id).iter().rev();
        ids.sort_unstable_by(|a, b| reversed(*a).cmp(reversed(*b)).then(a.cmp(b)));
        let last = |id: u32, depth: usize| text(id).iter().rev().nth(depth).copied();

        let mut set = Self {
            bytes: vec![0],
            longer: Vec::new(),
            rest: vec![0],
            marker: vec![NONE],
            shorter: Vec::new(),
        };
        // For each node, the markers that end with it.
        let mut ending: Vec<_> = std::iter::once(0..ids.len()).collect();
        let (mut depth, mut deeper) = (0, 1);
        let mut node = 0;
        while node < ending.len() {
            if node == deeper {
                (depth, deeper) = (depth + 1, ending.len());
            }
            set.longer.push(ending.len() as u32);
            let mut ids_left = ending[node].clone();
            while let Some(first) = ids_left.next() {
                work(1);
                let id = ids[first];
                let Some(byte) = last(id, depth) else {
                    // The node is all of this marker.
                    if text(id).len() == depth && set.marker[node] == NONE {
                        set.marker[node] = id;
                    }
                    continue;
                };
                let same = |other: &usize| last(ids[*other], depth) == Some(byte);
                let end = ids_left.clone().find(|other| !same(other));
                let end = end.unwrap_or(ids_left.end);
                work(end - first);
                ending.push(first..end);
                set.bytes.push(byte);
                set.marker.push(NONE);
                ids_left.start = end;
            }
            node += 1;
        }
        set.longer.push(ending.len() as u32);
        set.complete();
        Ok(set)
    }

    /// Fills in what is left of each node, and the markers that it starts with.
    fn complete(&mut self) {
        self.rest.resize(self.bytes.len(), 0);
        for node in 0..self.bytes.len() as u32 {
            for longer in self.after(node) {
                if node > 0 {
                    let rest = self.rest[node as usize];
                    self.rest[longer as usize] = self.step(rest, self.bytes[longer as usize]);
                }
                // Shorter nodes are complete.
                let rest = self.rest[longer as usize];
                match self.marker[longer as usize] {
                    NONE => self.marker[longer as usize] = self.marker[rest as usize],
                    own => self.shorter.push([own, self.marker[rest as usize]]),
                }
            }
        }
        self.shorter.sort_unstable();
    }

    /// The markers in a text that count, from left to right, and none overlapping: at each place the longest.
    #[cfg(feature = "tokenizer-json")]
    pub(super) fn matches(
        &self,
        text: &str,
        len: impl Fn(u32) -> usize,
        counts: impl Fn(u32, &Range<usize>) -> bool,
    ) -> Vec<(u32, Range<usize>)> {
        let (mut matches, mut at) = (Vec::new(), 0);
        for (from, id) in self.find(text.as_bytes()).into_iter().rev() {
            if from < at {
                continue;
            }
            let here = self.longest_first(id).map(|id| (id, from..from + len(id)));
            if let Some((id, range)) = here.into_iter().find(|(id, range)| counts(*id, range)) {
                at = range.end;
                matches.push((id, range));
            }
        }
        matches
    }

    /// A marker, and those that it starts with, from the longest.
    fn longest_first(&self, id: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(id), |id| {
            let at = self.shorter.binary_search_by_key(id, |[id, _]| *id).ok()?;
            Some(self.shorter[at][1]).filter(|shorter| *shorter != NONE)
        })
    }

    /// The nodes with one byte more than `node`.
    fn after(&self, node: u32) -> Range<u32> {
        self.longer[node as usize]..self.longer[node as usize + 1]
    }

    /// Where one byte leads from a node.
    fn step(&self, mut node: u32, byte: u8) -> u32 {
        loop {
            work(1);
            let after = self.after(node);
            let bytes = &self.bytes[after.start as usize..after.end as usize];
            if let Ok(place) = bytes.binary_search(&byte) {
                return after.start + place as u32;
            }
            if node == 0 {
                return 0;
            }
            node = self.rest[node as usize];
        }
    }

    /// Where markers start in a text, the longest at each place, from the end of the text to its beginning.
    fn find(&self, text: &[u8]) -> Vec<(usize, u32)> {
        let (mut node, mut found) = (0, Vec::new());
        if self.bytes.len() == 1 {
            return found;
        }
        for (at, byte) in text.iter().enumerate().rev() {
            node = self.step(node, *byte);
            let marker = self.marker[node as usize];
            if marker != NONE {
                found.push((at, marker));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Array;
    use crate::pulse::tests::counted;

    /// A vocabulary of user-defined tokens.
    fn vocab(texts: &[&str]) -> (Vocab, Markers) {
        let mut metadata = Metadata::default();
        let types = Array::i32s(texts.iter().map(|_| TokenType::UserDefined as i32));
        metadata.insert(
            "tokenizer.ggml.tokens".to_owned(),
            Array::strings(texts).into(),
        );
        metadata.insert("tokenizer.ggml.token_type".to_owned(), types.into());
        let vocab = Vocab::from_metadata(&metadata).unwrap();
        let markers = Markers::new(&vocab, &metadata).unwrap();
        (vocab, markers)
    }

    /// The specification: at each place, all markers are tried.
    fn tried<'t>(texts: &[&str], text: &'t str) -> Vec<Part<'t>> {
        let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let here = |marker: &&str| text.as_bytes()[at..].starts_with(marker.as_bytes());
            let longest = texts
                .iter()
                .copied()
                .filter(here)
                .max_by_key(|marker| marker.len());
            let Some(marker) = longest else {
                at += 1;
                continue;
            };
            if start < at {
                parts.push(Part::Text(&text[start..at]));
            }
            let id = texts.iter().position(|other| *other == marker).unwrap();
            parts.push(Part::Token(id as u32));
            at += marker.len();
            start = at;
        }
        if start < text.len() {
            parts.push(Part::Text(&text[start..]));
        }
        parts
    }

    #[test]
    fn the_longest_marker_at_each_place_is_found() {
        let sets: [&[&str]; 5] = [
            &["ab", "abc", "b", "bca", "cab", "aaaa", "c"],
            &["<|a|>", "<|a|>b", "|>", "<", "a|", "<|a"],
            &["é", "éa", "aé", "語", "\u{8a9e}a"],
            &["a", "a", "aa"],
            &["abab", "ba", "babab"],
        ];
        for texts in sets {
            let texts: Vec<_> = texts.to_vec();
            let (vocab, markers) = vocab(&texts);
            // All texts of up to seven pieces of two kinds, and some of more kinds.
            let pieces = ["a", "b", "c", "<|", "|>", "é", "語"];
            let mut seed = 1_u64;
            for _ in 0..3_000 {
                let mut text = String::new();
                for _ in 0..8 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    text += pieces[(seed >> 33) as usize % pieces.len()];
                }
                let found = markers.split(&vocab, &text, false);
                assert_eq!(found, tried(&texts, &text), "{texts:?} in {text:?}");
            }
        }
    }

    /// Long markers that a text almost contains, at every place.
    #[test]
    fn the_work_grows_with_the_text_and_not_with_the_markers() {
        for long in [16, 2_000] {
            let almost = format!("{}b", "a".repeat(long));
            let (vocab, markers) = vocab(&[&almost, &format!("b{}", "a".repeat(long))]);
            let steps = |n: usize| {
                let text = "a".repeat(n);
                counted(|| assert_eq!(markers.split(&vocab, &text, false), [Part::Text(&text)])).1
            };
            for n in [10_000, 20_000] {
                assert!(steps(n) <= 2 * n as u64, "{} steps for {n} bytes", steps(n));
            }
            let broken = format!("{}c", "a".repeat(long - 1)).repeat(20);
            let steps = counted(|| markers.split(&vocab, &broken, false)).1;
            assert!(steps <= 2 * broken.len() as u64, "{steps} steps");
        }
    }

    #[test]
    fn too_much_text_is_an_error() {
        let texts: Vec<_> = (0..MAX_MARKERS / 1_024 + 1)
            .map(|i| format!("{i:01024}"))
            .collect();
        let mut metadata = Metadata::default();
        let types = Array::i32s(texts.iter().map(|_| TokenType::Control as i32));
        metadata.insert(
            "tokenizer.ggml.tokens".to_owned(),
            Array::strings(&texts).into(),
        );
        metadata.insert("tokenizer.ggml.token_type".to_owned(), types.into());
        let vocab = Vocab::from_metadata(&metadata).unwrap();
        let error = Markers::new(&vocab, &metadata).unwrap_err();
        assert!(error.to_string().contains("user-defined"), "{error}");
    }
}

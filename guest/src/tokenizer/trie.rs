//! A trie of texts: which of them a given text starts with.
//!
//! It is a radix tree: a node stands for all bytes that the texts below it share, so a vocabulary has at most two nodes
//! per token, however long its tokens are. The children of a node are neighbours, in the order of their first bytes.

/// Texts, each with the number of a token.
#[derive(Debug)]
pub(super) struct Trie {
    /// The root first.
    nodes: Vec<Node>,
    /// The bytes that lead to the nodes, concatenated.
    labels: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// The bytes that lead here from the parent: where they start in `labels`, and how many there are.
    label: (u32, u32),
    /// The first of these bytes.
    first: u8,
    /// Where the children start in `nodes`, and how many there are.
    children: (u32, u32),
    /// The token whose text ends here.
    token: Option<u32>,
}

impl Trie {
    /// A trie of these texts. If a text occurs more than once, its first token counts.
    pub(super) fn new<'t>(texts: impl IntoIterator<Item = (&'t [u8], u32)>) -> Self {
        let mut texts: Vec<_> = texts.into_iter().collect();
        // Stable, so the first of equal texts stays the first.
        texts.sort_by_key(|(text, _)| *text);
        texts.dedup_by_key(|(text, _)| *text);
        let mut trie = Self {
            nodes: vec![Node::default()],
            labels: Vec::new(),
        };
        // For each node: the texts below it, and how many bytes lead to it from the root.
        let mut below = vec![(texts.as_slice(), 0)];
        let mut at = 0;
        while let Some(&(mut texts, depth)) = below.get(at) {
            if let Some((first, others)) = texts.split_first()
                && first.0.len() == depth
            {
                trie.nodes[at].token = Some(first.1);
                texts = others;
            }
            let start = trie.nodes.len();
            while let Some((first, _)) = texts.first() {
                let alike = texts.partition_point(|(text, _)| text[depth] == first[depth]);
                let (group, others) = texts.split_at(alike);
                // The texts are sorted: what the first and the last share, all of them share.
                let last = group[alike - 1].0;
                let shared = depth + shared(&first[depth..], &last[depth..]);
                trie.nodes.push(Node {
                    label: (trie.labels.len() as u32, (shared - depth) as u32),
                    first: first[depth],
                    ..Node::default()
                });
                trie.labels.extend_from_slice(&first[depth..shared]);
                below.push((group, shared));
                texts = others;
            }
            trie.nodes[at].children = (start as u32, (trie.nodes.len() - start) as u32);
            at += 1;
        }
        trie
    }

    /// Calls `found` with the length and the token of each text, other than the empty one, that `text` starts with, the
    /// shortest first. Returns how many bytes of `text` some text starts with.
    pub(super) fn walk(&self, text: &[u8], mut found: impl FnMut(usize, u32)) -> usize {
        let (mut node, mut at) = (&self.nodes[0], 0);
        loop {
            let Some(child) = text.get(at).and_then(|byte| self.child(node, *byte)) else {
                return at;
            };
            let (start, len) = (child.label.0 as usize, child.label.1 as usize);
            let same = shared(&self.labels[start..start + len], &text[at..]);
            at += same;
            if same < len {
                return at;
            }
            if let Some(token) = child.token {
                found(at, token);
            }
            node = child;
        }
    }

    /// The longest text that `text` starts with: its length and its token.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let mut longest = None;
        self.walk(text, |len, token| longest = Some((len, token)));
        longest
    }

    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let (start, n) = (node.children.0 as usize, node.children.1 as usize);
        let children = &self.nodes[start..start + n];
        let at = children.binary_search_by_key(&byte, |child| child.first);
        Some(&children[at.ok()?])
    }
}

/// How many bytes two texts share at their start.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Trie;

    #[test]
    fn an_empty_trie_and_an_empty_text_find_nothing() {
        let none = Trie::new([]);
        assert_eq!((none.longest(b"a"), none.longest(b"")), (None, None));
        let empty = Trie::new([(&b""[..], 7)]);
        assert_eq!((empty.longest(b"a"), empty.longest(b"")), (None, None));
    }

    #[test]
    fn the_first_of_equal_texts_counts() {
        let trie = Trie::new([(&b"ab"[..], 3), (b"a", 4), (b"ab", 1)]);
        assert_eq!(trie.longest(b"abc"), Some((2, 3)));
        assert_eq!(trie.longest(b"ac"), Some((1, 4)));
    }

    #[test]
    fn there_are_at_most_two_nodes_per_text() {
        let texts: Vec<_> = (0..1_000)
            .map(|i| "ab".repeat(i % 40) + &i.to_string())
            .collect();
        let trie = Trie::new(texts.iter().map(|text| (text.as_bytes(), 0)));
        assert!(trie.nodes.len() <= 2 * texts.len() + 1);
    }

    fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![8 => 97..100u8, 1 => any::<u8>()];
        prop::collection::vec(prop::collection::vec(byte, 0..8), 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

        /// The reference: compares with every text.
        #[test]
        fn a_walk_finds_what_a_comparison_with_every_text_finds((all, text) in (texts(), texts())) {
            let text = text.concat();
            let trie = Trie::new(all.iter().zip(0..).map(|(text, id)| (text.as_slice(), id)));
            let mut found = Vec::new();
            let reach = trie.walk(&text, |len, id| found.push((len, id)));
            let first = |len: usize| all.iter().position(|other| *other == text[..len]);
            let expected: Vec<_> = (1..=text.len())
                .filter_map(|len| Some((len, first(len)? as u32)))
                .collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(trie.longest(&text), expected.last().copied());
            let begins = |len: &usize| all.iter().any(|other| other.starts_with(&text[..*len]));
            let expected = (1..=text.len()).rev().find(begins).unwrap_or(0);
            prop_assert_eq!(reach, expected);
        }
    }
}

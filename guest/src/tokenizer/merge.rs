//! Merging: what SentencePiece's greedy algorithm and byte-pair encoding have in common.
//!
//! A text starts as a chain of symbols. The best pair of neighbours that may be joined is joined, the leftmost first
//! among equals, until no pair is left. A heap holds the candidates; a candidate whose symbols have changed is stale
//! and is dropped when it is popped. For `n` symbols there are fewer than `3 n` calls of `join` and `O(n log n)` steps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::pulse::work;

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol {
    /// The offset from the start of the text, in bytes.
    pub(super) start: u32,
    /// The length in bytes; 0 for a symbol that was joined to its left neighbour.
    pub(super) len: u32,
    /// The token, or [`NONE`].
    pub(super) id: u32,
}

/// No token.
pub(super) const NONE: u32 = u32::MAX;

/// The result of joining two neighbours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Join {
    /// The smallest rank is joined first.
    pub(super) rank: u32,
    /// The token that the pair becomes.
    pub(super) id: u32,
}

/// Ordered by rank, then by position.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    right: u32,
    len: u32,
    id: u32,
}

/// The buffers of [`Merger::merge`], reused between texts.
#[derive(Debug, Default)]
pub(super) struct Merger {
    /// The symbols: before merging those of the text, afterwards those that remain.
    pub(super) symbols: Vec<Symbol>,
    previous: Vec<u32>,
    next: Vec<u32>,
    heap: BinaryHeap<Reverse<Candidate>>,
}

impl Merger {
    /// Joins symbols until `join` allows none of the remaining pairs.
    pub(super) fn merge(&mut self, mut join: impl FnMut(Symbol, Symbol) -> Option<Join>) {
        let n = self.symbols.len() as u32;
        self.previous.clear();
        self.previous.extend((0..n).map(|i| i.wrapping_sub(1)));
        self.next.clear();
        self.next.extend(1..=n);
        if let Some(last) = self.next.last_mut() {
            *last = NONE;
        }
        for right in 1..n {
            work(1);
            self.consider(right - 1, right, &mut join);
        }
        while let Some(Reverse(best)) = self.heap.pop() {
            work(1);
            let right = self.symbols[best.right as usize];
            let left = &mut self.symbols[best.left as usize];
            if left.len == 0 || right.len == 0 || left.len + right.len != best.len {
                continue;
            }
            left.len = best.len;
            left.id = best.id;
            self.symbols[best.right as usize].len = 0;
            let after = self.next[best.right as usize];
            self.next[best.left as usize] = after;
            if after != NONE {
                self.previous[after as usize] = best.left;
            }
            self.consider(self.previous[best.left as usize], best.left, &mut join);
            self.consider(best.left, after, &mut join);
        }
        self.symbols.retain(|symbol| symbol.len > 0);
    }

    fn consider(
        &mut self,
        left: u32,
        right: u32,
        join: &mut impl FnMut(Symbol, Symbol) -> Option<Join>,
    ) {
        if left == NONE || right == NONE {
            return;
        }
        let (a, b) = (self.symbols[left as usize], self.symbols[right as usize]);
        if let Some(Join { rank, id }) = join(a, b) {
            let len = a.len + b.len;
            self.heap.push(Reverse(Candidate {
                rank,
                left,
                right,
                len,
                id,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(n: u32) -> Vec<Symbol> {
        (0..n)
            .map(|start| Symbol {
                start,
                len: 1,
                id: 0,
            })
            .collect()
    }

    /// Counts, rather than times, the work on a text without any boundary.
    #[test]
    fn a_long_text_takes_a_linear_number_of_questions() {
        for n in [0, 1, 2, 3, 1_000, 1_000_000] {
            let mut merger = Merger {
                symbols: symbols(n),
                ..Merger::default()
            };
            let mut questions = 0u32;
            merger.merge(|a, b| {
                questions += 1;
                // Everything up to 64 bytes may be joined, the shortest first.
                (a.len + b.len <= 64).then_some(Join {
                    rank: a.len + b.len,
                    id: 1,
                })
            });
            assert!(
                questions <= 3 * n,
                "{questions} calls of `join` for {n} symbols"
            );
            assert_eq!(merger.symbols.iter().map(|s| s.len).sum::<u32>(), n);
        }
    }

    #[test]
    fn the_best_pair_goes_first_and_the_leftmost_of_equals() {
        let mut merger = Merger {
            symbols: symbols(5),
            ..Merger::default()
        };
        merger.merge(|a, b| (a.len + b.len == 2).then_some(Join { rank: 0, id: 7 }));
        let spans: Vec<_> = merger
            .symbols
            .iter()
            .map(|s| (s.start, s.len, s.id))
            .collect();
        assert_eq!(spans, [(0, 2, 7), (2, 2, 7), (4, 1, 0)]);
        let mut merger = Merger {
            symbols: symbols(3),
            ..Merger::default()
        };
        merger.merge(|a, b| {
            (a.len + b.len == 2).then_some(Join {
                rank: 9 - a.start,
                id: 7,
            })
        });
        let spans: Vec<_> = merger.symbols.iter().map(|s| (s.start, s.len)).collect();
        assert_eq!(spans, [(0, 1), (1, 2)]);
    }
}

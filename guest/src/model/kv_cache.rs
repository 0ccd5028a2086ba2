//! The KV cache of one layer: what attention needs of earlier tokens.
//!
//! A layer with a window keeps what the window sees, and some tokens before it: its blocks are a ring. A sequence that is
//! rewound further than that is computed again from its start.

use std::ops::Range;

use super::forward::BATCH;
use super::group::Place;
use super::kv_block::{KvType, Layout, Side};
use crate::error::{Error, Result, invalid_argument};
use crate::kernels::attention::KEYS;
use crate::quant::GROUP;

/// The sizes of the keys and values that a part keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KvShape {
    /// The width of a key, and of a value.
    pub(crate) head_dim: usize,
    pub(crate) value_dim: usize,
    /// Heads of queries.
    pub(crate) n_heads: usize,
    /// Heads of keys and values.
    pub(crate) n_kv_heads: usize,
    /// Whether each instance of a group keeps all of these; otherwise each keeps its own.
    pub(crate) is_shared: bool,
    /// How many tokens the part sees, if not all.
    pub(crate) window: Option<usize>,
}

impl KvShape {
    /// The layout of a head's keys and values.
    pub(crate) fn layout(&self, kv_type: KvType) -> Layout {
        Layout {
            kv_type,
            head_dim: self.head_dim,
            value_dim: self.value_dim,
        }
    }

    /// The heads of keys and values that a place keeps.
    pub(crate) fn own_kv_heads(&self, place: Place) -> Range<usize> {
        match self.is_shared {
            true => 0..self.n_kv_heads,
            false => place.units(self.n_kv_heads),
        }
    }
}

/// How many tokens a ring keeps before the window of the last ones, which a sequence can be rewound by.
const SLACK: usize = 4 * BATCH;

/// The keys and values of one sequence in one layer, for this instance's heads. Memory for the whole context, or the window, is
/// reserved on creation and becomes resident as it is used; nothing is allocated later.
pub(crate) struct KvCache {
    layout: Layout,
    /// How many tokens the layer sees, if not all.
    window: Option<usize>,
    /// The number of blocks.
    n_blocks: usize,
    /// The first token that is still there.
    first: usize,
    /// `[kv_heads]`
    heads: Vec<Head>,
    /// Scratch: a key or a value on its way into a block.
    row: Vec<u8>,
}

/// The keys and values of one head, in blocks of [`KEYS`] tokens: block i in place `i % n_blocks`. What is in blocks
/// before the first token, and after the last one, is unspecified, but finite.
#[derive(Default)]
pub(crate) struct Head {
    n_blocks: usize,
    tokens: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl KvCache {
    /// An empty cache for `capacity` tokens, of which a layer sees the last `window`.
    ///
    /// # Errors
    /// `out-of-memory`; `invalid-argument` for Q8_0 if the width of a key or a value is not a multiple of 32.
    pub(crate) fn new(
        layout: Layout,
        capacity: usize,
        window: Option<usize>,
        kv_heads: usize,
    ) -> Result<Self> {
        // The window of the first token of a batch begins within a block, and the batch ends within one.
        let of_window = |window: usize| (window + BATCH + SLACK).div_ceil(KEYS) + 1;
        let n_blocks = capacity.div_ceil(KEYS);
        let n_blocks = window.map_or(n_blocks, |window| n_blocks.min(of_window(window)));
        Self::with_blocks(layout, n_blocks, window, kv_heads)
    }

    fn with_blocks(
        layout: Layout,
        n_blocks: usize,
        window: Option<usize>,
        kv_heads: usize,
    ) -> Result<Self> {
        let dims = [layout.head_dim, layout.value_dim];
        let odd = dims.into_iter().find(|dim| !dim.is_multiple_of(GROUP));
        if let Some(odd) = odd.filter(|_| layout.kv_type == KvType::Q8_0) {
            let expected = format!(
                "f16 or f32, because q8_0 needs a head width that is a multiple of {GROUP}, not {odd}"
            );
            return Err(invalid_argument("kv-type", expected, "q8_0"));
        }
        let row = layout
            .row_bytes(Side::Keys)
            .max(layout.row_bytes(Side::Values));
        let mut cache = Self {
            layout,
            window,
            n_blocks,
            first: 0,
            heads: Vec::new(),
            row: vec![0; row],
        };
        for made in 0..kv_heads {
            let head = cache.new_head().ok_or_else(|| Error::OutOfMemory {
                needed: cache.bytes_per_head() * kv_heads as u64,
                available: cache.bytes_per_head() * made as u64,
            })?;
            cache.heads.push(head);
        }
        Ok(cache)
    }

    /// Reserves memory for all blocks.
    fn new_head(&self) -> Option<Head> {
        let mut head = Head {
            n_blocks: self.n_blocks,
            ..Head::default()
        };
        for (side, data) in [
            (Side::Keys, &mut head.keys),
            (Side::Values, &mut head.values),
        ] {
            let len = usize::try_from(self.bytes_per_side(side)).ok()?;
            data.try_reserve_exact(len).ok()?;
        }
        Some(head)
    }

    /// In u64, because sizes have 32 bits in WebAssembly and the dimensions come from a file.
    fn bytes_per_side(&self, side: Side) -> u64 {
        self.n_blocks as u64 * self.layout.block_bytes(side) as u64
    }

    fn bytes_per_head(&self) -> u64 {
        self.bytes_per_side(Side::Keys) + self.bytes_per_side(Side::Values)
    }

    /// An independent copy with the same capacity.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn fork(&self) -> Result<Self> {
        let mut copy =
            Self::with_blocks(self.layout, self.n_blocks, self.window, self.heads.len())?;
        copy.first = self.first;
        for (copy, head) in copy.heads.iter_mut().zip(&self.heads) {
            copy.tokens = head.tokens;
            copy.keys.extend_from_slice(&head.keys);
            copy.values.extend_from_slice(&head.values);
        }
        Ok(copy)
    }

    /// The number of reserved bytes.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.bytes_per_head() * self.heads.len() as u64
    }

    /// Whether everything that the token at position `length` sees is still there.
    pub(crate) fn can_be_at(&self, length: usize) -> bool {
        let seen = self
            .window
            .map_or(0, |window| (length + 1).saturating_sub(window));
        length == 0 || self.first <= seen
    }

    /// Drops all tokens from position `length` on, where the cache [can be](Self::can_be_at).
    pub(crate) fn truncate(&mut self, length: usize) {
        debug_assert!(self.can_be_at(length));
        if length == 0 {
            self.first = 0;
        }
        for head in &mut self.heads {
            head.tokens = head.tokens.min(length);
        }
    }

    /// How many of this many tokens are saved: those that the next one sees.
    fn saved(&self, tokens: usize) -> usize {
        self.window.map_or(tokens, |window| window.min(tokens))
    }

    /// The saved size of the keys and values of this many tokens in one head, in bytes.
    pub(crate) fn head_bytes(&self, tokens: usize) -> u64 {
        let [key, value] = [Side::Keys, Side::Values].map(|side| self.layout.row_bytes(side));
        self.saved(tokens) as u64 * (key + value) as u64
    }

    /// Whether all saved keys and values are finite numbers.
    pub(crate) fn is_finite(&self, bytes: &[u8]) -> bool {
        self.layout.is_finite(bytes)
    }

    /// Appends the bytes in `range` of what is saved: for each head the rows of all keys, then of all values.
    pub(crate) fn save(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let mut start = 0;
        for head in &self.heads {
            for (side, data) in [(Side::Keys, &head.keys), (Side::Values, &head.values)] {
                let block_bytes = self.layout.block_bytes(side);
                let row_bytes = self.layout.row_bytes(side);
                let saved = self.saved(head.tokens);
                let end = start + saved * row_bytes;
                let wanted =
                    range.start.clamp(start, end) - start..range.end.clamp(start, end) - start;
                start = end;
                if wanted.is_empty() {
                    continue;
                }
                // Whole rows, and then what was not asked for of the first and the last one is taken away.
                let rows = wanted.start / row_bytes..wanted.end.div_ceil(row_bytes);
                let at = out.len();
                for row in rows.clone() {
                    let token = head.tokens - saved + row;
                    let place = token / KEYS % self.n_blocks;
                    let block = &data[place * block_bytes..][..block_bytes];
                    let start = out.len();
                    out.resize(start + row_bytes, 0);
                    self.layout
                        .get(side, block, token % KEYS, &mut out[start..]);
                }
                out.truncate(out.len() - (rows.end * row_bytes - wanted.end));
                out.drain(at..at + wanted.start - rows.start * row_bytes);
            }
        }
    }

    /// Loads what was saved of `tokens` tokens, `head_bytes` for each head. `read` gives the next bytes, as many as it is
    /// asked for: whole rows, about as many as `piece` bytes have. The caller has checked that the tokens fit.
    ///
    /// # Errors
    /// Those of `read`; then the cache has no tokens.
    pub(crate) fn load(
        &mut self,
        tokens: usize,
        piece: usize,
        mut read: impl FnMut(usize) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let layout = self.layout;
        let saved = self.saved(tokens);
        self.truncate(0);
        for head in &mut self.heads {
            for side in [Side::Keys, Side::Values] {
                let row_bytes = layout.row_bytes(side);
                let at_once = (piece / row_bytes).max(1);
                let mut token = tokens - saved;
                while token < tokens {
                    let n = at_once.min(tokens - token);
                    let rows = read(n * row_bytes)?;
                    for row in rows.chunks_exact(row_bytes) {
                        head.put(layout, side, token, row);
                        token += 1;
                    }
                }
            }
        }
        self.first = tokens - saved;
        self.heads.iter_mut().for_each(|head| head.tokens = tokens);
        Ok(())
    }

    /// Sets the key and value of token `at` in a head, `[head_dim]` and `[value_dim]`, and drops the tokens after it. The caller has
    /// checked that it fits, and all earlier tokens must be present.
    pub(crate) fn set(&mut self, kv_head: usize, at: usize, key: &[f32], value: &[f32]) {
        let layout = self.layout;
        let head = &mut self.heads[kv_head];
        for (side, x) in [(Side::Keys, key), (Side::Values, value)] {
            let row = &mut self.row[..layout.row_bytes(side)];
            layout.encode(x, row);
            head.put(layout, side, at, row);
        }
        head.tokens = at + 1;
    }

    /// Takes note that tokens up to position `length` have been computed. An instance without heads keeps nothing, and
    /// must know as well as the others where a sequence can go on.
    pub(crate) fn advance(&mut self, length: usize) {
        // A block takes the place of the one before it in the ring.
        let gone = length.div_ceil(KEYS).saturating_sub(self.n_blocks);
        self.first = self.first.max(gone * KEYS);
    }

    /// One head, and the layout of its blocks.
    pub(crate) fn head(&self, kv_head: usize) -> (Layout, &Head) {
        (self.layout, &self.heads[kv_head])
    }
}

impl Head {
    /// The keys and the values of block `i`.
    pub(crate) fn block(&self, layout: Layout, i: usize) -> [&[u8]; 2] {
        [(Side::Keys, &self.keys), (Side::Values, &self.values)].map(|(side, data)| {
            let bytes = layout.block_bytes(side);
            &data[i % self.n_blocks * bytes..][..bytes]
        })
    }

    /// Stores a row, and starts a new block if needed.
    fn put(&mut self, layout: Layout, side: Side, token: usize, row: &[u8]) {
        let data = match side {
            Side::Keys => &mut self.keys,
            Side::Values => &mut self.values,
        };
        let bytes = layout.block_bytes(side);
        let start = token / KEYS % self.n_blocks * bytes;
        if data.len() < start + bytes {
            data.resize(start + bytes, 0);
        }
        layout.put(side, row, token % KEYS, &mut data[start..start + bytes]);
    }
}

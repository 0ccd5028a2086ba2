//! The cache of keys and values: what attention needs of the tokens before.

use std::ops::Range;

use super::kv_block::{KvType, Layout, Side};
use crate::error::{Error, Result, invalid_argument};
use crate::kernels::attention::KEYS;
use crate::quant::GROUP;

/// The keys and values of one sequence, for this instance's heads. Room for the whole context is reserved when it is made
/// and becomes resident as it is used; nothing is allocated later.
pub struct KvCache {
    layout: Layout,
    /// Tokens that there is room for.
    capacity: usize,
    kv_heads: usize,
    /// `[layers * kv_heads]`
    heads: Vec<Head>,
    /// Scratch: a key or a value on its way into a block.
    row: Vec<u8>,
}

/// The keys and values of one head, in blocks of [`KEYS`] tokens. Behind the last token, the last block holds anything.
#[derive(Default)]
pub(crate) struct Head {
    tokens: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl KvCache {
    /// An empty cache.
    ///
    /// # Errors
    /// `out-of-memory`; `invalid-argument` for Q8_0 where the heads' width is no multiple of 32.
    pub fn new(
        kv_type: KvType,
        capacity: usize,
        layers: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> Result<Self> {
        if kv_type == KvType::Q8_0 && !head_dim.is_multiple_of(GROUP) {
            let expected = format!(
                "f16 or f32: q8_0 is for heads of a multiple of {GROUP} numbers, the model's have {head_dim}"
            );
            return Err(invalid_argument("kv-type", expected, "q8_0"));
        }
        let mut cache = Self {
            layout: Layout { kv_type, head_dim },
            capacity,
            kv_heads,
            heads: Vec::new(),
            row: vec![0; kv_type.row_bytes(head_dim)],
        };
        for made in 0..layers * kv_heads {
            let head = cache.new_head().ok_or_else(|| Error::OutOfMemory {
                needed: cache.bytes_per_head() * (layers * kv_heads) as u64,
                available: cache.bytes_per_head() * made as u64,
            })?;
            cache.heads.push(head);
        }
        Ok(cache)
    }

    /// Room for the whole context, in whole blocks.
    fn new_head(&self) -> Option<Head> {
        let mut head = Head::default();
        for (side, data) in [
            (Side::Keys, &mut head.keys),
            (Side::Values, &mut head.values),
        ] {
            let len = usize::try_from(self.bytes_per_side(side)).ok()?;
            data.try_reserve_exact(len).ok()?;
        }
        Some(head)
    }

    /// In u64, because in WebAssembly a size has 32 bits and the dimensions are a file's.
    fn bytes_per_side(&self, side: Side) -> u64 {
        self.capacity.div_ceil(KEYS) as u64 * self.layout.block_bytes(side) as u64
    }

    fn bytes_per_head(&self) -> u64 {
        self.bytes_per_side(Side::Keys) + self.bytes_per_side(Side::Values)
    }

    /// An independent copy with the same room.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fork(&self) -> Result<Self> {
        let layers = self.heads.len().checked_div(self.kv_heads).unwrap_or(0);
        let mut copy = Self::new(
            self.layout.kv_type,
            self.capacity,
            layers,
            self.kv_heads,
            self.layout.head_dim,
        )?;
        for (copy, head) in copy.heads.iter_mut().zip(&self.heads) {
            copy.tokens = head.tokens;
            copy.keys.extend_from_slice(&head.keys);
            copy.values.extend_from_slice(&head.values);
        }
        Ok(copy)
    }

    /// Tokens that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number type of keys and values.
    pub fn kv_type(&self) -> KvType {
        self.layout.kv_type
    }

    /// Bytes that are reserved.
    pub fn reserved_bytes(&self) -> u64 {
        self.bytes_per_head() * self.heads.len() as u64
    }

    /// Forgets all tokens from `length` on.
    pub fn truncate(&mut self, length: usize) {
        for head in &mut self.heads {
            head.tokens = head.tokens.min(length);
        }
    }

    /// Bytes of the keys and values of this many tokens in one head of one layer, when saved.
    pub(crate) fn head_bytes(&self, tokens: usize) -> u64 {
        2 * tokens as u64 * self.layout.row_bytes() as u64
    }

    /// Whether saved keys and values are finite numbers.
    pub(crate) fn is_finite(&self, bytes: &[u8]) -> bool {
        self.layout.is_finite(bytes)
    }

    /// One layer as bytes, for [`KvCache::load_layer`]: for each head the rows of all keys, then those of all values.
    pub(crate) fn save_layer(&self, layer: usize, out: &mut Vec<u8>) {
        for head in &self.heads[self.heads_of(layer)] {
            for (side, data) in [(Side::Keys, &head.keys), (Side::Values, &head.values)] {
                let block_bytes = self.layout.block_bytes(side);
                for token in 0..head.tokens {
                    let block = &data[token / KEYS * block_bytes..][..block_bytes];
                    let start = out.len();
                    out.resize(start + self.layout.row_bytes(), 0);
                    self.layout
                        .get(side, block, token % KEYS, &mut out[start..]);
                }
            }
        }
    }

    /// Gives one layer the keys and values that were saved of `tokens` tokens. There must be room, which the caller has
    /// checked.
    pub(crate) fn load_layer(&mut self, layer: usize, tokens: usize, bytes: &[u8]) {
        let (layout, heads) = (self.layout, self.heads_of(layer));
        let mut rows = bytes.chunks_exact(layout.row_bytes());
        for head in &mut self.heads[heads] {
            for side in [Side::Keys, Side::Values] {
                for (token, row) in rows.by_ref().take(tokens).enumerate() {
                    head.put(layout, side, token, row);
                }
            }
            head.tokens = tokens;
        }
    }

    fn heads_of(&self, layer: usize) -> Range<usize> {
        layer * self.kv_heads..(layer + 1) * self.kv_heads
    }

    /// Sets token `at`'s key and value of a head, each `[head_dim]`, and forgets what came behind it. There must be room,
    /// which the caller has checked, and the tokens before must be there.
    pub(crate) fn set(
        &mut self,
        layer: usize,
        kv_head: usize,
        at: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let layout = self.layout;
        let head = &mut self.heads[layer * self.kv_heads + kv_head];
        for (side, x) in [(Side::Keys, key), (Side::Values, value)] {
            layout.encode(x, &mut self.row);
            head.put(layout, side, at, &self.row);
        }
        head.tokens = at + 1;
    }

    /// One head, and how its blocks are to be read.
    pub(crate) fn head(&self, layer: usize, kv_head: usize) -> (Layout, &Head) {
        (self.layout, &self.heads[layer * self.kv_heads + kv_head])
    }
}

impl Head {
    /// The keys and the values of block `i`.
    pub(crate) fn block(&self, layout: Layout, i: usize) -> [&[u8]; 2] {
        [(Side::Keys, &self.keys), (Side::Values, &self.values)].map(|(side, data)| {
            let bytes = layout.block_bytes(side);
            &data[i * bytes..(i + 1) * bytes]
        })
    }

    /// Puts a row, and begins a block where that is needed.
    fn put(&mut self, layout: Layout, side: Side, token: usize, row: &[u8]) {
        let data = match side {
            Side::Keys => &mut self.keys,
            Side::Values => &mut self.values,
        };
        let bytes = layout.block_bytes(side);
        let start = token / KEYS * bytes;
        if data.len() < start + bytes {
            data.resize(start + bytes, 0);
        }
        layout.put(side, row, token % KEYS, &mut data[start..start + bytes]);
    }
}

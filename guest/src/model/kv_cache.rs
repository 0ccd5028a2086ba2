//! The KV cache of one layer: what attention needs of earlier tokens.

use super::kv_block::{KvType, Layout, Side};
use crate::error::{Error, Result, invalid_argument};
use crate::kernels::attention::KEYS;
use crate::quant::GROUP;

/// The keys and values of one sequence in one layer, for this instance's heads. Memory for the whole context is reserved on creation
/// and becomes resident as it is used; nothing is allocated later.
pub(crate) struct KvCache {
    layout: Layout,
    /// The capacity in tokens.
    capacity: usize,
    /// `[kv_heads]`
    heads: Vec<Head>,
    /// Scratch: a key or a value on its way into a block.
    row: Vec<u8>,
}

/// The keys and values of one head, in blocks of [`KEYS`] tokens. The contents of the last block after the last token
/// are unspecified.
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
    /// `out-of-memory`; `invalid-argument` for Q8_0 if the head width is not a multiple of 32.
    pub(crate) fn new(
        kv_type: KvType,
        capacity: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> Result<Self> {
        if kv_type == KvType::Q8_0 && !head_dim.is_multiple_of(GROUP) {
            let expected = format!(
                "f16 or f32, because q8_0 needs a head width that is a multiple of {GROUP}, not {head_dim}"
            );
            return Err(invalid_argument("kv-type", expected, "q8_0"));
        }
        let mut cache = Self {
            layout: Layout { kv_type, head_dim },
            capacity,
            heads: Vec::new(),
            row: vec![0; kv_type.row_bytes(head_dim)],
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

    /// Reserves memory for the whole context, in whole blocks.
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

    /// In u64, because sizes have 32 bits in WebAssembly and the dimensions come from a file.
    fn bytes_per_side(&self, side: Side) -> u64 {
        self.capacity.div_ceil(KEYS) as u64 * self.layout.block_bytes(side) as u64
    }

    fn bytes_per_head(&self) -> u64 {
        self.bytes_per_side(Side::Keys) + self.bytes_per_side(Side::Values)
    }

    /// An independent copy with the same capacity.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn fork(&self) -> Result<Self> {
        let (layout, n_heads) = (self.layout, self.heads.len());
        let mut copy = Self::new(layout.kv_type, self.capacity, n_heads, layout.head_dim)?;
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

    /// Drops all tokens from position `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        for head in &mut self.heads {
            head.tokens = head.tokens.min(length);
        }
    }

    /// The saved size of the keys and values of this many tokens in one head, in bytes.
    pub(crate) fn head_bytes(&self, tokens: usize) -> u64 {
        2 * tokens as u64 * self.layout.row_bytes() as u64
    }

    /// Whether all saved keys and values are finite numbers.
    pub(crate) fn is_finite(&self, bytes: &[u8]) -> bool {
        self.layout.is_finite(bytes)
    }

    /// Saves them as bytes, for [`KvCache::load`]: for each head the rows of all keys, then of all values.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        for head in &self.heads {
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

    /// Loads the saved keys and values of `tokens` tokens . The caller has checked that they fit.
    pub(crate) fn load(&mut self, tokens: usize, bytes: &[u8]) {
        let layout = self.layout;
        let mut rows = bytes.chunks_exact(layout.row_bytes());
        for head in &mut self.heads {
            for side in [Side::Keys, Side::Values] {
                for (token, row) in rows.by_ref().take(tokens).enumerate() {
                    head.put(layout, side, token, row);
                }
            }
            head.tokens = tokens;
        }
    }

    /// Sets the key and value of token `at` in a head, each `[head_dim]`, and drops the tokens after it. The caller has
    /// checked that it fits, and all earlier tokens must be present.
    pub(crate) fn set(&mut self, kv_head: usize, at: usize, key: &[f32], value: &[f32]) {
        let layout = self.layout;
        let head = &mut self.heads[kv_head];
        for (side, x) in [(Side::Keys, key), (Side::Values, value)] {
            layout.encode(x, &mut self.row);
            head.put(layout, side, at, &self.row);
        }
        head.tokens = at + 1;
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
            &data[i * bytes..(i + 1) * bytes]
        })
    }

    /// Stores a row, and starts a new block if needed.
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

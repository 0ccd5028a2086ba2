//! The cache of keys and values: what attention needs of the tokens before.

use std::mem::size_of;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernels;
use crate::quant::{Element, F16, F32};

/// The number type of cached keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// Half the memory.
    F16,
    /// Exact.
    F32,
}

impl KvType {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// The keys and values of one sequence, for this instance's heads. Room for the whole context is reserved when it is made
/// and becomes resident as it is used; nothing is allocated later.
pub struct KvCache {
    kv_type: KvType,
    /// Tokens that there is room for.
    capacity: usize,
    head_dim: usize,
    kv_heads: usize,
    /// `[layers * kv_heads]`, each `[tokens, head_dim]`.
    heads: Vec<Head>,
}

enum Head {
    F16(Pair<F16>),
    F32(Pair<F32>),
}

struct Pair<E: Element> {
    keys: Vec<E::Raw>,
    values: Vec<E::Raw>,
}

impl KvCache {
    /// An empty cache.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn new(
        kv_type: KvType,
        capacity: usize,
        layers: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> Result<Self> {
        // In u64, because in WebAssembly a size has 32 bits and the dimensions are a file's.
        let numbers = capacity as u64 * head_dim as u64;
        let out_of_memory = |heads: usize| {
            let size = |heads: usize| 2 * numbers * kv_type.size() as u64 * heads as u64;
            Error::OutOfMemory {
                needed: size(layers * kv_heads),
                available: size(heads),
            }
        };
        let len = usize::try_from(numbers).map_err(|_| out_of_memory(0))?;
        let mut heads = Vec::new();
        for made in 0..layers * kv_heads {
            let head = match kv_type {
                KvType::F16 => Pair::new(len).map(Head::F16),
                KvType::F32 => Pair::new(len).map(Head::F32),
            };
            heads.push(head.ok_or_else(|| out_of_memory(made))?);
        }
        Ok(Self {
            kv_type,
            capacity,
            head_dim,
            kv_heads,
            heads,
        })
    }

    /// An independent copy with the same room.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fork(&self) -> Result<Self> {
        let layers = self.heads.len().checked_div(self.kv_heads).unwrap_or(0);
        let mut copy = Self::new(
            self.kv_type,
            self.capacity,
            layers,
            self.kv_heads,
            self.head_dim,
        )?;
        for (copy, head) in copy.heads.iter_mut().zip(&self.heads) {
            match (copy, head) {
                (Head::F16(copy), Head::F16(head)) => copy.copy_from(head),
                (Head::F32(copy), Head::F32(head)) => copy.copy_from(head),
                _ => unreachable!("a copy has the type of its original"),
            }
        }
        Ok(copy)
    }

    /// Tokens that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that are reserved.
    pub fn reserved_bytes(&self) -> u64 {
        self.bytes_of(self.capacity)
    }

    /// Bytes of the keys and values of this many tokens.
    fn bytes_of(&self, tokens: usize) -> u64 {
        let per_token = 2 * self.heads.len() as u64 * (self.head_dim * self.kv_type.size()) as u64;
        tokens as u64 * per_token
    }

    /// Forgets all tokens from `length` on.
    pub fn truncate(&mut self, length: usize) {
        let length = length * self.head_dim;
        for head in &mut self.heads {
            match head {
                Head::F16(pair) => pair.truncate(length),
                Head::F32(pair) => pair.truncate(length),
            }
        }
    }

    /// Bytes of the keys and values of this many tokens in one head of one layer.
    pub(crate) fn head_bytes(&self, tokens: usize) -> u64 {
        2 * tokens as u64 * (self.head_dim * self.kv_type.size()) as u64
    }

    /// The number type of the keys and values.
    pub(crate) fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// One layer's keys and values as bytes, for [`KvCache::load_layer`].
    pub(crate) fn save_layer(&self, layer: usize, out: &mut Vec<u8>) {
        for head in &self.heads[self.heads_of(layer)] {
            match head {
                Head::F16(pair) => pair.save(out),
                Head::F32(pair) => pair.save(out),
            }
        }
    }

    /// Gives one layer the keys and values that were saved of it. There must be room, which the caller has checked.
    pub(crate) fn load_layer(&mut self, layer: usize, bytes: &[u8]) {
        let heads = self.heads_of(layer);
        let size = bytes.len() / self.kv_heads.max(1);
        for (i, head) in self.heads[heads].iter_mut().enumerate() {
            let (keys, values) = bytes[i * size..(i + 1) * size].split_at(size / 2);
            match head {
                Head::F16(pair) => pair.load(keys, values),
                Head::F32(pair) => pair.load(keys, values),
            }
        }
    }

    fn heads_of(&self, layer: usize) -> Range<usize> {
        layer * self.kv_heads..(layer + 1) * self.kv_heads
    }

    /// Appends one token's key and value of a head, each `[head_dim]`. There must be room, which the caller has checked.
    pub(crate) fn push(&mut self, layer: usize, kv_head: usize, key: &[f32], value: &[f32]) {
        match &mut self.heads[layer * self.kv_heads + kv_head] {
            Head::F16(pair) => pair.push(key, value),
            Head::F32(pair) => pair.push(key, value),
        }
    }

    /// Scaled dot-product attention of one query `[head_dim]` over the first `scores.len()` tokens into `out`
    /// `[head_dim]`. Source: Vaswani et al., 2017.
    pub(crate) fn attend(
        &self,
        layer: usize,
        kv_head: usize,
        query: &[f32],
        scores: &mut [f32],
        out: &mut [f32],
    ) {
        match &self.heads[layer * self.kv_heads + kv_head] {
            Head::F16(pair) => pair.attend(query, scores, out),
            Head::F32(pair) => pair.attend(query, scores, out),
        }
    }
}

impl<E: kernels::Load> Pair<E> {
    fn new(len: usize) -> Option<Self> {
        let mut pair = Self {
            keys: Vec::new(),
            values: Vec::new(),
        };
        pair.keys.try_reserve_exact(len).ok()?;
        pair.values.try_reserve_exact(len).ok()?;
        Some(pair)
    }

    fn push(&mut self, key: &[f32], value: &[f32]) {
        self.keys.extend(key.iter().map(|x| E::from_f32(*x)));
        self.values.extend(value.iter().map(|x| E::from_f32(*x)));
    }

    fn copy_from(&mut self, other: &Self) {
        self.keys.extend_from_slice(&other.keys);
        self.values.extend_from_slice(&other.values);
    }

    fn truncate(&mut self, len: usize) {
        self.keys.truncate(len);
        self.values.truncate(len);
    }

    fn save(&self, out: &mut Vec<u8>) {
        for raw in self.keys.iter().chain(&self.values) {
            out.extend_from_slice(E::bytes(raw));
        }
    }

    fn load(&mut self, keys: &[u8], values: &[u8]) {
        self.truncate(0);
        self.keys.extend_from_slice(E::raws(keys));
        self.values.extend_from_slice(E::raws(values));
    }

    fn attend(&self, query: &[f32], scores: &mut [f32], out: &mut [f32]) {
        let head_dim = query.len();
        let scale = 1.0 / (head_dim as f32).sqrt();
        for (score, key) in scores.iter_mut().zip(self.keys.chunks_exact(head_dim)) {
            *score = scale * kernels::dot::<E>(query, key);
        }
        kernels::softmax(scores);
        out.fill(0.0);
        for (score, value) in scores.iter().zip(self.values.chunks_exact(head_dim)) {
            kernels::axpy::<E>(*score, value, out);
        }
    }
}

const _: () =
    assert!(size_of::<<F16 as Element>::Raw>() == 2 && size_of::<<F32 as Element>::Raw>() == 4);

//! What the kernels of attention share: how queries, keys and values lie in memory, and what a running softmax remembers.
//!
//! Keys and values come in *blocks* of [`KEYS`] tokens, which begin at multiples of [`KEYS`], whatever the batch. In a block
//! the keys lie in *panels* of [`LANES`] tokens, `[D, LANES]`, and the values in panels of [`LANES`] dimensions, `[KEYS,
//! LANES]`; the queries lie in *tiles* of `M`, `[D, M]`, each number as a [`Splat`]. So scores and weighted sums are one and the same small product of
//! matrices, in which every element is summed in the order of its formula: neither the width of a tile nor a vector's
//! lanes can change its bits.
//!
//! `M` is 1, 2 or 4.

/// Tokens in a block of keys and values: a block in f32 stays in the first-level cache for heads of up to 128.
pub(crate) const KEYS: usize = 32;

/// What one step of a product takes from the second factor: two vectors.
pub(crate) const LANES: usize = 8;

/// A number four times: a vector of it is then one load, where making it would compete with the additions.
pub(crate) type Splat<T> = [T; 4];

/// Softmax over scores that arrive block by block, of `M` queries. Source: Milakov and Gimelshein, 2018.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running<const M: usize> {
    /// The largest score so far.
    pub(crate) largest: [f32; M],
    /// The sum of `exp(score - largest)` so far.
    pub(crate) sum: [f32; M],
}

impl<const M: usize> Running<M> {
    /// Before the first block.
    pub(crate) const START: Self = Self {
        largest: [f32::NEG_INFINITY; M],
        sum: [0.0; M],
    };
}

/// `c = c * factor`, and +0 instead of -0: then adding a product with a weight of 0 changes no bit of `c`.
#[inline]
pub(crate) fn rescale<const M: usize>(factor: [f32; M], c: &mut [[f32; LANES]; M]) {
    for (c, factor) in c.iter_mut().zip(factor) {
        for c in c {
            *c = *c * factor + 0.0;
        }
    }
}

//! What the attention kernels share: the memory layout of queries, keys and values, and the state of a running softmax.
//!
//! Keys and values come in *blocks* of [`KEYS`] tokens, which start at multiples of [`KEYS`], whatever the batch. In a
//! block, the keys are stored in *panels* of [`LANES`] tokens, `[D, LANES]`, and the values in panels of [`LANES`]
//! dimensions, `[KEYS, LANES]`; the queries are stored in *tiles* of `M`, `[D, M]`, each number as a [`Splat`]. So
//! scores and weighted sums are the same small matrix product, in which every element is summed in the order of its
//! formula: neither the width of a tile nor a vector's lanes can change its bits.
//!
//! `M` is 1, 2 or 4.

/// Tokens in a block of keys and values: a block in f32 stays in the L1 cache for head widths up to 128.
pub(crate) const KEYS: usize = 32;

/// How many numbers of the second factor one step of a product takes: two vectors.
pub(crate) const LANES: usize = 8;

/// A number repeated four times: a vector of it is then a single load, whereas a splat would compete with the
/// additions.
pub(crate) type Splat<T> = [T; 4];

/// The softmax of `M` queries over scores that arrive block by block. Source: Milakov and Gimelshein, 2018.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running<const M: usize> {
    /// The largest score so far.
    pub(crate) largest: [f32; M],
    /// The sum of `exp(score - largest)` so far.
    pub(crate) sum: [f32; M],
}

impl<const M: usize> Running<M> {
    /// The state before the first block.
    pub(crate) const START: Self = Self {
        largest: [f32::NEG_INFINITY; M],
        sum: [0.0; M],
    };
}

/// `c = c * factor`, with +0 instead of -0, so that adding a product with a weight of 0 changes no bit of `c`.
#[inline]
pub(crate) fn rescale<const M: usize>(factor: [f32; M], c: &mut [[f32; LANES]; M]) {
    for (c, factor) in c.iter_mut().zip(factor) {
        for c in c {
            *c = *c * factor + 0.0;
        }
    }
}

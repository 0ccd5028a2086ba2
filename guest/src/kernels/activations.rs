//! The input of a product: rows of activations as numbers and, for matrices in block formats, in 8 bits.
//!
//! Four tokens lie side by side in a *tile*, so that a kernel that computes four tokens at a time finds their scales in
//! one vector. Weights in groups of 32 are multiplied with activations that have a scale for each 32 (ggml's Q8_0), those
//! in super-blocks of 256 with such as have a scale for each 256 (ggml's Q8_K): then the sums over a whole block are of
//! integers.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use super::scalar as fast;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd128 as fast;

use crate::error::{Result, reserve};
use crate::gguf::TensorType;
use crate::quant::{self, GROUP, GROUPS};

/// Tokens in a tile: as many as a vector has lanes.
pub(crate) const TILE: usize = 4;

/// Activations in an [`ActivationBlock`], per token.
pub(crate) const BLOCK: usize = GROUPS * GROUP;

/// 32 activations of each of four tokens: `x[t][i] = d[t] * q[t][i]`, with `q` from -127 to 127.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActivationGroup {
    pub(crate) q: [[i8; GROUP]; TILE],
    pub(crate) d: [f32; TILE],
    /// The sum of `q`: what a weight's zero point and minimum are multiplied with.
    pub(crate) sums: [i32; TILE],
}

/// 256 activations of each of four tokens, likewise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActivationBlock {
    pub(crate) q: [[i8; BLOCK]; TILE],
    pub(crate) d: [f32; TILE],
    /// The sums of 16 successive `q`.
    pub(crate) half_sums: [[i16; 2 * GROUPS]; TILE],
    /// The sums of 32 successive `q`.
    pub(crate) group_sums: [[i16; GROUPS]; TILE],
}

impl ActivationGroup {
    pub(crate) const ZERO: Self = Self {
        q: [[0; GROUP]; TILE],
        d: [0.0; TILE],
        sums: [0; TILE],
    };
}

impl ActivationBlock {
    pub(crate) const ZERO: Self = Self {
        q: [[0; BLOCK]; TILE],
        d: [0.0; TILE],
        half_sums: [[0; 2 * GROUPS]; TILE],
        group_sums: [[0; GROUPS]; TILE],
    };
}

/// The buffers of quantised activations; filled anew for each input.
#[derive(Default)]
pub(crate) struct Activations {
    groups: Vec<ActivationGroup>,
    blocks: Vec<ActivationBlock>,
}

/// Rows of activations, as numbers and in the forms that the matrices read.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// `[tokens, cols]`.
    pub(crate) x: &'a [f32],
    /// `[tokens / 4 rounded up, cols / 32]`, or empty where no matrix reads it.
    pub(crate) groups: &'a [ActivationGroup],
    /// `[tokens / 4 rounded up, cols / 256]`, or empty where no matrix reads it.
    pub(crate) blocks: &'a [ActivationBlock],
}

impl Activations {
    /// Room for `tokens` rows of at most `cols`, so that nothing is allocated later.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn with_capacity(tokens: usize, cols: usize) -> Result<Self> {
        let mut made = Self::default();
        let tiles = tokens.div_ceil(TILE);
        reserve(&mut made.groups, tiles * cols.div_ceil(GROUP))?;
        reserve(&mut made.blocks, tiles * cols.div_ceil(BLOCK))?;
        Ok(made)
    }

    /// `x`, `[tokens, cols]`, in the forms that matrices of these types read.
    pub(crate) fn quantize<'a>(
        &'a mut self,
        x: &'a [f32],
        cols: usize,
        readers: impl Iterator<Item = TensorType> + Clone,
    ) -> Input<'a> {
        let wanted = |len: usize| {
            let mut types = readers.clone().filter(|ty| quant::is_quantized(*ty));
            types.any(|ty| ty.block_len() as usize == len)
        };
        let groups = wanted(GROUP).then_some((GROUP, fast::quantize_groups as Quantize<_>));
        fill(&mut self.groups, ActivationGroup::ZERO, x, cols, groups);
        let blocks = wanted(BLOCK).then_some((BLOCK, fast::quantize_blocks as Quantize<_>));
        fill(&mut self.blocks, ActivationBlock::ZERO, x, cols, blocks);
        Input {
            x,
            groups: &self.groups,
            blocks: &self.blocks,
        }
    }
}

/// Quantises one row as a token of its tiles.
type Quantize<T> = fn(&[f32], &mut [T], usize);

/// Fills `tiles` with the rows of `x`, `[tokens, cols]`, by a function and the activations that a tile of its has per token;
/// without one they become empty. Tokens that a last tile has too many keep what they had: nobody reads what is computed of them.
fn fill<T: Clone>(
    tiles: &mut Vec<T>,
    zero: T,
    x: &[f32],
    cols: usize,
    form: Option<(usize, Quantize<T>)>,
) {
    let Some((len, quantize)) = form else {
        return tiles.clear();
    };
    let (rows, per_row) = (x.chunks_exact(cols), cols / len);
    tiles.resize(rows.len().div_ceil(TILE) * per_row, zero);
    for (t, x) in rows.enumerate() {
        quantize(x, &mut tiles[t / TILE * per_row..][..per_row], t % TILE);
    }
}

/// The step between two quants, and its inverse. Numbers so small that the inverse is infinite become zeros.
#[inline(always)]
pub(super) fn step(largest: f32) -> (f32, f32) {
    let inverse = 127.0 / largest;
    if inverse.is_finite() {
        (largest / 127.0, inverse)
    } else {
        (0.0, 0.0)
    }
}

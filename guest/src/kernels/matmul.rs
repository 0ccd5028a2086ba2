//! The product of some rows of a weight matrix with some rows of activations.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use super::scalar as fast;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd128 as fast;

use super::ActivationQuad;
use crate::gguf::TensorType;
use crate::quant::{BF16, F16, F32, GROUP, with_format};
use fast::{Load, Unpack};

/// How many rows of activations are multiplied with a row of weights at a time, so that the weights are unpacked once.
const TILE: usize = 4;

/// Rows of a weight matrix, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// A supported type.
    pub(crate) ty: TensorType,
    /// Weights per row: a multiple of the type's block.
    pub(crate) cols: usize,
    /// The bytes of whole rows.
    pub(crate) bytes: &'a [u8],
}

/// Rows of activations, as numbers and, where a matrix in a block format reads them, in 8 bits.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// `[tokens, cols]`.
    pub(crate) x: &'a [f32],
    /// `[tokens, ActivationQuad::per_row(cols)]`, or empty where all matrices are of floats.
    pub(crate) quads: &'a [ActivationQuad],
}

/// `out[t, r] = sum over c of weights[r, c] * input[t, c]`; `out` is `[tokens, rows]`. Each element is computed in the
/// same way for any number of tokens and rows.
pub(crate) fn matmul(weights: Rows<'_>, input: Input<'_>, out: &mut [f32]) {
    with_format!(weights.ty, F => multiply_blocks::<F>(weights, input.quads, out), _ => match weights.ty {
        TensorType::F32 => multiply_floats::<F32>(weights, input.x, out),
        TensorType::F16 => multiply_floats::<F16>(weights, input.x, out),
        TensorType::BF16 => multiply_floats::<BF16>(weights, input.x, out),
        other => unreachable!("the loader rejects tensors of type {}", other.name()),
    });
}

fn multiply_blocks<F: Unpack>(weights: Rows<'_>, input: &[ActivationQuad], out: &mut [f32]) {
    let row_blocks = weights.cols / (GROUP * F::GROUPS);
    let row_quads = ActivationQuad::per_row(weights.cols);
    let rows = F::blocks(weights.bytes);
    let n_rows = rows.len() / row_blocks;
    let tiles = input.chunks_exact(TILE * row_quads);
    let rest = tiles.remainder();
    for (r, row) in rows.chunks_exact(row_blocks).enumerate() {
        fetch_row(weights.bytes, r + 1, n_rows);
        for (i, tile) in tiles.clone().enumerate() {
            let tokens: [_; TILE] =
                std::array::from_fn(|t| &tile[t * row_quads..(t + 1) * row_quads]);
            for (t, y) in fast::dot_blocks::<F, TILE>(row, tokens)
                .into_iter()
                .enumerate()
            {
                out[(i * TILE + t) * n_rows + r] = y;
            }
        }
        let done = tiles.len() * TILE;
        for (t, token) in rest.chunks_exact(row_quads).enumerate() {
            [out[(done + t) * n_rows + r]] = fast::dot_blocks::<F, 1>(row, [token]);
        }
    }
}

fn multiply_floats<E: Load>(weights: Rows<'_>, x: &[f32], out: &mut [f32]) {
    let rows = E::raws(weights.bytes);
    let n_rows = rows.len() / weights.cols;
    for (r, row) in rows.chunks_exact(weights.cols).enumerate() {
        fetch_row(weights.bytes, r + 1, n_rows);
        for (t, x) in x.chunks_exact(weights.cols).enumerate() {
            out[t * n_rows + r] = fast::dot::<E>(x, row);
        }
    }
}

/// Brings row `r` of `n_rows`, if there is one, into the cache: reads a byte of each of its cache lines.
///
/// A row is read but once for each batch, so its lines come from memory. The arithmetic on them fills a processor's window
/// after a few lines, and the misses then wait for one another; here nothing is between them, and they overlap. Where the
/// hardware does not prefetch (seen on virtual machines), `gust bench` on a synthetic TinyLlama in Q4_0 decodes 1.7 times
/// as many tokens a second with it.
#[inline(always)]
fn fetch_row(bytes: &[u8], r: usize, n_rows: usize) {
    const CACHE_LINE: usize = 64;
    let row_bytes = bytes.len() / n_rows;
    if let Some(row) = bytes.get(r * row_bytes..(r + 1) * row_bytes) {
        let touched = row
            .iter()
            .step_by(CACHE_LINE)
            .fold(0, |all, byte| all ^ byte);
        // Or the compiler would see that nobody wants it.
        std::hint::black_box(touched);
    }
}

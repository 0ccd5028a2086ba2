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
        for (t, x) in x.chunks_exact(weights.cols).enumerate() {
            out[t * n_rows + r] = fast::dot::<E>(x, row);
        }
    }
}

//! The product of some rows of a weight matrix with some rows of activations.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use super::scalar as fast;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd128 as fast;

use super::activations::{Input, TILE};
use super::lanes::{FourRows, FourTokens};
use crate::gguf::TensorType;
use crate::quant::{BF16, F16, F32, ROWS, with_format, with_packed};
use fast::{Dot, DotQuads, Load};

/// Rows of weights that all tokens of a batch are multiplied with before the next rows: few enough to stay in the
/// first-level cache together with a tile of activations.
const PANEL: usize = 16;

/// Places of a matrix that one token's rows are read from in turn. Hardware reads memory ahead page by page: a single stream
/// gives it one page to work on, and the arithmetic waits. `cargo xtask bench --kernels` compares what comes from memory
/// with what comes from the cache.
const STREAMS: usize = 2 * TILE;

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

/// `out[t, r] = sum over c of weights[r, c] * input[t, c]`; `out` is `[tokens, rows]`. Each element is computed in the
/// same way for any number of tokens and rows.
pub(crate) fn matmul(weights: Rows<'_>, input: Input<'_>, out: &mut [f32]) {
    with_format!(weights.ty, F => multiply_blocks::<F>(weights, input, out), _ =>
    with_packed!(weights.ty, F => multiply_quads::<F>(weights, input, out), _ => match weights.ty {
        TensorType::F32 => multiply_floats::<F32>(weights, input.x, out),
        TensorType::F16 => multiply_floats::<F16>(weights, input.x, out),
        TensorType::BF16 => multiply_floats::<BF16>(weights, input.x, out),
        other => unreachable!("the loader rejects tensors of type {}", other.name()),
    }));
}

fn multiply_blocks<F: Dot>(weights: Rows<'_>, input: Input<'_>, out: &mut [f32]) {
    let row_len = weights.cols / F::TYPE.block_len() as usize;
    let tokens = input.x.len() / weights.cols;
    let matrix = Matrix::<F> {
        blocks: F::blocks(weights.bytes),
        row_len,
    };
    let (tiled, alone) = out.split_at_mut(in_tiles(tokens) * matrix.n_rows());
    let (tiles, last) = F::tiles(&input).split_at(in_tiles(tokens).div_ceil(TILE) * row_len);
    matrix.multiply_tiles(tiles, tiled);
    for (token, out) in alone.chunks_exact_mut(matrix.n_rows().max(1)).enumerate() {
        matrix.multiply_token(last, token, out);
    }
}

/// How many tokens of a batch are computed in tiles of four. For one or two in the last tile it takes less time to compute
/// each by itself; for three it does not.
fn in_tiles(tokens: usize) -> usize {
    match tokens % TILE {
        left @ 1..=2 => tokens - left,
        _ => tokens,
    }
}

struct Matrix<'a, F: Dot> {
    blocks: &'a [F::Block],
    /// Blocks in a row.
    row_len: usize,
}

impl<'a, F: Dot> Matrix<'a, F> {
    fn n_rows(&self) -> usize {
        self.blocks.len() / self.row_len
    }

    #[inline(always)]
    fn row(&self, r: usize) -> &'a [F::Block] {
        &self.blocks[r * self.row_len..][..self.row_len]
    }

    /// Tiles of four tokens each; `out` is `[tokens, n_rows]`, and of the last tile it may lack some tokens.
    fn multiply_tiles(&self, tiles: &[F::Tile], out: &mut [f32]) {
        let n_rows = self.n_rows();
        for panel in (0..n_rows).step_by(PANEL) {
            for (i, tiles) in tiles.chunks_exact(self.row_len).enumerate() {
                for r in panel..n_rows.min(panel + PANEL) {
                    if i == 0 {
                        self.fetch(r + 1);
                    }
                    let row = self.row(r);
                    let sums = F::dot4(FourTokens::<F> { row, tiles });
                    for (t, sum) in sums.into_iter().enumerate() {
                        if let Some(out) = out.get_mut((i * TILE + t) * n_rows + r) {
                            *out = sum;
                        }
                    }
                }
            }
        }
    }

    /// One token of a tile; `out` is `[n_rows]`.
    fn multiply_token(&self, tiles: &[F::Tile], token: usize, out: &mut [f32]) {
        in_streams(self.n_rows(), |r: [usize; TILE]| {
            let rows = r.map(|r| self.row(r));
            let sums = F::dot4(FourRows::<F> { rows, tiles, token });
            for (r, sum) in r.into_iter().zip(sums) {
                out[r] = sum;
            }
        });
    }

    /// Brings row `r`, if there is one, into the cache.
    #[inline(always)]
    fn fetch(&self, r: usize) {
        if let Some(row) = self.blocks.get(r * self.row_len..(r + 1) * self.row_len) {
            fetch(F::bytes(row));
        }
    }
}

fn multiply_quads<F: DotQuads>(weights: Rows<'_>, input: Input<'_>, out: &mut [f32]) {
    let row_len = weights.cols / F::TYPE.block_len() as usize;
    let tokens = input.x.len() / weights.cols;
    let quads = F::quads(weights.bytes);
    let n_quads = quads.len() / row_len;
    let n_rows = n_quads * ROWS;
    let row = |r: usize| &quads[r * row_len..][..row_len];
    let (tiled, alone) = out.split_at_mut(in_tiles(tokens) * n_rows);
    let (tiles, last) = F::tiles(&input).split_at(in_tiles(tokens).div_ceil(TILE) * row_len);
    for panel in (0..n_quads).step_by(PANEL / ROWS) {
        for (i, tiles) in tiles.chunks_exact(row_len).enumerate() {
            for r in panel..n_quads.min(panel + PANEL / ROWS) {
                if i == 0 && r + 1 < n_quads {
                    fetch(F::quad_bytes(row(r + 1)));
                }
                for (t, sums) in F::dot_tokens(row(r), tiles).into_iter().enumerate() {
                    let at = (i * TILE + t) * n_rows + r * ROWS;
                    if let Some(out) = tiled.get_mut(at..at + ROWS) {
                        out.copy_from_slice(&sums);
                    }
                }
            }
        }
    }
    for (token, out) in alone.chunks_exact_mut(n_rows.max(1)).enumerate() {
        in_streams(n_quads, |r: [usize; STREAMS]| {
            for (r, sums) in r.into_iter().zip(F::dot_token(r.map(row), last, token)) {
                out[r * ROWS..][..ROWS].copy_from_slice(&sums);
            }
        });
    }
}

fn multiply_floats<E: Load>(weights: Rows<'_>, x: &[f32], out: &mut [f32]) {
    let rows = E::raws(weights.bytes);
    let n_rows = rows.len() / weights.cols;
    let row_bytes = weights.bytes.len() / n_rows.max(1);
    for (r, row) in rows.chunks_exact(weights.cols).enumerate() {
        if let Some(next) = weights.bytes.get((r + 1) * row_bytes..(r + 2) * row_bytes) {
            fetch(next);
        }
        for (t, x) in x.chunks_exact(weights.cols).enumerate() {
            out[t * n_rows + r] = fast::dot::<E>(x, row);
        }
    }
}

/// Gives `compute` the numbers from 0 to `n`, `N` at a time, from [`STREAMS`] parts in turn.
#[inline(always)]
fn in_streams<const N: usize>(n: usize, mut compute: impl FnMut([usize; N])) {
    let part = n / STREAMS;
    for r in 0..part {
        for first in (0..STREAMS).step_by(N) {
            compute(std::array::from_fn(|i| (first + i) * part + r));
        }
    }
    // Those that are left over; the last one stands in for those that are missing to the last `N`.
    let left = STREAMS * part..n;
    for first in left.clone().step_by(N) {
        compute(std::array::from_fn(|i| (first + i).min(left.end - 1)));
    }
}

/// Brings bytes into the cache: reads one of each cache line.
///
/// A row is read but once for each batch, so its lines come from memory. The arithmetic on them fills a processor's window
/// after a few lines, and the misses then wait for one another; here nothing is between them, and they overlap.
#[inline(always)]
fn fetch(bytes: &[u8]) {
    const CACHE_LINE: usize = 64;
    let lines = bytes.iter().step_by(CACHE_LINE);
    let touched = lines.fold(0, |all, byte| all ^ byte);
    // Or the compiler would see that nobody wants it.
    std::hint::black_box(touched);
}

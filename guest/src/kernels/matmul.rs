//! The product of some rows of a weight matrix with some rows of activations.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use super::scalar as fast;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd128 as fast;

use std::ops::{Range, RangeInclusive};

use super::activations::Input;
use super::operand::Operand;
use super::tiles::{TILE, Tile, in_tiles, strip_cols};
use crate::gguf::TensorType;
use crate::quant::{Q4_K, ROWS, with_element, with_format, with_packed};
use fast::{Dot, DotQuads, Load};

/// Rows of weights that are unpacked at once: enough to use each loaded part of a tile several times.
const PANEL: usize = 8 * ROWS;

/// How many tiles a panel of weights is multiplied with before the next panel.
const TILES: usize = 16;

/// These numbers of tokens are multiplied with Q4_K without tiles: for them, unpacking a panel costs up to half more
/// than it saves. For other formats, tiles are as fast or faster from four tokens on (`gust bench -p 4`).
const FEW: RangeInclusive<usize> = TILE..=TILE + 1;

/// How many places of a matrix the rows for a single token are read from in turn. Hardware prefetches memory page by
/// page: with a single stream it works on one page only, and the arithmetic waits. `cargo xtask bench --kernels`
/// compares reading from memory with reading from the cache.
const STREAMS: usize = 2 * ROWS;

/// The same for rows of quads, each of which is as long as four rows. Zen 4 reads a single place ahead as well, and more
/// than four are slower there; Intel's processors need several.
const QUAD_STREAMS: usize = 4;

/// Consecutive rows of a weight matrix.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// A supported type.
    pub(crate) ty: TensorType,
    /// Weights per row: a multiple of the type's block.
    pub(crate) cols: usize,
    /// The bytes of whole rows.
    pub(crate) bytes: &'a [u8],
}

/// `out[t, r] = sum over c of weights[r, c] * input[t, c]`; `out` is `[tokens, rows]`. Each element has the same bits
/// for any number of tokens and rows.
pub(crate) fn matmul(weights: Rows<'_>, input: Input<'_>, out: &mut [f32]) {
    if weights.ty == TensorType::Q4_K && FEW.contains(&(input.x.len() / weights.cols)) {
        return multiply_few(weights, input, out);
    }
    with_format!(weights.ty, F => multiply::<F, _>(Blocks::<F>::new(weights), input, out), _ =>
    with_packed!(weights.ty, F => multiply::<F, _>(Quads::<F>::new(weights), input, out), _ =>
    with_element!(weights.ty, E => multiply_numbers::<E>(weights, input.x, out), _ =>
        unreachable!("the loader rejects tensors of type {}", weights.ty.name()))));
}

/// A matrix stored in blocks or in quads of blocks.
trait Matrix<F: Dot> {
    fn n_rows(&self) -> usize;

    /// Blocks in a row.
    fn row_len(&self) -> usize;

    /// The bytes of some columns (counted in blocks) of the four rows from `r` on, in pieces.
    fn pieces(&self, r: usize, columns: Range<usize>) -> impl Iterator<Item = &[u8]>;

    /// Unpacks some columns (counted in blocks) of the four rows from `r` on. The results for rows past the end are not
    /// read.
    fn cross(&self, r: usize, columns: Range<usize>, strip: &mut [F::Crossed]);

    /// Multiplies all rows with one token; `out` is `[rows]`.
    fn multiply_token(&self, token: &[F::Token], out: &mut [f32]);
}

fn multiply<F: Dot, M: Matrix<F>>(matrix: M, input: Input<'_>, out: &mut [f32]) {
    let (n_rows, row_len) = (matrix.n_rows(), matrix.row_len());
    if n_rows == 0 {
        return;
    }
    if in_tiles(out.len() / n_rows) {
        let tiles = F::tiles(&input).chunks(TILES * row_len);
        for (tiles, out) in tiles.zip(out.chunks_mut(TILES * TILE * n_rows)) {
            multiply_tiles(&matrix, tiles, out);
        }
    } else {
        let tokens = F::tokens(&input).chunks_exact(row_len);
        for (token, out) in tokens.zip(out.chunks_exact_mut(n_rows)) {
            matrix.multiply_token(token, out);
        }
    }
}

/// Multiplies at most [`TILES`] tiles; `out` is `[tokens, rows]`, and may lack some tokens of the last tile.
fn multiply_tiles<F: Dot>(matrix: &impl Matrix<F>, tiles: &[F::Tile], out: &mut [f32]) {
    let (n_rows, row_len) = (matrix.n_rows(), matrix.row_len());
    let mut panel = [F::EMPTY_STRIP; PANEL / ROWS];
    let strip_len = strip_cols(<F as Operand>::Tile::NARROW) / F::TYPE.block_len() as usize;
    for first in (0..n_rows).step_by(PANEL) {
        let rows = (first..n_rows.min(first + PANEL)).step_by(ROWS);
        let mut sums = [[[[0.0; ROWS]; TILE]; PANEL / ROWS]; TILES];
        for start in (0..row_len).step_by(strip_len) {
            let columns = start..row_len.min(start + strip_len);
            let pieces = rows.clone().flat_map(|r| matrix.pieces(r, columns.clone()));
            pieces.for_each(fetch);
            for (r, strip) in rows.clone().zip(&mut panel) {
                matrix.cross(r, columns.clone(), &mut strip.as_mut()[..columns.len()]);
            }
            let tokens = out.len() / n_rows;
            for (i, (tiles, sums)) in tiles.chunks_exact(row_len).zip(&mut sums).enumerate() {
                let (tiles, tokens) = (&tiles[columns.clone()], (tokens - i * TILE).min(TILE));
                for (strip, sums) in panel[..rows.len()].iter_mut().zip(sums) {
                    F::add_products(&strip.as_mut()[..columns.len()], tiles, tokens, sums);
                }
            }
        }
        for (out, sums) in out.chunks_mut(TILE * n_rows).zip(&sums) {
            for (r, sums) in rows.clone().zip(sums) {
                for (out, sums) in out.chunks_exact_mut(n_rows).zip(sums) {
                    let rows = r..n_rows.min(r + ROWS);
                    out[rows.clone()].copy_from_slice(&sums[..rows.len()]);
                }
            }
        }
    }
}

/// A matrix as stored in GGUF.
struct Blocks<'a, F: Dot> {
    blocks: &'a [F::Block],
    bytes: &'a [u8],
    row_len: usize,
}

impl<'a, F: Dot> Blocks<'a, F> {
    fn new(weights: Rows<'a>) -> Self {
        Self {
            blocks: F::blocks(weights.bytes),
            bytes: weights.bytes,
            row_len: weights.cols / F::TYPE.block_len() as usize,
        }
    }

    #[inline(always)]
    fn row(&self, r: usize) -> &'a [F::Block] {
        &self.blocks[r * self.row_len..][..self.row_len]
    }
}

impl<F: Dot> Matrix<F> for Blocks<'_, F> {
    fn n_rows(&self) -> usize {
        self.blocks.len() / self.row_len
    }

    fn row_len(&self) -> usize {
        self.row_len
    }

    fn pieces(&self, r: usize, columns: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let size = F::TYPE.block_bytes() as usize;
        let rows = self
            .bytes
            .chunks_exact(self.row_len * size)
            .skip(r)
            .take(ROWS);
        rows.map(move |row| &row[columns.start * size..columns.end * size])
    }

    fn cross(&self, r: usize, columns: Range<usize>, strip: &mut [F::Crossed]) {
        // The last row stands in for the missing rows of an incomplete group of four.
        let last = self.n_rows() - 1;
        let row = |i: usize| &self.row((r + i).min(last))[columns.clone()];
        F::cross(std::array::from_fn(row), strip);
    }

    fn multiply_token(&self, token: &[F::Token], out: &mut [f32]) {
        in_streams::<STREAMS, ROWS>(self.n_rows(), |r| {
            let sums = F::dot_rows(r.map(|r| self.row(r)), token);
            for (r, sum) in r.into_iter().zip(sums) {
                out[r] = sum;
            }
        });
    }
}

/// A packed matrix.
struct Quads<'a, F: DotQuads> {
    quads: &'a [F::Quad],
    bytes: &'a [u8],
    row_len: usize,
    /// The last rows, which are too few for a quad and not packed.
    last: Blocks<'a, F>,
}

impl<'a, F: DotQuads> Quads<'a, F> {
    fn new(weights: Rows<'a>) -> Self {
        let row_len = weights.cols / F::TYPE.block_len() as usize;
        let rows = ROWS * row_len * F::TYPE.block_bytes() as usize;
        let (bytes, last) = weights.bytes.split_at(weights.bytes.len() / rows * rows);
        Self {
            quads: F::quads(bytes),
            bytes,
            row_len,
            last: Blocks::new(Rows {
                bytes: last,
                ..weights
            }),
        }
    }

    /// The number of packed rows.
    #[inline(always)]
    fn n_packed(&self) -> usize {
        self.quads.len() / self.row_len * ROWS
    }

    /// Row `r` of quads.
    #[inline(always)]
    fn row(&self, r: usize) -> &'a [F::Quad] {
        &self.quads[r * self.row_len..][..self.row_len]
    }
}

impl<F: DotQuads> Matrix<F> for Quads<'_, F> {
    fn n_rows(&self) -> usize {
        self.n_packed() + self.last.n_rows()
    }

    fn row_len(&self) -> usize {
        self.row_len
    }

    fn pieces(&self, r: usize, columns: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let size = ROWS * F::TYPE.block_bytes() as usize;
        let mut rows = self.bytes.chunks_exact(self.row_len * size);
        let row = rows.nth(r / ROWS);
        row.map(|row| &row[columns.start * size..columns.end * size])
            .into_iter()
    }

    fn cross(&self, r: usize, columns: Range<usize>, strip: &mut [F::Crossed]) {
        match r.checked_sub(self.n_packed()) {
            None => F::cross_quads(&self.row(r / ROWS)[columns], strip),
            Some(r) => self.last.cross(r, columns, strip),
        }
    }

    fn multiply_token(&self, token: &[F::Token], out: &mut [f32]) {
        let n = self.quads.len() / self.row_len;
        in_streams::<QUAD_STREAMS, QUAD_STREAMS>(n, |r| {
            let sums = F::dot_quads(r.map(|r| self.row(r)), token);
            for (r, sums) in r.into_iter().zip(sums) {
                out[r * ROWS..][..ROWS].copy_from_slice(&sums);
            }
        });
        self.last.multiply_token(token, &mut out[self.n_packed()..]);
    }
}

/// Packs the rows of a matrix into `out`, which has the same length; the last ones are copied if they are fewer than
/// [`ROWS`]. `packed` is the packed type. Returns whether they can be packed: not if a number is infinite or NaN.
///
/// # Panics
/// If `packed` is not a packed type.
pub(crate) fn pack(packed: TensorType, cols: usize, rows: &[u8], out: &mut [u8]) -> bool {
    with_packed!(packed, F => pack_rows::<F>(cols, rows, out), _ => unreachable!("{} is not packed", packed.name()))
}

fn pack_rows<F: DotQuads>(cols: usize, rows: &[u8], out: &mut [u8]) -> bool {
    let row_len = cols / F::TYPE.block_len() as usize;
    let quads = F::quads_mut(out).chunks_exact_mut(row_len);
    let groups = F::blocks(rows).chunks_exact(ROWS * row_len);
    for (rows, quads) in groups.zip(quads) {
        for (c, quad) in quads.iter_mut().enumerate() {
            let blocks = std::array::from_fn(|r| &rows[r * row_len + c]);
            if !F::are_finite(blocks) {
                return false;
            }
            F::pack(blocks, quad);
        }
    }
    let group = ROWS * row_len * F::TYPE.block_bytes() as usize;
    let last = rows.len() / group * group;
    out[last..].copy_from_slice(&rows[last..]);
    true
}

/// Multiplies each row with four tokens at once, and then with the fifth, if there is one.
fn multiply_few(weights: Rows<'_>, input: Input<'_>, out: &mut [f32]) {
    let matrix = Blocks::<Q4_K>::new(weights);
    let (n_rows, row_len) = (matrix.n_rows(), matrix.row_len);
    let token = |t: usize| &Q4_K::tokens(&input)[t * row_len..][..row_len];
    let four: [_; TILE] = std::array::from_fn(token);
    let row_bytes = row_len * weights.ty.block_bytes() as usize;
    let mut rows = weights.bytes.chunks_exact(row_bytes).skip(1);
    for r in 0..n_rows {
        if let Some(next) = rows.next() {
            fetch(next);
        }
        let sums = fast::dot_tokens::<Q4_K>(matrix.row(r), four);
        for (t, sum) in sums.into_iter().enumerate() {
            out[t * n_rows + r] = sum;
        }
    }
    if out.len() > TILE * n_rows {
        matrix.multiply_token(token(TILE), &mut out[TILE * n_rows..]);
    }
}

fn multiply_numbers<E: Load>(weights: Rows<'_>, x: &[f32], out: &mut [f32]) {
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

/// Calls `compute` with the numbers from 0 to `n - 1`, `N` at a time, taken from `PARTS` parts in turn.
#[inline(always)]
fn in_streams<const PARTS: usize, const N: usize>(n: usize, mut compute: impl FnMut([usize; N])) {
    let part = n / PARTS;
    for r in 0..part {
        for first in (0..PARTS).step_by(N) {
            compute(std::array::from_fn(|i| (first + i) * part + r));
        }
    }
    // The remaining numbers; the last one stands in for the missing ones of an incomplete group of `N`.
    let left = PARTS * part..n;
    for first in left.clone().step_by(N) {
        compute(std::array::from_fn(|i| (first + i).min(left.end - 1)));
    }
}

/// Brings bytes into the cache by reading one byte of each cache line.
///
/// Weights are read only once per batch, so their lines come from memory. The arithmetic on them would fill the
/// processor's out-of-order window after a few lines, and the misses would wait for one another; here nothing is
/// between them, so they overlap.
#[inline(always)]
pub(super) fn fetch(bytes: &[u8]) {
    const CACHE_LINE: usize = 64;
    let lines = bytes.iter().step_by(CACHE_LINE);
    let touched = lines.fold(0, |all, byte| all ^ byte);
    // Otherwise the compiler would see that the result is unused.
    std::hint::black_box(touched);
}

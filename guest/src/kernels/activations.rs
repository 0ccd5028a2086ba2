//! The input of a product: rows of activations as numbers and, for matrices in block formats, in 8 bits.
//!
//! Weights in groups of 32, one or a few per block, are multiplied with activations that have one scale per 32 (ggml's
//! Q8_0), weights in super-blocks of 256 with activations that have one scale per 256 (ggml's Q8_K), so sums over a whole
//! group or super-block are integer. A single token is multiplied in this form; a batch in tiles of four tokens (see [`super::tiles`]).

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use super::scalar as fast;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd128 as fast;

use super::operand::Operand;
use super::tiles::{BlockTile, GroupTile, TILE, Tile, in_tiles};
use crate::error::{Result, reserve};
use crate::gguf::TensorType;
use crate::quant::{GROUP, GROUPS, with_format, with_packed};

/// Activations in an [`ActivationBlock`].
pub(crate) const BLOCK: usize = GROUPS * GROUP;

/// 32 activations of a token: `x[i] = d * q[i]`, with `q` from -127 to 127.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActivationGroup {
    pub(crate) q: [i8; GROUP],
    pub(crate) d: f32,
    /// The sum of `q`: what a weight's zero point and minimum are multiplied with.
    pub(crate) sum: i32,
    /// The sum of the magnitudes of negative `q`.
    pub(crate) negative: i32,
}

/// 256 activations of a token, in the same form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActivationBlock {
    pub(crate) q: [i8; BLOCK],
    pub(crate) d: f32,
    /// The sums of 16 successive `q`.
    pub(crate) half_sums: [i16; 2 * GROUPS],
    /// The sums of 32 successive `q`.
    pub(crate) group_sums: [i16; GROUPS],
}

/// The buffers for quantised activations; refilled for each input.
#[derive(Default)]
pub(crate) struct Activations {
    groups: GroupForms,
    blocks: BlockForms,
}

pub(crate) type GroupForms = Forms<ActivationGroup, GroupTile<8>, GroupTile<16>>;
pub(crate) type BlockForms = Forms<ActivationBlock, BlockTile<64>, BlockTile<128>>;

/// Activations with scales for one block length, in the forms that the matrices read; the other forms are empty.
pub(crate) struct Forms<A, N, W> {
    /// `[tokens, blocks of a row]`
    pub(crate) each: Vec<A>,
    /// In tiles, with quants in 8 bits: `[tiles, blocks of a row]`.
    pub(crate) narrow: Vec<N>,
    /// In tiles, with quants in 16 bits.
    pub(crate) wide: Vec<W>,
}

/// Rows of activations, as numbers and in the forms that the matrices read.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// `[tokens, cols]`.
    pub(crate) x: &'a [f32],
    pub(crate) groups: &'a GroupForms,
    pub(crate) blocks: &'a BlockForms,
}

/// Which forms the matrices read.
#[derive(Default)]
struct Wanted {
    narrow: bool,
    wide: bool,
}

impl Activations {
    /// Reserves capacity for `tokens` rows of at most `cols`, so that nothing is allocated later.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn reserve(&mut self, tokens: usize, cols: usize) -> Result<()> {
        self.groups.reserve(tokens, cols.div_ceil(GROUP))?;
        self.blocks.reserve(tokens, cols.div_ceil(BLOCK))
    }

    /// Quantises `x`, `[tokens, cols]`, to the forms that matrices of these types read.
    pub(crate) fn quantize<'a>(
        &'a mut self,
        x: &'a [f32],
        cols: usize,
        readers: impl Iterator<Item = TensorType>,
    ) -> Input<'a> {
        let (mut groups, mut blocks) = (Wanted::default(), Wanted::default());
        for ty in readers {
            let Some(narrow) = reads_narrow_tiles(ty) else {
                continue;
            };
            let wanted = match ty.block_len() as usize {
                BLOCK => &mut blocks,
                _ => &mut groups,
            };
            wanted.narrow |= narrow;
            wanted.wide |= !narrow;
        }
        let (rows, per_group, per_block) = (x.chunks_exact(cols), cols / GROUP, cols / BLOCK);
        self.groups
            .fill(rows.clone(), per_group, groups, fast::quantize_groups);
        self.blocks
            .fill(rows, per_block, blocks, fast::quantize_blocks);
        self.input(x)
    }

    /// `x` as it was quantised last.
    pub(crate) fn input<'a>(&'a self, x: &'a [f32]) -> Input<'a> {
        Input {
            x,
            groups: &self.groups,
            blocks: &self.blocks,
        }
    }
}

/// For a block format, whether it is multiplied with narrow tiles.
fn reads_narrow_tiles(ty: TensorType) -> Option<bool> {
    with_format!(ty, F => Some(<F as Operand>::Tile::NARROW), _ =>
    with_packed!(ty, F => Some(<F as Operand>::Tile::NARROW), _ => None))
}

// A derived impl would require `Default` of the elements.
impl<A, N, W> Default for Forms<A, N, W> {
    fn default() -> Self {
        Self {
            each: Vec::new(),
            narrow: Vec::new(),
            wide: Vec::new(),
        }
    }
}

impl<A, N, W> Forms<A, N, W>
where
    A: Copy,
    N: Tile<Token = A>,
    W: Tile<Token = A>,
{
    fn reserve(&mut self, tokens: usize, per_row: usize) -> Result<()> {
        reserve(&mut self.each, tokens * per_row)?;
        reserve(&mut self.narrow, tokens.div_ceil(TILE) * per_row)?;
        reserve(&mut self.wide, tokens.div_ceil(TILE) * per_row)
    }

    /// Quantises rows and puts them into tiles; forms that are not wanted become empty.
    fn fill<'a>(
        &mut self,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
        per_row: usize,
        wanted: Wanted,
        quantize: fn(&[f32], &mut Vec<A>),
    ) {
        self.each.clear();
        let tiled = in_tiles(rows.len());
        if wanted.narrow || wanted.wide {
            rows.for_each(|x| quantize(x, &mut self.each));
        }
        tile(
            &self.each,
            per_row,
            tiled && wanted.narrow,
            &mut self.narrow,
        );
        tile(&self.each, per_row, tiled && wanted.wide, &mut self.wide);
    }
}

/// Puts rows into tiles. Surplus tokens of the last tile keep their old contents.
fn tile<T: Tile>(rows: &[T::Token], per_row: usize, wanted: bool, out: &mut Vec<T>) {
    if !wanted {
        return out.clear();
    }
    let rows = rows.chunks_exact(per_row);
    out.resize(rows.len().div_ceil(TILE) * per_row, T::EMPTY);
    for (t, row) in rows.enumerate() {
        let tiles = &mut out[t / TILE * per_row..][..per_row];
        for (tile, token) in tiles.iter_mut().zip(row) {
            tile.set(t % TILE, token);
        }
    }
}

/// The step between two quants, and its inverse. Numbers so small that the inverse would be infinite become zeros.
#[inline(always)]
pub(super) fn step(largest: f32) -> (f32, f32) {
    let inverse = 127.0 / largest;
    if inverse.is_finite() {
        (largest / 127.0, inverse)
    } else {
        (0.0, 0.0)
    }
}

//! The packed layout: four rows of a matrix, interleaved.
//!
//! The blocks at the same position in four successive rows are stored together as a *quad*. A quad stores each field of
//! the block for all four rows: the first unit of row 0, of row 1, of row 2, of row 3, then the second unit of each,
//! and so on. A unit is 2 bytes for scales and 4 for the rest, so a vector of 16 bytes has four bytes of each row and a
//! kernel's lanes are rows: it adds nothing across lanes. Bytes only move, they do not change: a packed matrix has the
//! same size and the same weights.
//!
//! Packing pays off for formats whose blocks are one group. With eight groups per block, sums across lanes are as rare
//! as blocks, and the packed kernels that were tried for Q4_K and Q6_K gained nothing.
//!
//! The types are gust's own (`Q4_0_X4` and so on, numbered from 0x67757300), so a program that does not know them
//! rejects the file.

use super::{Format, Q4_0, Q8_0};
use crate::gguf::TensorType;

/// Rows in a quad.
pub(crate) const ROWS: usize = 4;

/// A block format that has a packed layout.
pub(crate) trait Packed: Format<Block: AsRef<[u8]> + AsMut<[u8]>> {
    /// Four blocks: an array of bytes.
    type Quad: AsRef<[u8]> + AsMut<[u8]> + 'static;
    /// The type of packed matrices.
    const PACKED: TensorType;
    /// The size in bytes of each field of a block and of its units, in order.
    const FIELDS: &'static [(usize, usize)];
    /// A quad of zeros.
    const EMPTY_QUAD: Self::Quad;

    /// Views bytes as whole quads.
    fn quads(bytes: &[u8]) -> &[Self::Quad];

    /// Calls `f` with each unit: its row, its position in that row's block, its position in the quad, and its size.
    fn units(mut f: impl FnMut(usize, usize, usize, usize)) {
        let mut start = 0;
        for &(len, unit) in Self::FIELDS {
            for (k, at) in (0..len).step_by(unit).enumerate() {
                for row in 0..ROWS {
                    f(
                        row,
                        start + at,
                        ROWS * start + (ROWS * k + row) * unit,
                        unit,
                    );
                }
            }
            start += len;
        }
    }

    /// The block of row `row`.
    fn block(quad: &Self::Quad, row: usize) -> Self::Block {
        let mut block = Self::EMPTY;
        let (from, to) = (quad.as_ref(), block.as_mut());
        Self::units(|r, at, quad_at, len| {
            if r == row {
                copy(&from[quad_at..], &mut to[at..], len);
            }
        });
        block
    }

    /// Packs four blocks into a quad.
    fn quad(blocks: [&Self::Block; ROWS]) -> Self::Quad {
        let mut quad = Self::EMPTY_QUAD;
        let to = quad.as_mut();
        Self::units(|row, at, quad_at, len| {
            copy(&blocks[row].as_ref()[at..], &mut to[quad_at..], len);
        });
        quad
    }
}

macro_rules! packed {
    ($($format:ident as $packed:ident [$bytes:literal]: $fields:expr;)*) => {
        $(impl Packed for $format {
            type Quad = [u8; ROWS * $bytes];
            const PACKED: TensorType = TensorType::$packed;
            const FIELDS: &'static [(usize, usize)] = &$fields;
            const EMPTY_QUAD: Self::Quad = [0; ROWS * $bytes];

            #[inline(always)]
            fn quads(bytes: &[u8]) -> &[Self::Quad] {
                bytes.as_chunks().0
            }
        })*

        /// The packed type for a type, if there is one.
        pub(crate) fn packed_type(ty: TensorType) -> Option<TensorType> {
            match ty {
                $(TensorType::$format => Some(TensorType::$packed),)*
                _ => None,
            }
        }

        /// Runs `$body` with `$name` bound to the format of the packed type `$ty`, or `$other` for other types.
        macro_rules! with_packed {
            ($ty:expr, $name:ident => $body:expr, _ => $other:expr) => {
                match $ty {
                    $(TensorType::$packed => {
                        type $name = $crate::quant::$format;
                        $body
                    })*
                    _ => $other,
                }
            };
        }
    };
}
packed! {
    Q4_0 as Q4_0_X4 [18]: [(2, 2), (16, 4)];
    Q8_0 as Q8_0_X4 [34]: [(2, 2), (32, 4)];
}
pub(crate) use with_packed;

/// Copies the unit of 2 or 4 bytes at the start of `from`. The sizes are constants, so the copy compiles to a load and
/// a store.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8], len: usize) {
    match len {
        2 => to[..2].copy_from_slice(&from[..2]),
        _ => to[..4].copy_from_slice(&from[..4]),
    }
}

/// Packs the four consecutive rows of `F` in `rows` into `out`; both have the same length.
fn pack_as<F: Packed>(rows: &[u8], out: &mut [u8]) {
    let blocks = F::blocks(rows);
    let per_row = blocks.len() / ROWS;
    for c in 0..per_row {
        let quad = F::quad(std::array::from_fn(|r| &blocks[r * per_row + c]));
        let quad = quad.as_ref();
        out[c * quad.len()..][..quad.len()].copy_from_slice(quad);
    }
}

/// Packs four rows into `out`, which has the same length. `packed` is the packed type.
///
/// # Panics
/// If `packed` is not a packed type.
pub(crate) fn pack(packed: TensorType, rows: &[u8], out: &mut [u8]) {
    with_packed!(packed, F => pack_as::<F>(rows, out), _ => unreachable!("{} is not packed", packed.name()));
}

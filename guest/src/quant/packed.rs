//! The packed layout: four rows of a matrix, interleaved.
//!
//! The blocks at the same position in four successive rows are stored together as a *quad*: first the fields of their
//! headers, then their groups. A field is stored in units of a few bytes: the first unit of row 0, of row 1, of row 2,
//! of row 3, then the second unit of each, and so on.
//!
//! A *word* is four successive weights of each of the four rows, in 16 bytes: a kernel's lanes are rows, so it adds
//! nothing across lanes. The eight words of a group with codes of `n` bits are stored in `n` times 16 bytes, so that
//! few instructions restore them: see [`encode`]. Bits only move, they do not change: a packed matrix has the same size
//! and the same weights. It is read from start to end, so the processor reads ahead, which it does not do for four rows
//! at a time.
//!
//! The types are gust's own (`Q4_0_X4` and so on, numbered from 0x67757300), so a program that does not know them
//! rejects the file.

use super::{Format, GROUP, MXFP4, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
use crate::gguf::TensorType;

/// Rows in a quad.
pub(crate) const ROWS: usize = 4;

/// Words of a group.
const WORDS: usize = GROUP / 4;

/// A field of a block's header: its first byte, its size, and the size of its units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field(usize, usize, usize);

/// Bits of a weight's code: the byte that they are in, the lowest one's position there, and their number.
pub(crate) struct Bits(usize, u32, u32);

const NO_BITS: Bits = Bits(0, 0, 0);

impl Bits {
    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    fn get(&self, block: &[u8]) -> u8 {
        block[self.0] >> self.1 & self.mask()
    }

    fn set(&self, block: &mut [u8], bits: u8) {
        block[self.0] |= (bits & self.mask()) << self.1;
    }

    fn mask(&self) -> u8 {
        ((1u16 << self.2) - 1) as u8
    }
}

/// A block format that has a packed layout.
pub(crate) trait Packed: Format<Block: AsRef<[u8]> + AsMut<[u8]>> {
    /// Four blocks: an array of bytes.
    type Quad: AsRef<[u8]> + AsMut<[u8]> + 'static;
    /// The type of packed matrices.
    const PACKED: TensorType;
    /// The header.
    const FIELDS: &'static [Field];
    /// The size of a block's header in bytes.
    const HEADER: usize = {
        let (mut size, mut i) = (0, 0);
        while i < Self::FIELDS.len() {
            size += Self::FIELDS[i].1;
            i += 1;
        }
        size
    };
    /// Where a block has f16 numbers: they must be finite, because kernels convert them in a way that is fast and correct
    /// only then.
    const FINITE: &'static [usize];
    /// A quad of zeros.
    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    const EMPTY_QUAD: Self::Quad;

    /// Views bytes as whole quads.
    fn quads(bytes: &[u8]) -> &[Self::Quad];

    /// Views bytes as whole quads.
    fn quads_mut(bytes: &mut [u8]) -> &mut [Self::Quad];

    /// Bits of a weight's code.
    const WIDTH: usize;

    /// Where a block has the lower and the upper bits of the code of weight `i`.
    fn bits(i: usize) -> [Bits; 2];

    /// The block of row `row`.
    fn block(quad: &Self::Quad, row: usize) -> Self::Block {
        let quad = quad.as_ref();
        let mut block = Self::EMPTY;
        let to = block.as_mut();
        for_units(Self::FIELDS, row, |at, quad_at, len| {
            to[at..][..len].copy_from_slice(&quad[quad_at..][..len]);
        });
        let groups = quad[ROWS * Self::HEADER..].chunks_exact(16 * Self::WIDTH);
        for (g, group) in groups.enumerate() {
            for i in 0..4 {
                let codes = decode(Self::WIDTH, |k| group[16 * k + 4 * row + i]);
                for (k, code) in codes.into_iter().enumerate() {
                    let [low, high] = Self::bits(GROUP * g + 4 * k + i);
                    low.set(to, code);
                    high.set(to, code.checked_shr(low.2).unwrap_or(0));
                }
            }
        }
        block
    }

    /// Packs the header of four blocks.
    #[inline(always)]
    fn pack_header(blocks: [&Self::Block; ROWS], quad: &mut Self::Quad) {
        for (row, block) in blocks.into_iter().enumerate() {
            for_units(Self::FIELDS, row, |at, quad_at, len| {
                quad.as_mut()[quad_at..][..len].copy_from_slice(&block.as_ref()[at..][..len]);
            });
        }
    }

    /// Whether the blocks' numbers are finite.
    #[inline(always)]
    fn are_finite(blocks: [&Self::Block; ROWS]) -> bool {
        let is_finite = |block: &Self::Block| {
            let mut upper_bytes = Self::FINITE.iter().map(|at| block.as_ref()[at + 1]);
            upper_bytes.all(|byte| byte & 0x7c != 0x7c)
        };
        blocks.into_iter().all(is_finite)
    }

    /// Packs four blocks. The SIMD kernels do the same faster.
    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    fn quad(blocks: [&Self::Block; ROWS]) -> Self::Quad {
        let mut quad = Self::EMPTY_QUAD;
        Self::pack_header(blocks, &mut quad);
        let groups = quad.as_mut()[ROWS * Self::HEADER..].chunks_exact_mut(16 * Self::WIDTH);
        for (g, group) in groups.enumerate() {
            for (row, block) in blocks.into_iter().enumerate() {
                for i in 0..4 {
                    let code = |k: usize| {
                        let [low, high] = Self::bits(GROUP * g + 4 * k + i);
                        let high_bits = high.get(block.as_ref());
                        low.get(block.as_ref()) | high_bits.checked_shl(low.2).unwrap_or(0)
                    };
                    let bytes = encode(Self::WIDTH, std::array::from_fn(code));
                    for (k, byte) in bytes.into_iter().take(Self::WIDTH).enumerate() {
                        group[16 * k + 4 * row + i] = byte;
                    }
                }
            }
        }
        quad
    }
}

/// Calls `f` with each unit of the fields of row `row`: its position in the block, its position in the quad, its size.
#[inline(always)]
fn for_units(fields: &[Field], row: usize, mut f: impl FnMut(usize, usize, usize)) {
    let mut start = 0;
    for &Field(at, len, unit) in fields {
        for (k, offset) in (0..len).step_by(unit).enumerate() {
            f(at + offset, start + (ROWS * k + row) * unit, unit);
        }
        start += ROWS * len;
    }
}

/// The bytes that hold the codes `w` of `width` bits of one place in each word of a group: as many as `width`.
///
/// - 4 bits: byte `k` has `w[k]` and above it `w[k + 4]`.
/// - 5 bits: byte `k` has `w[k]`. Above it are three bits of the last three codes: `w[5]` has its lower bits in byte 0
///   and the others in byte 1, `w[6]` in bytes 2 and 3, `w[7]` in bytes 4 and, one each, 1 and 3.
/// - 6 bits: bytes 0 to 2 have `w[0]` to `w[2]` and above them two bits of `w[3]` each; bytes 3 to 5 have the others.
/// - 8 bits: as they are.
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
fn encode(width: usize, w: [u8; WORDS]) -> [u8; WORDS] {
    match width {
        4 => std::array::from_fn(|k| if k < 4 { w[k] | w[k + 4] << 4 } else { 0 }),
        5 => [
            w[0] | w[5] << 5,
            w[1] | (w[5] >> 3) << 5 | (w[7] >> 3 & 1) << 7,
            w[2] | w[6] << 5,
            w[3] | (w[6] >> 3) << 5 | (w[7] >> 4) << 7,
            w[4] | w[7] << 5,
            0,
            0,
            0,
        ],
        6 => std::array::from_fn(|k| match k {
            0..3 => w[k] | (w[3] >> (2 * k)) << 6,
            3..6 => w[k + 1] | (w[7] >> (2 * (k - 3))) << 6,
            _ => 0,
        }),
        _ => w,
    }
}

/// The inverse of [`encode`], given how to read byte `k`.
fn decode(width: usize, byte: impl Fn(usize) -> u8) -> [u8; WORDS] {
    std::array::from_fn(|k| match (width, k) {
        (4, 0..4) => byte(k) & 0xf,
        (4, _) => byte(k - 4) >> 4,
        (5, 0..5) => byte(k) & 0x1f,
        (5, 5 | 6) => {
            let at = 2 * (k - 5);
            byte(at) >> 5 | (byte(at + 1) >> 5 & 3) << 3
        }
        (5, _) => byte(4) >> 5 | byte(1) >> 7 << 3 | byte(3) >> 7 << 4,
        (6, 3 | 7) => {
            let at = k / 4 * 3;
            byte(at) >> 6 | byte(at + 1) >> 6 << 2 | byte(at + 2) >> 6 << 4
        }
        (6, _) => byte(k - k / 4) & 0x3f,
        _ => byte(k),
    })
}

macro_rules! packed {
    ($(
        $format:ident as $packed:ident [$bytes:literal]:
        $width:literal bits, [$(($at:literal, $len:literal, $unit:literal)),*], f16 at [$($f16:literal),*],
        |$i:ident| $bits:expr;
    )*) => {
        $(impl Packed for $format {
            type Quad = [u8; ROWS * $bytes];
            const PACKED: TensorType = TensorType::$packed;
            const FIELDS: &'static [Field] = &[$(Field($at, $len, $unit)),*];
            const FINITE: &'static [usize] = &[$($f16),*];
            const WIDTH: usize = $width;
            #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
            const EMPTY_QUAD: Self::Quad = [0; ROWS * $bytes];

            #[inline(always)]
            fn quads(bytes: &[u8]) -> &[Self::Quad] {
                bytes.as_chunks().0
            }

            #[inline(always)]
            fn quads_mut(bytes: &mut [u8]) -> &mut [Self::Quad] {
                bytes.as_chunks_mut().0
            }

            fn bits($i: usize) -> [Bits; 2] {
                $bits
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
    Q4_0 as Q4_0_X4 [18]: 4 bits, [(0, 2, 2)], f16 at [0], |i| [Bits(2 + i % 16, 4 * (i as u32 / 16), 4), NO_BITS];
    Q4_1 as Q4_1_X4 [20]: 4 bits, [(0, 2, 2), (2, 2, 2)], f16 at [0, 2],
        |i| [Bits(4 + i % 16, 4 * (i as u32 / 16), 4), NO_BITS];
    Q5_0 as Q5_0_X4 [22]: 5 bits, [(0, 2, 2)], f16 at [0],
        |i| [Bits(6 + i % 16, 4 * (i as u32 / 16), 4), Bits(2 + i / 8, i as u32 % 8, 1)];
    Q5_1 as Q5_1_X4 [24]: 5 bits, [(0, 2, 2), (2, 2, 2)], f16 at [0, 2],
        |i| [Bits(8 + i % 16, 4 * (i as u32 / 16), 4), Bits(4 + i / 8, i as u32 % 8, 1)];
    Q8_0 as Q8_0_X4 [34]: 8 bits, [(0, 2, 2)], f16 at [0], |i| [Bits(2 + i, 0, 8), NO_BITS];
    MXFP4 as MXFP4_X4 [17]: 4 bits, [(0, 1, 1)], f16 at [], |i| [Bits(1 + i % 16, 4 * (i as u32 / 16), 4), NO_BITS];
    Q4_K as Q4_K_X4 [144]: 4 bits, [(0, 2, 2), (2, 2, 2), (4, 12, 4)], f16 at [0, 2], |i| {
        let g = i / GROUP;
        [Bits(16 + 32 * (g / 2) + i % GROUP, 4 * (g as u32 % 2), 4), NO_BITS]
    };
    Q5_K as Q5_K_X4 [176]: 5 bits, [(0, 2, 2), (2, 2, 2), (4, 12, 4)], f16 at [0, 2], |i| {
        let g = i / GROUP;
        let low = Bits(48 + 32 * (g / 2) + i % GROUP, 4 * (g as u32 % 2), 4);
        [low, Bits(16 + i % GROUP, g as u32, 1)]
    };
    // A unit of scales is those of the two halves of a group.
    Q6_K as Q6_K_X4 [210]: 6 bits, [(192, 16, 2), (208, 2, 2)], f16 at [208], |i| {
        let (half, g) = (i / 128, i / GROUP % 4);
        let low = Bits(64 * half + 32 * (g % 2) + i % GROUP, 4 * (g as u32 / 2), 4);
        [low, Bits(128 + 32 * half + i % GROUP, 2 * g as u32, 2)]
    };
}
pub(crate) use with_packed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_every_width_come_back() {
        for width in [4, 5, 6, 8] {
            let mut bits = 0;
            for (k, bit) in (0..WORDS).flat_map(|k| (0..width).map(move |bit| (k, bit))) {
                let mut w = [0; WORDS];
                w[k] = 1 << bit;
                let bytes = encode(width, w);
                assert_eq!(decode(width, |k| bytes[k]), w, "{width} bits: {bit} of {k}");
                // Each bit is at a place of its own, within the first bytes.
                let place = u64::from_le_bytes(bytes);
                assert_eq!(place.count_ones(), 1);
                assert_eq!(bits & place, 0);
                bits |= place;
            }
            assert_eq!(bits.count_ones() as usize, 8 * width);
            assert_eq!(bits.trailing_ones() as usize, 8 * width);
        }
    }
}

//! Unpacks block formats into vectors: the quants of a group as two vectors of 16 bytes, and the scales.

use core::arch::wasm32::*;

use super::{each_lane, f16_lanes, load};
use crate::quant::{
    Format, IQ4_NL, IQ4_VALUES, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0,
    SuperBlock,
};

/// A format whose blocks are one group.
pub(crate) trait Group: Format {
    /// The quants: the first 16 and the last 16. Equal to [`Format::quants`].
    fn unpack(block: &Self::Block) -> (v128, v128);

    /// The scales and minima of four blocks, one lane each. Equal to [`Format::header`].
    fn headers(blocks: [&Self::Block; 4]) -> (v128, v128);
}

/// A format whose blocks are eight groups.
pub(crate) trait Groups: SuperBlock {
    /// The quants of group `g`: the first 16 and the last 16. Equal to [`Format::quants`].
    fn unpack(block: &Self::Block, g: usize) -> (v128, v128);

    /// The scales, and the scales of the minima, of four blocks, one lane each. Equal to [`Format::header`].
    fn headers(blocks: [&Self::Block; 4]) -> (v128, v128);

    /// The scales of the eight groups, or of their 16 halves, as 16-bit numbers. Equal to [`SuperBlock::codes`].
    fn scale_vectors(block: &Self::Block) -> [v128; 2];

    /// The minima in the same form; zeros if there are none.
    fn min_vectors(_: &Self::Block) -> [v128; 2] {
        [i16x8_splat(0); 2]
    }
}

macro_rules! group {
    ($format:ident, $headers:expr, |$block:ident| $body:expr) => {
        impl Group for $format {
            #[inline(always)]
            fn unpack($block: &Self::Block) -> (v128, v128) {
                $body
            }

            #[inline(always)]
            fn headers(blocks: [&Self::Block; 4]) -> (v128, v128) {
                $headers(blocks)
            }
        }
    };
}

group!(Q4_0, one_scale, |block| nibbles(load(&block[2..])));
group!(Q4_1, scale_and_min, |block| nibbles(load(&block[4..])));
group!(Q5_0, one_scale, |block| five_bits(
    &block[2..6],
    &block[6..]
));
group!(Q5_1, scale_and_min, |block| five_bits(
    &block[4..8],
    &block[8..]
));
group!(Q8_0, one_scale, |block| (
    load(&block[2..]),
    load(&block[18..])
));
group!(IQ4_NL, one_scale, |block| look_up(load(&block[2..])));

macro_rules! groups {
    ($format:ident, |$unpack_block:ident, $g:ident| $unpack:expr, |$blocks:ident| $headers:expr,
        |$scales_block:ident| $scales:expr $(, |$mins_block:ident| $mins:expr)?) => {
        impl Groups for $format {
            #[inline(always)]
            fn unpack($unpack_block: &Self::Block, $g: usize) -> (v128, v128) {
                $unpack
            }

            #[inline(always)]
            fn headers($blocks: [&Self::Block; 4]) -> (v128, v128) {
                $headers
            }

            #[inline(always)]
            fn scale_vectors($scales_block: &Self::Block) -> [v128; 2] {
                $scales
            }

            $(
                #[inline(always)]
                fn min_vectors($mins_block: &Self::Block) -> [v128; 2] {
                    $mins
                }
            )?
        }
    };
}

groups!(
    Q2_K,
    |block, g| {
        let at = 16 + 32 * (g / 4);
        let shift = 2 * (g as u32 % 4);
        let two = |at: usize| bits(load(&block[at..]), shift, 3);
        (two(at), two(at + 16))
    },
    |blocks| scale_and_min_at(80, blocks),
    |block| extend(bits(load(block), 0, 0xf)),
    |block| extend(bits(load(block), 4, 0xf))
);

groups!(
    Q3_K,
    |block, g| {
        let at = 32 + 32 * (g / 4);
        let shift = 2 * (g as u32 % 4);
        let three = |at: usize, mask: usize| {
            let high = bits(load(&block[mask..]), g as u32, 1);
            v128_or(bits(load(&block[at..]), shift, 3), u16x8_shl(high, 2))
        };
        (three(at, 0), three(at + 16, 16))
    },
    |blocks| (scale_at(108, blocks), f32x4_splat(0.0)),
    |block| {
        // Eight low nibbles, then eight high nibbles; then two bits of each from four bytes.
        let low = u64::from_le_bytes(std::array::from_fn(|i| block[96 + i]));
        let high = word(block, 104);
        let low = bits(u64x2(low, low >> 4), 0, 0xf);
        let high = bits(u32x4(high, high >> 2, high >> 4, high >> 6), 0, 3);
        extend(i8x16_sub(v128_or(low, u16x8_shl(high, 4)), i8x16_splat(32)))
    }
);

groups!(
    Q4_K,
    |block, g| {
        let at = 16 + 32 * (g / 2);
        let shift = 4 * (g as u32 % 2);
        let four = |at: usize| bits(load(&block[at..]), shift, 0xf);
        (four(at), four(at + 16))
    },
    |blocks| scale_and_min_at(0, blocks),
    |block| six_bit_scales(block),
    |block| six_bit_mins(block)
);

groups!(
    Q5_K,
    |block, g| {
        let at = 48 + 32 * (g / 2);
        let shift = 4 * (g as u32 % 2);
        let five = |at: usize, fifth: usize| {
            let high = bits(load(&block[fifth..]), g as u32, 1);
            v128_or(bits(load(&block[at..]), shift, 0xf), u16x8_shl(high, 4))
        };
        (five(at, 16), five(at + 16, 32))
    },
    |blocks| scale_and_min_at(0, blocks),
    |block| six_bit_scales(block),
    |block| six_bit_mins(block)
);

groups!(
    Q6_K,
    |block, g| {
        let (half, g) = (g / 4, g % 4);
        let (at, upper) = (64 * half + 32 * (g % 2), 128 + 32 * half);
        let (shift, upper_shift) = (4 * (g as u32 / 2), 2 * g as u32);
        let six = |at: usize, upper: usize| {
            let high = bits(load(&block[upper..]), upper_shift, 3);
            v128_or(bits(load(&block[at..]), shift, 0xf), u16x8_shl(high, 4))
        };
        (six(at, upper), six(at + 16, upper + 16))
    },
    |blocks| (scale_at(208, blocks), f32x4_splat(0.0)),
    |block| extend(load(&block[192..]))
);

groups!(
    IQ4_XS,
    |block, g| look_up(load(&block[8 + 16 * g..])),
    |blocks| (scale_at(0, blocks), f32x4_splat(0.0)),
    |block| {
        let codes: [i16; 8] = std::array::from_fn(|g| i16::from(Self::codes(block, g).scale[0]));
        [super::load8(&codes), i16x8_splat(0)]
    }
);

/// Shifts each byte right and keeps the bits of `mask`. The shift is done in lanes of 16 bits, which has an
/// instruction; the mask removes the bits that come from the upper byte.
#[inline(always)]
pub(super) fn bits(bytes: v128, shift: u32, mask: u8) -> v128 {
    v128_and(u16x8_shr(bytes, shift), u8x16_splat(mask))
}

#[inline(always)]
fn nibbles(qs: v128) -> (v128, v128) {
    (bits(qs, 0, 0xf), bits(qs, 4, 0xf))
}

#[inline(always)]
fn look_up(qs: v128) -> (v128, v128) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = IQ4_VALUES;
    let values = i8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
    let (low, high) = nibbles(qs);
    (i8x16_swizzle(values, low), i8x16_swizzle(values, high))
}

#[inline(always)]
fn five_bits(qh: &[u8], qs: &[u8]) -> (v128, v128) {
    let (low, high) = nibbles(load(qs));
    let fifth = u32x4_splat(u32::from_le_bytes([qh[0], qh[1], qh[2], qh[3]]));
    let one = u64x2_splat(0x8040_2010_0804_0201);
    // Byte `i` of the spread is the byte of `qh` that has weight `i`'s bit; `one` selects the bit.
    let add = |spread: v128| v128_and(u8x16_eq(v128_and(spread, one), one), u8x16_splat(16));
    let first = i8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(fifth, fifth);
    let second = i8x16_shuffle::<2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3>(fifth, fifth);
    (v128_or(low, add(first)), v128_or(high, add(second)))
}

/// Headers of blocks that start with their scale.
#[inline(always)]
fn one_scale<const N: usize>(blocks: [&[u8; N]; 4]) -> (v128, v128) {
    (scale_at(0, blocks), f32x4_splat(0.0))
}

/// Headers of blocks that start with their scale and their minimum.
#[inline(always)]
fn scale_and_min<const N: usize>(blocks: [&[u8; N]; 4]) -> (v128, v128) {
    scale_and_min_at(0, blocks)
}

/// Headers of blocks with a scale and a minimum at byte `at`.
#[inline(always)]
fn scale_and_min_at<const N: usize>(at: usize, blocks: [&[u8; N]; 4]) -> (v128, v128) {
    let [a, b, c, d] = each_lane!(|i| word(blocks[i], at));
    let both = u32x4(a, b, c, d);
    (f16_lanes(both), f16_lanes(u32x4_shr(both, 16)))
}

/// The f16 at byte `at` of four blocks.
#[inline(always)]
fn scale_at<const N: usize>(at: usize, blocks: [&[u8; N]; 4]) -> v128 {
    let half = |block: &[u8; N]| u32::from(u16::from_le_bytes([block[at], block[at + 1]]));
    let [a, b, c, d] = each_lane!(|i| half(blocks[i]));
    f16_lanes(u32x4(a, b, c, d))
}

/// Q4_K and Q5_K: eight scales of six bits, the last four of which are split over two places.
#[inline(always)]
fn six_bit_scales(block: &[u8]) -> [v128; 2] {
    let (first, second) = (word(block, 4), word(block, 12));
    six_bits(
        first & 0x3f3f_3f3f,
        second & 0x0f0f_0f0f | (first >> 2) & 0x3030_3030,
    )
}

/// Q4_K and Q5_K: eight minima, stored in the same way.
#[inline(always)]
fn six_bit_mins(block: &[u8]) -> [v128; 2] {
    let (first, second) = (word(block, 8), word(block, 12));
    six_bits(
        first & 0x3f3f_3f3f,
        (second >> 4) & 0x0f0f_0f0f | (first >> 2) & 0x3030_3030,
    )
}

#[inline(always)]
fn six_bits(low: u32, high: u32) -> [v128; 2] {
    let codes = u64::from(low) | u64::from(high) << 32;
    [i16x8_extend_low_u8x16(u64x2(codes, 0)), i16x8_splat(0)]
}

/// Sixteen signed bytes as 16-bit numbers.
#[inline(always)]
fn extend(bytes: v128) -> [v128; 2] {
    [
        i16x8_extend_low_i8x16(bytes),
        i16x8_extend_high_i8x16(bytes),
    ]
}

/// The four bytes at `at`.
#[inline(always)]
fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| block[at + i]))
}

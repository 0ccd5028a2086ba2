//! Unpacks block formats into vectors: the quants of a group as two vectors of 16 bytes, and the scales.

use core::arch::wasm32::*;

use super::{each_lane, f16_lanes, load};
use crate::quant::{
    Codebook, E2M1, E2M1_UNSIGNED, Format, HALF_E4M3, IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S,
    IQ3_XXS, IQ4_NL, IQ4_VALUES, IQ4_XS, MXFP4, NVFP4, POWERS, Q1_0, Q2_0, Q2_K, Q3_K, Q4_0, Q4_1,
    Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, SuperBlock, TQ1_0, TQ2_0,
};

/// A format whose blocks are one group, or a few.
pub(crate) trait Group: Format {
    /// The quants of group `g`: the first 16 and the last 16. Equal to [`Format::quants`].
    fn unpack(block: &Self::Block, g: usize) -> (v128, v128);

    /// The scales and minima of group `g` of four blocks, one lane each; for a format with [`Format::HALVES`], the
    /// scales of the first halves and those of the second. Equal to [`Format::scales`].
    fn headers(blocks: [&Self::Block; 4], g: usize) -> (v128, v128);
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
    ($format:ident, $headers:expr, |$block:ident, $g:pat_param| $body:expr) => {
        impl Group for $format {
            #[inline(always)]
            fn unpack($block: &Self::Block, $g: usize) -> (v128, v128) {
                $body
            }

            #[inline(always)]
            fn headers(blocks: [&Self::Block; 4], g: usize) -> (v128, v128) {
                $headers(blocks, g)
            }
        }
    };
}

group!(Q4_0, one_scale, |block, _| nibbles(load(&block[2..])));
group!(Q4_1, scale_and_min, |block, _| nibbles(load(&block[4..])));
group!(Q5_0, one_scale, |block, _| five_bits(
    &block[2..6],
    &block[6..]
));
group!(Q5_1, scale_and_min, |block, _| five_bits(
    &block[4..8],
    &block[8..]
));
group!(Q8_0, one_scale, |block, _| (
    load(&block[2..]),
    load(&block[18..])
));
group!(IQ4_NL, one_scale, |block, _| look_up(
    IQ4,
    load(&block[2..])
));
group!(MXFP4, half_powers, |block, _| look_up(
    FP4_UNSIGNED,
    load(&block[1..])
));
group!(NVFP4, half_e4m3, |block, g| {
    // Eight low nibbles and eight high nibbles of each half.
    let (low, high) = look_up(FP4, load(&block[4 + 16 * g..]));
    (
        i64x2_shuffle::<0, 2>(low, high),
        i64x2_shuffle::<1, 3>(low, high),
    )
});
group!(Q1_0, one_scale, |block, g| {
    let (first, second) = masks(word(block, 2 + 4 * g));
    let two = u8x16_splat(2);
    (v128_and(first, two), v128_and(second, two))
});
group!(Q2_0, one_scale, |block, g| {
    // Byte `i` of `weights(k)` is weight `4 * i + k`.
    let bytes = u64::from_le_bytes(std::array::from_fn(|i| block[2 + 8 * g + i]));
    let weights = |k: u32| bits(u64x2(bytes, 0), 2 * k, 3);
    let pairs =
        |a, b| i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b);
    let (first, second) = (pairs(weights(0), weights(1)), pairs(weights(2), weights(3)));
    (
        i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(first, second),
        i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(first, second),
    )
});

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
    |block, g| look_up(IQ4, load(&block[8 + 16 * g..])),
    |blocks| (scale_at(0, blocks), f32x4_splat(0.0)),
    |block| {
        let codes: [i16; 8] = std::array::from_fn(|g| i16::from(Self::codes(block, g).scale[0]));
        [super::load8(&codes), i16x8_splat(0)]
    }
);

/// Formats with a [`Codebook`], by how their own scale is read.
macro_rules! codebooks {
    ($($format:ident, |$blocks:ident| $scale:expr;)*) => {
        $(groups!(
            $format,
            |block, g| look_up_entries::<Self>(block, g),
            |$blocks| ($scale, f32x4_splat(0.0)),
            |block| scale_codes::<Self>(block)
        );)*
    };
}

codebooks! {
    IQ3_S, |blocks| scale_at(0, blocks);
    IQ3_XXS, |blocks| f32x4_mul(scale_at(0, blocks), f32x4_splat(1.0 / 4.0));
    IQ2_S, |blocks| f32x4_mul(scale_at(0, blocks), f32x4_splat(1.0 / 8.0));
    IQ2_XS, |blocks| f32x4_mul(scale_at(0, blocks), f32x4_splat(1.0 / 8.0));
    IQ2_XXS, |blocks| f32x4_mul(scale_at(0, blocks), f32x4_splat(1.0 / 8.0));
    IQ1_M, |blocks| {
        let half = |block| u32::from(u16::from_le_bytes(Self::scale(block)));
        let [a, b, c, d] = each_lane!(|i| half(blocks[i]));
        f32x4_mul(f16_lanes(u32x4(a, b, c, d)), f32x4_splat(1.0 / 8.0))
    };
    IQ1_S, |blocks| f32x4_mul(scale_at(0, blocks), f32x4_splat(1.0 / 8.0));
}

groups!(
    TQ2_0,
    |block, g| {
        let at = 32 * (g / 4);
        let shift = 2 * (g as u32 % 4);
        let two = |at: usize| bits(load(&block[at..]), shift, 3);
        (two(at), two(at + 16))
    },
    |blocks| (scale_at(64, blocks), f32x4_splat(0.0)),
    |_block| [i16x8_splat(1); 2]
);

groups!(
    TQ1_0,
    |block, g| {
        let digits = |at: usize, digit: usize| {
            let power = i16x8_splat(i16::from(POWERS[digit]));
            ternary(load(&block[at..]), power, power)
        };
        match g {
            0..=4 => (digits(0, g), digits(16, g)),
            5 | 6 => (digits(32, 2 * (g - 5)), digits(32, 2 * (g - 5) + 1)),
            _ => {
                let (low, high) = (
                    i16x8(1, 1, 1, 1, 3, 3, 3, 3),
                    i16x8(9, 9, 9, 9, 27, 27, 27, 27),
                );
                let last = u32x4_splat(word(block, 48));
                (digits(32, 4), ternary(last, low, high))
            }
        }
    },
    |blocks| (scale_at(52, blocks), f32x4_splat(0.0)),
    |_block| [i16x8_splat(1); 2]
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

const IQ4: v128 = table(IQ4_VALUES);
const FP4: v128 = table(E2M1);
pub(super) const FP4_UNSIGNED: v128 = table(E2M1_UNSIGNED);

const fn table([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [i8; 16]) -> v128 {
    i8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
}

#[inline(always)]
fn look_up(values: v128, qs: v128) -> (v128, v128) {
    let (low, high) = nibbles(qs);
    (i8x16_swizzle(values, low), i8x16_swizzle(values, high))
}

#[inline(always)]
fn five_bits(qh: &[u8], qs: &[u8]) -> (v128, v128) {
    let (low, high) = nibbles(load(qs));
    let (first, second) = masks(word(qh, 0));
    let add = |nibbles, mask| v128_or(nibbles, v128_and(mask, u8x16_splat(16)));
    (add(low, first), add(high, second))
}

/// Bytes of ones for the bits that are set.
#[inline(always)]
fn masks(bits: u32) -> (v128, v128) {
    let bits = u32x4_splat(bits);
    let one = u64x2_splat(0x8040_2010_0804_0201);
    // Byte `i` of the spread is the byte that has bit `i`; `one` selects the bit.
    let mask = |spread: v128| u8x16_eq(v128_and(spread, one), one);
    let first = i8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(bits, bits);
    let second = i8x16_shuffle::<2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3>(bits, bits);
    (mask(first), mask(second))
}

/// The quants of group `g`.
#[inline(always)]
fn look_up_entries<F: Codebook>(block: &F::Block, g: usize) -> (v128, v128) {
    let [a, b, c, d] = F::entries(block, g);
    let (first, second) = (u64x2(a, b), u64x2(c, d));
    let Some(signs) = F::signs(block, g) else {
        return (first, second);
    };
    let (first_signs, second_signs) = masks(signs);
    let zero = i8x16_splat(F::ZERO);
    // With a mask of ones, `(x ^ mask) - mask` is `-x`.
    let add_zero = |x, mask| i8x16_add(zero, i8x16_sub(v128_xor(x, mask), mask));
    (add_zero(first, first_signs), add_zero(second, second_signs))
}

/// The codes of a block's scales, as in [`Groups::scale_vectors`].
#[inline(always)]
fn scale_codes<F: SuperBlock>(block: &F::Block) -> [v128; 2] {
    let codes: [i8; 16] = std::array::from_fn(|i| match F::HALVES {
        true => F::codes(block, i / 2).scale[i % 2],
        false => F::codes(block, i % 8).scale[0],
    });
    extend(load(&codes))
}

/// The ternary digits of bytes of TQ1_0, given the powers of the first eight and of the last eight.
#[inline(always)]
fn ternary(bytes: v128, low: v128, high: v128) -> v128 {
    let digits = |bytes, powers| {
        let fractions = v128_and(i16x8_mul(bytes, powers), u16x8_splat(0xff));
        u16x8_shr(i16x8_mul(fractions, u16x8_splat(3)), 8)
    };
    u8x16_narrow_i16x8(
        digits(i16x8_extend_low_u8x16(bytes), low),
        digits(i16x8_extend_high_u8x16(bytes), high),
    )
}

/// Headers of blocks that start with their scale.
#[inline(always)]
fn one_scale<const N: usize>(blocks: [&[u8; N]; 4], _: usize) -> (v128, v128) {
    (scale_at(0, blocks), f32x4_splat(0.0))
}

/// Headers of blocks that start with their scale and their minimum.
#[inline(always)]
fn scale_and_min<const N: usize>(blocks: [&[u8; N]; 4], _: usize) -> (v128, v128) {
    scale_and_min_at(0, blocks)
}

/// Headers of MXFP4: half of a power of two, given its exponent.
#[inline(always)]
fn half_powers<const N: usize>(blocks: [&[u8; N]; 4], _: usize) -> (v128, v128) {
    let [a, b, c, d] = each_lane!(|i| u32::from(blocks[i][0]));
    (half_powers_of(u32x4(a, b, c, d)), f32x4_splat(0.0))
}

/// Half of a power of two, given its exponent as it is in f32.
#[inline(always)]
pub(super) fn half_powers_of(exponents: v128) -> v128 {
    let normal = i32x4_shl(i32x4_sub(exponents, i32x4_splat(1)), 23);
    let subnormal = i32x4_shl(i32x4_add(exponents, i32x4_splat(1)), 21);
    let is_subnormal = i32x4_lt(exponents, i32x4_splat(2));
    v128_bitselect(subnormal, normal, is_subnormal)
}

/// Headers of NVFP4: the scales of the halves of group `g`.
#[inline(always)]
fn half_e4m3<const N: usize>(blocks: [&[u8; N]; 4], g: usize) -> (v128, v128) {
    let scales = |at: usize| {
        let [a, b, c, d] = each_lane!(|i| HALF_E4M3[usize::from(blocks[i][at])]);
        f32x4(a, b, c, d)
    };
    (scales(2 * g), scales(2 * g + 1))
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

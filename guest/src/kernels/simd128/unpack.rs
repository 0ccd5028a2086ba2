//! The block formats in vectors: the quants of a group as two vectors of 16 bytes.

use core::arch::wasm32::*;

use super::vector::{Load, load4};
use super::{QuadScales, load};
use crate::quant::{
    F16, Format, IQ4_NL, IQ4_VALUES, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K,
    Q8_0, Scales,
};

/// A format that can be unpacked into vectors.
pub(crate) trait Unpack: Format {
    /// The quants of group `g`: the first 16 and the second. Equal to [`Format::quants`].
    fn unpack(block: &Self::Block, g: usize) -> (v128, v128);

    /// The scales of a quad: of up to four blocks of one group, or of half `half` of the first block. Equal to
    /// [`Format::scales`].
    fn quad_scales(blocks: &[Self::Block], half: usize) -> QuadScales;
}

macro_rules! unpack {
    ($format:ident, $scales:expr, |$block:ident, $g:pat_param| $body:expr) => {
        impl Unpack for $format {
            #[inline(always)]
            fn unpack($block: &Self::Block, $g: usize) -> (v128, v128) {
                $body
            }

            #[inline(always)]
            fn quad_scales(blocks: &[Self::Block], half: usize) -> QuadScales {
                $scales(blocks, half)
            }
        }
    };
}

unpack!(Q4_0, one_scale, |block, _| nibbles(load(&block[2..])));
unpack!(Q4_1, scale_and_min, |block, _| nibbles(load(&block[4..])));
unpack!(Q5_0, one_scale, |block, _| five_bits(
    &block[2..6],
    &block[6..]
));
unpack!(Q5_1, scale_and_min, |block, _| five_bits(
    &block[4..8],
    &block[8..]
));
unpack!(Q8_0, one_scale, |block, _| (
    load(&block[2..]),
    load(&block[18..])
));
unpack!(IQ4_NL, one_scale, |block, _| look_up(load(&block[2..])));
unpack!(IQ4_XS, from_format::<IQ4_XS>, |block, g| look_up(load(
    &block[8 + 16 * g..]
)));

unpack!(Q2_K, from_format::<Q2_K>, |block, g| {
    let at = 16 + 32 * (g / 4);
    let shift = 2 * (g as u32 % 4);
    let two = |at: usize| bits(load(&block[at..]), shift, 3);
    (two(at), two(at + 16))
});

unpack!(Q3_K, from_format::<Q3_K>, |block, g| {
    let at = 32 + 32 * (g / 4);
    let shift = 2 * (g as u32 % 4);
    let three = |at: usize, mask: usize| {
        let high = bits(load(&block[mask..]), g as u32, 1);
        v128_or(bits(load(&block[at..]), shift, 3), u16x8_shl(high, 2))
    };
    (three(at, 0), three(at + 16, 16))
});

unpack!(Q4_K, six_bits, |block, g| {
    let at = 16 + 32 * (g / 2);
    let shift = 4 * (g as u32 % 2);
    let four = |at: usize| bits(load(&block[at..]), shift, 0xf);
    (four(at), four(at + 16))
});

unpack!(Q5_K, six_bits, |block, g| {
    let at = 48 + 32 * (g / 2);
    let shift = 4 * (g as u32 % 2);
    let five = |at: usize, fifth: usize| {
        let high = bits(load(&block[fifth..]), g as u32, 1);
        v128_or(bits(load(&block[at..]), shift, 0xf), u16x8_shl(high, 4))
    };
    (five(at, 16), five(at + 16, 32))
});

unpack!(Q6_K, sixteen_scales, |block, g| {
    let (half, g) = (g / 4, g % 4);
    let (at, upper) = (64 * half + 32 * (g % 2), 128 + 32 * half);
    let (shift, upper_shift) = (4 * (g as u32 / 2), 2 * g as u32);
    let six = |at: usize, upper: usize| {
        let high = bits(load(&block[upper..]), upper_shift, 3);
        v128_or(bits(load(&block[at..]), shift, 0xf), u16x8_shl(high, 4))
    };
    (six(at, upper), six(at + 16, upper + 16))
});

/// Of each byte, the bits of `mask` after a shift to the right. In lanes of 16 bits, for which there is an instruction:
/// what comes over from the upper byte is masked away.
#[inline(always)]
fn bits(bytes: v128, shift: u32, mask: u8) -> v128 {
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
    // Byte `i` of the spread has the byte of `qh` that holds weight `i`'s bit; `one` picks the bit.
    let add = |spread: v128| v128_and(u8x16_eq(v128_and(spread, one), one), u8x16_splat(16));
    let first = i8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(fifth, fifth);
    let second = i8x16_shuffle::<2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3>(fifth, fifth);
    (v128_or(low, add(first)), v128_or(high, add(second)))
}

/// Blocks that begin with their scale.
#[inline(always)]
fn one_scale<const N: usize>(blocks: &[[u8; N]], _: usize) -> QuadScales {
    QuadScales {
        scale: [halves_at(blocks, 0); 2],
        min: [f32x4_splat(0.0); 2],
    }
}

/// Blocks that begin with their scale and their minimum.
#[inline(always)]
fn scale_and_min<const N: usize>(blocks: &[[u8; N]], _: usize) -> QuadScales {
    QuadScales {
        scale: [halves_at(blocks, 0); 2],
        min: [halves_at(blocks, 2); 2],
    }
}

/// The f16 at byte `at` of up to four blocks; 0 for those that are missing.
#[inline(always)]
fn halves_at<const N: usize>(blocks: &[[u8; N]], at: usize) -> v128 {
    // Put together as an integer: four loads and shifts, where an array becomes eight insertions of bytes.
    let half = |block: &[u8; N]| u64::from(u16::from_le_bytes([block[at], block[at + 1]]));
    let bits = match blocks {
        [a, b, c, d, ..] => half(a) | half(b) << 16 | half(c) << 32 | half(d) << 48,
        rest => rest.iter().rfold(0, |bits, block| bits << 16 | half(block)),
    };
    F16::load4(
        bits.to_le_bytes()
            .as_chunks()
            .0
            .as_array()
            .expect("four of two bytes"),
    )
}

/// Group by group, as the format says it.
#[inline(always)]
fn from_format<F: Format>(blocks: &[F::Block], half: usize) -> QuadScales {
    let header = F::header(&blocks[0]);
    let groups: [_; 4] = std::array::from_fn(|g| F::scales(&blocks[0], header, 4 * half + g));
    let lanes = |part: fn(&Scales) -> f32| load4(&groups.each_ref().map(part));
    QuadScales {
        scale: [lanes(|s| s.scale[0]), lanes(|s| s.scale[1])],
        min: [lanes(|s| s.min[0]), lanes(|s| s.min[1])],
    }
}

/// Q4_K and Q5_K: four scales and four minima of six bits, of which those of the second half are in two places.
#[inline(always)]
fn six_bits<const N: usize>(blocks: &[[u8; N]], half: usize) -> QuadScales {
    let block = &blocks[0];
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| block[4 + at + i]));
    let (scales, mins) = if half == 0 {
        (word(0) & 0x3f3f_3f3f, word(4) & 0x3f3f_3f3f)
    } else {
        let low = word(8);
        (
            low & 0x0f0f_0f0f | (word(0) >> 2) & 0x3030_3030,
            (low >> 4) & 0x0f0f_0f0f | (word(4) >> 2) & 0x3030_3030,
        )
    };
    let [d, dmin] = [0, 2].map(|at| f32x4_extract_lane::<0>(halves_at(&blocks[..1], at)));
    let scale = f32x4_mul(f32x4_splat(d), bytes_to_floats(scales));
    let min = f32x4_neg(f32x4_mul(f32x4_splat(dmin), bytes_to_floats(mins)));
    QuadScales {
        scale: [scale; 2],
        min: [min; 2],
    }
}

/// Four bytes to four numbers.
#[inline(always)]
fn bytes_to_floats(bytes: u32) -> v128 {
    let words = u16x8_extend_low_u8x16(u32x4(bytes, 0, 0, 0));
    f32x4_convert_i32x4(u32x4_extend_low_u16x8(words))
}

/// Q6_K: a signed byte for each half of a group, one after the other.
#[inline(always)]
fn sixteen_scales(blocks: &[[u8; 210]], half: usize) -> QuadScales {
    let block = &blocks[0];
    let at = 192 + 8 * half;
    let bytes = u64::from_le_bytes(std::array::from_fn(|i| block[at + i]));
    let words = i16x8_extend_low_i8x16(u64x2(bytes, 0));
    let d = f32x4_splat(f32x4_extract_lane::<0>(halves_at(&blocks[..1], 208)));
    // In lanes of 32 bits, the first half of a group is the lower word and the second the upper one.
    let first = i32x4_shr(i32x4_shl(words, 16), 16);
    let second = i32x4_shr(words, 16);
    QuadScales {
        scale: [first, second].map(|scales| f32x4_mul(d, f32x4_convert_i32x4(scales))),
        min: [f32x4_splat(0.0); 2],
    }
}

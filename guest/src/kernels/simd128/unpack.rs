//! The block formats in vectors: the quants of a group as two vectors of 16 bytes.

use core::arch::wasm32::*;

use super::load;
use crate::quant::{
    Format, IQ4_NL, IQ4_VALUES, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0,
};

/// A format that can be unpacked into vectors. Equal to [`Format::quants`].
pub(crate) trait Unpack: Format {
    /// The quants of group `g`: the first 16 and the second.
    fn unpack(block: &Self::Block, g: usize) -> (v128, v128);
}

macro_rules! unpack {
    ($format:ident, |$block:ident, $g:pat_param| $body:expr) => {
        impl Unpack for $format {
            #[inline(always)]
            fn unpack($block: &Self::Block, $g: usize) -> (v128, v128) {
                $body
            }
        }
    };
}

unpack!(Q4_0, |block, _| nibbles(load(&block[2..])));
unpack!(Q4_1, |block, _| nibbles(load(&block[4..])));
unpack!(Q5_0, |block, _| five_bits(&block[2..6], &block[6..]));
unpack!(Q5_1, |block, _| five_bits(&block[4..8], &block[8..]));
unpack!(Q8_0, |block, _| (load(&block[2..]), load(&block[18..])));
unpack!(IQ4_NL, |block, _| look_up(load(&block[2..])));
unpack!(IQ4_XS, |block, g| look_up(load(&block[8 + 16 * g..])));

unpack!(Q2_K, |block, g| {
    let at = 16 + 32 * (g / 4);
    let shift = 2 * (g as u32 % 4);
    let two = |at: usize| bits(load(&block[at..]), shift, 3);
    (two(at), two(at + 16))
});

unpack!(Q3_K, |block, g| {
    let at = 32 + 32 * (g / 4);
    let shift = 2 * (g as u32 % 4);
    let three = |at: usize, mask: usize| {
        let high = bits(load(&block[mask..]), g as u32, 1);
        v128_or(bits(load(&block[at..]), shift, 3), u16x8_shl(high, 2))
    };
    (three(at, 0), three(at + 16, 16))
});

unpack!(Q4_K, |block, g| {
    let at = 16 + 32 * (g / 2);
    let shift = 4 * (g as u32 % 2);
    let four = |at: usize| bits(load(&block[at..]), shift, 0xf);
    (four(at), four(at + 16))
});

unpack!(Q5_K, |block, g| {
    let at = 48 + 32 * (g / 2);
    let shift = 4 * (g as u32 % 2);
    let five = |at: usize, fifth: usize| {
        let high = bits(load(&block[fifth..]), g as u32, 1);
        v128_or(bits(load(&block[at..]), shift, 0xf), u16x8_shl(high, 4))
    };
    (five(at, 16), five(at + 16, 32))
});

unpack!(Q6_K, |block, g| {
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

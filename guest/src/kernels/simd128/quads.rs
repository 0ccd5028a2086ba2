//! Dot products of packed rows (see [`crate::quant::Packed`]): lanes are the rows of a quad.
//!
//! A vector has four weights of each of four rows, and is multiplied with four activations repeated in all lanes; sums
//! stay in 16 bits as long as they fit. Several rows of quads are processed at once, block by block, because memory is
//! read faster from several places at once.

use core::arch::wasm32::*;

use super::tiles::CrossedGroup;
use super::unpack::bits;
use super::vector::store4;
use super::{Dot, dot_i7, f16_lanes, load, load_group, settle, up_to};
use crate::kernels::activations::ActivationGroup;
use crate::kernels::operand::Operand;
use crate::kernels::tiles::is_narrow;
use crate::quant::{GROUP, Packed, Q4_0, Q8_0, ROWS};

/// A format with packed rows that activations can be multiplied with; see the scalar kernels.
pub(crate) trait DotQuads: Packed + Dot {
    /// Multiplies some rows of quads with one token: `[row of quads][row]`.
    fn dot_quads<const N: usize>(
        quads: [&[Self::Quad]; N],
        token: &[Self::Token],
    ) -> [[f32; ROWS]; N];

    /// Unpacks quads.
    fn cross_quads(quads: &[Self::Quad], strip: &mut [Self::Crossed]);
}

macro_rules! dot_quads {
    ($($format:ident),*) => {
        $(impl DotQuads for $format {
            #[inline(never)]
            fn dot_quads<const N: usize>(
                quads: [&[Self::Quad]; N],
                token: &[Self::Token],
            ) -> [[f32; ROWS]; N] {
                let quads = quads.map(|quads| &quads[..token.len()]);
                let mut sums = [f32x4_splat(0.0); N];
                for (c, token) in token.iter().enumerate() {
                    up_to!(N, |i| sums[i] = add::<Self>(&quads[i][c], token, sums[i]));
                }
                sums.map(lanes)
            }

            #[inline(never)]
            fn cross_quads(quads: &[Self::Quad], strip: &mut [Self::Crossed]) {
                for (quad, out) in quads.iter().zip(strip) {
                    cross::<Self, _>(quad, out);
                }
            }
        })*
    };
}
dot_quads!(Q4_0, Q8_0);

/// Eight vectors with four weights of each of four rows: one group of each row.
type Words = [v128; GROUP / 4];

/// A packed format for vectors, whose weights are nibbles.
trait Nibbles: Packed + Operand<Token = ActivationGroup> {
    /// A weight is the sum of `16^p * plane p`, minus [`Nibbles::OFFSET`].
    const PLANES: usize;
    /// A power of two.
    const OFFSET: i32;

    fn plane(quad: &Self::Quad, p: usize) -> Words;
}

impl Nibbles for Q4_0 {
    const PLANES: usize = 1;
    const OFFSET: i32 = 8;

    #[inline(always)]
    fn plane(quad: &Self::Quad, _: usize) -> Words {
        let word = |i: usize| load(&quad[8 + 16 * i..]);
        let (low, high) = (|i| bits(word(i), 0, 15), |i| bits(word(i), 4, 15));
        [
            low(0),
            low(1),
            low(2),
            low(3),
            high(0),
            high(1),
            high(2),
            high(3),
        ]
    }
}

impl Nibbles for Q8_0 {
    const PLANES: usize = 2;
    const OFFSET: i32 = 128;

    #[inline(always)]
    fn plane(quad: &Self::Quad, p: usize) -> Words {
        let unsigned = |i: usize| v128_xor(load(&quad[8 + 16 * i..]), u8x16_splat(0x80));
        words(|i| bits(unsigned(i), 4 * p as u32, 15))
    }
}

/// `sum` plus the products of a quad with a token.
#[inline(always)]
fn add<F: Nibbles>(quad: &F::Quad, token: &ActivationGroup, sum: v128) -> v128 {
    let d = halves(quad.as_ref(), 0);
    let pairs = nibble_products(&F::plane(quad, 0), &token.q);
    let mut products = i32x4_dot_i16x8(pairs, i16x8_splat(1));
    settle(products);
    if F::PLANES == 2 {
        let pairs = nibble_products(&F::plane(quad, 1), &token.q);
        products = i32x4_add(products, i32x4_dot_i16x8(pairs, i16x8_splat(16)));
        settle(products);
    }
    let offset = u32x4_splat((token.sum << F::OFFSET.trailing_zeros()).cast_unsigned());
    let integers = f32x4_convert_i32x4(i32x4_sub(products, offset));
    let scale = f32x4_mul(d, f32x4_splat(token.d));
    f32x4_add(sum, f32x4_mul(integers, scale))
}

/// See `cross_quads` of the scalar kernels.
#[inline(always)]
fn cross<F: Nibbles, const WORDS: usize>(quad: &F::Quad, out: &mut CrossedGroup<WORDS>) {
    let low = F::plane(quad, 0);
    if is_narrow(WORDS, GROUP) {
        out.words[..8].copy_from_slice(&low);
    } else {
        let high = F::plane(quad, F::PLANES - 1);
        up_to!(GROUP / 4, |k| {
            // Four weights of each row, as bytes; then in 16 bits, where a word has two.
            let unsigned = match F::PLANES {
                2 => v128_or(low[k], u16x8_shl(high[k], 4)),
                _ => low[k],
            };
            let bytes = i8x16_sub(unsigned, i8x16_splat(F::OFFSET as i8));
            let (first, second) = (
                i16x8_extend_low_i8x16(bytes),
                i16x8_extend_high_i8x16(bytes),
            );
            out.words[2 * k] = i32x4_shuffle::<0, 2, 4, 6>(first, second);
            out.words[2 * k + 1] = i32x4_shuffle::<1, 3, 5, 7>(first, second);
        });
    }
    out.scale = halves(quad.as_ref(), 0);
}

/// The products of weights below 16 with activations, summed in pairs of lanes: 16 * 127 * 15 < 2^15.
#[inline(always)]
fn nibble_products(words: &Words, q: &[i8; GROUP]) -> v128 {
    let (x, y) = load_group(q);
    let sum = dot_i7(i32x4_shuffle::<0, 0, 0, 0>(x, x), words[0]);
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<1, 1, 1, 1>(x, x), words[1]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<2, 2, 2, 2>(x, x), words[2]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<3, 3, 3, 3>(x, x), words[3]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<0, 0, 0, 0>(y, y), words[4]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<1, 1, 1, 1>(y, y), words[5]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<2, 2, 2, 2>(y, y), words[6]));
    i16x8_add(sum, dot_i7(i32x4_shuffle::<3, 3, 3, 3>(y, y), words[7]))
}

#[inline(always)]
fn words(word: impl Fn(usize) -> v128) -> Words {
    [
        word(0),
        word(1),
        word(2),
        word(3),
        word(4),
        word(5),
        word(6),
        word(7),
    ]
}

/// The four f16 numbers at `at`.
#[inline(always)]
fn halves(quad: &[u8], at: usize) -> v128 {
    let bits = u64::from_le_bytes(std::array::from_fn(|i| quad[at + i]));
    f16_lanes(u32x4_extend_low_u16x8(u64x2(bits, 0)))
}

#[inline(always)]
fn lanes(v: v128) -> [f32; ROWS] {
    let mut out = [0.0; ROWS];
    store4(v, &mut out);
    out
}

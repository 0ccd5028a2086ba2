//! The kernels on 128-bit vectors.
//!
//! The builds with and without relaxed-simd differ only in [`dot_i7`], and give the same bits.
//!
//! The code is shaped by what Cranelift generates. Within a basic block, Cranelift computes values as late as possible
//! but keeps loads in order, so all loads of a long body come first and their values spill; [`settle`] forces a value
//! to be computed before the code continues. A shuffle is a single instruction only for some patterns: interleaving and
//! moves of 32-bit lanes are.

mod attention;
mod blocks;
mod groups;
mod quads;
mod quantize;
mod tiles;
mod unpack;
mod vector;

pub(crate) use attention::{
    multiply, multiply_groups, scale_i8, softmax_step, widen_f16, widen_i8_pairs,
};
pub(crate) use blocks::dot_tokens;
pub(crate) use quads::DotQuads;
pub(crate) use quantize::{quantize_blocks, quantize_groups};
pub(crate) use vector::{Load, dot, geglu, rms_norm, swiglu};

use core::arch::wasm32::*;

use super::operand::Operand;
use super::tiles::{TILE, Tile, strip_cols};
use crate::quant::{Format, GROUP, ROWS};

/// A format that activations can be multiplied with; see the scalar kernels.
pub(crate) trait Dot: Operand {
    /// One block of each of four rows, unpacked in the form that the kernels need.
    type Crossed: Copy + 'static;
    /// Several of them, side by side.
    type Strip: AsMut<[Self::Crossed]>;
    /// A strip of [`strip_cols`] columns.
    const EMPTY_STRIP: Self::Strip;

    /// Multiplies four rows with one token.
    fn dot_rows(rows: [&[Self::Block]; ROWS], token: &[Self::Token]) -> [f32; ROWS];

    /// Unpacks as many blocks of each of four rows as fit into `strip`.
    fn cross(rows: [&[Self::Block]; ROWS], strip: &mut [Self::Crossed]);

    /// Multiplies some columns of four rows with the same columns of the first `tokens` tokens of tiles, and adds the
    /// products to `sums`, `[token][row]`. The sums of the other tokens become unspecified.
    fn add_products(
        strip: &[Self::Crossed],
        tiles: &[Self::Tile],
        tokens: usize,
        sums: &mut [[f32; ROWS]; TILE],
    );
}

macro_rules! dot {
    (@ $format:ident, $kind:ident, $crossed:ty, $empty:expr $(, $flat:ident, $flat_mut:ident)?) => {
        impl Dot for crate::quant::$format {
            type Crossed = $crossed;
            type Strip = [Self::Crossed; strip_cols(<Self as Operand>::Tile::NARROW) / Self::TYPE.block_len() as usize];
            const EMPTY_STRIP: Self::Strip =
                [$empty; strip_cols(<Self as Operand>::Tile::NARROW) / Self::TYPE.block_len() as usize];

            fn dot_rows(rows: [&[Self::Block]; ROWS], token: &[Self::Token]) -> [f32; ROWS] {
                $kind::dot_rows::<Self>(rows, token $(.$flat())?)
            }

            fn cross(rows: [&[Self::Block]; ROWS], strip: &mut [Self::Crossed]) {
                $kind::cross::<Self, _>(rows, strip $(.$flat_mut())?);
            }

            fn add_products(
                strip: &[Self::Crossed],
                tiles: &[Self::Tile],
                tokens: usize,
                sums: &mut [[f32; ROWS]; TILE],
            ) {
                $(let (strip, tiles) = (strip.$flat(), tiles.$flat());)?
                match tokens {
                    1 => $kind::add_products::<Self, _, 1>(strip, tiles, sums),
                    2 => $kind::add_products::<Self, _, 2>(strip, tiles, sums),
                    _ => $kind::add_products::<Self, _, TILE>(strip, tiles, sums),
                }
            }
        }
    };
    ($kind:ident, $crossed:ident, [$words:literal, $wide_words:literal]: $($format:ident),*) => {
        $(dot!(
            @ $format,
            $kind,
            tiles::$crossed<{ if <Self as Operand>::Tile::NARROW { $words } else { $wide_words } }>,
            Self::Crossed::EMPTY
        );)*
    };
    // For blocks of several groups: as for one group, with all blocks' groups in one row.
    ($kind:ident, [$crossed:ident], [$words:literal, $wide_words:literal]: $($format:ident),*) => {
        $(dot!(
            @ $format,
            $kind,
            [tiles::$crossed<{ if <Self as Operand>::Tile::NARROW { $words } else { $wide_words } }>;
                <Self as Format>::GROUPS],
            [tiles::$crossed::EMPTY; <Self as Format>::GROUPS],
            as_flattened,
            as_flattened_mut
        );)*
    };
}
dot!(groups, CrossedGroup, [8, 16]: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4);
dot!(groups, [CrossedGroup], [8, 16]: Q1_0, Q2_0, NVFP4);
dot!(blocks, CrossedBlock, [64, 128]: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS);
dot!(blocks, CrossedBlock, [64, 128]: IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, TQ2_0, TQ1_0);

/// `[f(0), f(1), f(2), f(3)]`, written out: in a loop, the compiler would keep arrays of vectors in memory.
macro_rules! each_lane {
    (|$i:ident| $body:expr) => {
        [
            {
                let $i = 0;
                $body
            },
            {
                let $i = 1;
                $body
            },
            {
                let $i = 2;
                $body
            },
            {
                let $i = 3;
                $body
            },
        ]
    };
}
use each_lane;

/// `$body` for each number below `$n`, at most 8, unrolled: in a loop, the compiler would keep arrays of vectors in
/// memory.
macro_rules! up_to {
    ($n:expr, |$i:ident| $body:expr) => {
        up_to!(@ $n, $i, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $n:expr, $i:ident, $body:expr, $($at:literal)*) => {
        $(if $at < $n {
            let $i = $at;
            $body;
        })*
    };
}
use up_to;

/// The same for each of the first `$n` tokens of a tile.
macro_rules! each_token {
    ($n:expr, |$t:ident| $body:expr) => {
        up_to!(@ $n, $t, $body, 0 1 2 3)
    };
}
use each_token;

/// The sum of the lanes of each of four integer vectors, one lane per vector.
#[inline(always)]
fn sum_each(v: [v128; TILE]) -> v128 {
    let pair = |a, b| {
        let (low, high) = (
            i32x4_shuffle::<0, 4, 1, 5>(a, b),
            i32x4_shuffle::<2, 6, 3, 7>(a, b),
        );
        i32x4_add(low, high)
    };
    let (a, b) = (pair(v[0], v[1]), pair(v[2], v[3]));
    i32x4_add(i64x2_shuffle::<0, 2>(a, b), i64x2_shuffle::<1, 3>(a, b))
}

/// Forces `v` to be computed here by writing it to memory, which costs one instruction and orders everything after it.
#[inline(always)]
fn settle(v: v128) {
    std::hint::black_box(v);
}

/// `a[2i] * b[2i] + a[2i + 1] * b[2i + 1]` of signed `a` and `b` from 0 to 127, in 16 bits, where it always fits.
#[inline(always)]
#[cfg(target_feature = "relaxed-simd")]
fn dot_i7(a: v128, b: v128) -> v128 {
    i16x8_relaxed_dot_i8x16_i7x16(a, b)
}

/// `a[2i] * b[2i] + a[2i + 1] * b[2i + 1]` of signed `a` and `b` from 0 to 127, in 16 bits, where it always fits.
#[inline(always)]
#[cfg(not(target_feature = "relaxed-simd"))]
fn dot_i7(a: v128, b: v128) -> v128 {
    // Not by widening products: where LLVM knows that `b` has 7 bits, it makes the relaxed instruction of these even
    // though this build may not have it.
    let even = |x| i16x8_shr(i16x8_shl(x, 8), 8);
    let odd = |x| i16x8_shr(x, 8);
    i16x8_add(i16x8_mul(even(a), even(b)), i16x8_mul(odd(a), odd(b)))
}

/// The bytes of `v` with the numbers in `from`, which are below 16; from 128 on, a number stands for a zero.
#[inline(always)]
fn pick(v: v128, from: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    let picked = i8x16_relaxed_swizzle(v, from);
    #[cfg(not(target_feature = "relaxed-simd"))]
    let picked = i8x16_swizzle(v, from);
    picked
}

/// The dot product of 32 signed bytes in four lanes, exact for all values.
#[inline(always)]
fn dot_i8((w0, w1): (v128, v128), (a0, a1): (v128, v128)) -> v128 {
    i32x4_add(dot_i8x16(w0, a0), dot_i8x16(w1, a1))
}

/// The same of 16.
#[inline(always)]
fn dot_i8x16(w: v128, a: v128) -> v128 {
    i32x4_add(
        i32x4_dot_i16x8(i16x8_extend_low_i8x16(w), i16x8_extend_low_i8x16(a)),
        i32x4_dot_i16x8(i16x8_extend_high_i8x16(w), i16x8_extend_high_i8x16(a)),
    )
}

/// Converts the f16 numbers in the lower halves of 32-bit lanes to f32, exactly.
///
/// Equal to `f16_to_f32`, but no step has a subnormal operand: those take a processor a hundred cycles, and the scales
/// of super-blocks are often subnormal. Moved into place, the exponent of a normal number is too small by 112. For a
/// subnormal one, an exponent of `113` gives `2^-14` more than the number. The smaller of the two results is always the
/// right one.
#[inline(always)]
fn f16_lanes(halves: v128) -> v128 {
    // Infinities and NaNs keep their fraction and get f32's largest exponent.
    let magnitude = v128_and(u32x4_shl(halves, 13), u32x4_splat(0x0fff_e000));
    let special = i32x4_gt(magnitude, i32x4_splat((0x7c00 << 13) - 1));
    let largest = v128_and(special, u32x4_splat(0x7f80_0000));
    v128_or(finite_f16_lanes(halves), largest)
}

/// The same of numbers that are finite; infinities and NaNs become numbers.
#[inline(always)]
fn finite_f16_lanes(halves: v128) -> v128 {
    let placed = i32x4_shr(i32x4_shl(halves, 16), 3);
    let magnitude = v128_and(placed, u32x4_splat(0x0fff_e000));
    let normal = i32x4_add(magnitude, i32x4_splat(112 << 23));
    let doubled = i32x4_add(magnitude, i32x4_splat(113 << 23));
    let subnormal = f32x4_sub(doubled, f32x4_splat(f32::from_bits(113 << 23)));
    let number = f32x4_pmin(subnormal, normal);
    v128_or(number, v128_and(placed, u32x4_splat(0x8000_0000)))
}

/// The sum of four lanes: `(0 + 2) + (1 + 3)`.
#[inline(always)]
fn sum_lanes(v: v128) -> f32 {
    let v = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
    f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
}

/// Loads the first 16 bytes.
#[inline(always)]
fn load<B: Byte>(bytes: &[B]) -> v128 {
    let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i].to_u8()));
    u64x2(half(0), half(8))
}

/// 32 bytes.
#[inline(always)]
fn load_group(bytes: &[i8; GROUP]) -> (v128, v128) {
    (load(&bytes[..16]), load(&bytes[16..]))
}

/// Eight 16-bit integers.
#[inline(always)]
fn load8(numbers: &[i16; 8]) -> v128 {
    // As two numbers of 64 bits: of eight numbers, LLVM loads each where it has its own place in what follows.
    let half = |at: usize| {
        let n: [u64; 4] = std::array::from_fn(|i| u64::from(numbers[at + i].cast_unsigned()));
        n[0] | n[1] << 16 | n[2] << 32 | n[3] << 48
    };
    u64x2(half(0), half(4))
}

/// A signed or unsigned byte, loaded unchanged.
trait Byte: Copy {
    fn to_u8(self) -> u8;
}

impl Byte for u8 {
    #[inline(always)]
    fn to_u8(self) -> u8 {
        self
    }
}

impl Byte for i8 {
    #[inline(always)]
    fn to_u8(self) -> u8 {
        self as u8
    }
}

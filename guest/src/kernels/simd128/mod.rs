//! The kernels on 128-bit vectors.
//!
//! The builds with and without relaxed-simd differ in [`dot_i7`] alone, and give the same bits.

mod attention;
mod unpack;
mod vector;

pub(crate) use attention::{
    multiply, multiply_groups, scale_i8, softmax_step, widen_f16, widen_i8_pairs,
};
pub(crate) use unpack::Unpack;
pub(crate) use vector::{Load, dot, quantize, rms_norm, swiglu};

use core::arch::wasm32::*;

use super::{ActivationQuad, QUAD};
use crate::quant::GROUP;
use vector::{load4, store4};

/// See `dot_blocks` of the scalar kernels.
///
/// Not inlined: in one function with other formats, the compiler keeps reloading what should stay in registers.
#[inline(never)]
pub(crate) fn dot_blocks<F: Unpack, const T: usize>(
    row: &[F::Block],
    activations: [&[ActivationQuad]; T],
) -> [f32; T] {
    let mut sums = Sums([[f32x4_splat(0.0); 2]; T]);
    if F::GROUPS == 1 {
        let (quads, tail) = row.as_chunks::<QUAD>();
        let whole = quads.len();
        let inputs = activations.map(|input| &input[..whole]);
        for (i, blocks) in quads.iter().enumerate() {
            sums.add::<F>(blocks, 0, inputs.map(|input| &input[i]));
        }
        if !tail.is_empty() {
            sums.add::<F>(tail, 0, activations.map(|input| &input[whole]));
        }
    } else {
        let inputs = activations.map(|input| &input[..2 * row.len()]);
        for (i, block) in row.iter().enumerate() {
            for half in 0..2 {
                let block = std::slice::from_ref(block);
                sums.add::<F>(block, half, inputs.map(|input| &input[2 * i + half]));
            }
        }
    }
    sums.0
        .map(|[products, offsets]| sum_lanes(f32x4_add(products, offsets)))
}

/// Per token: sums of products in four lanes, and, a lane for each group of a quad, what zero points and minima add.
struct Sums<const T: usize>([[v128; 2]; T]);

impl<const T: usize> Sums<T> {
    /// Adds a quad: up to four blocks of a group each, or half of a block of eight.
    #[inline(always)]
    fn add<F: Unpack>(&mut self, blocks: &[F::Block], half: usize, inputs: [&ActivationQuad; T]) {
        let scales = F::quad_scales(blocks, half);
        let factors = inputs.map(|input| {
            let mut factors = [[0f32; QUAD]; 2];
            let d = load4(&input.d);
            store4(f32x4_mul(scales.scale[0], d), &mut factors[0]);
            if F::HALVES {
                store4(f32x4_mul(scales.scale[1], d), &mut factors[1]);
            }
            factors
        });
        if F::MIN || F::ZERO != 0 {
            let zero = f32x4_splat(f32::from(F::ZERO));
            let offset =
                |half: usize| f32x4_sub(scales.min[half], f32x4_mul(zero, scales.scale[half]));
            let offsets = [offset(0), offset(1)];
            for (sums, input) in self.0.iter_mut().zip(inputs) {
                let [first, second] = input.sums.each_ref().map(load4);
                let added = if F::HALVES {
                    f32x4_add(f32x4_mul(offsets[0], first), f32x4_mul(offsets[1], second))
                } else {
                    f32x4_mul(offsets[0], f32x4_add(first, second))
                };
                sums[1] = f32x4_add(sums[1], added);
            }
        }
        let groups = if F::GROUPS == 1 { blocks.len() } else { QUAD };
        for g in 0..groups {
            let weights = if F::GROUPS == 1 {
                F::unpack(&blocks[g], 0)
            } else {
                F::unpack(&blocks[0], QUAD * half + g)
            };
            for ((sums, input), factors) in self.0.iter_mut().zip(inputs).zip(&factors) {
                let products = dot_group::<F>(weights, &input.q[g]);
                let add = |sum: v128, products: v128, factor: f32| {
                    let products = f32x4_convert_i32x4(products);
                    f32x4_add(sum, f32x4_mul(products, f32x4_splat(factor)))
                };
                sums[0] = add(sums[0], products.0, factors[0][g]);
                if F::HALVES {
                    sums[0] = add(sums[0], products.1, factors[1][g]);
                }
            }
        }
    }
}

/// Integer dot products of a group, in four lanes: of each half, or of both in the first.
#[inline(always)]
fn dot_group<F: Unpack>((low, high): (v128, v128), a: &[i8; GROUP]) -> (v128, v128) {
    let (a_low, a_high) = (load(&a[..16]), load(&a[16..]));
    let ones = i16x8_splat(1);
    if F::SIGNED {
        let sum = i32x4_add(dot_i8(low, a_low), dot_i8(high, a_high));
        (sum, i32x4_splat(0))
    } else if F::HALVES {
        let half = |w, a| i32x4_dot_i16x8(dot_i7(a, w), ones);
        (half(low, a_low), half(high, a_high))
    } else {
        // Quants of formats without halves are at most 31: four products stay below 2^15.
        let pairs = i16x8_add(dot_i7(a_low, low), dot_i7(a_high, high));
        (i32x4_dot_i16x8(pairs, ones), i32x4_splat(0))
    }
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
    let low = i16x8_extmul_low_i8x16(a, b);
    let high = i16x8_extmul_high_i8x16(a, b);
    let even = i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(low, high);
    let odd = i16x8_shuffle::<1, 3, 5, 7, 9, 11, 13, 15>(low, high);
    i16x8_add(even, odd)
}

/// The dot product of signed bytes in four lanes, exact for all values.
#[inline(always)]
fn dot_i8(a: v128, b: v128) -> v128 {
    let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(a), i16x8_extend_low_i8x16(b));
    let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(a), i16x8_extend_high_i8x16(b));
    i32x4_add(low, high)
}

/// The sum of four lanes: `(0 + 2) + (1 + 3)`.
#[inline(always)]
fn sum_lanes(v: v128) -> f32 {
    let v = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
    f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
}

/// Scales and minima of the groups of a quad, a lane each: of the first and the second half of the groups.
pub(crate) struct QuadScales {
    scale: [v128; 2],
    min: [v128; 2],
}

/// The first 16 of some bytes.
#[inline(always)]
fn load<B: Byte>(bytes: &[B]) -> v128 {
    let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i].to_u8()));
    u64x2(half(0), half(8))
}

/// A byte of either sign, loaded as it is.
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

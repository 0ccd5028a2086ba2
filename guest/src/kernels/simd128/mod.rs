//! The kernels on 128-bit vectors.
//!
//! The builds with and without relaxed-simd differ in [`dot_i7`] alone, and give the same bits.

mod unpack;
mod vector;

pub(crate) use unpack::Unpack;
pub(crate) use vector::{Load, axpy, dot, quantize, rms_norm, softmax, swiglu};

use core::arch::wasm32::*;

use super::ActivationBlock;

/// See [`super::scalar::dot_blocks`].
pub(crate) fn dot_blocks<F: Unpack, const T: usize>(
    row: &[F::Block],
    activations: [&[ActivationBlock]; T],
) -> [f32; T] {
    let n_groups = row.len() * F::GROUPS;
    let activations = activations.map(|blocks| &blocks[..n_groups]);
    // Per token: sums of products in four lanes, and what zero points and minima contribute.
    let mut sums = [f32x4_splat(0.0); T];
    let mut offsets = [0f32; T];
    for (b, block) in row.iter().enumerate() {
        let header = F::header(block);
        for g in 0..F::GROUPS {
            let weights = F::unpack(block, g);
            let scales = F::scales(block, header, g);
            let zero = f32::from(F::ZERO);
            let offset: [f32; 2] =
                std::array::from_fn(|half| scales.min[half] - zero * scales.scale[half]);
            for t in 0..T {
                let a = &activations[t][b * F::GROUPS + g];
                let products = dot_group::<F>(weights, a);
                let scale = scales.scale.map(|scale| f32x4_splat(scale * a.d));
                sums[t] = f32x4_add(
                    sums[t],
                    f32x4_mul(f32x4_convert_i32x4(products.0), scale[0]),
                );
                if F::HALVES {
                    let second = f32x4_mul(f32x4_convert_i32x4(products.1), scale[1]);
                    sums[t] = f32x4_add(sums[t], second);
                }
                if F::MIN || F::ZERO != 0 {
                    offsets[t] += if F::HALVES {
                        offset[0] * a.sums[0] + offset[1] * a.sums[1]
                    } else {
                        offset[0] * (a.sums[0] + a.sums[1])
                    };
                }
            }
        }
    }
    std::array::from_fn(|t| sum_lanes(sums[t]) + offsets[t])
}

/// Integer dot products of a group, in four lanes: of each half, or of both in the first.
#[inline(always)]
fn dot_group<F: Unpack>((low, high): (v128, v128), a: &ActivationBlock) -> (v128, v128) {
    let (a_low, a_high) = (load(&a.q[..16]), load(&a.q[16..]));
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

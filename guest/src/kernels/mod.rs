//! The arithmetic: everything that touches many numbers.
//!
//! Each kernel exists twice under one name and signature: in `scalar`, which is the specification, and in `simd128`,
//! which the component runs and which differs in the order of sums alone. Matrices in block formats are multiplied with
//! activations that were quantised to 8 bits, so that the inner products are of integers; floats are multiplied as
//! floats. A multiplication and an addition are never fused: with that, every host computes the same bits.
//!
//! In the order of use: [`quantize`], [`matmul()`], [`attention`], then what works on vectors.

pub(crate) mod attention;
mod matmul;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(crate) use scalar::{
    multiply, multiply_groups, quantize, rms_norm, scale_i8, softmax_step, swiglu, widen_f16,
    widen_i8_pairs,
};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use simd128::{
    multiply, multiply_groups, quantize, rms_norm, scale_i8, softmax_step, swiglu, widen_f16,
    widen_i8_pairs,
};

pub(crate) use matmul::{Input, Rows, matmul};

use crate::quant::GROUP;

/// Groups in an [`ActivationQuad`]: as many as a vector has lanes.
pub(crate) const QUAD: usize = 4;

/// 128 activations in 8 bits, in four groups: `x[g][i] = d[g] * q[g][i]`, with `q` from -127 to 127. The last quad of a
/// row may have groups of zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActivationQuad {
    pub(crate) q: [[i8; GROUP]; QUAD],
    pub(crate) d: [f32; QUAD],
    /// `d` times the sum of `q`, of the first and the second half of each group: what a weight's zero point and minimum are
    /// multiplied with.
    pub(crate) sums: [[f32; QUAD]; 2],
}

impl ActivationQuad {
    pub(crate) const ZERO: Self = Self {
        q: [[0; GROUP]; QUAD],
        d: [0.0; QUAD],
        sums: [[0.0; QUAD]; 2],
    };

    /// How many hold a row of `cols` activations.
    pub(crate) fn per_row(cols: usize) -> usize {
        cols.div_ceil(QUAD * GROUP)
    }
}

/// The step between two quants, and its inverse. Numbers so small that the inverse is infinite become zeros.
#[inline(always)]
fn step(largest: f32) -> (f32, f32) {
    let inverse = 127.0 / largest;
    if inverse.is_finite() {
        (largest / 127.0, inverse)
    } else {
        (0.0, 0.0)
    }
}

#[cfg(test)]
mod tests;

//! The arithmetic: everything that touches many numbers.
//!
//! Each kernel exists twice under one name and signature: in `scalar`, which is the specification, and in `simd128`,
//! which the component runs and which differs in the order of sums alone. Matrices in block formats are multiplied with
//! activations that were quantised to 8 bits, so that the inner products are of integers; floats are multiplied as
//! floats. A multiplication and an addition are never fused: with that, every host computes the same bits.
//!
//! In the order of use: [`quantize`], [`matmul()`], then what works on vectors.

mod matmul;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(crate) use scalar::{Load, axpy, dot, quantize, rms_norm, softmax, swiglu};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use simd128::{Load, axpy, dot, quantize, rms_norm, softmax, swiglu};

pub(crate) use matmul::{Input, Rows, matmul};

use crate::quant::GROUP;

/// 32 activations in 8 bits: `x[i] = d * q[i]`, with `q` from -127 to 127.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActivationBlock {
    pub(crate) q: [i8; GROUP],
    pub(crate) d: f32,
    /// `d` times the sum of `q`, for each half: what a weight's zero point and minimum are multiplied with.
    pub(crate) sums: [f32; 2],
}

impl ActivationBlock {
    pub(crate) const ZERO: Self = Self {
        q: [0; GROUP],
        d: 0.0,
        sums: [0.0; 2],
    };
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

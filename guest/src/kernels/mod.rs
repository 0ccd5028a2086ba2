//! The arithmetic: everything that processes many numbers.
//!
//! Each kernel exists twice with the same name and signature: in `scalar`, which is the specification, and in
//! `simd128`, which the component runs. Matrices in block formats are multiplied with activations quantised to 8 bits,
//! so the inner products are integer and exact; floats are multiplied as floats. Multiplication and addition are never
//! fused, so every host computes the same bits.
//!
//! In the order of use: [`activations`] (the input of a product), [`matmul()`], [`attention`], then the vector kernels.

mod activations;
pub(crate) mod attention;
mod matmul;
mod operand;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
mod tiles;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(crate) use scalar::{
    geglu, multiply, multiply_groups, rms_norm, scale_i8, softmax_step, swiglu, widen_f16,
    widen_i8_pairs,
};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use simd128::{
    geglu, multiply, multiply_groups, rms_norm, scale_i8, softmax_step, swiglu, widen_f16,
    widen_i8_pairs,
};

pub(crate) use activations::{Activations, Input};
pub(crate) use matmul::{Rows, matmul, pack};

/// `2 * sqrt(2 / pi)`, of GELU.
const GELU: f32 = 1.595_769;
/// The weight of the cube in GELU.
const CUBE: f32 = 0.044_715;

#[cfg(test)]
mod tests;

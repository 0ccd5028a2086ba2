//! The specification of every kernel: one number after the other.

mod attention;

pub(crate) use attention::{
    multiply, multiply_groups, scale_i8, softmax_step, widen_f16, widen_i8_pairs,
};

use super::{ActivationQuad, QUAD, step};
use crate::quant::{Element, Format, GROUP};

/// What a format needs to be multiplied here: nothing beyond its layout.
pub(crate) trait Unpack: Format {}
impl<F: Format> Unpack for F {}

/// What an element needs to be multiplied here: nothing beyond its conversion.
pub(crate) trait Load: Element {}
impl<E: Element> Load for E {}

/// Quantises one row `x` (a multiple of 32) into quads: `d` is the greatest magnitude divided by 127, `q` the nearest
/// integers, ties to even. Source: ggml's Q8_0.
pub(crate) fn quantize(x: &[f32], quads: &mut [ActivationQuad]) {
    for (x, quad) in x.chunks(QUAD * GROUP).zip(quads) {
        *quad = ActivationQuad::ZERO;
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            let (d, inverse) = step(largest);
            quad.d[g] = d;
            quad.q[g] = x.map(|x| (x * inverse).round_ties_even() as i8);
            for (half, q) in quad.q[g].as_chunks::<16>().0.iter().enumerate() {
                quad.sums[half][g] = d * q.iter().map(|&q| i32::from(q)).sum::<i32>() as f32;
            }
        }
    }
}

/// The dot products of one row of weights with `T` rows of activations.
///
/// `simd128` differs by at most 4e-6 of the sum of the magnitudes of what is added, zero points and minima apart.
pub(crate) fn dot_blocks<F: Unpack, const T: usize>(
    row: &[F::Block],
    activations: [&[ActivationQuad]; T],
) -> [f32; T] {
    activations.map(|quads| {
        let groups = row
            .iter()
            .flat_map(|block| (0..F::GROUPS).map(move |g| (block, g)));
        let places = (0..).map(|i| (&quads[i / QUAD], i % QUAD));
        groups
            .zip(places)
            .map(|((block, g), (quad, at))| dot_group::<F>(block, g, quad, at))
            .sum()
    })
}

fn dot_group<F: Format>(block: &F::Block, g: usize, quad: &ActivationQuad, at: usize) -> f32 {
    let scales = F::scales(block, F::header(block), g);
    let quants = F::quants(block, g);
    let half = |half: usize| {
        let range = 16 * half..16 * half + 16;
        let pairs = quants[range.clone()].iter().zip(&quad.q[at][range]);
        let sum: i32 = pairs.map(|(w, a)| i32::from(*w) * i32::from(*a)).sum();
        let offset = scales.min[half] - f32::from(F::ZERO) * scales.scale[half];
        scales.scale[half] * quad.d[at] * sum as f32 + offset * quad.sums[half][at]
    };
    half(0) + half(1)
}

/// The dot product of equally long vectors. `simd128` differs by at most `len * 2^-24` of the sum of the magnitudes.
pub(crate) fn dot<E: Load>(x: &[f32], weights: &[E::Raw]) -> f32 {
    x.iter().zip(weights).map(|(x, w)| x * E::to_f32(*w)).sum()
}

/// `out = x / sqrt(mean(x^2) + eps) * weight`. Source: Zhang and Sennrich, 2019. `simd128` differs by at most
/// `len * 2^-23` relatively.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let squares: f32 = x.iter().map(|x| x * x).sum();
    let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// `gate = gate / (1 + exp(-gate)) * up`. Source: Shazeer, 2020. `simd128` differs by at most 8 * 2^-23 relatively, or
/// 1e-36 times `up`.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + (-*gate).exp()) * up;
    }
}

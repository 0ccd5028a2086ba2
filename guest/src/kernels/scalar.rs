//! The specification of every kernel: one number after the other.

mod attention;

pub(crate) use attention::{
    multiply, multiply_groups, scale_i8, softmax_step, widen_f16, widen_i8_pairs,
};

use std::borrow::Borrow;

use super::activations::{ActivationBlock, ActivationGroup, BLOCK, TILE, step};
use super::lanes::{Lanes, Operand};
use crate::quant::{self, Element, GROUP, GROUPS, Packed, ROWS, SuperBlock};

/// What an element needs to be multiplied here: nothing beyond its conversion.
pub(crate) trait Load: Element {}
impl<E: Element> Load for E {}

/// Quantises one row `x` (a multiple of 32) as token `token` of the tiles, one for each 32: `d` is the greatest magnitude
/// divided by 127, `q` the nearest integers, ties to even. Source: ggml's Q8_0. `simd128` gives the same bits.
pub(crate) fn quantize_groups(x: &[f32], tiles: &mut [ActivationGroup], token: usize) {
    for (x, tile) in x.as_chunks::<GROUP>().0.iter().zip(tiles) {
        tile.d[token] = quantize(x, &mut tile.q[token]);
        tile.sums[token] = tile.q[token].iter().map(|&q| i32::from(q)).sum();
    }
}

/// Likewise of a row whose length is a multiple of 256, a scale for each 256. Source: ggml's Q8_K, whose scale has the sign
/// of the greatest element.
pub(crate) fn quantize_blocks(x: &[f32], tiles: &mut [ActivationBlock], token: usize) {
    for (x, tile) in x.as_chunks::<BLOCK>().0.iter().zip(tiles) {
        tile.d[token] = quantize(x, &mut tile.q[token]);
        let sum = |q: &[i8]| q.iter().map(|&q| i16::from(q)).sum();
        let halves = tile.q[token].as_chunks::<{ GROUP / 2 }>().0;
        tile.half_sums[token] = std::array::from_fn(|i| sum(&halves[i]));
        let groups = tile.q[token].as_chunks::<GROUP>().0;
        tile.group_sums[token] = std::array::from_fn(|i| sum(&groups[i]));
    }
}

/// Gives the step.
fn quantize<const N: usize>(x: &[f32; N], q: &mut [i8; N]) -> f32 {
    let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let (d, inverse) = step(largest);
    *q = x.map(|x| (x * inverse).round_ties_even() as i8);
    d
}

/// A format that rows of activations can be multiplied with.
pub(crate) trait Dot: Operand {
    /// Four dot products. `simd128` gives the same bits.
    fn dot4(lanes: impl Lanes<Self>) -> [f32; TILE]
    where
        Self: Sized;
}

macro_rules! dot {
    ($dot:ident: $($format:ident),*) => {
        $(impl Dot for quant::$format {
            fn dot4(lanes: impl Lanes<Self>) -> [f32; TILE] {
                std::array::from_fn(|i| {
                    let pair = |c| (lanes.block(i, c), lanes.tile(c));
                    $dot::<Self>((0..lanes.len()).map(pair), lanes.token(i))
                })
            }
        })*
    };
}
dot!(dot_groups: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL);
dot!(dot_blocks: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS);

/// A format whose packed rows activations can be multiplied with. The dot products are those of [`Dot`], to the bit.
pub(crate) trait DotQuads: Packed + Operand {
    /// One row of quads with each of four tokens: `[token][row]`.
    fn dot_tokens(quads: &[Self::Quad], tiles: &[Self::Tile]) -> [[f32; ROWS]; TILE] {
        std::array::from_fn(|token| Self::dot_quads(quads, tiles, token))
    }

    /// Some rows of quads with one token: `[row of quads][row]`.
    fn dot_token<const N: usize>(
        quads: [&[Self::Quad]; N],
        tiles: &[Self::Tile],
        token: usize,
    ) -> [[f32; ROWS]; N] {
        quads.map(|quads| Self::dot_quads(quads, tiles, token))
    }

    /// One row of quads with one token.
    fn dot_quads(quads: &[Self::Quad], tiles: &[Self::Tile], token: usize) -> [f32; ROWS];
}

macro_rules! dot_quads {
    ($($format:ident),*) => {
        $(impl DotQuads for quant::$format {
            fn dot_quads(quads: &[Self::Quad], tiles: &[Self::Tile], token: usize) -> [f32; ROWS] {
                std::array::from_fn(|row| {
                    let blocks = quads.iter().map(|quad| Self::block(quad, row));
                    dot_groups::<Self>(blocks.zip(tiles), token)
                })
            }
        })*
    };
}
dot_quads!(Q4_0, Q8_0);

fn dot_groups<'a, F: Operand<Tile = ActivationGroup>>(
    pairs: impl Iterator<Item = (impl Borrow<F::Block>, &'a ActivationGroup)>,
    token: usize,
) -> f32 {
    pairs.fold(0.0, |sum, (block, tile)| {
        let block = block.borrow();
        let [d, min] = F::header(block);
        let products = products(&F::quants(block, 0), &tile.q[token]);
        let sums = tile.sums[token];
        let sum = sum + (products - i32::from(F::ZERO) * sums) as f32 * (d * tile.d[token]);
        match F::MIN {
            true => sum + min * (tile.d[token] * sums as f32),
            false => sum,
        }
    })
}

fn dot_blocks<'a, F>(
    pairs: impl Iterator<Item = (impl Borrow<F::Block>, &'a ActivationBlock)>,
    token: usize,
) -> f32
where
    F: SuperBlock + Operand<Tile = ActivationBlock>,
{
    pairs.fold(0.0, |sum, (block, tile)| {
        let block = block.borrow();
        let (mut scaled, mut minima) = (0, 0);
        for g in 0..GROUPS {
            let codes = F::codes(block, g);
            let quants = F::quants(block, g);
            for half in 0..2 {
                let weights = &quants[16 * half..][..16];
                let products = products(weights, &tile.q[token][GROUP * g + 16 * half..][..16]);
                let sums = i32::from(tile.half_sums[token][2 * g + half]);
                scaled += i32::from(codes.scale[half]) * (products - i32::from(F::ZERO) * sums);
                minima += i32::from(codes.min[half]) * sums;
            }
        }
        let [d, dmin] = F::header(block);
        let sum = sum + scaled as f32 * (d * tile.d[token]);
        match F::MIN {
            true => sum - minima as f32 * (dmin * tile.d[token]),
            false => sum,
        }
    })
}

fn products(weights: &[i8], activations: &[i8]) -> i32 {
    let pairs = weights.iter().zip(activations);
    pairs.map(|(w, a)| i32::from(*w) * i32::from(*a)).sum()
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

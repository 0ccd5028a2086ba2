//! The specification of every kernel, one number at a time.

mod attention;

pub(crate) use attention::{
    multiply, multiply_groups, scale_i8, softmax_step, widen_f16, widen_i8_pairs,
};

use super::activations::{ActivationBlock, ActivationGroup, BLOCK, step};
use super::operand::Operand;
use super::tiles::{TILE, Tile, strip_cols};
use super::{CUBE, GELU};
use crate::quant::{self, Element, Format, GROUP, GROUPS, Packed, ROWS, Scales, SuperBlock};

/// An element that can be multiplied here; it needs nothing beyond its conversion.
pub(crate) trait Load: Element {}
impl<E: Element> Load for E {}

/// Quantises a row `x` (a multiple of 32) and appends it to `out`: `d` is the largest magnitude divided by 127, `q` the
/// nearest integers, ties to even. Source: ggml's Q8_0. `simd128` gives the same bits.
pub(crate) fn quantize_groups(x: &[f32], out: &mut Vec<ActivationGroup>) {
    for x in x.as_chunks::<GROUP>().0 {
        let (d, q) = quantize(x);
        let sum = q.iter().map(|&q| i32::from(q)).sum();
        let negative = q.iter().map(|&q| i32::from(-q.min(0))).sum();
        out.push(ActivationGroup {
            q,
            d,
            sum,
            negative,
        });
    }
}

/// The same for a row whose length is a multiple of 256, with one scale per 256. Source: ggml's Q8_K, whose scale has
/// the sign of the largest element.
pub(crate) fn quantize_blocks(x: &[f32], out: &mut Vec<ActivationBlock>) {
    for x in x.as_chunks::<BLOCK>().0 {
        let (d, q) = quantize(x);
        let sum = |q: &[i8]| q.iter().map(|&q| i16::from(q)).sum();
        let halves = q.as_chunks::<{ GROUP / 2 }>().0;
        let groups = q.as_chunks::<GROUP>().0;
        out.push(ActivationBlock {
            q,
            d,
            half_sums: std::array::from_fn(|i| sum(&halves[i])),
            group_sums: std::array::from_fn(|i| sum(&groups[i])),
        });
    }
}

/// Returns the step and the quants.
fn quantize<const N: usize>(x: &[f32; N]) -> (f32, [i8; N]) {
    let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let (d, inverse) = step(largest);
    (d, x.map(|x| (x * inverse).round_ties_even() as i8))
}

/// A format that activations can be multiplied with. `simd128` gives the same bits, and each dot product is the same no
/// matter how it is computed.
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
    ($add:ident: $($format:ident),*) => {
        $(impl Dot for quant::$format {
            type Crossed = [Self::Block; ROWS];
            type Strip = [Self::Crossed; strip_cols(<Self as Operand>::Tile::NARROW) / Self::TYPE.block_len() as usize];
            const EMPTY_STRIP: Self::Strip = [[Self::EMPTY; ROWS]; strip_cols(<Self as Operand>::Tile::NARROW) / Self::TYPE.block_len() as usize];

            fn dot_rows(rows: [&[Self::Block]; ROWS], token: &[Self::Token]) -> [f32; ROWS] {
                rows.map(|row| row.iter().zip(token).fold(0.0, $add::<Self>))
            }

            fn cross(rows: [&[Self::Block]; ROWS], strip: &mut [Self::Crossed]) {
                for (c, out) in strip.iter_mut().enumerate() {
                    *out = rows.map(|row| row[c]);
                }
            }

            fn add_products(
                strip: &[Self::Crossed],
                tiles: &[Self::Tile],
                tokens: usize,
                sums: &mut [[f32; ROWS]; TILE],
            ) {
                for (t, row) in (0..tokens).flat_map(|t| (0..ROWS).map(move |row| (t, row))) {
                    let pairs = strip.iter().zip(tiles);
                    sums[t][row] = pairs.fold(sums[t][row], |sum, (blocks, tile)| {
                        $add::<Self>(sum, (&blocks[row], &tile.token(t)))
                    });
                }
            }
        })*
    };
}
dot!(add_group: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4);
dot!(add_groups: Q1_0, Q2_0, NVFP4);
dot!(add_block: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS);
dot!(add_block: IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, TQ2_0, TQ1_0);

/// Multiplies one row with four tokens.
pub(crate) fn dot_tokens<F>(row: &[F::Block], tokens: [&[ActivationBlock]; TILE]) -> [f32; TILE]
where
    F: SuperBlock + Operand<Token = ActivationBlock>,
{
    tokens.map(|token| row.iter().zip(token).fold(0.0, add_block::<F>))
}

/// A format with packed rows that activations can be multiplied with.
pub(crate) trait DotQuads: Packed + Dot {
    /// Packs four blocks.
    fn pack(blocks: [&Self::Block; ROWS], quad: &mut Self::Quad);

    /// Multiplies some rows of quads with one token: `[row of quads][row]`.
    fn dot_quads<const N: usize>(
        quads: [&[Self::Quad]; N],
        token: &[Self::Token],
    ) -> [[f32; ROWS]; N];

    /// Unpacks quads.
    fn cross_quads(quads: &[Self::Quad], strip: &mut [Self::Crossed]);
}

macro_rules! dot_quads {
    ($add:ident: $($format:ident),*) => {
        $(impl DotQuads for quant::$format {
            fn pack(blocks: [&Self::Block; ROWS], quad: &mut Self::Quad) {
                *quad = Self::quad(blocks);
            }

            fn dot_quads<const N: usize>(
                quads: [&[Self::Quad]; N],
                token: &[Self::Token],
            ) -> [[f32; ROWS]; N] {
                quads.map(|quads| std::array::from_fn(|row| {
                    let blocks = quads.iter().map(|quad| Self::block(quad, row));
                    let pairs = blocks.zip(token);
                    pairs.fold(0.0, |sum, (block, token)| $add::<Self>(sum, (&block, token)))
                }))
            }

            fn cross_quads(quads: &[Self::Quad], strip: &mut [Self::Crossed]) {
                for (quad, out) in quads.iter().zip(strip) {
                    *out = std::array::from_fn(|row| Self::block(quad, row));
                }
            }
        })*
    };
}
dot_quads!(add_group: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4);
dot_quads!(add_block: Q4_K, Q5_K, Q6_K);

/// `sum` plus the products of a block of one group with a token's activations.
fn add_group<F: Operand<Token = ActivationGroup>>(
    sum: f32,
    (block, token): (&F::Block, &ActivationGroup),
) -> f32 {
    add_one_group::<F>(sum, block, 0, token)
}

/// The same for a block of several groups.
fn add_groups<F>(sum: f32, (block, token): (&F::Block, &F::Token)) -> f32
where
    F: Operand<Token: AsRef<[ActivationGroup]>>,
{
    let groups = token.as_ref().iter().enumerate();
    groups.fold(sum, |sum, (g, token)| {
        add_one_group::<F>(sum, block, g, token)
    })
}

/// `sum` plus the products of group `g` of a block. A format whose halves are summed separately has no zero point and no
/// minima here.
fn add_one_group<F: Format>(sum: f32, block: &F::Block, g: usize, token: &ActivationGroup) -> f32 {
    let Scales { scale, min } = F::scales(block, F::header(block), g);
    let quants = F::quants(block, g);
    if F::HALVES {
        let halves = quants.chunks(GROUP / 2).zip(token.q.chunks(GROUP / 2));
        return halves.zip(scale).fold(sum, |sum, ((weights, q), scale)| {
            sum + products(weights, q) as f32 * (scale * token.d)
        });
    }
    let products = products(&quants, &token.q) - i32::from(F::ZERO) * token.sum;
    let sum = sum + products as f32 * (scale[0] * token.d);
    match F::MIN {
        true => sum + min[0] * (token.d * token.sum as f32),
        false => sum,
    }
}

/// `sum` plus the products of a block of eight groups.
fn add_block<F>(sum: f32, (block, token): (&F::Block, &ActivationBlock)) -> f32
where
    F: SuperBlock + Operand<Token = ActivationBlock>,
{
    let (mut scaled, mut minima) = (0, 0);
    for g in 0..GROUPS {
        let codes = F::codes(block, g);
        let quants = F::quants(block, g);
        for half in 0..2 {
            let weights = &quants[16 * half..][..16];
            let products = products(weights, &token.q[GROUP * g + 16 * half..][..16]);
            let sums = i32::from(token.half_sums[2 * g + half]);
            scaled += i32::from(codes.scale[half]) * (products - i32::from(F::ZERO) * sums);
            minima += i32::from(codes.min[half]) * sums;
        }
    }
    let [d, dmin] = F::header(block);
    let sum = sum + scaled as f32 * (d * token.d);
    match F::MIN {
        true => sum - minima as f32 * (dmin * token.d),
        false => sum,
    }
}

fn products(weights: &[i8], activations: &[i8]) -> i32 {
    let pairs = weights.iter().zip(activations);
    pairs.map(|(w, a)| i32::from(*w) * i32::from(*a)).sum()
}

/// The dot product of vectors of equal length. `simd128` differs by at most `len * 2^-24` of the sum of the magnitudes.
pub(crate) fn dot<E: Load>(x: &[f32], weights: &[E::Raw]) -> f32 {
    x.iter().zip(weights).map(|(x, w)| x * E::to_f32(*w)).sum()
}

/// `out = x / sqrt(mean(x^2) + eps) * weight`. Source: Zhang and Sennrich, 2019. `simd128` has a relative difference of
/// at most `len * 2^-23`.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let squares: f32 = x.iter().map(|x| x * x).sum();
    let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// `gate = gate / (1 + exp(-gate)) * up`. Source: Shazeer, 2020. `simd128` has a relative difference of at most
/// 8 * 2^-23, or differs by at most 1e-36 times `up`.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + (-*gate).exp()) * up;
    }
}

/// `gate = gelu(gate) * up`, with GELU approximated by tanh: `x / (1 + exp(-2z))`, `z = sqrt(2 / pi) * (x + 0.044715 x^3)`.
/// Sources: Hendrycks and Gimpel, 2016; Shazeer, 2020. The result has a relative error of at most
/// `(8 + 4 * |2z|) * 2^-23`, because what is exponentiated is rounded before, or is off by at most 1e-36 times `up`.
pub(crate) fn geglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        *gate = x / (1.0 + (-(GELU * x * (1.0 + CUBE * x * x))).exp()) * up;
    }
}

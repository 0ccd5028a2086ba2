//! One battery for every implementation of the kernels. Expected values are computed in f64, in the order of the formula.

use super::Input;
use super::activations::{ActivationBlock, ActivationGroup, BLOCK, TILE};
use super::lanes::{FourRows, FourTokens, Operand};
use crate::quant::{BF16, Element, F16, F32, Format, GROUP};

/// A small deterministic source of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        self.0 >> 33
    }

    /// From -1 to 1.
    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }

    fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit() * 3.0).collect()
    }
}

fn assert_close(found: f32, expected: f64, bound: f64, what: &str) {
    let error = (f64::from(found) - expected).abs();
    assert!(
        error <= bound,
        "{what}: expected {expected}, found {found}, error {error:e} > {bound:e}"
    );
}

/// Both forms of four rows of activations.
struct Quantized {
    groups: Vec<ActivationGroup>,
    blocks: Vec<ActivationBlock>,
}

impl Quantized {
    fn new(rows: &[Vec<f32>; TILE]) -> Self {
        let len = rows[0].len();
        let mut made = Self {
            groups: vec![ActivationGroup::ZERO; len / GROUP],
            blocks: vec![ActivationBlock::ZERO; len / BLOCK],
        };
        for (t, x) in rows.iter().enumerate() {
            super::scalar::quantize_groups(x, &mut made.groups, t);
            super::scalar::quantize_blocks(x, &mut made.blocks, t);
        }
        made
    }

    fn tiles<F: Operand>(&self) -> &[F::Tile] {
        F::tiles(&Input {
            x: &[],
            groups: &self.groups,
            blocks: &self.blocks,
        })
    }

    /// The numbers that the quants of token `t` stand for, in the form that goes with blocks of `len` weights.
    fn values(&self, len: usize, t: usize) -> Vec<f64> {
        let value = |d: f32, q: &[i8]| -> Vec<f64> {
            q.iter().map(|q| f64::from(d) * f64::from(*q)).collect()
        };
        if len == GROUP {
            let tiles = self.groups.iter();
            tiles
                .flat_map(|tile| value(tile.d[t], &tile.q[t]))
                .collect()
        } else {
            let tiles = self.blocks.iter();
            tiles
                .flat_map(|tile| value(tile.d[t], &tile.q[t]))
                .collect()
        }
    }
}

/// The exact dot product, and the sum of the magnitudes of what is added: the base of the bound.
fn exact_dot<F: Operand>(row: &[F::Block], values: &[f64]) -> (f64, f64) {
    let (mut sum, mut magnitude) = (0.0, 0.0);
    let groups = row
        .iter()
        .flat_map(|block| (0..F::GROUPS).map(move |g| (block, g)));
    for ((block, g), values) in groups.zip(values.as_chunks::<GROUP>().0) {
        let scales = F::scales(block, F::header(block), g);
        for (i, (w, x)) in F::quants(block, g).into_iter().zip(values).enumerate() {
            let (scale, min) = (
                f64::from(scales.scale[i / 16]),
                f64::from(scales.min[i / 16]),
            );
            sum += (scale * (f64::from(w) - f64::from(F::ZERO)) + min) * x;
            let weight = scale.abs() * (f64::from(w).abs() + f64::from(F::ZERO)) + min.abs();
            magnitude += weight * x.abs();
        }
    }
    (sum, magnitude)
}

mod attention;

macro_rules! battery {
    ($name:ident, $implementation:ident) => {
        mod $name {
            use super::super::$implementation as kernels;
            use super::*;

            attention::battery!($implementation);

            fn check_dot<F: kernels::Dot + crate::kernels::scalar::Dot>(bytes: &[u8]) {
                let blocks = F::blocks(bytes);
                for len in [1, 2, 3, 5, blocks.len() / 2] {
                    check_rows::<F>(blocks, len.clamp(1, blocks.len()));
                }
            }

            /// Rows of `len` blocks, which begin at different places of `blocks`.
            fn check_rows<F: kernels::Dot + crate::kernels::scalar::Dot>(
                blocks: &[F::Block],
                len: usize,
            ) {
                let block = F::TYPE.block_len() as usize;
                let rows: [_; TILE] =
                    std::array::from_fn(|i| &blocks[(blocks.len() - len) * i / TILE..][..len]);
                let inputs = std::array::from_fn(|t| Random(t as u64).vector(len * block));
                let input = Quantized::new(&inputs);
                let tiles = input.tiles::<F>();
                let mut found = [[0.0; TILE]; TILE];
                for token in 0..TILE {
                    found[token] = kernels::Dot::dot4(FourRows::<F> { rows, tiles, token });
                }
                for (i, row) in rows.into_iter().enumerate() {
                    let tokens = kernels::Dot::dot4(FourTokens::<F> { row, tiles });
                    for t in 0..TILE {
                        let (expected, magnitude) = exact_dot::<F>(row, &input.values(block, t));
                        let what = format!("{} row {i} of {len}, token {t}", F::TYPE.name());
                        assert_close(tokens[t], expected, 4e-6 * magnitude, &what);
                        assert_eq!(
                            found[t][i].to_bits(),
                            tokens[t].to_bits(),
                            "{what}: four rows and four tokens"
                        );
                    }
                    let specified =
                        crate::kernels::scalar::Dot::dot4(FourTokens::<F> { row, tiles });
                    assert_eq!(
                        tokens.map(f32::to_bits),
                        specified.map(f32::to_bits),
                        "{}: as specified",
                        F::TYPE.name()
                    );
                }
            }

            #[test]
            fn dot_of_blocks_is_exact_within_its_bound() {
                macro_rules! check {
                    ($format:ident) => {
                        check_dot::<crate::quant::$format>(include_bytes!(concat!(
                            "../quant/testdata/",
                            stringify!($format),
                            ".bin"
                        )))
                    };
                }
                check!(Q4_0);
                check!(Q4_1);
                check!(Q5_0);
                check!(Q5_1);
                check!(Q8_0);
                check!(Q2_K);
                check!(Q3_K);
                check!(Q4_K);
                check!(Q5_K);
                check!(Q6_K);
                check!(IQ4_NL);
                check!(IQ4_XS);
            }

            /// Packed rows of different lengths: the bits of the specification of unpacked ones.
            fn check_packed<F: kernels::DotQuads + crate::kernels::scalar::Dot>(
                blocks: &[F::Block],
            ) {
                for len in [1, 2, 3, blocks.len() / 2] {
                    let len = len.clamp(1, blocks.len());
                    let row = |r: usize| &blocks[(blocks.len() - len) * (r % 5) / 4..][..len];
                    let quads: [Vec<F::Quad>; 3] = std::array::from_fn(|i| {
                        let quad = |c| F::quad(std::array::from_fn(|r| &row(i + r)[c]));
                        (0..len).map(quad).collect()
                    });
                    let inputs = std::array::from_fn(|t| {
                        Random(t as u64).vector(len * F::TYPE.block_len() as usize)
                    });
                    let input = Quantized::new(&inputs);
                    let tiles = input.tiles::<F>();
                    for token in 0..TILE {
                        let each = quads.each_ref().map(Vec::as_slice);
                        let found: [[f32; 4]; 3] = F::dot_token(each, tiles, token);
                        for (i, found) in found.into_iter().enumerate() {
                            let rows = std::array::from_fn(|r| row(i + r));
                            let lanes = FourRows::<F> { rows, tiles, token };
                            let specified = crate::kernels::scalar::Dot::dot4(lanes);
                            let what = format!("{} of {len}, token {token}", F::PACKED.name());
                            assert_eq!(
                                found.map(f32::to_bits),
                                specified.map(f32::to_bits),
                                "{what}"
                            );
                            let tokens = F::dot_tokens(&quads[i], tiles)[token];
                            assert_eq!(
                                tokens.map(f32::to_bits),
                                specified.map(f32::to_bits),
                                "{what}"
                            );
                        }
                    }
                }
            }

            /// The most extreme weights and codes, with a scale of 1.
            fn check_extremes<F: kernels::DotQuads + crate::kernels::scalar::Dot>() {
                let size = F::TYPE.block_bytes() as usize;
                for fill in [0x00u8, 0x7f, 0x80, 0xff] {
                    let mut block = vec![fill; size];
                    block[..2].copy_from_slice(&[0x00, 0x3c]);
                    check_packed::<F>(F::blocks(&block.repeat(2)));
                }
            }

            #[test]
            fn packed_rows_give_the_bits_of_unpacked_ones() {
                macro_rules! check {
                    ($format:ident) => {
                        check_packed::<crate::quant::$format>(crate::quant::$format::blocks(
                            include_bytes!(concat!(
                                "../quant/testdata/",
                                stringify!($format),
                                ".bin"
                            )),
                        ));
                        check_extremes::<crate::quant::$format>()
                    };
                }
                check!(Q4_0);
                check!(Q8_0);
            }

            #[test]
            fn dot_of_saturated_blocks_does_not_overflow() {
                fn check<F: kernels::Dot>(block: &F::Block, inputs: &[Vec<f32>; TILE]) {
                    let input = Quantized::new(inputs);
                    let lanes = FourTokens::<F> {
                        row: std::slice::from_ref(block),
                        tiles: &input.tiles::<F>()[..1],
                    };
                    for (t, found) in kernels::Dot::dot4(lanes).into_iter().enumerate() {
                        let values = input.values(F::TYPE.block_len() as usize, t);
                        let (expected, magnitude) = exact_dot::<F>(lanes.row, &values);
                        assert_close(found, expected, 4e-6 * magnitude, F::TYPE.name());
                    }
                }
                let wave = |period: usize| -> Vec<f32> {
                    let sign = |i: usize| if i % period < period / 2 { 1.0 } else { -1.0 };
                    (0..BLOCK).map(sign).collect()
                };
                let inputs = [vec![1.0; BLOCK], vec![-1.0; BLOCK], wave(4), wave(2)];
                // A scale of 1 and the most extreme quants and codes of either sign.
                for fill in [0x00, 0x80, 0xff, 0x7f] {
                    let one = [0x00, 0x3c];
                    let mut block = [fill; 34];
                    block[..2].copy_from_slice(&one);
                    check::<crate::quant::Q8_0>(&block, &inputs);
                    let mut block = [fill; 22];
                    block[..2].copy_from_slice(&one);
                    check::<crate::quant::Q5_0>(&block, &inputs);
                    for code in [127, 128] {
                        let mut block = [fill; 210];
                        block[192..208].fill(code);
                        block[208..].copy_from_slice(&one);
                        check::<crate::quant::Q6_K>(&block, &inputs);
                    }
                    let mut block = [fill; 176];
                    block[..4].copy_from_slice(&[0x00, 0x3c, 0x00, 0x3c]);
                    check::<crate::quant::Q5_K>(&block, &inputs);
                    let mut block = [fill; 136];
                    block[..2].copy_from_slice(&one);
                    check::<crate::quant::IQ4_XS>(&block, &inputs);
                }
            }

            #[test]
            fn scales_of_every_kind_are_exact() {
                // Zero, subnormal, the least normal, the greatest, and negative ones.
                for bits in [
                    0u16, 1, 0x3ff, 0x400, 0x3c00, 0x7bff, 0x8000, 0x8001, 0xfbff,
                ] {
                    let mut block = [1; 18];
                    block[..2].copy_from_slice(&bits.to_le_bytes());
                    let input = Quantized::new(&std::array::from_fn(|_| vec![1.0; BLOCK]));
                    let lanes = FourRows::<crate::quant::Q4_0> {
                        rows: [std::slice::from_ref(&block); TILE],
                        tiles: &input.groups[..1],
                        token: 2,
                    };
                    let found = kernels::Dot::dot4(lanes);
                    let specified = crate::kernels::scalar::Dot::dot4(lanes);
                    assert_eq!(
                        found.map(f32::to_bits),
                        specified.map(f32::to_bits),
                        "{bits:#x}"
                    );
                }
            }

            fn check_floats<E: kernels::Load>(name: &str) {
                for len in 0..=67 {
                    let mut random = Random(len as u64);
                    let x = random.vector(len);
                    let raws: Vec<_> = random.vector(len).into_iter().map(E::from_f32).collect();
                    let pairs = || x.iter().zip(&raws).map(|(x, w)| (*x, E::to_f32(*w)));
                    let expected = pairs().map(|(x, w)| f64::from(x) * f64::from(w)).sum();
                    let magnitude: f64 = pairs().map(|(x, w)| f64::from((x * w).abs())).sum();
                    let bound = len as f64 / 16_777_216.0 * magnitude;
                    let what = format!("{name} of {len}");
                    assert_close(kernels::dot::<E>(&x, &raws), expected, bound, &what);
                }
            }

            #[test]
            fn dot_of_floats() {
                check_floats::<F32>("F32");
                check_floats::<F16>("F16");
                check_floats::<BF16>("BF16");
            }

            #[test]
            fn infinities_and_nans_of_f16_pass_through() {
                for bits in [0x7c00u16, 0xfc00, 0x7e00] {
                    let weights = [bits.to_le_bytes(); 5];
                    let found = kernels::dot::<F16>(&[1.0; 5], &weights);
                    let expected = F16::to_f32(weights[0]);
                    assert!(
                        found == expected || found.is_nan() && expected.is_nan(),
                        "{bits:#x}"
                    );
                }
            }

            /// Both forms of one row, as the kernels at hand make them and as they are specified.
            fn quantize(x: &[f32], token: usize) -> [Quantized; 2] {
                let empty = || Quantized {
                    groups: vec![ActivationGroup::ZERO; x.len() / GROUP],
                    blocks: vec![ActivationBlock::ZERO; x.len() / BLOCK],
                };
                let (mut found, mut specified) = (empty(), empty());
                kernels::quantize_groups(x, &mut found.groups, token);
                kernels::quantize_blocks(x, &mut found.blocks, token);
                crate::kernels::scalar::quantize_groups(x, &mut specified.groups, token);
                crate::kernels::scalar::quantize_blocks(x, &mut specified.blocks, token);
                [found, specified]
            }

            #[test]
            fn quantize_gives_the_same_bits_as_the_specification() {
                let mut random = Random(1);
                let mut inputs: Vec<Vec<f32>> = (0..50).map(|_| random.vector(2 * BLOCK)).collect();
                inputs.push(vec![0.0; BLOCK]);
                inputs.push(vec![-1e-42; BLOCK]);
                inputs.push(vec![f32::MAX; BLOCK]);
                inputs.push((0..BLOCK).map(|i| i as f32 - 127.5).collect());
                for (i, x) in inputs.iter().enumerate() {
                    let [found, specified] = quantize(x, i % TILE);
                    assert_eq!(found.groups, specified.groups);
                    assert_eq!(found.blocks, specified.blocks);
                }
            }

            #[test]
            fn quantize_survives_what_is_not_finite() {
                for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = vec![1.0; BLOCK];
                    x[7] = special;
                    let [found, specified] = quantize(&x, 0);
                    assert_eq!(found.groups[0].q, specified.groups[0].q);
                    assert_eq!(found.blocks[0].q, specified.blocks[0].q);
                }
            }

            #[test]
            fn quantized_activations_are_within_half_a_step() {
                let x = Random(3).vector(BLOCK);
                let [found, _] = quantize(&x, 1);
                for (len, steps) in [(GROUP, &found.groups[0].d), (BLOCK, &found.blocks[0].d)] {
                    for (x, value) in x.iter().zip(found.values(len, 1)).take(GROUP) {
                        let error = (f64::from(*x) - value).abs();
                        assert!(error <= 0.5001 * f64::from(steps[1]), "{x} became {value}");
                    }
                }
            }

            #[test]
            fn rms_norm_is_exact_within_its_bound() {
                for len in 1..=67 {
                    let mut random = Random(len as u64);
                    let (x, weight) = (random.vector(len), random.vector(len));
                    let mut out = vec![0.0; len];
                    kernels::rms_norm(&x, &weight, 1e-5, &mut out);
                    let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / len as f64;
                    for i in 0..len {
                        let expected =
                            f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(weight[i]);
                        let bound = (len + 3) as f64 / 8_388_608.0 * expected.abs();
                        assert_close(out[i], expected, bound, &format!("{i} of {len}"));
                    }
                }
            }

            #[test]
            fn swiglu_is_exact_within_its_bound() {
                for len in 0..=67 {
                    let mut random = Random(len as u64);
                    let (mut gate, up) = (random.vector(len), random.vector(len));
                    gate.iter_mut().step_by(3).for_each(|g| *g *= 25.0);
                    let expected: Vec<f64> = gate
                        .iter()
                        .zip(&up)
                        .map(|(g, u)| {
                            f64::from(*g) / (1.0 + (-f64::from(*g)).exp()) * f64::from(*u)
                        })
                        .collect();
                    kernels::swiglu(&mut gate, &up);
                    for i in 0..len {
                        let bound =
                            8.0 / 8_388_608.0 * expected[i].abs() + 1e-36 * f64::from(up[i].abs());
                        assert_close(gate[i], expected[i], bound, &format!("{i} of {len}"));
                    }
                }
            }
        }
    };
}

battery!(scalar, scalar);
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
battery!(simd128, simd128);

//! One battery for every implementation of the kernels. Expected values are computed in f64, in the order of the formula.

use super::ActivationQuad;
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

fn activations(x: &[f32]) -> Vec<ActivationQuad> {
    let mut quads = vec![ActivationQuad::ZERO; ActivationQuad::per_row(x.len())];
    super::scalar::quantize(x, &mut quads);
    quads
}

/// The exact dot product, and the sum of the magnitudes of what is added: the base of the bound.
fn exact_dot<F: Format>(row: &[F::Block], activations: &[ActivationQuad]) -> (f64, f64) {
    let (mut sum, mut magnitude) = (0.0, 0.0);
    let groups = row
        .iter()
        .flat_map(|block| (0..F::GROUPS).map(move |g| (block, g)));
    let inputs = activations
        .iter()
        .flat_map(|quad| quad.d.iter().zip(&quad.q));
    for ((block, g), (d, q)) in groups.zip(inputs) {
        let scales = F::scales(block, F::header(block), g);
        for (i, (w, q)) in F::quants(block, g).into_iter().zip(q).enumerate() {
            let (scale, min) = (
                f64::from(scales.scale[i / 16]),
                f64::from(scales.min[i / 16]),
            );
            let x = f64::from(*d) * f64::from(*q);
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

            fn check_dot<F: kernels::Unpack>(bytes: &[u8]) {
                let blocks = F::blocks(bytes);
                // Rows that end within a quad, too.
                for len in [1, 2, 3, 5, blocks.len()] {
                    check_row::<F>(&blocks[..len.min(blocks.len())]);
                }
            }

            fn check_row<F: kernels::Unpack>(row: &[F::Block]) {
                let groups = row.len() * F::GROUPS;
                let inputs: [_; 4] =
                    std::array::from_fn(|t| activations(&Random(t as u64).vector(groups * GROUP)));
                let tile = kernels::dot_blocks::<F, 4>(row, inputs.each_ref().map(|i| &i[..]));
                for (t, input) in inputs.iter().enumerate() {
                    let (expected, magnitude) = exact_dot::<F>(row, input);
                    let what = format!("{} token {t}", F::TYPE.name());
                    assert_close(tile[t], expected, 4e-6 * magnitude, &what);
                    let [alone] = kernels::dot_blocks::<F, 1>(row, [input]);
                    assert_eq!(
                        alone.to_bits(),
                        tile[t].to_bits(),
                        "{what}: alone and in a tile"
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

            #[test]
            fn dot_of_saturated_blocks_does_not_overflow() {
                let x: Vec<f32> = (0..GROUP)
                    .map(|i| if i % 4 < 2 { 1.0 } else { -1.0 })
                    .collect();
                for x in [x, vec![1.0; GROUP], vec![-1.0; GROUP]] {
                    let input = activations(&x);
                    // A scale of 1 and the most extreme quants of either sign.
                    for fill in [0x00, 0x80, 0xff, 0x7f] {
                        let mut block = [fill; 34];
                        block[..2].copy_from_slice(&[0x00, 0x3c]);
                        let (expected, magnitude) =
                            exact_dot::<crate::quant::Q8_0>(&[block], &input);
                        let [found] =
                            kernels::dot_blocks::<crate::quant::Q8_0, 1>(&[block], [&input]);
                        assert_close(found, expected, 4e-6 * magnitude, "Q8_0");
                        let mut block = [fill; 22];
                        block[..2].copy_from_slice(&[0x00, 0x3c]);
                        let (expected, magnitude) =
                            exact_dot::<crate::quant::Q5_0>(&[block], &input);
                        let [found] =
                            kernels::dot_blocks::<crate::quant::Q5_0, 1>(&[block], [&input]);
                        assert_close(found, expected, 4e-6 * magnitude, "Q5_0");
                        let mut block = [fill; 210];
                        block[192..208].fill(127);
                        block[208..].copy_from_slice(&[0x00, 0x3c]);
                        let input = input.repeat(8);
                        let (expected, magnitude) =
                            exact_dot::<crate::quant::Q6_K>(&[block], &input);
                        let [found] =
                            kernels::dot_blocks::<crate::quant::Q6_K, 1>(&[block], [&input]);
                        assert_close(found, expected, 4e-6 * magnitude, "Q6_K");
                    }
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

            #[test]
            fn quantize_gives_the_same_bits_as_the_specification() {
                let mut random = Random(1);
                let mut inputs: Vec<Vec<f32>> = (0..50).map(|_| random.vector(3 * GROUP)).collect();
                inputs.push(vec![0.0; GROUP]);
                inputs.push(vec![-1e-42; GROUP]);
                inputs.push(vec![f32::MAX; GROUP]);
                inputs.push((0..GROUP).map(|i| i as f32 - 15.5).collect());
                for x in &mut inputs {
                    let mut found = vec![ActivationQuad::ZERO; ActivationQuad::per_row(x.len())];
                    kernels::quantize(x, &mut found);
                    assert_eq!(found, activations(x));
                }
            }

            #[test]
            fn quantize_survives_what_is_not_finite() {
                for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = vec![1.0; GROUP];
                    x[7] = special;
                    let mut found = [ActivationQuad::ZERO];
                    kernels::quantize(&x, &mut found);
                    assert_eq!(found[0].q, activations(&x)[0].q);
                }
            }

            #[test]
            fn quantized_activations_are_within_half_a_step() {
                let x = Random(3).vector(GROUP);
                let mut blocks = [ActivationQuad::ZERO];
                kernels::quantize(&x, &mut blocks);
                for (x, q) in x.iter().zip(blocks[0].q[0]) {
                    let error = (x - blocks[0].d[0] * f32::from(q)).abs();
                    assert!(error <= 0.5001 * blocks[0].d[0], "{x} became {q}");
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

//! One test suite for every implementation of the kernels. Expected values are computed in f64, in the order of the
//! formula.

use super::activations::{ActivationBlock, ActivationGroup, Activations, BLOCK};
use super::operand::Operand;
use super::tiles::{TILE, Tile, strip_cols};
use super::{Rows, matmul, pack};
use crate::gguf::TensorType;
use crate::quant::{self, Element, F16, Format, GROUP, ROWS, each_element, each_format};

/// A small deterministic random number generator.
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

/// The numbers that a token's quants stand for.
trait Values {
    fn values(&self) -> Vec<f64>;
}

impl Values for ActivationGroup {
    fn values(&self) -> Vec<f64> {
        self.q.map(|q| f64::from(self.d) * f64::from(q)).to_vec()
    }
}

impl<const N: usize> Values for [ActivationGroup; N] {
    fn values(&self) -> Vec<f64> {
        self.iter().flat_map(Values::values).collect()
    }
}

impl Values for ActivationBlock {
    fn values(&self) -> Vec<f64> {
        self.q.map(|q| f64::from(self.d) * f64::from(q)).to_vec()
    }
}

/// Rows of activations in the form that format `F` reads: per token, and in tiles.
fn quantized<F: Operand>(rows: &[Vec<f32>]) -> (Vec<Vec<F::Token>>, Vec<F::Tile>)
where
    F::Token: Clone,
{
    let cols = rows[0].len();
    let mut activations = Activations::default();
    let x = rows.concat();
    let input = activations.quantize(&x, cols, [F::TYPE].into_iter());
    let per_row = cols / F::TYPE.block_len() as usize;
    let tokens = F::tokens(&input).chunks(per_row).map(<[_]>::to_vec);
    (tokens.collect(), F::tiles(&input).to_vec())
}

/// The exact dot product, and the sum of the magnitudes of its terms, which the error bound is based on.
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

/// Tiles contain what was put into them, in all forms and for any number of tokens that uses tiles.
#[test]
fn tiles_hold_their_tokens() {
    let types = [
        TensorType::Q4_0,
        TensorType::Q8_0,
        TensorType::Q4_K,
        TensorType::IQ4_XS,
    ];
    let mut activations = Activations::default();
    for tokens in TILE..=2 * TILE {
        let x = Random(tokens as u64).vector(tokens * 2 * BLOCK);
        let input = activations.quantize(&x, 2 * BLOCK, types.into_iter());
        for t in 0..tokens {
            let (tile, at) = (t / TILE, t % TILE);
            for c in 0..2 * BLOCK / GROUP {
                let i = tile * 2 * BLOCK / GROUP + c;
                let token = input.groups.each[t * 2 * BLOCK / GROUP + c];
                assert_eq!(input.groups.wide[i].token(at), token);
                if let Some(tile) = input.groups.narrow.get(i) {
                    assert_eq!(tile.token(at), token);
                }
            }
            for c in 0..2 {
                let token = input.blocks.each[t * 2 + c];
                assert_eq!(input.blocks.wide[tile * 2 + c].token(at), token);
                if let Some(tile) = input.blocks.narrow.get(tile * 2 + c) {
                    assert_eq!(tile.token(at), token);
                }
            }
        }
    }
}

/// Each element of a product has the same bits for any number of tokens and rows: with partial panels, strips and
/// tiles, and with more tiles than are multiplied at a time.
#[test]
fn products_do_not_depend_on_what_is_computed_with_them() {
    let cols = 3 * BLOCK;
    macro_rules! sample {
        ($ty:ident) => {
            (
                TensorType::$ty,
                &include_bytes!(concat!("../quant/testdata/", stringify!($ty), ".bin"))[..],
            )
        };
    }
    for (ty, sample) in [
        sample!(Q4_0),
        sample!(Q8_0),
        sample!(MXFP4),
        sample!(Q1_0),
        sample!(Q2_0),
        sample!(NVFP4),
        sample!(Q4_K),
        sample!(Q6_K),
        sample!(IQ2_S),
        sample!(TQ1_0),
        sample!(BF16),
        (TensorType::I8, &[1, 2, 0xfd][..]),
    ] {
        let size = (ty.block_bytes() as usize) * cols / ty.block_len() as usize;
        let n_rows = 37;
        let bytes: Vec<u8> = sample.iter().copied().cycle().take(n_rows * size).collect();
        check_product(ty, n_rows, &bytes);
        if let Some(packed) = quant::packed_type(ty) {
            let mut quads = vec![0; bytes.len()];
            assert!(pack(packed, cols, &bytes, &mut quads));
            check_product(packed, n_rows, &quads);
        }
    }
}

fn check_product(ty: TensorType, n_rows: usize, bytes: &[u8]) {
    let cols = 3 * BLOCK;
    let rows = Rows { ty, cols, bytes };
    let x = Random(7).vector(70 * cols);
    let mut activations = Activations::default();
    let mut multiply = |x: &[f32]| {
        let mut out = vec![f32::NAN; x.len() / cols * n_rows];
        matmul(
            rows,
            activations.quantize(x, cols, [ty].into_iter()),
            &mut out,
        );
        out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let alone: Vec<u32> = x.chunks_exact(cols).flat_map(&mut multiply).collect();
    for tokens in [2, 3, 4, 5, 6, 7, 8, 64, 65, 70] {
        let together = multiply(&x[..tokens * cols]);
        assert_eq!(
            together,
            alone[..tokens * n_rows],
            "{}, {tokens}",
            ty.name()
        );
    }
    // Some of the rows.
    let size = bytes.len() / n_rows;
    let rows = Rows {
        bytes: &bytes[4 * size..8 * size],
        ..rows
    };
    let input = activations.quantize(&x[..5 * cols], cols, [ty].into_iter());
    let mut out = [0.0; 5 * 4];
    matmul(rows, input, &mut out);
    for (t, out) in out.chunks_exact(4).enumerate() {
        let all = &alone[t * n_rows..][4..8];
        assert_eq!(out.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), all);
    }
}

mod attention;

macro_rules! battery {
    ($name:ident, $implementation:ident) => {
        mod $name {
            use super::super::$implementation as kernels;
            use super::*;

            attention::battery!($implementation);

            fn check_dot<F>(bytes: &[u8])
            where
                F: kernels::Dot + crate::kernels::scalar::Dot,
                F::Token: Values + Clone,
            {
                let blocks = F::blocks(bytes);
                for len in [1, 2, 3, 5, blocks.len() / 2] {
                    let len = len.clamp(1, blocks.len());
                    let tokens: [_; TILE] = std::array::from_fn(|t| {
                        Random(t as u64).vector(len * F::TYPE.block_len() as usize)
                    });
                    // Rows that start at different positions.
                    let row = |r| &blocks[(blocks.len() - len) * r / ROWS..][..len];
                    check_rows::<F>(std::array::from_fn(row), &tokens);
                }
            }

            /// Four rows with four tokens: the results are within the bound of the exact products, and bit-identical in
            /// all kernels.
            fn check_rows<F>(rows: [&[F::Block]; ROWS], tokens: &[Vec<f32>; TILE])
            where
                F: kernels::Dot + crate::kernels::scalar::Dot,
                F::Token: Values + Clone,
            {
                let (each, tiles) = quantized::<F>(tokens);
                let tiled = multiply_tile::<F>(&tiles, |columns, strip| {
                    <F as kernels::Dot>::cross(rows.map(|row| &row[columns.clone()]), strip);
                });
                for (t, token) in each.iter().enumerate() {
                    let values: Vec<f64> = token.iter().flat_map(Values::values).collect();
                    let found = <F as kernels::Dot>::dot_rows(rows, token);
                    let specified = <F as crate::kernels::scalar::Dot>::dot_rows(rows, token);
                    for (r, row) in rows.into_iter().enumerate() {
                        let (expected, magnitude) = exact_dot::<F>(row, &values);
                        let name = F::TYPE.name();
                        let what = format!("{name} row {r} of {}, token {t}", row.len());
                        assert_close(found[r], expected, 4e-6 * magnitude, &what);
                        assert_eq!(found[r].to_bits(), specified[r].to_bits(), "{what}");
                        for tokens in t + 1..=TILE {
                            let in_tile = tiled[tokens - 1][t][r];
                            let what = format!("{what} of {tokens} in a tile");
                            assert_eq!(in_tile.to_bits(), specified[r].to_bits(), "{what}");
                        }
                    }
                }
            }

            /// One tile with four rows, unpacked in strips as in real use: for one to four tokens of the tile,
            /// `[tokens - 1][token][row]`.
            fn multiply_tile<F: kernels::Dot>(
                tiles: &[F::Tile],
                cross: impl Fn(std::ops::Range<usize>, &mut [F::Crossed]),
            ) -> [[[f32; ROWS]; TILE]; TILE] {
                let len = strip_cols(F::Tile::NARROW) / F::TYPE.block_len() as usize;
                let mut sums = [[[0.0; ROWS]; TILE]; TILE];
                for start in (0..tiles.len()).step_by(len) {
                    let columns = start..tiles.len().min(start + len);
                    let mut strip = F::EMPTY_STRIP;
                    let strip = &mut strip.as_mut()[..columns.len()];
                    cross(columns.clone(), strip);
                    for (i, sums) in sums.iter_mut().enumerate() {
                        F::add_products(strip, &tiles[columns.clone()], i + 1, sums);
                    }
                }
                sums
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
                each_format!(check);
            }

            /// Of one block of any bytes in each of four rows, all kernels make the same bits, or none makes a number.
            fn check_any<F>()
            where
                F: kernels::Dot + crate::kernels::scalar::Dot,
                F::Token: Clone,
            {
                let size = F::TYPE.block_bytes() as usize;
                let same = |found: f32, expected: f32| {
                    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
                };
                for seed in 0..64 {
                    let mut random = Random(seed);
                    let bytes: Vec<u8> = (0..ROWS * size).map(|_| random.next() as u8).collect();
                    let blocks = F::blocks(&bytes);
                    let rows: [&[F::Block]; ROWS] = std::array::from_fn(|r| &blocks[r..][..1]);
                    let tokens: [_; TILE] =
                        std::array::from_fn(|_| random.vector(F::TYPE.block_len() as usize));
                    let (each, tiles) = quantized::<F>(&tokens);
                    let tiled = multiply_tile::<F>(&tiles, |_, strip| {
                        <F as kernels::Dot>::cross(rows, strip);
                    });
                    for (t, token) in each.iter().enumerate() {
                        let found = <F as kernels::Dot>::dot_rows(rows, token);
                        let specified = <F as crate::kernels::scalar::Dot>::dot_rows(rows, token);
                        for r in 0..ROWS {
                            let what = format!("{} {seed}, row {r}, token {t}", F::TYPE.name());
                            assert!(same(found[r], specified[r]), "{what}");
                            assert!(
                                same(tiled[TILE - 1][t][r], specified[r]),
                                "{what} in a tile"
                            );
                        }
                    }
                }
            }

            #[test]
            fn any_bytes_are_multiplied_alike() {
                macro_rules! check {
                    ($format:ident) => {
                        check_any::<crate::quant::$format>()
                    };
                }
                each_format!(check);
            }

            #[test]
            fn four_tokens_together_give_the_bits_of_each() {
                macro_rules! check {
                    ($format:ident) => {{
                        type F = crate::quant::$format;
                        let row = F::blocks(include_bytes!(concat!(
                            "../quant/testdata/",
                            stringify!($format),
                            ".bin"
                        )));
                        let inputs: [_; TILE] =
                            std::array::from_fn(|t| Random(t as u64).vector(row.len() * BLOCK));
                        let (each, _) = quantized::<F>(&inputs);
                        let tokens = std::array::from_fn(|t| each[t].as_slice());
                        let together = kernels::dot_tokens::<F>(row, tokens);
                        for (found, token) in together.into_iter().zip(tokens) {
                            let [alone, ..] =
                                <F as crate::kernels::scalar::Dot>::dot_rows([row; ROWS], token);
                            assert_eq!(found.to_bits(), alone.to_bits(), stringify!($format));
                        }
                    }};
                }
                check!(Q2_K);
                check!(Q3_K);
                check!(Q4_K);
                check!(Q5_K);
                check!(Q6_K);
                check!(IQ4_XS);
                check!(IQ3_S);
                check!(IQ3_XXS);
                check!(IQ2_S);
                check!(IQ2_XS);
                check!(IQ2_XXS);
                check!(IQ1_M);
                check!(IQ1_S);
                check!(TQ2_0);
                check!(TQ1_0);
            }

            /// Packed rows of different lengths have the same bits as the specification for unpacked rows.
            fn check_packed<F>(blocks: &[F::Block])
            where
                F: kernels::DotQuads + crate::kernels::scalar::Dot,
                F::Token: Clone,
            {
                for len in [1, 2, 3, blocks.len() / 2] {
                    let len = len.clamp(1, blocks.len());
                    let row = |r: usize| &blocks[(blocks.len() - len) * (r % 5) / 4..][..len];
                    let quads: [Vec<F::Quad>; 3] = std::array::from_fn(|i| {
                        let quad = |c| {
                            let blocks = std::array::from_fn(|r| &row(i + r)[c]);
                            let mut quad = F::EMPTY_QUAD;
                            F::pack(blocks, &mut quad);
                            assert!(quad.as_ref() == F::quad(blocks).as_ref());
                            quad
                        };
                        (0..len).map(quad).collect()
                    });
                    // The first two are quantised to the largest numbers, of both signs.
                    let inputs: [_; TILE] = std::array::from_fn(|t| {
                        let cols = len * F::TYPE.block_len() as usize;
                        match t {
                            0 => vec![1.0; cols],
                            1 => vec![-1.0; cols],
                            _ => Random(t as u64).vector(cols),
                        }
                    });
                    let (each, tiles) = quantized::<F>(&inputs);
                    let tiled = quads.each_ref().map(|quads| {
                        multiply_tile::<F>(&tiles, |columns, strip| {
                            F::cross_quads(&quads[columns], strip);
                        })
                    });
                    for (t, token) in each.iter().enumerate() {
                        let slices = quads.each_ref().map(Vec::as_slice);
                        let found: [[f32; ROWS]; 3] = F::dot_quads(slices, token);
                        for (i, found) in found.into_iter().enumerate() {
                            let rows = std::array::from_fn(|r| row(i + r));
                            let specified =
                                <F as crate::kernels::scalar::Dot>::dot_rows(rows, token);
                            let specified = specified.map(f32::to_bits);
                            let what = format!("{} of {len}, token {t}", F::PACKED.name());
                            assert_eq!(found.map(f32::to_bits), specified, "{what}");
                            let in_tile = tiled[i][TILE - 1][t].map(f32::to_bits);
                            assert_eq!(in_tile, specified, "{what} in a tile");
                        }
                    }
                }
            }

            /// The most extreme weights and codes, with scales of 1 at bytes `numbers`.
            fn check_extremes<F>(numbers: &[usize])
            where
                F: kernels::DotQuads + crate::kernels::scalar::Dot,
                F::Token: Clone,
            {
                let size = F::TYPE.block_bytes() as usize;
                for fill in [0x00u8, 0x7f, 0x80, 0xff] {
                    let mut block = vec![fill; size];
                    for &at in numbers {
                        block[at..][..2].copy_from_slice(&[0x00, 0x3c]);
                    }
                    check_packed::<F>(F::blocks(&block.repeat(2)));
                }
            }

            #[test]
            fn packed_rows_give_the_bits_of_unpacked_ones() {
                macro_rules! check {
                    ($format:ident, $numbers:expr) => {
                        check_packed::<crate::quant::$format>(crate::quant::$format::blocks(
                            include_bytes!(concat!(
                                "../quant/testdata/",
                                stringify!($format),
                                ".bin"
                            )),
                        ));
                        check_extremes::<crate::quant::$format>(&$numbers)
                    };
                }
                check!(Q4_0, [0]);
                check!(Q4_1, [0, 2]);
                check!(Q5_0, [0]);
                check!(Q5_1, [0, 2]);
                check!(Q8_0, [0]);
                check!(MXFP4, []);
                check!(Q4_K, [0, 2]);
                check!(Q5_K, [0, 2]);
                check!(Q6_K, [208]);
            }

            #[test]
            fn dot_of_saturated_blocks_does_not_overflow() {
                fn check<F>(block: &F::Block, inputs: &[Vec<f32>; TILE])
                where
                    F: kernels::Dot + crate::kernels::scalar::Dot,
                    F::Token: Values + Clone,
                {
                    let row = vec![*block; BLOCK / F::TYPE.block_len() as usize];
                    check_rows::<F>([row.as_slice(); ROWS], inputs);
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
                    let mut block = [fill; 98];
                    block[..2].copy_from_slice(&one);
                    check::<crate::quant::IQ3_XXS>(&block, &inputs);
                    let mut block = [fill; 82];
                    block[..2].copy_from_slice(&one);
                    check::<crate::quant::IQ2_S>(&block, &inputs);
                    let mut block = [fill; 17];
                    block[0] = 127;
                    check::<crate::quant::MXFP4>(&block, &inputs);
                    check::<crate::quant::NVFP4>(&[fill; 36], &inputs);
                }
            }

            #[test]
            fn scales_of_every_kind_are_exact() {
                // Zero, subnormal, the smallest normal, the largest, and negative ones.
                for bits in [
                    0u16, 1, 0x3ff, 0x400, 0x3c00, 0x7bff, 0x8000, 0x8001, 0xfbff,
                ] {
                    let mut block = [1; 18];
                    block[..2].copy_from_slice(&bits.to_le_bytes());
                    let rows = [vec![block; BLOCK / GROUP].leak() as &[_]; ROWS];
                    check_rows::<crate::quant::Q4_0>(
                        rows,
                        &std::array::from_fn(|_| vec![1.0; BLOCK]),
                    );
                }
            }

            fn check_numbers<E: kernels::Load>(name: &str) {
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
            fn dot_of_numbers() {
                macro_rules! check {
                    ($element:ident) => {
                        check_numbers::<crate::quant::$element>(stringify!($element))
                    };
                }
                each_element!(check);
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

            /// Both forms of one row, from the kernels under test and from the specification.
            fn quantize(x: &[f32]) -> [(Vec<ActivationGroup>, Vec<ActivationBlock>); 2] {
                let (mut found, mut specified) = ((vec![], vec![]), (vec![], vec![]));
                kernels::quantize_groups(x, &mut found.0);
                kernels::quantize_blocks(x, &mut found.1);
                crate::kernels::scalar::quantize_groups(x, &mut specified.0);
                crate::kernels::scalar::quantize_blocks(x, &mut specified.1);
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
                for x in &inputs {
                    let [found, specified] = quantize(x);
                    assert_eq!(found, specified);
                    assert_eq!(found.0.len(), x.len() / GROUP);
                }
            }

            #[test]
            fn quantize_survives_what_is_not_finite() {
                for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = vec![1.0; BLOCK];
                    x[7] = special;
                    let [(groups, blocks), specified] = quantize(&x);
                    assert_eq!(groups[0].q, specified.0[0].q);
                    assert_eq!(blocks[0].q, specified.1[0].q);
                }
            }

            #[test]
            fn quantized_activations_are_within_half_a_step() {
                let x = Random(3).vector(BLOCK);
                let [(groups, blocks), _] = quantize(&x);
                let forms = [
                    (groups[0].d, groups[0].values()),
                    (blocks[0].d, blocks[0].values()),
                ];
                for (d, values) in forms {
                    for (x, value) in x.iter().zip(values) {
                        let error = (f64::from(*x) - value).abs();
                        assert!(error <= 0.5001 * f64::from(d), "{x} became {value}");
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
            fn geglu_is_exact_within_its_bound() {
                for len in 0..=67 {
                    let mut random = Random(len as u64);
                    let (mut gate, up) = (random.vector(len), random.vector(len));
                    gate.iter_mut().step_by(3).for_each(|g| *g *= 8.0);
                    let twice_z =
                        |x: f64| (8.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                    let before: Vec<f64> = gate.iter().map(|g| f64::from(*g)).collect();
                    kernels::geglu(&mut gate, &up);
                    for i in 0..len {
                        let (x, up) = (before[i], f64::from(up[i]));
                        let expected = x / (1.0 + (-twice_z(x)).exp()) * up;
                        let relative = (8.0 + 4.0 * twice_z(x).abs()) / 8_388_608.0;
                        let bound = relative * expected.abs() + 1e-36 * up.abs();
                        assert_close(gate[i], expected, bound, &format!("{i} of {len}"));
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

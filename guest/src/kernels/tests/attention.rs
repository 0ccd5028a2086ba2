//! The test suite for the attention kernels.

use super::Random;
use crate::kernels::attention::LANES;

/// `[len, N]` numbers from -3 to 3.
pub(super) fn matrix<const N: usize>(random: &mut Random, len: usize) -> Vec<[f32; N]> {
    (0..len)
        .map(|_| std::array::from_fn(|_| random.unit() * 3.0))
        .collect()
}

/// Two 16-bit numbers in one 32-bit number.
pub(super) fn pair([low, high]: [i16; 2]) -> i32 {
    i32::from(high) << 16 | i32::from(low) & 0xffff
}

pub(super) fn bits<const M: usize>(c: &[[f32; LANES]; M]) -> Vec<u32> {
    c.as_flattened().iter().map(|x| x.to_bits()).collect()
}

macro_rules! battery {
    ($implementation:ident) => {
        mod of_attention {
            use super::super::attention::*;
            use super::super::{Random, assert_close};
            use crate::kernels::attention::{KEYS, LANES, Running};
            use crate::kernels::$implementation as kernels;

            #[test]
            fn every_finite_f16_is_widened_exactly() {
                let raw: Vec<[u8; 2]> = (0..=u16::MAX).map(u16::to_le_bytes).collect();
                // An odd length, so that there is a tail.
                for raw in [&raw[..], &raw[..13]] {
                    let mut out = vec![0.0; raw.len()];
                    kernels::widen_f16(raw, &mut out);
                    for (raw, found) in raw.iter().zip(out) {
                        let expected = half::f16::from_le_bytes(*raw).to_f32();
                        if expected.is_finite() {
                            assert_eq!(found.to_bits(), expected.to_bits(), "{raw:?}");
                        } else {
                            assert!((65536.0..=131_008.0).contains(&found.abs()), "{raw:?}");
                        }
                    }
                }
            }

            #[test]
            fn every_byte_is_widened_and_scaled() {
                let raw: Vec<[u8; 2]> = (0..=255).map(|i| [i, i ^ 0x5a]).collect();
                for raw in [&raw[..], &raw[..13]] {
                    let mut out = vec![0; raw.len()];
                    kernels::widen_i8_pairs(raw, &mut out);
                    for (raw, found) in raw.iter().zip(out) {
                        assert_eq!(found, pair(raw.map(|byte| i16::from(byte as i8))));
                    }
                }
                let raw: [[u8; LANES]; 32] =
                    std::array::from_fn(|i| std::array::from_fn(|j| (LANES * i + j) as u8));
                let factors: Vec<f32> = (0..32).map(|i| 0.3 * i as f32 - 4.0).collect();
                let mut out = [[0.0; LANES]; 32];
                kernels::scale_i8(&raw, &factors, &mut out);
                for ((raw, found), factor) in raw.iter().zip(out).zip(factors) {
                    assert_eq!(found, raw.map(|q| factor * f32::from(q as i8)));
                }
            }

            fn check_multiply<const M: usize>() {
                for len in 0..=67 {
                    let mut random = Random(len as u64);
                    let (a, b) = (matrix::<M>(&mut random, len), matrix(&mut random, len));
                    let splats: Vec<_> = a.iter().map(|row| row.map(|x| [x; 4])).collect();
                    let mut c: [_; M] = matrix(&mut random, M).try_into().unwrap();
                    let mut expected = c;
                    for (m, n) in (0..M).flat_map(|m| (0..LANES).map(move |n| (m, n))) {
                        for k in 0..len {
                            expected[m][n] += a[k][m] * b[k][n];
                        }
                    }
                    kernels::multiply(&splats, &b, &mut c);
                    assert_eq!(bits(&c), bits(&expected), "{M} times {len}");
                }
            }

            #[test]
            fn products_are_summed_in_order() {
                check_multiply::<1>();
                check_multiply::<2>();
                check_multiply::<4>();
            }

            fn check_groups<const M: usize>(mut quants: impl FnMut() -> ([i16; 2], [i16; 2])) {
                for groups in 1..=4 {
                    let len = 16 * groups;
                    let mut random = Random(groups as u64);
                    let pairs: Vec<_> = (0..len * LANES).map(|_| quants()).collect();
                    let a: Vec<[[i32; 4]; M]> = (0..len)
                        .map(|k| std::array::from_fn(|m| [pair(pairs[k * LANES + m].0); 4]))
                        .collect();
                    let b: Vec<[i32; LANES]> = (0..len)
                        .map(|k| std::array::from_fn(|n| pair(pairs[k * LANES + n].1)))
                        .collect();
                    let a_scales = matrix::<M>(&mut random, groups);
                    let b_scales = matrix(&mut random, groups);
                    let mut c: [_; M] = matrix(&mut random, M).try_into().unwrap();
                    let mut expected = c;
                    for (m, n) in (0..M).flat_map(|m| (0..LANES).map(move |n| (m, n))) {
                        for g in 0..groups {
                            let sum: i64 = (16 * g..16 * (g + 1))
                                .map(|k| {
                                    let (a, b) = (pairs[k * LANES + m].0, pairs[k * LANES + n].1);
                                    let product = |i: usize| i64::from(a[i]) * i64::from(b[i]);
                                    product(0) + product(1)
                                })
                                .sum();
                            expected[m][n] += sum as f32 * (a_scales[g][m] * b_scales[g][n]);
                        }
                    }
                    kernels::multiply_groups(&a, &a_scales, &b, &b_scales, &mut c);
                    assert_eq!(bits(&c), bits(&expected), "{M} times {groups} groups");
                }
            }

            #[test]
            fn groups_are_summed_exactly() {
                let mut random = Random(5);
                let mut any = || {
                    let mut quant = |largest: f32| (random.unit() * largest) as i16;
                    (
                        [quant(32767.0), quant(32767.0)],
                        [quant(127.0), quant(127.0)],
                    )
                };
                check_groups::<1>(&mut any);
                check_groups::<2>(&mut any);
                check_groups::<4>(&mut any);
                // The most extreme values that a cache's bytes can represent.
                check_groups::<4>(|| ([32767; 2], [-128; 2]));
                check_groups::<4>(|| ([-32767; 2], [-128; 2]));
                check_groups::<4>(|| ([-32768; 2], [127; 2]));
            }

            /// Softmax over blocks of `len` scores, against f64.
            fn check_softmax<const M: usize>(len: usize, spread: f32) {
                let mut random = Random(len as u64);
                let scores: Vec<Vec<[f32; M]>> = (0..5)
                    .map(|_| {
                        let mut block = matrix::<M>(&mut random, len);
                        block
                            .as_flattened_mut()
                            .iter_mut()
                            .for_each(|x| *x *= spread);
                        block[len - 1][M - 1] = f32::NEG_INFINITY;
                        block
                    })
                    .collect();
                let mut running = Running::<M>::START;
                let mut found: Vec<[f32; M]> = Vec::new();
                for block in &scores {
                    let mut block = block.clone();
                    let factor = kernels::softmax_step(&mut block, &mut running);
                    for row in &mut found {
                        for m in 0..M {
                            row[m] *= factor.map_or(1.0, |factor| factor[m]);
                        }
                    }
                    found.extend(block);
                }
                let scores = scores.concat();
                for m in 0..M {
                    let score = |row: &[f32; M]| f64::from(row[m]);
                    let largest = scores.iter().map(score).fold(f64::MIN, f64::max);
                    assert_eq!(f64::from(running.largest[m]), largest);
                    let sum: f64 = scores.iter().map(|row| (score(row) - largest).exp()).sum();
                    for (row, found) in scores.iter().zip(&found) {
                        let expected = (score(row) - largest).exp();
                        // Each of five blocks may have rescaled what came before.
                        let units = 5.0 * (4.0 + 6.0 * f64::from(spread));
                        let bound = units / 8_388_608.0 * expected + 2e-38;
                        assert_close(found[m], expected, bound, "an exponential");
                    }
                    let units = 5.0 * (4.0 + 6.0 * f64::from(spread)) + 5.0 * len as f64;
                    let bound = units / 8_388_608.0 * sum;
                    assert_close(running.sum[m], sum, bound, "their sum");
                }
            }

            #[test]
            fn running_softmax_is_exact_within_its_bound() {
                for len in (4..=KEYS).step_by(4) {
                    for spread in [0.0, 0.1, 1.0, 30.0] {
                        check_softmax::<1>(len, spread);
                        check_softmax::<2>(len, spread);
                        check_softmax::<4>(len, spread);
                    }
                }
            }

            #[test]
            fn hidden_scores_change_nothing() {
                let mut running = Running::<2>::START;
                let mut scores = [[0.5, f32::NEG_INFINITY]; 4];
                scores[1] = [f32::NEG_INFINITY, 2.0];
                kernels::softmax_step(&mut scores, &mut running);
                let before = (running.largest, running.sum);
                assert_eq!(before, ([0.5, 2.0], [3.0, 1.0]));
                assert_eq!(scores[1], [0.0, 1.0]);
                let mut scores = [[f32::NEG_INFINITY; 2]; 4];
                assert_eq!(kernels::softmax_step(&mut scores, &mut running), None);
                assert_eq!((running.largest, running.sum), before);
                assert_eq!(scores, [[0.0; 2]; 4]);
                // Of two queries, one's maximum stays: its factor is 1 to the bit.
                let mut scores = [[1.5, 1.0]; 4];
                let factor = kernels::softmax_step(&mut scores, &mut running).unwrap();
                assert_eq!(factor[1], 1.0);
                assert!(factor[0] < 1.0);
            }

            #[test]
            fn what_is_not_finite_stays_in_its_query() {
                for special in [f32::NAN, f32::INFINITY] {
                    let mut running = Running::<4>::START;
                    let mut scores = [[1.0; 4]; 8];
                    scores[3][2] = special;
                    kernels::softmax_step(&mut scores, &mut running);
                    assert!(running.sum[2].is_nan());
                    for m in [0, 1, 3] {
                        assert_eq!(running.sum[m], 8.0);
                    }
                }
            }
        }
    };
}
pub(super) use battery;

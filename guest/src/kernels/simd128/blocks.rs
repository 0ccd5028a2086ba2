//! Formats whose blocks are eight groups of 32 with small scales.

use core::arch::wasm32::*;
use std::hint::black_box;

use super::tiles::{CrossedBlock, add_words, words_together};
use super::unpack::Groups;
use super::vector::{load4, store4};
use super::{
    dot_i7, dot_i8, each_lane, each_token, load, load_group, load8, settle, sum_each, up_to,
};
use crate::kernels::activations::{ActivationBlock, BLOCK};
use crate::kernels::matmul::fetch;
use crate::kernels::operand::Operand;
use crate::kernels::tiles::{BlockTile, TILE, is_narrow};
use crate::quant::{GROUP, ROWS};

/// `$body` for each group, unrolled with a constant index: shuffles need constant lanes.
macro_rules! each_group {
    (|$g:ident| $body:expr) => {
        each_group!(@ $g, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $g:ident, $body:expr, $($at:literal)*) => {
        $({
            const $g: usize = $at;
            $body
        })*
    };
}

/// See `dot_rows` of the scalar kernels: lanes are rows.
#[inline(never)]
pub(super) fn dot_rows<F>(rows: [&[F::Block]; ROWS], token: &[ActivationBlock]) -> [f32; ROWS]
where
    F: Groups<Block: AsRef<[u8]>> + Operand<Token = ActivationBlock>,
{
    let (rows, len) = (each_lane!(|i| &rows[i][..token.len()]), token.len());
    let mut sum = f32x4_splat(0.0);
    for (c, token) in token.iter().enumerate() {
        let blocks = each_lane!(|i| &rows[i][c]);
        if F::HALVES {
            // The fields of such blocks are not read in order, which hardware that reads ahead cannot follow.
            let next = (c + 1).min(len - 1);
            each_lane!(|i| fetch(rows[i][next].as_ref()));
        }
        let d = f32x4_splat(token.d);
        let header = F::headers(blocks);
        let scales = each_lane!(|i| F::scale_vectors(blocks[i]));
        let minima = F::MIN.then(|| {
            let mins = each_lane!(|i| F::min_vectors(blocks[i]));
            sum_each(each_lane!(|i| times_sums::<F>(mins[i], token)))
        });
        let products = sum_each(products::<F>(blocks, token, scales));
        sum = add(sum, products, minima, header, d);
    }
    let mut out = [0.0; ROWS];
    store4(sum, &mut out);
    out
}

/// See `dot_tokens` of the scalar kernels: lanes are tokens.
#[inline(never)]
pub(crate) fn dot_tokens<F>(row: &[F::Block], tokens: [&[ActivationBlock]; TILE]) -> [f32; TILE]
where
    F: Groups + Operand<Token = ActivationBlock>,
{
    let tokens = each_lane!(|i| &tokens[i][..row.len()]);
    let mut sum = f32x4_splat(0.0);
    for (c, block) in row.iter().enumerate() {
        let tokens = each_lane!(|i| &tokens[i][c]);
        let [d0, d1, d2, d3] = each_lane!(|i| tokens[i].d);
        let header = F::headers([block; ROWS]);
        let scales = F::scale_vectors(block);
        let minima = F::MIN.then(|| {
            let mins = F::min_vectors(block);
            sum_each(each_lane!(|i| times_sums::<F>(mins, tokens[i])))
        });
        let mut sums = each_lane!(|i| zeros::<F>(scales, tokens[i]));
        let scales = twice::<F>(scales);
        each_group!(|G| {
            let weights = F::unpack(block, G);
            sums = each_lane!(|i| {
                let activations = load_group(&tokens[i].q.as_chunks::<GROUP>().0[G]);
                let sum = i32x4_add(sums[i], scaled::<F, G>(weights, activations, scales));
                settle(sum);
                sum
            });
        });
        sum = add(sum, sum_each(sums), minima, header, f32x4(d0, d1, d2, d3));
    }
    let mut out = [0.0; TILE];
    store4(sum, &mut out);
    out
}

/// Adds a block's scaled products, then subtracts its minima: the order of the specification.
#[inline(always)]
fn add(
    sum: v128,
    products: v128,
    minima: Option<v128>,
    (scale, min): (v128, v128),
    d: v128,
) -> v128 {
    let product = f32x4_mul(f32x4_convert_i32x4(products), f32x4_mul(scale, d));
    let sum = f32x4_add(sum, product);
    match minima {
        Some(minima) => f32x4_sub(
            sum,
            f32x4_mul(f32x4_convert_i32x4(minima), f32x4_mul(min, d)),
        ),
        None => sum,
    }
}

/// The sums of the activations of groups, or of their halves, each times a number; in four lanes.
#[inline(always)]
fn times_sums<F: Groups>(factors: [v128; 2], token: &ActivationBlock) -> v128 {
    if F::HALVES {
        let [first, second] = token.half_sums.as_chunks().0 else {
            unreachable!("16 is twice 8")
        };
        i32x4_add(
            i32x4_dot_i16x8(factors[0], load8(first)),
            i32x4_dot_i16x8(factors[1], load8(second)),
        )
    } else {
        i32x4_dot_i16x8(factors[0], load8(&token.group_sums))
    }
}

/// For each row, the sums of a block's scaled products, in four lanes.
#[inline(always)]
fn products<F: Groups>(
    blocks: [&F::Block; ROWS],
    token: &ActivationBlock,
    scales: [[v128; 2]; ROWS],
) -> [v128; ROWS] {
    let mut sums = each_lane!(|i| zeros::<F>(scales[i], token));
    let scales = each_lane!(|i| twice::<F>(scales[i]));
    each_group!(|G| {
        let activations = load_group(&token.q.as_chunks::<GROUP>().0[G]);
        sums = each_lane!(|i| {
            let weights = F::unpack(blocks[i], G);
            let sum = i32x4_add(sums[i], scaled::<F, G>(weights, activations, scales[i]));
            settle(sum);
            sum
        });
    });
    sums
}

/// What a block's zero points add to its products, in four lanes.
#[inline(always)]
fn zeros<F: Groups>(scales: [v128; 2], token: &ActivationBlock) -> v128 {
    match F::ZERO {
        0 => i32x4_splat(0),
        zero => i32x4_mul(
            i32x4_splat(-i32::from(zero)),
            times_sums::<F>(scales, token),
        ),
    }
}

/// The scaled products of group `G`, in four lanes.
#[inline(always)]
fn scaled<F: Groups, const G: usize>(
    weights: (v128, v128),
    (low, high): (v128, v128),
    scales: [v128; 4],
) -> v128 {
    if F::SIGNED {
        // A scale repeated as a pair of 16-bit numbers: the lower half is the scale itself.
        let scale = i32x4_shr(i32x4_shl(pick::<G>(scales), 16), 16);
        i32x4_mul(dot_i8(weights, (low, high)), scale)
    } else if F::HALVES {
        let halves = match G {
            0 => [pick::<0>(scales), pick::<1>(scales)],
            1 => [pick::<2>(scales), pick::<3>(scales)],
            2 => [pick::<4>(scales), pick::<5>(scales)],
            3 => [pick::<6>(scales), pick::<7>(scales)],
            4 => [pick::<8>(scales), pick::<9>(scales)],
            5 => [pick::<10>(scales), pick::<11>(scales)],
            6 => [pick::<12>(scales), pick::<13>(scales)],
            _ => [pick::<14>(scales), pick::<15>(scales)],
        };
        i32x4_add(
            i32x4_dot_i16x8(dot_i7(low, weights.0), halves[0]),
            i32x4_dot_i16x8(dot_i7(high, weights.1), halves[1]),
        )
    } else {
        // Quants of formats without halves are at most 31: four products stay below 2^15.
        let pairs = i16x8_add(dot_i7(low, weights.0), dot_i7(high, weights.1));
        i32x4_dot_i16x8(pairs, pick::<G>(scales))
    }
}

/// Scale `AT` of [`twice`] in all lanes.
#[inline(always)]
fn pick<const AT: usize>(scales: [v128; 4]) -> v128 {
    let four = scales[AT / 4];
    match AT % 4 {
        0 => i32x4_shuffle::<0, 0, 0, 0>(four, four),
        1 => i32x4_shuffle::<1, 1, 1, 1>(four, four),
        2 => i32x4_shuffle::<2, 2, 2, 2>(four, four),
        _ => i32x4_shuffle::<3, 3, 3, 3>(four, four),
    }
}

/// Repeats each 16-bit number, so that a pair is a lane of 32 bits, for eight scales or for sixteen.
#[inline(always)]
fn twice<F: Groups>([low, high]: [v128; 2]) -> [v128; 4] {
    let first = |v| i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(v, v);
    let second = |v| i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(v, v);
    // Otherwise the compiler would merge this shuffle with the one in `pick`, into one that takes several instructions.
    let [a, b] = black_box([first(low), second(low)]);
    let [c, d] = match F::HALVES {
        true => black_box([first(high), second(high)]),
        false => [a, b],
    };
    [a, b, c, d]
}

/// See `cross` of the scalar kernels.
#[inline(never)]
pub(super) fn cross<F: Groups, const WORDS: usize>(
    rows: [&[F::Block]; ROWS],
    strip: &mut [CrossedBlock<WORDS>],
) {
    let rows = each_lane!(|r| &rows[r][..strip.len()]);
    for (c, out) in strip.iter_mut().enumerate() {
        out.fill::<F>(each_lane!(|r| &rows[r][c]));
    }
}

/// See `add_products` of the scalar kernels, for `T` tokens: lanes are rows.
#[inline(never)]
pub(super) fn add_products<F: Groups, const WORDS: usize, const T: usize>(
    strip: &[CrossedBlock<WORDS>],
    tiles: &[BlockTile<WORDS>],
    sums: &mut [[f32; ROWS]; TILE],
) {
    let tiles = &tiles[..strip.len()];
    let mut total = [f32x4_splat(0.0); T];
    each_token!(T, |t| total[t] = load4(&sums[t]));
    for (weights, tile) in strip.iter().zip(tiles) {
        let mut products = [i32x4_splat(0); T];
        if is_narrow(WORDS, BLOCK) {
            const { assert!(!is_narrow(WORDS, BLOCK) || F::ZERO == 0 || F::HALVES && !F::MIN) }
            if F::ZERO != 0 {
                add_words!(products, T, weights.minima, tile.half_sums, i32x4_dot_i16x8, i32x4_sub:
                    0 1 2 3 4 5 6 7);
            }
            let words = weights.words.as_chunks::<8>().0;
            let groups = words.iter().zip(tile.q.as_chunks::<8>().0);
            for (g, (words, q)) in groups.enumerate() {
                let scales = match F::HALVES {
                    true => [weights.scales[2 * g], weights.scales[2 * g + 1]],
                    false => [weights.scales[g]; 2],
                };
                macro_rules! add_together {
                    ($($k:literal)*; $half:literal) => {{
                        let mut pairs = [i16x8_splat(0); T];
                        add_words!(pairs, T, words, q, dot_i7, i16x8_add: $($k)*);
                        each_token!(T, |t| {
                            let scaled = i32x4_dot_i16x8(pairs[t], scales[$half]);
                            products[t] = i32x4_add(products[t], scaled);
                        });
                    }};
                }
                match words_together(F::MOST, F::HALVES) {
                    8 => add_together!(0 1 2 3 4 5 6 7; 0),
                    4 => {
                        add_together!(0 1 2 3; 0);
                        add_together!(4 5 6 7; 1);
                    }
                    2 => {
                        add_together!(0 1; 0);
                        add_together!(2 3; 0);
                        add_together!(4 5; 1);
                        add_together!(6 7; 1);
                    }
                    _ => unreachable!("formats with larger quants have wide tiles"),
                }
            }
        } else {
            let words = weights.words.as_chunks::<16>().0;
            for (words, q) in words.iter().zip(tile.q.as_chunks::<16>().0) {
                add_words!(products, T, words, q, i32x4_dot_i16x8, i32x4_add:
                    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            }
        }
        let mut minima = [i32x4_splat(0); T];
        if F::MIN && F::HALVES {
            add_words!(minima, T, weights.minima, tile.half_sums, i32x4_dot_i16x8, i32x4_add:
                0 1 2 3 4 5 6 7);
        } else if F::MIN {
            add_words!(minima, T, weights.minima, tile.group_sums, i32x4_dot_i16x8, i32x4_add:
                0 1 2 3);
        }
        let header = (weights.scale, weights.min);
        each_token!(T, |t| {
            let minima = F::MIN.then_some(minima[t]);
            total[t] = add(total[t], products[t], minima, header, load4(&tile.d[t]));
            settle(total[t]);
        });
    }
    each_token!(T, |t| store4(total[t], &mut sums[t]));
}

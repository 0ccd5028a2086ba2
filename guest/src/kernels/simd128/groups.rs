//! Formats whose blocks are one group of 32, or a few: then rows and tokens are read group by group.

use core::arch::wasm32::*;

use super::tiles::{CrossedGroup, add_words, words_together};
use super::unpack::Group;
use super::vector::{load4, store4};
use super::{
    dot_i7, dot_i8, dot_i8x16, each_lane, each_token, load, load_group, settle, sum_each, up_to,
};
use crate::kernels::activations::ActivationGroup;
use crate::kernels::tiles::{GroupTile, TILE, is_narrow};
use crate::quant::{GROUP, ROWS};

/// See `dot_rows` of the scalar kernels: lanes are rows.
///
/// Not inlined: in one function with other formats, the compiler keeps reloading values that should stay in registers.
#[inline(never)]
pub(super) fn dot_rows<F: Group>(
    rows: [&[F::Block]; ROWS],
    token: &[ActivationGroup],
) -> [f32; ROWS] {
    let rows = each_lane!(|i| &rows[i][..token.len() / F::GROUPS]);
    let mut sum = f32x4_splat(0.0);
    for (c, token) in token.iter().enumerate() {
        let (c, g) = (c / F::GROUPS, c % F::GROUPS);
        let blocks = each_lane!(|i| &rows[i][c]);
        if F::HALVES {
            let products = each_lane!(|i| {
                let products = halves::<F>(blocks[i], g, &token.q);
                settle(products[0]);
                settle(products[1]);
                products
            });
            let products = [
                sum_each(each_lane!(|i| products[i][0])),
                sum_each(each_lane!(|i| products[i][1])),
            ];
            let d = f32x4_splat(token.d);
            sum = add_halves(sum, products, F::headers(blocks, g), d);
            continue;
        }
        let products = each_lane!(|i| {
            let products = products::<F>(blocks[i], g, &token.q);
            settle(products);
            products
        });
        let (scale, min) = F::headers(blocks, g);
        let d = f32x4_splat(token.d);
        let sums = i32x4_splat(token.sum);
        let integers = without_zeros::<F>(sum_each(products), sums);
        sum = add::<F>(sum, integers, (scale, min), d, sums);
    }
    let mut out = [0.0; ROWS];
    store4(sum, &mut out);
    out
}

/// Sums of products, in four lanes.
#[inline(always)]
fn products<F: Group>(block: &F::Block, g: usize, q: &[i8; 32]) -> v128 {
    let (weights, activations) = (F::unpack(block, g), load_group(q));
    if F::SIGNED {
        dot_i8(weights, activations)
    } else {
        // Quants are at most 63: four products stay below 2^15.
        let pairs = i16x8_add(
            dot_i7(activations.0, weights.0),
            dot_i7(activations.1, weights.1),
        );
        i32x4_dot_i16x8(pairs, i16x8_splat(1))
    }
}

/// The sums of the products of each half, in four lanes.
#[inline(always)]
fn halves<F: Group>(block: &F::Block, g: usize, q: &[i8; 32]) -> [v128; 2] {
    const { assert!(!F::HALVES || F::SIGNED && F::ZERO == 0 && !F::MIN) }
    let (weights, activations) = (F::unpack(block, g), load_group(q));
    [
        dot_i8x16(weights.0, activations.0),
        dot_i8x16(weights.1, activations.1),
    ]
}

/// The products of quants, minus those of their zero point, given the sums of activations. All zero points of these
/// formats are powers of two.
#[inline(always)]
fn without_zeros<F: Group>(products: v128, sums: v128) -> v128 {
    match F::ZERO {
        0 => products,
        zero => i32x4_sub(products, i32x4_shl(sums, zero.trailing_zeros())),
    }
}

/// Adds a block's products: `d` and `sums` are the activations' scales and sums.
#[inline(always)]
fn add<F: Group>(
    sum: v128,
    integers: v128,
    (scale, min): (v128, v128),
    d: v128,
    sums: v128,
) -> v128 {
    let product = f32x4_mul(f32x4_convert_i32x4(integers), f32x4_mul(scale, d));
    let sum = f32x4_add(sum, product);
    match F::MIN {
        true => f32x4_add(sum, f32x4_mul(min, f32x4_mul(d, f32x4_convert_i32x4(sums)))),
        false => sum,
    }
}

/// The same for a group whose halves have scales of their own.
#[inline(always)]
fn add_halves(sum: v128, integers: [v128; 2], scales: (v128, v128), d: v128) -> v128 {
    let product = |integers, scale| f32x4_mul(f32x4_convert_i32x4(integers), f32x4_mul(scale, d));
    let sum = f32x4_add(sum, product(integers[0], scales.0));
    f32x4_add(sum, product(integers[1], scales.1))
}

/// See `cross` of the scalar kernels.
#[inline(never)]
pub(super) fn cross<F: Group, const WORDS: usize>(
    rows: [&[F::Block]; ROWS],
    strip: &mut [CrossedGroup<WORDS>],
) {
    let rows = each_lane!(|r| &rows[r][..strip.len() / F::GROUPS]);
    for (c, out) in strip.iter_mut().enumerate() {
        let (c, g) = (c / F::GROUPS, c % F::GROUPS);
        out.fill::<F>(each_lane!(|r| &rows[r][c]), g);
    }
}

/// See `add_products` of the scalar kernels, for `T` tokens: lanes are rows.
#[inline(never)]
pub(super) fn add_products<F: Group, const WORDS: usize, const T: usize>(
    strip: &[CrossedGroup<WORDS>],
    tiles: &[GroupTile<WORDS>],
    sums: &mut [[f32; ROWS]; TILE],
) {
    let tiles = &tiles[..strip.len()];
    let mut total = [f32x4_splat(0.0); T];
    each_token!(T, |t| total[t] = load4(&sums[t]));
    for (weights, tile) in strip.iter().zip(tiles) {
        let narrow = is_narrow(WORDS, GROUP);
        let header = (weights.scale, weights.min);
        if F::HALVES {
            let mut first = [i32x4_splat(0); T];
            add_words!(first, T, weights.words, tile.q, i32x4_dot_i16x8, i32x4_add: 0 1 2 3 4 5 6 7);
            let mut second = [i32x4_splat(0); T];
            add_words!(second, T, weights.words, tile.q, i32x4_dot_i16x8, i32x4_add:
                8 9 10 11 12 13 14 15);
            each_token!(T, |t| {
                let d = load4(&tile.d[t]);
                total[t] = add_halves(total[t], [first[t], second[t]], header, d);
                settle(total[t]);
            });
            continue;
        }
        let mut products = [i32x4_splat(0); T];
        if narrow {
            macro_rules! add_together {
                ($($k:literal)*) => {{
                    let mut pairs = [i16x8_splat(0); T];
                    add_words!(pairs, T, weights.words, tile.q, dot_i7, i16x8_add: $($k)*);
                    each_token!(T, |t| {
                        let sums = i32x4_dot_i16x8(pairs[t], i16x8_splat(1));
                        products[t] = i32x4_add(products[t], sums);
                    });
                }};
            }
            match words_together(F::MOST, false) {
                8 => add_together!(0 1 2 3 4 5 6 7),
                4 => {
                    add_together!(0 1 2 3);
                    add_together!(4 5 6 7);
                }
                _ => unreachable!("formats with larger quants have wide tiles"),
            }
        } else {
            add_words!(products, T, weights.words, tile.q, i32x4_dot_i16x8, i32x4_add:
                0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
        each_token!(T, |t| {
            let (d, sums) = (load4(&tile.d[t]), load(tile.sums[t].as_flattened()));
            let integers = match narrow {
                true => without_zeros::<F>(products[t], sums),
                false => products[t],
            };
            total[t] = add::<F>(total[t], integers, header, d, sums);
            settle(total[t]);
        });
    }
    each_token!(T, |t| store4(total[t], &mut sums[t]));
}

//! Dot products of formats whose blocks are eight groups of 32 with small scales.

use core::arch::wasm32::*;
use std::hint::black_box;

use super::unpack::Groups;
use super::vector::{load4, store4};
use super::{dot_i7, dot_i8, each_lane, load_group, load8, settle, sum_each};
use crate::kernels::activations::{ActivationBlock, TILE};
use crate::kernels::lanes::{Lanes, Operand};
use crate::quant::GROUP;

/// See `dot4` of the scalar kernels.
#[inline(never)]
pub(super) fn dot<F, L>(lanes: L) -> [f32; TILE]
where
    F: Groups + Operand<Tile = ActivationBlock>,
    L: Lanes<F>,
{
    let lanes = lanes.of_equal_length();
    let mut sum = f32x4_splat(0.0);
    for c in 0..lanes.len() {
        let tile = lanes.tile(c);
        let blocks: [_; TILE] = each_lane!(|i| lanes.block(i, c));
        let (scale, min) = F::headers(blocks);
        let d = if L::ROWS {
            f32x4_splat(tile.d[lanes.token(0)])
        } else {
            load4(&tile.d)
        };
        let scale = f32x4_mul(scale, d);
        let scales = each_row::<F, L, _>(blocks, F::scale_vectors);
        if F::MIN {
            let mins = each_row::<F, L, _>(blocks, F::min_vectors);
            let minima = each_lane!(|i| times_sums::<F>(mins[i], tile, lanes.token(i)));
            let minima = f32x4_convert_i32x4(sum_each(minima));
            // Subtracted after the products, in the order of the specification.
            let products =
                f32x4_convert_i32x4(sum_each(products::<F, L>(&lanes, tile, blocks, scales)));
            sum = f32x4_add(sum, f32x4_mul(products, scale));
            sum = f32x4_sub(sum, f32x4_mul(minima, f32x4_mul(min, d)));
        } else {
            let products =
                f32x4_convert_i32x4(sum_each(products::<F, L>(&lanes, tile, blocks, scales)));
            sum = f32x4_add(sum, f32x4_mul(products, scale));
        }
    }
    let mut out = [0.0; TILE];
    store4(sum, &mut out);
    out
}

/// The sums of activations, of groups or of their halves, each times a number; in four lanes.
#[inline(always)]
fn times_sums<F: Groups>(factors: [v128; 2], tile: &ActivationBlock, token: usize) -> v128 {
    if F::HALVES {
        let [first, second] = tile.half_sums[token].as_chunks().0 else {
            unreachable!("16 are twice 8")
        };
        i32x4_add(
            i32x4_dot_i16x8(factors[0], load8(first)),
            i32x4_dot_i16x8(factors[1], load8(second)),
        )
    } else {
        i32x4_dot_i16x8(factors[0], load8(&tile.group_sums[token]))
    }
}

/// For each lane, sums of scaled products of a block, in four lanes.
#[inline(always)]
fn products<F: Groups + Operand<Tile = ActivationBlock>, L: Lanes<F>>(
    lanes: &L,
    tile: &ActivationBlock,
    blocks: [&F::Block; TILE],
    scales: [[v128; 2]; TILE],
) -> [v128; TILE] {
    let mut sums = each_lane!(|i| match F::ZERO {
        0 => i32x4_splat(0),
        zero => i32x4_mul(
            i32x4_splat(-i32::from(zero)),
            times_sums::<F>(scales[i], tile, lanes.token(i)),
        ),
    });
    // Each scale twice, so that a pair of 16-bit numbers is a lane of 32 bits.
    let scales = if L::ROWS {
        each_lane!(|i| twice::<F>(scales[i]))
    } else {
        [twice::<F>(scales[0]); TILE]
    };
    macro_rules! group {
        ($g:literal) => {
            let activations =
                |i: usize| load_group(&tile.q[lanes.token(i)].as_chunks::<GROUP>().0[$g]);
            let shared = L::ROWS.then(|| activations(0));
            let unpacked = (!L::ROWS).then(|| F::unpack(blocks[0], $g));
            sums = each_lane!(|i| {
                let weights = unpacked.unwrap_or_else(|| F::unpack(blocks[i], $g));
                let activations = shared.unwrap_or_else(|| activations(i));
                let sum = i32x4_add(sums[i], scaled::<F, $g>(weights, activations, scales[i]));
                settle(sum);
                sum
            });
        };
    }
    group!(0);
    group!(1);
    group!(2);
    group!(3);
    group!(4);
    group!(5);
    group!(6);
    group!(7);
    sums
}

/// The scaled products of group `G`, in four lanes.
#[inline(always)]
fn scaled<F: Groups, const G: usize>(
    weights: (v128, v128),
    (low, high): (v128, v128),
    scales: [v128; 4],
) -> v128 {
    if F::SIGNED {
        // A scale twice, as a pair of 16-bit numbers, has itself in its lower half.
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

/// Each 16-bit number twice, so that a pair is a lane of 32 bits: of eight scales, or of sixteen.
#[inline(always)]
fn twice<F: Groups>([low, high]: [v128; 2]) -> [v128; 4] {
    let first = |v| i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(v, v);
    let second = |v| i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(v, v);
    // Or the compiler would make one shuffle of this and the one in `pick`, of a kind that is several instructions.
    let [a, b] = black_box([first(low), second(low)]);
    let [c, d] = match F::HALVES {
        true => black_box([first(high), second(high)]),
        false => [a, b],
    };
    [a, b, c, d]
}

/// `f` of the blocks of four rows, or once where they are one.
#[inline(always)]
fn each_row<F: Groups + Operand, L: Lanes<F>, T: Copy>(
    blocks: [&F::Block; TILE],
    f: impl Fn(&F::Block) -> T,
) -> [T; TILE] {
    if L::ROWS {
        each_lane!(|i| f(blocks[i]))
    } else {
        [f(blocks[0]); TILE]
    }
}

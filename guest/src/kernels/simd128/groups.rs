//! Dot products of formats whose blocks are one group of 32.

use core::arch::wasm32::*;

use super::unpack::Group;
use super::vector::load4;
use super::{dot_i7, dot_i8, each_lane, load_group, settle, sum_each};
use crate::kernels::activations::{ActivationGroup, TILE};
use crate::kernels::lanes::{Lanes, Operand};

/// See `dot4` of the scalar kernels.
///
/// Not inlined: in one function with other formats, the compiler keeps reloading what should stay in registers.
#[inline(never)]
pub(super) fn dot<F, L>(lanes: L) -> [f32; TILE]
where
    F: Group + Operand<Tile = ActivationGroup>,
    L: Lanes<F>,
{
    let lanes = lanes.of_equal_length();
    let mut sum = f32x4_splat(0.0);
    for c in 0..lanes.len() {
        let tile = lanes.tile(c);
        let blocks = each_lane!(|i| lanes.block(i, c));
        let products = each_lane!(|i| {
            let products = products::<F>(blocks[i], &tile.q[lanes.token(i)]);
            if L::ROWS {
                settle(products);
            }
            products
        });
        let (scale, min, d, sums);
        if L::ROWS {
            let token = lanes.token(0);
            (scale, min) = F::headers(blocks);
            d = f32x4_splat(tile.d[token]);
            sums = i32x4_splat(tile.sums[token]);
        } else {
            let [one_scale, one_min] = F::header(blocks[0]);
            (scale, min) = (f32x4_splat(one_scale), f32x4_splat(one_min));
            d = load4(&tile.d);
            sums = {
                let [a, b, c, d] = tile.sums;
                i32x4(a, b, c, d)
            };
        }
        let mut integers = sum_each(products);
        if F::ZERO != 0 {
            // All zero points of these formats are powers of two.
            let zeros = i32x4_shl(sums, F::ZERO.trailing_zeros());
            integers = i32x4_sub(integers, zeros);
        }
        let product = f32x4_mul(f32x4_convert_i32x4(integers), f32x4_mul(scale, d));
        sum = f32x4_add(sum, product);
        if F::MIN {
            let sums = f32x4_mul(d, f32x4_convert_i32x4(sums));
            sum = f32x4_add(sum, f32x4_mul(min, sums));
        }
    }
    let mut out = [0.0; TILE];
    super::vector::store4(sum, &mut out);
    out
}

/// Sums of products, in four lanes.
#[inline(always)]
fn products<F: Group>(block: &F::Block, q: &[i8; 32]) -> v128 {
    let (weights, activations) = (F::unpack(block), load_group(q));
    if F::SIGNED {
        dot_i8(weights, activations)
    } else {
        // Quants are at most 31: four products stay below 2^15.
        let pairs = i16x8_add(
            dot_i7(activations.0, weights.0),
            dot_i7(activations.1, weights.1),
        );
        i32x4_dot_i16x8(pairs, i16x8_splat(1))
    }
}

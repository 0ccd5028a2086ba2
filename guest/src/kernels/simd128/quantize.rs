//! Quantises activations to 8 bits.

use core::arch::wasm32::*;

use super::vector::load4;
use crate::kernels::activations::{ActivationBlock, ActivationGroup, BLOCK, step};
use crate::quant::{GROUP, GROUPS};

/// See `quantize_groups` of the scalar kernels.
pub(crate) fn quantize_groups(x: &[f32], out: &mut Vec<ActivationGroup>) {
    for x in x.as_chunks::<GROUP>().0 {
        let (d, inverse) = step(largest(x));
        let mut q = [0; GROUP];
        let sum = halves(x, inverse, &mut q).into_iter().sum();
        let negative = q.iter().map(|&q| i32::from(-q.min(0))).sum();
        out.push(ActivationGroup {
            q,
            d,
            sum,
            negative,
        });
    }
}

/// See `quantize_blocks` of the scalar kernels.
pub(crate) fn quantize_blocks(x: &[f32], out: &mut Vec<ActivationBlock>) {
    for x in x.as_chunks::<BLOCK>().0 {
        let (d, inverse) = step(largest(x));
        let mut q = [0; BLOCK];
        let (mut half_sums, mut group_sums) = ([0; 2 * GROUPS], [0; GROUPS]);
        let quants = q.as_chunks_mut::<GROUP>().0;
        for (g, (x, q)) in x.as_chunks::<GROUP>().0.iter().zip(quants).enumerate() {
            let sums = halves(x, inverse, q).map(|sum| sum as i16);
            half_sums[2 * g..][..2].copy_from_slice(&sums);
            group_sums[g] = sums[0] + sums[1];
        }
        out.push(ActivationBlock {
            q,
            d,
            half_sums,
            group_sums,
        });
    }
}

/// The largest magnitude.
#[inline(always)]
fn largest<const N: usize>(x: &[f32; N]) -> f32 {
    let mut largest = f32x4_splat(0.0);
    for x in x.as_chunks::<4>().0 {
        // `pmax(a, b)` is `a < b ? b : a`: it ignores a NaN, like `f32::max`.
        largest = f32x4_pmax(largest, f32x4_abs(load4(x)));
    }
    largest = f32x4_pmax(largest, i32x4_shuffle::<2, 3, 0, 1>(largest, largest));
    f32x4_extract_lane::<0>(largest).max(f32x4_extract_lane::<1>(largest))
}

/// Quantises a group and returns the sums of its halves.
#[inline(always)]
fn halves(x: &[f32; GROUP], inverse: f32, q: &mut [i8; GROUP]) -> [i32; 2] {
    let inverse = f32x4_splat(inverse);
    let mut sums = [i32x4_splat(0); 2];
    let parts = x.as_chunks::<4>().0.iter();
    for (i, (x, q)) in parts.zip(q.as_chunks_mut::<4>().0).enumerate() {
        let rounded = f32x4_nearest(f32x4_mul(load4(x), inverse));
        let wide = i32x4_trunc_sat_f32x4(rounded);
        sums[i / 4] = i32x4_add(sums[i / 4], wide);
        let half = i16x8_narrow_i32x4(wide, wide);
        let narrow = i32x4_extract_lane::<0>(i8x16_narrow_i16x8(half, half));
        *q = narrow.to_le_bytes().map(|byte| byte as i8);
    }
    sums.map(|sum| {
        let sum = i32x4_add(sum, i32x4_shuffle::<2, 3, 0, 1>(sum, sum));
        i32x4_extract_lane::<0>(sum) + i32x4_extract_lane::<1>(sum)
    })
}

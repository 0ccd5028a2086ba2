//! The vector kernels for attention; [`crate::kernels::attention`] describes the memory layout.

use core::arch::wasm32::*;

use super::load;
use super::vector::{exp, exp_one, load4, store4};
use crate::kernels::attention::{LANES, Running, Splat};
use crate::quant::{GROUP, finite_f16_to_f32};

/// See `widen_f16` of the scalar kernels.
pub(crate) fn widen_f16(raw: &[[u8; 2]], out: &mut [f32]) {
    let (raw8, raw_tail) = raw.as_chunks::<8>();
    let (out8, out_tail) = out.as_chunks_mut::<8>();
    for (raw, out) in raw8.iter().zip(out8) {
        let halves = load(raw.as_flattened());
        let out = out.as_chunks_mut::<4>().0;
        store4(widen4(i32x4_extend_low_i16x8(halves)), &mut out[0]);
        store4(widen4(i32x4_extend_high_i16x8(halves)), &mut out[1]);
    }
    for (raw, out) in raw_tail.iter().zip(out_tail) {
        *out = finite_f16_to_f32(u16::from_le_bytes(*raw));
    }
}

/// Four f16 numbers, sign-extended.
#[inline(always)]
fn widen4(halves: v128) -> v128 {
    let placed = v128_and(i32x4_shl(halves, 13), u32x4_splat(0x8fff_ffff));
    f32x4_mul(placed, f32x4_splat(f32::from_bits((127 + 112) << 23)))
}

/// See `widen_i8_pairs` of the scalar kernels.
pub(crate) fn widen_i8_pairs(raw: &[[u8; 2]], out: &mut [i32]) {
    let (raw8, raw_tail) = raw.as_chunks::<8>();
    let (out8, out_tail) = out.as_chunks_mut::<8>();
    for (raw, out) in raw8.iter().zip(out8) {
        let bytes = load(raw.as_flattened());
        let out = out.as_chunks_mut::<4>().0;
        store_i32(i16x8_extend_low_i8x16(bytes), &mut out[0]);
        store_i32(i16x8_extend_high_i8x16(bytes), &mut out[1]);
    }
    for ([a, b], out) in raw_tail.iter().zip(out_tail) {
        *out = i32::from(*b as i8) << 16 | i32::from(*a as i8) & 0xffff;
    }
}

/// See `scale_i8` of the scalar kernels.
pub(crate) fn scale_i8(raw: &[[u8; LANES]], factors: &[f32], out: &mut [[f32; LANES]]) {
    for ((out, raw), factor) in out.iter_mut().zip(raw).zip(factors) {
        let words = i16x8_extend_low_i8x16(u64x2(u64::from_le_bytes(*raw), 0));
        let factor = f32x4_splat(*factor);
        let out = out.as_chunks_mut::<4>().0;
        let low = f32x4_convert_i32x4(i32x4_extend_low_i16x8(words));
        let high = f32x4_convert_i32x4(i32x4_extend_high_i16x8(words));
        store4(f32x4_mul(factor, low), &mut out[0]);
        store4(f32x4_mul(factor, high), &mut out[1]);
    }
}

/// See `multiply` of the scalar kernels.
///
/// Not inlined: the loop needs all registers, eight of them for the sums of a tile of four.
#[inline(never)]
pub(crate) fn multiply<const M: usize>(
    a: &[[Splat<f32>; M]],
    b: &[[f32; LANES]],
    c: &mut [[f32; LANES]; M],
) {
    let mut sums = c.each_ref().map(load8);
    for (a, b) in a.iter().zip(b) {
        let b = load8(b);
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = load4(a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = f32x4_add(*sum, f32x4_mul(a, b));
            }
        }
    }
    for (sums, c) in sums.into_iter().zip(c) {
        store8(sums, c);
    }
}

/// See `multiply_groups` of the scalar kernels.
#[inline(never)]
pub(crate) fn multiply_groups<const M: usize>(
    a: &[[Splat<i32>; M]],
    a_scales: &[[f32; M]],
    b: &[[i32; LANES]],
    b_scales: &[[f32; LANES]],
    c: &mut [[f32; LANES]; M],
) {
    let groups = a.chunks_exact(GROUP / 2).zip(b.chunks_exact(GROUP / 2));
    for ((a, b), (a_scales, b_scales)) in groups.zip(a_scales.iter().zip(b_scales)) {
        let mut sums = [[i32x4_splat(0); 2]; M];
        for (a, b) in a.iter().zip(b) {
            let b = b.as_chunks::<4>().0;
            let b = [load_i32(&b[0]), load_i32(&b[1])];
            for (sums, a) in sums.iter_mut().zip(a) {
                let a = load_i32(a);
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = i32x4_add(*sum, i32x4_dot_i16x8(a, b));
                }
            }
        }
        let b_scales = load8(b_scales);
        for ((sums, a_scale), c) in sums.into_iter().zip(a_scales).zip(c.iter_mut()) {
            let mut total = load8(c);
            for i in 0..2 {
                let scale = f32x4_mul(f32x4_splat(*a_scale), b_scales[i]);
                let sum = f32x4_convert_i32x4(sums[i]);
                total[i] = f32x4_add(total[i], f32x4_mul(sum, scale));
            }
            store8(total, c);
        }
    }
}

/// See `softmax_step` of the scalar kernels.
pub(crate) fn softmax_step<const M: usize>(
    scores: &mut [[f32; M]],
    running: &mut Running<M>,
) -> Option<[f32; M]> {
    // The scores of a query are in every M-th lane.
    let spread = |x: [f32; M]| f32x4(x[0], x[1 % M], x[2 % M], x[3 % M]);
    let before = running.largest;
    let mut largest = spread(before);
    for scores in scores.as_flattened().as_chunks::<4>().0 {
        // `pmax(a, b)` is `a < b ? b : a`: it ignores a NaN in `b`.
        largest = f32x4_pmax(largest, load4(scores));
    }
    let mut lanes = [0.0; 4];
    store4(largest, &mut lanes);
    for (i, lane) in lanes.into_iter().enumerate() {
        if running.largest[i % M] < lane {
            running.largest[i % M] = lane;
        }
    }
    let factor = (before != running.largest).then(|| {
        std::array::from_fn(|m| match before[m] == running.largest[m] {
            true => 1.0,
            false => exp_one(before[m] - running.largest[m]),
        })
    });
    for (sum, factor) in running.sum.iter_mut().zip(factor.unwrap_or([1.0; M])) {
        *sum *= factor;
    }
    let largest = spread(running.largest);
    let hidden = f32x4_splat(f32::NEG_INFINITY);
    for scores in scores.as_flattened_mut().as_chunks_mut::<4>().0 {
        let score = load4(scores);
        let e = exp(f32x4_sub(score, largest));
        store4(v128_and(e, f32x4_ne(score, hidden)), scores);
    }
    for row in scores {
        for (sum, e) in running.sum.iter_mut().zip(row) {
            *sum += *e;
        }
    }
    factor
}

#[inline(always)]
fn load8(x: &[f32; LANES]) -> [v128; 2] {
    let x = x.as_chunks::<4>().0;
    [load4(&x[0]), load4(&x[1])]
}

#[inline(always)]
fn store8(v: [v128; 2], out: &mut [f32; LANES]) {
    let out = out.as_chunks_mut::<4>().0;
    store4(v[0], &mut out[0]);
    store4(v[1], &mut out[1]);
}

#[inline(always)]
fn load_i32(x: &[i32; 4]) -> v128 {
    i32x4(x[0], x[1], x[2], x[3])
}

#[inline(always)]
fn store_i32(v: v128, out: &mut [i32; 4]) {
    *out = [
        i32x4_extract_lane::<0>(v),
        i32x4_extract_lane::<1>(v),
        i32x4_extract_lane::<2>(v),
        i32x4_extract_lane::<3>(v),
    ];
}

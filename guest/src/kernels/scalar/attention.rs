//! The specification of the attention kernels; [`crate::kernels::attention`] describes the memory layout.

use crate::kernels::attention::{LANES, Running, Splat};
use crate::quant::{GROUP, finite_f16_to_f32};

/// Converts cached f16 numbers to f32. None of them is an infinity or a NaN: the largest exponent is an ordinary one.
pub(crate) fn widen_f16(raw: &[[u8; 2]], out: &mut [f32]) {
    for (out, raw) in out.iter_mut().zip(raw) {
        *out = finite_f16_to_f32(u16::from_le_bytes(*raw));
    }
}

/// Converts pairs of signed bytes to pairs of 16-bit numbers, the first in the lower half.
pub(crate) fn widen_i8_pairs(raw: &[[u8; 2]], out: &mut [i32]) {
    for (out, [a, b]) in out.iter_mut().zip(raw) {
        *out = i32::from(*b as i8) << 16 | i32::from(*a as i8) & 0xffff;
    }
}

/// Multiplies signed bytes with the factor of their row. `simd128` gives the same bits.
pub(crate) fn scale_i8(raw: &[[u8; LANES]], factors: &[f32], out: &mut [[f32; LANES]]) {
    for ((out, raw), factor) in out.iter_mut().zip(raw).zip(factors) {
        *out = raw.map(|q| factor * f32::from(q as i8));
    }
}

/// `c[m][n] += sum over k of a[k][m] * b[k][n]`, in the order of k. `simd128` gives the same bits.
pub(crate) fn multiply<const M: usize>(
    a: &[[Splat<f32>; M]],
    b: &[[f32; LANES]],
    c: &mut [[f32; LANES]; M],
) {
    for (a, b) in a.iter().zip(b) {
        for (c, a) in c.iter_mut().zip(a) {
            for (c, b) in c.iter_mut().zip(b) {
                *c += a[0] * b;
            }
        }
    }
}

/// Like [`multiply`], for numbers in groups of 32 with a scale each: `a` are pairs of 16-bit numbers, `b` pairs of
/// 8-bit numbers in 16 bits, and the sums within a group are exact. `simd128` gives the same bits.
pub(crate) fn multiply_groups<const M: usize>(
    a: &[[Splat<i32>; M]],
    a_scales: &[[f32; M]],
    b: &[[i32; LANES]],
    b_scales: &[[f32; LANES]],
    c: &mut [[f32; LANES]; M],
) {
    let groups = a.chunks_exact(GROUP / 2).zip(b.chunks_exact(GROUP / 2));
    for ((a, b), (a_scale, b_scale)) in groups.zip(a_scales.iter().zip(b_scales)) {
        for m in 0..M {
            for n in 0..LANES {
                let pairs = a.iter().zip(b);
                let sum: i32 = pairs.map(|(a, b)| dot_pair(a[m][0], b[n])).sum();
                c[m][n] += sum as f32 * (a_scale[m] * b_scale[n]);
            }
        }
    }
}

fn dot_pair(a: i32, b: i32) -> i32 {
    i32::from(a as i16) * i32::from(b as i16) + (a >> 16) * (b >> 16)
}

/// Turns the scores of further keys, a multiple of four, into `exp(score - largest)` and adds them up in order; a score
/// of minus infinity, which marks a key that a query must not see, becomes 0. Returns the factor that all sums of
/// earlier keys must be multiplied with, unless it is 1.
///
/// Here and in `simd128` a result has a relative error of at most `(4 + score magnitude) * 2^-23`, or an error of at
/// most 2e-38.
pub(crate) fn softmax_step<const M: usize>(
    scores: &mut [[f32; M]],
    running: &mut Running<M>,
) -> Option<[f32; M]> {
    let before = running.largest;
    for row in scores.iter() {
        for (largest, score) in running.largest.iter_mut().zip(row) {
            if *largest < *score {
                *largest = *score;
            }
        }
    }
    let factor = (before != running.largest).then(|| {
        std::array::from_fn(|m| match before[m] == running.largest[m] {
            true => 1.0,
            false => (before[m] - running.largest[m]).exp(),
        })
    });
    for (sum, factor) in running.sum.iter_mut().zip(factor.unwrap_or([1.0; M])) {
        *sum *= factor;
    }
    for row in scores {
        for ((x, largest), sum) in row.iter_mut().zip(running.largest).zip(&mut running.sum) {
            *x = match *x == f32::NEG_INFINITY {
                true => 0.0,
                false => (*x - largest).exp(),
            };
            *sum += *x;
        }
    }
    factor
}

//! Kernels on vectors of numbers: dot products of floats, norms, SwiGLU.

use core::arch::wasm32::*;

use super::super::{CUBE, GELU};
use super::sum_lanes;
use crate::quant::{BF16, Element, F16, F32, F64, I8, I16, I32, I64};

/// An element that is converted four at a time. Equal to [`Element::to_f32`] of the scalar kernels.
pub(crate) trait Load: Element {
    fn load4(raw: &[Self::Raw; 4]) -> v128;
}

impl Load for F32 {
    #[inline(always)]
    fn load4(raw: &[[u8; 4]; 4]) -> v128 {
        let [a, b, c, d] = raw.map(u32::from_le_bytes);
        u32x4(a, b, c, d)
    }
}

impl Load for F16 {
    #[inline(always)]
    fn load4(raw: &[[u8; 2]; 4]) -> v128 {
        let halves = widen(raw);
        let magnitude = u32x4_shl(v128_and(halves, u32x4_splat(0x7fff)), 13);
        let finite = f32x4_mul(magnitude, f32x4_splat(f32::from_bits((127 + 112) << 23)));
        // Infinities and NaNs keep their fraction and get f32's largest exponent.
        let special = i32x4_ge(magnitude, i32x4_splat(0x7c00 << 13));
        let number = v128_or(finite, v128_and(special, u32x4_splat(0x7f80_0000)));
        v128_or(number, u32x4_shl(v128_and(halves, u32x4_splat(0x8000)), 16))
    }
}

impl Load for BF16 {
    #[inline(always)]
    fn load4(raw: &[[u8; 2]; 4]) -> v128 {
        u32x4_shl(widen(raw), 16)
    }
}

/// Elements that are so rare that they are converted one by one.
macro_rules! load_each {
    ($($element:ident),*) => {
        $(impl Load for $element {
            #[inline(always)]
            fn load4(raw: &[Self::Raw; 4]) -> v128 {
                load4(&raw.map(Self::to_f32))
            }
        })*
    };
}
load_each!(F64, I8, I16, I32, I64);

/// Four 16-bit numbers to 32 bits.
#[inline(always)]
fn widen(raw: &[[u8; 2]; 4]) -> v128 {
    let bytes = raw.as_flattened();
    let bits = u64::from_le_bytes(std::array::from_fn(|i| bytes[i]));
    u32x4_extend_low_u16x8(u64x2(bits, 0))
}

#[inline(always)]
pub(super) fn load4(x: &[f32; 4]) -> v128 {
    f32x4(x[0], x[1], x[2], x[3])
}

#[inline(always)]
pub(super) fn store4(v: v128, out: &mut [f32; 4]) {
    *out = [
        f32x4_extract_lane::<0>(v),
        f32x4_extract_lane::<1>(v),
        f32x4_extract_lane::<2>(v),
        f32x4_extract_lane::<3>(v),
    ];
}

/// See `dot` of the scalar kernels.
pub(crate) fn dot<E: Load>(x: &[f32], weights: &[E::Raw]) -> f32 {
    let (x16, x_rest) = x.as_chunks::<16>();
    let (w16, w_rest) = weights.as_chunks::<16>();
    // Four accumulators hide the latency of the additions.
    let mut sums = [f32x4_splat(0.0); 4];
    for (x, w) in x16.iter().zip(w16) {
        let (x, w) = (x.as_chunks::<4>().0, w.as_chunks::<4>().0);
        for i in 0..4 {
            sums[i] = f32x4_add(sums[i], f32x4_mul(load4(&x[i]), E::load4(&w[i])));
        }
    }
    let (x4, x_tail) = x_rest.as_chunks::<4>();
    let (w4, w_tail) = w_rest.as_chunks::<4>();
    for (x, w) in x4.iter().zip(w4) {
        sums[0] = f32x4_add(sums[0], f32x4_mul(load4(x), E::load4(w)));
    }
    let sum = f32x4_add(f32x4_add(sums[0], sums[1]), f32x4_add(sums[2], sums[3]));
    let tail: f32 = x_tail
        .iter()
        .zip(w_tail)
        .map(|(x, w)| x * E::to_f32(*w))
        .sum();
    sum_lanes(sum) + tail
}

/// See `rms_norm` of the scalar kernels.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let (x4, x_tail) = x.as_chunks::<4>();
    let mut sums = f32x4_splat(0.0);
    for x in x4 {
        let x = load4(x);
        sums = f32x4_add(sums, f32x4_mul(x, x));
    }
    let squares = sum_lanes(sums) + x_tail.iter().map(|x| x * x).sum::<f32>();
    let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    // Element by element: the compiler vectorises it, and there is no sum whose order could change.
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// See `swiglu` of the scalar kernels.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    let one = f32x4_splat(1.0);
    let (gate4, gate_tail) = gate.as_chunks_mut::<4>();
    let (up4, up_tail) = up.as_chunks::<4>();
    for (gate, up) in gate4.iter_mut().zip(up4) {
        let g = load4(gate);
        let silu = f32x4_div(g, f32x4_add(one, exp(f32x4_neg(g))));
        store4(f32x4_mul(silu, load4(up)), gate);
    }
    for (gate, up) in gate_tail.iter_mut().zip(up_tail) {
        *gate = *gate / (1.0 + exp_one(-*gate)) * up;
    }
}

/// See `geglu` of the scalar kernels.
pub(crate) fn geglu(gate: &mut [f32], up: &[f32]) {
    let (gate4, gate_tail) = gate.as_chunks_mut::<4>();
    let (up4, up_tail) = up.as_chunks::<4>();
    for (gate, up) in gate4.iter_mut().zip(up4) {
        store4(f32x4_mul(gelu(load4(gate)), load4(up)), gate);
    }
    for (gate, up) in gate_tail.iter_mut().zip(up_tail) {
        *gate = f32x4_extract_lane::<0>(gelu(f32x4_splat(*gate))) * up;
    }
}

#[inline(always)]
fn gelu(x: v128) -> v128 {
    let one = f32x4_splat(1.0);
    let cube = f32x4_mul(f32x4_mul(f32x4_splat(CUBE), x), x);
    let z = f32x4_mul(f32x4_mul(f32x4_splat(GELU), x), f32x4_add(one, cube));
    f32x4_div(x, f32x4_add(one, exp(f32x4_neg(z))))
}

/// `e^x` within 3 units in the last place for `x` from -87.3 to 88.3; outside, the value at the nearer end.
///
/// `x = n ln 2 + r` with an integer `n` and `|r| <= ln(2) / 2`; then `e^x = 2^n e^r`, and `e^r` is a polynomial. Source
/// of its coefficients: the Cephes library, `expf`.
#[inline(always)]
pub(super) fn exp(x: v128) -> v128 {
    let x = f32x4_max(f32x4_min(x, f32x4_splat(88.3)), f32x4_splat(-87.3));
    let n = f32x4_nearest(f32x4_mul(x, f32x4_splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first with few bits, so that multiplying it by n is exact.
    let r = f32x4_sub(x, f32x4_mul(n, f32x4_splat(0.693_359_4)));
    let r = f32x4_sub(r, f32x4_mul(n, f32x4_splat(-2.121_944_4e-4)));
    let mut p = f32x4_splat(1.987_569_1e-4);
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = f32x4_add(f32x4_mul(p, r), f32x4_splat(coefficient));
    }
    let e = f32x4_add(
        f32x4_mul(f32x4_mul(p, r), r),
        f32x4_add(r, f32x4_splat(1.0)),
    );
    let power = i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(n), i32x4_splat(127)), 23);
    f32x4_mul(e, power)
}

/// [`exp`] of one number.
pub(super) fn exp_one(x: f32) -> f32 {
    f32x4_extract_lane::<0>(exp(f32x4_splat(x)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two million numbers of each sign, spread evenly over their bit patterns.
    #[test]
    fn exp_is_within_3_units_in_the_last_place() {
        let mut worst = 0f64;
        for (sign, largest) in [(0, 88.3f32), (0x8000_0000, 87.3)] {
            for bits in (0..=largest.to_bits()).step_by(557) {
                let x = f32::from_bits(bits | sign);
                let exact = f64::from(x).exp();
                // The unit of the f32 below: a power of two.
                let unit = 2f64.powi(exact.log2().floor() as i32 - 23);
                worst = worst.max((f64::from(exp_one(x)) - exact).abs() / unit);
            }
        }
        assert!(worst <= 3.0, "{worst}");
        assert_eq!(exp_one(0.0), 1.0);
        assert_eq!(exp_one(-1e9), exp_one(-87.3));
        assert_eq!(exp_one(f32::INFINITY), exp_one(88.3));
        assert!(exp_one(f32::NAN).is_nan());
    }
}

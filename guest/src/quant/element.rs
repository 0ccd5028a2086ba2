//! Weights that are numbers: floating-point numbers and integers.

/// 2^112: the difference between f32's and f16's exponent bias.
const REBIAS: f32 = f32::from_bits((127 + 112) << 23);

/// IEEE binary16 to binary32, exact for all numbers and branch-free: the multiplication also handles subnormals.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    let magnitude = u32::from(half & 0x7fff) << 13;
    let finite = (f32::from_bits(magnitude) * REBIAS).to_bits();
    let bits = if half & 0x7c00 == 0x7c00 {
        magnitude | 0x7f80_0000
    } else {
        finite
    };
    f32::from_bits(bits | u32::from(half & 0x8000) << 16)
}

/// Like [`f16_to_f32`], but without infinities and NaNs: the highest exponent is an ordinary one, for numbers from
/// 65,536 to 131,008.
#[inline(always)]
pub(crate) fn finite_f16_to_f32(half: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * REBIAS;
    f32::from_bits(magnitude.to_bits() | u32::from(half & 0x8000) << 16)
}

/// binary32 to binary16, rounded to nearest, ties to even. A number that is too large becomes the largest finite one,
/// so that a cached key or value cannot become an infinity.
#[inline]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    let largest = half::f16::MAX.to_f32_const();
    half::f16::from_f32_const(value.clamp(-largest, largest)).to_bits()
}

/// bfloat16 to binary32, exact.
#[inline(always)]
pub(crate) fn bf16_to_f32(brain: u16) -> f32 {
    f32::from_bits(u32::from(brain) << 16)
}

/// A number as stored in memory, little-endian.
pub(crate) trait Element {
    /// Its raw bytes.
    type Raw: Copy + 'static;

    /// Views bytes as numbers; an incomplete one at the end is ignored.
    fn raws(bytes: &[u8]) -> &[Self::Raw];

    /// The bytes of one number.
    fn bytes(raw: &Self::Raw) -> &[u8];

    /// Converts, rounding to nearest, ties to even, what has more digits: F64, I32 and I64.
    fn to_f32(raw: Self::Raw) -> f32;

    /// Rounds to nearest, ties to even. What is too large for an integer becomes the nearest one.
    fn from_f32(value: f32) -> Self::Raw;
}

/// binary32.
pub(crate) struct F32;
/// binary16.
pub(crate) struct F16;
/// bfloat16.
pub(crate) struct BF16;
/// binary64.
pub(crate) struct F64;
/// An integer of 8 bits.
pub(crate) struct I8;
/// An integer of 16 bits.
pub(crate) struct I16;
/// An integer of 32 bits.
pub(crate) struct I32;
/// An integer of 64 bits.
pub(crate) struct I64;

macro_rules! element {
    ($element:ident, $bytes:literal, $to:expr, $from:expr) => {
        impl Element for $element {
            type Raw = [u8; $bytes];

            #[inline(always)]
            fn raws(bytes: &[u8]) -> &[Self::Raw] {
                bytes.as_chunks().0
            }

            #[inline(always)]
            fn bytes(raw: &Self::Raw) -> &[u8] {
                raw
            }

            #[inline(always)]
            fn to_f32(raw: Self::Raw) -> f32 {
                $to(raw)
            }

            #[inline(always)]
            fn from_f32(value: f32) -> Self::Raw {
                $from(value)
            }
        }
    };
}

element!(F32, 4, f32::from_le_bytes, f32::to_le_bytes);
element!(F16, 2, |raw| f16_to_f32(u16::from_le_bytes(raw)), |v| {
    f32_to_f16(v).to_le_bytes()
});
element!(BF16, 2, |raw| bf16_to_f32(u16::from_le_bytes(raw)), |v| {
    half::bf16::from_f32(v).to_le_bytes()
});
element!(F64, 8, |raw| f64::from_le_bytes(raw) as f32, |v: f32| {
    f64::from(v).to_le_bytes()
});
element!(I8, 1, |raw| i8::from_le_bytes(raw) as f32, |v: f32| {
    (v.round_ties_even() as i8).to_le_bytes()
});
element!(I16, 2, |raw| i16::from_le_bytes(raw) as f32, |v: f32| {
    (v.round_ties_even() as i16).to_le_bytes()
});
element!(I32, 4, |raw| i32::from_le_bytes(raw) as f32, |v: f32| {
    (v.round_ties_even() as i32).to_le_bytes()
});
element!(I64, 8, |raw| i64::from_le_bytes(raw) as f32, |v: f32| {
    (v.round_ties_even() as i64).to_le_bytes()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_converts_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let found = f16_to_f32(bits);
            assert_eq!(found.is_nan(), expected.is_nan(), "{bits:#x}");
            if !expected.is_nan() {
                assert_eq!(found.to_bits(), expected.to_bits(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn f32_becomes_the_nearest_finite_f16() {
        assert_eq!(f32_to_f16(1.0), 0x3c00);
        assert_eq!(f32_to_f16(-2.5), 0xc100);
        assert_eq!(f32_to_f16(1.0 + 1.0 / 2048.0), 0x3c00, "a tie goes to even");
        assert_eq!(f32_to_f16(1e9), 0x7bff);
        assert_eq!(f32_to_f16(f32::NEG_INFINITY), 0xfbff);
        assert_eq!(f32_to_f16(6e-8), 0x0001, "the smallest subnormal");
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        assert_eq!(F64::to_f32(0.1f64.to_le_bytes()), 0.1);
        assert_eq!(F64::to_f32(1e300f64.to_le_bytes()), f32::INFINITY);
        assert_eq!(I8::to_f32([0x80]), -128.0);
        assert_eq!(I16::to_f32([0xff, 0x7f]), 32_767.0);
        assert_eq!(I32::to_f32(0x0100_0001i32.to_le_bytes()), 16_777_216.0);
        assert_eq!(I64::to_f32(i64::MIN.to_le_bytes()), -(2f32.powi(63)));
        assert_eq!(I8::from_f32(-2.5), [0xfe]);
        assert_eq!(I8::from_f32(1e9), [127]);
        assert_eq!(I64::from_f32(3.0), 3i64.to_le_bytes());
    }

    #[test]
    fn bf16_is_the_upper_half_of_f32() {
        assert_eq!(bf16_to_f32(0x3f80), 1.0);
        assert_eq!(bf16_to_f32(0xc040), -3.0);
    }
}

//! The 4-bit floating-point formats: MXFP4 and NVFP4. Weights are E2M1 numbers (a sign, two bits of exponent, one of
//! mantissa); scales are 8-bit floating-point numbers without a sign.
//!
//! Quants are twice the numbers, because one of them is 0.5; so scales are halved. Source: the OCP Microscaling formats,
//! version 1.0, and for NVFP4 ggml.

use super::{Format, GROUP, Scales, block_format, nibbles};

/// Twice the E2M1 numbers.
pub(crate) const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The same, plus MXFP4's zero point.
pub(crate) const E2M1_UNSIGNED: [i8; 16] = {
    let mut values = E2M1;
    let mut i = 0;
    while i < values.len() {
        values[i] += MXFP4::ZERO;
        i += 1;
    }
    values
};

block_format! {
    /// `e: u8, qs: [u8; 16]`. The scale is E8M0: the exponent of a power of two, with a bias of 127.
    MXFP4 [17] { const ZERO: i8 = 16; }
    header: |block| [half_power(block[0]), 0.0];
    scales: |_, [d, _], _| Scales::both(d, 0.0);
    quants: |block, _| nibbles(&block[1..]).map(|nibble| E2M1_UNSIGNED[nibble as usize])
}

block_format! {
    /// `d: [u8; 4], qs: [u8; 32]`: two groups. The scales of halves are E4M3 without a sign. Of the eight bytes of a
    /// half, the low nibbles come first.
    NVFP4 [36] { const SIGNED: bool = true; const HALVES: bool = true; }
    header: |_| [1.0, 0.0];
    scales: |block, _, g| Scales {
        scale: [2 * g, 2 * g + 1].map(|i| HALF_E4M3[usize::from(block[i])]),
        min: [0.0; 2],
    };
    quants: |block, g| {
        std::array::from_fn(|i| {
            let byte = block[4 + 16 * g + 8 * (i / 16) + i % 8];
            E2M1[usize::from(byte >> (4 * (i / 8 % 2)) & 0xf)]
        })
    }
}

/// Half of an E8M0 number: `2^(exponent - 128)`. ggml reads 255, which is a NaN in the specification, as a number too.
#[inline(always)]
fn half_power(exponent: u8) -> f32 {
    let exponent = u32::from(exponent);
    f32::from_bits(match exponent {
        // Subnormal numbers.
        0 | 1 => (exponent + 1) << 21,
        _ => (exponent - 1) << 23,
    })
}

/// Half of each E4M3 number; the highest bit is ignored. As in ggml, 127, which is a NaN in the specification, is 0.
pub(crate) static HALF_E4M3: [f32; 256] = {
    // The difference between f32's and E4M3's exponent bias is 120; the multiplication also handles subnormals.
    let rebias = f32::from_bits((127 + 119) << 23);
    let mut numbers = [0.0; 256];
    let mut byte = 0;
    while byte < numbers.len() {
        if byte != 0x7f {
            numbers[byte] = f32::from_bits((byte as u32 & 0x7f) << 20) * rebias;
        }
        byte += 1;
    }
    numbers
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_of_mxfp4_are_halved_powers_of_two() {
        for e in 0..=u8::MAX {
            let power = 2f64.powi(i32::from(e) - 128);
            assert_eq!(f64::from(half_power(e)), power, "{e}");
        }
    }

    #[test]
    fn scales_of_nvfp4_are_halved_e4m3_numbers() {
        for byte in 0..=u8::MAX {
            let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f64::from(byte & 7));
            let number = match exponent {
                _ if byte == 0x7f => 0.0,
                0 => mantissa / 512.0,
                _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
            };
            let found = f64::from(HALF_E4M3[usize::from(byte)]);
            assert_eq!(2.0 * found, number, "{byte:#x}");
        }
    }
}

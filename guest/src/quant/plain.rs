//! Weights of one or two bits with nothing but a scale per block: Q1_0, Q2_0, and the ternary TQ1_0 and TQ2_0.

use super::{Codes, Format, GROUP, Scales, block_format};

block_format! {
    /// `d: f16, qs: [u8; 16]`: four groups. A bit is a weight: -1 or 1, so the quant is 0 or 2.
    Q1_0 [18] { const ZERO: i8 = 1; const MOST: i16 = 2; }
    header: [0];
    scales: |_, [d, _], _| Scales::both(d, 0.0);
    quants: |block, g| std::array::from_fn(|i| (block[2 + 4 * g + i / 8] >> (i % 8) & 1) as i8 * 2)
}

block_format! {
    /// `d: f16, qs: [u8; 16]`: two groups. A byte has four successive weights from -1 to 2.
    Q2_0 [18] { const ZERO: i8 = 1; const MOST: i16 = 3; }
    header: [0];
    scales: |_, [d, _], _| Scales::both(d, 0.0);
    quants: |block, g| std::array::from_fn(|i| (block[2 + 8 * g + i / 4] >> (2 * (i % 4)) & 3) as i8)
}

/// The powers of 3 that a byte of TQ1_0 is multiplied with.
pub(crate) const POWERS: [u8; 5] = [1, 3, 9, 27, 81];

block_format! {
    /// `qs: [u8; 48], qh: [u8; 4], d: f16`. A byte has five ternary digits (in `qh` four), as a fraction of 256: the
    /// first digit is the integer part of three times the fraction, and so on. First digit by digit of the first 32
    /// bytes, then of the next 16, then of `qh`.
    TQ1_0 [54] { const ZERO: i8 = 1; }
    header: [52];
    codes: |_, _| Codes::both(1, 0);
    quants: |block, g| {
        std::array::from_fn(|i| {
            let (byte, digit) = match (g, i) {
                (0..=4, _) => (i, g),
                (5 | 6, _) | (_, 0..=15) => (32 + i % 16, 2 * (g - 5) + i / 16),
                _ => (48 + i % 4, (i - 16) / 4),
            };
            let fraction = block[byte].wrapping_mul(POWERS[digit]);
            ((u16::from(fraction) * 3) >> 8) as i8
        })
    }
}

block_format! {
    /// `qs: [u8; 64], d: f16`. Two bits per weight, for -1 to 2.
    TQ2_0 [66] { const ZERO: i8 = 1; }
    header: [64];
    codes: |_, _| Codes::both(1, 0);
    quants: |block, g| {
        let qs = &block[32 * (g / 4)..];
        std::array::from_fn(|i| (qs[i] >> (2 * (g % 4)) & 3) as i8)
    }
}

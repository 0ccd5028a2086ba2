//! Blocks of one group: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Low nibbles are weights 0 to 15, high nibbles 16 to 31.

use super::{Format, GROUP, Scales, block_format, nibbles};

block_format! {
    /// `d: f16, qs: [u8; 16]`.
    Q4_0 [18] { const ZERO: i8 = 8; const MOST: i16 = 15; }
    header: [0];
    scales: |_, [d, _], _| Scales::both(d, 0.0);
    quants: |block, _| nibbles(&block[2..])
}

block_format! {
    /// `d: f16, m: f16, qs: [u8; 16]`.
    Q4_1 [20] { const MIN: bool = true; const MOST: i16 = 15; }
    header: [0, 2];
    scales: |_, [d, min], _| Scales::both(d, min);
    quants: |block, _| nibbles(&block[4..])
}

block_format! {
    /// `d: f16, qh: u32, qs: [u8; 16]`. Bit `i` of `qh` is the fifth bit of weight `i`.
    Q5_0 [22] { const ZERO: i8 = 16; const MOST: i16 = 31; }
    header: [0];
    scales: |_, [d, _], _| Scales::both(d, 0.0);
    quants: |block, _| five_bits(&block[2..6], &block[6..])
}

block_format! {
    /// `d: f16, m: f16, qh: u32, qs: [u8; 16]`.
    Q5_1 [24] { const MIN: bool = true; const MOST: i16 = 31; }
    header: [0, 2];
    scales: |_, [d, min], _| Scales::both(d, min);
    quants: |block, _| five_bits(&block[4..8], &block[8..])
}

block_format! {
    /// `d: f16, qs: [i8; 32]`.
    Q8_0 [34] { const SIGNED: bool = true; }
    header: [0];
    scales: |_, [d, _], _| Scales::both(d, 0.0);
    quants: |block, _| std::array::from_fn(|i| block[2 + i] as i8)
}

fn five_bits(qh: &[u8], qs: &[u8]) -> [i8; GROUP] {
    let low = nibbles(qs);
    std::array::from_fn(|i| low[i] | ((qh[i / 8] >> (i % 8) & 1) << 4) as i8)
}

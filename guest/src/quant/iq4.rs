//! The 4-bit formats whose nibbles are looked up in a table: IQ4_NL and IQ4_XS.

use super::{Codes, Format, GROUP, Scales, block_format, nibbles};

/// The value of each nibble.
pub(crate) const IQ4_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

block_format! {
    /// `d: f16, qs: [u8; 16]`.
    IQ4_NL [18] { const SIGNED: bool = true; }
    header: [0];
    scales: |_, [d, _], _| Scales::both(d, 0.0);
    quants: |block, _| look_up(&block[2..])
}

block_format! {
    /// `d: f16, scales_h: u16, scales_l: [u8; 4], qs: [u8; 128]`.
    IQ4_XS [136] { const SIGNED: bool = true; }
    header: [0];
    codes: |block, g| {
        let low = block[4 + g / 2] >> (4 * (g % 2)) & 0xf;
        let high = block[2 + g / 4] >> (2 * (g % 4)) & 3;
        Codes {
            scale: [(low | high << 4) as i8 - 32; 2],
            min: [0; 2],
        }
    };
    quants: |block, g| look_up(&block[8 + 16 * g..])
}

fn look_up(qs: &[u8]) -> [i8; GROUP] {
    nibbles(qs).map(|nibble| IQ4_VALUES[nibble as usize])
}

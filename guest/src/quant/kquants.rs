//! The k-quants: blocks of eight groups with small scales of their own.

use super::{Codes, Format, GROUP, Scales, block_format};

block_format! {
    /// `scales: [u8; 16], qs: [u8; 64], d: f16, dmin: f16`. Two bits per weight; a scale byte has the scale of 16
    /// weights in its low nibble and their minimum in its high nibble.
    Q2_K [84] { const MOST: i16 = 3; const HALVES: bool = true; const MIN: bool = true; }
    header: [80, 82];
    codes: |block, g| {
        let bytes = [block[2 * g], block[2 * g + 1]];
        Codes {
            scale: bytes.map(|byte| (byte & 0xf) as i8),
            min: bytes.map(|byte| byte >> 4),
        }
    };
    quants: |block, g| {
        let qs = &block[16 + 32 * (g / 4)..];
        std::array::from_fn(|i| (qs[i] >> (2 * (g % 4)) & 3) as i8)
    }
}

block_format! {
    /// `hmask: [u8; 32], qs: [u8; 64], scales: [u8; 12], d: f16`. Three bits per weight, the third in `hmask`.
    Q3_K [110] { const ZERO: i8 = 4; const MOST: i16 = 7; const HALVES: bool = true; }
    header: [108];
    codes: |block, g| {
        // 16 scales of 6 bits, minus 32: four bits in the first 8 bytes, two in the last 4.
        let scale = |j: usize| {
            let low = block[96 + j % 8] >> (4 * (j / 8)) & 0xf;
            let high = block[104 + j % 4] >> (2 * (j / 4)) & 3;
            (low | high << 4) as i8 - 32
        };
        Codes {
            scale: [scale(2 * g), scale(2 * g + 1)],
            min: [0; 2],
        }
    };
    quants: |block, g| {
        let qs = &block[32 + 32 * (g / 4)..];
        std::array::from_fn(|i| {
            let low = qs[i] >> (2 * (g % 4)) & 3;
            let high = block[i] >> g & 1;
            (low | high << 2) as i8
        })
    }
}

block_format! {
    /// `d: f16, dmin: f16, scales: [u8; 12], qs: [u8; 128]`.
    Q4_K [144] { const MOST: i16 = 15; const MIN: bool = true; }
    header: [0, 2];
    codes: |block, g| six_bits(&block[4..16], g);
    quants: |block, g| {
        let qs = &block[16 + 32 * (g / 2)..];
        std::array::from_fn(|i| (qs[i] >> (4 * (g % 2)) & 0xf) as i8)
    }
}

block_format! {
    /// `d: f16, dmin: f16, scales: [u8; 12], qh: [u8; 32], qs: [u8; 128]`.
    Q5_K [176] { const MOST: i16 = 31; const MIN: bool = true; }
    header: [0, 2];
    codes: |block, g| six_bits(&block[4..16], g);
    quants: |block, g| {
        let (qh, qs) = (&block[16..48], &block[48 + 32 * (g / 2)..]);
        std::array::from_fn(|i| (qs[i] >> (4 * (g % 2)) & 0xf | (qh[i] >> g & 1) << 4) as i8)
    }
}

block_format! {
    /// `ql: [u8; 128], qh: [u8; 64], scales: [i8; 16], d: f16`.
    Q6_K [210] { const ZERO: i8 = 32; const MOST: i16 = 63; const HALVES: bool = true; }
    header: [208];
    codes: |block, g| Codes {
        scale: [2 * g, 2 * g + 1].map(|j| block[192 + j] as i8),
        min: [0; 2],
    };
    quants: |block, g| {
        // In each half of the block, groups 0 and 1 have the low nibbles of 64 bytes, groups 2 and 3 the high ones.
        let (half, g) = (g / 4, g % 4);
        let ql = &block[64 * half + 32 * (g % 2)..];
        let qh = &block[128 + 32 * half..];
        std::array::from_fn(|i| (ql[i] >> (4 * (g / 2)) & 0xf | (qh[i] >> (2 * g) & 3) << 4) as i8)
    }
}

/// Scale and minimum `g` of Q4_K and Q5_K: 6 bits each, in 12 bytes.
#[inline(always)]
fn six_bits(scales: &[u8], g: usize) -> Codes {
    let (scale, min) = if g < 4 {
        (scales[g] & 63, scales[g + 4] & 63)
    } else {
        let low = scales[g + 4];
        (
            low & 0xf | scales[g - 4] >> 6 << 4,
            low >> 4 | scales[g] >> 6 << 4,
        )
    };
    Codes::both(scale, min)
}

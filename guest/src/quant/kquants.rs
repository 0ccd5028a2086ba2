//! The k-quants: blocks of eight groups with small scales inside.

use super::block32::f16_at;
use super::{Format, GROUP, Scales};
use crate::gguf::TensorType;

/// `scales: [u8; 16], qs: [u8; 64], d: f16, dmin: f16`. Two bits a weight; a scale byte has the scale of 16 weights
/// below and their minimum above.
pub(crate) struct Q2_K;
/// `hmask: [u8; 32], qs: [u8; 64], scales: [u8; 12], d: f16`. Three bits a weight, the third in `hmask`.
pub(crate) struct Q3_K;
/// `d: f16, dmin: f16, scales: [u8; 12], qs: [u8; 128]`.
pub(crate) struct Q4_K;
/// `d: f16, dmin: f16, scales: [u8; 12], qh: [u8; 32], qs: [u8; 128]`.
pub(crate) struct Q5_K;
/// `ql: [u8; 128], qh: [u8; 64], scales: [i8; 16], d: f16`.
pub(crate) struct Q6_K;

impl Format for Q2_K {
    type Block = [u8; 84];
    const TYPE: TensorType = TensorType::Q2_K;
    const GROUPS: usize = 8;
    const ZERO: i8 = 0;
    const HALVES: bool = true;
    const MIN: bool = true;

    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn header(block: &Self::Block) -> [f32; 2] {
        [f16_at(block, 80), f16_at(block, 82)]
    }

    #[inline(always)]
    fn scales(block: &Self::Block, [d, dmin]: [f32; 2], g: usize) -> Scales {
        let codes = [block[2 * g], block[2 * g + 1]];
        Scales {
            scale: codes.map(|code| d * f32::from(code & 0xf)),
            min: codes.map(|code| -(dmin * f32::from(code >> 4))),
        }
    }

    fn quants(block: &Self::Block, g: usize) -> [i8; GROUP] {
        let qs = &block[16 + 32 * (g / 4)..];
        std::array::from_fn(|i| (qs[i] >> (2 * (g % 4)) & 3) as i8)
    }
}

impl Format for Q3_K {
    type Block = [u8; 110];
    const TYPE: TensorType = TensorType::Q3_K;
    const GROUPS: usize = 8;
    const ZERO: i8 = 4;
    const HALVES: bool = true;

    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn header(block: &Self::Block) -> [f32; 2] {
        [f16_at(block, 108), 0.0]
    }

    #[inline(always)]
    fn scales(block: &Self::Block, [d, _]: [f32; 2], g: usize) -> Scales {
        // 16 scales of 6 bits, less 32: four bits in the first 8 bytes, two in the last 4.
        let scale = |j: usize| {
            let low = block[96 + j % 8] >> (4 * (j / 8)) & 0xf;
            let high = block[104 + j % 4] >> (2 * (j / 4)) & 3;
            d * f32::from((low | high << 4) as i8 - 32)
        };
        Scales {
            scale: [scale(2 * g), scale(2 * g + 1)],
            min: [0.0; 2],
        }
    }

    fn quants(block: &Self::Block, g: usize) -> [i8; GROUP] {
        let qs = &block[32 + 32 * (g / 4)..];
        std::array::from_fn(|i| {
            let low = qs[i] >> (2 * (g % 4)) & 3;
            let high = block[i] >> g & 1;
            (low | high << 2) as i8
        })
    }
}

/// Scale and minimum `g` of Q4_K and Q5_K: 6 bits each, in 12 bytes.
#[inline(always)]
fn scale_and_min(scales: &[u8], g: usize) -> (u8, u8) {
    if g < 4 {
        (scales[g] & 63, scales[g + 4] & 63)
    } else {
        let (low, high) = (scales[g + 4], g - 4);
        (
            low & 0xf | scales[high] >> 6 << 4,
            low >> 4 | scales[g] >> 6 << 4,
        )
    }
}

impl Format for Q4_K {
    type Block = [u8; 144];
    const TYPE: TensorType = TensorType::Q4_K;
    const GROUPS: usize = 8;
    const ZERO: i8 = 0;
    const MIN: bool = true;

    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn header(block: &Self::Block) -> [f32; 2] {
        [f16_at(block, 0), f16_at(block, 2)]
    }

    #[inline(always)]
    fn scales(block: &Self::Block, [d, dmin]: [f32; 2], g: usize) -> Scales {
        let (scale, min) = scale_and_min(&block[4..16], g);
        Scales::both(d * f32::from(scale), -(dmin * f32::from(min)))
    }

    fn quants(block: &Self::Block, g: usize) -> [i8; GROUP] {
        let qs = &block[16 + 32 * (g / 2)..];
        std::array::from_fn(|i| (qs[i] >> (4 * (g % 2)) & 0xf) as i8)
    }
}

impl Format for Q5_K {
    type Block = [u8; 176];
    const TYPE: TensorType = TensorType::Q5_K;
    const GROUPS: usize = 8;
    const ZERO: i8 = 0;
    const MIN: bool = true;

    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn header(block: &Self::Block) -> [f32; 2] {
        [f16_at(block, 0), f16_at(block, 2)]
    }

    #[inline(always)]
    fn scales(block: &Self::Block, [d, dmin]: [f32; 2], g: usize) -> Scales {
        let (scale, min) = scale_and_min(&block[4..16], g);
        Scales::both(d * f32::from(scale), -(dmin * f32::from(min)))
    }

    fn quants(block: &Self::Block, g: usize) -> [i8; GROUP] {
        let (qh, qs) = (&block[16..48], &block[48 + 32 * (g / 2)..]);
        std::array::from_fn(|i| (qs[i] >> (4 * (g % 2)) & 0xf | (qh[i] >> g & 1) << 4) as i8)
    }
}

impl Format for Q6_K {
    type Block = [u8; 210];
    const TYPE: TensorType = TensorType::Q6_K;
    const GROUPS: usize = 8;
    const ZERO: i8 = 32;
    const HALVES: bool = true;

    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn header(block: &Self::Block) -> [f32; 2] {
        [f16_at(block, 208), 0.0]
    }

    #[inline(always)]
    fn scales(block: &Self::Block, [d, _]: [f32; 2], g: usize) -> Scales {
        let scale = |j: usize| d * f32::from(block[192 + j] as i8);
        Scales {
            scale: [scale(2 * g), scale(2 * g + 1)],
            min: [0.0; 2],
        }
    }

    fn quants(block: &Self::Block, g: usize) -> [i8; GROUP] {
        // In each half of the block, groups 0 and 1 have the low nibbles of 64 bytes, groups 2 and 3 the high ones.
        let (half, g) = (g / 4, g % 4);
        let ql = &block[64 * half + 32 * (g % 2)..];
        let qh = &block[128 + 32 * half..];
        std::array::from_fn(|i| (ql[i] >> (4 * (g / 2)) & 0xf | (qh[i] >> (2 * g) & 3) << 4) as i8)
    }
}

const _: () = {
    assert!(TensorType::Q2_K.block_bytes() == 84 && TensorType::Q3_K.block_bytes() == 110);
    assert!(TensorType::Q4_K.block_bytes() == 144 && TensorType::Q5_K.block_bytes() == 176);
    assert!(TensorType::Q6_K.block_bytes() == 210);
};

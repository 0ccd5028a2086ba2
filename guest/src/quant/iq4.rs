//! The 4-bit formats whose nibbles are looked up: IQ4_NL and IQ4_XS.

use super::block32::f16_at;
use super::{Format, GROUP, Scales};
use crate::gguf::TensorType;

/// What a nibble stands for.
pub(crate) const IQ4_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// `d: f16, qs: [u8; 16]`.
pub(crate) struct IQ4_NL;
/// `d: f16, scales_h: u16, scales_l: [u8; 4], qs: [u8; 128]`.
pub(crate) struct IQ4_XS;

impl Format for IQ4_NL {
    type Block = [u8; 18];
    const TYPE: TensorType = TensorType::IQ4_NL;
    const GROUPS: usize = 1;
    const ZERO: i8 = 0;
    const SIGNED: bool = true;

    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn header(block: &Self::Block) -> [f32; 2] {
        [f16_at(block, 0), 0.0]
    }

    #[inline(always)]
    fn scales(_: &Self::Block, [d, _]: [f32; 2], _: usize) -> Scales {
        Scales::both(d, 0.0)
    }

    fn quants(block: &Self::Block, _: usize) -> [i8; GROUP] {
        look_up(&block[2..])
    }
}

impl Format for IQ4_XS {
    type Block = [u8; 136];
    const TYPE: TensorType = TensorType::IQ4_XS;
    const GROUPS: usize = 8;
    const ZERO: i8 = 0;
    const SIGNED: bool = true;

    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn header(block: &Self::Block) -> [f32; 2] {
        [f16_at(block, 0), 0.0]
    }

    #[inline(always)]
    fn scales(block: &Self::Block, [d, _]: [f32; 2], g: usize) -> Scales {
        let low = block[4 + g / 2] >> (4 * (g % 2)) & 0xf;
        let high = block[2 + g / 4] >> (2 * (g % 4)) & 3;
        Scales::both(d * f32::from((low | high << 4) as i8 - 32), 0.0)
    }

    fn quants(block: &Self::Block, g: usize) -> [i8; GROUP] {
        look_up(&block[8 + 16 * g..])
    }
}

/// Low nibbles are weights 0 to 15, high ones 16 to 31.
fn look_up(qs: &[u8]) -> [i8; GROUP] {
    std::array::from_fn(|i| IQ4_VALUES[usize::from(qs[i % 16] >> (4 * (i / 16)) & 0xf)])
}

const _: () = {
    assert!(TensorType::IQ4_NL.block_bytes() == 18 && TensorType::IQ4_XS.block_bytes() == 136);
};

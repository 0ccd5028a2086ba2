//! Blocks of one group: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

use super::float::f16_to_f32;
use super::{Format, GROUP, Scales};
use crate::gguf::TensorType;

/// `d: f16, qs: [u8; 16]`. Low nibbles are weights 0 to 15, high ones 16 to 31, as in the next three formats.
pub(crate) struct Q4_0;
/// `d: f16, m: f16, qs: [u8; 16]`.
pub(crate) struct Q4_1;
/// `d: f16, qh: u32, qs: [u8; 16]`. Bit `i` of `qh` is the fifth bit of weight `i`.
pub(crate) struct Q5_0;
/// `d: f16, m: f16, qh: u32, qs: [u8; 16]`.
pub(crate) struct Q5_1;
/// `d: f16, qs: [i8; 32]`.
pub(crate) struct Q8_0;

macro_rules! block32 {
    ($format:ident, $bytes:literal, $zero:literal, $min:literal, $signed:literal, $quants:expr) => {
        impl Format for $format {
            type Block = [u8; $bytes];
            const TYPE: TensorType = TensorType::$format;
            const GROUPS: usize = 1;
            const ZERO: i8 = $zero;
            const MIN: bool = $min;
            const SIGNED: bool = $signed;

            #[inline(always)]
            fn blocks(bytes: &[u8]) -> &[Self::Block] {
                bytes.as_chunks().0
            }

            #[inline(always)]
            fn header(block: &Self::Block) -> [f32; 2] {
                let min = if $min { f16_at(block, 2) } else { 0.0 };
                [f16_at(block, 0), min]
            }

            #[inline(always)]
            fn scales(_: &Self::Block, [d, min]: [f32; 2], _: usize) -> Scales {
                Scales::both(d, min)
            }

            #[inline(always)]
            fn quants(block: &Self::Block, _: usize) -> [i8; GROUP] {
                $quants(block)
            }
        }

        const _: () = assert!(
            $bytes == TensorType::$format.block_bytes() && TensorType::$format.block_len() == 32
        );
    };
}

block32!(Q4_0, 18, 8, false, false, |b: &[u8; 18]| nibbles(&b[2..]));
block32!(Q4_1, 20, 0, true, false, |b: &[u8; 20]| nibbles(&b[4..]));
block32!(Q5_0, 22, 16, false, false, |b: &[u8; 22]| five_bits(
    &b[2..6],
    &b[6..]
));
block32!(Q5_1, 24, 0, true, false, |b: &[u8; 24]| five_bits(
    &b[4..8],
    &b[8..]
));
block32!(
    Q8_0,
    34,
    0,
    false,
    true,
    |b: &[u8; 34]| std::array::from_fn(|i| b[2 + i] as i8)
);

/// The f16 at byte `at`, as f32.
#[inline(always)]
pub(super) fn f16_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

fn nibbles(qs: &[u8]) -> [i8; GROUP] {
    std::array::from_fn(|i| (qs[i % 16] >> (4 * (i / 16)) & 0xf) as i8)
}

fn five_bits(qh: &[u8], qs: &[u8]) -> [i8; GROUP] {
    let low = nibbles(qs);
    std::array::from_fn(|i| low[i] | ((qh[i / 8] >> (i % 8) & 1) << 4) as i8)
}

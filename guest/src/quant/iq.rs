//! The formats whose weights are looked up in codebooks: IQ2, IQ3 and IQ1, for 1.5 to 3.5 bits per weight.
//!
//! The position of an entry in a codebook stands for eight successive weights, or for four in IQ3. IQ2 and IQ3 have
//! magnitudes in the codebook and the signs beside the positions. IQ1 has -1, 0 and 1 in the codebook, and all weights
//! of an entry are moved by 1/8 up or down; so its quants are eighths.

use super::{
    Codes, Element, F16, Format, GROUP, Scales, SuperBlock, block_format, codebooks, f16_at,
};

/// A format whose quants are entries of a codebook.
pub(crate) trait Codebook: SuperBlock {
    /// The entries of group `g`, eight quants per number, the first in its lowest byte. If there are signs, these are
    /// magnitudes, without the zero point and smaller than it.
    fn entries(block: &Self::Block, g: usize) -> [u64; 4];

    /// The signs of group `g`, if entries are magnitudes: bit `i` is set if weight `i` is negative.
    fn signs(_: &Self::Block, _: usize) -> Option<u32> {
        None
    }
}

block_format! {
    /// `d: f16`, then for each group `positions: [u8; 4], rest: u32`: the signs of the entries, 7 bits each, and the
    /// scale in the 4 highest bits.
    IQ2_XXS [66] { const ZERO: i8 = 64; const HALVES: bool = true; }
    header: |block| [f16_at(block, 0) / 8.0, 0.0];
    codes: |block, g| odd([block[9 + 8 * g] >> 4; 2]);
    quants: |block, g| quants::<Self>(block, g)
}

impl Codebook for IQ2_XXS {
    #[inline(always)]
    fn entries(block: &Self::Block, g: usize) -> [u64; 4] {
        std::array::from_fn(|l| codebooks::IQ2_XXS[usize::from(block[2 + 8 * g + l])])
    }

    #[inline(always)]
    fn signs(block: &Self::Block, g: usize) -> Option<u32> {
        Some(even(apart(u32_at(block, 6 + 8 * g))))
    }
}

block_format! {
    /// `d: f16, qs: [u16; 32], scales: [u8; 8]`. A number of `qs` has a position in its lower 9 bits, and 7 bits of the
    /// signs; a scale byte has the scales of a group's halves.
    IQ2_XS [74] { const ZERO: i8 = 64; const HALVES: bool = true; }
    header: |block| [f16_at(block, 0) / 8.0, 0.0];
    codes: |block, g| odd(nibbles(block[66 + g]));
    quants: |block, g| quants::<Self>(block, g)
}

impl Codebook for IQ2_XS {
    #[inline(always)]
    fn entries(block: &Self::Block, g: usize) -> [u64; 4] {
        std::array::from_fn(|l| {
            codebooks::IQ2_XS[usize::from(u16_at(block, 2 + 8 * g + 2 * l) & 511)]
        })
    }

    #[inline(always)]
    fn signs(block: &Self::Block, g: usize) -> Option<u32> {
        let sevens = std::array::from_fn(|l| block[3 + 8 * g + 2 * l] >> 1);
        Some(even(u32::from_le_bytes(sevens)))
    }
}

block_format! {
    /// `d: f16, positions: [u8; 32], signs: [u8; 32], high: [u8; 8], scales: [u8; 8]`. A byte of `high` has two more
    /// bits for each of a group's positions.
    IQ2_S [82] { const ZERO: i8 = 64; const HALVES: bool = true; }
    header: |block| [f16_at(block, 0) / 8.0, 0.0];
    codes: |block, g| odd(nibbles(block[74 + g]));
    quants: |block, g| quants::<Self>(block, g)
}

impl Codebook for IQ2_S {
    #[inline(always)]
    fn entries(block: &Self::Block, g: usize) -> [u64; 4] {
        std::array::from_fn(|l| {
            let (low, high) = (block[2 + 4 * g + l], block[66 + g] >> (2 * l) & 3);
            codebooks::IQ2_S[usize::from(low) | usize::from(high) << 8]
        })
    }

    #[inline(always)]
    fn signs(block: &Self::Block, g: usize) -> Option<u32> {
        Some(u32_at(block, 34 + 4 * g))
    }
}

block_format! {
    /// `d: f16, positions: [u8; 64], rest: [u32; 8]`: for each group the signs, 7 bits for each eight weights, and the
    /// scale in the 4 highest bits.
    IQ3_XXS [98] { const ZERO: i8 = 64; const HALVES: bool = true; }
    header: |block| [f16_at(block, 0) / 4.0, 0.0];
    codes: |block, g| odd([block[69 + 4 * g] >> 4; 2]);
    quants: |block, g| quants::<Self>(block, g)
}

impl Codebook for IQ3_XXS {
    #[inline(always)]
    fn entries(block: &Self::Block, g: usize) -> [u64; 4] {
        let entry = |i: usize| codebooks::IQ3_XXS[usize::from(block[2 + 8 * g + i])];
        std::array::from_fn(|l| entry(2 * l) | entry(2 * l + 1) << 32)
    }

    #[inline(always)]
    fn signs(block: &Self::Block, g: usize) -> Option<u32> {
        Some(even(apart(u32_at(block, 66 + 4 * g))))
    }
}

block_format! {
    /// `d: f16, positions: [u8; 64], high: [u8; 8], signs: [u8; 32], scales: [u8; 4]`. A byte of `high` has one more bit
    /// for each of a group's positions; a scale byte has the scales of two groups.
    IQ3_S [110] { const ZERO: i8 = 16; }
    header: [0];
    codes: |block, g| odd([nibbles(block[106 + g / 2])[g % 2]; 2]);
    quants: |block, g| quants::<Self>(block, g)
}

impl Codebook for IQ3_S {
    #[inline(always)]
    fn entries(block: &Self::Block, g: usize) -> [u64; 4] {
        let entry = |i: usize| {
            let (low, high) = (block[2 + 8 * g + i], block[66 + g] >> i & 1);
            codebooks::IQ3_S[usize::from(low) | usize::from(high) << 8]
        };
        std::array::from_fn(|l| entry(2 * l) | entry(2 * l + 1) << 32)
    }

    #[inline(always)]
    fn signs(block: &Self::Block, g: usize) -> Option<u32> {
        Some(u32_at(block, 74 + 4 * g))
    }
}

block_format! {
    /// `d: f16, positions: [u8; 32], rest: [u16; 8]`: for each group three more bits for each position, the scale in
    /// bits 12 to 14, and whether weights are moved down in bit 15.
    IQ1_S [50] { const ZERO: i8 = 16; }
    header: |block| [f16_at(block, 0) / 8.0, 0.0];
    codes: |block, g| odd([block[35 + 2 * g] >> 4 & 7; 2]);
    quants: |block, g| quants::<Self>(block, g)
}

impl Codebook for IQ1_S {
    #[inline(always)]
    fn entries(block: &Self::Block, g: usize) -> [u64; 4] {
        let rest = u16_at(block, 34 + 2 * g);
        std::array::from_fn(|l| {
            let (low, high) = (block[2 + 4 * g + l], rest >> (3 * l) & 7);
            let entry = codebooks::IQ1[usize::from(low) | usize::from(high) << 8];
            moved(entry, rest >> 15)
        })
    }
}

block_format! {
    /// `positions: [u8; 32], rest: [u8; 16], scales: [u16; 4]`. A nibble of `rest` has three more bits for a position,
    /// and whether its weights are moved down. A number of `scales` has the scales of the halves of two groups, three
    /// bits each, and four bits of the block's own scale, an f16.
    IQ1_M [56] { const ZERO: i8 = 16; const HALVES: bool = true; }
    header: |block| [F16::to_f32(Self::scale(block)) / 8.0, 0.0];
    codes: |block, g| {
        let scales = u16_at(block, 48 + g / 2 * 2) >> (6 * (g % 2));
        odd([(scales & 7) as u8, (scales >> 3 & 7) as u8])
    };
    quants: |block, g| quants::<Self>(block, g)
}

impl IQ1_M {
    /// The bytes of the block's own scale: an f16.
    #[inline(always)]
    pub(crate) fn scale(block: &[u8; 56]) -> [u8; 2] {
        let nibble = |i: usize| block[49 + 2 * i] >> 4;
        [nibble(0) | nibble(1) << 4, nibble(2) | nibble(3) << 4]
    }
}

impl Codebook for IQ1_M {
    #[inline(always)]
    fn entries(block: &Self::Block, g: usize) -> [u64; 4] {
        std::array::from_fn(|l| {
            let rest = block[32 + 2 * g + l / 2] >> (4 * (l % 2));
            let (low, high) = (block[4 * g + l], rest & 7);
            let entry = codebooks::IQ1[usize::from(low) | usize::from(high) << 8];
            moved(entry, u16::from(rest >> 3 & 1))
        })
    }
}

/// The quants of group `g`.
#[inline(always)]
fn quants<F: Codebook>(block: &F::Block, g: usize) -> [i8; GROUP] {
    let bytes = F::entries(block, g).map(u64::to_le_bytes);
    let entry = |i: usize| bytes[i / 8][i % 8] as i8;
    match F::signs(block, g) {
        None => std::array::from_fn(entry),
        Some(signs) => std::array::from_fn(|i| match signs >> i & 1 {
            0 => F::ZERO + entry(i),
            _ => F::ZERO - entry(i),
        }),
    }
}

/// The odd numbers from 1 on that scales are stored as.
#[inline(always)]
fn odd(codes: [u8; 2]) -> Codes {
    Codes {
        scale: codes.map(|code| (2 * code + 1) as i8),
        min: [0; 2],
    }
}

#[inline(always)]
fn nibbles(byte: u8) -> [u8; 2] {
    [byte & 0xf, byte >> 4]
}

/// An entry of IQ1 whose weights are moved by an eighth, down if `down` is 1.
#[inline(always)]
fn moved(entry: u64, down: u16) -> u64 {
    const EIGHTH: u64 = 0x0101_0101_0101_0101;
    match down {
        0 => entry + EIGHTH,
        _ => entry - EIGHTH,
    }
}

/// Moves the four lowest fields of seven bits into bytes.
#[inline(always)]
fn apart(fields: u32) -> u32 {
    fields & 0x7f | fields << 1 & 0x7f << 8 | fields << 2 & 0x7f << 16 | fields << 3 & 0x7f << 24
}

/// Sets the highest bit of each byte so that the number of ones in the byte is even.
#[inline(always)]
fn even(sevens: u32) -> u32 {
    let mut parity = sevens ^ sevens >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    sevens | (parity & 0x0101_0101) << 7
}

/// The u16 at byte `at`.
#[inline(always)]
fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// The u32 at byte `at`.
#[inline(always)]
fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| block[at + i]))
}

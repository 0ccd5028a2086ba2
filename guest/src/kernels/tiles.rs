//! Activations of four tokens at a time, in the form that the products of a batch read.
//!
//! A *word* is four bytes of a token: four quants in 8 bits (in a *narrow* tile) or two in 16 bits (in a *wide* one).
//! It is repeated in all lanes of a vector, because it is multiplied with words of four rows of weights. Most
//! processors have only one execution port for that repetition, which would dominate a product; so it is done once for
//! all rows of all matrices that read the input.

use super::activations::{ActivationBlock, ActivationGroup, BLOCK};
use crate::quant::{GROUP, GROUPS, ROWS};

/// Tokens in a tile: as many as leave enough registers for the rest.
pub(crate) const TILE: usize = 4;

/// Columns of weights that are unpacked at once and multiplied with the same columns of all tiles: 16 bytes per word of
/// four rows. Few enough for a panel of rows to stay in the L1 cache together with a tile.
pub(crate) const fn strip_cols(narrow: bool) -> usize {
    if narrow { 512 } else { 256 }
}

/// Whether a batch is computed in tiles. Unpacking weights for them pays off from four tokens on; fewer are computed
/// one by one.
pub(crate) fn in_tiles(tokens: usize) -> bool {
    tokens >= TILE
}

/// Four bytes in all lanes of a vector.
pub(crate) type Word = [[u8; 4]; ROWS];

/// Whether this many words hold this many quants in 8 bits each; otherwise each has 16 bits.
pub(crate) const fn is_narrow(words: usize, quants: usize) -> bool {
    assert!(4 * words == quants || 2 * words == quants, "8 or 16 bits");
    4 * words == quants
}

/// The activations of four tokens for one block of weights.
pub(crate) trait Tile: Copy + 'static {
    /// The same for one token.
    type Token: Copy;
    /// Whether quants have 8 bits.
    const NARROW: bool;
    const EMPTY: Self;

    /// Sets token `t`.
    fn set(&mut self, t: usize, token: &Self::Token);

    /// Reads token `t` back.
    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    fn token(&self, t: usize) -> Self::Token;
}

/// Groups of four tokens in `WORDS` words: 8 or 16.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GroupTile<const WORDS: usize> {
    /// `[word][token]`
    pub(crate) q: [[Word; TILE]; WORDS],
    pub(crate) d: [[f32; ROWS]; TILE],
    pub(crate) sums: [Word; TILE],
}

/// Blocks of four tokens in `WORDS` words: 64 or 128.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BlockTile<const WORDS: usize> {
    /// `[word][token]`
    pub(crate) q: [[Word; TILE]; WORDS],
    pub(crate) d: [[f32; ROWS]; TILE],
    pub(crate) half_sums: [[Word; TILE]; GROUPS],
    pub(crate) group_sums: [[Word; TILE]; GROUPS / 2],
}

impl<const WORDS: usize> Tile for GroupTile<WORDS> {
    type Token = ActivationGroup;
    const NARROW: bool = is_narrow(WORDS, GROUP);
    const EMPTY: Self = Self {
        q: [[[[0; 4]; ROWS]; TILE]; WORDS],
        d: [[0.0; ROWS]; TILE],
        sums: [[[0; 4]; ROWS]; TILE],
    };

    fn set(&mut self, t: usize, token: &ActivationGroup) {
        set_quants(&mut self.q, t, &token.q);
        self.d[t] = [token.d; ROWS];
        self.sums[t] = [token.sum.to_le_bytes(); ROWS];
    }

    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    fn token(&self, t: usize) -> ActivationGroup {
        ActivationGroup {
            q: quants(&self.q, t),
            d: self.d[t][0],
            sum: i32::from_le_bytes(self.sums[t][0]),
            negative: quants::<GROUP, WORDS>(&self.q, t)
                .into_iter()
                .map(|q| i32::from(-q.min(0)))
                .sum(),
        }
    }
}

/// For blocks of several groups.
impl<const WORDS: usize, const N: usize> Tile for [GroupTile<WORDS>; N] {
    type Token = [ActivationGroup; N];
    const NARROW: bool = <GroupTile<WORDS> as Tile>::NARROW;
    const EMPTY: Self = [<GroupTile<WORDS> as Tile>::EMPTY; N];

    fn set(&mut self, t: usize, token: &[ActivationGroup; N]) {
        for (tile, token) in self.iter_mut().zip(token) {
            tile.set(t, token);
        }
    }

    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    fn token(&self, t: usize) -> [ActivationGroup; N] {
        std::array::from_fn(|i| self[i].token(t))
    }
}

impl<const WORDS: usize> Tile for BlockTile<WORDS> {
    type Token = ActivationBlock;
    const NARROW: bool = is_narrow(WORDS, BLOCK);
    const EMPTY: Self = Self {
        q: [[[[0; 4]; ROWS]; TILE]; WORDS],
        d: [[0.0; ROWS]; TILE],
        half_sums: [[[[0; 4]; ROWS]; TILE]; GROUPS],
        group_sums: [[[[0; 4]; ROWS]; TILE]; GROUPS / 2],
    };

    fn set(&mut self, t: usize, token: &ActivationBlock) {
        set_quants(&mut self.q, t, &token.q);
        self.d[t] = [token.d; ROWS];
        set_pairs(&mut self.half_sums, t, &token.half_sums);
        set_pairs(&mut self.group_sums, t, &token.group_sums);
    }

    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    fn token(&self, t: usize) -> ActivationBlock {
        ActivationBlock {
            q: quants(&self.q, t),
            d: self.d[t][0],
            half_sums: numbers(&self.half_sums, t),
            group_sums: numbers(&self.group_sums, t),
        }
    }
}

/// Stores the quants of token `t` as words.
#[inline(always)]
fn set_quants<const WORDS: usize>(words: &mut [[Word; TILE]; WORDS], t: usize, q: &[i8]) {
    if is_narrow(WORDS, q.len()) {
        for (word, q) in words.iter_mut().zip(q.as_chunks::<4>().0) {
            word[t] = [q.map(|q| q as u8); ROWS];
        }
    } else {
        for (word, q) in words.iter_mut().zip(q.as_chunks::<2>().0) {
            word[t] = [pair(q.map(i16::from)); ROWS];
        }
    }
}

/// Stores the numbers of token `t` as words.
#[inline(always)]
fn set_pairs(words: &mut [[Word; TILE]], t: usize, numbers: &[i16]) {
    for (word, numbers) in words.iter_mut().zip(numbers.as_chunks::<2>().0) {
        word[t] = [pair(*numbers); ROWS];
    }
}

#[inline(always)]
fn pair([a, b]: [i16; 2]) -> [u8; 4] {
    let ([a, b], [c, d]) = (a.to_le_bytes(), b.to_le_bytes());
    [a, b, c, d]
}

/// The quants of token `t`.
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
fn quants<const N: usize, const WORDS: usize>(words: &[[Word; TILE]; WORDS], t: usize) -> [i8; N] {
    match is_narrow(WORDS, N) {
        true => std::array::from_fn(|i| words[i / 4][t][0][i % 4] as i8),
        false => numbers::<N>(words, t).map(|q| q as i8),
    }
}

/// The numbers of token `t`.
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
fn numbers<const N: usize>(words: &[[Word; TILE]], t: usize) -> [i16; N] {
    std::array::from_fn(|i| {
        let [a, b, c, d] = words[i / 2][t][0];
        i16::from_le_bytes([[a, b], [c, d]][i % 2])
    })
}

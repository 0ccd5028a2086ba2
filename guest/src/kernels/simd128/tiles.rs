//! Rows of weights for products with tiles: unpacked, and four rows crossed (transposed), so that the lanes of a vector
//! are rows.
//!
//! A product with a tile only loads, multiplies and adds vectors. Unpacking and crossing take about as long as a
//! product, and all tiles share the result.

use core::arch::wasm32::*;

use super::each_lane;
use super::unpack::{Group, Groups};
use crate::kernels::tiles::is_narrow;
use crate::quant::{Format, GROUP, GROUPS, ROWS};

const ZERO: v128 = i32x4(0, 0, 0, 0);

/// A group of four rows, narrow or wide like [`crate::kernels::tiles::GroupTile`] with the same number of words.
#[derive(Clone, Copy)]
pub(crate) struct CrossedGroup<const WORDS: usize> {
    /// The quants; in wide groups minus their zero point.
    pub(super) words: [v128; WORDS],
    /// As in [`Group::headers`].
    pub(super) scale: v128,
    pub(super) min: v128,
}

/// A block of eight groups of four rows, in the same form.
#[derive(Clone, Copy)]
pub(crate) struct CrossedBlock<const WORDS: usize> {
    /// The quants; in wide blocks minus their zero point and times their scale.
    pub(super) words: [v128; WORDS],
    /// The scale of each group, or of each half of one, stored twice in 16 bits.
    pub(super) scales: [v128; 2 * GROUPS],
    /// The minima of the groups, or of their halves, two per word. In narrow blocks with a zero point: the scales of the
    /// halves times that.
    pub(super) minima: [v128; GROUPS],
    pub(super) scale: v128,
    pub(super) min: v128,
}

impl<const WORDS: usize> CrossedGroup<WORDS> {
    pub(super) const EMPTY: Self = Self {
        words: [ZERO; WORDS],
        scale: ZERO,
        min: ZERO,
    };

    #[inline(always)]
    pub(super) fn fill<F: Group>(&mut self, blocks: [&F::Block; ROWS], g: usize) {
        let quants = each_lane!(|r| F::unpack(blocks[r], g));
        if is_narrow(WORDS, GROUP) {
            let [low, high] = cross_halves(quants);
            self.words[..4].copy_from_slice(&low);
            self.words[4..8].copy_from_slice(&high);
        } else {
            let [a, b, c, d] = cross_wide::<F>(quants);
            self.words[..4].copy_from_slice(&a);
            self.words[4..8].copy_from_slice(&b);
            self.words[8..12].copy_from_slice(&c);
            self.words[12..16].copy_from_slice(&d);
        }
        (self.scale, self.min) = F::headers(blocks, g);
    }
}

impl<const WORDS: usize> CrossedBlock<WORDS> {
    pub(super) const EMPTY: Self = Self {
        words: [ZERO; WORDS],
        scales: [ZERO; 2 * GROUPS],
        minima: [ZERO; GROUPS],
        scale: ZERO,
        min: ZERO,
    };

    #[inline(always)]
    pub(super) fn fill<F: Groups>(&mut self, blocks: [&F::Block; ROWS]) {
        let codes = each_lane!(|r| F::scale_vectors(blocks[r]));
        let [low, high] = cross_halves(each_lane!(|r| twice(codes[r][0])));
        self.scales[..4].copy_from_slice(&low);
        self.scales[4..8].copy_from_slice(&high);
        if F::HALVES {
            let [low, high] = cross_halves(each_lane!(|r| twice(codes[r][1])));
            self.scales[8..12].copy_from_slice(&low);
            self.scales[12..].copy_from_slice(&high);
        }
        if F::MIN {
            let minima = each_lane!(|r| F::min_vectors(blocks[r]));
            let [low, high] = cross_halves(each_lane!(|r| (minima[r][0], minima[r][1])));
            self.minima[..4].copy_from_slice(&low);
            self.minima[4..].copy_from_slice(&high);
        }
        if F::ZERO != 0 && is_narrow(WORDS, GROUPS * GROUP) {
            let zero = i16x8_splat(i16::from(F::ZERO));
            let zeros = each_lane!(|r| {
                let [low, high] = codes[r];
                (i16x8_mul(low, zero), i16x8_mul(high, zero))
            });
            let [low, high] = cross_halves(zeros);
            self.minima[..4].copy_from_slice(&low);
            self.minima[4..].copy_from_slice(&high);
        }
        for g in 0..GROUPS {
            let quants = each_lane!(|r| F::unpack(blocks[r], g));
            if is_narrow(WORDS, GROUPS * GROUP) {
                let [low, high] = cross_halves(quants);
                self.words[8 * g..][..4].copy_from_slice(&low);
                self.words[8 * g + 4..][..4].copy_from_slice(&high);
            } else {
                let [first, second] = match F::HALVES {
                    true => [self.scales[2 * g], self.scales[2 * g + 1]],
                    false => [self.scales[g]; 2],
                };
                let [a, b, c, d] = cross_wide::<F>(quants);
                let words = &mut self.words[16 * g..][..16];
                words[..4].copy_from_slice(&each_lane!(|k| i16x8_mul(a[k], first)));
                words[4..8].copy_from_slice(&each_lane!(|k| i16x8_mul(b[k], first)));
                words[8..12].copy_from_slice(&each_lane!(|k| i16x8_mul(c[k], second)));
                words[12..].copy_from_slice(&each_lane!(|k| i16x8_mul(d[k], second)));
            }
        }
        (self.scale, self.min) = F::headers(blocks);
    }
}

/// Turns four vectors, one per row, into four with a word of each row.
#[inline(always)]
fn cross([a, b, c, d]: [v128; ROWS]) -> [v128; 4] {
    let (ab, cd) = (
        i32x4_shuffle::<0, 4, 1, 5>(a, b),
        i32x4_shuffle::<0, 4, 1, 5>(c, d),
    );
    let (ef, gh) = (
        i32x4_shuffle::<2, 6, 3, 7>(a, b),
        i32x4_shuffle::<2, 6, 3, 7>(c, d),
    );
    [
        i64x2_shuffle::<0, 2>(ab, cd),
        i64x2_shuffle::<1, 3>(ab, cd),
        i64x2_shuffle::<0, 2>(ef, gh),
        i64x2_shuffle::<1, 3>(ef, gh),
    ]
}

/// The same for two vectors per row.
#[inline(always)]
pub(super) fn cross_halves(rows: [(v128, v128); ROWS]) -> [[v128; 4]; 2] {
    [
        cross(each_lane!(|r| rows[r].0)),
        cross(each_lane!(|r| rows[r].1)),
    ]
}

/// The same for quants in 16 bits, minus their zero point. They are crossed as bytes, and then widened.
#[inline(always)]
fn cross_wide<F: Format>(rows: [(v128, v128); ROWS]) -> [[v128; 4]; 4] {
    let low = |v| match F::SIGNED {
        true => i16x8_extend_low_i8x16(v),
        false => i16x8_extend_low_u8x16(v),
    };
    let high = |v| match F::SIGNED {
        true => i16x8_extend_high_i8x16(v),
        false => i16x8_extend_high_u8x16(v),
    };
    let without_zero = |v| match F::ZERO {
        0 => v,
        zero => i16x8_sub(v, i16x8_splat(i16::from(zero))),
    };
    let wide = |v| [without_zero(low(v)), without_zero(high(v))];
    let [a, b, c, d] = cross_pairs(each_lane!(|r| rows[r].0)).map(wide);
    let [e, f, g, h] = cross_pairs(each_lane!(|r| rows[r].1)).map(wide);
    [
        [a[0], a[1], b[0], b[1]],
        [c[0], c[1], d[0], d[1]],
        [e[0], e[1], f[0], f[1]],
        [g[0], g[1], h[0], h[1]],
    ]
}

/// Turns four vectors, one per row, into four with two pairs of bytes of each row: first the pairs that start one word,
/// then those that start the next.
#[inline(always)]
fn cross_pairs([a, b, c, d]: [v128; ROWS]) -> [v128; 4] {
    let low = |a, b| i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
    let high = |a, b| i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b);
    let (ab, cd, ef, gh) = (low(a, b), low(c, d), high(a, b), high(c, d));
    [
        i32x4_shuffle::<0, 4, 1, 5>(ab, cd),
        i32x4_shuffle::<2, 6, 3, 7>(ab, cd),
        i32x4_shuffle::<0, 4, 1, 5>(ef, gh),
        i32x4_shuffle::<2, 6, 3, 7>(ef, gh),
    ]
}

/// Repeats each of eight 16-bit numbers.
#[inline(always)]
fn twice(v: v128) -> (v128, v128) {
    (
        i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(v, v),
        i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(v, v),
    )
}

/// Multiplies words `$k` of four rows with words `$k` of `$tokens` tokens of the tile, and adds the products to one sum
/// per token. After every two words [`super::settle`] forces them to be computed: more would not fit into the
/// registers.
macro_rules! add_words {
    ($sums:ident, $tokens:expr, $words:expr, $q:expr, $dot:ident, $add:ident: $($k:literal)*) => {
        $({
            let word = $words[$k];
            each_token!($tokens, |t| {
                let q = load($q[$k][t].as_flattened());
                $sums[t] = $add($sums[t], $dot(q, word));
                if $k % 2 == 1 {
                    settle($sums[t]);
                }
            });
        })*
    };
}
pub(super) use add_words;

/// How many words of quants up to `most` a 16-bit lane sums the products of with activations: 8, or 4 if the halves of a
/// group are apart, or fewer, so that they fit.
pub(super) const fn words_together(most: i16, halves: bool) -> usize {
    let fit = i16::MAX as usize / (2 * 127 * most as usize);
    let most = if halves { 4 } else { 8 };
    match fit {
        8.. => most,
        4..8 => 4,
        2..4 => 2,
        _ => 1,
    }
}

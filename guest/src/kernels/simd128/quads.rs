//! Dot products of packed rows (see [`crate::quant::Packed`]): lanes are the rows of a quad.
//!
//! A *word* has four quants of each of four rows, and is multiplied with four activations repeated in all lanes; sums
//! of two words, or of more if quants are small, stay in 16 bits.

use core::arch::wasm32::*;

use super::tiles::{CrossedBlock, CrossedGroup, cross_halves};
use super::unpack::{FP4_UNSIGNED, Group, Groups, bits, half_powers_of};
use super::vector::store4;
use super::{
    Dot, dot_i7, each_lane, finite_f16_lanes, load, load_group, load8, pick, settle, up_to,
};
use crate::kernels::activations::{ActivationBlock, ActivationGroup};
use crate::kernels::tiles::is_narrow;
use crate::quant::{
    Format, GROUP, GROUPS, MXFP4, Packed, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, ROWS,
};

/// A format with packed rows that activations can be multiplied with; see the scalar kernels.
pub(crate) trait DotQuads: Packed + Dot {
    /// Packs four blocks.
    fn pack(blocks: [&Self::Block; ROWS], quad: &mut Self::Quad);

    /// Multiplies some rows of quads with one token: `[row of quads][row]`.
    fn dot_quads<const N: usize>(
        quads: [&[Self::Quad]; N],
        token: &[Self::Token],
    ) -> [[f32; ROWS]; N];

    /// Unpacks quads.
    fn cross_quads(quads: &[Self::Quad], strip: &mut [Self::Crossed]);
}

/// `$body` for each number below `$n`, in a loop: for long bodies.
macro_rules! in_turn {
    ($n:expr, |$i:ident| $body:expr) => {
        for $i in 0..$n {
            $body;
        }
    };
}

macro_rules! dot_quads {
    ($kind:ident, $each:ident: $($format:ident),*) => {
        $(impl DotQuads for $format {
            #[inline(always)]
            fn pack(blocks: [&Self::Block; ROWS], quad: &mut Self::Quad) {
                Self::pack_header(blocks, quad);
                let out = &mut quad.as_mut()[ROWS * Self::HEADER..];
                up_to!(Self::GROUPS, |g| {
                    let codes = each_lane!(|r| <Self as $kind::Read>::codes(blocks[r], g));
                    store_words(Self::WIDTH, cross_halves(codes), &mut out[16 * Self::WIDTH * g..]);
                });
            }

            #[inline(never)]
            fn dot_quads<const N: usize>(
                quads: [&[Self::Quad]; N],
                token: &[Self::Token],
            ) -> [[f32; ROWS]; N] {
                let quads = quads.map(|quads| &quads[..token.len()]);
                let mut sums = [f32x4_splat(0.0); N];
                for (c, token) in token.iter().enumerate() {
                    $each!(N, |i| sums[i] = $kind::add::<Self>(&quads[i][c], token, sums[i]));
                }
                sums.map(|sum| {
                    let mut out = [0.0; ROWS];
                    store4(sum, &mut out);
                    out
                })
            }

            #[inline(never)]
            fn cross_quads(quads: &[Self::Quad], strip: &mut [Self::Crossed]) {
                for (quad, out) in quads.iter().zip(strip) {
                    $kind::cross::<Self, _>(quad, out);
                }
            }
        })*
    };
}
dot_quads!(group, up_to: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4);
dot_quads!(block, in_turn: Q4_K, Q5_K, Q6_K);

/// The words of half a group.
type Words = [v128; 4];

/// The codes of a group, below 64, as the layout says.
#[inline(always)]
fn load_words(width: usize, bytes: &[u8]) -> [Words; 2] {
    match width {
        4 => nibbles(each_lane!(|i| load(&bytes[16 * i..]))),
        5 => {
            let v = each_lane!(|i| load(&bytes[16 * i..]));
            let last = load(&bytes[64..]);
            let pieces = |a, b| {
                let lower = bits(a, 5, 7);
                v128_or(lower, u16x8_shr(v128_and(b, u8x16_splat(0x60)), 2))
            };
            let top = |v, by| u16x8_shr(v128_and(v, u8x16_splat(0x80)), by);
            let seventh = v128_or(bits(last, 5, 7), v128_or(top(v[1], 4), top(v[3], 3)));
            [
                each_lane!(|i| bits(v[i], 0, 31)),
                [
                    bits(last, 0, 31),
                    pieces(v[0], v[1]),
                    pieces(v[2], v[3]),
                    seventh,
                ],
            ]
        }
        _ => [six_bits(bytes), six_bits(&bytes[48..])],
    }
}

/// The lower nibbles of four vectors, and the upper ones.
#[inline(always)]
fn nibbles(v: [v128; 4]) -> [Words; 2] {
    [
        each_lane!(|i| bits(v[i], 0, 15)),
        each_lane!(|i| bits(v[i], 4, 15)),
    ]
}

/// Four words of six bits.
#[inline(always)]
fn six_bits(bytes: &[u8]) -> Words {
    let [a, b, c] = [load(bytes), load(&bytes[16..]), load(&bytes[32..])];
    let upper = |v| v128_and(v, u8x16_splat(0xc0));
    let pieces = v128_or(
        upper(c),
        v128_or(u16x8_shr(upper(b), 2), u16x8_shr(upper(a), 4)),
    );
    [
        bits(a, 0, 63),
        bits(b, 0, 63),
        bits(c, 0, 63),
        u16x8_shr(pieces, 2),
    ]
}

/// The inverse of [`load_words`], and of loading eight words of 8 bits.
#[inline(always)]
fn store_words(width: usize, words: [Words; 2], out: &mut [u8]) {
    let w = words.as_flattened();
    // Bits `from` to `from + n` of each byte, moved up to `to`.
    let moved = |v, from, n: u32, to| u16x8_shl(bits(v, from, (1 << n) - 1), to);
    let mut store = |k: usize, v: v128| {
        let halves = [u64x2_extract_lane::<0>(v), u64x2_extract_lane::<1>(v)];
        out[16 * k..][..8].copy_from_slice(&halves[0].to_le_bytes());
        out[16 * k + 8..][..8].copy_from_slice(&halves[1].to_le_bytes());
    };
    match width {
        4 => {
            up_to!(4, |k| store(k, v128_or(w[k], u16x8_shl(w[k + 4], 4))));
        }
        5 => {
            store(0, v128_or(w[0], moved(w[5], 0, 3, 5)));
            let upper = v128_or(moved(w[5], 3, 2, 5), moved(w[7], 3, 1, 7));
            store(1, v128_or(w[1], upper));
            store(2, v128_or(w[2], moved(w[6], 0, 3, 5)));
            let upper = v128_or(moved(w[6], 3, 2, 5), moved(w[7], 4, 1, 7));
            store(3, v128_or(w[3], upper));
            store(4, v128_or(w[4], moved(w[7], 0, 3, 5)));
        }
        6 => {
            up_to!(2, |half| {
                let (w, last) = (&w[4 * half..], w[4 * half + 3]);
                store(3 * half, v128_or(w[0], moved(last, 0, 2, 6)));
                store(3 * half + 1, v128_or(w[1], moved(last, 2, 2, 6)));
                store(3 * half + 2, v128_or(w[2], moved(last, 4, 2, 6)));
            });
        }
        _ => {
            up_to!(8, |k| store(k, w[k]));
        }
    }
}

/// Word `K` of a vector in all lanes.
#[inline(always)]
fn in_all<const K: usize>(v: v128) -> v128 {
    i32x4_shuffle::<K, K, K, K>(v, v)
}

/// The products of two words, and of the next two, with 16 activations: sums of four products in lanes of 16 bits,
/// where quants below 64 fit.
#[inline(always)]
fn products(words: Words, q: v128) -> [v128; 2] {
    let products = [
        dot_i7(in_all::<0>(q), words[0]),
        dot_i7(in_all::<1>(q), words[1]),
        dot_i7(in_all::<2>(q), words[2]),
        dot_i7(in_all::<3>(q), words[3]),
    ];
    [
        i16x8_add(products[0], products[1]),
        i16x8_add(products[2], products[3]),
    ]
}

/// The same of four words of quants up to 31.
#[inline(always)]
fn products_of_four(words: Words, q: v128) -> v128 {
    let [first, second] = products(words, q);
    i16x8_add(first, second)
}

/// The bits of the four f16 numbers at `at`, each in 32 bits.
#[inline(always)]
fn four_f16(quad: &[u8], at: usize) -> v128 {
    let bits = u64::from_le_bytes(std::array::from_fn(|i| quad[at + i]));
    u32x4_extend_low_u16x8(u64x2(bits, 0))
}

/// The four f16 numbers at `at`, none of which is infinite or NaN ([`Packed::FINITE`]).
#[inline(always)]
fn halves(quad: &[u8], at: usize) -> v128 {
    finite_f16_lanes(four_f16(quad, at))
}

/// The same where few are subnormal: those would be slow.
#[inline(always)]
fn finite_halves(quad: &[u8], at: usize) -> v128 {
    let placed = i32x4_shr(i32x4_shl(four_f16(quad, at), 16), 3);
    let placed = v128_and(placed, u32x4_splat(0x8fff_e000));
    f32x4_mul(placed, f32x4_splat(f32::from_bits((127 + 112) << 23)))
}

/// Formats whose blocks are one group.
mod group {
    use super::*;

    /// How a format's quads are read.
    pub(super) trait Read: Packed + Group {
        /// What is subtracted from quants.
        const OFFSET: i32 = Self::ZERO as i32;
        /// Whether quants are at most 15, so that sums of eight words stay in 16 bits.
        const IS_SMALL: bool = Self::WIDTH == 4;

        /// The scales, and the minima.
        #[inline(always)]
        fn scales_and_minima(quad: &[u8]) -> (v128, v128) {
            let minima = match Self::MIN {
                true => finite_halves(quad, 8),
                false => f32x4_splat(0.0),
            };
            (finite_halves(quad, 0), minima)
        }

        /// The codes of a block.
        #[inline(always)]
        fn codes(block: &Self::Block, g: usize) -> (v128, v128) {
            Self::unpack(block, g)
        }

        /// The quants with these codes.
        #[inline(always)]
        fn from_codes(codes: Words) -> Words {
            codes
        }
    }

    impl Read for Q4_0 {}
    impl Read for Q4_1 {}
    impl Read for Q5_0 {}
    impl Read for Q5_1 {}

    impl Read for Q8_0 {}

    impl Read for MXFP4 {
        const IS_SMALL: bool = false;

        #[inline(always)]
        fn scales_and_minima(quad: &[u8]) -> (v128, v128) {
            let bytes = u32::from_le_bytes(std::array::from_fn(|i| quad[i]));
            let exponents = u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(u32x4(bytes, 0, 0, 0)));
            (half_powers_of(exponents), f32x4_splat(0.0))
        }

        #[inline(always)]
        fn codes(block: &Self::Block, _: usize) -> (v128, v128) {
            let nibbles = load(&block[1..]);
            (bits(nibbles, 0, 15), bits(nibbles, 4, 15))
        }

        #[inline(always)]
        fn from_codes(codes: Words) -> Words {
            each_lane!(|i| pick(FP4_UNSIGNED, codes[i]))
        }
    }

    /// The quants of a group.
    #[inline(always)]
    fn words<F: Read>(quad: &[u8]) -> [Words; 2] {
        let [first, second] = load_words(F::WIDTH, &quad[ROWS * F::HEADER..]);
        [F::from_codes(first), F::from_codes(second)]
    }

    /// `total` plus the products of four words of 8 bits with 16 activations, where one of the sides needs to be without
    /// signs: for a negative activation, `w * -m` is `!w * m + m`. `negative` has all bits of those set; the `m` at the
    /// end are for the caller to add.
    #[inline(always)]
    fn add_signed_products(words: Words, magnitude: v128, negative: v128, total: v128) -> v128 {
        let one = i16x8_splat(1);
        let product = |word, magnitude, negative| {
            // At most 2 * 128 * 127: a second one would not fit.
            i32x4_dot_i16x8(dot_i7(v128_xor(word, negative), magnitude), one)
        };
        let (m, n) = (magnitude, negative);
        let total = i32x4_add(total, product(words[0], in_all::<0>(m), in_all::<0>(n)));
        let total = i32x4_add(total, product(words[1], in_all::<1>(m), in_all::<1>(n)));
        let total = i32x4_add(total, product(words[2], in_all::<2>(m), in_all::<2>(n)));
        i32x4_add(total, product(words[3], in_all::<3>(m), in_all::<3>(n)))
    }

    /// `sum` plus the products of a quad with a token.
    #[inline(always)]
    pub(super) fn add<F: Read>(quad: &F::Quad, token: &ActivationGroup, sum: v128) -> v128 {
        let quad = quad.as_ref();
        let mut total = i32x4_splat(match F::WIDTH {
            8 => token.negative,
            _ => -F::OFFSET * token.sum,
        });
        let one = i16x8_splat(1);
        if F::WIDTH == 8 {
            up_to!(2, |half| {
                let q = load(&token.q[16 * half..]);
                let bytes = &quad[ROWS * F::HEADER + 64 * half..];
                let words = each_lane!(|i| load(&bytes[16 * i..]));
                let negative = i8x16_lt(q, i8x16_splat(0));
                total = add_signed_products(words, i8x16_abs(q), negative, total);
                settle(total);
            });
        } else {
            let (q, [first, second]) = (load_group(&token.q), words::<F>(quad));
            let (first, second) = (products_of_four(first, q.0), products_of_four(second, q.1));
            let sums = match F::IS_SMALL {
                true => i32x4_dot_i16x8(i16x8_add(first, second), one),
                false => i32x4_add(i32x4_dot_i16x8(first, one), i32x4_dot_i16x8(second, one)),
            };
            total = i32x4_add(total, sums);
            settle(total);
        }
        let (scale, min) = F::scales_and_minima(quad);
        let d = f32x4_splat(token.d);
        let product = f32x4_mul(f32x4_convert_i32x4(total), f32x4_mul(scale, d));
        let sum = f32x4_add(sum, product);
        match F::MIN {
            true => f32x4_add(sum, f32x4_mul(min, f32x4_splat(token.d * token.sum as f32))),
            false => sum,
        }
    }

    /// See `cross_quads` of the scalar kernels.
    #[inline(always)]
    pub(super) fn cross<F: Read, const WORDS: usize>(
        quad: &F::Quad,
        out: &mut CrossedGroup<WORDS>,
    ) {
        let quad = quad.as_ref();
        if is_narrow(WORDS, GROUP) {
            out.words[..8].copy_from_slice(words::<F>(quad).as_flattened());
        } else if F::WIDTH == 8 {
            let bytes = &quad[ROWS * F::HEADER..];
            up_to!(8, |k| [out.words[2 * k], out.words[2 * k + 1]] =
                widened(load(&bytes[16 * k..])));
        } else {
            let words = words::<F>(quad);
            let words = words.as_flattened();
            up_to!(8, |k| {
                let bytes = i8x16_sub(words[k], i8x16_splat(F::OFFSET as i8));
                [out.words[2 * k], out.words[2 * k + 1]] = widened(bytes);
            });
        }
        (out.scale, out.min) = F::scales_and_minima(quad);
    }
}

/// Formats whose blocks are eight groups.
mod block {
    use super::*;

    /// How a format's quads are read.
    pub(super) trait Read: Packed + Groups {
        /// The scales, and the minima.
        fn scales_and_minima(quad: &[u8]) -> (v128, v128);

        /// The codes of a block.
        #[inline(always)]
        fn codes(block: &Self::Block, g: usize) -> (v128, v128) {
            Self::unpack(block, g)
        }

        /// The codes of all scales, in the form that is cheapest to have.
        type ScaleCodes<'a>: Copy;

        /// The codes of all scales.
        fn scale_codes(quad: &[u8]) -> Self::ScaleCodes<'_>;

        /// The codes of the scales of the two halves of group `g`, each twice in 16 bits.
        fn scales_of(codes: Self::ScaleCodes<'_>, g: usize) -> [v128; 2];

        /// The codes of the minima of two successive groups, in 16 bits each; only of a format with minima.
        fn min_codes(_: &[u8]) -> [v128; GROUPS / 2] {
            [i32x4_splat(0); GROUPS / 2]
        }

        /// The codes of the scales of the two halves of a group, in 16 bits each; only of a format with a zero point.
        fn scale_pair(_: &[u8], _: usize) -> v128 {
            i32x4_splat(0)
        }
    }

    /// The codes of Q4_K and Q5_K: of the first four groups, which are in `first`, and of the others, which are in a nibble
    /// of `last` and the upper bits of `first`. Lanes are rows, with a byte for each group.
    #[inline(always)]
    fn six_bit_codes(first: v128, last: v128, nibble: u32) -> [v128; 2] {
        [
            bits(first, 0, 0x3f),
            v128_or(bits(last, nibble, 0x0f), bits(first, 2, 0x30)),
        ]
    }

    /// Bytes `a` and `b` of each lane, in 16 bits each.
    #[inline(always)]
    fn two_bytes(v: v128, a: usize, b: usize) -> v128 {
        const ZERO: u8 = 0x80;
        let from = u32::from_le_bytes([a as u8, ZERO, b as u8, ZERO]);
        let lanes = u32x4(0, 0x0004_0004, 0x0008_0008, 0x000c_000c);
        pick(v, u32x4_add(u32x4_splat(from), lanes))
    }

    /// One of the two 16-bit numbers in each lane, twice.
    #[inline(always)]
    fn twice(v: v128, which: usize) -> v128 {
        match which {
            0 => i16x8_shuffle::<0, 0, 2, 2, 4, 4, 6, 6>(v, v),
            _ => i16x8_shuffle::<1, 1, 3, 3, 5, 5, 7, 7>(v, v),
        }
    }

    macro_rules! six_bit_scales {
        ($($format:ident),*) => {
            $(impl Read for $format {
                #[inline(always)]
                fn scales_and_minima(quad: &[u8]) -> (v128, v128) {
                    (halves(quad, 0), halves(quad, 8))
                }

                type ScaleCodes<'a> = [v128; 2];

                #[inline(always)]
                fn scale_codes(quad: &[u8]) -> [v128; 2] {
                    six_bit_codes(load(&quad[16..]), load(&quad[48..]), 0)
                }

                #[inline(always)]
                fn scales_of(codes: [v128; 2], g: usize) -> [v128; 2] {
                    [two_bytes(codes[g / 4], g % 4, g % 4); 2]
                }

                #[inline(always)]
                fn min_codes(quad: &[u8]) -> [v128; GROUPS / 2] {
                    let codes = six_bit_codes(load(&quad[32..]), load(&quad[48..]), 4);
                    each_lane!(|i| two_bytes(codes[i / 2], 2 * (i % 2), 2 * (i % 2) + 1))
                }
            })*
        };
    }
    six_bit_scales!(Q4_K, Q5_K);

    impl Read for Q6_K {
        #[inline(always)]
        fn scales_and_minima(quad: &[u8]) -> (v128, v128) {
            (halves(quad, 64), f32x4_splat(0.0))
        }

        type ScaleCodes<'a> = &'a [u8];

        #[inline(always)]
        fn scale_codes(quad: &[u8]) -> &[u8] {
            quad
        }

        #[inline(always)]
        fn scales_of(quad: &[u8], g: usize) -> [v128; 2] {
            let codes = Self::scale_pair(quad, g);
            [twice(codes, 0), twice(codes, 1)]
        }

        #[inline(always)]
        fn scale_pair(quad: &[u8], g: usize) -> v128 {
            let codes = u64::from_le_bytes(std::array::from_fn(|i| quad[8 * g + i]));
            i16x8_extend_low_i8x16(u64x2(codes, 0))
        }
    }

    /// The quants of group `g`.
    #[inline(always)]
    fn words<F: Read>(quad: &[u8], g: usize) -> [Words; 2] {
        load_words(F::WIDTH, &quad[ROWS * F::HEADER + 16 * F::WIDTH * g..])
    }

    /// Numbers `2 * i` and `2 * i + 1`, of eight, in all lanes.
    #[inline(always)]
    fn both(numbers: v128, i: usize) -> v128 {
        match i {
            0 => in_all::<0>(numbers),
            1 => in_all::<1>(numbers),
            2 => in_all::<2>(numbers),
            _ => in_all::<3>(numbers),
        }
    }

    /// `sum` plus the products of a quad with a token.
    #[inline(always)]
    pub(super) fn add<F: Read>(quad: &F::Quad, token: &ActivationBlock, sum: v128) -> v128 {
        let quad = quad.as_ref();
        let mut total = i32x4_splat(0);
        let half_sums = token.half_sums.as_chunks().0;
        let codes = F::scale_codes(quad);
        up_to!(8, |g| {
            let q = &token.q[GROUP * g..];
            let (q, [first, second]) = ((load(q), load(&q[16..])), words::<F>(quad, g));
            let scales = F::scales_of(codes, g);
            if F::ZERO != 0 {
                let sums = both(load8(&half_sums[g / 4]), g % 4);
                let zeros = i32x4_dot_i16x8(F::scale_pair(quad, g), sums);
                total = i32x4_sub(total, i32x4_shl(zeros, F::ZERO.trailing_zeros()));
            }
            if F::HALVES {
                up_to!(2, |half| {
                    let (words, q) = if half == 0 {
                        (first, q.0)
                    } else {
                        (second, q.1)
                    };
                    let scale = if half == 0 { scales[0] } else { scales[1] };
                    let [a, b] = products(words, q);
                    total = i32x4_add(total, i32x4_dot_i16x8(a, scale));
                    total = i32x4_add(total, i32x4_dot_i16x8(b, scale));
                    settle(total);
                });
            } else {
                let (first, second) = (products_of_four(first, q.0), products_of_four(second, q.1));
                let [scale, _] = scales;
                total = match F::WIDTH {
                    4 => i32x4_add(total, i32x4_dot_i16x8(i16x8_add(first, second), scale)),
                    _ => {
                        let total = i32x4_add(total, i32x4_dot_i16x8(first, scale));
                        i32x4_add(total, i32x4_dot_i16x8(second, scale))
                    }
                };
                settle(total);
            }
        });
        let (scale, min) = F::scales_and_minima(quad);
        let d = f32x4_splat(token.d);
        let product = f32x4_mul(f32x4_convert_i32x4(total), f32x4_mul(scale, d));
        let sum = f32x4_add(sum, product);
        if !F::MIN {
            return sum;
        }
        let (codes, sums) = (F::min_codes(quad), load8(&token.group_sums));
        let mut minima = i32x4_splat(0);
        up_to!(4, |i| {
            minima = i32x4_add(minima, i32x4_dot_i16x8(codes[i], both(sums, i)));
        });
        f32x4_sub(
            sum,
            f32x4_mul(f32x4_convert_i32x4(minima), f32x4_mul(min, d)),
        )
    }

    /// See `cross_quads` of the scalar kernels.
    #[inline(always)]
    pub(super) fn cross<F: Read, const WORDS: usize>(
        quad: &F::Quad,
        out: &mut CrossedBlock<WORDS>,
    ) {
        let quad = quad.as_ref();
        let codes = F::scale_codes(quad);
        for g in 0..GROUPS {
            let words = words::<F>(quad, g);
            let words = words.as_flattened();
            let scales = F::scales_of(codes, g);
            match F::HALVES {
                true => out.scales[2 * g..][..2].copy_from_slice(&scales),
                false => out.scales[g] = scales[0],
            }
            if is_narrow(WORDS, GROUPS * GROUP) {
                out.words[8 * g..][..8].copy_from_slice(words);
                if F::ZERO != 0 {
                    let zero = i16x8_splat(i16::from(F::ZERO));
                    out.minima[g] = i16x8_mul(F::scale_pair(quad, g), zero);
                }
            } else {
                let to = &mut out.words[16 * g..][..16];
                up_to!(8, |k| {
                    let scale = if k < 4 { scales[0] } else { scales[1] };
                    let q = i8x16_sub(words[k], i8x16_splat(F::ZERO));
                    let [first, second] = widened(q);
                    to[2 * k] = i16x8_mul(first, scale);
                    to[2 * k + 1] = i16x8_mul(second, scale);
                });
            }
        }
        if F::MIN {
            out.minima[..GROUPS / 2].copy_from_slice(&F::min_codes(quad));
        }
        (out.scale, out.min) = F::scales_and_minima(quad);
    }
}

/// A word of bytes as two words of 16 bits, with two quants of each row.
#[inline(always)]
fn widened(bytes: v128) -> [v128; 2] {
    let (first, second) = (
        i16x8_extend_low_i8x16(bytes),
        i16x8_extend_high_i8x16(bytes),
    );
    [
        i32x4_shuffle::<0, 2, 4, 6>(first, second),
        i32x4_shuffle::<1, 3, 5, 7>(first, second),
    ]
}

//! Dot products of packed rows (see [`crate::quant::Packed`]): lanes are the rows of a quad.
//!
//! A vector has four weights of each of four rows, and is multiplied with four activations in all lanes; sums stay in 16
//! bits as long as they fit. Everything is written once for `T` tokens: four in a batch, one when tokens are computed one
//! by one. Then [`DotQuads::dot_token`] goes along several rows of quads at once, block by block, because memory that lies
//! apart is read faster so.

use core::arch::wasm32::*;

use super::unpack::bits;
use super::vector::store4;
use super::{dot_i7, f16_lanes, load, load_group, settle};
use crate::kernels::activations::{ActivationGroup, TILE};
use crate::kernels::lanes::Operand;
use crate::quant::{GROUP, Packed, Q4_0, Q8_0, ROWS};

/// A format whose packed rows activations can be multiplied with; see the scalar kernels.
pub(crate) trait DotQuads: Packed + Operand {
    /// One row of quads with each of four tokens: `[token][row]`.
    fn dot_tokens(quads: &[Self::Quad], tiles: &[Self::Tile]) -> [[f32; ROWS]; TILE];

    /// Some rows of quads with one token: `[row of quads][row]`.
    fn dot_token<const N: usize>(
        quads: [&[Self::Quad]; N],
        tiles: &[Self::Tile],
        token: usize,
    ) -> [[f32; ROWS]; N];
}

/// `$body` for each number below `$n`, at most 8, in so many words: in a loop, the compiler would keep arrays of vectors in
/// memory.
macro_rules! up_to {
    ($n:expr, |$i:ident| $body:expr) => {
        up_to!(@ $n, $i, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $n:expr, $i:ident, $body:expr, $($at:literal)*) => {
        $(if $at < $n {
            let $i = $at;
            $body;
        })*
    };
}

macro_rules! dot_quads {
    ($($format:ident),*) => {
        $(impl DotQuads for $format {
            #[inline(never)]
            fn dot_tokens(quads: &[Self::Quad], tiles: &[Self::Tile]) -> [[f32; ROWS]; TILE] {
                let mut sums = [f32x4_splat(0.0); TILE];
                for (quad, tile) in quads.iter().zip(tiles) {
                    sums = add::<Self, TILE>(quad, tile, [0, 1, 2, 3], sums);
                }
                sums.map(lanes)
            }

            #[inline(never)]
            fn dot_token<const N: usize>(
                quads: [&[Self::Quad]; N],
                tiles: &[Self::Tile],
                token: usize,
            ) -> [[f32; ROWS]; N] {
                let quads = quads.map(|quads| &quads[..tiles.len()]);
                let mut sums = [[f32x4_splat(0.0)]; N];
                for (c, tile) in tiles.iter().enumerate() {
                    up_to!(N, |i| sums[i] = add::<Self, 1>(&quads[i][c], tile, [token], sums[i]));
                }
                sums.map(|[sum]| lanes(sum))
            }
        })*
    };
}
dot_quads!(Q4_0, Q8_0);

/// Four weights of each of four rows, eight times: a group of each row.
type Words = [v128; GROUP / 4];

/// A packed format in vectors: its weights in nibbles.
trait Nibbles: Packed + Operand<Tile = ActivationGroup> {
    /// Weights are `16^p * plane p`, summed, less [`Nibbles::OFFSET`].
    const PLANES: usize;
    /// A power of two.
    const OFFSET: i32;

    fn plane(quad: &Self::Quad, p: usize) -> Words;
}

impl Nibbles for Q4_0 {
    const PLANES: usize = 1;
    const OFFSET: i32 = 8;

    #[inline(always)]
    fn plane(quad: &Self::Quad, _: usize) -> Words {
        let word = |i: usize| load(&quad[8 + 16 * i..]);
        let (low, high) = (|i| bits(word(i), 0, 15), |i| bits(word(i), 4, 15));
        [
            low(0),
            low(1),
            low(2),
            low(3),
            high(0),
            high(1),
            high(2),
            high(3),
        ]
    }
}

impl Nibbles for Q8_0 {
    const PLANES: usize = 2;
    const OFFSET: i32 = 128;

    #[inline(always)]
    fn plane(quad: &Self::Quad, p: usize) -> Words {
        let unsigned = |i: usize| v128_xor(load(&quad[8 + 16 * i..]), u8x16_splat(0x80));
        words(|i| bits(unsigned(i), 4 * p as u32, 15))
    }
}

/// `sums` and the products of a quad with tokens of a tile.
#[inline(always)]
fn add<F: Nibbles, const T: usize>(
    quad: &F::Quad,
    tile: &ActivationGroup,
    tokens: [usize; T],
    mut sums: [v128; T],
) -> [v128; T] {
    let d = halves(quad.as_ref(), 0);
    let mut products = [i32x4_splat(0); T];
    let words = F::plane(quad, 0);
    up_to!(T, |t| {
        let pairs = nibble_products(&words, &tile.q[tokens[t]]);
        products[t] = i32x4_dot_i16x8(pairs, i16x8_splat(1));
        settle(products[t]);
    });
    if F::PLANES == 2 {
        let words = F::plane(quad, 1);
        up_to!(T, |t| {
            let pairs = nibble_products(&words, &tile.q[tokens[t]]);
            products[t] = i32x4_add(products[t], i32x4_dot_i16x8(pairs, i16x8_splat(16)));
            settle(products[t]);
        });
    }
    up_to!(T, |t| {
        let offset = i32x4_shl(
            of_token(tile.sums.map(i32::cast_unsigned), tokens, t),
            F::OFFSET.trailing_zeros(),
        );
        let integers = f32x4_convert_i32x4(i32x4_sub(products[t], offset));
        let scale = f32x4_mul(d, of_token(tile.d.map(f32::to_bits), tokens, t));
        sums[t] = f32x4_add(sums[t], f32x4_mul(integers, scale));
    });
    sums
}

/// The products of weights below 16 and of activations, summed in pairs of lanes: 16 * 127 * 15 < 2^15.
#[inline(always)]
fn nibble_products(words: &Words, q: &[i8; GROUP]) -> v128 {
    let (x, y) = load_group(q);
    let sum = dot_i7(i32x4_shuffle::<0, 0, 0, 0>(x, x), words[0]);
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<1, 1, 1, 1>(x, x), words[1]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<2, 2, 2, 2>(x, x), words[2]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<3, 3, 3, 3>(x, x), words[3]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<0, 0, 0, 0>(y, y), words[4]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<1, 1, 1, 1>(y, y), words[5]));
    let sum = i16x8_add(sum, dot_i7(i32x4_shuffle::<2, 2, 2, 2>(y, y), words[6]));
    i16x8_add(sum, dot_i7(i32x4_shuffle::<3, 3, 3, 3>(y, y), words[7]))
}

#[inline(always)]
fn words(word: impl Fn(usize) -> v128) -> Words {
    [
        word(0),
        word(1),
        word(2),
        word(3),
        word(4),
        word(5),
        word(6),
        word(7),
    ]
}

/// In all lanes, the number of `tokens[t]`.
#[inline(always)]
fn of_token<const T: usize>(numbers: [u32; TILE], tokens: [usize; T], t: usize) -> v128 {
    if T < TILE {
        return u32x4_splat(numbers[tokens[t]]);
    }
    // All tokens: a shuffle of what is loaded once.
    let [a, b, c, d] = numbers;
    let all = u32x4(a, b, c, d);
    match t {
        0 => i32x4_shuffle::<0, 0, 0, 0>(all, all),
        1 => i32x4_shuffle::<1, 1, 1, 1>(all, all),
        2 => i32x4_shuffle::<2, 2, 2, 2>(all, all),
        _ => i32x4_shuffle::<3, 3, 3, 3>(all, all),
    }
}

/// The four f16 numbers at `at`.
#[inline(always)]
fn halves(quad: &[u8], at: usize) -> v128 {
    let bits = u64::from_le_bytes(std::array::from_fn(|i| quad[at + i]));
    f16_lanes(u32x4_extend_low_u16x8(u64x2(bits, 0)))
}

#[inline(always)]
fn lanes(v: v128) -> [f32; ROWS] {
    let mut out = [0.0; ROWS];
    store4(v, &mut out);
    out
}

//! The layout of keys and values in the cache: in blocks of tokens, in the order in which attention reads them.
//!
//! A block has [`KEYS`] tokens of one head. Its keys are in panels of [`LANES`] tokens, `[D, LANES]`, its values in
//! panels of [`LANES`] dimensions, `[KEYS, LANES]` (see [`kernels::attention`]); the last panel of values is padded. In
//! Q8_0, the two halves of a pair of a key's dimensions are adjacent, and the scales follow after all quants. Outside
//! the cache, a *row* is one token's key or value in the order of its dimensions, as ggml stores the type.

use crate::kernels;
use crate::kernels::attention::{KEYS, LANES};
use crate::quant::{Element, F16, F32, GROUP, finite_f16_to_f32};

/// The number type of cached keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// Half precision: two bytes per number.
    F16,
    /// Single precision, exactly as computed: four bytes per number.
    F32,
    /// 8 bits per number and one scale per 32 numbers, as in ggml's type of that name: 34 bytes for 32 numbers. The
    /// head width must be a multiple of 32.
    Q8_0,
}

impl KvType {
    /// The size in bytes of one token's key, or value, in one head.
    pub fn row_bytes(self, head_dim: usize) -> usize {
        head_dim * self.quant_bytes() + self.scales(head_dim) * 2
    }

    fn quant_bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::Q8_0 => 1,
        }
    }

    /// The number of scales in a row.
    fn scales(self, head_dim: usize) -> usize {
        match self {
            Self::F16 | Self::F32 => 0,
            Self::Q8_0 => head_dim / GROUP,
        }
    }
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Keys,
    Values,
}

/// The layout of one head's keys and values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) kv_type: KvType,
    /// The width of a key, D. A multiple of 32 for Q8_0; so is that of a value.
    pub(crate) head_dim: usize,
    /// The width of a value.
    pub(crate) value_dim: usize,
}

impl Layout {
    /// The width of a row.
    fn dims(self, side: Side) -> usize {
        match side {
            Side::Keys => self.head_dim,
            Side::Values => self.value_dim,
        }
    }

    pub(crate) fn row_bytes(self, side: Side) -> usize {
        self.kv_type.row_bytes(self.dims(side))
    }

    /// The size of a block in bytes.
    pub(crate) fn block_bytes(self, side: Side) -> usize {
        self.scales_at(side) + KEYS * self.kv_type.scales(self.dims(side)) * 2
    }

    /// The number of panels of values.
    pub(crate) fn value_panels(self) -> usize {
        self.value_dim.div_ceil(LANES)
    }

    /// Encodes `x`, `[D]`, as a row, rounded to the nearest numbers of the type. A number that is too large becomes the
    /// largest one, and NaN becomes 0: a token with broken numbers must not spoil the tokens that attend to it.
    pub(crate) fn encode(self, x: &[f32], row: &mut [u8]) {
        match self.kv_type {
            KvType::F16 => encode::<F16>(x, row),
            KvType::F32 => encode::<F32>(x, row),
            KvType::Q8_0 => {
                let rows = row.as_chunks_mut::<{ GROUP + 2 }>().0;
                for (x, row) in x.as_chunks::<GROUP>().0.iter().zip(rows) {
                    encode_group(x, row);
                }
            }
        }
    }

    /// Whether rows contain only finite numbers. In 16-bit types all count as finite (see [`kernels::widen_f16`]).
    pub(crate) fn is_finite(self, rows: &[u8]) -> bool {
        let mut numbers = F32::raws(rows).iter();
        self.kv_type != KvType::F32 || numbers.all(|raw| F32::to_f32(*raw).is_finite())
    }

    /// Stores a row as token `at` of a block.
    pub(crate) fn put(self, side: Side, row: &[u8], at: usize, block: &mut [u8]) {
        self.places(side, at, |in_row, in_block, len| {
            block[in_block..in_block + len].copy_from_slice(&row[in_row..in_row + len]);
        });
    }

    /// Reads the row of token `at` from a block.
    pub(crate) fn get(self, side: Side, block: &[u8], at: usize, row: &mut [u8]) {
        self.places(side, at, |in_row, in_block, len| {
            row[in_row..in_row + len].copy_from_slice(&block[in_block..in_block + len]);
        });
    }

    /// Calls `each` with each piece of a row: its position in the row, its position in the block, and its length.
    fn places(self, side: Side, at: usize, mut each: impl FnMut(usize, usize, usize)) {
        let size = self.kv_type.quant_bytes();
        // How many neighbours in a row are also neighbours in the block.
        let together = match (side, self.kv_type) {
            (Side::Values, _) => LANES,
            (Side::Keys, KvType::Q8_0) => 2,
            (Side::Keys, _) => 1,
        };
        let (panel, lane) = (at / LANES, at % LANES);
        for d in (0..self.dims(side)).step_by(together) {
            let place = match side {
                Side::Keys => (panel * self.head_dim + d) * LANES + lane * together,
                Side::Values => (d / LANES * KEYS + at) * LANES,
            };
            let scales_before = match self.kv_type {
                KvType::Q8_0 => 2 * (d / GROUP + 1),
                _ => 0,
            };
            let len = together.min(self.dims(side) - d) * size;
            each(d * size + scales_before, place * size, len);
        }
        let scales = self.kv_type.scales(self.dims(side));
        for g in 0..scales {
            let place = match side {
                Side::Keys => (panel * scales + g) * LANES + lane,
                Side::Values => g * KEYS + at,
            };
            each(g * (GROUP + 2), self.scales_at(side) + 2 * place, 2);
        }
    }

    /// The keys of the first `n_panels` panels, `[panels, D, LANES]`, for floating-point types.
    pub(crate) fn float_keys(self, block: &[u8], n_panels: usize, out: &mut [f32]) {
        let len = n_panels * self.head_dim * LANES;
        self.widen(&block[..len * self.kv_type.quant_bytes()], &mut out[..len]);
    }

    /// The keys of the first `n_panels` panels of Q8_0: pairs of quants, `[panels, D / 2, LANES]`, and their scales,
    /// `[panels, D / 32, LANES]`.
    pub(crate) fn quantized_keys(
        self,
        block: &[u8],
        n_panels: usize,
        quants: &mut [i32],
        scales: &mut [f32],
    ) {
        let len = n_panels * self.head_dim * LANES;
        let raw = block[..len].as_chunks().0;
        kernels::widen_i8_pairs(raw, &mut quants[..len / 2]);
        let len = n_panels * self.kv_type.scales(self.head_dim) * LANES;
        let raw = &block[self.scales_at(Side::Keys)..][..2 * len];
        kernels::widen_f16(raw.as_chunks().0, &mut scales[..len]);
    }

    /// The values of the first `n` tokens, in panels `[KEYS, LANES]`.
    pub(crate) fn values(self, block: &[u8], n: usize, out: &mut [[f32; LANES]]) {
        let size = self.kv_type.quant_bytes();
        let panels = block.chunks_exact(KEYS * LANES * size);
        for (i, (out, raw)) in out.chunks_exact_mut(KEYS).zip(panels).enumerate() {
            let (out, raw) = (&mut out[..n], &raw[..n * LANES * size]);
            match self.kv_type {
                KvType::F16 | KvType::F32 => self.widen(raw, out.as_flattened_mut()),
                KvType::Q8_0 => {
                    let group = i * LANES / GROUP;
                    let scales = &block[self.scales_at(Side::Values) + 2 * group * KEYS..];
                    let mut factors = [0.0; KEYS];
                    kernels::widen_f16(&scales.as_chunks().0[..n], &mut factors[..n]);
                    kernels::scale_i8(raw.as_chunks().0, &factors[..n], out);
                }
            }
        }
    }

    fn widen(self, raw: &[u8], out: &mut [f32]) {
        match self.kv_type {
            KvType::F16 => kernels::widen_f16(raw.as_chunks().0, out),
            _ => {
                for (out, raw) in out.iter_mut().zip(raw.as_chunks().0) {
                    *out = f32::from_le_bytes(*raw);
                }
            }
        }
    }

    /// Where a block's scales start.
    fn scales_at(self, side: Side) -> usize {
        let dims = match side {
            Side::Keys => self.head_dim,
            Side::Values => self.value_panels() * LANES,
        };
        KEYS * dims * self.kv_type.quant_bytes()
    }
}

fn encode<E: Element>(x: &[f32], row: &mut [u8]) {
    for (x, row) in x.iter().zip(row.chunks_exact_mut(size_of::<E::Raw>())) {
        row.copy_from_slice(E::bytes(&E::from_f32(finite(*x))));
    }
}

/// Q8_0: the scale is the largest magnitude divided by 127, in f16, and the quants are the integers nearest to
/// `x / scale` (ggml divides by the scale before rounding it to f16). The error is at most 0.501 of the scale, or 2^-18
/// if the scale is too small for f16.
fn encode_group(x: &[f32; GROUP], row: &mut [u8; GROUP + 2]) {
    // Clamped so that the scale fits into an f16.
    let x = x.map(|x| finite(x).clamp(-127.0 * 65504.0, 127.0 * 65504.0));
    let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let scale = F16::from_f32(largest / 127.0);
    let step = finite_f16_to_f32(u16::from_le_bytes(scale));
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    row[..2].copy_from_slice(&scale);
    for (quant, x) in row[2..].iter_mut().zip(x) {
        *quant = (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8;
    }
}

fn finite(x: f32) -> f32 {
    match x.is_nan() {
        true => 0.0,
        false => x.clamp(f32::MIN, f32::MAX),
    }
}

//! Tensor types: how ggml stores weights, as numbers (`Element`) or in blocks, with few bits (`Format`).
//!
//! Every block format is treated as *groups* of 32 consecutive weights. A group has 32 small integers, and a scale and a
//! minimum for each of its halves: `weight = scale * (quant - ZERO) + min`. Dequantisation, the scalar kernels and the
//! SIMD kernels share this view; only this module knows where the bits are. Source of the layouts: ggml's
//! `ggml-common.h` and the dequantisers in `ggml-quants.c`.

#![expect(non_camel_case_types, reason = "the format names are ggml's")]

mod block32;
mod codebooks;
mod element;
mod fp4;
mod iq;
mod iq4;
mod kquants;
mod packed;
mod plain;

pub(crate) use block32::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use element::{BF16, Element, F16, F32, F64, I8, I16, I32, I64, finite_f16_to_f32};
#[cfg(target_arch = "wasm32")]
pub(crate) use fp4::{E2M1, E2M1_UNSIGNED, HALF_E4M3};
pub(crate) use fp4::{MXFP4, NVFP4};
#[cfg(target_arch = "wasm32")]
pub(crate) use iq::Codebook;
pub(crate) use iq::{IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};
#[cfg(target_arch = "wasm32")]
pub(crate) use iq4::IQ4_VALUES;
pub(crate) use iq4::{IQ4_NL, IQ4_XS};
pub(crate) use kquants::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
pub(crate) use packed::{Packed, ROWS, packed_type, with_packed};
#[cfg(target_arch = "wasm32")]
pub(crate) use plain::POWERS;
pub(crate) use plain::{Q1_0, Q2_0, TQ1_0, TQ2_0};

use crate::gguf::TensorType;

/// Weights in a group.
pub(crate) const GROUP: usize = 32;

/// Groups in a [`SuperBlock`].
pub(crate) const GROUPS: usize = 8;

/// A block format.
#[cfg_attr(
    not(any(target_arch = "wasm32", test)),
    expect(
        dead_code,
        reason = "the SIMD kernels need what the scalar kernels do not"
    )
)]
pub(crate) trait Format {
    /// One block: an array of bytes.
    type Block: Copy + 'static;
    /// A block of zeros.
    const EMPTY: Self::Block;
    /// The tensor type.
    const TYPE: TensorType;
    /// Groups per block: 1, a few with scales that are numbers, or the 8 of a [`SuperBlock`].
    const GROUPS: usize;
    /// The zero point, which is subtracted from every quant.
    const ZERO: i8 = 0;
    /// Whether quants are signed 8-bit numbers. Otherwise they are 0 to 127, and without [`HALVES`](Self::HALVES) at most
    /// 63: sums of two products with activations have 16 bits, or of four.
    const SIGNED: bool = false;
    /// The largest quant, if they are not signed.
    const MOST: i16 = 127;
    /// Whether the two halves of a group are summed separately, because they have separate scales and minima or large
    /// quants.
    const HALVES: bool = false;
    /// Whether the format has minima.
    const MIN: bool = false;

    /// Views bytes as whole blocks.
    fn blocks(bytes: &[u8]) -> &[Self::Block];

    /// The block's own scale, and the scale of its minima (0 if it has none).
    fn header(block: &Self::Block) -> [f32; 2];

    /// The scales and minima of the two halves of group `g`, given the block's header.
    fn scales(block: &Self::Block, header: [f32; 2], g: usize) -> Scales;

    /// The quants of group `g`.
    fn quants(block: &Self::Block, g: usize) -> [i8; GROUP];
}

/// A format whose blocks have eight groups: their scales and minima are stored as small integers, as multiples of the
/// block's own.
pub(crate) trait SuperBlock: Format {
    /// The integers of group `g`.
    fn codes(block: &Self::Block, g: usize) -> Codes;
}

/// The integers that encode the scale and minimum of each half of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Codes {
    pub(crate) scale: [i8; 2],
    pub(crate) min: [u8; 2],
}

impl Codes {
    /// The same for both halves.
    #[inline(always)]
    fn both(scale: u8, min: u8) -> Self {
        Self {
            scale: [scale as i8; 2],
            min: [min; 2],
        }
    }

    #[inline(always)]
    fn scales(self, [d, dmin]: [f32; 2]) -> Scales {
        Scales {
            scale: self.scale.map(|code| d * f32::from(code)),
            min: self.min.map(|code| -(dmin * f32::from(code))),
        }
    }
}

/// The scale and minimum of each half of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scales {
    pub(crate) scale: [f32; 2],
    pub(crate) min: [f32; 2],
}

impl Scales {
    /// The same for both halves.
    #[inline(always)]
    fn both(scale: f32, min: f32) -> Self {
        Self {
            scale: [scale; 2],
            min: [min; 2],
        }
    }
}

/// Declares a format: its name and the size of a block in bytes, the constants that differ from their defaults, how to
/// read its header (or the positions of the header's f16 numbers), and how to read scales (or codes, for a
/// [`SuperBlock`]) and quants.
macro_rules! block_format {
    (
        $(#[$doc:meta])*
        $format:ident [$bytes:literal] { $(const $name:ident: $ty:ty = $value:expr;)* }
        header: [$d:literal $(, $min:literal)?];
        $($rest:tt)*
    ) => {
        block_format! {
            $(#[$doc])*
            $format [$bytes] { $(const $name: $ty = $value;)* }
            header: |block| $crate::quant::header_at(block, [$d $(, $min)?]);
            $($rest)*
        }
    };
    (
        $(#[$doc:meta])*
        $format:ident [$bytes:literal] { $(const $name:ident: $ty:ty = $value:expr;)* }
        header: |$header_block:pat_param| $header:expr;
        codes: |$codes_block:pat_param, $codes_g:pat_param| $codes:expr;
        $($rest:tt)*
    ) => {
        block_format! {
            $(#[$doc])*
            $format [$bytes] { $(const $name: $ty = $value;)* }
            header: |$header_block| $header;
            scales: |block, header, g| <Self as $crate::quant::SuperBlock>::codes(block, g).scales(header);
            $($rest)*
        }

        impl $crate::quant::SuperBlock for $format {
            #[inline(always)]
            fn codes($codes_block: &Self::Block, $codes_g: usize) -> $crate::quant::Codes {
                $codes
            }
        }
    };
    (
        $(#[$doc:meta])*
        $format:ident [$bytes:literal] { $(const $name:ident: $ty:ty = $value:expr;)* }
        header: |$header_block:pat_param| $header:expr;
        scales: |$scales_block:pat_param, $numbers:pat_param, $scales_g:pat_param| $scales:expr;
        quants: |$quants_block:pat_param, $quants_g:pat_param| $quants:expr
    ) => {
        $(#[$doc])*
        pub(crate) struct $format;

        impl Format for $format {
            type Block = [u8; $bytes];
            const EMPTY: Self::Block = [0; $bytes];
            const TYPE: $crate::gguf::TensorType = $crate::gguf::TensorType::$format;
            const GROUPS: usize = Self::TYPE.block_len() as usize / GROUP;
            $(const $name: $ty = $value;)*

            #[inline(always)]
            fn blocks(bytes: &[u8]) -> &[Self::Block] {
                const { assert!(Self::TYPE.block_bytes() == $bytes) }
                bytes.as_chunks().0
            }

            #[inline(always)]
            fn header($header_block: &Self::Block) -> [f32; 2] {
                $header
            }

            #[inline(always)]
            fn scales($scales_block: &Self::Block, $numbers: [f32; 2], $scales_g: usize) -> Scales {
                $scales
            }

            #[inline(always)]
            fn quants($quants_block: &Self::Block, $quants_g: usize) -> [i8; GROUP] {
                $quants
            }
        }
    };
}
use block_format;

/// The header whose f16 numbers are at these bytes.
#[inline(always)]
fn header_at<const N: usize>(block: &[u8], at: [usize; N]) -> [f32; 2] {
    let mut header = [0.0; 2];
    for (number, at) in header.iter_mut().zip(at) {
        *number = f16_at(block, at);
    }
    header
}

/// The f16 at byte `at`, as f32.
#[inline(always)]
fn f16_at(block: &[u8], at: usize) -> f32 {
    F16::to_f32([block[at], block[at + 1]])
}

/// The low nibbles of 16 bytes, then the high nibbles.
fn nibbles(qs: &[u8]) -> [i8; GROUP] {
    std::array::from_fn(|i| (qs[i % 16] >> (4 * (i / 16)) & 0xf) as i8)
}

/// Defines what knows all types that are not packed: their lists, and macros that choose or repeat code by type.
macro_rules! types {
    (blocks: $($format:ident)*; elements: $($element:ident)*;) => {
        /// The block formats.
        const BLOCKS: &[TensorType] = &[$(TensorType::$format),*];

        /// The types of weights that are numbers.
        const ELEMENTS: &[TensorType] = &[$(TensorType::$element),*];

        /// Runs `$body` with `$name` bound to the format of `$ty`, or `$other` for a type that is not a block format.
        macro_rules! with_format {
            ($ty:expr, $name:ident => $body:expr, _ => $other:expr) => {
                match $ty {
                    $(TensorType::$format => {
                        type $name = $crate::quant::$format;
                        $body
                    })*
                    _ => $other,
                }
            };
        }

        /// Runs `$body` with `$name` bound to the [`Element`] of `$ty`, or `$other` for a type that is not one.
        macro_rules! with_element {
            ($ty:expr, $name:ident => $body:expr, _ => $other:expr) => {
                match $ty {
                    $(TensorType::$element => {
                        type $name = $crate::quant::$element;
                        $body
                    })*
                    _ => $other,
                }
            };
        }

        /// Calls the macro `$check` with every block format.
        #[cfg(test)]
        macro_rules! each_format {
            ($check:ident) => {
                $($check!($format);)*
            };
        }

        /// Calls the macro `$check` with every element.
        #[cfg(test)]
        macro_rules! each_element {
            ($check:ident) => {
                $($check!($element);)*
            };
        }
    };
}
types! {
    blocks: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS IQ3_S IQ3_XXS IQ2_S IQ2_XS IQ2_XXS IQ1_M
        IQ1_S TQ2_0 TQ1_0 Q2_0 Q1_0 MXFP4 NVFP4;
    elements: F32 F16 BF16 F64 I8 I16 I32 I64;
}
#[cfg(test)]
pub(crate) use each_element;
#[cfg(test)]
pub(crate) use each_format;
pub(crate) use with_element;
pub(crate) use with_format;

/// Whether the engine computes with tensors of this type.
pub fn is_supported(ty: TensorType) -> bool {
    BLOCKS.contains(&ty) || ELEMENTS.contains(&ty) || is_packed(ty)
}

/// The names of all types that the engine computes with, for messages.
pub(crate) fn supported_names() -> String {
    let packed = BLOCKS.iter().filter_map(|ty| packed_type(*ty));
    let types = ELEMENTS.iter().chain(BLOCKS).copied().chain(packed);
    types.map(TensorType::name).collect::<Vec<_>>().join(", ")
}

/// Whether it is a packed type.
pub(crate) fn is_packed(ty: TensorType) -> bool {
    rows_together(ty) > 1
}

/// How many successive rows of a matrix are interleaved. The number of rows must be a multiple of this.
pub(crate) fn rows_together(ty: TensorType) -> usize {
    with_packed!(ty, F => { let _ = F::PACKED; ROWS }, _ => 1)
}

/// Dequantises a row, or part of one, to `f32`: `out.len()` weights, which must be a whole number of blocks of a
/// supported type that is not packed. The result equals that of ggml's dequantisers to the last bit.
///
/// # Panics
/// If `ty` is not such a type or `bytes` does not hold exactly `out.len()` weights; the loader has checked both.
pub fn dequantize(ty: TensorType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(
        bytes.len() as u64 * ty.block_len(),
        out.len() as u64 * ty.block_bytes(),
        "bytes of {}",
        ty.name()
    );
    with_format!(ty, F => dequantize_blocks::<F>(bytes, out), _ =>
    with_element!(ty, E => convert::<E>(bytes, out), _ =>
        unreachable!("the loader rejects tensors of type {}", ty.name())));
}

/// Dequantises row `r` of a matrix to `f32`, `[cols]`; `bytes` holds whole rows.
///
/// # Panics
/// As [`dequantize`].
pub(crate) fn dequantize_row(ty: TensorType, bytes: &[u8], r: usize, out: &mut [f32]) {
    let size = out.len() / ty.block_len() as usize * ty.block_bytes() as usize;
    let together = rows_together(ty);
    let first = r / together * together;
    let rows = &bytes[first * size..];
    if rows.len() < together * size {
        // The last rows of a packed matrix may be too few to be packed.
        let row = &rows[(r - first) * size..][..size];
        return with_packed!(ty, F => dequantize_blocks::<F>(row, out), _ => ());
    }
    let rows = &rows[..together * size];
    with_packed!(ty, F => {
        let out = out.chunks_exact_mut(ty.block_len() as usize);
        for (quad, out) in F::quads(rows).iter().zip(out) {
            dequantize_block::<F>(&F::block(quad, r % together), out);
        }
    }, _ => dequantize(ty, rows, out));
}

fn dequantize_blocks<F: Format>(bytes: &[u8], out: &mut [f32]) {
    let out = out.chunks_exact_mut(F::GROUPS * GROUP);
    for (block, out) in F::blocks(bytes).iter().zip(out) {
        dequantize_block::<F>(block, out);
    }
}

fn dequantize_block<F: Format>(block: &F::Block, out: &mut [f32]) {
    for (g, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let scales = F::scales(block, F::header(block), g);
        for (i, (out, quant)) in out.iter_mut().zip(F::quants(block, g)).enumerate() {
            let half = i / 16;
            let quant = i32::from(quant) - i32::from(F::ZERO);
            *out = scales.scale[half] * quant as f32 + scales.min[half];
        }
    }
}

fn convert<E: Element>(bytes: &[u8], out: &mut [f32]) {
    for (out, raw) in out.iter_mut().zip(E::raws(bytes)) {
        *out = E::to_f32(*raw);
    }
}

#[cfg(test)]
mod tests;

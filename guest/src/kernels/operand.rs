//! The form of activations that each weight format is multiplied with.

use super::activations::{ActivationBlock, ActivationGroup, Input};
use super::tiles::{BlockTile, GroupTile, Tile};
use crate::quant::Format;

/// A weight format with the forms of activations that it is multiplied with.
pub(crate) trait Operand: Format {
    /// A token's activations for one block of weights.
    type Token: 'static;
    /// The same for four tokens.
    type Tile: Tile<Token = Self::Token>;

    /// The activations of an input, `[tokens, blocks of a row]`.
    fn tokens<'a>(input: &Input<'a>) -> &'a [Self::Token];

    /// The activations of an input in tiles, `[tiles, blocks of a row]`.
    fn tiles<'a>(input: &Input<'a>) -> &'a [Self::Tile];
}

macro_rules! operands {
    // For formats whose blocks are several groups.
    ([$token:ty], $forms:ident, [$tile:ty], $width:ident: $($format:ident),*) => {
        $(impl Operand for crate::quant::$format {
            type Token = [$token; <Self as Format>::GROUPS];
            type Tile = [$tile; <Self as Format>::GROUPS];

            #[inline(always)]
            fn tokens<'a>(input: &Input<'a>) -> &'a [Self::Token] {
                input.$forms.each.as_chunks().0
            }

            #[inline(always)]
            fn tiles<'a>(input: &Input<'a>) -> &'a [Self::Tile] {
                input.$forms.$width.as_chunks().0
            }
        })*
    };
    ($token:ty, $forms:ident, $tile:ty, $width:ident: $($format:ident),*) => {
        $(impl Operand for crate::quant::$format {
            type Token = $token;
            type Tile = $tile;

            #[inline(always)]
            fn tokens<'a>(input: &Input<'a>) -> &'a [Self::Token] {
                &input.$forms.each
            }

            #[inline(always)]
            fn tiles<'a>(input: &Input<'a>) -> &'a [Self::Tile] {
                &input.$forms.$width
            }
        })*
    };
}

// The instruction that multiplies 16 bytes at once is part of relaxed-simd. It needs a side without signs, of 7 bits, and
// its sums have 16.
#[cfg(any(target_feature = "relaxed-simd", not(target_arch = "wasm32")))]
mod of_few_bits {
    use super::*;

    operands!(ActivationGroup, groups, GroupTile<8>, narrow: Q4_0, Q4_1, Q5_0, Q5_1);
    operands!([ActivationGroup], groups, [GroupTile<8>], narrow: Q1_0, Q2_0);
    operands!(ActivationBlock, blocks, BlockTile<64>, narrow: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K);
}
#[cfg(not(any(target_feature = "relaxed-simd", not(target_arch = "wasm32"))))]
mod of_few_bits {
    use super::*;

    operands!(ActivationGroup, groups, GroupTile<16>, wide: Q4_0, Q4_1, Q5_0, Q5_1);
    operands!([ActivationGroup], groups, [GroupTile<16>], wide: Q1_0, Q2_0);
    operands!(ActivationBlock, blocks, BlockTile<128>, wide: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K);
}
operands!(ActivationGroup, groups, GroupTile<16>, wide: Q8_0, IQ4_NL, MXFP4);
operands!([ActivationGroup], groups, [GroupTile<16>], wide: NVFP4);
operands!(ActivationBlock, blocks, BlockTile<128>, wide: IQ4_XS);
operands!(ActivationBlock, blocks, BlockTile<128>, wide: IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS);
operands!(ActivationBlock, blocks, BlockTile<128>, wide: IQ1_M, IQ1_S, TQ2_0, TQ1_0);

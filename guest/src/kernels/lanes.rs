//! What a kernel computes at a time: four dot products, a lane of a vector each.
//!
//! Either of four rows of weights with one token, or of one row with four tokens. Both are computed by the same code and
//! in the same order, so that a token's result does not depend on how many are computed together.

use super::activations::{ActivationBlock, ActivationGroup, Input, TILE};
use crate::quant::Format;

/// A format with the form of activations that it is multiplied with.
pub(crate) trait Operand: Format {
    /// As many activations of four tokens as a block has weights.
    type Tile: 'static;

    /// Those of an input.
    fn tiles<'a>(input: &Input<'a>) -> &'a [Self::Tile];
}

macro_rules! operands {
    ($tile:ty, $field:ident: $($format:ident),*) => {
        $(impl Operand for crate::quant::$format {
            type Tile = $tile;

            fn tiles<'a>(input: &Input<'a>) -> &'a [Self::Tile] {
                input.$field
            }
        })*
    };
}
operands!(ActivationGroup, groups: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL);
operands!(ActivationBlock, blocks: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS);

/// Four pairs of a row of weights and a token's activations, all of equal length.
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(
        dead_code,
        reason = "what the scalar kernels do not need to know, the others do"
    )
)]
pub(crate) trait Lanes<F: Operand>: Copy {
    /// Whether the lanes are rows (and the token is one) or tokens (and the row is one).
    const ROWS: bool;

    /// Blocks in a row.
    fn len(&self) -> usize;

    /// The same, all cut to the one length: it is for the compiler to see that it has to check one index, not five.
    fn of_equal_length(self) -> Self;

    /// Block `c` of the row of lane `i`.
    fn block(&self, i: usize, c: usize) -> &F::Block;

    /// The activations that block `c` is multiplied with.
    fn tile(&self, c: usize) -> &F::Tile;

    /// Which token of the tile is lane `i`'s.
    fn token(&self, i: usize) -> usize;
}

/// Four rows and one token.
pub(crate) struct FourRows<'a, F: Operand> {
    pub(crate) rows: [&'a [F::Block]; TILE],
    pub(crate) tiles: &'a [F::Tile],
    pub(crate) token: usize,
}

impl<F: Operand> Clone for FourRows<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Operand> Copy for FourRows<'_, F> {}

impl<F: Operand> Lanes<F> for FourRows<'_, F> {
    const ROWS: bool = true;

    #[inline(always)]
    fn of_equal_length(self) -> Self {
        let [a, b, c, d] = self.rows;
        let len = self.tiles.len();
        Self {
            rows: [&a[..len], &b[..len], &c[..len], &d[..len]],
            ..self
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.tiles.len()
    }

    #[inline(always)]
    fn block(&self, i: usize, c: usize) -> &F::Block {
        &self.rows[i][c]
    }

    #[inline(always)]
    fn tile(&self, c: usize) -> &F::Tile {
        &self.tiles[c]
    }

    #[inline(always)]
    fn token(&self, _: usize) -> usize {
        self.token
    }
}

/// One row and four tokens.
pub(crate) struct FourTokens<'a, F: Operand> {
    pub(crate) row: &'a [F::Block],
    pub(crate) tiles: &'a [F::Tile],
}

impl<F: Operand> Clone for FourTokens<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Operand> Copy for FourTokens<'_, F> {}

impl<F: Operand> Lanes<F> for FourTokens<'_, F> {
    const ROWS: bool = false;

    #[inline(always)]
    fn of_equal_length(self) -> Self {
        Self {
            row: &self.row[..self.tiles.len()],
            ..self
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.tiles.len()
    }

    #[inline(always)]
    fn block(&self, _: usize, c: usize) -> &F::Block {
        &self.row[c]
    }

    #[inline(always)]
    fn tile(&self, c: usize) -> &F::Tile {
        &self.tiles[c]
    }

    #[inline(always)]
    fn token(&self, i: usize) -> usize {
        i
    }
}

//! Phi 3 and 4, and Phi 3.5 with experts: rotary factors for short and for long contexts. Source: Abdin et al., 2024.

use super::super::plan::{Pairing, Plan};
use super::decoder::decoder;
use super::keys::Keys;
use crate::error::Result;

pub(super) fn phi3(keys: &Keys<'_>) -> Result<Plan> {
    decoder(keys, Pairing::Halves)
}

//! Qwen 2, which has biases, and Qwen 3, which has norms of queries and keys: Llama with the other pairing of rotated
//! dimensions. Sources: Yang et al., 2024 and 2025.

use super::super::plan::{Pairing, Plan};
use super::keys::Keys;
use super::llama::decoder;
use crate::error::Result;

pub(super) fn plan(keys: &Keys<'_>) -> Result<Plan> {
    decoder(keys, Pairing::Halves)
}

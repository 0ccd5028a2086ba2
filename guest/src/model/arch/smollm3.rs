//! SmolLM3: Llama in which every fourth layer does not rotate (NoPE). Sources: Bakouch et al., 2025; Yang et al., 2025.

use super::super::plan::{Mixer, Pairing, Plan};
use super::keys::Keys;
use super::llama::decoder;
use crate::error::Result;

pub(super) fn plan(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    for layer in plan.layers.iter_mut().skip(3).step_by(4) {
        let Mixer::Attention(attention) = &mut layer.mixer;
        attention.rope = None;
    }
    Ok(plan)
}

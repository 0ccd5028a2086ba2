//! Qwen 1 to 3: Llama with the other pairing of rotated dimensions; 1 and 2 have biases, 3 has norms of queries and keys. With
//! experts, too, and those that see, as far as they write. Sources: Bai et al., 2023; Yang et al., 2024 and 2025.

use super::super::plan::{Ffn, Pairing, Plan, SharedGate};
use super::decoder::{EXPERT_SCALES, FFN_SCALES, Mixture, Shared, decoder, with_experts};
use super::keys::Keys;
use crate::error::Result;

/// Qwen 2, and those that are computed as it is.
pub(super) fn plan(keys: &Keys<'_>) -> Result<Plan> {
    decoder(keys, Pairing::Halves)
}

/// Qwen 2 VL: the positions of text are the same in all sections.
pub(super) fn qwen2vl(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = plan(keys)?;
    plan.unused.push("output.bias");
    Ok(plan)
}

/// Qwen 1: the file has twice the width of the feed-forward networks.
pub(super) fn qwen(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = plan(keys)?;
    for ffn in plan.layers.iter_mut().flat_map(|layer| &mut layer.ffns) {
        if let Ffn::Dense(spec) = ffn {
            spec.n_ff = (spec.n_ff / 2).max(1);
        }
    }
    Ok(plan)
}

/// Qwen 3.
pub(super) fn qwen3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = plan(keys)?;
    plan.use_tensors(&FFN_SCALES);
    Ok(plan)
}

/// Qwen 3 VL: the positions of text are the same in all sections.
pub(super) fn qwen3vl(keys: &Keys<'_>) -> Result<Plan> {
    plan(keys)
}

/// Qwen 2 with experts: their weights are as they are, and every token goes through one network more.
pub(super) fn qwen2moe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = plan(keys)?;
    let n_ff = keys.dimension("feed_forward_length", None)?;
    let mixture = Mixture {
        normalizes: Some(false),
        shared: Shared::Length,
        ..Mixture::PLAIN
    };
    with_experts(keys, &mut plan, mixture)?;
    let length = keys.dimension_or_none("expert_shared_feed_forward_length")?;
    for layer in &mut plan.layers {
        let shared = layer.experts_mut().and_then(|spec| spec.shared.as_mut());
        if let Some(shared) = shared {
            shared.network.n_ff = length.unwrap_or(n_ff);
            shared.gate = SharedGate::Sigmoid;
        }
    }
    Ok(plan)
}

/// Qwen 3 with experts.
pub(super) fn qwen3moe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = qwen3vlmoe(keys)?;
    plan.use_tensors(&EXPERT_SCALES);
    Ok(plan)
}

/// The same of Qwen 3 VL.
pub(super) fn qwen3vlmoe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = plan(keys)?;
    with_experts(keys, &mut plan, Mixture::PLAIN)?;
    Ok(plan)
}

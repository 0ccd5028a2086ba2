//! Qwen 2, which has biases, and Qwen 3, which has norms of queries and keys: Llama with the other pairing of rotated
//! dimensions. Both come with experts, too. Sources: Yang et al., 2024 and 2025.

use super::super::plan::{ExpertsSpec, Ffn, Pairing, Plan, SharedGate, SharedSpec};
use super::keys::Keys;
use super::llama::decoder;
use crate::error::{Result, invalid_model};

pub(super) fn plan(keys: &Keys<'_>) -> Result<Plan> {
    decoder(keys, Pairing::Halves)
}

/// Qwen 2 with experts: their weights are as they are, and every token goes through one network more.
pub(super) fn qwen2moe(keys: &Keys<'_>) -> Result<Plan> {
    let n_ff = keys.dimension("feed_forward_length", None)?;
    let shared = keys.dimension_or_none("expert_shared_feed_forward_length")?;
    with_experts(keys, |spec| {
        spec.normalizes = false;
        spec.shared = Some(SharedSpec {
            n_ff: shared.unwrap_or(n_ff),
            gate: SharedGate::Sigmoid,
        });
    })
}

/// Qwen 3 with experts.
pub(super) fn qwen3moe(keys: &Keys<'_>) -> Result<Plan> {
    with_experts(keys, |_| {})
}

fn with_experts(keys: &Keys<'_>, change: impl Fn(&mut ExpertsSpec)) -> Result<Plan> {
    let mut plan = plan(keys)?;
    let n_ff = keys.dimension_or_none("expert_feed_forward_length")?;
    for layer in &mut plan.layers {
        let Ffn::Experts(spec) = &mut layer.ffn else {
            let key = keys.full("expert_count");
            return Err(invalid_model(key, "a number above 0", "0, or no such key"));
        };
        // What one token goes through is as wide as a dense network.
        spec.n_ff = n_ff.unwrap_or(spec.n_ff / spec.n_used).max(1);
        change(spec);
    }
    Ok(plan)
}

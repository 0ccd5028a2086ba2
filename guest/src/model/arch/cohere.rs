//! Command R, R7B and A: both sublayers see the same, normalised without biases. From the second generation on, most layers
//! have a window, and only these rotate. Source: Cohere, 2024 and 2025.

use super::super::plan::{Gating, NormKind, Pairing, Plan};
use super::decoder::{
    EXPERT_SCALES, FFN_SCALES, Local, Mixture, SHARED_SCALES, Shared, build, set_windows,
    with_experts,
};
use super::keys::{Keys, MAX_LAYERS};
use crate::error::Result;

/// Command R.
pub(super) fn command_r(keys: &Keys<'_>) -> Result<Plan> {
    plan(keys, NormKind::Layer)
}

/// Command R7B and A.
pub(super) fn cohere2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = plan(keys, NormKind::Layer)?;
    plan.use_tensors(&FFN_SCALES);
    set_windows(keys, &mut plan, 4, false, Local::Rotates)?;
    Ok(plan)
}

/// The same with experts: the mean of what they and the network beside them add.
pub(super) fn cohere2moe(keys: &Keys<'_>) -> Result<Plan> {
    let rms = keys.positive_or_none("attention.layer_norm_rms_epsilon")?;
    let kind = rms.map_or(NormKind::Layer, |_| NormKind::Rms);
    let mut plan = plan(keys, kind)?;
    plan.use_tensors(&[FFN_SCALES, SHARED_SCALES, EXPERT_SCALES].concat());
    plan.unused.push("output.scale");
    let ropes: Vec<_> = plan
        .layers
        .iter_mut()
        .map(|layer| layer.attention_mut().and_then(|a| a.rope))
        .collect();
    set_windows(keys, &mut plan, 4, true, Local::Rotates)?;
    let n_dense = keys.number_or_none("leading_dense_block_count", MAX_LAYERS)?;
    let n_dense = n_dense.unwrap_or(0) as usize;
    plan.for_attention(|l, attention| {
        if l < n_dense {
            attention.rope = ropes[l];
        }
    });
    let has_shared = keys
        .number_or_none("expert_shared_count", MAX_LAYERS)?
        .is_some();
    let shared = match (
        has_shared,
        keys.dimension_or_none("expert_shared_feed_forward_length")?,
    ) {
        (false, _) => Shared::None,
        (true, None) => Shared::Count,
        (true, Some(_)) => Shared::Length,
    };
    let mixture = Mixture {
        gating: Gating::Sigmoid,
        has_gating: true,
        normalizes: None,
        has_scale: true,
        shared,
        has_dense: true,
    };
    with_experts(keys, &mut plan, mixture)?;
    for layer in &mut plan.layers {
        if has_shared && layer.experts_mut().is_some() {
            layer.ffn_scale = 0.5;
        }
    }
    Ok(plan)
}

fn plan(keys: &Keys<'_>, norm: NormKind) -> Result<Plan> {
    let mut plan = build(keys, Some(Pairing::Interleaved), norm)?;
    plan.make_parallel();
    plan.head.scale = keys.positive_or_none("logit_scale")?.unwrap_or(1.0);
    Ok(plan)
}

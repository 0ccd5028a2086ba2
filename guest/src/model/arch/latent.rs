//! Models with multi-head latent attention. Sources: DeepSeek-AI, 2024 (V2, V3) and 2025 (R1); MiniCPM Team, 2024 (MiniCPM 3);
//! Mistral AI, 2026.

use super::super::plan::{
    Activation, Gating, Mixer, MlaSpec, NormKind, Pairing, Plan, RopeScaling, Temperature,
};
use super::decoder::{Mixture, Shared, build, with_experts};
use super::keys::{Keys, MAX_CONTEXT, MAX_DIM};
use crate::error::{Result, invalid_model};

/// DeepSeek 2 and 3, Mistral 4: with experts.
pub(super) fn deepseek2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, None, NormKind::Rms)?;
    let key_dim = keys.dimension_or_none("attention.key_length_mla")?;
    let value_dim = keys.dimension_or_none("attention.value_length_mla")?;
    let key_dim = match key_dim {
        Some(key_dim) => key_dim,
        None => keys.dimension("attention.key_length", None)?,
    };
    let value_dim = match value_dim {
        Some(value_dim) => value_dim,
        None => keys.dimension("attention.value_length", None)?,
    };
    let mut spec = latent(keys, key_dim, value_dim, Pairing::Interleaved)?;
    // Files have a tenth of what the paper has.
    let all_dims = keys.positive_or_none("rope.scaling.yarn_log_multiplier")?;
    let all_dims = all_dims.map(|all_dims| 10.0 * all_dims);
    let scaling = spec.rope.scaling;
    let mut magnitude = keys.rope_magnitude(scaling, None)?;
    if let RopeScaling::Yarn { factor, .. } = scaling {
        if all_dims.is_some() {
            magnitude = keys.rope_magnitude(RopeScaling::None, None)?;
        }
        let of_scores = magnitude * (1.0 + 0.1 * all_dims.unwrap_or(0.0) * factor.ln());
        spec.scale *= of_scores * of_scores;
    }
    spec.rope.magnitude = magnitude;
    if let Some(scale) = keys.positive_or_none("attention.temperature_scale")? {
        let length = keys.number("attention.temperature_length", None, MAX_CONTEXT)?;
        spec.temperature = Some(Temperature {
            scale,
            length,
            offset: 0.0,
            without_rope_only: false,
        });
    }
    for layer in &mut plan.layers {
        layer.mixers = vec![Mixer::Mla(spec)];
    }
    let mixture = Mixture {
        // GLM 4.7 Flash is told by its sizes.
        gating: match (plan.layers.len(), keys.n_vocab) {
            (47 | 48, 154_880) => Gating::Sigmoid,
            _ => Gating::Softmax,
        },
        has_gating: true,
        normalizes: None,
        has_scale: true,
        shared: Shared::Count,
        has_dense: true,
    };
    with_experts(keys, &mut plan, mixture)?;
    plan.unused.push("output.scale");
    Ok(plan)
}

/// MiniCPM 3: dense, with factors for the embedding, what layers add, and the logits.
pub(super) fn minicpm3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, None, NormKind::Rms)?;
    let key_dim = keys.dimension("attention.key_length", None)?;
    let value_dim = keys.dimension("attention.value_length", None)?;
    let spec = latent(keys, key_dim, value_dim, Pairing::Halves)?;
    let residual_scale = 1.4 / (plan.layers.len() as f32).sqrt();
    for layer in &mut plan.layers {
        layer.mixers = vec![Mixer::Mla(spec)];
        layer.residual_scale = residual_scale;
    }
    plan.input.scale = 12.0;
    plan.head.scale = 256.0 / plan.n_embd as f32;
    Ok(plan)
}

/// PLM: dense, with squared ReLU. Source: Deng et al., 2025.
pub(super) fn plm(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, None, NormKind::Rms)?;
    let key_dim = keys.dimension("attention.key_length", None)?;
    let value_dim = keys.dimension("attention.value_length", None)?;
    let spec = latent(keys, key_dim, value_dim, Pairing::Interleaved)?;
    for layer in &mut plan.layers {
        layer.mixers = vec![Mixer::Mla(spec)];
    }
    plan.remove_gates();
    plan.activate(Activation::ReluSquared);
    Ok(plan)
}

fn latent(keys: &Keys<'_>, key_dim: usize, value_dim: usize, pairing: Pairing) -> Result<MlaSpec> {
    let n_heads = keys.dimension("attention.head_count", None)?;
    let dims = keys.dimension("rope.dimension_count", None)?;
    if dims > key_dim || !dims.is_multiple_of(2) {
        let expected = format!("an even number up to {key_dim}");
        return Err(invalid_model(
            keys.full("rope.dimension_count"),
            expected,
            dims,
        ));
    }
    let q_rank = match keys.has_tensor("blk.0.attn_q_a.weight") {
        true => Some(keys.dimension("attention.q_lora_rank", None)?),
        false => None,
    };
    let spec = MlaSpec {
        n_heads,
        q_rank,
        kv_rank: keys.dimension("attention.kv_lora_rank", None)?,
        nope: key_dim - dims,
        rope: keys.rope(dims, pairing)?,
        value_dim,
        scale: 1.0 / (key_dim as f32).sqrt(),
        temperature: None,
        is_absorbed: keys.has_tensor("blk.0.attn_k_b.weight"),
    };
    let widest = spec.kv_rank.max(key_dim).max(value_dim) as u64 * n_heads as u64;
    if widest > u64::from(MAX_DIM) {
        let expected = "heads with a total width of at most 2^20";
        return Err(invalid_model(
            keys.full("attention.head_count"),
            expected,
            n_heads,
        ));
    }
    Ok(spec)
}

//! Granite 3 and 4 and MiniCPM: Llama with factors for the embedding, the scores, what layers add, and the logits. Sources:
//! Granite Team, IBM, 2024; Hu et al., 2024 (MiniCPM).

use super::super::plan::{Pairing, Plan};
use super::decoder::{Local, Mixture, Shared, decoder, set_windows, with_experts};
use super::keys::Keys;
use crate::error::Result;

/// Granite 3 and 4, dense or with experts.
pub(super) fn granite(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = with_factors(keys)?;
    // Granite 4 says by this key that it does not rotate.
    let rotates = keys.flag("rope.scaling.finetuned")?.unwrap_or(true);
    plan.for_attention(|_, attention| attention.rope = attention.rope.filter(|_| rotates));
    Ok(plan)
}

/// Granite with windows and attention sinks. Not all layers rotate.
pub(super) fn granite_swa(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = with_factors(keys)?;
    let key = "attention.rope_pattern";
    let has_key = keys.metadata.get(&keys.full(key)).is_some();
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let rotates = !has_key || keys.number_of_layer(key, l, 1)?.is_some();
        if let Some(attention) = layer.attention_mut() {
            attention.rope = attention.rope.filter(|_| rotates);
        }
    }
    set_windows(keys, &mut plan, 0, false, Local::HasBase)?;
    Ok(plan)
}

fn with_factors(keys: &Keys<'_>) -> Result<Plan> {
    let factor = |key: &str| keys.positive_or_none(key);
    let factors = Factors {
        embedding: factor("embedding_scale")?.unwrap_or(1.0),
        residual: factor("residual_scale")?.unwrap_or(1.0),
        logits: keys.positive("logit_scale", None)?,
    };
    plan(keys, factors)
}

/// MiniCPM 1 and 2.
pub(super) fn minicpm(keys: &Keys<'_>) -> Result<Plan> {
    let n_embd = keys.dimension("embedding_length", None)?;
    let n_layers = keys.dimension("block_count", None)?;
    let factors = Factors {
        embedding: keys.positive("embedding_scale", Some(12.0))?,
        residual: keys.positive("residual_scale", Some(1.4 / (n_layers as f32).sqrt()))?,
        logits: keys.positive("logit_scale", Some(256.0 / n_embd as f32))?,
    };
    plan(keys, factors)
}

/// The factors of a model.
struct Factors {
    embedding: f32,
    residual: f32,
    /// Logits are divided by it.
    logits: f32,
}

fn plan(keys: &Keys<'_>, factors: Factors) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    plan.input.scale = factors.embedding;
    plan.head.scale = 1.0 / factors.logits;
    let attention_scale = keys.positive_or_none("attention.scale")?;
    plan.for_attention(|_, attention| {
        attention.scale = attention_scale.unwrap_or(attention.scale);
    });
    for layer in &mut plan.layers {
        layer.residual_scale = factors.residual;
    }
    if keys.number_or_none("expert_count", u32::MAX)?.is_some() {
        let n_ff = keys.dimension("feed_forward_length", None)?;
        let mixture = Mixture {
            shared: Shared::LengthOrNone,
            ..Mixture::PLAIN
        };
        with_experts(keys, &mut plan, mixture)?;
        for layer in &mut plan.layers {
            if let Some(spec) = layer.experts_mut() {
                spec.expert.n_ff = n_ff;
            }
        }
    }
    Ok(plan)
}

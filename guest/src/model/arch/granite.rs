//! Granite 3 and its mixtures of experts: Llama with factors for the embedding, the scores, what layers add, and the
//! logits. Source: Granite Team, IBM, 2024.

use super::super::plan::{Ffn, Mixer, Pairing, Plan, SharedGate, SharedSpec};
use super::keys::Keys;
use super::llama::decoder;
use crate::error::Result;

pub(super) fn plan(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    let factor = |key: &str| keys.positive_or_none(key);
    plan.embed_scale = factor("embedding_scale")?.unwrap_or(1.0);
    plan.head.scale = 1.0 / keys.positive("logit_scale", None)?;
    let residual_scale = factor("residual_scale")?.unwrap_or(1.0);
    let attention_scale = factor("attention.scale")?;
    let shared = keys.dimension_or_none("expert_shared_feed_forward_length")?;
    // Granite 4 says by this key that it does not rotate.
    let rotates = keys.flag("rope.scaling.finetuned")?.unwrap_or(true);
    for layer in &mut plan.layers {
        layer.residual_scale = residual_scale;
        let Mixer::Attention(attention) = &mut layer.mixer;
        attention.scale = attention_scale.unwrap_or(attention.scale);
        attention.rope = attention.rope.filter(|_| rotates);
        if let Ffn::Experts(spec) = &mut layer.ffn {
            let gate = SharedGate::Open;
            spec.shared = shared.map(|n_ff| SharedSpec { n_ff, gate });
        }
    }
    Ok(plan)
}

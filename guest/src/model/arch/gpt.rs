//! GPT-2 and those of its form: norms that subtract the mean, biases, and feed-forward networks without a gate. Sources: Radford
//! et al., 2019 (GPT-2); Black et al., 2022 (GPT-NeoX); Li et al., 2023 (StarCoder); Lozhkov et al., 2024 (StarCoder 2); Le
//! Scao et al., 2022 (BLOOM); Almazrouei et al., 2023 (Falcon); MosaicML, 2023 (MPT, DBRX); Gunasekar et al., 2023 (Phi).

use super::super::plan::{Activation, NormKind, Pairing, Plan};
use super::decoder::{build, gpt_decoder};
use super::keys::Keys;
use crate::error::Result;

/// GPT-2, StarCoder: positions are embedded.
pub(super) fn gpt2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = gpt_decoder(keys, None)?;
    plan.input.has_positions = true;
    Ok(plan)
}

/// Rotary positions instead: CodeShell, StarCoder 2.
pub(super) fn rotary(keys: &Keys<'_>) -> Result<Plan> {
    gpt_decoder(keys, Some(Pairing::Halves))
}

/// GPT-NeoX, Pythia: both sublayers may see the same, each with its own norm.
pub(super) fn gptneox(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = rotary(keys)?;
    let is_parallel = keys.flag("use_parallel_residual")?.unwrap_or(true);
    for layer in &mut plan.layers {
        layer.is_parallel = is_parallel;
    }
    Ok(plan)
}

/// BLOOM: scores fall with the distance, and the embedding is normalised.
pub(super) fn bloom(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = gpt_decoder(keys, None)?;
    plan.input.has_norm = true;
    plan.for_attention(|_, attention| attention.alibi = Some(8.0));
    Ok(plan)
}

/// MPT: scores fall with the distance, or positions are embedded.
pub(super) fn mpt(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = gpt_decoder(keys, None)?;
    plan.input.has_positions = keys.has_tensor("position_embd.weight");
    let alibi = keys.positive_or_none("attention.max_alibi_bias")?;
    let clamp = keys.positive_or_none("attention.clamp_kqv")?;
    plan.for_attention(|_, attention| {
        attention.alibi = alibi;
        attention.clamp = clamp;
    });
    // Keys are normalised only if queries are.
    if !keys.has_tensor("blk.0.attn_q_norm.weight") {
        plan.unused
            .extend(["attn_k_norm.weight", "attn_k_norm.bias"]);
    }
    Ok(plan)
}

/// Falcon: both sublayers see the same, in the larger ones with a norm of its own for attention.
pub(super) fn falcon(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = rotary(keys)?;
    plan.make_parallel();
    if keys.has_tensor("blk.0.attn_norm_2.weight") {
        for layer in &mut plan.layers {
            layer.mixer_norms.before = Some("attn_norm_2");
        }
    }
    Ok(plan)
}

/// Phi 1 and 2: both sublayers see the same.
pub(super) fn phi2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = rotary(keys)?;
    plan.make_parallel();
    Ok(plan)
}

/// Nemotron, Jais 2: the activation is a square.
pub(super) fn squared(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = rotary(keys)?;
    plan.activate(Activation::ReluSquared);
    Ok(plan)
}

/// Jais: with gates; scores fall with the distance, and are divided by the width of a head.
pub(super) fn jais(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, None, NormKind::Layer)?;
    let alibi = keys.positive_or_none("attention.max_alibi_bias")?;
    plan.for_attention(|_, attention| {
        attention.alibi = alibi;
        attention.scale = 1.0 / attention.head_dim as f32;
    });
    Ok(plan)
}

/// Orion: Llama with the norms of GPT-2.
pub(super) fn orion(keys: &Keys<'_>) -> Result<Plan> {
    build(keys, Some(Pairing::Halves), NormKind::Layer)
}

/// StableLM: the same; in the larger ones both sublayers see the same.
pub(super) fn stablelm(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = orion(keys)?;
    if !keys.has_tensor("blk.0.ffn_norm.weight") {
        plan.make_parallel();
    }
    Ok(plan)
}

/// DBRX: experts, and clamped queries, keys and values.
pub(super) fn dbrx(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = orion(keys)?;
    plan.rename_ffn_norm("attn_output_norm");
    let clamp = keys.positive_or_none("attention.clamp_kqv")?;
    plan.for_attention(|_, attention| attention.clamp = clamp);
    Ok(plan)
}

//! Families that come with experts only, or mostly. Sources: Dai et al., 2024 (DeepSeek); OpenAI, 2025 (gpt-oss); Muennighoff et al.,
//! 2024 (OLMoE); GLM Team, 2025; Baidu, 2025 (ERNIE 4.5); Tencent, 2024 and 2025 (Hunyuan); xAI, 2024 (Grok).

use super::super::plan::{
    Activation, AttentionGate, Ffn, Gating, HeadNorm, Pairing, Plan, RopeScaling, RouterInput,
    Window,
};
use super::decoder::{
    DENSE, EXPERT_SCALES, FFN_SCALES, Local, Mixture, SHARED_SCALES, Shared, decoder, set_windows,
    windows, with_experts,
};
use super::keys::{Keys, MAX_LAYERS};
use crate::error::Result;

/// DeepSeek 1.
pub(super) fn deepseek(keys: &Keys<'_>) -> Result<Plan> {
    softmax_mixture(keys, Some(false), true)
}

/// Ling 1: without dense layers, whatever the file says; it says whether weights are divided by their sum.
pub(super) fn bailingmoe(keys: &Keys<'_>) -> Result<Plan> {
    softmax_mixture(keys, None, false)
}

fn softmax_mixture(keys: &Keys<'_>, normalizes: Option<bool>, has_dense: bool) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    let mixture = Mixture {
        gating: Gating::Softmax,
        has_gating: false,
        normalizes,
        has_scale: true,
        shared: Shared::Count,
        has_dense,
    };
    with_experts(keys, &mut plan, mixture)?;
    Ok(plan)
}

/// dots.llm1, Ling 2 (`bailingmoe2`).
pub(super) fn dots1(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    with_experts(keys, &mut plan, Mixture::SIGMOID)?;
    if keys.architecture == "bailingmoe2" {
        let length = keys.dimension_or_none("expert_shared_feed_forward_length")?;
        let count = keys.dimension("expert_shared_count", None)?;
        for layer in &mut plan.layers {
            if let Some(spec) = layer.experts_mut()
                && let (Some(shared), Some(length)) = (&mut spec.shared, length)
            {
                shared.network.n_ff = length.saturating_mul(count);
            }
        }
    }
    Ok(plan)
}

/// GLM 4.5 and 4.6.
pub(super) fn glm4moe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.rename_ffn_norm("post_attention_norm");
    with_experts(keys, &mut plan, Mixture::SIGMOID)?;
    Ok(plan)
}

/// GLM 4 and 4.1V. The latter rotates in sections, and by halves.
pub(super) fn glm4(keys: &Keys<'_>) -> Result<Plan> {
    let sections = keys.metadata.get(&keys.full("rope.dimension_sections"));
    let has_sections = match sections {
        Some(crate::gguf::Value::Array(array)) => {
            let is_set = |i| {
                array
                    .get(i)
                    .and_then(|v| v.as_integer())
                    .is_some_and(|n| n > 0)
            };
            is_set(0) && is_set(1)
        }
        _ => false,
    };
    let pairing = match has_sections {
        true => Pairing::Halves,
        false => Pairing::Interleaved,
    };
    let mut plan = decoder(keys, pairing)?;
    plan.add_norms_after();
    Ok(plan)
}

/// ERNIE 4.5, dense or with experts in every so many layers.
pub(super) fn ernie(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    plan.unused.push("attn_output.bias");
    if keys.architecture == "ernie4_5" {
        dense_only(&mut plan);
        return Ok(plan);
    }
    let mixture = Mixture {
        shared: Shared::LengthOrNone,
        has_dense: true,
        ..Mixture::PLAIN
    };
    with_experts(keys, &mut plan, mixture)?;
    let n_ff = keys.dimension("feed_forward_length", None)?;
    let step = keys.number("interleave_moe_layer_step", Some(1), MAX_LAYERS)? as usize;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        if (l + 1) % step != 0 {
            layer.make_dense(Some(n_ff));
        }
    }
    Ok(plan)
}

/// PaddleOCR-VL, as far as it writes.
pub(super) fn paddleocr(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    dense_only(&mut plan);
    Ok(plan)
}

/// Files may name experts that the family has not.
fn dense_only(plan: &mut Plan) {
    for layer in &mut plan.layers {
        layer.make_dense(None);
    }
}

/// Hunyuan, dense and seeing: queries and keys are normalised after they are rotated.
pub(super) fn hunyuan(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    let alpha = keys.positive_or_none("rope.scaling.alpha")?;
    plan.for_attention(|_, attention| {
        attention.head_norm = HeadNorm::AfterRope;
        let dim = attention.head_dim as f32;
        if let (Some(rope), Some(alpha)) = (&mut attention.rope, alpha) {
            rope.base *= alpha.powf(dim / (dim - 2.0));
        }
    });
    Ok(plan)
}

/// Hunyuan with experts.
pub(super) fn hunyuan_moe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    let n_ff = keys.dimension("feed_forward_length", None)?;
    let length = keys.dimension_or_none("expert_shared_feed_forward_length")?;
    let mixture = Mixture {
        shared: Shared::Length,
        ..Mixture::PLAIN
    };
    with_experts(keys, &mut plan, mixture)?;
    for layer in &mut plan.layers {
        if let Some(spec) = layer.experts_mut() {
            spec.expert.n_ff = n_ff;
            if let Some(shared) = &mut spec.shared {
                shared.network.n_ff = length.unwrap_or(n_ff);
            }
        }
    }
    plan.for_attention(|_, attention| attention.head_norm = HeadNorm::AfterRope);
    Ok(plan)
}

/// Hunyuan 3: experts in the layers that have a router.
pub(super) fn hy_v3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.use_tensors(&[FFN_SCALES, SHARED_SCALES, EXPERT_SCALES].concat());
    let n_ff = keys.dimension("feed_forward_length", None)?;
    let mixture = Mixture {
        shared: Shared::Length,
        ..Mixture::SIGMOID
    };
    with_experts(keys, &mut plan, mixture)?;
    let mut all = true;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let has_router = keys.has_tensor(&format!("blk.{l}.ffn_gate_inp.weight"));
        if layer.experts_mut().is_some() && !has_router {
            layer.make_dense(Some(n_ff));
            all = false;
        }
    }
    if all {
        plan.unused.extend(DENSE);
        plan.unused.extend(FFN_SCALES);
    }
    Ok(plan)
}

/// OLMoE.
pub(super) fn olmoe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    for layer in &mut plan.layers {
        if let Some(spec) = layer.experts_mut() {
            spec.normalizes = false;
        }
    }
    Ok(plan)
}

/// MiniMax M2.
pub(super) fn minimax_m2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    let n_ff = keys.dimension("feed_forward_length", None)?;
    let mixture = Mixture {
        normalizes: Some(true),
        shared: Shared::None,
        ..Mixture::SIGMOID
    };
    with_experts(keys, &mut plan, mixture)?;
    for layer in &mut plan.layers {
        if let Some(spec) = layer.experts_mut() {
            spec.expert.n_ff = n_ff;
        }
    }
    Ok(plan)
}

/// gpt-oss: every other layer has a window; sinks take a part of the scores.
pub(super) fn gpt_oss(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.rename_ffn_norm("post_attention_norm");
    let mixture = Mixture {
        gating: Gating::SoftmaxOfChosen,
        has_gating: false,
        normalizes: Some(false),
        has_scale: false,
        shared: Shared::None,
        has_dense: false,
    };
    with_experts(keys, &mut plan, mixture)?;
    plan.activate(Activation::ClampedSilu);
    set_windows(keys, &mut plan, 2, false, Local::HasBase)?;
    Ok(plan)
}

/// EXAONE 4 with experts: layers with a window rotate. Source: LG AI Research, 2025.
pub(super) fn exaone_moe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    let mixture = Mixture {
        shared: Shared::Length,
        ..Mixture::SIGMOID
    };
    with_experts(keys, &mut plan, mixture)?;
    set_windows(keys, &mut plan, 4, false, Local::Rotates)?;
    Ok(plan)
}

/// Mellum 2 (JetBrains, 2025): windows in which positions are not scaled.
pub(super) fn mellum(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.use_tensors(&EXPERT_SCALES);
    with_experts(keys, &mut plan, Mixture::PLAIN)?;
    set_windows(keys, &mut plan, 4, false, Local::IsUnscaled)?;
    Ok(plan)
}

/// Maple: layers with a window rotate, and what an expert multiplies is clamped.
pub(super) fn maple(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    with_experts(keys, &mut plan, Mixture::PLAIN)?;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let limit = keys.float_of_layer("swiglu_clamp_exp", l)?;
        if let (Some(spec), Some(limit)) = (layer.experts_mut(), limit) {
            spec.expert.activation = Activation::SiluWithin(limit);
        }
    }
    set_windows(keys, &mut plan, 0, false, Local::Rotates)?;
    Ok(plan)
}

/// Grok 1 and 2: GELU, capped scores, and a dense network beside the experts.
pub(super) fn grok(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.activate(Activation::Gelu);
    let factor = |key: &str, default: f32| keys.positive(key, Some(default));
    plan.head.scale = factor("logit_scale", 0.577_350_3)?;
    plan.input.scale = factor("embedding_scale", 78.383_67)?;
    plan.head.softcap = keys.positive_or_none("final_logit_softcapping")?;
    let scale = factor("attention.output_scale", 0.088_388_35)?;
    let softcap = factor("attn_logit_softcapping", 30.0)?;
    plan.for_attention(|_, attention| {
        attention.scale = scale;
        attention.softcap = Some(softcap);
    });
    let n_ff = keys.dimension_or_none("expert_feed_forward_length")?;
    let norm = match keys.has_tensor("blk.0.layer_output_norm.weight") {
        true => "layer_output_norm",
        false => "post_ffw_norm",
    };
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        layer.mixer_norms.after = Some("attn_output_norm");
        layer.ffn_norms.after = Some(norm);
        let Some(spec) = layer.experts_mut() else {
            continue;
        };
        let dense = spec.expert;
        spec.expert.n_ff = n_ff.unwrap_or(dense.n_ff);
        if keys.has_tensor(&format!("blk.{l}.ffn_up.weight")) {
            layer.ffns.push(Ffn::Dense(dense));
            layer.ffn_scale = std::f32::consts::FRAC_1_SQRT_2;
        }
    }
    Ok(plan)
}

/// SmallThinker: the router sees the layer's input. Source: Song et al., 2025.
pub(super) fn smallthinker(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    let mixture = Mixture {
        has_gating: true,
        ..Mixture::PLAIN
    };
    with_experts(keys, &mut plan, mixture)?;
    plan.activate(Activation::Relu);
    for layer in &mut plan.layers {
        if let Some(spec) = layer.experts_mut() {
            spec.router_input = RouterInput::BeforeLayer;
        }
    }
    if let Some((_, is_local)) = windows(keys, &plan, 4, true)? {
        let base = keys.positive_or_none("rope.freq_base_swa")?;
        plan.for_attention(|l, attention| {
            attention.window = is_local[l].then_some(Window::Sliding(4096));
            attention.rope = attention.rope.filter(|_| l % 4 != 0);
            if let (Some(rope), Some(base), true) = (&mut attention.rope, base, is_local[l]) {
                rope.base = base;
            }
        });
    }
    Ok(plan)
}

/// Trinity (`afmoe`): norms before and after, and a gate for each dimension of a head. Source: Arcee AI, 2025.
pub(super) fn afmoe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.input.scale = (plan.n_embd as f32).sqrt();
    plan.add_norms_after();
    with_experts(keys, &mut plan, Mixture::SIGMOID)?;
    plan.for_attention(|l, attention| {
        attention.gate = Some(AttentionGate::Sigmoid);
        attention.rope = attention.rope.filter(|_| l % 4 != 3);
    });
    plan.unused.push("attn_gate.scale");
    set_windows(keys, &mut plan, 4, false, Local::HasBase)?;
    Ok(plan)
}

/// Laguna: a gate for each head, and windows that rotate by frequencies of their own. Source: Poolside, 2026.
pub(super) fn laguna(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.unused.extend(["output.scale", "attn_gate.scale"]);
    let mixture = Mixture {
        shared: Shared::Length,
        ..Mixture::SIGMOID
    };
    with_experts(keys, &mut plan, mixture)?;
    set_windows(keys, &mut plan, 4, true, Local::IsUnscaled)?;
    let dims = keys.dimension_or_none("rope.dimension_count_swa")?;
    plan.for_attention(|_, attention| {
        attention.gate = Some(AttentionGate::Softplus);
        if let (Some(rope), Some(dims), Some(_)) = (&mut attention.rope, dims, attention.window) {
            rope.dims = dims;
            rope.scaling = RopeScaling::None;
        }
    });
    Ok(plan)
}

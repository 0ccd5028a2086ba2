//! Llama 1 to 3, Mistral, Mixtral, SmolLM, whatever else calls itself `llama`, and its near relatives. Sources: Touvron et al.,
//! 2023; Jiang et al., 2023 and 2024; Meta, 2025 (Llama 4).

use super::super::layer::softplus;
use super::super::plan::{
    Activation, AttentionGate, Ffn, Gating, HeadNorm, NormKind, Pairing, Plan, SharedGate,
    SharedSpec, Temperature, Window,
};
use super::decoder::{DENSE, EXPERT_SCALES, FFN_SCALES, Local, build, decoder, set_windows};
use super::keys::{Keys, MAX_CONTEXT, MAX_DIM, MAX_LAYERS};
use crate::error::{Result, unsupported};

pub(super) fn plan(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    plan.use_tensors(&[FFN_SCALES, EXPERT_SCALES].concat());
    Ok(plan)
}

/// Llama in everything, but for the scales: InternLM 2, XVERSE, Maincoder, Deci.
pub(super) fn relative(keys: &Keys<'_>) -> Result<Plan> {
    decoder(keys, Pairing::Interleaved)
}

/// With the other pairing of rotated dimensions: EXAONE 3, openPangu.
pub(super) fn relative_in_halves(keys: &Keys<'_>) -> Result<Plan> {
    decoder(keys, Pairing::Halves)
}

/// Deci: each layer has its own number of heads, or none.
pub(super) fn deci(keys: &Keys<'_>) -> Result<Plan> {
    let plan = decoder(keys, Pairing::Interleaved)?;
    for l in 0..plan.layers.len() {
        let heads = keys.number_of_layer("attention.head_count", l, MAX_DIM)?;
        let kv_heads = keys.number_of_layer("attention.head_count_kv", l, MAX_DIM)?;
        if heads.is_some() && kv_heads.is_none() {
            let key = keys.full("attention.head_count_kv");
            let found = format!("0 in layer {l} (a linear layer instead of attention)");
            return Err(unsupported(key, "a number above 0", found));
        }
    }
    Ok(plan)
}

/// Arcee: the activation is a square, and there is no gate.
pub(super) fn arcee(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    plan.remove_gates();
    plan.activate(Activation::ReluSquared);
    Ok(plan)
}

/// Baichuan: the 7B, told by its number of layers, rotates; the 13B's scores fall with the distance.
pub(super) fn baichuan(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    let n_layers = plan.layers.len();
    plan.for_attention(|_, attention| {
        attention.rope = attention.rope.filter(|_| n_layers == 32);
        attention.alibi = (n_layers == 40).then_some(8.0);
    });
    Ok(plan)
}

/// Refact: scores fall with the distance.
pub(super) fn refact(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, None, NormKind::Rms)?;
    if keys.number_or_none("expert_count", u32::MAX)?.is_some() {
        let key = keys.full("expert_count");
        return Err(unsupported(key, "0 (a dense model)", "experts"));
    }
    plan.for_attention(|_, attention| attention.alibi = Some(8.0));
    plan.unused.extend([
        "attn_output.bias",
        "ffn_gate.bias",
        "ffn_up.bias",
        "ffn_down.bias",
        "rope_freqs.weight",
    ]);
    Ok(plan)
}

/// SmolLM3: every fourth layer does not rotate (NoPE). Sources: Bakouch et al., 2025; Yang et al., 2025.
pub(super) fn smollm3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    plan.for_attention(|l, attention| attention.rope = attention.rope.filter(|_| l % 4 != 3));
    Ok(plan)
}

/// Ministral 3: queries grow with their position beyond the original context.
pub(super) fn mistral3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = plan(keys)?;
    let over = keys.positive_or_none("rope.scaling.yarn_log_multiplier")?;
    let magnitude = keys.rope_magnitude(keys.rope_scaling()?, over)?;
    plan.for_attention(|_, attention| {
        if let Some(rope) = &mut attention.rope {
            rope.magnitude = magnitude;
        }
    });
    let Some(scale) = keys.positive_or_none("attention.temperature_scale")? else {
        return Ok(plan);
    };
    let length = keys.original_context()?;
    plan.for_attention(|_, attention| {
        attention.temperature = Some(Temperature {
            scale,
            length,
            offset: 0.0,
            without_rope_only: false,
        });
    });
    Ok(plan)
}

/// Llama 4: three of four layers rotate and see their chunk; in the others, queries grow with their position. Layers with
/// experts come at a distance, and a token's weights multiply what goes into them.
pub(super) fn llama4(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    let step = keys.number("interleave_moe_layer_step", None, MAX_LAYERS)? as usize;
    let n_ff = keys.dimension("expert_feed_forward_length", None)?;
    let mut n_experts = 0;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let Some(spec) = layer.experts_mut() else {
            continue;
        };
        n_experts = spec.n_experts;
        if (l + 1) % step != 0 {
            layer.make_dense(None);
            continue;
        }
        spec.expert.n_ff = n_ff;
        spec.gating = Gating::Sigmoid;
        spec.normalizes = false;
        spec.weighs_input = true;
        spec.shared = Some(SharedSpec {
            network: spec.expert,
            gate: SharedGate::Open,
        });
    }
    let key = "attention.sliding_window";
    let has_chunks = match keys.metadata.u32(&keys.full(key))? {
        Some(0) => false,
        _ => {
            keys.number_or_none(key, MAX_CONTEXT)?.is_some()
                || keys.metadata.get(&keys.full(key)).is_none()
        }
    };
    plan.for_attention(|l, attention| {
        let rotates = !has_chunks || l % 4 != 3;
        if rotates && n_experts != 128 {
            attention.head_norm = HeadNorm::Unweighted;
        }
        if !has_chunks {
            return;
        }
        attention.window = rotates.then_some(Window::Chunked(8192));
        attention.rope = attention.rope.filter(|_| rotates);
        attention.temperature = Some(Temperature {
            scale: 0.1,
            length: 8192,
            offset: 1.0,
            without_rope_only: true,
        });
    });
    Ok(plan)
}

/// OLMo 2 and 3: norms follow the sublayers. OLMo 3 has windows, in which positions are not scaled. Sources: OLMo Team, 2024
/// and 2025.
pub(super) fn olmo2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.move_norms_after();
    set_windows(keys, &mut plan, 4, false, Local::IsUnscaled)?;
    Ok(plan)
}

/// OLMo 1: norms have no weights. Source: Groeneveld et al., 2024.
pub(super) fn olmo(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, Some(Pairing::Interleaved), NormKind::Layer)?;
    plan.norm.has_weight = false;
    let clamp = keys.positive_or_none("attention.clamp_kqv")?;
    plan.for_attention(|_, attention| attention.clamp = clamp);
    Ok(plan)
}

/// EXAONE 4: norms follow the sublayers. The larger one has windows, and rotates only in these. Source: LG AI Research, 2025.
pub(super) fn exaone4(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.move_norms_after();
    if plan.layers.len() == 64 {
        let pattern = keys.pattern("attention.sliding_window_pattern", 4, false, 64)?;
        let window = keys.number("attention.sliding_window", Some(4096), MAX_CONTEXT)?;
        plan.for_attention(|l, attention| match pattern[l] {
            true => attention.window = Some(Window::Sliding(window as usize)),
            false => attention.rope = None,
        });
    }
    Ok(plan)
}

/// Seed-OSS: the norm of the feed-forward networks has another name. Source: ByteDance Seed, 2025.
pub(super) fn seed_oss(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.rename_ffn_norm("post_attention_norm");
    Ok(plan)
}

/// Apertus: the activation is xIELU, with numbers of its own in each layer. Source: Swiss AI Initiative, 2025.
pub(super) fn apertus(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.remove_gates();
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let number = |name: &str| keys.signed_of_layer(&format!("xielu.{name}"), l);
        let beta = number("beta")?;
        let activation = Activation::Xielu {
            positive: softplus(number("alpha_p")?),
            negative: beta + softplus(number("alpha_n")?),
            beta,
            eps: number("eps")?,
        };
        for ffn in &mut layer.ffns {
            if let Ffn::Dense(spec) = ffn {
                spec.activation = activation;
            }
        }
    }
    Ok(plan)
}

/// PLaMo: both sublayers see the same. Source: Preferred Networks, 2023.
pub(super) fn plamo(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.make_parallel();
    Ok(plan)
}

/// PLaMo 3: norms before and after, and windows with a base of their own. Source: Preferred Networks, 2025.
pub(super) fn plamo3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.add_norms_after();
    plan.unused.push("attn_qkv.scale");
    set_windows(keys, &mut plan, 8, false, Local::HasBase)?;
    Ok(plan)
}

/// OpenELM: each layer has its own widths. Source: Mehta et al., 2024.
pub(super) fn openelm(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.unused.push("attn_qkv.scale");
    Ok(plan)
}

/// BitNet b1.58: norms within the sublayers, and a scale for each matrix. Source: Ma et al., 2024.
pub(super) fn bitnet(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.use_tensors(&FFN_SCALES);
    Ok(plan)
}

/// Nanbeige 4: Llama, whose layers may be gone through more than once.
pub(super) fn nanbeige(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Interleaved)?;
    plan.use_tensors(&FFN_SCALES);
    let loops = keys.number("num_loops", Some(1), u32::MAX)?;
    if loops != 1 {
        return Err(unsupported(keys.full("num_loops"), "1", loops));
    }
    Ok(plan)
}

/// Spark 2.5: a gate for each head, and windows.
pub(super) fn spark(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.activate(Activation::Gelu);
    plan.for_attention(|_, attention| {
        attention.gate = Some(AttentionGate::Sigmoid);
    });
    plan.unused.extend(["attn_gate.scale", "output.scale"]);
    set_windows(keys, &mut plan, 0, false, Local::HasBase)?;
    Ok(plan)
}

/// MiMo 2: values have a width of their own, and some layers a window, other heads, and a sink. Source: Xiaomi, 2025.
pub(super) fn mimo2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    let n_ff = keys.dimension("expert_feed_forward_length", None)?;
    let scale = keys.positive_or_none("attention.value_scale")?;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        if !keys.has_tensor(&format!("blk.{l}.ffn_gate_inp.weight")) {
            layer.make_dense(None);
        } else if let Some(spec) = layer.experts_mut() {
            spec.expert.n_ff = n_ff;
            spec.gating = Gating::Sigmoid;
        }
    }
    if plan
        .layers
        .iter()
        .all(|layer| matches!(layer.ffns[..], [Ffn::Experts(_)]))
    {
        plan.unused.extend(DENSE);
    }
    plan.for_attention(|_, attention| attention.output_scale = scale.unwrap_or(1.0));
    plan.unused
        .extend(["attn_q.scale", "attn_k.scale", "attn_v.scale"]);
    plan.unused
        .extend(["attn_q.bias", "attn_k.bias", "attn_v.bias"]);
    set_windows(keys, &mut plan, 0, false, Local::HasBase)?;
    Ok(plan)
}

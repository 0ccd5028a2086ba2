//! Gemma 1 to 3: the embedding is scaled, the activation is GELU; from Gemma 2 on, norms follow each part of a layer, and
//! most layers see a window only. In Gemma 4 those have heads of another width, layers get embeddings of their own, and
//! the last ones see keys and values of earlier ones. Sources: Gemma Team, 2024 (1 and 2) and 2025 (3 and 3n).

use super::super::plan::{
    Activation, AltUpSpec, AttentionSpec, Ffn, Norms, Pairing, Plan, RopeScaling, RouterInput,
    Values, Window,
};
use super::decoder::{check_attention, decoder, windows};
use super::keys::{Keys, MAX_CONTEXT, MAX_DIM};
use crate::error::{Result, invalid_model, unsupported};

/// Gemma 1.
pub(super) fn gemma(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = scaled(keys)?;
    if plan
        .layers
        .iter_mut()
        .any(|layer| layer.experts_mut().is_some())
    {
        let key = keys.full("expert_count");
        return Err(unsupported(key, "0 (a dense model)", "experts"));
    }
    Ok(plan)
}

/// What all have in common.
fn scaled(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.input.scale = (plan.n_embd as f32).sqrt();
    plan.activate(Activation::Gelu);
    Ok(plan)
}

/// Gemma 2: every other layer has a window; scores and logits are capped.
pub(super) fn gemma2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = with_norms_after(keys, 46)?;
    let softcap = keys.positive_or_none("attn_logit_softcapping")?;
    let window = keys.number("attention.sliding_window", Some(4096), MAX_CONTEXT)?;
    let key = "attention.sliding_window_pattern";
    let is_local = keys.pattern(key, 2, false, plan.layers.len())?;
    plan.for_attention(|l, attention| {
        attention.softcap = softcap;
        attention.window = is_local[l].then_some(Window::Sliding(window as usize));
    });
    Ok(plan)
}

/// Gemma 3: five of six layers have a window, and rotate by frequencies of their own.
pub(super) fn gemma3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = with_norms_after(keys, 62)?;
    let Some((window, is_local)) = windows(keys, &plan, 6, false)? else {
        return Ok(plan);
    };
    let local_base = keys.positive("rope.freq_base_swa", Some(10_000.0))?;
    plan.for_attention(|l, attention| {
        if is_local[l] {
            attention.window = Some(Window::Sliding(window));
            if let Some(rope) = &mut attention.rope {
                rope.base = local_base;
                rope.scaling = RopeScaling::None;
            }
        }
    });
    Ok(plan)
}

/// Gemma 3n: four residual streams, embeddings of layers, a way around attention; the layers from the 21st on see keys and
/// values of earlier ones, and the first ten have sparse gates. The numbers are those of all of its models.
pub(super) fn gemma3n(keys: &Keys<'_>) -> Result<Plan> {
    const STREAMS: AltUpSpec = AltUpSpec { n: 4, active: 0 };
    const LAUREL_RANK: usize = 64;
    const LAYERS_WITH_KEYS: usize = 20;
    const SPARSE_LAYERS: usize = 10;
    /// The quantile at 95 % of a normal distribution.
    const GATE_BOUND: f32 = 1.644_853_6;

    let mut plan = scaled(keys)?;
    plan.head.softcap = keys.positive_or_none("final_logit_softcapping")?;
    plan.add_norms_after();
    plan.input.altup = Some(STREAMS);
    let width = "embedding_length_per_layer_input";
    plan.input.per_layer = Some(keys.dimension(width, Some(256))?);
    check_per_layer(keys, &plan)?;
    let window = keys.number("attention.sliding_window", None, MAX_CONTEXT)?;
    let key = "attention.sliding_window_pattern";
    let is_local = keys.pattern(key, 5, false, plan.layers.len())?;
    let local_base = keys.positive("rope.freq_base_swa", Some(10_000.0))?;
    plan.for_attention(|l, attention| {
        attention.scale = 1.0;
        attention.values = Values::Normalized;
        if is_local[l] {
            attention.window = Some(Window::Sliding(window as usize));
            if let Some(rope) = &mut attention.rope {
                rope.base = local_base;
            }
        }
    });
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        layer.laurel = Some(LAUREL_RANK);
        for ffn in &mut layer.ffns {
            if let Ffn::Dense(spec) = ffn {
                spec.gate_bound = (l < SPARSE_LAYERS).then_some(GATE_BOUND);
            }
        }
    }
    let n_shared = plan.layers.len().saturating_sub(LAYERS_WITH_KEYS);
    share_keys_of(keys, &mut plan, &is_local, n_shared)?;
    Ok(plan)
}

/// Gemma 4.
pub(super) fn gemma4(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = scaled(keys)?;
    plan.unused.clear();
    plan.head.softcap = keys.positive_or_none("final_logit_softcapping")?;
    plan.add_norms_after();
    plan.input.per_layer = keys.dimension_or_none("embedding_length_per_layer_input")?;
    check_per_layer(keys, &plan)?;
    let Some((window, is_local)) = windows(keys, &plan, 6, false)? else {
        let key = keys.full("attention.sliding_window");
        return Err(invalid_model(key, "a number above 0", "none"));
    };
    let local_base = keys.positive_or_none("rope.freq_base_swa")?;
    let local_dim = keys.dimension_or_none("attention.key_length_swa")?;
    let local_value_dim = keys.dimension_or_none("attention.value_length_swa")?;
    let local_rope_dims = keys.dimension_or_none("rope.dimension_count_swa")?;
    plan.for_attention(|l, attention| {
        attention.scale = 1.0;
        attention.values = Values::Normalized;
        if is_local[l] {
            attention.window = Some(Window::Sliding(window));
            attention.head_dim = local_dim.unwrap_or(attention.head_dim);
            attention.value_dim = local_value_dim.unwrap_or(attention.value_dim);
            if let Some(rope) = &mut attention.rope {
                rope.base = local_base.unwrap_or(rope.base);
                rope.dims = local_rope_dims.unwrap_or(rope.dims);
                rope.has_factors = false;
            }
        }
    });
    share_keys(keys, &mut plan, &is_local)?;
    add_experts(keys, &mut plan)?;
    for layer in &mut plan.layers {
        layer.has_output_scale = true;
        let attention = layer.attention_mut();
        if let Some(attention) = attention {
            check_attention(keys, attention)?;
            if attention.head_dim != attention.value_dim {
                let key = keys.full("attention.value_length");
                return Err(invalid_model(key, attention.head_dim, attention.value_dim));
            }
        }
    }
    Ok(plan)
}

/// Experts beside a network that every token goes through, each with norms of its own.
fn add_experts(keys: &Keys<'_>, plan: &mut Plan) -> Result<()> {
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let Some(spec) = layer.experts_mut() else {
            continue;
        };
        let network = spec.expert;
        if !keys.has_tensor(&format!("blk.{l}.ffn_gate_inp.weight")) {
            layer.make_dense(None);
            continue;
        }
        let key = "expert_feed_forward_length";
        let n_ff = keys.number_of_layer(key, l, MAX_DIM)?;
        let Some(n_ff) = n_ff else {
            return Err(invalid_model(keys.full(key), "a number above 0", "none"));
        };
        spec.expert.n_ff = n_ff as usize;
        spec.router_input = RouterInput::Residual;
        layer.ffns.insert(0, Ffn::Dense(network));
        layer.ffn_norms.before = None;
        let norms = |before, after| Norms {
            before: Some(before),
            after: Some(after),
            ..Norms::default()
        };
        layer.ffn_part_norms = vec![
            norms("ffn_norm", "post_ffw_norm_1"),
            norms("pre_ffw_norm_2", "post_ffw_norm_2"),
        ];
    }
    Ok(())
}

/// Checks the embeddings of layers, which are in one row.
fn check_per_layer(keys: &Keys<'_>, plan: &Plan) -> Result<()> {
    let most = MAX_DIM as usize / plan.layers.len().max(1);
    match plan.input.per_layer.unwrap_or(1) <= most {
        true => Ok(()),
        false => {
            let key = keys.full("embedding_length_per_layer_input");
            let expected = "a total width of at most 2^20 over all layers";
            Err(invalid_model(key, expected, "a larger one"))
        }
    }
}

/// As many of the last layers as the file says see the keys and values of earlier ones.
fn share_keys(keys: &Keys<'_>, plan: &mut Plan, is_local: &[bool]) -> Result<()> {
    let key = "attention.shared_kv_layers";
    let n_shared = keys.number_or_none(key, MAX_DIM)?.unwrap_or(0) as usize;
    share_keys_of(keys, plan, is_local, n_shared)
}

/// The last layers see the keys and values of the last but one, or with a window the last but two, of those before.
fn share_keys_of(
    keys: &Keys<'_>,
    plan: &mut Plan,
    is_local: &[bool],
    n_shared: usize,
) -> Result<()> {
    let (n_layers, key) = (plan.layers.len(), "attention.shared_kv_layers");
    if n_shared == 0 {
        return Ok(());
    }
    let fails = |found: &str| {
        let expected = "fewer than all layers but two, after those of the same kinds";
        Err(invalid_model(keys.full(key), expected, found))
    };
    let Some(first) = n_layers.checked_sub(n_shared).filter(|first| *first >= 2) else {
        return fails(&n_shared.to_string());
    };
    for l in first..n_layers {
        let source = first - if is_local[l] { 2 } else { 1 };
        // As many parts as layers, if all have attention.
        let slot = plan.layers[..source].iter().map(|layer| layer.mixers.len());
        let slot = slot.sum();
        let theirs = plan.layers[source].attention_mut().cloned();
        let (Some(theirs), Some(own)) = (theirs, plan.layers[l].attention_mut()) else {
            return fails("layers without attention");
        };
        let widths = |spec: &AttentionSpec| (spec.n_kv_heads, spec.head_dim, spec.value_dim);
        if is_local[source] != is_local[l] || widths(&theirs) != widths(own) {
            return fails("layers of another kind");
        }
        own.shares = Some(slot);
    }
    Ok(())
}

/// What Gemma 2 and 3 have in common. The scores of the largest, which is told by its number of layers, are divided by
/// another width.
fn with_norms_after(keys: &Keys<'_>, layers_of_27b: usize) -> Result<Plan> {
    let mut plan = gemma(keys)?;
    plan.head.softcap = keys.positive_or_none("final_logit_softcapping")?;
    plan.add_norms_after();
    let (n_embd, is_27b) = (plan.n_embd, plan.layers.len() == layers_of_27b);
    plan.for_attention(|_, attention| {
        if is_27b {
            attention.scale = 1.0 / ((n_embd / attention.n_heads) as f32).sqrt();
        }
    });
    Ok(plan)
}

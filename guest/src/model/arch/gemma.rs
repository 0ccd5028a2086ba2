//! Gemma 1 to 3: the embedding is scaled, the activation is GELU; from Gemma 2 on, norms follow each part of a layer, and
//! most layers see a window only. Sources: Gemma Team, 2024 (1 and 2) and 2025 (3).

use super::super::plan::{
    Activation, Ffn, LayerSpec, Mixer, Norms, Pairing, Plan, RopeScaling, RopeSpec,
};
use super::keys::{Keys, MAX_CONTEXT};
use super::llama::decoder;
use crate::error::{Result, unsupported};

/// Gemma 1.
pub(super) fn gemma(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.embed_scale = (plan.n_embd as f32).sqrt();
    for layer in &mut plan.layers {
        let Ffn::Gated { activation, .. } = &mut layer.ffn else {
            let key = keys.full("expert_count");
            return Err(unsupported(key, "0 (a dense model)", "experts"));
        };
        *activation = Activation::Gelu;
    }
    Ok(plan)
}

/// Gemma 2: every other layer has a window; scores and logits are capped.
pub(super) fn gemma2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = with_norms_after(keys, 46)?;
    let softcap = keys.positive_or_none("attn_logit_softcapping")?;
    let window = keys.number("attention.sliding_window", Some(4096), MAX_CONTEXT)? as usize;
    for_layers(&mut plan, keys, 2, |layer, is_local| {
        let Mixer::Attention(spec) = &mut layer.mixer;
        spec.softcap = softcap;
        spec.window = is_local.then_some(window);
    })?;
    Ok(plan)
}

/// Gemma 3: five of six layers have a window, and rotate by frequencies of their own.
pub(super) fn gemma3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = with_norms_after(keys, 62)?;
    let window = keys.number_or_none("attention.sliding_window", MAX_CONTEXT)?;
    let Some(window) = window else {
        return Ok(plan);
    };
    let local_base = keys.positive("rope.freq_base_swa", Some(10_000.0))?;
    for_layers(&mut plan, keys, 6, |layer, is_local| {
        let Mixer::Attention(spec) = &mut layer.mixer;
        if is_local {
            spec.window = Some(window as usize);
            spec.rope = spec.rope.map(|rope| RopeSpec {
                base: local_base,
                scaling: RopeScaling::None,
                ..rope
            });
        }
    })?;
    Ok(plan)
}

/// What Gemma 2 and 3 have in common. The scores of the largest, which is told by its number of layers, are divided by
/// another width.
fn with_norms_after(keys: &Keys<'_>, layers_of_27b: usize) -> Result<Plan> {
    let mut plan = gemma(keys)?;
    plan.head.softcap = keys.positive_or_none("final_logit_softcapping")?;
    let is_27b = plan.layers.len() == layers_of_27b;
    for layer in &mut plan.layers {
        layer.norms = Norms::BeforeAndAfter;
        let Mixer::Attention(spec) = &mut layer.mixer;
        if is_27b {
            spec.scale = 1.0 / ((plan.n_embd / spec.n_heads) as f32).sqrt();
        }
    }
    Ok(plan)
}

/// Calls `change` with each layer, and whether it is one with a window: all but the last of each `period`.
fn for_layers(
    plan: &mut Plan,
    keys: &Keys<'_>,
    period: u32,
    mut change: impl FnMut(&mut LayerSpec, bool),
) -> Result<()> {
    let key = "attention.sliding_window_pattern";
    let is_local = keys.pattern(key, period, plan.layers.len())?;
    for (layer, is_local) in plan.layers.iter_mut().zip(is_local) {
        change(layer, is_local);
    }
    Ok(())
}

//! Encoders, whose tokens see those after them, too: BERT and what followed it. They embed texts and rank them. Sources:
//! Devlin et al., 2018 (BERT); Nussbaum et al., 2024 (Nomic); Günther et al., 2023 (Jina 2); Warner et al., 2024
//! (ModernBERT); Boizard et al., 2025 (EuroBERT); Breton et al., 2025 (NeoBERT); Vera et al., 2025 (EmbeddingGemma).

use super::super::plan::{
    Activation, ClassifierActivation, Ffn, Gating, NormKind, Norms, Pairing, Plan, Pooling, Window,
};
use super::decoder::{build, windows};
use super::gemma;
use super::keys::{Keys, MAX_LAYERS, UNSPECIFIED};
use crate::error::{Result, invalid_model, unsupported};

/// BERT: positions are added, and norms follow each sum.
pub(super) fn bert(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = post_norm(keys, None)?;
    plan.input.has_positions = true;
    plan.remove_gates();
    plan.activate(Activation::Gelu);
    Ok(plan)
}

/// Nomic 1: positions rotate, and networks have gates.
pub(super) fn nomic_bert(keys: &Keys<'_>) -> Result<Plan> {
    post_norm(keys, Some(Pairing::Halves))
}

/// Nomic 2: every so many layers have experts, the second one first.
pub(super) fn nomic_bert_moe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = jina_bert_v3(keys)?;
    let every = keys.number_or_none("moe_every_n_layers", MAX_LAYERS)?;
    let every = every.unwrap_or(0) as usize;
    let scale = keys.positive("expert_weights_scale", Some(1.0))?;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        if every == 0 || l % every != 1 {
            layer.make_dense(None);
        } else if let Some(spec) = layer.experts_mut() {
            spec.gating = Gating::Softmax;
            spec.normalizes = false;
            spec.scale = scale;
        }
    }
    Ok(plan)
}

/// Jina 2: scores fall with the distance. Networks may have gates, and the code models add the input of a layer twice.
pub(super) fn jina_bert_v2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = post_norm(keys, None)?;
    plan.activate(Activation::Gelu);
    plan.for_attention(|_, attention| attention.alibi = Some(8.0));
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        if keys.has_tensor(&format!("blk.{l}.attn_norm_2.weight")) {
            layer.mixer_norms.of_second_sum = Some("attn_norm_2");
        }
        for ffn in &mut layer.ffns {
            let Ffn::Dense(spec) = ffn else {
                let key = keys.full("expert_count");
                return Err(unsupported(key, "0 (a dense model)", "experts"));
            };
            let rows = keys.rows_of(&format!("blk.{l}.ffn_up.weight"));
            let is_apart = keys.has_tensor(&format!("blk.{l}.ffn_gate.weight"));
            spec.has_gate = is_apart || rows == Some(2 * spec.n_ff as u64);
        }
    }
    Ok(plan)
}

/// Jina 3: BERT whose positions rotate.
pub(super) fn jina_bert_v3(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = post_norm(keys, Some(Pairing::Halves))?;
    plan.remove_gates();
    plan.activate(Activation::Gelu);
    Ok(plan)
}

/// ModernBERT: norms come first, and two of three layers see their neighbourhood only.
pub(super) fn modern_bert(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = encoder(keys, Some(Pairing::Halves), NormKind::Layer)?;
    plan.input.has_norm = true;
    let activation = match keys.metadata.str(&keys.full("hidden_activation"))? {
        Some("silu" | "swiglu") => Activation::Silu,
        None | Some("gelu" | "geglu") => Activation::Gelu,
        Some(other) => {
            let key = keys.full("hidden_activation");
            return Err(unsupported(key, "gelu or silu", other));
        }
    };
    plan.activate(activation);
    see_neighbourhoods(keys, &mut plan, 3, true)?;
    if let Some(first) = plan.layers.first_mut() {
        let has_norm = keys.has_tensor("blk.0.attn_norm.weight");
        first.mixer_norms.before = first.mixer_norms.before.filter(|_| has_norm);
    }
    plan.pooling.classifier = ClassifierActivation::Gelu;
    plan.pooling.classified = match keys.number_or_none("classifier.pooling_type", UNSPECIFIED)? {
        None | Some(1 | UNSPECIFIED) => Pooling::Mean,
        Some(2) => Pooling::Cls,
        Some(other) => {
            let key = keys.full("classifier.pooling_type");
            return Err(unsupported(key, "1 (mean) or 2 (cls)", other));
        }
    };
    Ok(plan)
}

/// EuroBERT: Llama's layers.
pub(super) fn eurobert(keys: &Keys<'_>) -> Result<Plan> {
    encoder(keys, Some(Pairing::Halves), NormKind::Rms)
}

/// NeoBERT: the same, with another pairing.
pub(super) fn neo_bert(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = encoder(keys, Some(Pairing::Interleaved), NormKind::Rms)?;
    plan.head.norm = Some("enc.output_norm");
    Ok(plan)
}

/// EmbeddingGemma: Gemma 3 whose windows reach both ways.
pub(super) fn gemma_embedding(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = gemma::gemma3(keys)?;
    make_encoder(&mut plan);
    plan.unused.push("output.weight");
    match windows(keys, &plan, 6, false)? {
        Some(_) => see_neighbourhoods(keys, &mut plan, 6, false)?,
        None => {
            let key = keys.full("attention.sliding_window");
            return Err(invalid_model(key, "a number above 0", "none"));
        }
    }
    Ok(plan)
}

/// Layers whose tokens see all of the text.
fn encoder(keys: &Keys<'_>, pairing: Option<Pairing>, norm: NormKind) -> Result<Plan> {
    let mut plan = build(keys, pairing, norm)?;
    make_encoder(&mut plan);
    Ok(plan)
}

fn make_encoder(plan: &mut Plan) {
    plan.for_attention(|_, attention| attention.is_causal = false);
    plan.head.has_logits = false;
    plan.pooling.classified = Pooling::Cls;
}

/// Layers with norms after each sum, behind a normalised embedding; there is none at the end.
fn post_norm(keys: &Keys<'_>, pairing: Option<Pairing>) -> Result<Plan> {
    let mut plan = encoder(keys, pairing, NormKind::Layer)?;
    plan.input.has_types = true;
    plan.input.has_norm = true;
    plan.head.norm = None;
    let of_sum = |name| Norms {
        of_sum: Some(name),
        ..Norms::default()
    };
    for layer in &mut plan.layers {
        layer.mixer_norms = of_sum("attn_output_norm");
        layer.ffn_norms = of_sum("layer_output_norm");
    }
    Ok(plan)
}

/// Gives layers windows to both sides, in which positions rotate by a base of their own.
fn see_neighbourhoods(
    keys: &Keys<'_>,
    plan: &mut Plan,
    period: u32,
    dense_is_first: bool,
) -> Result<()> {
    let Some((window, is_local)) = windows(keys, plan, period, dense_is_first)? else {
        return Ok(());
    };
    let base = keys.positive_or_none("rope.freq_base_swa")?;
    plan.for_attention(|l, attention| {
        attention.window = is_local[l].then_some(Window::Symmetric(window));
        if let Some(rope) = attention.rope.as_mut().filter(|_| is_local[l]) {
            rope.base = base.unwrap_or(rope.base);
        }
    });
    Ok(())
}

//! Models whose layers, or most of them, keep a state of a fixed size instead of all keys and values. Sources: Gu and Dao, 2023
//! (Mamba); Dao and Gu, 2024 (Mamba 2); Lieber et al., 2024 (Jamba); TII, 2025 (Falcon-H1); IBM, 2025 (Granite 4); NVIDIA, 2025
//! (Nemotron-H); Liquid AI, 2025 (LFM2); Preferred Networks, 2025 (PLaMo 2); Qwen Team, 2025 (Qwen3-Next) and 2026 (Qwen3.5).

use super::super::forward::BATCH;
use super::super::plan::{
    Activation, AttentionGate, ChannelMixSpec, DeltaNetSpec, Ffn, Gating, KeySharing, Mixer,
    NormKind, Pairing, Plan, SharedGate, ShortConvSpec, SsmForm, SsmSpec, TimeMixSpec,
};
use super::decoder::{
    EXPERT_SCALES, FFN_SCALES, Local, Mixture, SHARED_SCALES, Shared, build, decoder, empty,
    set_windows, with_experts,
};
use super::granite::granite;
use super::keys::{Keys, MAX_DIM, MAX_LAYERS};
use crate::error::{Result, invalid_model, unsupported};

/// More taps than any convolution has.
const MAX_TAPS: u32 = 64;

/// The state space model of these keys.
fn ssm(keys: &Keys<'_>, form: SsmForm) -> Result<SsmSpec> {
    let d_inner = keys.dimension("ssm.inner_size", None)?;
    let rank = keys.dimension("ssm.time_step_rank", None)?;
    let n_embd = keys.dimension("embedding_length", None)?;
    let n_groups = keys.number_or_none("ssm.group_count", MAX_DIM)?;
    let n_groups = n_groups.unwrap_or(1) as usize;
    let spec = SsmSpec {
        form,
        d_conv: keys.number("ssm.conv_kernel", None, MAX_TAPS)? as usize,
        d_inner,
        d_state: keys.dimension("ssm.state_size", None)?,
        n_heads: match form {
            SsmForm::Mamba1 => d_inner,
            SsmForm::Mamba2 | SsmForm::Plamo2 => rank,
        },
        n_groups: match form {
            SsmForm::Mamba2 => n_groups,
            SsmForm::Mamba1 | SsmForm::Plamo2 => 1,
        },
        dt_rank: match form {
            SsmForm::Mamba1 => rank,
            SsmForm::Mamba2 => 0,
            SsmForm::Plamo2 => (n_embd / 16).max(64),
        },
        normalizes: false,
    };
    let must = |n: usize, by: usize, key: &str| match n.is_multiple_of(by) {
        true => Ok(()),
        false => {
            let expected = format!("a multiple of {by}");
            Err(invalid_model(keys.full(key), expected, n))
        }
    };
    must(d_inner, spec.n_heads, "ssm.inner_size")?;
    must(d_inner, spec.n_groups, "ssm.inner_size")?;
    must(spec.n_heads, spec.n_groups, "ssm.time_step_rank")?;
    check_state(keys, spec.d_state as u64 * d_inner as u64)?;
    // All tokens of a batch have weights of this width.
    let weights = 2 * spec.n_groups as u64 * spec.d_state as u64;
    check_state(keys, weights * BATCH as u64)?;
    Ok(spec)
}

/// Checks that a layer's state fits into a buffer: sizes have 32 bits in WebAssembly.
fn check_state(keys: &Keys<'_>, numbers: u64) -> Result<()> {
    match numbers <= 1 << 26 {
        true => Ok(()),
        false => Err(unsupported(
            keys.full("ssm.state_size"),
            "a state of at most 2^26 numbers in each layer",
            numbers,
        )),
    }
}

/// Replaces the attention of some layers.
fn replace(plan: &mut Plan, mixer: &Mixer, is_replaced: impl Fn(usize) -> bool) {
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        if is_replaced(l) {
            layer.mixers = vec![mixer.clone()];
        }
    }
}

/// Which layers have no heads of keys and values.
fn without_keys(keys: &Keys<'_>, n: usize) -> Result<Vec<bool>> {
    let heads = |l: usize| keys.number_of_layer("attention.head_count_kv", l, MAX_DIM);
    (0..n).map(|l| Ok(heads(l)?.is_none())).collect()
}

/// Mamba 1 and 2: nothing but state space models.
pub(super) fn mamba(keys: &Keys<'_>) -> Result<Plan> {
    let form = match keys.architecture {
        "mamba2" => SsmForm::Mamba2,
        _ => SsmForm::Mamba1,
    };
    let mut spec = ssm(keys, form)?;
    spec.normalizes = keys.flag("ssm.dt_b_c_rms")?.unwrap_or(false);
    let mut plan = empty(keys, NormKind::Rms)?;
    for layer in &mut plan.layers {
        layer.mixers = vec![Mixer::Ssm(spec)];
    }
    Ok(plan)
}

/// Jamba: Mamba 1, with attention that does not rotate in a few layers, and experts in some.
pub(super) fn jamba(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, None, NormKind::Rms)?;
    let mut spec = ssm(keys, SsmForm::Mamba1)?;
    spec.normalizes = true;
    let is_recurrent = without_keys(keys, plan.layers.len())?;
    replace(&mut plan, &Mixer::Ssm(spec), |l| is_recurrent[l]);
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        if !keys.has_tensor(&format!("blk.{l}.ffn_gate_inp.weight")) {
            layer.make_dense(None);
        } else if let Some(spec) = layer.experts_mut() {
            spec.normalizes = false;
        }
    }
    Ok(plan)
}

/// Falcon-H1: Mamba 2 beside attention in each layer.
pub(super) fn falcon_h1(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    let spec = ssm(keys, SsmForm::Mamba2)?;
    for layer in &mut plan.layers {
        layer.mixers.push(Mixer::Ssm(spec));
    }
    plan.unused
        .extend(["attn_output.bias", "rope_freqs.weight"]);
    Ok(plan)
}

/// Granite 4: Mamba 2, with attention in a few layers.
pub(super) fn granitehybrid(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = granite(keys)?;
    let spec = ssm(keys, SsmForm::Mamba2)?;
    let is_recurrent = without_keys(keys, plan.layers.len())?;
    replace(&mut plan, &Mixer::Ssm(spec), |l| is_recurrent[l]);
    Ok(plan)
}

/// Nemotron-H: each layer is Mamba 2, attention that does not rotate, or a feed-forward network.
pub(super) fn nemotron_h(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = build(keys, None, NormKind::Rms)?;
    plan.use_tensors(&[FFN_SCALES, SHARED_SCALES, EXPERT_SCALES].concat());
    let spec = ssm(keys, SsmForm::Mamba2)?;
    let is_recurrent = without_keys(keys, plan.layers.len())?;
    let length = keys.dimension_or_none("expert_shared_feed_forward_length")?;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let n_ff = keys.number_of_layer("feed_forward_length", l, MAX_DIM)?;
        layer.ffn_norms = layer.mixer_norms;
        if n_ff.is_some() {
            layer.mixers.clear();
        } else {
            layer.ffns.clear();
            if is_recurrent[l] {
                layer.mixers = vec![Mixer::Ssm(spec)];
            }
        }
        let n_ff = keys.number_of_layer("expert_feed_forward_length", l, MAX_DIM)?;
        let scale = keys
            .positive_or_none("expert_weights_scale")?
            .unwrap_or(1.0);
        let normalizes = keys.flag("expert_weights_norm")?.unwrap_or(false);
        if keys.has_tensor(&format!("blk.{l}.ffn_latent_down.weight")) {
            let found = format!("`blk.{l}.ffn_latent_down.weight`");
            return Err(unsupported(
                "tensors",
                "experts without a latent space",
                found,
            ));
        }
        if let Some(experts) = layer.experts_mut() {
            experts.gating = Gating::Sigmoid;
            experts.normalizes = normalizes;
            experts.scale = scale;
            if let Some(n_ff) = n_ff {
                experts.expert.n_ff = n_ff as usize;
            }
            experts.shared = length.map(|n_ff| super::super::plan::SharedSpec {
                network: super::super::plan::FfnSpec {
                    n_ff,
                    ..experts.expert
                },
                gate: SharedGate::Open,
            });
        }
    }
    plan.remove_gates();
    plan.activate(Activation::ReluSquared);
    Ok(plan)
}

/// LFM2: short convolutions, with attention in a few layers; with experts, too.
pub(super) fn lfm2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.head.norm = Some("token_embd_norm");
    let is_recurrent = without_keys(keys, plan.layers.len())?;
    let mixer = Mixer::ShortConv(ShortConvSpec {
        d_conv: keys.number("shortconv.l_cache", None, MAX_TAPS)? as usize,
        n_embd: plan.n_embd,
    });
    replace(&mut plan, &mixer, |l| is_recurrent[l]);
    if keys.architecture == "lfm2moe" {
        let mixture = Mixture {
            gating: Gating::Sigmoid,
            has_gating: true,
            normalizes: Some(true),
            has_scale: false,
            shared: Shared::None,
            has_dense: true,
        };
        with_experts(keys, &mut plan, mixture)?;
    } else {
        set_windows(keys, &mut plan, 0, false, Local::HasBase)?;
    }
    plan.unused
        .extend(["shortconv.in_proj.scale", "shortconv.out_proj.scale"]);
    Ok(plan)
}

/// PLaMo 2: a Mamba of its own arrangement, with attention in every other layer.
pub(super) fn plamo2(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.add_norms_after();
    let mut spec = ssm(keys, SsmForm::Plamo2)?;
    spec.normalizes = true;
    let is_recurrent = without_keys(keys, plan.layers.len())?;
    replace(&mut plan, &Mixer::Ssm(spec), |l| is_recurrent[l]);
    plan.for_attention(|_, attention| {
        attention.scale = 1.0 / (attention.value_dim as f32).sqrt();
    });
    plan.unused
        .extend(["attn_qkv.scale", "ssm_in.scale", "ssm_out.scale"]);
    Ok(plan)
}

/// Qwen3-Next: the gated delta rule, with gated attention in every fourth layer, and experts.
pub(super) fn qwen3next(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = delta_net(keys, KeySharing::Neighbours)?;
    with_qwen_experts(keys, &mut plan)?;
    plan.unused
        .extend(["attn_qkv.scale", "attn_gate.scale", "ssm_out.scale"]);
    plan.unused.extend(["ssm_in.weight", "ssm_in.scale"]);
    Ok(plan)
}

/// Qwen 3.5: the same with other heads, dense or with experts.
pub(super) fn qwen35(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = delta_net(keys, KeySharing::Remainders)?;
    plan.use_tensors(&FFN_SCALES);
    Ok(plan)
}

/// Qwen 3.5 with experts.
pub(super) fn qwen35moe(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = delta_net(keys, KeySharing::Remainders)?;
    with_qwen_experts(keys, &mut plan)?;
    Ok(plan)
}

fn with_qwen_experts(keys: &Keys<'_>, plan: &mut Plan) -> Result<()> {
    plan.use_tensors(&[SHARED_SCALES, EXPERT_SCALES].concat());
    let mixture = Mixture {
        shared: Shared::Length,
        ..Mixture::PLAIN
    };
    with_experts(keys, plan, mixture)?;
    for layer in &mut plan.layers {
        if let Some(spec) = layer.experts_mut() {
            spec.gating = Gating::Softmax;
            if let Some(shared) = &mut spec.shared {
                shared.gate = SharedGate::Sigmoid;
            }
        }
    }
    Ok(())
}

fn delta_net(keys: &Keys<'_>, sharing: KeySharing) -> Result<Plan> {
    let mut plan = decoder(keys, Pairing::Halves)?;
    plan.rename_ffn_norm("post_attention_norm");
    let spec = DeltaNetSpec {
        d_conv: keys.number("ssm.conv_kernel", None, MAX_TAPS)? as usize,
        n_key_heads: keys.dimension("ssm.group_count", None)?,
        n_value_heads: keys.dimension("ssm.time_step_rank", None)?,
        head_dim: keys.dimension("ssm.state_size", None)?,
        sharing,
    };
    if !spec.n_value_heads.is_multiple_of(spec.n_key_heads) {
        let expected = format!("a multiple of {}", spec.n_key_heads);
        let key = keys.full("ssm.time_step_rank");
        return Err(invalid_model(key, expected, spec.n_value_heads));
    }
    let (head_dim, n_heads) = (spec.head_dim as u64, spec.n_value_heads as u64);
    check_state(keys, (head_dim * head_dim).saturating_mul(n_heads))?;
    let period = keys.number("full_attention_interval", Some(4), MAX_LAYERS)?;
    let key = "attention.recurrent_layers";
    let has_list = matches!(
        keys.metadata.get(&keys.full(key)),
        Some(crate::gguf::Value::Array(_))
    );
    let n = plan.layers.len();
    let is_recurrent = match has_list {
        true => keys.pattern(key, period, false, n)?,
        false => (1..=n as u32).map(|l| l % period != 0).collect(),
    };
    replace(&mut plan, &Mixer::DeltaNet(spec), |l| is_recurrent[l]);
    for layer in &mut plan.layers {
        let Some(attention) = layer.attention_mut() else {
            continue;
        };
        attention.gate = Some(AttentionGate::InQuery);
        if attention.value_dim != attention.head_dim {
            let key = keys.full("attention.value_length");
            return Err(invalid_model(key, attention.head_dim, attention.value_dim));
        }
    }
    Ok(plan)
}

/// RWKV 7: a memory in each head in place of attention. Source: Peng et al., 2025.
pub(super) fn rwkv7(keys: &Keys<'_>) -> Result<Plan> {
    let mut plan = empty(keys, NormKind::Layer)?;
    plan.input.has_norm = true;
    plan.rename_ffn_norm("attn_norm_2");
    let (n_embd, head_dim) = (plan.n_embd, keys.dimension("wkv.head_size", None)?);
    if !n_embd.is_multiple_of(head_dim) {
        let key = keys.full("wkv.head_size");
        return Err(invalid_model(
            key,
            format!("a divisor of {n_embd}"),
            head_dim,
        ));
    }
    let shifts = keys.number("token_shift_count", None, MAX_TAPS)?;
    if shifts != 2 {
        return Err(unsupported(keys.full("token_shift_count"), "2", shifts));
    }
    check_state(keys, head_dim as u64 * n_embd as u64)?;
    let residual_rank = keys.dimension("attention.value_residual_mix_lora_rank", None)?;
    let spec = TimeMixSpec {
        n_heads: n_embd / head_dim,
        head_dim,
        n_embd,
        decay_rank: keys.dimension("attention.decay_lora_rank", None)?,
        rate_rank: keys.dimension("attention.iclr_lora_rank", None)?,
        residual_rank: Some(residual_rank),
        gate_rank: keys.dimension_or_none("attention.gate_lora_rank")?,
    };
    let n_ff = keys.dimension("feed_forward_length", None)?;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        layer.mixers = vec![Mixer::TimeMix(TimeMixSpec {
            residual_rank: spec.residual_rank.filter(|_| l > 0),
            ..spec
        })];
        layer.ffns = vec![Ffn::ChannelMix(ChannelMixSpec { n_ff })];
    }
    Ok(plan)
}

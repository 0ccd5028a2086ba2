//! What most architectures have in common: a decoder whose layers are all alike, of attention and a feed-forward network or
//! experts. The other files change what it makes. Sources: Vaswani et al., 2017; Touvron et al., 2023.

use super::super::plan::{
    Activation, AttentionSpec, ExpertGroups, ExpertsSpec, Ffn, FfnSpec, Gating, Head, HeadNorm,
    Input, LayerSpec, Mixer, NormKind, Norms, Pairing, Plan, RopeScaling, RouterInput, SharedGate,
    SharedSpec, Values, Window,
};
use super::keys::{Keys, MAX_CONTEXT, MAX_DIM, MAX_EXPERTS, MAX_LAYERS};
use crate::error::{Result, invalid_model, unsupported};

/// The factors of a feed-forward network's products. llama.cpp computes with them in some families only.
pub(super) const FFN_SCALES: [&str; 3] = ["ffn_gate.scale", "ffn_up.scale", "ffn_down.scale"];
/// The same of experts.
pub(super) const EXPERT_SCALES: [&str; 3] = [
    "ffn_gate_exps.scale",
    "ffn_up_exps.scale",
    "ffn_down_exps.scale",
];
/// The same of the network beside experts.
pub(super) const SHARED_SCALES: [&str; 3] = [
    "ffn_gate_shexp.scale",
    "ffn_up_shexp.scale",
    "ffn_down_shexp.scale",
];
/// A feed-forward network's matrices, for files that have them beside experts.
pub(super) const DENSE: [&str; 3] = ["ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"];
/// Both norms of a layer, as most files call them.
const ATTN_NORM: &str = "attn_norm";
const FFN_NORM: &str = "ffn_norm";

/// A decoder that normalises by the root of the mean of squares.
pub(super) fn decoder(keys: &Keys<'_>, pairing: Pairing) -> Result<Plan> {
    build(keys, Some(pairing), NormKind::Rms)
}

/// A decoder that subtracts the mean, too, and has no gate: the form of GPT-2.
pub(super) fn gpt_decoder(keys: &Keys<'_>, pairing: Option<Pairing>) -> Result<Plan> {
    let mut plan = build(keys, pairing, NormKind::Layer)?;
    plan.remove_gates();
    plan.activate(Activation::Gelu);
    Ok(plan)
}

/// A decoder with either norm.
pub(super) fn build(keys: &Keys<'_>, pairing: Option<Pairing>, norm: NormKind) -> Result<Plan> {
    let mut plan = empty(keys, norm)?;
    let n_embd = plan.n_embd;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let attention = attention(keys, n_embd, pairing, l)?;
        layer.mixers = attention.map(Mixer::Attention).into_iter().collect();
        layer.ffns = feed_forward(keys, n_embd, l)?.into_iter().collect();
    }
    Ok(plan)
}

/// A decoder whose layers are empty, but for their norms.
pub(super) fn empty(keys: &Keys<'_>, norm: NormKind) -> Result<Plan> {
    let n_embd = keys.dimension("embedding_length", None)?;
    let n_all = keys.number("block_count", None, MAX_LAYERS)? as usize;
    // The last ones predict tokens further ahead; they are not needed for the next one.
    let n_further = keys.number_or_none("nextn_predict_layers", MAX_LAYERS)?;
    let n_layers = n_all.saturating_sub(n_further.unwrap_or(0) as usize);
    if n_layers == 0 {
        let expected = format!("less than the {n_all} layers");
        let key = keys.full("nextn_predict_layers");
        return Err(invalid_model(key, expected, n_all));
    }
    let layer = LayerSpec {
        mixers: Vec::new(),
        mixer_norms: Norms {
            before: Some(ATTN_NORM),
            ..Norms::default()
        },
        laurel: None,
        ffns: Vec::new(),
        ffn_norms: Norms {
            before: Some(FFN_NORM),
            ..Norms::default()
        },
        is_parallel: false,
        residual_scale: 1.0,
        ffn_scale: 1.0,
        ffn_part_norms: Vec::new(),
        has_output_scale: false,
    };
    Ok(Plan {
        architecture: keys.architecture.to_owned(),
        context_length: keys.number("context_length", None, MAX_CONTEXT)?,
        n_vocab: keys.n_vocab,
        n_embd,
        input: Input {
            scale: 1.0,
            per_layer: None,
            altup: None,
            has_positions: false,
            has_types: false,
            has_norm: false,
        },
        layers: vec![layer; n_layers],
        n_further_layers: n_all - n_layers,
        norm: keys.norm(norm)?,
        head: Head {
            norm: Some("output_norm"),
            has_logits: true,
            scale: 1.0,
            softcap: None,
        },
        pooling: keys.pooling()?,
        unused: [FFN_SCALES, EXPERT_SCALES, SHARED_SCALES].concat(),
    })
}

fn attention(
    keys: &Keys<'_>,
    n_embd: usize,
    pairing: Option<Pairing>,
    l: usize,
) -> Result<Option<AttentionSpec>> {
    let heads = "attention.head_count";
    let most = keys.largest_or_none(heads, MAX_DIM)?;
    let most = match most {
        Some(most) => most as usize,
        None => keys.dimension(heads, None)?,
    };
    // The heads of a layer without any of keys and values are not of attention.
    let Some(n_heads) = keys.number_of_layer(heads, l, MAX_DIM)? else {
        return Ok(None);
    };
    let n_heads = n_heads as usize;
    let head_dim = keys.dimension("attention.key_length", Some(n_embd / most))?;
    let n_kv_heads = keys.number_of_layer("attention.head_count_kv", l, MAX_DIM)?;
    let n_kv_heads = n_kv_heads.map_or(n_heads, |n| n as usize);
    let rope = match pairing {
        // What is not known is refused even where nothing rotates.
        None => keys.rope_scaling().map(|_| None)?,
        Some(pairing) => {
            let dims = keys.dimension("rope.dimension_count", Some(head_dim))?;
            Some(keys.rope(dims, pairing)?)
        }
    };
    let spec = AttentionSpec {
        n_heads,
        n_kv_heads,
        head_dim,
        value_dim: keys.dimension("attention.value_length", Some(n_embd / most))?,
        rope,
        head_norm: HeadNorm::BeforeRope,
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap: None,
        is_causal: keys.flag("attention.causal")?.unwrap_or(true),
        window: None,
        clamp: None,
        alibi: None,
        gate: None,
        temperature: None,
        output_scale: 1.0,
        values: Values::Projected,
        shares: None,
    };
    check_attention(keys, &spec)?;
    Ok(Some(spec))
}

/// Checks numbers that come from a file.
pub(super) fn check_attention(keys: &Keys<'_>, spec: &AttentionSpec) -> Result<()> {
    let must = |holds: bool, key: &str, expected: &str, found: usize| match holds {
        true => Ok(()),
        false => Err(invalid_model(keys.full(key), expected, found)),
    };
    let heads = "attention.head_count";
    let expected = "a multiple of attention.head_count_kv";
    let is_multiple = spec.n_heads.is_multiple_of(spec.n_kv_heads);
    must(is_multiple, heads, expected, spec.n_heads)?;
    if let Some(rope) = spec.rope {
        let expected = "an even number, at most the width of a head";
        let is_even = rope.dims.is_multiple_of(2) && rope.dims <= spec.head_dim;
        must(is_even, "rope.dimension_count", expected, rope.dims)?;
    }
    let expected = "heads with a total width of at most 2^20";
    let width = spec.n_heads as u64 * spec.head_dim.max(spec.value_dim) as u64;
    must(width <= u64::from(MAX_DIM), heads, expected, spec.n_heads)
}

/// One network, or a mixture of experts if the file has any. None if its width is 0.
fn feed_forward(keys: &Keys<'_>, n_embd: usize, l: usize) -> Result<Option<Ffn>> {
    let key = "feed_forward_length";
    let n_ff = keys.number_of_layer(key, l, MAX_DIM)?;
    let n_experts = keys.number_or_none("expert_count", MAX_EXPERTS)?;
    let n_ff = match (n_ff, keys.largest_or_none(key, MAX_DIM)?) {
        (Some(n_ff), _) => n_ff as usize,
        (None, Some(_)) => return Ok(None),
        // Mixtures of experts have a width of their own.
        (None, None) if n_experts.is_some() => 4 * n_embd,
        (None, None) => keys.dimension(key, None)?,
    };
    let network = FfnSpec {
        n_ff,
        activation: Activation::Silu,
        has_gate: true,
        gate_bound: None,
    };
    let Some(n_experts) = n_experts else {
        return Ok(Some(Ffn::Dense(network)));
    };
    Ok(Some(Ffn::Experts(ExpertsSpec {
        n_experts: n_experts as usize,
        n_used: keys.number("expert_used_count", None, n_experts)? as usize,
        expert: network,
        gating: Gating::Softmax,
        normalizes: true,
        scale: 1.0,
        groups: groups(keys, n_experts)?,
        weighs_input: false,
        router_input: RouterInput::Normed,
        shared: None,
    })))
}

fn groups(keys: &Keys<'_>, n_experts: u32) -> Result<Option<ExpertGroups>> {
    let n = keys.number_or_none("expert_group_count", n_experts)?;
    let Some(n) = n.filter(|n| *n > 1) else {
        return Ok(None);
    };
    if !n_experts.is_multiple_of(n) {
        let key = keys.full("expert_group_count");
        return Err(invalid_model(key, format!("a divisor of {n_experts}"), n));
    }
    let n_used = keys.number("expert_group_used_count", None, n)? as usize;
    let n = n as usize;
    Ok(Some(ExpertGroups { n, n_used }))
}

/// How a family's experts differ from [`decoder`]'s, by its keys.
#[derive(Clone, Copy)]
pub(super) struct Mixture {
    /// What the router's scores become.
    pub(super) gating: Gating,
    /// Whether the file may say otherwise.
    pub(super) has_gating: bool,
    /// Whether the weights are divided by their sum; `None` if the file says.
    pub(super) normalizes: Option<bool>,
    /// Whether the file says what the weights are multiplied by.
    pub(super) has_scale: bool,
    /// The network that every token goes through, too.
    pub(super) shared: Shared,
    /// Whether the first layers may be dense.
    pub(super) has_dense: bool,
}

/// How wide a network beside experts is.
#[derive(Clone, Copy)]
pub(super) enum Shared {
    /// There is none.
    None,
    /// As wide as so many experts as `expert_shared_count` says.
    Count,
    /// As `expert_shared_feed_forward_length` says, and as one expert if it does not.
    Length,
    /// As `expert_shared_feed_forward_length` says; if it does not, there is none.
    LengthOrNone,
}

impl Mixture {
    /// The softmax of all, divided by the sum of the chosen.
    pub(super) const PLAIN: Self = Self {
        gating: Gating::Softmax,
        has_gating: false,
        normalizes: Some(true),
        has_scale: false,
        shared: Shared::None,
        has_dense: false,
    };
    /// As the file says, and the sigmoid if it does not.
    pub(super) const SIGMOID: Self = Self {
        gating: Gating::Sigmoid,
        has_gating: true,
        normalizes: None,
        has_scale: true,
        shared: Shared::Count,
        has_dense: true,
    };
}

/// Makes layers of experts as a family has them, and the first ones dense if the file says so.
pub(super) fn with_experts(keys: &Keys<'_>, plan: &mut Plan, mixture: Mixture) -> Result<()> {
    let n_dense = keys.number_or_none("leading_dense_block_count", MAX_LAYERS)?;
    let n_dense = n_dense.unwrap_or(0) as usize;
    let gating = keys.number_or_none("expert_gating_func", u32::MAX)?;
    let gating = match gating.filter(|_| mixture.has_gating) {
        None => mixture.gating,
        Some(1) => Gating::Softmax,
        Some(2) => Gating::Sigmoid,
        Some(3) => Gating::SoftmaxOfChosen,
        Some(other) => {
            let key = keys.full("expert_gating_func");
            let expected = "1 (softmax), 2 (sigmoid) or 3 (softmax of the chosen)";
            return Err(unsupported(key, expected, other));
        }
    };
    let normalizes = match mixture.normalizes {
        Some(normalizes) => normalizes,
        None => keys.flag("expert_weights_norm")?.unwrap_or(false),
    };
    let scale = keys.positive_or_none("expert_weights_scale")?;
    let scale = scale.filter(|_| mixture.has_scale).unwrap_or(1.0);
    let count = keys.number_or_none("expert_shared_count", MAX_EXPERTS)?;
    let length = keys.dimension_or_none("expert_shared_feed_forward_length")?;
    for (l, layer) in plan.layers.iter_mut().enumerate() {
        let n_ff = keys.number_of_layer("expert_feed_forward_length", l, MAX_DIM)?;
        for ffn in &mut layer.ffns {
            let Ffn::Experts(spec) = ffn else {
                let key = keys.full("expert_count");
                return Err(invalid_model(key, "a number above 0", "0, or no such key"));
            };
            if mixture.has_dense && l < n_dense {
                *ffn = Ffn::Dense(spec.expert);
                continue;
            }
            // What one token goes through is as wide as a dense network.
            let width = spec.expert.n_ff / spec.n_used;
            spec.expert.n_ff = n_ff.map_or(width, |n_ff| n_ff as usize).max(1);
            spec.gating = gating;
            spec.normalizes = normalizes;
            spec.scale = scale;
            let n_ff = spec.expert.n_ff;
            let n_ff = match mixture.shared {
                Shared::None => None,
                Shared::Count => count.map(|count| n_ff.saturating_mul(count as usize)),
                Shared::Length => Some(length.unwrap_or(n_ff)),
                Shared::LengthOrNone => length,
            };
            spec.shared = n_ff.map(|n_ff| SharedSpec {
                network: FfnSpec {
                    n_ff,
                    ..spec.expert
                },
                gate: SharedGate::Open,
            });
        }
    }
    Ok(())
}

/// Which layers have a window, and how wide it is, by the file's keys; none if there is no window.
pub(super) fn windows(
    keys: &Keys<'_>,
    plan: &Plan,
    period: u32,
    dense_is_first: bool,
) -> Result<Option<(usize, Vec<bool>)>> {
    let window = keys.number_or_none("attention.sliding_window", MAX_CONTEXT)?;
    let Some(window) = window else {
        return Ok(None);
    };
    let key = "attention.sliding_window_pattern";
    let pattern = keys.pattern(key, period, dense_is_first, plan.layers.len())?;
    Ok(Some((window as usize, pattern)))
}

/// What layers with a window do otherwise than the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    /// Only they rotate.
    Rotates,
    /// They rotate by a base of their own, if the file has one.
    HasBase,
    /// The same, and their positions are not scaled.
    IsUnscaled,
}

/// Gives layers their windows.
pub(super) fn set_windows(
    keys: &Keys<'_>,
    plan: &mut Plan,
    period: u32,
    dense_is_first: bool,
    local: Local,
) -> Result<()> {
    let Some((window, is_local)) = windows(keys, plan, period, dense_is_first)? else {
        return Ok(());
    };
    let base = keys.positive_or_none("rope.freq_base_swa")?;
    for (layer, is_local) in plan.layers.iter_mut().zip(is_local) {
        let Some(attention) = layer.attention_mut() else {
            continue;
        };
        if is_local {
            attention.window = Some(Window::Sliding(window));
            if let Some(rope) = &mut attention.rope {
                rope.base = base.unwrap_or(rope.base);
                if local == Local::IsUnscaled {
                    rope.scaling = RopeScaling::None;
                    rope.magnitude = 1.0;
                    rope.has_factors = false;
                }
            }
        } else if local == Local::Rotates {
            attention.rope = None;
        }
    }
    Ok(())
}

impl LayerSpec {
    /// Makes the layer's experts one network, of this width or of an expert's.
    pub(super) fn make_dense(&mut self, n_ff: Option<usize>) {
        for ffn in &mut self.ffns {
            if let Ffn::Experts(spec) = ffn {
                let n_ff = n_ff.unwrap_or(spec.expert.n_ff);
                *ffn = Ffn::Dense(FfnSpec {
                    n_ff,
                    ..spec.expert
                });
            }
        }
    }
}

impl Plan {
    /// Gives all networks, those of experts included, another activation.
    pub(super) fn activate(&mut self, activation: Activation) {
        for ffn in self.layers.iter_mut().flat_map(|layer| &mut layer.ffns) {
            match ffn {
                Ffn::Dense(spec) => spec.activation = activation,
                Ffn::Experts(spec) => {
                    spec.expert.activation = activation;
                    if let Some(shared) = &mut spec.shared {
                        shared.network.activation = activation;
                    }
                }
                Ffn::ChannelMix(_) => {}
            }
        }
    }

    /// The networks have no gates.
    pub(super) fn remove_gates(&mut self) {
        for ffn in self.layers.iter_mut().flat_map(|layer| &mut layer.ffns) {
            match ffn {
                Ffn::Dense(spec) => spec.has_gate = false,
                Ffn::Experts(spec) => {
                    spec.expert.has_gate = false;
                    if let Some(shared) = &mut spec.shared {
                        shared.network.has_gate = false;
                    }
                }
                Ffn::ChannelMix(_) => {}
            }
        }
    }

    /// Calls `change` with the attention of each layer, and the layer's number.
    pub(super) fn for_attention(&mut self, mut change: impl FnMut(usize, &mut AttentionSpec)) {
        for (l, layer) in self.layers.iter_mut().enumerate() {
            if let Some(attention) = layer.attention_mut() {
                change(l, attention);
            }
        }
    }

    /// Norms follow each sublayer, besides those before it.
    pub(super) fn add_norms_after(&mut self) {
        for layer in &mut self.layers {
            layer.mixer_norms.after = Some("post_attention_norm");
            layer.ffn_norms.after = Some("post_ffw_norm");
        }
    }

    /// Norms follow each sublayer, and there are none before it.
    pub(super) fn move_norms_after(&mut self) {
        self.add_norms_after();
        for layer in &mut self.layers {
            layer.mixer_norms.before = None;
            layer.ffn_norms.before = None;
        }
    }

    /// The norm before each feed-forward network has another name.
    pub(super) fn rename_ffn_norm(&mut self, name: &'static str) {
        for layer in &mut self.layers {
            layer.ffn_norms.before = Some(name);
        }
    }

    /// Both sublayers see the same, normalised with the same weights.
    pub(super) fn make_parallel(&mut self) {
        self.rename_ffn_norm(ATTN_NORM);
        for layer in &mut self.layers {
            layer.is_parallel = true;
        }
    }

    /// If no layer rotates, factors of frequencies are not needed.
    pub(super) fn drop_unused_ropes(&mut self) {
        let rotates = |mixer: &Mixer| match mixer {
            Mixer::Attention(spec) => spec.rope.is_some(),
            Mixer::Mla(_) => true,
            _ => false,
        };
        if !self.mixers().any(rotates) {
            self.unused.push("rope_freqs.weight");
        }
    }

    /// These tensors are computed with.
    pub(super) fn use_tensors(&mut self, names: &[&str]) {
        self.unused.retain(|name| !names.contains(name));
    }
}

//! Llama 1 to 3, Mistral, Mixtral, SmolLM, and whatever else calls itself `llama`: a decoder of attention and gated feed-forward
//! networks. Sources: Touvron et al., 2023; Jiang et al., 2023 and 2024. [`decoder`] is what other families differ from.

use super::super::plan::{
    Activation, AttentionSpec, ExpertsSpec, Ffn, Head, LayerSpec, Mixer, Norms, Pairing, Plan,
    RopeSpec,
};
use super::keys::{Keys, MAX_CONTEXT, MAX_DIM, MAX_EXPERTS, MAX_LAYERS};
use crate::error::{Result, invalid_model, unsupported};

pub(super) fn plan(keys: &Keys<'_>) -> Result<Plan> {
    decoder(keys, Pairing::Interleaved)
}

/// A decoder whose layers are all alike.
pub(super) fn decoder(keys: &Keys<'_>, pairing: Pairing) -> Result<Plan> {
    reject_variants(keys)?;
    let n_embd = keys.dimension("embedding_length", None)?;
    let layer = LayerSpec {
        norms: Norms::Before,
        mixer: Mixer::Attention(attention(keys, n_embd, pairing)?),
        ffn: feed_forward(keys)?,
        residual_scale: 1.0,
    };
    Ok(Plan {
        architecture: keys.architecture.to_owned(),
        context_length: keys.number("context_length", None, MAX_CONTEXT)?,
        n_vocab: keys.n_vocab,
        n_embd,
        embed_scale: 1.0,
        layers: vec![layer; keys.number("block_count", None, MAX_LAYERS)? as usize],
        norm_eps: keys.positive("attention.layer_norm_rms_epsilon", None)?,
        head: Head {
            scale: 1.0,
            softcap: None,
        },
    })
}

fn attention(keys: &Keys<'_>, n_embd: usize, pairing: Pairing) -> Result<AttentionSpec> {
    let n_heads = keys.dimension("attention.head_count", None)?;
    let head_dim = keys.dimension("attention.key_length", Some(n_embd / n_heads))?;
    let rope = RopeSpec {
        dims: keys.dimension("rope.dimension_count", Some(head_dim))?,
        base: keys.positive("rope.freq_base", Some(10_000.0))?,
        pairing,
        scaling: keys.rope_scaling()?,
    };
    let spec = AttentionSpec {
        n_heads,
        n_kv_heads: keys.dimension("attention.head_count_kv", Some(n_heads))?,
        head_dim,
        rope: Some(rope),
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap: None,
        window: None,
    };
    let must = |holds: bool, key: &str, expected: &str, found: usize| match holds {
        true => Ok(()),
        false => Err(invalid_model(keys.full(key), expected, found)),
    };
    let heads = "attention.head_count";
    let expected = "a multiple of attention.head_count_kv";
    let is_multiple = n_heads.is_multiple_of(spec.n_kv_heads);
    must(is_multiple, heads, expected, n_heads)?;
    let value_dim = keys.dimension("attention.value_length", Some(head_dim))?;
    if value_dim != head_dim {
        return Err(unsupported(
            keys.full("attention.value_length"),
            format!("{head_dim}, the same as the key length"),
            value_dim,
        ));
    }
    let dims = rope.dims;
    let expected = "an even number, at most the width of a head";
    let is_even = dims.is_multiple_of(2) && dims <= head_dim;
    must(is_even, "rope.dimension_count", expected, dims)?;
    let expected = "heads with a total width of at most 2^20";
    let fits = n_heads as u64 * head_dim as u64 <= u64::from(MAX_DIM);
    must(fits, heads, expected, n_heads)?;
    Ok(spec)
}

/// One network, or a mixture of experts if the file has any.
fn feed_forward(keys: &Keys<'_>) -> Result<Ffn> {
    let n_ff = keys.dimension("feed_forward_length", None)?;
    match keys.number_or_none("expert_count", MAX_EXPERTS)? {
        None => Ok(Ffn::Gated {
            n_ff,
            activation: Activation::Silu,
        }),
        Some(n_experts) => Ok(Ffn::Experts(ExpertsSpec {
            n_experts: n_experts as usize,
            n_used: keys.number("expert_used_count", None, n_experts)? as usize,
            n_ff,
            normalizes: true,
            scale: keys
                .positive_or_none("expert_weights_scale")?
                .unwrap_or(1.0),
            shared: None,
        })),
    }
}

/// Rejects variants that share the name of an architecture but are computed differently.
fn reject_variants(keys: &Keys<'_>) -> Result<()> {
    let causal = keys.full("attention.causal");
    if keys.metadata.bool(&causal)? == Some(false) {
        return Err(unsupported(causal, "true", "false (an embedding model)"));
    }
    Ok(())
}

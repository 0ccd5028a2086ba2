//! The architectures: one file for each family, which turns metadata into a [`Plan`], and a line in [`FAMILIES`].
//!
//! A file says of a family what its metadata do not. Whether a model has biases, norms of queries and keys, or an output
//! matrix of its own is seen from its tensors.

mod gemma;
mod granite;
mod keys;
mod llama;
mod qwen;
mod smollm3;

use super::plan::{Ffn, Plan};
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::Gguf;
use keys::{Keys, MAX_DIM};

/// Makes a plan of an architecture's keys.
type MakePlan = fn(&Keys<'_>) -> Result<Plan>;

/// The architectures by `general.architecture`.
const FAMILIES: [(&str, MakePlan); 11] = [
    ("gemma", gemma::gemma),
    ("gemma2", gemma::gemma2),
    ("gemma3", gemma::gemma3),
    ("granite", granite::plan),
    ("granitemoe", granite::plan),
    ("llama", llama::plan),
    ("qwen2", qwen::plan),
    ("qwen2moe", qwen::qwen2moe),
    ("qwen3", qwen::plan),
    ("qwen3moe", qwen::qwen3moe),
    ("smollm3", smollm3::plan),
];

impl Plan {
    /// Reads a file's metadata.
    ///
    /// # Errors
    /// `unsupported` for an architecture, or a variant of one, that the layers do not support; `invalid-model` for
    /// numbers that are missing or inconsistent.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let metadata = &gguf.metadata;
        check_kind(metadata.str("general.type")?)?;
        let name = metadata.str("general.architecture")?.unwrap_or("none");
        let Some((architecture, plan)) = FAMILIES.into_iter().find(|(known, _)| *known == name)
        else {
            let known = FAMILIES.map(|(name, _)| name).join(", ");
            return Err(unsupported("architecture", format!("one of {known}"), name));
        };
        let keys = Keys {
            metadata,
            architecture,
            n_vocab: vocabulary_size(gguf)?,
        };
        let plan = plan(&keys)?;
        check_experts(&keys, &plan)?;
        Ok(plan)
    }
}

/// Tells files that are not a whole model by what they say of themselves.
fn check_kind(kind: Option<&str>) -> Result<()> {
    let what = match kind {
        None | Some("model") => return Ok(()),
        Some("adapter") => "an adapter (LoRA), which changes a model",
        Some("mmproj") => "a projector, which gives a model images or sound",
        Some("vocab") => "a vocabulary without weights",
        Some("imatrix") => "an importance matrix, which is used to quantise a model",
        Some(other) => other,
    };
    Err(unsupported("general.type", "model", what))
}

/// Checks that what a token's experts compute fits into a buffer: sizes have 32 bits in WebAssembly.
fn check_experts(keys: &Keys<'_>, plan: &Plan) -> Result<()> {
    for layer in &plan.layers {
        let Ffn::Experts(spec) = &layer.ffn else {
            continue;
        };
        let width = spec.n_used as u64 * spec.n_ff.max(plan.n_embd) as u64;
        if width > u64::from(MAX_DIM) {
            return Err(invalid_model(
                keys.full("expert_used_count"),
                "experts with a total width of at most 2^20",
                spec.n_used,
            ));
        }
    }
    Ok(())
}

/// The second dimension of the embedding matrix. The tokenizer must agree; this is checked where both are known.
fn vocabulary_size(gguf: &Gguf) -> Result<usize> {
    let name = "token_embd.weight";
    let tensor = gguf
        .tensor(name)
        .ok_or_else(|| invalid_model("tensors", format!("a tensor named `{name}`"), "none"))?;
    match *tensor.shape {
        [_, n_vocab] if (1..=u64::from(MAX_DIM)).contains(&n_vocab) => Ok(n_vocab as usize),
        _ => Err(invalid_model(
            format!("shape of `{name}`"),
            "[embedding length, vocabulary size up to 2^20]",
            format!("{:?}", tensor.shape),
        )),
    }
}

#[cfg(test)]
mod tests;

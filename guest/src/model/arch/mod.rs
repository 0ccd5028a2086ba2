//! The architectures: one file for each family, which turns metadata into a [`Plan`], and a line in [`FAMILIES`].
//!
//! A file says of a family what its metadata do not. Whether a model has biases, norms of queries and keys, or an output
//! matrix of its own is seen from its tensors.

mod cohere;
mod decoder;
mod encoder;
mod experts;
mod gemma;
mod gpt;
mod granite;
mod keys;
mod latent;
mod llama;
mod phi;
mod qwen;
mod recurrent;

use super::plan::{Ffn, Mixer, Plan};
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::Gguf;
use keys::{Keys, MAX_DIM};

/// Makes a plan of an architecture's keys.
type MakePlan = fn(&Keys<'_>) -> Result<Plan>;

/// The architectures by `general.architecture`.
const FAMILIES: &[(&str, MakePlan)] = &[
    ("afmoe", experts::afmoe),
    ("apertus", llama::apertus),
    ("arcee", llama::arcee),
    ("baichuan", llama::baichuan),
    ("bailingmoe", experts::bailingmoe),
    ("bailingmoe2", experts::dots1),
    ("bert", encoder::bert),
    ("bitnet", llama::bitnet),
    ("bloom", gpt::bloom),
    ("chatglm", llama::relative),
    ("codeshell", gpt::rotary),
    ("cohere2", cohere::cohere2),
    ("cohere2moe", cohere::cohere2moe),
    ("command-r", cohere::command_r),
    ("dbrx", gpt::dbrx),
    ("deci", llama::deci),
    ("deepseek", experts::deepseek),
    ("deepseek2", latent::deepseek2),
    ("dots1", experts::dots1),
    ("ernie4_5", experts::ernie),
    ("ernie4_5-moe", experts::ernie),
    ("eurobert", encoder::eurobert),
    ("exaone", llama::relative_in_halves),
    ("exaone-moe", experts::exaone_moe),
    ("exaone4", llama::exaone4),
    ("falcon", gpt::falcon),
    ("falcon-h1", recurrent::falcon_h1),
    ("gemma", gemma::gemma),
    ("gemma-embedding", encoder::gemma_embedding),
    ("gemma2", gemma::gemma2),
    ("gemma3", gemma::gemma3),
    ("gemma3n", gemma::gemma3n),
    ("gemma4", gemma::gemma4),
    ("glm4", experts::glm4),
    ("glm4moe", experts::glm4moe),
    ("gpt-oss", experts::gpt_oss),
    ("gpt2", gpt::gpt2),
    ("gptneox", gpt::gptneox),
    ("granite", granite::granite),
    ("granite_swa", granite::granite_swa),
    ("granitehybrid", recurrent::granitehybrid),
    ("granitemoe", granite::granite),
    ("grok", experts::grok),
    ("hunyuan-dense", experts::hunyuan),
    ("hunyuan-moe", experts::hunyuan_moe),
    ("hunyuan_vl", experts::hunyuan),
    ("hy_v3", experts::hy_v3),
    ("internlm2", llama::relative),
    ("jais", gpt::jais),
    ("jais2", gpt::squared),
    ("jamba", recurrent::jamba),
    ("jina-bert-v2", encoder::jina_bert_v2),
    ("jina-bert-v3", encoder::jina_bert_v3),
    ("laguna", experts::laguna),
    ("lfm2", recurrent::lfm2),
    ("lfm2moe", recurrent::lfm2),
    ("llama", llama::plan),
    ("llama-embed", llama::plan),
    ("llama4", llama::llama4),
    ("maincoder", llama::relative),
    ("mamba", recurrent::mamba),
    ("mamba2", recurrent::mamba),
    ("maple", experts::maple),
    ("mellum", experts::mellum),
    ("mimo2", llama::mimo2),
    ("minicpm", granite::minicpm),
    ("minicpm3", latent::minicpm3),
    ("minimax-m2", experts::minimax_m2),
    ("mistral3", llama::mistral3),
    ("mistral4", latent::deepseek2),
    ("modern-bert", encoder::modern_bert),
    ("mpt", gpt::mpt),
    ("nanbeige", llama::nanbeige),
    ("nemotron", gpt::squared),
    ("nemotron_h", recurrent::nemotron_h),
    ("nemotron_h_moe", recurrent::nemotron_h),
    ("neo-bert", encoder::neo_bert),
    ("nomic-bert", encoder::nomic_bert),
    ("nomic-bert-moe", encoder::nomic_bert_moe),
    ("olmo", llama::olmo),
    ("olmo2", llama::olmo2),
    ("olmoe", experts::olmoe),
    ("openelm", llama::openelm),
    ("orion", gpt::orion),
    ("paddleocr", experts::paddleocr),
    ("pangu-embedded", llama::relative_in_halves),
    ("phi2", gpt::phi2),
    ("phi3", phi::phi3),
    ("phimoe", phi::phi3),
    ("plamo", llama::plamo),
    ("plamo2", recurrent::plamo2),
    ("plamo3", llama::plamo3),
    ("plm", latent::plm),
    ("qwen", qwen::qwen),
    ("qwen2", qwen::plan),
    ("qwen2moe", qwen::qwen2moe),
    ("qwen2vl", qwen::qwen2vl),
    ("qwen3", qwen::qwen3),
    ("qwen35", recurrent::qwen35),
    ("qwen35moe", recurrent::qwen35moe),
    ("qwen3moe", qwen::qwen3moe),
    ("qwen3next", recurrent::qwen3next),
    ("qwen3tts", qwen::qwen3vl),
    ("qwen3vl", qwen::qwen3vl),
    ("qwen3vlmoe", qwen::qwen3vlmoe),
    ("refact", llama::refact),
    ("rwkv7", recurrent::rwkv7),
    ("seed_oss", llama::seed_oss),
    ("smallthinker", experts::smallthinker),
    ("smollm3", llama::smollm3),
    ("spark2_5", llama::spark),
    ("stablelm", gpt::stablelm),
    ("starcoder", gpt::gpt2),
    ("starcoder2", gpt::rotary),
    ("xverse", llama::relative),
];

impl Plan {
    /// The names of all architectures, in alphabetical order.
    pub fn architectures() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|(name, _)| *name)
    }

    /// Reads a file's metadata.
    ///
    /// # Errors
    /// `unsupported` for an architecture, or a variant of one, that the layers do not support; `invalid-model` for
    /// numbers that are missing or inconsistent.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let metadata = &gguf.metadata;
        let name = metadata.str("general.architecture")?.unwrap_or("none");
        let Some((architecture, plan)) = FAMILIES.iter().find(|(known, _)| *known == name) else {
            let n = FAMILIES.len();
            let known = format!("one of the {n} that this engine has, such as llama and qwen3");
            return Err(unsupported("architecture", known, name));
        };
        let keys = Keys {
            gguf,
            metadata,
            architecture,
            n_vocab: vocabulary_size(gguf)?,
        };
        let mut plan = plan(&keys)?;
        plan.drop_unused_ropes();
        check_experts(&keys, &plan)?;
        check_ropes(&keys, &plan)?;
        check_encoder(&keys, &plan)?;
        Ok(plan)
    }
}

/// Checks that what a token's experts compute fits into a buffer: sizes have 32 bits in WebAssembly.
fn check_experts(keys: &Keys<'_>, plan: &Plan) -> Result<()> {
    for ffn in plan.layers.iter().flat_map(|layer| &layer.ffns) {
        let Ffn::Experts(spec) = ffn else {
            continue;
        };
        let width = spec.n_used as u64 * spec.expert.n_ff.max(plan.n_embd) as u64;
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

/// Checks that all layers of an encoder can take turns with one cache.
fn check_encoder(keys: &Keys<'_>, plan: &Plan) -> Result<()> {
    if !plan.is_encoder() {
        return Ok(());
    }
    let shapes = || plan.mixers().map(Mixer::kv_shape);
    let all_see = plan.mixers().all(
        |mixer| matches!(mixer, Mixer::Attention(spec) if !spec.is_causal && spec.shares.is_none()),
    );
    let is_plain = plan.input.per_layer.is_none() && plan.input.altup.is_none();
    if all_see && is_plain && shapes().all(|shape| Some(shape) == shapes().next()) {
        return Ok(());
    }
    Err(unsupported(
        keys.full("attention.causal"),
        "true, or layers that all have attention with heads of one size",
        "false, with layers of other kinds",
    ))
}

/// Checks the rotated dimensions, which some families read from further keys.
fn check_ropes(keys: &Keys<'_>, plan: &Plan) -> Result<()> {
    for mixer in plan.mixers() {
        let Mixer::Attention(spec) = mixer else {
            continue;
        };
        let dims = spec.rope.map_or(0, |rope| rope.dims);
        if dims > spec.head_dim || !dims.is_multiple_of(2) {
            let expected = format!("an even number up to {}", spec.head_dim);
            return Err(invalid_model(
                keys.full("rope.dimension_count"),
                expected,
                dims,
            ));
        }
    }
    Ok(())
}

const EMBEDDING: &str = "token_embd.weight";

/// The rows of the embedding matrix, if the file has one: one that is just a vocabulary has none.
#[cfg(feature = "tokenizer-json")]
pub(crate) fn embedding_rows(gguf: &Gguf) -> Result<Option<u32>> {
    match gguf.tensor(EMBEDDING) {
        Some(_) => Ok(Some(vocabulary_size(gguf)? as u32)),
        None => Ok(None),
    }
}

/// The second dimension of the embedding matrix. The tokenizer must agree; this is checked where both are known.
fn vocabulary_size(gguf: &Gguf) -> Result<usize> {
    let name = EMBEDDING;
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

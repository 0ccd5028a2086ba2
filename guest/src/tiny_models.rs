//! A tiny model with random weights for every architecture, for tests.
//!
//! Only metadata are written here, and tensors that a plan does without. Which others a plan wants is asked of the
//! loader.

use crate::error::{Error, Result};
use crate::gguf::{Array, Gguf, TensorType, Value};
use crate::model::{adaptable_tensors, wanted_tensor};
use crate::test_model::Builder;

/// A model of an architecture.
#[derive(Debug, Clone)]
pub struct Case {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// What is said besides the keys that all have, and instead of them.
    keys: Vec<(&'static str, Value)>,
    /// Tensors that a plan does without, with their shapes in GGUF's order. A `*` is each layer's number.
    tensors: Vec<(&'static str, &'static [u32])>,
}

/// An adapter with random numbers.
#[derive(Debug, Clone, Copy)]
pub struct RandomAdapter {
    /// Its rank.
    pub rank: u32,
    /// What its scale is multiplied with, times the rank; 0 for nothing.
    pub alpha: f32,
    /// Other numbers for each.
    pub seed: u64,
    /// F32, F16, Q8_0 or Q4_0, whose blocks the rank must fill.
    pub ty: TensorType,
}

impl RandomAdapter {
    /// As a file, for the model `file`: a change of each tensor that can be changed and that `is_changed`.
    ///
    /// # Panics
    /// If the loader refuses the model.
    pub fn file(&self, file: &[u8], is_changed: impl Fn(&str) -> bool) -> Vec<u8> {
        let gguf = Gguf::read(&file).unwrap();
        let architecture = gguf.metadata.str("general.architecture").unwrap();
        let mut builder = Builder::new(architecture.unwrap()).seeded(self.seed);
        builder
            .writer
            .metadata("general.type", "adapter")
            .metadata("adapter.type", "lora")
            .metadata("adapter.lora.alpha", self.alpha);
        for (name, shapes) in adaptable_tensors(&gguf, self.rank as usize).unwrap() {
            if is_changed(&name) {
                for (end, shape) in ["lora_a", "lora_b"].into_iter().zip(shapes) {
                    let shape = shape.map(|dim| dim as u32);
                    // As llama.cpp's converter writes it, without a last dimension of 1.
                    let shape = if shape[2] == 1 { &shape[..2] } else { &shape };
                    builder.tensor(&format!("{name}.{end}"), self.ty, shape);
                }
            }
        }
        builder.finish()
    }
}

/// Width of the residual stream, layers, heads, heads of keys and values, width of a head, hidden layer.
const E: u32 = 64;
const LAYERS: u32 = 2;
const H: u32 = 4;
const KV: u32 = 2;
const D: u32 = 16;
const F: u32 = 96;

/// Architectures whose files have no output matrix.
const TIED: [&str; 9] = [
    "bitnet",
    "cohere2",
    "command-r",
    "gemma",
    "gemma2",
    "olmo",
    "openelm",
    "plm",
    "smollm3",
];

/// The number type of matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrices {
    /// Where rows are of whole blocks.
    Q8_0,
    /// All.
    F32,
}

impl Case {
    /// The same, trained with a context of this many tokens.
    pub fn with_context(self, n: u32) -> Self {
        self.keys([("context_length", Value::U32(n))])
    }

    /// The model as a file.
    ///
    /// # Panics
    /// If the loader refuses what is written here.
    pub fn file(&self, matrices: Matrices) -> Vec<u8> {
        let file = self.try_file(matrices);
        file.unwrap_or_else(|error| panic!("{}: {error}", self.architecture))
    }

    fn try_file(&self, matrices: Matrices) -> Result<Vec<u8>> {
        let mut tensors: Vec<(String, Vec<u32>)> = vec![("token_embd.weight".into(), vec![E, 64])];
        let embeds = self.keys.iter().any(|(key, _)| *key == "pooling_type");
        if !embeds && !TIED.contains(&self.architecture) {
            tensors.push(("output.weight".into(), vec![E, 64]));
        }
        for (name, shape) in &self.tensors {
            let layers = match name.contains('*') {
                true => 0..self.n_layers(),
                false => 0..1,
            };
            tensors.extend(layers.map(|l| (name.replace('*', &l.to_string()), shape.to_vec())));
        }
        loop {
            // Only the names and shapes count yet: random numbers take their time.
            let file = self.write(&tensors, matrices, Builder::zeros);
            let gguf = Gguf::read(&file).unwrap();
            let missing = match wanted_tensor(&gguf) {
                Ok(()) => return Ok(self.write(&tensors, matrices, Builder::tensor)),
                Err(Error::InvalidModel(missing)) => missing,
                Err(other) => return Err(other),
            };
            let name = missing.subject.strip_prefix("tensor `");
            let shape = missing.expected.strip_prefix("a tensor of shape [");
            let shape = shape.and_then(|shape| shape.strip_suffix(']'));
            let (Some(name), Some(shape), "none") = (name, shape, missing.found.as_str()) else {
                return Err(Error::InvalidModel(missing));
            };
            let shape = shape.split(", ").map(|dim| dim.parse().unwrap());
            tensors.push((name.trim_end_matches('`').into(), shape.collect()));
        }
    }

    fn n_layers(&self) -> u32 {
        let own = self.keys.iter().find(|(key, _)| *key == "block_count");
        own.map_or(LAYERS, |(_, value)| match value {
            Value::U32(n) => *n,
            _ => LAYERS,
        })
    }

    /// The file with these tensors, each added by `add`.
    fn write(
        &self,
        tensors: &[(String, Vec<u32>)],
        matrices: Matrices,
        add: fn(&mut Builder, &str, TensorType, &[u32]),
    ) -> Vec<u8> {
        let mut builder = Builder::new(self.architecture);
        let common = [
            ("context_length", Value::U32(96)),
            ("vocab_size", Value::U32(64)),
            ("embedding_length", Value::U32(E)),
            ("block_count", Value::U32(LAYERS)),
            ("feed_forward_length", Value::U32(F)),
            ("attention.head_count", Value::U32(H)),
            ("attention.head_count_kv", Value::U32(KV)),
            ("attention.key_length", Value::U32(D)),
            ("attention.value_length", Value::U32(D)),
            ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("attention.layer_norm_epsilon", Value::F32(1e-5)),
            ("rope.dimension_count", Value::U32(D)),
            ("logit_scale", Value::F32(2.0)),
        ];
        let is_own = |key: &str| self.keys.iter().any(|(own, _)| *own == key);
        let common = common.into_iter().filter(|(key, _)| !is_own(key));
        for (key, value) in common.chain(self.keys.iter().cloned()) {
            let is_whole = ["xielu.", "tokenizer."]
                .iter()
                .any(|prefix| key.starts_with(prefix));
            let key = match is_whole {
                true => key.to_owned(),
                false => format!("{}.{key}", self.architecture),
            };
            builder.writer.metadata(&key, value);
        }
        builder.test_vocabulary();
        for (name, shape) in tensors {
            let is_matrix = shape.len() > 1 && name.ends_with(".weight");
            let ty = match is_matrix && matrices == Matrices::Q8_0 && shape[0] % 32 == 0 {
                // Taps and routers are never quantised.
                true if !name.contains("conv") && !name.contains("gate_inp") => TensorType::Q8_0,
                _ => TensorType::F32,
            };
            add(&mut builder, name, ty, shape);
        }
        builder.finish()
    }
}

fn case(architecture: &'static str) -> Case {
    Case {
        architecture,
        keys: Vec::new(),
        tensors: Vec::new(),
    }
}

impl Case {
    fn keys<const N: usize>(mut self, keys: [(&'static str, Value); N]) -> Self {
        self.keys
            .retain(|(old, _)| keys.iter().all(|(new, _)| new != old));
        self.keys.extend(keys);
        self
    }

    fn tensors<const N: usize>(mut self, tensors: [(&'static str, &'static [u32]); N]) -> Self {
        self.tensors.extend(tensors);
        self
    }

    /// With four experts, of which a token uses two.
    fn experts(self) -> Self {
        self.keys([
            ("expert_count", Value::U32(4)),
            ("expert_used_count", Value::U32(2)),
            ("expert_feed_forward_length", Value::U32(32)),
            ("expert_shared_feed_forward_length", Value::U32(32)),
            ("expert_shared_count", Value::U32(1)),
            ("expert_weights_scale", Value::F32(1.5)),
            ("expert_weights_norm", Value::Bool(true)),
            ("leading_dense_block_count", Value::U32(0)),
            ("expert_gating_func", Value::U32(2)),
            ("rope.dimension_sections", numbers([2, 3, 3, 0])),
            ("interleave_moe_layer_step", Value::U32(2)),
        ])
    }

    /// The same, but the first layer.
    fn dense_first(mut self) -> Self {
        self = self.experts();
        self.keys
            .retain(|(key, _)| *key != "leading_dense_block_count");
        self.keys([("leading_dense_block_count", Value::U32(1))])
    }

    /// With a window of seven tokens in every other layer.
    fn windows(self) -> Self {
        self.keys([
            ("attention.sliding_window", Value::U32(7)),
            ("attention.sliding_window_pattern", flags([1, 0])),
            ("rope.freq_base_swa", Value::F32(5000.0)),
        ])
    }

    /// With the tensors that files of GPT-2's form have.
    fn gpt(self) -> Self {
        self.biases().tensors([
            ("blk.*.attn_norm.bias", &[E]),
            ("blk.*.ffn_norm.bias", &[E]),
            ("output_norm.bias", &[E]),
        ])
    }

    fn biases(self) -> Self {
        self.tensors([
            ("blk.*.attn_output.bias", &[E]),
            ("blk.*.ffn_up.bias", &[F]),
            ("blk.*.ffn_down.bias", &[E]),
        ])
    }

    fn fused(self) -> Self {
        self.tensors([("blk.*.attn_qkv.weight", &[E, (H + 2 * KV) * D])])
    }

    /// With queries, keys and values in one matrix, and as many heads of each.
    fn fused_evenly(self) -> Self {
        self.tensors([("blk.*.attn_qkv.weight", &[E, 3 * H * D])])
    }

    /// Without a tensor.
    fn without(mut self, tensor: &str) -> Self {
        self.tensors.retain(|(name, _)| *name != tensor);
        self
    }

    fn fused_bias(self) -> Self {
        self.fused()
            .tensors([("blk.*.attn_qkv.bias", &[(H + 2 * KV) * D])])
    }

    fn head_norms(self) -> Self {
        self.tensors([
            ("blk.*.attn_q_norm.weight", &[D]),
            ("blk.*.attn_k_norm.weight", &[D]),
        ])
    }

    fn token_norms(self) -> Self {
        self.tensors([
            ("blk.*.attn_q_norm.weight", &[H * D]),
            ("blk.*.attn_k_norm.weight", &[KV * D]),
        ])
    }

    /// A state space model's sizes.
    fn ssm(self, inner: u32, rank: u32) -> Self {
        self.keys([
            ("ssm.conv_kernel", Value::U32(4)),
            ("ssm.inner_size", Value::U32(inner)),
            ("ssm.state_size", Value::U32(16)),
            ("ssm.time_step_rank", Value::U32(rank)),
            ("ssm.group_count", Value::U32(2)),
            ("rope.dimension_sections", numbers([2, 3, 3, 0])),
        ])
    }

    /// Six layers, of which the last two share the keys of others; two kinds of heads.
    fn gemma4(self) -> Self {
        self.windows()
            .keys([
                ("block_count", Value::U32(6)),
                (
                    "attention.sliding_window_pattern",
                    flags([1, 0, 1, 0, 1, 0]),
                ),
                ("attention.shared_kv_layers", Value::U32(2)),
                ("attention.key_length", Value::U32(32)),
                ("attention.value_length", Value::U32(32)),
                ("attention.key_length_swa", Value::U32(D)),
                ("attention.value_length_swa", Value::U32(D)),
                ("rope.dimension_count", Value::U32(32)),
                ("rope.dimension_count_swa", Value::U32(D)),
                ("attention.head_count_kv", numbers([KV, 1, KV, 1, KV, 1])),
                ("embedding_length_per_layer_input", Value::U32(32)),
                ("final_logit_softcapping", Value::F32(3.0)),
            ])
            .tensors([
                ("rope_freqs.weight", &[D]),
                ("blk.*.layer_output_scale.weight", &[1]),
                ("blk.0.attn_q_norm.weight", &[D]),
                ("blk.0.attn_k_norm.weight", &[D]),
                ("blk.1.attn_q_norm.weight", &[2 * D]),
                ("blk.1.attn_k_norm.weight", &[2 * D]),
                ("blk.2.attn_q_norm.weight", &[D]),
                ("blk.2.attn_k_norm.weight", &[D]),
                ("blk.3.attn_q_norm.weight", &[2 * D]),
                ("blk.3.attn_k_norm.weight", &[2 * D]),
                ("blk.4.attn_q_norm.weight", &[D]),
                ("blk.4.attn_k_norm.weight", &[D]),
                ("blk.5.attn_q_norm.weight", &[2 * D]),
                ("blk.5.attn_k_norm.weight", &[2 * D]),
            ])
    }

    /// Attention in the first layer only.
    fn hybrid(self) -> Self {
        self.keys([
            ("attention.head_count", numbers([H, 0])),
            ("attention.head_count_kv", numbers([KV, 0])),
        ])
    }
}

fn flags<const N: usize>(flags: [i32; N]) -> Value {
    Value::Array(Array::i32s(flags))
}

fn floats<const N: usize>(numbers: [f32; N]) -> Value {
    Value::Array(Array::f32s(numbers))
}

fn numbers<const N: usize>(numbers: [u32; N]) -> Value {
    Value::Array(Array::i32s(numbers.map(|n| n as i32)))
}

/// At least one model of each architecture that generates, by a name: the architecture, and for further ones a number.
pub fn named() -> Vec<(String, Case)> {
    with_names(cases())
}

/// The same of those that embed.
pub fn encoders() -> Vec<(String, Case)> {
    with_names(encoder_cases())
}

fn with_names(cases: Vec<Case>) -> Vec<(String, Case)> {
    let mut named: Vec<(String, Case)> = Vec::new();
    for case in cases {
        let of_same = |(_, other): &&(String, Case)| other.architecture == case.architecture;
        let name = match named.iter().filter(of_same).count() {
            0 => case.architecture.to_owned(),
            n => format!("{}-{}", case.architecture, n + 1),
        };
        named.push((name, case));
    }
    named
}

fn encoder_cases() -> Vec<Case> {
    let embeds = |architecture| {
        case(architecture).keys([
            ("attention.causal", Value::Bool(false)),
            ("attention.head_count_kv", Value::U32(H)),
            ("pooling_type", Value::U32(1)),
            ("tokenizer.ggml.token_type_count", Value::U32(2)),
        ])
    };
    let post_norms = |case: Case| {
        case.biases().tensors([
            ("token_types.weight", &[E, 2]),
            ("token_embd_norm.bias", &[E]),
            ("blk.*.attn_output_norm.bias", &[E]),
            ("blk.*.layer_output_norm.bias", &[E]),
        ])
    };
    let classifies = |case: Case| {
        case.keys([("pooling_type", Value::U32(4))]).tensors([
            ("cls.weight", &[E, E]),
            ("cls.bias", &[E]),
            ("cls.output.weight", &[E]),
            ("cls.output.bias", &[1]),
        ])
    };
    vec![
        post_norms(embeds("bert")),
        classifies(post_norms(embeds("bert"))),
        embeds("eurobert"),
        embeds("gemma-embedding")
            .windows()
            .head_norms()
            .keys([
                ("attention.head_count_kv", Value::U32(KV)),
                ("dense_2_feat_out", Value::U32(96)),
                ("dense_3_feat_in", Value::U32(96)),
            ])
            .tensors([("dense_2.weight", &[E, 96]), ("dense_3.weight", &[96, E])]),
        post_norms(embeds("jina-bert-v2")),
        // As the code models: gate and up in one, norms of queries and keys, and a second sum.
        post_norms(embeds("jina-bert-v2"))
            .tensors([
                ("blk.*.ffn_up.weight", &[E, 2 * F]),
                ("blk.*.attn_q_norm.weight", &[H * D]),
                ("blk.*.attn_q_norm.bias", &[H * D]),
                ("blk.*.attn_k_norm.weight", &[H * D]),
                ("blk.*.attn_k_norm.bias", &[H * D]),
                ("blk.*.attn_norm_2.weight", &[E]),
                ("blk.*.attn_norm_2.bias", &[E]),
            ])
            .without("blk.*.ffn_up.bias"),
        post_norms(embeds("jina-bert-v3")),
        embeds("llama-embed").keys([("attention.head_count_kv", Value::U32(KV))]),
        embeds("modern-bert").windows().fused_evenly().tensors([
            ("blk.1.attn_norm.weight", &[E]),
            ("blk.*.ffn_up.weight", &[E, 2 * F]),
        ]),
        classifies(embeds("modern-bert").windows())
            .fused_evenly()
            .tensors([
                ("blk.*.attn_norm.weight", &[E]),
                ("blk.*.ffn_up.weight", &[E, 2 * F]),
                ("cls.norm.weight", &[E]),
            ])
            .without("cls.bias"),
        embeds("neo-bert")
            .fused_evenly()
            .tensors([("blk.*.ffn_up.weight", &[E, 2 * F])]),
        post_norms(embeds("nomic-bert"))
            .without("blk.*.ffn_up.bias")
            .without("blk.*.ffn_down.bias"),
        post_norms(embeds("nomic-bert-moe"))
            .keys([
                ("expert_count", Value::U32(4)),
                ("expert_used_count", Value::U32(2)),
                ("moe_every_n_layers", Value::U32(2)),
            ])
            .without("blk.*.ffn_up.bias")
            .without("blk.*.ffn_down.bias"),
        // Decoders: a text is represented by its last token.
        case("qwen3")
            .head_norms()
            .keys([("pooling_type", Value::U32(3))]),
        case("qwen3")
            .head_norms()
            .keys([
                ("pooling_type", Value::U32(4)),
                (
                    "classifier.output_labels",
                    Value::Array(Array::strings(["yes", "no"])),
                ),
            ])
            .tensors([("cls.output.weight", &[E, 2])]),
        case("qwen2").keys([
            ("attention.causal", Value::Bool(false)),
            ("pooling_type", Value::U32(2)),
        ]),
    ]
}

fn cases() -> Vec<Case> {
    let latent = |case: Case| {
        case.keys([
            ("attention.q_lora_rank", Value::U32(32)),
            ("attention.kv_lora_rank", Value::U32(32)),
            ("rope.dimension_count", Value::U32(8)),
        ])
        .tensors([("blk.*.attn_q_a.weight", &[E, 32])])
    };
    let absorbed = |case: Case| {
        latent(case)
            .keys([
                ("attention.head_count_kv", Value::U32(1)),
                ("attention.key_length", Value::U32(40)),
                ("attention.value_length", Value::U32(32)),
                ("attention.key_length_mla", Value::U32(40)),
                ("attention.value_length_mla", Value::U32(D)),
            ])
            .tensors([
                ("blk.*.attn_k_b.weight", &[32, 32, H]),
                ("blk.*.attn_v_b.weight", &[32, D, H]),
            ])
    };
    let rwkv7 = |head_dim: u32| {
        case("rwkv7")
            .keys([
                ("wkv.head_size", Value::U32(head_dim)),
                ("token_shift_count", Value::U32(2)),
                ("attention.decay_lora_rank", Value::U32(32)),
                ("attention.iclr_lora_rank", Value::U32(32)),
                ("attention.value_residual_mix_lora_rank", Value::U32(32)),
                ("attention.gate_lora_rank", Value::U32(32)),
            ])
            .tensors([
                ("token_embd_norm.bias", &[E]),
                ("output_norm.bias", &[E]),
                ("blk.*.attn_norm.bias", &[E]),
                ("blk.*.attn_norm_2.bias", &[E]),
                ("blk.*.time_mix_w0.weight", &[E]),
                ("blk.*.time_mix_a0.weight", &[E]),
                ("blk.*.time_mix_v0.weight", &[E]),
                ("blk.0.time_mix_v1.weight", &[E, 32]),
                ("blk.0.time_mix_v2.weight", &[32, E]),
                ("blk.*.time_mix_ln.weight", &[E]),
                ("blk.*.time_mix_ln.bias", &[E]),
            ])
    };
    let delta = |case: Case| {
        case.ssm(64, 4)
            .keys([("full_attention_interval", Value::U32(2))])
    };
    vec![
        case("afmoe")
            .experts()
            .windows()
            .head_norms()
            .tensors([("blk.*.exp_probs_b.bias", &[4])]),
        case("apertus").head_norms().keys([
            ("xielu.alpha_p", floats([0.7, -0.3])),
            ("xielu.alpha_n", floats([0.5, 1.5])),
            ("xielu.beta", Value::F32(0.4)),
            ("xielu.eps", Value::F32(-1e-6)),
        ]),
        case("arcee"),
        case("baichuan"),
        case("bailingmoe").experts(),
        case("bailingmoe2").experts().fused().head_norms(),
        case("bitnet").tensors([
            ("blk.*.attn_sub_norm.weight", &[E]),
            ("blk.*.ffn_sub_norm.weight", &[F]),
            ("blk.*.attn_q.scale", &[1]),
            ("blk.*.ffn_down.scale", &[1]),
        ]),
        case("bloom")
            .gpt()
            .fused_bias()
            .tensors([("token_embd_norm.bias", &[E])]),
        case("chatglm").tensors([("blk.*.ffn_up.weight", &[E, 2 * F])]),
        case("codeshell").gpt(),
        case("cohere2").windows(),
        case("cohere2moe").experts().windows(),
        case("command-r"),
        case("dbrx")
            .keys([
                ("expert_count", Value::U32(4)),
                ("expert_used_count", Value::U32(2)),
                ("attention.clamp_kqv", Value::F32(0.5)),
            ])
            .fused(),
        case("deci").hybrid(),
        case("deepseek").dense_first(),
        absorbed(case("deepseek2").experts()),
        case("dots1")
            .experts()
            .keys([("attention.head_count_kv", Value::U32(H))])
            .head_norms()
            .tensors([("blk.*.exp_probs_b.bias", &[4])]),
        case("ernie4_5"),
        case("ernie4_5-moe").dense_first(),
        case("exaone").tensors([("rope_freqs.weight", &[D / 2])]),
        case("exaone-moe").experts().windows().head_norms(),
        case("exaone4").head_norms(),
        case("falcon").fused().tensors([
            ("blk.*.attn_norm.bias", &[E]),
            ("blk.*.attn_norm_2.weight", &[E]),
            ("blk.*.attn_norm_2.bias", &[E]),
            ("output_norm.bias", &[E]),
        ]),
        case("falcon-h1")
            .ssm(128, 8)
            .tensors([("blk.*.ssm_conv1d.bias", &[192])])
            .keys([("attention.head_count_kv", Value::U32(KV))])
            .tensors([("blk.*.ffn_norm", &[E])])
            .tensors([("blk.*.ssm_norm.weight", &[64, 2])]),
        case("gemma"),
        case("gemma2").windows().keys([
            ("attn_logit_softcapping", Value::F32(4.0)),
            ("final_logit_softcapping", Value::F32(3.0)),
        ]),
        case("gemma3").windows().head_norms(),
        // As many layers as it takes that two see the keys of others.
        case("gemma3n")
            .head_norms()
            .keys([
                ("block_count", Value::U32(22)),
                ("attention.sliding_window", Value::U32(7)),
                ("rope.freq_base_swa", Value::F32(5000.0)),
                ("final_logit_softcapping", Value::F32(3.0)),
            ])
            .tensors([
                ("blk.*.attn_k.weight", &[E, KV * D]),
                ("blk.*.attn_v.weight", &[E, KV * D]),
            ]),
        case("gemma4")
            .gemma4()
            .tensors([("blk.*.attn_v.weight", &[E, KV * D])]),
        // Experts in all layers but the first.
        case("gemma4").experts().gemma4().tensors([
            ("blk.1.ffn_gate_inp.weight", &[E, 4]),
            ("blk.2.ffn_gate_inp.weight", &[E, 4]),
            ("blk.3.ffn_gate_inp.weight", &[E, 4]),
            ("blk.4.ffn_gate_inp.weight", &[E, 4]),
            ("blk.5.ffn_gate_inp.weight", &[E, 4]),
            ("blk.5.ffn_down_exps.scale", &[4]),
        ]),
        // Without embeddings of layers, as the larger ones, and with values in keys.
        case("gemma4").gemma4().keys([
            ("embedding_length_per_layer_input", Value::U32(0)),
            ("attention.shared_kv_layers", Value::U32(0)),
        ]),
        case("glm4").tensors([("blk.*.ffn_up.weight", &[E, 2 * F])]),
        case("glm4moe")
            .experts()
            .tensors([("blk.*.exp_probs_b.bias", &[4])]),
        case("gpt-oss").experts().windows().tensors([
            ("blk.*.attn_sinks.weight", &[H]),
            ("blk.*.attn_output.bias", &[E]),
            ("blk.*.ffn_gate_inp.bias", &[4]),
            ("blk.*.ffn_gate_exps.bias", &[32, 4]),
            ("blk.*.ffn_up_exps.bias", &[32, 4]),
            ("blk.*.ffn_down_exps.bias", &[E, 4]),
        ]),
        case("gpt2").gpt().fused_bias(),
        case("gptneox")
            .gpt()
            .fused_bias()
            .keys([("use_parallel_residual", Value::Bool(true))]),
        case("granite").keys([
            ("embedding_scale", Value::F32(3.0)),
            ("residual_scale", Value::F32(0.7)),
            ("attention.scale", Value::F32(0.3)),
        ]),
        case("granite_swa")
            .windows()
            .tensors([("blk.*.attn_sinks.weight", &[H])]),
        case("granitehybrid")
            .ssm(128, 8)
            .tensors([("blk.1.ssm_conv1d.bias", &[192])])
            .hybrid()
            .tensors([("blk.1.ssm_norm.weight", &[64, 2])]),
        case("granitemoe").granite_experts(),
        case("grok").experts().tensors([
            ("blk.*.ffn_up.weight", &[E, F]),
            ("blk.*.layer_output_norm.weight", &[E]),
        ]),
        case("hunyuan-dense").head_norms(),
        case("hunyuan-moe").granite_experts().head_norms(),
        case("hunyuan_vl").head_norms(),
        case("hy_v3").experts().head_norms().tensors([
            ("blk.*.ffn_gate_inp.weight", &[E, 4]),
            ("blk.*.exp_probs_b", &[4]),
        ]),
        case("internlm2"),
        case("jais")
            .gpt()
            .fused_bias()
            .tensors([("blk.*.ffn_gate.bias", &[F])])
            .keys([("attention.max_alibi_bias", Value::F32(8.0))]),
        case("jais2").gpt(),
        case("jamba")
            .ssm(128, 8)
            .tensors([
                ("blk.1.ssm_conv1d.bias", &[128]),
                ("blk.1.ssm_dt_norm.weight", &[8]),
                ("blk.1.ssm_b_norm.weight", &[16]),
                ("blk.1.ssm_c_norm.weight", &[16]),
            ])
            .hybrid(),
        case("laguna").experts().windows().head_norms().tensors([
            ("blk.*.attn_gate.weight", &[E, H]),
            ("blk.*.exp_probs_b.bias", &[4]),
        ]),
        case("lfm2")
            .hybrid()
            .tensors([
                ("blk.0.attn_q_norm.weight", &[D]),
                ("blk.0.attn_k_norm.weight", &[D]),
            ])
            .keys([
                ("attention.head_count", Value::U32(H)),
                ("shortconv.l_cache", Value::U32(3)),
            ])
            .unhybrid_heads(),
        case("lfm2moe")
            .experts()
            .hybrid()
            .tensors([
                ("blk.0.attn_q_norm.weight", &[D]),
                ("blk.0.attn_k_norm.weight", &[D]),
                ("blk.*.exp_probs_b.bias", &[4]),
            ])
            .keys([("shortconv.l_cache", Value::U32(3))])
            .unhybrid_heads(),
        case("llama"),
        case("llama").keys([
            ("expert_count", Value::U32(5)),
            ("expert_used_count", Value::U32(2)),
        ]),
        case("llama4")
            .keys([("block_count", Value::U32(4))])
            .experts(),
        case("maincoder").head_norms(),
        case("mamba")
            .ssm(128, 8)
            .tensors([("blk.*.ssm_conv1d.bias", &[128])]),
        case("mamba2")
            .ssm(128, 8)
            .tensors([("blk.*.ssm_conv1d.bias", &[192])])
            .tensors([("blk.*.ssm_norm.weight", &[64, 2])]),
        case("maple")
            .experts()
            .windows()
            .head_norms()
            .keys([("swiglu_clamp_exp", Value::F32(0.5))]),
        case("mellum").experts().windows().head_norms(),
        case("mimo2").experts().windows().tensors([
            ("blk.*.ffn_gate_inp.weight", &[E, 4]),
            ("blk.*.attn_sinks.weight", &[H]),
        ]),
        case("minicpm"),
        latent(case("minicpm3").keys([
            ("attention.key_length", Value::U32(24)),
            ("attention.head_count_kv", Value::U32(H)),
        ])),
        case("minimax-m2")
            .granite_experts()
            .token_norms()
            .tensors([("blk.*.exp_probs_b.bias", &[4])]),
        case("mistral3").keys([
            ("rope.scaling.type", Value::from("yarn")),
            ("rope.scaling.factor", Value::F32(4.0)),
            ("rope.scaling.original_context_length", Value::U32(24)),
            ("attention.temperature_scale", Value::F32(0.1)),
        ]),
        absorbed(case("mistral4").experts()),
        case("mpt")
            .gpt()
            .fused_bias()
            .keys([
                ("attention.max_alibi_bias", Value::F32(8.0)),
                ("attention.clamp_kqv", Value::F32(0.5)),
            ])
            .tensors([("blk.*.ffn.act.scales", &[F])]),
        case("nanbeige"),
        case("nemotron").gpt(),
        case("nemotron_h")
            .ssm(128, 8)
            .tensors([("blk.1.ssm_conv1d.bias", &[192])])
            .keys([
                ("block_count", Value::U32(3)),
                ("attention.head_count", numbers([H, 0, 0])),
                ("attention.head_count_kv", numbers([KV, 0, 0])),
                ("feed_forward_length", numbers([0, 0, F])),
            ])
            .tensors([("blk.1.ssm_norm.weight", &[64, 2])]),
        case("nemotron_h_moe")
            .ssm(128, 8)
            .tensors([("blk.1.ssm_conv1d.bias", &[192])])
            .keys([
                ("block_count", Value::U32(3)),
                ("attention.head_count", numbers([H, 0, 0])),
                ("attention.head_count_kv", numbers([KV, 0, 0])),
                ("feed_forward_length", numbers([0, 0, 32])),
                ("expert_count", Value::U32(4)),
                ("expert_used_count", Value::U32(2)),
                ("expert_feed_forward_length", Value::U32(32)),
                ("expert_shared_feed_forward_length", Value::U32(32)),
                ("expert_weights_norm", Value::Bool(true)),
            ])
            .tensors([
                ("blk.1.ssm_norm.weight", &[64, 2]),
                ("blk.2.exp_probs_b.bias", &[4]),
            ]),
        case("olmo").keys([("attention.clamp_kqv", Value::F32(0.5))]),
        case("olmo2").windows().token_norms(),
        case("olmoe")
            .granite_experts()
            .keys([("attention.head_count_kv", Value::U32(H))])
            .tensors([
                ("blk.*.attn_q_norm.weight", &[H * D]),
                ("blk.*.attn_k_norm.weight", &[H * D]),
            ]),
        case("openelm").fused().head_norms(),
        case("orion").tensors([
            ("blk.*.attn_norm.bias", &[E]),
            ("blk.*.ffn_norm.bias", &[E]),
            ("output_norm.bias", &[E]),
        ]),
        case("paddleocr").keys([("rope.dimension_sections", numbers([2, 3, 3, 0]))]),
        case("pangu-embedded").tensors([("blk.*.attn_output.bias", &[E])]),
        case("phi2")
            .tensors([
                ("blk.*.attn_norm.bias", &[E]),
                ("output_norm.bias", &[E]),
                ("output.bias", &[64]),
            ])
            .biases(),
        case("phi3").fused().tensors([
            ("blk.*.ffn_up.weight", &[E, 2 * F]),
            ("rope_factors_short.weight", &[D / 2]),
            ("rope_factors_long.weight", &[D / 2]),
        ]),
        case("phimoe").granite_experts().tensors([
            ("output_norm.bias", &[E]),
            ("output.bias", &[64]),
            ("blk.*.attn_norm.bias", &[E]),
            ("blk.*.ffn_norm.bias", &[E]),
            ("blk.*.attn_output.bias", &[E]),
        ]),
        case("plamo"),
        case("plamo2")
            .ssm(64, 4)
            .keys([("ssm.group_count", Value::U32(0))])
            .hybrid()
            .tensors([
                ("blk.1.ssm_dt_norm", &[64]),
                ("blk.1.ssm_b_norm", &[16]),
                ("blk.1.ssm_c_norm", &[16]),
                ("blk.*.post_attention_norm", &[E]),
                ("blk.*.post_ffw_norm", &[E]),
            ])
            .fused_first()
            .tensors([
                ("blk.*.ffn_up.weight", &[E, 2 * F]),
                ("blk.0.attn_q_norm.weight", &[D, H]),
                ("blk.0.attn_k_norm.weight", &[D, KV]),
            ]),
        case("plamo3")
            .windows()
            .tensors([
                ("blk.*.post_attention_norm", &[E]),
                ("blk.*.post_ffw_norm", &[E]),
            ])
            .fused()
            .head_norms()
            .tensors([("blk.*.ffn_up.weight", &[E, 2 * F])]),
        case("plm").keys([
            ("attention.head_count_kv", Value::U32(H)),
            ("attention.kv_lora_rank", Value::U32(32)),
            ("rope.dimension_count", Value::U32(8)),
            ("attention.key_length", Value::U32(24)),
        ]),
        case("qwen")
            .keys([
                ("feed_forward_length", Value::U32(2 * F)),
                ("attention.head_count_kv", Value::U32(H)),
            ])
            .tensors([
                ("blk.*.attn_qkv.weight", &[E, 3 * H * D]),
                ("blk.*.attn_qkv.bias", &[3 * H * D]),
            ]),
        case("qwen2").tensors([("blk.*.attn_q.bias", &[H * D])]),
        case("qwen2moe").experts(),
        case("qwen2vl").keys([("rope.dimension_sections", numbers([2, 3, 3, 0]))]),
        case("qwen3").head_norms(),
        delta(case("qwen35")).tensors([
            ("blk.1.attn_q_norm.weight", &[D]),
            ("blk.1.attn_k_norm.weight", &[D]),
        ]),
        delta(case("qwen35moe")).experts().tensors([
            ("blk.1.attn_q_norm.weight", &[D]),
            ("blk.1.attn_k_norm.weight", &[D]),
        ]),
        case("qwen3moe").experts().head_norms(),
        delta(case("qwen3next"))
            .experts()
            .tensors([
                ("blk.1.attn_q_norm.weight", &[D]),
                ("blk.1.attn_k_norm.weight", &[D]),
            ])
            .tensors([("blk.0.ssm_ba.weight", &[E, 8])]),
        case("qwen3tts")
            .head_norms()
            .keys([("rope.dimension_sections", numbers([2, 3, 3, 0]))]),
        case("qwen3vl")
            .head_norms()
            .keys([("rope.dimension_sections", numbers([2, 3, 3, 0]))]),
        case("qwen3vlmoe").experts().head_norms(),
        case("refact"),
        rwkv7(E),
        rwkv7(D),
        case("seed_oss"),
        case("smallthinker").experts().windows(),
        case("smollm3").keys([("block_count", Value::U32(4))]),
        case("spark2_5")
            .windows()
            .tensors([("blk.*.attn_gate.weight", &[E, H])]),
        case("stablelm").tensors([
            ("blk.*.attn_norm.bias", &[E]),
            ("output_norm.bias", &[E]),
            ("blk.*.attn_q_norm.weight", &[D, H]),
            ("blk.*.attn_k_norm.weight", &[D, KV]),
        ]),
        case("starcoder").gpt().fused_bias(),
        case("starcoder2").gpt(),
        case("xverse"),
    ]
}

impl Case {
    /// Experts as wide as a dense network.
    fn granite_experts(self) -> Self {
        self.keys([
            ("expert_gating_func", Value::U32(2)),
            ("expert_count", Value::U32(4)),
            ("expert_used_count", Value::U32(2)),
            ("expert_feed_forward_length", Value::U32(F)),
            ("expert_shared_feed_forward_length", Value::U32(32)),
        ])
    }

    /// Queries, keys and values together in the first layer.
    fn fused_first(self) -> Self {
        self.tensors([("blk.0.attn_qkv.weight", &[E, (H + 2 * KV) * D])])
    }

    /// Heads of queries in all layers.
    fn unhybrid_heads(mut self) -> Self {
        self.keys.retain(|(key, value)| {
            *key != "attention.head_count" || matches!(value, Value::U32(_))
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(case: Case, word: &str) {
        let error = case.try_file(Matrices::F32).expect_err(word);
        let told = matches!(error, Error::InvalidModel(_) | Error::Unsupported(_));
        assert!(told, "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }

    /// Norms of heads are for the heads that there are: a file does not say how many numbers are read.
    #[test]
    fn norms_of_heads_have_the_widths_of_heads() {
        let shapes: [&[u32]; 5] = [&[D / 2], &[2 * D], &[D, 1], &[D, H + 1], &[D, 1 << 12]];
        for shape in shapes {
            let norm = ("blk.*.attn_q_norm.weight", shape);
            refused(case("llama").tensors([norm]), "attn_q_norm");
        }
        for shape in [&[D] as &'static [u32], &[H * D], &[D, H]] {
            let norm = ("blk.*.attn_q_norm.weight", shape);
            let file = case("llama").tensors([norm]).try_file(Matrices::F32);
            assert!(file.is_ok(), "{shape:?}: {:?}", file.err());
        }
    }

    /// A size of 0 is none that anything can be computed with, wherever it comes from.
    #[test]
    fn tensors_without_numbers_are_refused() {
        let absorbed = case("deepseek2").experts().keys([
            ("attention.kv_lora_rank", Value::U32(32)),
            ("attention.head_count_kv", Value::U32(1)),
            ("attention.key_length", Value::U32(40)),
            ("attention.value_length", Value::U32(32)),
            ("rope.dimension_count", Value::U32(8)),
            ("attention.key_length_mla", Value::U32(8)),
            ("attention.value_length_mla", Value::U32(D)),
        ]);
        let tensors: [(&str, &[u32]); 2] = [
            ("blk.*.attn_k_b.weight", &[0, 32, H]),
            ("blk.*.attn_v_b.weight", &[32, D, H]),
        ];
        refused(absorbed.tensors(tensors), "attn_k_b");
    }

    #[test]
    fn heads_of_gated_attention_have_one_width() {
        let delta = |key: &'static str| {
            let case = case("qwen35").ssm(64, 4);
            case.keys([
                ("full_attention_interval", Value::U32(2)),
                ("rope.dimension_count", Value::U32(8)),
                (key, Value::U32(8)),
            ])
        };
        refused(delta("attention.value_length"), "attention.value_length");
        refused(delta("attention.key_length"), "attention.value_length");
    }

    /// Products of sizes from a file do not fit into 32 bits.
    #[test]
    fn states_that_are_too_large_are_refused() {
        let wide = Value::U32(1 << 16);
        refused(
            case("qwen35").ssm(64, 4).keys([
                ("ssm.state_size", wide.clone()),
                ("ssm.time_step_rank", wide),
                ("ssm.group_count", Value::U32(1)),
            ]),
            "ssm.state_size",
        );
        refused(
            case("mamba2").ssm(128, 32).keys([
                ("ssm.group_count", Value::U32(32)),
                ("ssm.state_size", Value::U32(1 << 19)),
            ]),
            "ssm.state_size",
        );
    }
}

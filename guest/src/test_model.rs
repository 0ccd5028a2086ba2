//! Tiny models with random weights, for tests.

use crate::gguf::{Array, TensorType, Writer};

/// The shape of a [`model`].
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) architecture: &'static str,
    pub(crate) ty: TensorType,
    pub(crate) n_kv_heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) has_biases: bool,
    pub(crate) has_head_norms: bool,
    pub(crate) is_tied: bool,
    /// The window of every layer but each last of the architecture's pattern.
    pub(crate) window: Option<u32>,
    pub(crate) has_norms_after: bool,
    /// Experts, and how many of them a token uses.
    pub(crate) experts: Option<[u32; 2]>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            architecture: "llama",
            ty: TensorType::Q8_0,
            n_kv_heads: 2,
            head_dim: 16,
            has_biases: false,
            has_head_norms: false,
            is_tied: false,
            window: None,
            has_norms_after: false,
            experts: None,
        }
    }
}

/// The vocabulary size of [`model`]: 3 control tokens, then one per letter.
pub(crate) const N_VOCAB: u32 = 64;

/// A tiny model with random weights and a context of 64 tokens, as a file: 2 layers, 4 heads.
pub(crate) fn model(shape: &Shape) -> Vec<u8> {
    Builder::of(shape).finish()
}

fn build(shape: &Shape) -> Builder {
    let (n_embd, n_ff, n_heads) = (64, 96, 4);
    let mut builder = Builder::new(shape.architecture);
    let key = |name: &str| format!("{}.{name}", shape.architecture);
    for (name, number) in [
        ("context_length", 64),
        ("embedding_length", n_embd),
        ("block_count", 2),
        ("feed_forward_length", n_ff),
        ("attention.head_count", n_heads),
        ("attention.head_count_kv", shape.n_kv_heads),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
    ] {
        builder.writer.metadata(&key(name), number);
    }
    builder
        .writer
        .metadata(&key("attention.layer_norm_rms_epsilon"), 1e-5f32);
    if let Some(window) = shape.window {
        let writer = &mut builder.writer;
        writer.metadata(&key("attention.sliding_window"), window);
        writer.metadata(&key("attention.sliding_window_pattern"), 2);
        writer.metadata(&key("attn_logit_softcapping"), 4.0f32);
        writer.metadata(&key("final_logit_softcapping"), 3.0f32);
    }
    if let Some([n, n_used]) = shape.experts {
        let writer = &mut builder.writer;
        writer.metadata(&key("expert_count"), n);
        writer.metadata(&key("expert_used_count"), n_used);
        writer.metadata(&key("expert_feed_forward_length"), n_ff);
    }
    builder.vocabulary();

    let (q, kv) = (n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim);
    builder.tensor("token_embd.weight", shape.ty, &[n_embd, N_VOCAB]);
    for l in 0..2 {
        let name = |tensor: &str| format!("blk.{l}.{tensor}");
        for (tensor, shape_of) in [
            ("attn_q", [n_embd, q]),
            ("attn_k", [n_embd, kv]),
            ("attn_v", [n_embd, kv]),
            ("attn_output", [q, n_embd]),
            ("ffn_gate", [n_embd, n_ff]),
            ("ffn_up", [n_embd, n_ff]),
            ("ffn_down", [n_ff, n_embd]),
        ] {
            if let Some([n, _]) = shape.experts.filter(|_| tensor.starts_with("ffn")) {
                let shape_of = [shape_of[0], shape_of[1], n];
                builder.tensor(&name(&format!("{tensor}_exps.weight")), shape.ty, &shape_of);
                if shape.architecture == "qwen2moe" {
                    let name = name(&format!("{tensor}_shexp.weight"));
                    builder.tensor(&name, shape.ty, &shape_of[..2]);
                }
                continue;
            }
            builder.tensor(&name(&format!("{tensor}.weight")), shape.ty, &shape_of);
            if shape.has_biases && ["attn_q", "attn_k", "attn_v"].contains(&tensor) {
                builder.tensor(
                    &name(&format!("{tensor}.bias")),
                    TensorType::F32,
                    &shape_of[1..],
                );
            }
        }
        if let Some([n, _]) = shape.experts {
            builder.tensor(&name("ffn_gate_inp.weight"), TensorType::F32, &[n_embd, n]);
            if shape.architecture == "qwen2moe" {
                let name = name("ffn_gate_inp_shexp.weight");
                builder.tensor(&name, TensorType::F32, &[n_embd]);
            }
        }
        let norms = [
            "attn_norm",
            "ffn_norm",
            "post_attention_norm",
            "post_ffw_norm",
        ];
        for norm in &norms[..if shape.has_norms_after { 4 } else { 2 }] {
            builder.tensor(&name(&format!("{norm}.weight")), TensorType::F32, &[n_embd]);
        }
        if shape.has_head_norms {
            for norm in ["attn_q_norm", "attn_k_norm"] {
                builder.tensor(
                    &name(&format!("{norm}.weight")),
                    TensorType::F32,
                    &[shape.head_dim],
                );
            }
        }
    }
    builder.tensor("output_norm.weight", TensorType::F32, &[n_embd]);
    if !shape.is_tied {
        builder.tensor("output.weight", shape.ty, &[n_embd, N_VOCAB]);
    }
    builder
}

/// Writes a file with random tensors.
pub(crate) struct Builder {
    pub(crate) writer: Writer,
    data: Vec<u8>,
    random: u64,
}

impl Builder {
    /// With everything that [`model`] has.
    pub(crate) fn of(shape: &Shape) -> Self {
        build(shape)
    }

    pub(crate) fn new(architecture: &str) -> Self {
        let mut writer = Writer::default();
        writer.metadata("general.architecture", architecture);
        Self {
            writer,
            data: Vec::new(),
            random: 1,
        }
    }

    /// The same with other numbers in its tensors.
    pub(crate) fn seeded(self, random: u64) -> Self {
        Self { random, ..self }
    }

    /// A vocabulary of llama.cpp's test models, of [`N_VOCAB`] tokens.
    pub(crate) fn test_vocabulary(&mut self) {
        let tokens = (0..N_VOCAB).map(|id| format!("tok_{id}"));
        let tokens: Vec<String> = tokens.collect();
        self.writer
            .metadata("tokenizer.ggml.model", "test")
            .metadata("tokenizer.ggml.tokens", Array::strings(tokens))
            .metadata(
                "tokenizer.ggml.scores",
                Array::f32s((0..N_VOCAB).map(|_| 0.0)),
            );
    }

    /// A SentencePiece vocabulary of [`N_VOCAB`] tokens.
    fn vocabulary(&mut self) {
        let names = ["<unk>", "<s>", "</s>", "\u{2581}"];
        let letters = ('0'..='z').map(String::from);
        let tokens: Vec<String> = names
            .map(String::from)
            .into_iter()
            .chain(letters)
            .take(N_VOCAB as usize)
            .collect();
        let types = (0..N_VOCAB as i32).map(|i| [2, 3, 3, 1][i.min(3) as usize]);
        self.writer
            .metadata("tokenizer.ggml.model", "llama")
            .metadata("tokenizer.ggml.tokens", Array::strings(tokens))
            .metadata(
                "tokenizer.ggml.scores",
                Array::f32s((0..N_VOCAB).map(|i| -(i as f32))),
            )
            .metadata("tokenizer.ggml.token_type", Array::i32s(types))
            .metadata("tokenizer.ggml.bos_token_id", 1)
            .metadata("tokenizer.ggml.eos_token_id", 2);
    }

    /// Adds a tensor of type F32, F16, Q8_0 or Q4_0.
    pub(crate) fn tensor(&mut self, name: &str, ty: TensorType, shape: &[u32]) {
        let shape: Vec<u64> = shape.iter().map(|&dim| dim.into()).collect();
        let size = self.writer.tensor(name, ty, &shape) as usize;
        let start = self.data.len();
        for at in 0..size {
            self.random = self
                .random
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(12345);
            let byte = (self.random >> 56) as u8;
            self.data.push(match (ty, at % ty.block_bytes() as usize) {
                // Numbers near 0.1, so that nothing grows without bound. What decays has a rate below 0.
                (TensorType::F32, 3) if name.ends_with("ssm_a") => 0xbd,
                (TensorType::F32, 3) if shape.len() > 1 => byte & 0x80 | 0x3d,
                (TensorType::F32, 3) => 0x3d,
                (TensorType::F16, 1) => 0x2e,
                (TensorType::Q8_0 | TensorType::Q4_0, 0) => 0x00,
                (TensorType::Q8_0, 1) => 0x14,
                (TensorType::Q4_0, 1) => 0x24,
                _ => byte,
            });
        }
        let padded = size.next_multiple_of(Writer::ALIGNMENT as usize);
        self.data.resize(start + padded, 0);
    }

    /// The same without its numbers.
    pub(crate) fn zeros(&mut self, name: &str, ty: TensorType, shape: &[u32]) {
        let shape: Vec<u64> = shape.iter().map(|&dim| dim.into()).collect();
        let size = self.writer.tensor(name, ty, &shape) as usize;
        let padded = size.next_multiple_of(Writer::ALIGNMENT as usize);
        self.data.resize(self.data.len() + padded, 0);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut file = self.writer.header();
        file.extend(self.data);
        file
    }
}

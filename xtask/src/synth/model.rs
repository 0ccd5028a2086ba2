//! The models: their published dimensions, and the metadata and tensors that llama.cpp's converter makes of them.

use gust_engine::gguf::{TensorType, Writer};

use crate::vocabulary::Vocabulary;

/// The dimensions of a model, from its `config.json`.
pub(crate) struct Model {
    pub(crate) id: &'static str,
    arch: &'static str,
    name: &'static str,
    n_layers: u64,
    n_embd: u64,
    n_ff: u64,
    n_heads: u64,
    n_kv_heads: u64,
    n_ctx: u32,
    rope_theta: f32,
    rms_eps: f32,
    /// Whether the output matrix is the embedding.
    tied: bool,
    /// Whether q, k and v have biases.
    qkv_bias: bool,
    rope_scaling: Option<Llama3Scaling>,
    /// Whether `n_ff` is that of each of some experts.
    experts: Option<Experts>,
    vocabulary: Vocabulary,
}

/// A mixture of experts.
struct Experts {
    n: u64,
    /// How many a token uses.
    n_used: u64,
}

/// Llama 3.1's stretching of the rotary frequencies.
struct Llama3Scaling {
    factor: f32,
    low_freq_factor: f32,
    high_freq_factor: f32,
    original_n_ctx: f32,
}

/// What is on offer.
pub(crate) const MODELS: [Model; 5] = [
    Model {
        id: "tinyllama-1.1b",
        arch: "llama",
        name: "synthetic TinyLlama 1.1B",
        n_layers: 22,
        n_embd: 2048,
        n_ff: 5632,
        n_heads: 32,
        n_kv_heads: 4,
        n_ctx: 2048,
        rope_theta: 10_000.0,
        rms_eps: 1e-5,
        tied: false,
        qkv_bias: false,
        rope_scaling: None,
        experts: None,
        vocabulary: Vocabulary::Spm { size: 32_000 },
    },
    Model {
        id: "llama-3.2-1b",
        arch: "llama",
        name: "synthetic Llama 3.2 1B",
        n_layers: 16,
        n_embd: 2048,
        n_ff: 8192,
        n_heads: 32,
        n_kv_heads: 8,
        n_ctx: 131_072,
        rope_theta: 500_000.0,
        rms_eps: 1e-5,
        tied: true,
        qkv_bias: false,
        rope_scaling: Some(Llama3Scaling {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_n_ctx: 8192.0,
        }),
        experts: None,
        vocabulary: Vocabulary::Bpe {
            pre: "llama-bpe",
            n_text: 128_000,
            size: 128_256,
            control: &["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
            bos: 128_000,
            eos: 128_001,
            add_bos: true,
        },
    },
    Model {
        id: "qwen2.5-0.5b",
        arch: "qwen2",
        name: "synthetic Qwen2.5 0.5B",
        n_layers: 24,
        n_embd: 896,
        n_ff: 4864,
        n_heads: 14,
        n_kv_heads: 2,
        n_ctx: 32_768,
        rope_theta: 1_000_000.0,
        rms_eps: 1e-6,
        tied: true,
        qkv_bias: true,
        rope_scaling: None,
        experts: None,
        vocabulary: Vocabulary::Bpe {
            pre: "qwen2",
            n_text: 151_643,
            size: 151_936,
            control: &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            bos: 151_643,
            eos: 151_645,
            add_bos: false,
        },
    },
    // The dimensions of Granite 3.1 1B-A400M: a third of its weights are active.
    Model {
        id: "moe-1b-a400m",
        arch: "llama",
        name: "synthetic mixture of 32 experts",
        n_layers: 24,
        n_embd: 1024,
        n_ff: 512,
        n_heads: 16,
        n_kv_heads: 8,
        n_ctx: 8192,
        rope_theta: 10_000.0,
        rms_eps: 1e-6,
        tied: true,
        qkv_bias: false,
        rope_scaling: None,
        experts: Some(Experts { n: 32, n_used: 8 }),
        vocabulary: Vocabulary::Spm { size: 49_155 },
    },
    // More than one instance can address.
    Model {
        id: "llama-2-7b",
        arch: "llama",
        name: "synthetic Llama 2 7B",
        n_layers: 32,
        n_embd: 4096,
        n_ff: 11_008,
        n_heads: 32,
        n_kv_heads: 32,
        n_ctx: 4096,
        rope_theta: 10_000.0,
        rms_eps: 1e-5,
        tied: false,
        qkv_bias: false,
        rope_scaling: None,
        experts: None,
        vocabulary: Vocabulary::Spm { size: 32_000 },
    },
];

/// A tensor to be written.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) ty: TensorType,
    /// The fastest dimension first.
    pub(crate) shape: Vec<u64>,
    pub(crate) content: Content,
}

/// What a tensor is filled with.
pub(crate) enum Content {
    /// Random numbers around 0.
    Random,
    /// The gain of a norm: all 1.
    Ones,
    /// These.
    Given(Vec<f32>),
}

impl Model {
    /// Adds all metadata. `ty` is the type of most matrices, `n_ctx` a context in place of the model's own.
    pub(crate) fn metadata(&self, writer: &mut Writer, ty: TensorType, n_ctx: Option<u32>) {
        let arch = self.arch;
        let file_type: u32 = match ty {
            TensorType::Q4_0 => 2,
            TensorType::Q8_0 => 7,
            _ => 14,
        };
        writer
            .metadata("general.architecture", arch)
            .metadata("general.type", "model")
            .metadata("general.name", self.name)
            .metadata("general.file_type", file_type)
            .metadata("general.quantization_version", 2)
            .metadata(&format!("{arch}.block_count"), self.n_layers as u32)
            .metadata(
                &format!("{arch}.context_length"),
                n_ctx.unwrap_or(self.n_ctx),
            )
            .metadata(&format!("{arch}.embedding_length"), self.n_embd as u32)
            .metadata(&format!("{arch}.feed_forward_length"), self.n_ff as u32)
            .metadata(&format!("{arch}.attention.head_count"), self.n_heads as u32)
            .metadata(
                &format!("{arch}.attention.head_count_kv"),
                self.n_kv_heads as u32,
            )
            .metadata(
                &format!("{arch}.attention.layer_norm_rms_epsilon"),
                self.rms_eps,
            )
            .metadata(&format!("{arch}.rope.freq_base"), self.rope_theta)
            .metadata(
                &format!("{arch}.rope.dimension_count"),
                self.head_dim() as u32,
            )
            .metadata(&format!("{arch}.vocab_size"), self.vocabulary.size());
        if let Some(Experts { n, n_used }) = self.experts {
            writer
                .metadata(&format!("{arch}.expert_count"), n as u32)
                .metadata(&format!("{arch}.expert_used_count"), n_used as u32);
        }
        self.vocabulary.metadata(writer);
    }

    /// All tensors, in the order of the file.
    pub(crate) fn tensors(&self, ty: TensorType) -> Vec<Tensor> {
        let (n_embd, n_ff) = (self.n_embd, self.n_ff);
        let n_vocab = u64::from(self.vocabulary.size());
        let n_kv = self.n_kv_heads * self.head_dim();
        // As llama.cpp does it: the matrix that makes the logits is kept finer.
        let head_type = match ty {
            TensorType::Q8_0 => ty,
            _ => fitting(TensorType::Q6_K, n_embd),
        };
        let embedding_type = if self.tied { head_type } else { ty };

        let mut list = List(Vec::new());
        if let Some(scaling) = &self.rope_scaling {
            let factors = scaling.factors(self.head_dim(), self.rope_theta);
            list.vector(
                "rope_freqs",
                "weight",
                factors.len() as u64,
                Content::Given(factors),
            );
        }
        list.matrix("token_embd", embedding_type, n_embd, n_vocab);
        for layer_idx in 0..self.n_layers {
            let name = |part: &str| format!("blk.{layer_idx}.{part}");
            list.vector(&name("attn_norm"), "weight", n_embd, Content::Ones);
            for (part, rows) in [("attn_q", n_embd), ("attn_k", n_kv), ("attn_v", n_kv)] {
                list.matrix(&name(part), ty, n_embd, rows);
                if self.qkv_bias {
                    list.vector(&name(part), "bias", rows, Content::Random);
                }
            }
            list.matrix(&name("attn_output"), ty, n_embd, n_embd);
            list.vector(&name("ffn_norm"), "weight", n_embd, Content::Ones);
            if let Some(Experts { n, .. }) = self.experts {
                list.matrix(&name("ffn_gate_inp"), TensorType::F32, n_embd, n);
                list.matrices(&name("ffn_gate_exps"), ty, [n_embd, n_ff, n]);
                list.matrices(&name("ffn_up_exps"), ty, [n_embd, n_ff, n]);
                list.matrices(&name("ffn_down_exps"), ty, [n_ff, n_embd, n]);
            } else {
                list.matrix(&name("ffn_gate"), ty, n_embd, n_ff);
                list.matrix(&name("ffn_up"), ty, n_embd, n_ff);
                list.matrix(&name("ffn_down"), ty, n_ff, n_embd);
            }
        }
        list.vector("output_norm", "weight", n_embd, Content::Ones);
        if !self.tied {
            list.matrix("output", head_type, n_embd, n_vocab);
        }
        list.0
    }

    fn head_dim(&self) -> u64 {
        self.n_embd / self.n_heads
    }
}

impl Llama3Scaling {
    /// By what each pair's frequency is divided, as `rope_freqs.weight` has it: nothing for short wavelengths, `factor`
    /// for long ones, and smoothly from one to the other in between.
    fn factors(&self, head_dim: u64, theta: f32) -> Vec<f32> {
        let short = self.original_n_ctx / self.high_freq_factor;
        let long = self.original_n_ctx / self.low_freq_factor;
        let factor = |pair: u64| {
            let frequency = theta.powf(-2.0 * pair as f32 / head_dim as f32);
            let wavelength = std::f32::consts::TAU / frequency;
            if wavelength < short {
                1.0
            } else if wavelength > long {
                self.factor
            } else {
                let smooth = (self.original_n_ctx / wavelength - self.low_freq_factor)
                    / (self.high_freq_factor - self.low_freq_factor);
                1.0 / ((1.0 - smooth) / self.factor + smooth)
            }
        };
        (0..head_dim / 2).map(factor).collect()
    }
}

struct List(Vec<Tensor>);

impl List {
    /// A matrix of random weights: `rows` rows of `columns` elements.
    fn matrix(&mut self, name: &str, ty: TensorType, columns: u64, rows: u64) {
        self.0.push(Tensor {
            name: format!("{name}.weight"),
            ty: fitting(ty, columns),
            shape: vec![columns, rows],
            content: Content::Random,
        });
    }

    /// Several of them in one tensor.
    fn matrices(&mut self, name: &str, ty: TensorType, shape: [u64; 3]) {
        self.matrix(name, ty, shape[0], shape[1]);
        if let Some(tensor) = self.0.last_mut() {
            tensor.shape.push(shape[2]);
        }
    }

    fn vector(&mut self, name: &str, kind: &str, len: u64, content: Content) {
        self.0.push(Tensor {
            name: format!("{name}.{kind}"),
            ty: TensorType::F32,
            shape: vec![len],
            content,
        });
    }
}

/// The type, or what llama.cpp takes instead where rows are no multiple of its block.
fn fitting(ty: TensorType, columns: u64) -> TensorType {
    match ty {
        TensorType::Q4_K if !columns.is_multiple_of(ty.block_len()) => TensorType::Q5_0,
        TensorType::Q6_K if !columns.is_multiple_of(ty.block_len()) => TensorType::Q8_0,
        ty => ty,
    }
}

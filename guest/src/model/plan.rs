//! The shape of a model, as data. A file in [`super::arch`] turns the metadata of an architecture into a [`Plan`];
//! [`super::layer`] makes the layers from it, and [`super::forward`] runs them. Names as in GGUF.

use super::kv_block::KvType;

/// The shape of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// `general.architecture`.
    pub architecture: String,
    /// The context length that the model was trained with, in tokens.
    pub context_length: u32,
    /// Tokens in the vocabulary, V.
    pub n_vocab: usize,
    /// Width of the residual stream, E.
    pub n_embd: usize,
    /// The factor of the embedding.
    pub embed_scale: f32,
    /// The layers, from the embedding to the head.
    pub layers: Vec<LayerSpec>,
    /// The epsilon of the norms.
    pub norm_eps: f32,
    /// What is done with the logits.
    pub head: Head,
}

/// How the last hidden state becomes logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The factor of the logits.
    pub scale: f32,
    /// `c * tanh(logit / c)` of each logit.
    pub softcap: Option<f32>,
}

/// One layer: `x += mixer(norm(x))`, then `x += ffn(norm(x))`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Where the norms are.
    pub norms: Norms,
    /// What lets a token see those before it.
    pub mixer: Mixer,
    /// What is computed of each token by itself.
    pub ffn: Ffn,
    /// The factor of what both add to the residual stream.
    pub residual_scale: f32,
}

/// Where a layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// What goes into the mixer and into the feed-forward network.
    Before,
    /// What comes out of them, too.
    BeforeAndAfter,
}

/// The part of a layer in which tokens see one another.
#[derive(Debug, Clone, PartialEq)]
pub enum Mixer {
    /// Scaled dot-product attention.
    Attention(AttentionSpec),
}

/// Attention with heads of queries that share heads of keys and values.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Heads of queries, H.
    pub n_heads: usize,
    /// Heads of keys and values, each shared by `n_heads / n_kv_heads` heads of queries.
    pub n_kv_heads: usize,
    /// Width of a head, D.
    pub head_dim: usize,
    /// How positions enter queries and keys; `None` if they do not.
    pub rope: Option<RopeSpec>,
    /// The factor of the scores.
    pub scale: f32,
    /// `c * tanh(score / c)` of each score.
    pub softcap: Option<f32>,
    /// The number of tokens that a token sees, itself included; `None` for all.
    pub window: Option<usize>,
}

/// The part of a layer that is computed of each token by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Ffn {
    /// `down(act(gate(x)) * up(x))`.
    Gated {
        /// Width of the hidden layer, F.
        n_ff: usize,
        /// `act`.
        activation: Activation,
    },
    /// A router chooses some of many gated networks for each token.
    Experts(ExpertsSpec),
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertsSpec {
    /// The number of experts.
    pub n_experts: usize,
    /// The number of experts that a token uses, K.
    pub n_used: usize,
    /// Width of an expert's hidden layer, F.
    pub n_ff: usize,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub normalizes: bool,
    /// The factor of the weights.
    pub scale: f32,
    /// A network that every token goes through, too.
    pub shared: Option<SharedSpec>,
}

/// A network beside a mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedSpec {
    /// Width of its hidden layer.
    pub n_ff: usize,
    /// How much of it a token takes.
    pub gate: SharedGate,
}

/// How much of a shared network a token takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedGate {
    /// All.
    Open,
    /// The sigmoid of a dot product.
    Sigmoid,
}

/// What a feed-forward network bends its hidden layer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x / (1 + exp(-2z))` with `z = sqrt(2 / pi) * (x + 0.044715 x^3)`: GELU, approximated with tanh.
    Gelu,
}

/// Rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeSpec {
    /// Dimensions of a head that are rotated.
    pub dims: usize,
    /// Base of the frequencies (theta).
    pub base: f32,
    /// Which dimensions are rotated together.
    pub pairing: Pairing,
    /// How positions are scaled.
    pub scaling: RopeScaling,
}

/// Which dimensions of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// 2i and 2i + 1, as in the paper (ggml: NORM).
    Interleaved,
    /// i and i + n / 2, as in GPT-NeoX.
    Halves,
}

/// How the angles of rotary positions are scaled to contexts longer than those trained with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all, or by the factors of the tensor `rope_freqs.weight`.
    None,
    /// All angles divided by a factor.
    Linear(f32),
    /// Llama 3: low frequencies divided by the factor, high ones kept, a blend between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f32,
        /// Wavelengths longer than the original context divided by this are low.
        low_freq_factor: f32,
        /// Wavelengths shorter than the original context divided by this are high.
        high_freq_factor: f32,
        /// Tokens.
        original_context: f32,
    },
}

impl Plan {
    /// Bytes of keys and values of one token over all layers.
    pub fn kv_bytes_per_token(&self, kv_type: KvType) -> u64 {
        let layers = self.layers.iter().map(|layer| match &layer.mixer {
            Mixer::Attention(spec) => {
                2 * (spec.n_kv_heads * kv_type.row_bytes(spec.head_dim)) as u64
            }
        });
        layers.sum()
    }
}

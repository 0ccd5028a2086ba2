//! The shape of a model, as data. A file in [`super::arch`] turns the metadata of an architecture into a [`Plan`];
//! [`super::layer`] makes the layers from it, and [`super::forward`] runs them. Names as in GGUF.
//!
//! What the tensors of a file tell by their names and shapes is not repeated here: whether a matrix has a bias, whether
//! queries, keys and values are one matrix, whether a feed-forward network has a gate.

use super::kv_block::KvType;
use super::kv_cache::KvShape;
use super::recurrent_state::{Part, RecurrentShape};

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
    /// What the residual stream starts with.
    pub input: Input,
    /// The layers, from the embedding to the head.
    pub layers: Vec<LayerSpec>,
    /// Layers after these, which predict tokens further ahead, and are not computed.
    pub n_further_layers: usize,
    /// How every part of the model normalises.
    pub norm: NormSpec,
    /// How the last hidden state becomes logits.
    pub head: Head,
    /// How the hidden states of a text become one vector.
    pub pooling: PoolingSpec,
    /// Tensors that files of the architecture may have and that are not computed with, without the prefix of a layer.
    pub unused: Vec<&'static str>,
}

/// What the residual stream starts with: the token's embedding times a factor.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The factor of the embedding.
    pub scale: f32,
    /// Width of a second embedding that a token has in each layer, P; none if it has one only. What a layer gets is that
    /// of the token and a projection of the first, each normalised or scaled. Source: Gemma Team, 2025 (Gemma 3n).
    pub per_layer: Option<usize>,
    /// Several residual streams instead of one.
    pub altup: Option<AltUpSpec>,
    /// Whether the tensor `position_embd` has a row for each position, which is added.
    pub has_positions: bool,
    /// Whether the first row of the tensor `token_types`, if there is one, is added. The others are those of a second
    /// text in the same sequence.
    pub has_types: bool,
    /// Whether the sum is normalised, with `token_embd_norm`.
    pub has_norm: bool,
}

/// Several residual streams, of which a layer computes one and predicts the others. Source: Baykal et al., 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AltUpSpec {
    /// The number of streams.
    pub n: usize,
    /// The one that layers compute.
    pub active: usize,
}

/// How the last hidden state becomes logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The norm of the last hidden state, if there is one.
    pub norm: Option<&'static str>,
    /// Whether there are logits. A model that only embeds texts has none.
    pub has_logits: bool,
    /// The factor of the logits.
    pub scale: f32,
    /// `c * tanh(logit / c)` of each logit.
    pub softcap: Option<f32>,
}

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoolingSpec {
    /// As the file says.
    pub kind: Pooling,
    /// Which hidden state the classifier of [`Pooling::Rank`] sees.
    pub classified: Pooling,
    /// What bends the classifier's first layer, if it has two.
    pub classifier: ClassifierActivation,
    /// Whether the classifier's outputs become probabilities.
    pub has_softmax: bool,
    /// The number of the classifier's outputs.
    pub n_labels: usize,
}

/// Which of a text's hidden states represent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// All of them.
    None,
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
    /// The last one.
    Last,
    /// The outputs of a classifier.
    Rank,
}

/// What bends the first layer of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassifierActivation {
    /// The hyperbolic tangent.
    Tanh,
    /// GELU, approximated with tanh.
    Gelu,
}

/// How numbers are normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormSpec {
    /// What is divided by what.
    pub kind: NormKind,
    /// Added to the mean of squares, so that it is never zero.
    pub eps: f32,
    /// Whether the result is multiplied by a weight.
    pub has_weight: bool,
}

/// The kinds of norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Divided by the root of the mean of squares. Source: Zhang and Sennrich, 2019.
    Rms,
    /// The mean is subtracted first. Source: Ba et al., 2016.
    Layer,
}

/// One layer: two sublayers, each of which adds to the residual stream. Both may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// The sublayer in which a token sees those before it: all of these, with their outputs added.
    pub mixers: Vec<Mixer>,
    /// Its norms.
    pub mixer_norms: Norms,
    /// Width of a projection beside the mixers, whose result is added, with the sum divided by the root of 2 (LAuReL).
    pub laurel: Option<usize>,
    /// The sublayer that is computed of each token by itself: all of these, with their outputs added.
    pub ffns: Vec<Ffn>,
    /// Its norms.
    pub ffn_norms: Norms,
    /// The norms of each of its parts, if they have their own.
    pub ffn_part_norms: Vec<Norms>,
    /// Whether both sublayers see the same residual stream. Otherwise the second one sees what the first has added.
    pub is_parallel: bool,
    /// The factor of what a sublayer adds.
    pub residual_scale: f32,
    /// The factor of what the feed-forward networks add, before any norm.
    pub ffn_scale: f32,
    /// Whether the residual stream is multiplied by a number of the file after the layer, if there is one.
    pub has_output_scale: bool,
}

/// Where a sublayer normalises, by the names of the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Norms {
    /// What goes in.
    pub before: Option<&'static str>,
    /// What comes out.
    pub after: Option<&'static str>,
    /// The residual stream, once that has been added.
    pub of_sum: Option<&'static str>,
    /// The same once more, after what the residual stream was before has been added again.
    pub of_second_sum: Option<&'static str>,
}

/// A part of a layer in which tokens see one another.
#[derive(Debug, Clone, PartialEq)]
pub enum Mixer {
    /// Scaled dot-product attention.
    Attention(AttentionSpec),
    /// Multi-head latent attention.
    Mla(MlaSpec),
    /// A state space model: Mamba 1 or 2.
    Ssm(SsmSpec),
    /// The gated delta rule.
    DeltaNet(DeltaNetSpec),
    /// A short convolution with gates before and after.
    ShortConv(ShortConvSpec),
    /// The attention of RWKV 7.
    TimeMix(TimeMixSpec),
}

/// Attention whose keys and values are projections of one short vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlaSpec {
    /// Heads, H.
    pub n_heads: usize,
    /// The width of what queries are projected from; `None` if that is the layer's input.
    pub q_rank: Option<usize>,
    /// The width of the short vector.
    pub kv_rank: usize,
    /// Dimensions of a query, or key, that do not rotate.
    pub nope: usize,
    /// How the others rotate: these follow those that do not.
    pub rope: RopeSpec,
    /// Width of a head's output.
    pub value_dim: usize,
    /// The factor of the scores.
    pub scale: f32,
    /// Queries grow with their position.
    pub temperature: Option<Temperature>,
    /// Whether the projections of keys and values are apart, and applied to queries and outputs.
    pub is_absorbed: bool,
}

/// A selective state space model: what a head keeps decays, and takes in what the token says it should. Sources: Gu and
/// Dao, 2023 (Mamba 1); Dao and Gu, 2024 (Mamba 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SsmSpec {
    /// How its matrices are arranged.
    pub form: SsmForm,
    /// Taps of the convolution over a channel's last inputs.
    pub d_conv: usize,
    /// Channels, of all heads together.
    pub d_inner: usize,
    /// Numbers that are kept of each channel.
    pub d_state: usize,
    /// Heads. In Mamba 1 each channel is one.
    pub n_heads: usize,
    /// Groups of heads with the same input and output weights.
    pub n_groups: usize,
    /// The width of what step sizes are projected from; none in Mamba 2.
    pub dt_rank: usize,
    /// Whether the projections of the step size and of the weights are normalised, with or without weights.
    pub normalizes: bool,
}

/// How the matrices of a state space model are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SsmForm {
    /// Input and gate are projected; step size and weights are projected from the input.
    Mamba1,
    /// All are projected at once.
    Mamba2,
    /// PLaMo 2's: as Mamba 1, with heads, gate and input of each head together.
    Plamo2,
}

/// Linear attention by the gated delta rule: what a head keeps decays, and is corrected towards the token's value.
/// Source: Yang et al., 2024.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeltaNetSpec {
    /// Taps of the convolution over a channel's last inputs.
    pub d_conv: usize,
    /// Heads of queries and keys.
    pub n_key_heads: usize,
    /// Heads of values.
    pub n_value_heads: usize,
    /// Width of a head of queries, keys or values.
    pub head_dim: usize,
    /// Which heads of values share one of queries and keys.
    pub sharing: KeySharing,
}

/// Which heads of values share a head of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySharing {
    /// Neighbours.
    Neighbours,
    /// Those whose numbers have the same remainder.
    Remainders,
}

/// A short convolution: `out_proj(c * conv(b * x))`, where `in_proj` gives b, c and x. Source: Liquid AI, 2025.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShortConvSpec {
    /// Taps of the convolution.
    pub d_conv: usize,
    /// Channels.
    pub n_embd: usize,
}

/// The attention of RWKV 7: a memory that forgets, and unlearns what it is about to replace. Source: Peng et al., 2025.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeMixSpec {
    /// Heads.
    pub n_heads: usize,
    /// Width of a head, D.
    pub head_dim: usize,
    /// Channels, `n_heads * D`.
    pub n_embd: usize,
    /// Width of what decays are projected from.
    pub decay_rank: usize,
    /// Width of what rates are projected from.
    pub rate_rank: usize,
    /// Width of what says how much of the first layer's value a later one takes; none in the first layer.
    pub residual_rank: Option<usize>,
    /// Width of what gates are projected from, if there are any.
    pub gate_rank: Option<usize>,
}

impl Mixer {
    /// Whether it keeps nothing, and sees what another part keeps.
    pub(super) fn keeps_nothing(&self) -> bool {
        matches!(self, Self::Attention(spec) if spec.shares.is_some())
    }

    /// The sizes of the keys and values that a part sees; none of a recurrent one.
    pub(super) fn kv_shape(&self) -> Option<KvShape> {
        match self {
            Self::Attention(spec) => Some(KvShape {
                head_dim: spec.head_dim,
                value_dim: spec.value_dim,
                n_heads: spec.n_heads,
                n_kv_heads: spec.n_kv_heads,
                is_shared: false,
                window: match spec.window {
                    Some(Window::Sliding(window)) if spec.is_causal => Some(window),
                    _ => None,
                },
            }),
            Self::Mla(spec) => Some(KvShape {
                head_dim: spec.kept_key_dim(),
                value_dim: spec.kept_value_dim(),
                n_heads: spec.n_heads,
                n_kv_heads: if spec.is_absorbed { 1 } else { spec.n_heads },
                is_shared: spec.is_absorbed,
                window: None,
            }),
            Self::Ssm(_) | Self::DeltaNet(_) | Self::ShortConv(_) | Self::TimeMix(_) => None,
        }
    }

    /// The sizes of what a part keeps of a sequence. Attention keeps keys and values instead.
    pub(super) fn recurrent_shape(&self) -> RecurrentShape {
        let part = |n: usize, blocks: Option<usize>, width: usize| Part { n, blocks, width };
        let parts = match self {
            Self::Attention(_) | Self::Mla(_) => Vec::new(),
            Self::Ssm(spec) => {
                let heads = Some(spec.n_heads);
                let taps = spec.d_conv - 1;
                let mut parts = vec![part(spec.d_inner, heads, taps)];
                if spec.form == SsmForm::Mamba2 {
                    parts.push(part(2 * spec.n_groups * spec.d_state, None, taps));
                }
                parts.push(part(spec.d_inner, heads, spec.d_state));
                parts
            }
            Self::DeltaNet(spec) => {
                let heads = Some(spec.n_value_heads);
                let (taps, dim) = (spec.d_conv - 1, spec.head_dim);
                vec![
                    part(2 * spec.n_key_heads * dim, None, taps),
                    part(spec.n_value_heads * dim, heads, taps),
                    part(spec.n_value_heads, heads, dim * dim),
                ]
            }
            Self::ShortConv(spec) => {
                vec![part(spec.n_embd, Some(spec.n_embd), spec.d_conv - 1)]
            }
            Self::TimeMix(spec) => {
                let (n, dim) = (spec.n_heads, spec.head_dim);
                // The last token, the memory, and the last token in the layer's feed-forward network.
                vec![
                    part(spec.n_embd, None, 1),
                    part(n, Some(n), dim * dim),
                    part(spec.n_embd, None, 1),
                ]
            }
        };
        RecurrentShape { parts }
    }
}

/// Attention with heads of queries that share heads of keys and values.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Heads of queries, H.
    pub n_heads: usize,
    /// Heads of keys and values, each shared by `n_heads / n_kv_heads` heads of queries.
    pub n_kv_heads: usize,
    /// Width of a head of queries or keys, D.
    pub head_dim: usize,
    /// Width of a head of values.
    pub value_dim: usize,
    /// What values are.
    pub values: Values,
    /// The number of another part, among those before that keep something of a sequence, whose keys and values this one
    /// sees; it has none of its own.
    pub shares: Option<usize>,
    /// How positions enter queries and keys; `None` if they do not.
    pub rope: Option<RopeSpec>,
    /// Norms of queries and keys, besides those whose weights the file has.
    pub head_norm: HeadNorm,
    /// The factor of the scores.
    pub scale: f32,
    /// `c * tanh(score / c)` of each score.
    pub softcap: Option<f32>,
    /// Whether a token sees only those up to itself. Otherwise it sees all of its text.
    pub is_causal: bool,
    /// The keys that a token sees, if not all of these.
    pub window: Option<Window>,
    /// Queries, keys and values are clamped to this magnitude.
    pub clamp: Option<f32>,
    /// Scores fall with the distance (ALiBi): the largest exponent of the slopes. Source: Press et al., 2021.
    pub alibi: Option<f32>,
    /// What the outputs are multiplied by.
    pub gate: Option<AttentionGate>,
    /// Queries grow with their position.
    pub temperature: Option<Temperature>,
    /// The factor of the outputs.
    pub output_scale: f32,
}

/// What the values of attention are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// A projection.
    Projected,
    /// A projection, or where the file has none the keys as they are before their norm; normalised without weights.
    Normalized,
}

/// How heads of queries and keys are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadNorm {
    /// Before they are rotated, if there are weights.
    BeforeRope,
    /// After they are rotated, if there are weights.
    AfterRope,
    /// After they are rotated, without weights.
    Unweighted,
}

/// The keys that a token sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// This many tokens, itself included.
    Sliding(usize),
    /// Those of its own chunk of this many tokens.
    Chunked(usize),
    /// Those up to half as many tokens before it and after it.
    Symmetric(usize),
}

/// What the outputs of attention are multiplied by: a function of a projection of what went in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionGate {
    /// The sigmoid of `attn_gate(x)`: one number for each head, or one for each dimension.
    Sigmoid,
    /// The softplus of it.
    Softplus,
    /// The sigmoid of what `attn_q` computes besides: for each head its query, then as many numbers.
    InQuery,
}

/// Queries at position p are multiplied by `1 + scale * ln(1 + floor((p + offset) / length))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// The factor of the logarithm.
    pub scale: f32,
    /// In tokens.
    pub length: u32,
    /// Added to the position.
    pub offset: f32,
    /// Whether this holds for layers that do not rotate only.
    pub without_rope_only: bool,
}

/// A part of a layer that is computed of each token by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Ffn {
    /// `down(act(gate(x)) * up(x))`, or `down(act(up(x)))` if there is no gate.
    Dense(FfnSpec),
    /// A router chooses some of many networks for each token.
    Experts(ExpertsSpec),
    /// The feed-forward network of RWKV 7, which sees the token before, too: `value(relu(key(x))^2)`. It keeps that token
    /// in the state of the layer's [`Mixer::TimeMix`].
    ChannelMix(ChannelMixSpec),
}

/// The feed-forward network of RWKV 7.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelMixSpec {
    /// Width of the hidden layer, F.
    pub n_ff: usize,
}

/// A feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FfnSpec {
    /// Width of the hidden layer, F.
    pub n_ff: usize,
    /// `act`.
    pub activation: Activation,
    /// Whether there is a gate: a matrix of its own, or the first half of `ffn_up`.
    pub has_gate: bool,
    /// How many standard deviations above the mean of its token a gate must be: this bound is subtracted, and what is below
    /// it is 0.
    pub gate_bound: Option<f32>,
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertsSpec {
    /// The number of experts.
    pub n_experts: usize,
    /// The number of experts that a token uses, K.
    pub n_used: usize,
    /// Each expert.
    pub expert: FfnSpec,
    /// How the router's scores become weights.
    pub gating: Gating,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub normalizes: bool,
    /// The factor of the weights.
    pub scale: f32,
    /// Only experts of the best groups are chosen.
    pub groups: Option<ExpertGroups>,
    /// Whether the weights multiply what goes into an expert instead of what comes out.
    pub weighs_input: bool,
    /// What the router sees.
    pub router_input: RouterInput,
    /// A network that every token goes through, too.
    pub shared: Option<SharedSpec>,
}

/// What a router sees of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterInput {
    /// What the experts see.
    Normed,
    /// The residual stream as it was before the layer.
    BeforeLayer,
    /// The residual stream before the experts, normalised with weights of its own, divided by the root of its width.
    Residual,
}

/// How a router's scores become the weights of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gating {
    /// The softmax over all experts.
    Softmax,
    /// The sigmoid of each.
    Sigmoid,
    /// The softmax over the chosen ones.
    SoftmaxOfChosen,
}

/// Experts in groups: those of the best groups can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertGroups {
    /// The number of groups.
    pub n: usize,
    /// How many of them a token uses.
    pub n_used: usize,
}

/// A network beside a mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharedSpec {
    /// The network.
    pub network: FfnSpec,
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x / (1 + exp(-2z))` with `z = sqrt(2 / pi) * (x + 0.044715 x^3)`: GELU, approximated with tanh.
    Gelu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    ReluSquared,
    /// `x / (1 + exp(-1.702 x)) * (1 + up)`, with `x` at most 7 and `up` within 7 of 0. Source: OpenAI, 2025 (gpt-oss).
    ClampedSilu,
    /// `x / (1 + exp(-x)) * up`, with `x` at most this and `up` within this of 0.
    SiluWithin(f32),
    /// `positive * x^2 + beta * x` above 0, else `negative * (exp(min(x, eps)) - 1 - x) + beta * x`: xIELU. Source: Huang
    /// and Schlag, 2024.
    Xielu {
        /// The factor above 0.
        positive: f32,
        /// The factor below 0.
        negative: f32,
        /// The slope at 0.
        beta: f32,
        /// The most that enters the exponential function.
        eps: f32,
    },
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
    /// The factor of rotated dimensions.
    pub magnitude: f32,
    /// Whether frequencies are divided by the numbers of a tensor, if there is one: `rope_freqs`, or
    /// `rope_factors_short` and `rope_factors_long`.
    pub has_factors: bool,
    /// Sequences with room for more tokens than this take the long factors.
    pub original_context: usize,
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
    /// Not at all, or by the factors of a tensor.
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
    /// YaRN: frequencies with few turns within the original context divided by the factor, those with many kept, a
    /// blend between. Source: Peng et al., 2023.
    Yarn {
        /// The divisor of low frequencies.
        factor: f32,
        /// Frequencies with more turns than this are kept.
        beta_fast: f32,
        /// Frequencies with fewer turns than this are divided.
        beta_slow: f32,
        /// Tokens.
        original_context: f32,
    },
}

impl LayerSpec {
    /// The attention of the layer, if it has any.
    pub fn attention_mut(&mut self) -> Option<&mut AttentionSpec> {
        self.mixers.iter_mut().find_map(|mixer| match mixer {
            Mixer::Attention(spec) => Some(spec),
            _ => None,
        })
    }

    /// The experts of the layer, if it has any.
    pub fn experts_mut(&mut self) -> Option<&mut ExpertsSpec> {
        self.ffns.iter_mut().find_map(|ffn| match ffn {
            Ffn::Experts(spec) => Some(spec),
            Ffn::Dense(_) | Ffn::ChannelMix(_) => None,
        })
    }
}

impl Plan {
    /// The parts that keep something of a sequence, in the order of their states.
    pub(super) fn mixers(&self) -> impl Iterator<Item = &Mixer> {
        self.layers.iter().flat_map(|layer| &layer.mixers)
    }

    /// Whether tokens see those after them: then a text is computed as a whole, and nothing can be generated.
    pub fn is_encoder(&self) -> bool {
        self.mixers()
            .any(|mixer| matches!(mixer, Mixer::Attention(spec) if !spec.is_causal))
    }

    /// Whether tokens can be generated.
    pub fn can_generate(&self) -> bool {
        self.head.has_logits && !self.is_encoder()
    }

    /// Bytes of keys and values of one token over all layers.
    pub fn kv_bytes_per_token(&self, kv_type: KvType) -> u64 {
        let kept = self.mixers().filter(|mixer| !mixer.keeps_nothing());
        let bytes = kept.filter_map(Mixer::kv_shape).map(|shape| {
            let row = kv_type.row_bytes(shape.head_dim) + kv_type.row_bytes(shape.value_dim);
            (shape.n_kv_heads * row) as u64
        });
        bytes.sum()
    }
}

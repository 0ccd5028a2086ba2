//! The forward pass of the Llama family, written to be read from top to bottom.
//!
//! Shapes: T tokens in the batch, E the residual stream, H heads of width D, F the hidden layer, V the vocabulary. An
//! instance computes its share of the columns of every product and gathers the rest (see [`super::group`]).

use std::ops::Range;
use std::rc::Rc;

use super::attention::{Attention, Queries};
use super::config::Config;
use super::group::{Group, gather_columns, pause};
use super::kv_block::Layout;
use super::kv_cache::KvCache;
use super::room;
use super::rope::Rope;
use super::weights::{Layer, Linear, Mapping, Matrix, Share, Weights};
use crate::blob::Blob;
use crate::error::{Result, reserve};
use crate::gguf::Gguf;
use crate::kernels::{self, Activations, Input};
use crate::trace;

/// Tokens that are computed at once: enough to use each weight many times, few enough to finish soon.
pub const BATCH: usize = 64;

/// A model's forward pass: its weights, its group and its buffers.
pub struct Transformer {
    config: Config,
    weights: Weights,
    share: Share,
    group: Rc<dyn Group>,
    rope: Rope,
    scratch: Scratch,
}

/// The buffers that one batch is computed in. All are allocated when the model is loaded.
struct Scratch {
    /// `[T, E]`: the residual stream.
    x: Vec<f32>,
    /// `[T, E]`: normalised.
    normed: Vec<f32>,
    /// The input of the next products in 8 bits.
    activations: Activations,
    /// `[T, own H * D]`, `[T, own kv heads * D]` twice.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// `[T, own H * D]`, and the same for all instances.
    own_heads: Vec<f32>,
    heads: Vec<f32>,
    /// `[T, own F]` twice, and the same for all instances.
    gate: Vec<f32>,
    up: Vec<f32>,
    hidden: Vec<f32>,
    /// `[T, own E]`, and the same for all instances: what a block adds to the residual stream.
    own_delta: Vec<f32>,
    delta: Vec<f32>,
    attention: Attention,
    /// `[T, own V]`, for one token or for as many as requested.
    own_logits: Vec<f32>,
}

impl Transformer {
    /// Loads the weights of a file. The caller has checked that the tensor data is complete.
    ///
    /// # Errors
    /// As [`Config::from_gguf`]; `invalid-model` and `unsupported` for tensors, `out-of-memory`, `io`.
    pub fn load(
        gguf: &Gguf,
        blob: &dyn Blob,
        mapping: Mapping,
        group: Rc<dyn Group>,
    ) -> Result<Self> {
        let config = Config::from_gguf(gguf)?;
        room::check(gguf, &config, group.rank(), group.size())?;
        let share = Share::new(&config, group.rank(), group.size());
        let weights = Weights::load(gguf, blob, mapping, &config, &share)?;
        let rope = Rope::new(&config, weights.rope_freqs.as_deref());
        let scratch = Scratch::new(&config, &share)?;
        Ok(Self {
            config,
            weights,
            share,
            group,
            rope,
            scratch,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The rows and heads of this instance.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// The instances that compute together.
    pub(super) fn group(&self) -> &dyn Group {
        &*self.group
    }

    /// Bytes of weights that were mapped instead of copied.
    pub fn mapped_bytes(&self) -> u64 {
        self.weights.mapped_bytes
    }

    /// An empty cache with capacity for `capacity` tokens.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn new_cache(&mut self, kv_type: super::KvType, capacity: usize) -> Result<KvCache> {
        let Config {
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            ..
        } = self.config;
        let cache = KvCache::new(
            kv_type,
            capacity,
            n_layers,
            self.share.kv_heads.len(),
            head_dim,
        )?;
        let layout = Layout { kv_type, head_dim };
        let n_queries = BATCH * (n_heads / n_kv_heads);
        self.scratch.attention.reserve(layout, n_queries)?;
        Ok(cache)
    }

    /// Computes 1 to [`BATCH`] tokens that follow the first `position` tokens in `cache`, which must have capacity for
    /// them, and appends their keys and values. The result is kept for [`Transformer::logits`].
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub fn forward(&mut self, tokens: &[u32], position: usize, cache: &mut KvCache) -> Result<()> {
        let Self {
            config,
            weights,
            share,
            rope,
            scratch,
            group,
        } = self;
        trace::begin();
        let n_embd = config.n_embd;
        scratch.x.resize(tokens.len() * n_embd, 0.0);
        for (x, &token) in scratch.x.chunks_exact_mut(n_embd).zip(tokens) {
            weights.token_embd.row(token as usize, x);
        }
        rope.prepare(position, tokens.len());
        trace::lap("token_embd");
        for (l, layer) in weights.layers.iter().enumerate() {
            let mut block = Block {
                config,
                share,
                group: &**group,
                layer,
                scratch,
            };
            block.attention(l, position, rope, cache)?;
            block.feed_forward()?;
        }
        Ok(())
    }

    /// Reserves capacity for the logits of `rows` tokens at once.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn reserve_logits(&mut self, rows: usize) -> Result<()> {
        reserve(&mut self.scratch.own_logits, rows * self.share.vocab.len())
    }

    /// The last batch's hidden states of its tokens `range`, `[range, E]`: all that is needed to compute their logits.
    pub fn hidden(&self, range: Range<usize>, out: &mut Vec<f32>) {
        let n_embd = self.config.n_embd;
        out.clear();
        out.extend_from_slice(&self.scratch.x[range.start * n_embd..range.end * n_embd]);
    }

    /// The logits after the tokens `range` of the last batch, `[range, V]`.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub fn logits(&mut self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let n_embd = self.config.n_embd;
        let x = std::mem::take(&mut self.scratch.x);
        let result = self.logits_of(&x[range.start * n_embd..range.end * n_embd], out);
        self.scratch.x = x;
        result
    }

    /// The logits of hidden states from [`Transformer::hidden`], `[T, V]`.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub fn logits_of(&mut self, hidden: &[f32], out: &mut Vec<f32>) -> Result<()> {
        trace::begin();
        let (config, scratch) = (&self.config, &mut self.scratch);
        let n_tokens = hidden.len() / config.n_embd;
        norm_rows(
            hidden,
            &self.weights.output_norm,
            config.rms_eps,
            &mut scratch.normed,
        );
        trace::lap("output_norm");
        let input = quantized(
            &scratch.normed,
            &mut scratch.activations,
            [&*self.weights.output],
        );
        trace::lap("quantize");
        scratch
            .own_logits
            .resize(n_tokens * self.share.vocab.len(), 0.0);
        kernels::matmul(self.weights.output.rows(), input, &mut scratch.own_logits);
        trace::lap("output");
        out.resize(n_tokens * config.n_vocab, 0.0);
        let size = self.group.size();
        let share = |rank| Share::new(config, rank, size).vocab;
        gather_columns(
            &*self.group,
            &mut scratch.own_logits,
            config.n_vocab,
            share,
            out,
        )?;
        trace::lap("gather");
        Ok(())
    }
}

/// One layer applied to one batch.
struct Block<'a> {
    config: &'a Config,
    share: &'a Share,
    group: &'a dyn Group,
    layer: &'a Layer,
    scratch: &'a mut Scratch,
}

impl Block<'_> {
    /// `x += attn_output(attention(attn_norm(x)))`
    fn attention(
        &mut self,
        l: usize,
        position: usize,
        rope: &Rope,
        cache: &mut KvCache,
    ) -> Result<()> {
        let (layer, s) = (self.layer, &mut *self.scratch);
        let Config {
            n_embd,
            n_heads,
            n_kv_heads,
            head_dim,
            rms_eps,
            ..
        } = *self.config;

        norm_rows(&s.x, &layer.attn_norm, rms_eps, &mut s.normed);
        trace::lap("attn_norm");
        let readers = [
            &layer.attn_q.weight,
            &layer.attn_k.weight,
            &layer.attn_v.weight,
        ];
        let input = quantized(&s.normed, &mut s.activations, readers);
        trace::lap("quantize");
        let n_tokens = s.x.len() / n_embd;
        layer.attn_q.apply(n_tokens, input, &mut s.q);
        trace::lap("attn_q");
        layer.attn_k.apply(n_tokens, input, &mut s.k);
        trace::lap("attn_k");
        layer.attn_v.apply(n_tokens, input, &mut s.v);
        trace::lap("attn_v");
        norm_heads(
            &mut s.q,
            layer.attn_q_norm.as_deref(),
            rms_eps,
            &mut s.normed,
        );
        norm_heads(
            &mut s.k,
            layer.attn_k_norm.as_deref(),
            rms_eps,
            &mut s.normed,
        );

        let (own, own_kv) = (self.share.heads.len(), self.share.kv_heads.len());
        s.own_heads.resize(n_tokens * own * head_dim, 0.0);
        for t in 0..n_tokens {
            for head in s.k[t * own_kv * head_dim..][..own_kv * head_dim].chunks_exact_mut(head_dim)
            {
                rope.rotate(t, head);
            }
            for kv_head in 0..own_kv {
                let at = (t * own_kv + kv_head) * head_dim;
                let (key, value) = (&s.k[at..at + head_dim], &s.v[at..at + head_dim]);
                cache.set(l, kv_head, position + t, key, value);
            }
            for query in s.q[t * own * head_dim..][..own * head_dim].chunks_exact_mut(head_dim) {
                rope.rotate(t, query);
            }
        }
        trace::lap("rope");
        let queries = Queries {
            position,
            n_tokens,
            n_heads: n_heads / n_kv_heads,
            stride: own * head_dim,
        };
        for kv_head in 0..own_kv {
            let (layout, head) = cache.head(l, kv_head);
            let first = kv_head * queries.n_heads * head_dim;
            let (q, out) = (&s.q[first..], &mut s.own_heads[first..]);
            s.attention.attend(layout, head, queries, q, out);
        }
        trace::lap("attention");

        s.heads.resize(n_tokens * n_heads * head_dim, 0.0);
        let (config, size) = (self.config, self.group.size());
        let heads = |rank| {
            let heads = Share::new(config, rank, size).heads;
            heads.start * head_dim..heads.end * head_dim
        };
        gather_columns(
            self.group,
            &mut s.own_heads,
            n_heads * head_dim,
            heads,
            &mut s.heads,
        )?;
        trace::lap("gather");
        let input = quantized(&s.heads, &mut s.activations, [&layer.attn_output.weight]);
        trace::lap("quantize");
        layer.attn_output.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("attn_output");
        self.add_delta()
    }

    /// `x += ffn_down(silu(ffn_gate(ffn_norm(x))) * ffn_up(ffn_norm(x)))`
    fn feed_forward(&mut self) -> Result<()> {
        let (layer, s) = (self.layer, &mut *self.scratch);
        let (n_embd, n_ff) = (self.config.n_embd, self.config.n_ff);
        let n_tokens = s.x.len() / n_embd;

        norm_rows(&s.x, &layer.ffn_norm, self.config.rms_eps, &mut s.normed);
        trace::lap("ffn_norm");
        let readers = [&layer.ffn_gate.weight, &layer.ffn_up.weight];
        let input = quantized(&s.normed, &mut s.activations, readers);
        trace::lap("quantize");
        layer.ffn_gate.apply(n_tokens, input, &mut s.gate);
        trace::lap("ffn_gate");
        pause(self.group)?;
        layer.ffn_up.apply(n_tokens, input, &mut s.up);
        trace::lap("ffn_up");
        kernels::swiglu(&mut s.gate, &s.up);
        trace::lap("swiglu");

        s.hidden.resize(n_tokens * n_ff, 0.0);
        let (config, size) = (self.config, self.group.size());
        let ff = |rank| Share::new(config, rank, size).ff;
        gather_columns(self.group, &mut s.gate, n_ff, ff, &mut s.hidden)?;
        trace::lap("gather");
        let input = quantized(&s.hidden, &mut s.activations, [&layer.ffn_down.weight]);
        trace::lap("quantize");
        layer.ffn_down.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("ffn_down");
        self.add_delta()
    }

    /// Gathers what a block adds to the residual stream, and adds it.
    fn add_delta(&mut self) -> Result<()> {
        let s = &mut *self.scratch;
        let (config, size) = (self.config, self.group.size());
        s.delta.resize(s.x.len(), 0.0);
        let embd = |rank| Share::new(config, rank, size).embd;
        gather_columns(
            self.group,
            &mut s.own_delta,
            config.n_embd,
            embd,
            &mut s.delta,
        )?;
        trace::lap("gather");
        for (x, delta) in s.x.iter_mut().zip(&s.delta) {
            *x += delta;
        }
        trace::lap("residual");
        Ok(())
    }
}

impl Linear {
    /// `out = input * weight^T + bias`, `[n_tokens, own rows]`.
    fn apply(&self, n_tokens: usize, input: Input<'_>, out: &mut Vec<f32>) {
        out.resize(n_tokens * self.weight.n_rows(), 0.0);
        kernels::matmul(self.weight.rows(), input, out);
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(bias.len().max(1)) {
                for (x, bias) in row.iter_mut().zip(bias) {
                    *x += bias;
                }
            }
        }
    }
}

/// Quantises `x`, `[T, cols]`, to the forms that these matrices read.
fn quantized<'a, const N: usize>(
    x: &'a [f32],
    activations: &'a mut Activations,
    readers: [&Matrix; N],
) -> Input<'a> {
    let types = readers.iter().map(|matrix| matrix.rows().ty);
    activations.quantize(x, readers[0].rows().cols, types)
}

/// Normalises each row of `x`, `[T, weight.len()]`.
fn norm_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut Vec<f32>) {
    out.resize(x.len(), 0.0);
    let rows = x.chunks_exact(weight.len());
    for (x, out) in rows.zip(out.chunks_exact_mut(weight.len())) {
        kernels::rms_norm(x, weight, eps, out);
    }
}

/// Normalises each head in place, if the model has weights for that.
fn norm_heads(x: &mut Vec<f32>, weight: Option<&[f32]>, eps: f32, spare: &mut Vec<f32>) {
    if let Some(weight) = weight {
        norm_rows(x, weight, eps, spare);
        std::mem::swap(x, spare);
    }
}

impl Scratch {
    fn new(config: &Config, share: &Share) -> Result<Self> {
        let heads = config.n_heads * config.head_dim;
        let kv = share.kv_heads.len() * config.head_dim;
        // In a group of one, `normed`, `q` and `k` are swapped, and so are an instance's own columns and all columns.
        let widest = config.n_embd.max(heads);
        let new = |width: usize| {
            let mut buffer = Vec::new();
            reserve(&mut buffer, BATCH * width).map(|()| buffer)
        };
        let activations = Activations::with_capacity(BATCH, widest.max(config.n_ff))?;
        let mut own_logits = Vec::new();
        reserve(&mut own_logits, share.vocab.len())?;
        Ok(Self {
            x: new(config.n_embd)?,
            normed: new(widest)?,
            activations,
            q: new(widest)?,
            k: new(widest.max(kv))?,
            v: new(kv)?,
            own_heads: new(heads)?,
            heads: new(heads)?,
            gate: new(config.n_ff)?,
            up: new(share.ff.len())?,
            hidden: new(config.n_ff)?,
            own_delta: new(config.n_embd)?,
            delta: new(config.n_embd)?,
            attention: Attention::default(),
            own_logits,
        })
    }
}

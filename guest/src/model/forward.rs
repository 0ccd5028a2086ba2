//! The forward pass, for all plans: the embedding, the layers one after the other, the head.
//!
//! Shapes: T tokens in the batch, E the residual stream, H heads of width D, F the hidden layer, V the vocabulary. An
//! instance computes its share of the columns of every product and gathers the rest (see [`super::group`]).

use std::ops::Range;
use std::rc::Rc;

use super::group::{Group, Place, gather_columns};
use super::kv_block::KvType;
use super::layer::{Layer, Pass, Scratch, quantized};
use super::lora::{Adapter, Adapters};
use super::memory_check;
use super::plan::{Mixer, Plan, Pooling};
use super::state::State;
use super::weights::{Mapping, Weights};
use crate::blob::Blob;
use crate::error::{Error, Result, reserve, unsupported};
use crate::gguf::Gguf;
use crate::kernels;
use crate::trace;

/// Tokens that are computed at once: enough to use each weight many times, few enough to finish soon.
pub const BATCH: usize = 64;

/// Tokens that follow one another in one sequence. A batch has one or several.
pub struct Span<'a> {
    /// The tokens.
    pub tokens: &'a [u32],
    /// The position of the first: the number of tokens before it in the sequence.
    pub position: usize,
    /// What the layers keep of those. It must have capacity for all of `tokens`.
    pub state: &'a mut State,
    /// The tokens, counted from the first one of the span, whose hidden states are wanted.
    pub wanted: Range<usize>,
}

impl Span<'_> {
    /// The positions of the tokens.
    pub(super) fn positions(&self) -> Range<usize> {
        self.position..self.position + self.tokens.len()
    }
}

/// The result of a batch: the hidden states of the wanted tokens, those of the first span first. It lives in the
/// buffers of the forward pass, and is gone with this value.
pub struct Hidden<'a> {
    transformer: &'a mut Transformer,
    n_tokens: usize,
}

impl Hidden<'_> {
    /// The hidden states, `[wanted, E]`: all that is needed to compute logits.
    pub fn rows(&self) -> &[f32] {
        &self.transformer.scratch.x[..self.n_tokens * self.transformer.plan.n_embd]
    }

    /// The logits after the wanted tokens `range`, `[range, V]`.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub fn logits(&mut self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let n_embd = self.transformer.plan.n_embd;
        let x = std::mem::take(&mut self.transformer.scratch.x);
        let rows = &x[range.start * n_embd..range.end * n_embd];
        let attached = &mut self.transformer.scratch.activations.attached;
        attached.select_wanted(range);
        let result = self.transformer.logits_of_rows(rows, out);
        self.transformer.scratch.x = x;
        result
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        self.transformer.scratch.activations.attached.clear();
    }
}

/// A model's forward pass: its weights, its group and its buffers.
pub struct Transformer {
    plan: Plan,
    weights: Weights,
    group: Rc<dyn Group>,
    scratch: Scratch,
    /// `[T, own V]`, for one token or for as many as requested.
    own_logits: Vec<f32>,
}

impl Transformer {
    /// Loads the weights of a file. The caller has checked that the tensor data is complete.
    ///
    /// # Errors
    /// As [`Plan::from_gguf`]; `invalid-model` and `unsupported` for tensors, `out-of-memory`, `io`.
    pub fn load(
        gguf: &Gguf,
        blob: &dyn Blob,
        mapping: Mapping,
        group: Rc<dyn Group>,
    ) -> Result<Self> {
        let plan = Plan::from_gguf(gguf)?;
        memory_check::check(gguf, &plan, group.rank(), group.size())?;
        let place = Place::of(&*group);
        let weights = Weights::load(gguf, blob, mapping, &plan, place)?;
        let mut scratch = Scratch::new(plan.n_embd)?;
        if let Some(per_layer) = &weights.per_layer {
            per_layer.reserve(&mut scratch)?;
        }
        if let Some(streams) = &weights.streams {
            streams.reserve(&mut scratch)?;
        }
        for layer in &weights.layers {
            layer.reserve(&mut scratch, place)?;
        }
        let mut transformer = Self {
            plan,
            weights,
            group,
            scratch,
            own_logits: Vec::new(),
        };
        transformer.reserve_logits(1)?;
        Ok(transformer)
    }

    /// The model's shape.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The instances that compute together.
    pub(super) fn group(&self) -> &dyn Group {
        &*self.group
    }

    /// Bytes of weights that were mapped instead of copied.
    pub fn mapped_bytes(&self) -> u64 {
        self.weights.mapped_bytes
    }

    /// The state of an empty sequence, with capacity for `capacity` tokens.
    ///
    /// # Errors
    /// `out-of-memory`; `invalid-argument` for a KV type that the heads cannot have.
    pub fn new_state(&mut self, kv_type: KvType, capacity: usize) -> Result<State> {
        let state = State::new(&self.plan, Place::of(&*self.group), kv_type, capacity)?;
        for shape in self.plan.mixers().filter_map(Mixer::kv_shape) {
            let n_queries = BATCH * (shape.n_heads / shape.n_kv_heads);
            let layout = shape.layout(kv_type);
            self.scratch.attention.reserve(layout, n_queries)?;
        }
        Ok(state)
    }

    /// Computes 1 to [`BATCH`] tokens, those of all spans together, and appends them to the states of their
    /// sequences. Every number has the same bits in any batch.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone. Then some layers have appended the batch to the states and
    /// others have not.
    pub fn forward<'a>(&'a mut self, batch: &mut [Span<'_>]) -> Result<Hidden<'a>> {
        let Self {
            plan,
            weights,
            scratch,
            group,
            ..
        } = self;
        debug_assert!(!plan.is_encoder());
        trace::begin();
        scratch.activations.attached.set(batch);
        weights.embed(plan, batch, scratch);
        if let Some(per_layer) = &weights.per_layer {
            per_layer.prepare(batch, &**group, scratch)?;
        }
        if let Some(streams) = &weights.streams {
            streams.begin(&**group, scratch)?;
        }
        weights.ropes.prepare(batch);
        trace::lap("token_embd");
        let mut pass = Pass {
            batch: &mut *batch,
            group: &**group,
            ropes: &weights.ropes,
            scratch,
        };
        for layer in &weights.layers {
            layer.forward(&mut pass)?;
        }
        if let Some(streams) = &weights.streams {
            streams.end(&**group, scratch)?;
        }
        scratch.activations.attached.keep_wanted(batch);
        let n_tokens = scratch.keep_wanted(batch);
        Ok(Hidden {
            transformer: self,
            n_tokens,
        })
    }

    /// The hidden states of a text, `[T, E]`, normalised as before the output matrix. `state` is new, with the capacity of
    /// the text.
    ///
    /// In an encoder, tokens see those after them. So each layer is computed for the whole text before the next: first
    /// the keys and values of all tokens, then the rest, a batch at a time.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn encode(&mut self, tokens: &[u32], state: &mut State) -> Result<Vec<f32>> {
        let n_embd = self.plan.n_embd;
        let mut all = Vec::new();
        reserve(&mut all, tokens.len() * n_embd)?;
        if !self.plan.is_encoder() {
            for (i, batch) in tokens.chunks(BATCH).enumerate() {
                let span = Span {
                    tokens: batch,
                    position: i * BATCH,
                    state: &mut *state,
                    wanted: 0..batch.len(),
                };
                all.extend_from_slice(self.forward(&mut [span])?.rows());
            }
        } else {
            self.encode_layers(tokens, state, &mut all)?;
        }
        if let Some(norm) = &self.weights.output_norm {
            let mut normed = Vec::new();
            reserve(&mut normed, all.len())?;
            norm.apply(&all, &mut normed);
            all = normed;
        }
        Ok(all)
    }

    /// The hidden states of an encoder, appended to `all`.
    fn encode_layers(
        &mut self,
        tokens: &[u32],
        state: &mut State,
        all: &mut Vec<f32>,
    ) -> Result<()> {
        let Self {
            plan,
            weights,
            scratch,
            group,
            ..
        } = self;
        trace::begin();
        let n_embd = plan.n_embd;
        for (i, batch) in tokens.chunks(BATCH).enumerate() {
            let span = Span {
                tokens: batch,
                position: i * BATCH,
                state: &mut *state,
                wanted: 0..0,
            };
            weights.embed(plan, &[span], scratch);
            all.extend_from_slice(&scratch.x);
        }
        trace::lap("token_embd");
        for layer in &weights.layers {
            for step in [Layer::keep, Layer::forward] {
                for (i, batch) in tokens.chunks(BATCH).enumerate() {
                    let mut span = [Span {
                        tokens: batch,
                        position: i * BATCH,
                        state: &mut *state,
                        wanted: 0..0,
                    }];
                    let rows = &mut all[i * BATCH * n_embd..][..batch.len() * n_embd];
                    scratch.x.clear();
                    scratch.x.extend_from_slice(rows);
                    weights.ropes.prepare(&span);
                    let mut pass = Pass {
                        batch: &mut span,
                        group: &**group,
                        ropes: &weights.ropes,
                        scratch,
                    };
                    step(layer, &mut pass)?;
                    rows.copy_from_slice(&scratch.x);
                }
            }
        }
        Ok(())
    }

    /// The vectors of a text's hidden states from [`Transformer::encode`].
    ///
    /// # Errors
    /// `invalid-argument` for a kind that the model has no tensors for.
    pub(crate) fn pool(&mut self, hidden: &[f32], kind: Pooling) -> Result<Vec<f32>> {
        self.weights.pooling.pool(hidden, self.plan.n_embd, kind)
    }

    /// Loads an adapter of this model. `gguf` is the model's own, `adapter` the header of the adapter, whose data the
    /// caller has found to lie within `blob`.
    ///
    /// # Errors
    /// As [`Adapter::load`].
    pub(crate) fn load_adapter(
        &self,
        gguf: &Gguf,
        adapter: &Gguf,
        blob: &dyn Blob,
    ) -> Result<Adapter> {
        Adapter::load(gguf, &self.weights.adaptable, adapter, blob)
    }

    /// Reserves buffers for what `adapters` add, so that no token needs an allocation.
    ///
    /// # Errors
    /// `invalid-argument` for an adapter of another model, `out-of-memory`.
    pub(crate) fn reserve_adapters(&mut self, adapters: &Adapters) -> Result<()> {
        adapters.check(&self.weights.adaptable)?;
        self.scratch.activations.attached.reserve(adapters)
    }

    /// Reserves capacity for the logits of `rows` tokens at once.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn reserve_logits(&mut self, rows: usize) -> Result<()> {
        let own = Place::of(&*self.group).rows(self.plan.n_vocab);
        reserve(&mut self.own_logits, rows * own.len())
    }

    /// The logits of hidden states from [`Hidden::rows`], `[T, V]`, of a sequence with these adapters.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn logits_of(
        &mut self,
        hidden: &[f32],
        adapters: Option<&Rc<Adapters>>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let n_tokens = hidden.len() / self.plan.n_embd;
        self.scratch
            .activations
            .attached
            .set_all(n_tokens, adapters);
        let result = self.logits_of_rows(hidden, out);
        self.scratch.activations.attached.clear();
        result
    }

    /// The logits of hidden states whose adapters are set.
    fn logits_of_rows(&mut self, hidden: &[f32], out: &mut Vec<f32>) -> Result<()> {
        trace::begin();
        let (n_embd, n_vocab) = (self.plan.n_embd, self.plan.n_vocab);
        let n_tokens = hidden.len() / n_embd;
        let (weights, scratch) = (&self.weights, &mut self.scratch);
        let Some(output) = &weights.output else {
            return Err(embeds_only(&self.plan));
        };
        match &weights.output_norm {
            Some(norm) => norm.apply(hidden, &mut scratch.normed),
            None => {
                scratch.normed.clear();
                scratch.normed.extend_from_slice(hidden);
            }
        }
        trace::lap("output_norm");
        let readers = [&**output];
        let input = quantized(&scratch.normed, &mut scratch.activations, readers);
        trace::lap("quantize");
        let own_logits = &mut self.own_logits;
        own_logits.resize(n_tokens * output.n_rows(), 0.0);
        kernels::matmul(output.rows(), input.rows, own_logits);
        if let Some(scale) = weights.output_scale {
            own_logits.iter_mut().for_each(|logit| *logit *= scale);
        }
        if let Some(number) = weights.output_number {
            input.attached.add(number, input.rows, own_logits);
        }
        if let Some(bias) = &weights.output_bias {
            for row in own_logits.chunks_exact_mut(bias.len().max(1)) {
                row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
            }
        }
        trace::lap("output");
        out.resize(n_tokens * n_vocab, 0.0);
        let columns = |place: Place| place.rows(n_vocab);
        gather_columns(&*self.group, own_logits, n_vocab, columns, out)?;
        trace::lap("gather");
        let head = &self.plan.head;
        if head.scale != 1.0 {
            out.iter_mut().for_each(|logit| *logit *= head.scale);
        }
        if let Some(cap) = head.softcap {
            out.iter_mut()
                .for_each(|logit| *logit = cap * (*logit / cap).tanh());
            trace::lap("softcap");
        }
        Ok(())
    }
}

impl Weights {
    /// Starts the residual stream of a batch.
    fn embed(&self, plan: &Plan, batch: &[Span<'_>], scratch: &mut Scratch) {
        let n_embd = plan.n_embd;
        let n_tokens = batch.iter().map(|span| span.tokens.len()).sum::<usize>();
        debug_assert!((1..=BATCH).contains(&n_tokens));
        scratch.x.resize(n_tokens * n_embd, 0.0);
        let tokens = batch.iter().flat_map(|span| span.tokens);
        let positions = batch.iter().flat_map(Span::positions);
        let rows = scratch.x.chunks_exact_mut(n_embd);
        for (i, ((x, &token), position)) in rows.zip(tokens).zip(positions).enumerate() {
            self.token_embd.row(token as usize, x);
            let attached = &scratch.activations.attached;
            attached.add_row(self.token_embd_number, i, token as usize, x);
            if plan.input.scale != 1.0 {
                x.iter_mut().for_each(|x| *x *= plan.input.scale);
            }
            if let Some(token_type) = &self.token_type {
                x.iter_mut().zip(token_type).for_each(|(x, t)| *x += t);
            }
            if let Some(position_embd) = &self.position_embd {
                scratch.normed.resize(n_embd, 0.0);
                position_embd.row(position, &mut scratch.normed);
                x.iter_mut().zip(&scratch.normed).for_each(|(x, p)| *x += p);
            }
        }
        if let Some(norm) = &self.token_embd_norm {
            norm.apply(&scratch.x, &mut scratch.normed);
            std::mem::swap(&mut scratch.x, &mut scratch.normed);
        }
    }
}

/// What is wrong with asking an encoder for more tokens.
pub(crate) fn embeds_only(plan: &Plan) -> Error {
    let expected = "a model that generates text; this one embeds texts (`gust embed`)";
    unsupported("architecture", expected, &plan.architecture)
}

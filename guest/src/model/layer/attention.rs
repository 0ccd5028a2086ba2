//! Attention: `attn_output(attention(rope(attn_q(x)), rope(attn_k(x)), attn_v(x)))`. Sources: Vaswani et al., 2017; Su et al., 2021.

use std::ops::Range;

use super::super::attention::{PerHead, Queries};
use super::super::forward::BATCH;
use super::super::group::{Group, Place, gather_columns};
use super::super::plan::{AttentionGate, AttentionSpec, HeadNorm, NormSpec, Temperature, Values};
use super::super::rope::Ropes;
use super::super::weights::{Linear, Loader};
use super::activation::softplus;
use super::norm::Norm;
use super::{Input, Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::trace;

pub(super) struct Attention {
    spec: AttentionSpec,
    /// The number of what it keeps of a sequence.
    slot: usize,
    /// This instance's heads of queries, and of keys and values.
    heads: Range<usize>,
    kv_heads: Range<usize>,
    /// The number of its frequencies in [`Ropes`], if it rotates.
    rope: Option<usize>,
    /// `[H * D, E]`, this instance's heads; also for the next three. With the gate in the query it has twice as many rows.
    attn_q: Linear,
    /// Both are missing if the layer sees another's keys and values.
    attn_k: Option<Linear>,
    attn_v: Option<Linear>,
    /// `[H, E]` or `[H * value_dim, E]`
    attn_gate: Option<Linear>,
    attn_q_norm: Option<HeadsNorm>,
    attn_k_norm: Option<HeadsNorm>,
    value_norm: Option<HeadsNorm>,
    /// `[own heads]`: what a score loses per token of distance.
    slopes: Option<Vec<f32>>,
    /// `[own heads]`: the score of nothing.
    attn_sinks: Option<Vec<f32>>,
    /// `[H * value_dim]`: of the outputs.
    attn_sub_norm: Option<Norm>,
    /// `[E, H * value_dim]`
    attn_output: Linear,
}

/// What is made of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    Queries,
    KeysAndValues,
}

/// A norm of queries or keys.
struct HeadsNorm {
    norm: Norm,
    over: Over,
}

/// What is normalised together.
enum Over {
    /// Each head, all with the same weights.
    Head,
    /// Each head, with its own weights.
    OwnWeights,
    /// All heads of a token.
    Token,
}

/// The buffers of all layers of attention.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, own H * D]`, `[T, own kv heads * D]` and `[T, own kv heads * value_dim]`.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// `[T, own H * (1 or value_dim)]`
    gate: Vec<f32>,
    /// `[D]`: a normalised head. `[T, H * D]` if all heads are normalised together.
    head: Vec<f32>,
    all_heads: Vec<f32>,
    /// `[T, own H * value_dim]`, and the same for all instances.
    own_outputs: Vec<f32>,
    outputs: Vec<f32>,
}

impl AttentionSpec {
    /// The heads of keys and values of an instance.
    pub(crate) fn own_kv_heads(&self, place: Place) -> Range<usize> {
        place.units(self.n_kv_heads)
    }

    /// The width of what `attn_q` computes for a head: the query, and the gate if that is beside it.
    fn query_dim(&self) -> usize {
        match self.gate {
            Some(AttentionGate::InQuery) => 2 * self.head_dim,
            _ => self.head_dim,
        }
    }

    /// The heads of queries of an instance: those that share its heads of keys and values.
    fn own_heads(&self, place: Place) -> Range<usize> {
        let (kv_heads, queries) = (self.own_kv_heads(place), self.n_heads / self.n_kv_heads);
        kv_heads.start * queries..kv_heads.end * queries
    }

    /// What a score loses per token of distance, for each of some heads. Source: Press et al., 2021.
    fn slopes(&self, max_bias: f32, heads: Range<usize>) -> Vec<f32> {
        // For a number of heads that is no power of two, the rest lies between those of the next lower one.
        let power = 1 << self.n_heads.ilog2();
        let slope = |head: usize| {
            let exponent = match head < power {
                true => (head + 1) as f32,
                false => (head - power) as f32 + 0.5,
            };
            2f32.powf(-max_bias * exponent / power as f32)
        };
        heads.map(slope).collect()
    }
}

impl Temperature {
    /// The factor of a query.
    pub(super) fn at(self, position: usize) -> f32 {
        let chunks = ((position as f32 + self.offset) / self.length as f32).floor();
        1.0 + self.scale * (1.0 + chunks).ln()
    }
}

impl Attention {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        ropes: &mut Ropes,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        spec: &AttentionSpec,
        norm: NormSpec,
    ) -> Result<Self> {
        let (place, head_dim, value_dim) = (loader.place, spec.head_dim, spec.value_dim);
        let (heads, kv_heads) = (spec.own_heads(place), spec.own_kv_heads(place));
        let wide = |heads: &Range<usize>, dim: usize| heads.start * dim..heads.end * dim;
        let query_dim = spec.query_dim();
        let (q, k, v) = (
            wide(&heads, query_dim),
            wide(&kv_heads, head_dim),
            wide(&kv_heads, value_dim),
        );
        let n_q = spec.n_heads * query_dim;
        let (n_k, n_v) = (spec.n_kv_heads * head_dim, spec.n_kv_heads * value_dim);
        let n_out = spec.n_heads * value_dim;
        let fused = name("attn_qkv");
        let (attn_q, attn_k, attn_v) = if spec.shares.is_some() {
            for unused in ["attn_k", "attn_v", "attn_k_norm"] {
                loader.skip(&name(&format!("{unused}.weight")));
            }
            let (attn_q, n) = match loader.has(&format!("{fused}.weight")) {
                true => (fused, n_q + n_k + n_v),
                false => (name("attn_q"), n_q),
            };
            (loader.linear(&attn_q, [n_embd, n], &q)?, None, None)
        } else if loader.has(&format!("{fused}.weight")) {
            let shape = [n_embd, n_q + n_k + n_v];
            let after = |rows: Range<usize>, n: usize| n + rows.start..n + rows.end;
            let mut parts = [
                loader.linear(&fused, shape, &q)?,
                loader.linear(&fused, shape, &after(k.clone(), n_q))?,
                loader.linear(&fused, shape, &after(v.clone(), n_q + n_k))?,
            ];
            // Biases may be apart although the matrices are not.
            let biases = [("attn_q", n_q, q), ("attn_k", n_k, k), ("attn_v", n_v, v)];
            for (part, (tensor, n, rows)) in parts.iter_mut().zip(biases) {
                let bias = loader.optional_vector(&name(&format!("{tensor}.bias")), n)?;
                part.bias = part.bias.take().or(bias.map(|bias| bias[rows].to_vec()));
            }
            let [attn_q, attn_k, attn_v] = parts;
            (attn_q, Some(attn_k), Some(attn_v))
        } else {
            let attn_q = loader.linear(&name("attn_q"), [n_embd, n_q], &q)?;
            let attn_k = loader.linear(&name("attn_k"), [n_embd, n_k], &k)?;
            let may_lack = spec.values == Values::Normalized;
            let attn_v = match may_lack && !loader.has(&name("attn_v.weight")) {
                true => None,
                false => Some(loader.linear(&name("attn_v"), [n_embd, n_v], &v)?),
            };
            (attn_q, Some(attn_k), attn_v)
        };
        let attn_gate = match spec.gate {
            None | Some(AttentionGate::InQuery) => None,
            Some(_) => {
                let name = name("attn_gate");
                let per_head = loader.rows_of(&format!("{name}.weight"));
                let dim = match per_head == Some(spec.n_heads as u64) {
                    true => 1,
                    false => value_dim,
                };
                let rows = wide(&heads, dim);
                Some(loader.linear(&name, [n_embd, spec.n_heads * dim], &rows)?)
            }
        };
        let sinks = loader.optional_vector(&name("attn_sinks.weight"), spec.n_heads)?;
        let sub_norm = name("attn_sub_norm");
        let embd = place.rows(n_embd);
        let own_slot = loader.next_slot();
        Ok(Self {
            slot: match spec.is_causal {
                true => spec.shares.unwrap_or(own_slot),
                // The layers of an encoder take turns with one cache.
                false => 0,
            },
            rope: spec.rope.map(|rope| ropes.add(loader, rope)).transpose()?,
            attn_q,
            attn_k,
            attn_v,
            attn_gate,
            attn_q_norm: {
                let n_heads = spec.n_heads;
                HeadsNorm::load(loader, &name("attn_q_norm"), spec, n_heads, &heads, norm)?
            },
            attn_k_norm: match spec.shares {
                Some(_) => None,
                None => {
                    let n_heads = spec.n_kv_heads;
                    HeadsNorm::load(loader, &name("attn_k_norm"), spec, n_heads, &kv_heads, norm)?
                }
            },
            value_norm: match (spec.values, spec.shares) {
                (Values::Normalized, None) => Some(HeadsNorm::unweighted(value_dim, norm)),
                _ => None,
            },
            slopes: spec.alibi.map(|most| spec.slopes(most, heads.clone())),
            attn_sinks: sinks.map(|sinks| sinks[heads.clone()].to_vec()),
            attn_sub_norm: Norm::load_any(loader, &sub_norm, n_out, norm)?,
            attn_output: loader.linear(&name("attn_output"), [n_out, n_embd], &embd)?,
            spec: spec.clone(),
            heads,
            kv_heads,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let (head_dim, value_dim) = (self.spec.head_dim, self.spec.value_dim);
        let (n_q, n_out) = (self.spec.n_heads * head_dim, self.spec.n_heads * value_dim);
        let (own, own_kv) = (BATCH * self.heads.len(), BATCH * self.kv_heads.len());
        let buffers = &mut scratch.heads;
        reserve(&mut buffers.q, own * self.spec.query_dim())?;
        reserve(&mut buffers.k, own_kv * head_dim)?;
        reserve(&mut buffers.v, own_kv * value_dim)?;
        reserve(&mut buffers.head, n_q.max(head_dim).max(value_dim))?;
        if self.spec.gate.is_some() {
            reserve(&mut buffers.gate, own * value_dim)?;
        }
        let norms = [&self.attn_q_norm, &self.attn_k_norm];
        if norms.into_iter().flatten().any(HeadsNorm::is_over_token) {
            reserve(&mut buffers.all_heads, BATCH * n_q)?;
            // Swapped with the former in a group of one.
            reserve(&mut buffers.q, BATCH * n_q)?;
            reserve(&mut buffers.k, BATCH * n_q)?;
        }
        // In a group of one, these two are swapped.
        reserve(&mut buffers.own_outputs, BATCH * n_out)?;
        reserve(&mut buffers.outputs, BATCH * n_out)?;
        scratch.activations.reserve(BATCH, n_out)
    }

    /// Keeps the keys and values of a batch, for an encoder: there, all are kept before the first token sees them.
    pub(super) fn keep(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        self.make(pass, Parts::KeysAndValues)?;
        self.cache(pass);
        Ok(())
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        match self.spec.is_causal {
            true => {
                self.make(pass, Parts::All)?;
                self.cache(pass);
            }
            false => self.make(pass, Parts::Queries)?,
        }
        self.attend(pass, n_tokens);
        self.gate(pass);

        let value_dim = self.spec.value_dim;
        let n_out = self.spec.n_heads * value_dim;
        let s = &mut *pass.scratch;
        let outputs = &mut s.heads.outputs;
        outputs.resize(n_tokens * n_out, 0.0);
        let columns = |place: Place| {
            let heads = self.spec.own_heads(place);
            heads.start * value_dim..heads.end * value_dim
        };
        let own_outputs = &mut s.heads.own_outputs;
        gather_columns(pass.group, own_outputs, n_out, columns, outputs)?;
        trace::lap("gather");
        if let Some(norm) = &self.attn_sub_norm {
            norm.apply(outputs, own_outputs);
            std::mem::swap(own_outputs, outputs);
            trace::lap("attn_sub_norm");
        }
        let readers = [&self.attn_output.weight];
        let input = quantized(outputs, &mut s.activations, readers);
        trace::lap("quantize");
        self.attn_output.apply(n_tokens, input, &mut s.own_delta);
        if self.spec.output_scale != 1.0 {
            let scale = self.spec.output_scale;
            s.own_delta.iter_mut().for_each(|x| *x *= scale);
        }
        trace::lap("attn_output");
        Ok(())
    }

    /// Makes queries, keys and values, or some of them, and turns them to their positions.
    fn make(&self, pass: &mut Pass<'_, '_>, parts: Parts) -> Result<()> {
        let n_tokens = pass.n_tokens();
        self.project(pass, n_tokens, parts);
        if self.spec.head_norm == HeadNorm::BeforeRope {
            self.normalize(pass, parts)?;
        }
        self.rotate(pass);
        if self.spec.head_norm != HeadNorm::BeforeRope {
            self.normalize(pass, parts)?;
        }
        Ok(())
    }

    /// Queries, keys and values, and the gate. Those that are not asked for are empty.
    fn project(&self, pass: &mut Pass<'_, '_>, n_tokens: usize, parts: Parts) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.heads;
        let readers = [
            &self.attn_q.weight,
            &self.attn_k.as_ref().unwrap_or(&self.attn_q).weight,
            &self.attn_v.as_ref().unwrap_or(&self.attn_q).weight,
            &self.attn_gate.as_ref().unwrap_or(&self.attn_q).weight,
        ];
        let input = quantized(&s.normed, &mut s.activations, readers);
        trace::lap("quantize");
        buffers.q.clear();
        buffers.k.clear();
        buffers.v.clear();
        if parts != Parts::Queries {
            if let Some(attn_k) = &self.attn_k {
                attn_k.apply(n_tokens, input, &mut buffers.k);
                trace::lap("attn_k");
            }
            match &self.attn_v {
                Some(attn_v) => attn_v.apply(n_tokens, input, &mut buffers.v),
                None => buffers.v.clone_from(&buffers.k),
            }
            trace::lap("attn_v");
        }
        if parts != Parts::KeysAndValues {
            self.attn_q.apply(n_tokens, input, &mut buffers.q);
            trace::lap("attn_q");
            self.project_gate(n_tokens, input, buffers);
        }
        if let Some(most) = self.spec.clamp {
            for x in [&mut buffers.q, &mut buffers.k, &mut buffers.v] {
                x.iter_mut().for_each(|x| *x = x.clamp(-most, most));
            }
        }
    }

    /// The gate, which may be beside the queries.
    fn project_gate(&self, n_tokens: usize, input: Input<'_>, buffers: &mut Buffers) {
        if let Some(attn_gate) = &self.attn_gate {
            attn_gate.apply(n_tokens, input, &mut buffers.gate);
            trace::lap("attn_gate");
        }
        if self.spec.gate == Some(AttentionGate::InQuery) {
            let head_dim = self.spec.head_dim;
            buffers.gate.clear();
            let n_heads = n_tokens * self.heads.len();
            for head in 0..n_heads {
                let both = 2 * head * head_dim;
                let gate = &buffers.q[both + head_dim..][..head_dim];
                buffers.gate.extend_from_slice(gate);
                buffers
                    .q
                    .copy_within(both..both + head_dim, head * head_dim);
            }
            buffers.q.truncate(n_heads * head_dim);
        }
    }

    /// Normalises queries and keys, as far as they are there.
    fn normalize(&self, pass: &mut Pass<'_, '_>, parts: Parts) -> Result<()> {
        let (has_queries, has_keys) = (parts != Parts::KeysAndValues, parts != Parts::Queries);
        let n_tokens = pass.n_tokens();
        let buffers = &mut pass.scratch.heads;
        let (head, all) = (&mut buffers.head, &mut buffers.all_heads);
        let head_dim = self.spec.head_dim;
        let queries = |place| self.spec.own_heads(place);
        let keys = |place| self.spec.own_kv_heads(place);
        if let Some(norm) = self.attn_q_norm.as_ref().filter(|_| has_queries) {
            let (x, n) = (&mut buffers.q, self.spec.n_heads);
            norm.apply(pass.group, x, [n_tokens, n, head_dim], queries, [head, all])?;
        }
        if let Some(norm) = self.attn_k_norm.as_ref().filter(|_| has_keys) {
            let (x, n) = (&mut buffers.k, self.spec.n_kv_heads);
            norm.apply(pass.group, x, [n_tokens, n, head_dim], keys, [head, all])?;
        }
        if let Some(norm) = self.value_norm.as_ref().filter(|_| has_keys) {
            let (x, shape) = (
                &mut buffers.v,
                [n_tokens, self.spec.n_kv_heads, self.spec.value_dim],
            );
            norm.apply(pass.group, x, shape, keys, [head, all])?;
        }
        Ok(())
    }

    /// Rotates queries and keys to their positions.
    fn rotate(&self, pass: &mut Pass<'_, '_>) {
        let buffers = &mut pass.scratch.heads;
        let rope = self.rope.map(|rope| pass.ropes.get(rope));
        let applies = |t: &Temperature| rope.is_none() || !t.without_rope_only;
        let temperature = self.spec.temperature.filter(applies);
        let head_dim = self.spec.head_dim;
        // Those that are not there have no width.
        let n_tokens = pass
            .batch
            .iter()
            .map(|span| span.tokens.len())
            .sum::<usize>();
        let (own, own_kv) = (buffers.q.len() / n_tokens, buffers.k.len() / n_tokens);
        let positions = pass.batch.iter().flat_map(|span| span.positions());
        for (t, position) in positions.enumerate() {
            let keys = &mut buffers.k[t * own_kv..][..own_kv];
            let queries = &mut buffers.q[t * own..][..own];
            if let Some(rope) = rope {
                let heads = keys.chunks_exact_mut(head_dim);
                for head in heads.chain(queries.chunks_exact_mut(head_dim)) {
                    rope.rotate(t, head);
                }
            }
            if let Some(temperature) = temperature {
                let factor = temperature.at(position);
                queries.iter_mut().for_each(|x| *x *= factor);
            }
        }
        trace::lap("rope");
    }

    /// Appends keys and values to the sequences' caches.
    fn cache(&self, pass: &mut Pass<'_, '_>) {
        if self.spec.shares.is_some() {
            return;
        }
        let buffers = &pass.scratch.heads;
        let n_heads = self.kv_heads.len();
        let (head_dim, value_dim) = (self.spec.head_dim, self.spec.value_dim);
        let mut keys = buffers.k.chunks_exact(head_dim);
        let mut values = buffers.v.chunks_exact(value_dim);
        for span in &mut *pass.batch {
            let positions = span.positions();
            let cache = span.state.kv(self.slot);
            cache.advance(positions.end);
            for position in positions {
                let heads = keys.by_ref().zip(values.by_ref()).take(n_heads);
                for (kv_head, (key, value)) in heads.enumerate() {
                    cache.set(kv_head, position, key, value);
                }
            }
        }
        trace::lap("cache");
    }

    /// The outputs of this instance's heads.
    fn attend(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let (head_dim, value_dim) = (self.spec.head_dim, self.spec.value_dim);
        let own = self.heads.len();
        s.heads.own_outputs.resize(n_tokens * own * value_dim, 0.0);
        let n_heads = self.spec.n_heads / self.spec.n_kv_heads;
        let mut t = 0;
        for span in &mut *pass.batch {
            let queries = Queries {
                position: span.position,
                all_keys: (!self.spec.is_causal).then_some(span.state.capacity()),
                n_tokens: span.tokens.len(),
                n_heads,
                stride: own * head_dim,
                out_stride: own * value_dim,
                scale: self.spec.scale,
                softcap: self.spec.softcap,
                window: self.spec.window,
            };
            let cache = span.state.kv(self.slot);
            for kv_head in 0..self.kv_heads.len() {
                let (layout, head) = cache.head(kv_head);
                let first = kv_head * n_heads;
                let per_head = PerHead {
                    slopes: self.slopes.as_ref().map(|x| &x[first..][..n_heads]),
                    sinks: self.attn_sinks.as_ref().map(|x| &x[first..][..n_heads]),
                };
                let q = &s.heads.q[(t * own + first) * head_dim..];
                let out = &mut s.heads.own_outputs[(t * own + first) * value_dim..];
                s.attention.attend(layout, head, queries, per_head, q, out);
            }
            t += span.tokens.len();
        }
        trace::lap("attention");
    }

    /// Multiplies the outputs by the gate.
    fn gate(&self, pass: &mut Pass<'_, '_>) {
        let Some(gate) = self.spec.gate else { return };
        let buffers = &mut pass.scratch.heads;
        let (gates, outputs) = (&buffers.gate, &mut buffers.own_outputs);
        if gates.is_empty() {
            return;
        }
        let dim = outputs.len() / gates.len();
        for (outputs, x) in outputs.chunks_exact_mut(dim).zip(gates) {
            let factor = match gate {
                AttentionGate::Sigmoid | AttentionGate::InQuery => 1.0 / (1.0 + (-x).exp()),
                AttentionGate::Softplus => softplus(*x),
            };
            outputs.iter_mut().for_each(|x| *x *= factor);
        }
        trace::lap("gate");
    }
}

impl HeadsNorm {
    fn load(
        loader: &mut Loader<'_>,
        name: &str,
        spec: &AttentionSpec,
        n_heads: usize,
        heads: &Range<usize>,
        norm: NormSpec,
    ) -> Result<Option<Self>> {
        let head_dim = spec.head_dim;
        let over_head = |norm| {
            let over = Over::Head;
            Ok(Some(Self { norm, over }))
        };
        if spec.head_norm == HeadNorm::Unweighted {
            return Ok(Some(Self::unweighted(head_dim, norm)));
        }
        let weight = format!("{name}.weight");
        let Some(shape) = loader.shape_of(&weight) else {
            return Ok(None);
        };
        match *shape {
            [n] if n == head_dim as u64 => over_head(Norm::load(loader, name, head_dim, norm)?),
            [_] => {
                let norm = Norm::load(loader, name, head_dim * n_heads, norm)?;
                let over = Over::Token;
                Ok(Some(Self { norm, over }))
            }
            [_, _] => {
                let all = loader.numbers(&weight, &[head_dim, n_heads])?;
                let own = all.chunks_exact(head_dim).skip(heads.start);
                let own = own.take(heads.len()).flatten().copied().collect();
                let norm = Norm::of(own, norm);
                let over = Over::OwnWeights;
                Ok(Some(Self { norm, over }))
            }
            _ => over_head(Norm::load(loader, name, head_dim, norm)?),
        }
    }

    /// The norm of each head, without weights.
    fn unweighted(head_dim: usize, norm: NormSpec) -> Self {
        Self {
            norm: Norm::of(vec![1.0; head_dim], norm),
            over: Over::Head,
        }
    }

    fn is_over_token(&self) -> bool {
        matches!(self.over, Over::Token)
    }

    /// Normalises `x`, `[T, own heads * D]`, in these `[T, n, D]`. `own` says which of `n` heads of width `head_dim` a place has.
    fn apply(
        &self,
        group: &dyn Group,
        x: &mut Vec<f32>,
        [n_tokens, n, head_dim]: [usize; 3],
        own: impl Fn(Place) -> Range<usize>,
        [head, all]: [&mut Vec<f32>; 2],
    ) -> Result<()> {
        match self.over {
            Over::Head | Over::OwnWeights => {
                self.norm.apply_in_place(head_dim, x, head);
            }
            Over::Token => {
                let columns = |place: Place| {
                    let heads = own(place);
                    heads.start * head_dim..heads.end * head_dim
                };
                let own = columns(Place::of(group));
                all.resize(n_tokens * n * head_dim, 0.0);
                gather_columns(group, x, n * head_dim, columns, all)?;
                x.clear();
                head.resize(n * head_dim, 0.0);
                for row in all.chunks_exact(n * head_dim) {
                    self.norm.row(row, head);
                    x.extend_from_slice(&head[own.clone()]);
                }
            }
        }
        trace::lap("head_norm");
        Ok(())
    }
}

//! Attention with rotary positions: `attn_output(attention(rope(attn_q(x)), rope(attn_k(x)), attn_v(x)))`.

use std::ops::Range;

use super::super::attention::Queries;
use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns};
use super::super::plan::AttentionSpec;
use super::super::rope::Ropes;
use super::super::weights::{Linear, Loader};
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

pub(super) struct Attention {
    spec: AttentionSpec,
    /// This instance's heads of queries, and of keys and values.
    heads: Range<usize>,
    kv_heads: Range<usize>,
    /// The number of its frequencies in [`Ropes`], if it rotates.
    rope: Option<usize>,
    /// `[H * D, E]`, this instance's heads; also for the next two.
    attn_q: Linear,
    attn_k: Linear,
    attn_v: Linear,
    /// `[D]`, shared by the heads.
    attn_q_norm: Option<Vec<f32>>,
    attn_k_norm: Option<Vec<f32>>,
    /// `[E, H * D]`
    attn_output: Linear,
}

/// The buffers of all layers of attention.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, own H * D]`, `[T, own kv heads * D]` twice.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// `[D]`: a normalised head.
    head: Vec<f32>,
    /// `[T, own H * D]`, and the same for all instances.
    own_outputs: Vec<f32>,
    outputs: Vec<f32>,
}

impl AttentionSpec {
    /// The heads of keys and values of an instance.
    pub(crate) fn own_kv_heads(&self, place: Place) -> Range<usize> {
        place.units(self.n_kv_heads)
    }

    /// The heads of queries of an instance: those that share its heads of keys and values.
    fn own_heads(&self, place: Place) -> Range<usize> {
        let (kv_heads, queries) = (self.own_kv_heads(place), self.n_heads / self.n_kv_heads);
        kv_heads.start * queries..kv_heads.end * queries
    }
}

impl Attention {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        ropes: &mut Ropes,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        spec: &AttentionSpec,
    ) -> Result<Self> {
        let (place, head_dim) = (loader.place, spec.head_dim);
        let (heads, kv_heads) = (spec.own_heads(place), spec.own_kv_heads(place));
        let q = heads.start * head_dim..heads.end * head_dim;
        let kv = kv_heads.start * head_dim..kv_heads.end * head_dim;
        let (n_q, n_kv) = (spec.n_heads * head_dim, spec.n_kv_heads * head_dim);
        let embd = place.rows(n_embd);
        Ok(Self {
            spec: spec.clone(),
            heads,
            kv_heads,
            rope: spec.rope.map(|rope| ropes.add(loader, rope)).transpose()?,
            attn_q: loader.linear(&name("attn_q"), [n_embd, n_q], &q)?,
            attn_k: loader.linear(&name("attn_k"), [n_embd, n_kv], &kv)?,
            attn_v: loader.linear(&name("attn_v"), [n_embd, n_kv], &kv)?,
            attn_q_norm: loader.optional_vector(&name("attn_q_norm.weight"), head_dim)?,
            attn_k_norm: loader.optional_vector(&name("attn_k_norm.weight"), head_dim)?,
            attn_output: loader.linear(&name("attn_output"), [n_q, n_embd], &embd)?,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let (n_q, head_dim) = (self.spec.n_heads * self.spec.head_dim, self.spec.head_dim);
        let own_kv = BATCH * self.kv_heads.len() * head_dim;
        let buffers = &mut scratch.heads;
        reserve(&mut buffers.q, BATCH * self.heads.len() * head_dim)?;
        reserve(&mut buffers.k, own_kv)?;
        reserve(&mut buffers.v, own_kv)?;
        reserve(&mut buffers.head, head_dim)?;
        // In a group of one, these two are swapped.
        reserve(&mut buffers.own_outputs, BATCH * n_q)?;
        reserve(&mut buffers.outputs, BATCH * n_q)?;
        scratch.activations.reserve(BATCH, n_q)
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>, l: usize) -> Result<()> {
        let n_tokens = pass.n_tokens();
        self.project(pass, n_tokens);
        self.rotate_and_cache(pass, l);
        self.attend(pass, l, n_tokens);

        let head_dim = self.spec.head_dim;
        let n_q = self.spec.n_heads * head_dim;
        let s = &mut *pass.scratch;
        let outputs = &mut s.heads.outputs;
        outputs.resize(n_tokens * n_q, 0.0);
        let columns = |place: Place| {
            let heads = self.spec.own_heads(place);
            heads.start * head_dim..heads.end * head_dim
        };
        let own_outputs = &mut s.heads.own_outputs;
        gather_columns(pass.group, own_outputs, n_q, columns, outputs)?;
        trace::lap("gather");
        let readers = [&self.attn_output.weight];
        let input = quantized(outputs, &mut s.activations, readers);
        trace::lap("quantize");
        self.attn_output.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("attn_output");
        Ok(())
    }

    /// Queries, keys and values, with their norms.
    fn project(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.heads;
        let readers = [
            &self.attn_q.weight,
            &self.attn_k.weight,
            &self.attn_v.weight,
        ];
        let input = quantized(&s.normed, &mut s.activations, readers);
        trace::lap("quantize");
        self.attn_q.apply(n_tokens, input, &mut buffers.q);
        trace::lap("attn_q");
        self.attn_k.apply(n_tokens, input, &mut buffers.k);
        trace::lap("attn_k");
        self.attn_v.apply(n_tokens, input, &mut buffers.v);
        trace::lap("attn_v");
        for (x, weight) in [
            (&mut buffers.q, &self.attn_q_norm),
            (&mut buffers.k, &self.attn_k_norm),
        ] {
            let Some(weight) = weight else { continue };
            buffers.head.resize(weight.len(), 0.0);
            for head in x.chunks_exact_mut(weight.len()) {
                kernels::rms_norm(head, weight, pass.norm_eps, &mut buffers.head);
                head.copy_from_slice(&buffers.head);
            }
        }
    }

    /// Rotates queries and keys to their positions, and appends keys and values to the sequences' caches.
    fn rotate_and_cache(&self, pass: &mut Pass<'_, '_>, l: usize) {
        let buffers = &mut pass.scratch.heads;
        let rope = self.rope.map(|rope| pass.ropes.get(rope));
        let head_dim = self.spec.head_dim;
        let (own, own_kv) = (self.heads.len() * head_dim, self.kv_heads.len() * head_dim);
        let mut t = 0;
        for span in &mut *pass.batch {
            let positions = span.positions();
            let cache = span.state.kv(l);
            for position in positions {
                let keys = &mut buffers.k[t * own_kv..][..own_kv];
                if let Some(rope) = rope {
                    let queries = &mut buffers.q[t * own..][..own];
                    let heads = keys.chunks_exact_mut(head_dim);
                    for head in heads.chain(queries.chunks_exact_mut(head_dim)) {
                        rope.rotate(t, head);
                    }
                }
                let values = &buffers.v[t * own_kv..][..own_kv];
                let keys = keys.chunks_exact(head_dim);
                let heads = keys.zip(values.chunks_exact(head_dim));
                for (kv_head, (key, value)) in heads.enumerate() {
                    cache.set(kv_head, position, key, value);
                }
                t += 1;
            }
        }
        trace::lap("rope");
    }

    /// The outputs of this instance's heads.
    fn attend(&self, pass: &mut Pass<'_, '_>, l: usize, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let head_dim = self.spec.head_dim;
        let own = self.heads.len() * head_dim;
        s.heads.own_outputs.resize(n_tokens * own, 0.0);
        let mut t = 0;
        for span in &mut *pass.batch {
            let queries = Queries {
                position: span.position,
                n_tokens: span.tokens.len(),
                n_heads: self.spec.n_heads / self.spec.n_kv_heads,
                stride: own,
                scale: self.spec.scale,
                softcap: self.spec.softcap,
                window: self.spec.window,
            };
            let cache = span.state.kv(l);
            for kv_head in 0..self.kv_heads.len() {
                let (layout, head) = cache.head(kv_head);
                let first = t * own + kv_head * queries.n_heads * head_dim;
                let (q, out) = (&s.heads.q[first..], &mut s.heads.own_outputs[first..]);
                s.attention.attend(layout, head, queries, q, out);
            }
            t += span.tokens.len();
        }
        trace::lap("attention");
    }
}

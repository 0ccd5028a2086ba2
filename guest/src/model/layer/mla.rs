//! Multi-head latent attention: keys and values are projections of one short vector. Source: DeepSeek-AI, 2024 (DeepSeek-V2).
//!
//! A key is that projection, which does not rotate, and a part that does and that all heads share. If the file has the
//! projections of keys and values apart (`attn_k_b`, `attn_v_b`), the former is applied to queries and the latter to
//! outputs: then the short vector itself is the key and the value of all heads, and each instance keeps it. Otherwise
//! (`attn_kv_b`) each head's keys and values are kept.

use std::ops::Range;

use super::super::attention::{PerHead, Queries};
use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns};
use super::super::plan::{MlaSpec, NormSpec};
use super::super::rope::Ropes;
use super::super::weights::{Linear, Loader, Matrices};
use super::norm::Norm;
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

pub(super) struct Mla {
    spec: MlaSpec,
    slot: usize,
    /// This instance's heads.
    heads: Range<usize>,
    rope: usize,
    /// `[q_rank, E]` and `[q_rank]`, if queries are projected in two steps.
    attn_q_a: Option<(Linear, Norm)>,
    /// `[H * (nope + rope), q_rank or E]`, this instance's heads.
    attn_q: Linear,
    /// `[kv_rank + rope, E]`
    attn_kv_a_mqa: Linear,
    /// `[kv_rank]`
    attn_kv_a_norm: Norm,
    keys_values: KeysValues,
    /// `[E, H * value_dim]`
    attn_output: Linear,
}

enum KeysValues {
    /// For each of this instance's heads: `[kv_rank, nope]` and `[value_dim, kv_rank]`.
    Absorbed {
        attn_k_b: Matrices,
        attn_v_b: Matrices,
    },
    /// `[H * (nope + value_dim), kv_rank]`, this instance's heads.
    Kept { attn_kv_b: Linear },
}

/// The buffers of all layers of latent attention.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, q_rank]`, before and after its norm.
    q_a: Vec<f32>,
    /// `[T, kv_rank]`: the short vectors.
    latent: Vec<f32>,
    /// `[T, own heads * (nope + rope)]`
    q: Vec<f32>,
    /// `[T, kv_rank + rope]`, `[T, own heads * (nope + value_dim)]`
    kv_a: Vec<f32>,
    kv: Vec<f32>,
    /// `[T, own heads, D]`: queries as the keys are kept.
    queries: Vec<f32>,
    /// `[T, own heads, width of a kept value]`
    attended: Vec<f32>,
    /// One head's rows, and a product of them.
    rows: Vec<f32>,
    products: Vec<f32>,
    key: Vec<f32>,
    /// `[T, own heads * value_dim]`, and the same for all instances.
    own_outputs: Vec<f32>,
    outputs: Vec<f32>,
}

impl MlaSpec {
    /// The width of a kept key.
    pub(crate) fn kept_key_dim(&self) -> usize {
        self.rope.dims
            + match self.is_absorbed {
                true => self.kv_rank,
                false => self.nope,
            }
    }

    /// The width of a kept value.
    pub(crate) fn kept_value_dim(&self) -> usize {
        match self.is_absorbed {
            true => self.kv_rank,
            false => self.value_dim,
        }
    }

    /// The columns of a place's outputs.
    fn own_columns(&self, place: Place) -> Range<usize> {
        let heads = place.units(self.n_heads);
        heads.start * self.value_dim..heads.end * self.value_dim
    }
}

impl Mla {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        ropes: &mut Ropes,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        spec: &MlaSpec,
        norm: NormSpec,
    ) -> Result<Self> {
        let heads = loader.place.units(spec.n_heads);
        let wide = |dim: usize| heads.start * dim..heads.end * dim;
        let (n, nope, rank) = (spec.n_heads, spec.nope, spec.kv_rank);
        let key_dim = nope + spec.rope.dims;
        let q_rows = wide(key_dim);
        let (attn_q_a, attn_q) = match spec.q_rank {
            None => {
                let shape = [n_embd, n * key_dim];
                (None, loader.linear(&name("attn_q"), shape, &q_rows)?)
            }
            Some(q_rank) => {
                let a = loader.linear(&name("attn_q_a"), [n_embd, q_rank], &(0..q_rank))?;
                let norm = Norm::load(loader, &name("attn_q_a_norm"), q_rank, norm)?;
                let shape = [q_rank, n * key_dim];
                let b = loader.linear(&name("attn_q_b"), shape, &q_rows)?;
                (Some((a, norm)), b)
            }
        };
        let n_kv_a = rank + spec.rope.dims;
        let keys_values = match spec.is_absorbed {
            true => KeysValues::Absorbed {
                attn_k_b: loader.some_matrices(&name("attn_k_b"), [nope, rank, n], &heads)?,
                attn_v_b: loader.some_matrices(
                    &name("attn_v_b"),
                    [rank, spec.value_dim, n],
                    &heads,
                )?,
            },
            false => {
                let dim = nope + spec.value_dim;
                KeysValues::Kept {
                    attn_kv_b: loader.linear(&name("attn_kv_b"), [rank, n * dim], &wide(dim))?,
                }
            }
        };
        let embd = loader.place.rows(n_embd);
        let n_out = n * spec.value_dim;
        Ok(Self {
            slot: loader.next_slot(),
            rope: ropes.add(loader, spec.rope)?,
            attn_q_a,
            attn_q,
            attn_kv_a_mqa: loader.linear(&name("attn_kv_a_mqa"), [n_embd, n_kv_a], &(0..n_kv_a))?,
            attn_kv_a_norm: Norm::load(loader, &name("attn_kv_a_norm"), rank, norm)?,
            keys_values,
            attn_output: loader.linear(&name("attn_output"), [n_out, n_embd], &embd)?,
            spec: *spec,
            heads,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let spec = &self.spec;
        let (head_dim, value_dim) = (spec.kept_key_dim(), spec.kept_value_dim());
        let q_rank = spec.q_rank.unwrap_or(0);
        let own = BATCH * self.heads.len();
        let n_out = BATCH * spec.n_heads * spec.value_dim;
        let widest = head_dim.max(value_dim).max(spec.value_dim);
        let buffers = &mut scratch.latent;
        for (buffer, n) in [
            (&mut buffers.q_a, BATCH * q_rank),
            (&mut buffers.latent, BATCH * spec.kv_rank.max(q_rank)),
            (&mut buffers.q, own * (spec.nope + spec.rope.dims)),
            (&mut buffers.kv_a, BATCH * (spec.kv_rank + spec.rope.dims)),
            (&mut buffers.kv, own * (spec.nope + spec.value_dim)),
            (&mut buffers.queries, own * head_dim),
            (&mut buffers.attended, own * value_dim),
            (&mut buffers.rows, BATCH * widest),
            (&mut buffers.products, BATCH * widest),
            (&mut buffers.key, head_dim),
            // In a group of one, these two are swapped.
            (&mut buffers.own_outputs, n_out),
            (&mut buffers.outputs, n_out),
        ] {
            reserve(buffer, n)?;
        }
        let widest = widest.max(q_rank).max(spec.n_heads * spec.value_dim);
        scratch.activations.reserve(BATCH, widest)
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        self.project(pass, n_tokens);
        self.rotate(pass);
        match &self.keys_values {
            KeysValues::Absorbed { attn_k_b, .. } => self.absorb(pass, attn_k_b),
            KeysValues::Kept { attn_kv_b } => self.expand(pass, attn_kv_b, n_tokens),
        }
        self.attend(pass, n_tokens);
        self.outputs(pass);

        let s = &mut *pass.scratch;
        let buffers = &mut s.latent;
        let n_out = self.spec.n_heads * self.spec.value_dim;
        buffers.outputs.resize(n_tokens * n_out, 0.0);
        let columns = |place: Place| self.spec.own_columns(place);
        let (own, all) = (&mut buffers.own_outputs, &mut buffers.outputs);
        gather_columns(pass.group, own, n_out, columns, all)?;
        trace::lap("gather");
        let input = quantized(all, &mut s.activations, [&self.attn_output.weight]);
        self.attn_output.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("attn_output");
        Ok(())
    }

    /// Queries, the short vectors, and the shared parts of keys.
    fn project(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.latent;
        let first = self.attn_q_a.as_ref().map_or(&self.attn_q, |(a, _)| a);
        let readers = [&first.weight, &self.attn_kv_a_mqa.weight];
        let input = quantized(&s.normed, &mut s.activations, readers);
        self.attn_kv_a_mqa.apply(n_tokens, input, &mut buffers.kv_a);
        match &self.attn_q_a {
            None => self.attn_q.apply(n_tokens, input, &mut buffers.q),
            Some((a, norm)) => {
                a.apply(n_tokens, input, &mut buffers.q_a);
                norm.apply(&buffers.q_a, &mut buffers.latent);
                let readers = [&self.attn_q.weight];
                let input = quantized(&buffers.latent, &mut s.activations, readers);
                self.attn_q.apply(n_tokens, input, &mut buffers.q);
            }
        }
        trace::lap("attn_q");
        let rank = self.spec.kv_rank;
        buffers.latent.resize(n_tokens * rank, 0.0);
        let rows = buffers.kv_a.chunks_exact(rank + self.spec.rope.dims);
        for (row, latent) in rows.zip(buffers.latent.chunks_exact_mut(rank)) {
            self.attn_kv_a_norm.row(&row[..rank], latent);
        }
        trace::lap("attn_kv_a");
    }

    /// Rotates the parts of queries and keys that rotate.
    fn rotate(&self, pass: &mut Pass<'_, '_>) {
        let buffers = &mut pass.scratch.latent;
        let rope = pass.ropes.get(self.rope);
        let (nope, rank, dims) = (self.spec.nope, self.spec.kv_rank, self.spec.rope.dims);
        let own = self.heads.len() * (nope + dims);
        let positions = pass.batch.iter().flat_map(|span| span.positions());
        for (t, position) in positions.enumerate() {
            let queries = &mut buffers.q[t * own..][..own];
            for query in queries.chunks_exact_mut(nope + dims) {
                rope.rotate(t, &mut query[nope..]);
            }
            rope.rotate(t, &mut buffers.kv_a[t * (rank + dims) + rank..][..dims]);
            if let Some(temperature) = self.spec.temperature {
                let factor = temperature.at(position);
                queries.iter_mut().for_each(|x| *x *= factor);
            }
        }
        trace::lap("rope");
    }

    /// Makes queries for the short vectors, and keeps those.
    fn absorb(&self, pass: &mut Pass<'_, '_>, attn_k_b: &Matrices) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.latent;
        let (nope, rank, dims) = (self.spec.nope, self.spec.kv_rank, self.spec.rope.dims);
        let n_own = self.heads.len();
        buffers
            .queries
            .resize(buffers.q.len() / (nope + dims).max(1) * (rank + dims), 0.0);
        for h in 0..n_own {
            buffers.rows.clear();
            let heads = || (h..).step_by(n_own);
            let queries = buffers.q.chunks_exact(nope + dims).skip(h).step_by(n_own);
            queries.for_each(|query| buffers.rows.extend_from_slice(&query[..nope]));
            let n_tokens = buffers.rows.len() / nope.max(1);
            buffers.products.resize(n_tokens * rank, 0.0);
            let matrix = attn_k_b.rows(h);
            let types = [matrix.ty].into_iter();
            let input = s.activations.quantize(&buffers.rows, nope, types);
            kernels::matmul(matrix, input.rows, &mut buffers.products);
            for (product, head) in buffers.products.chunks_exact(rank).zip(heads()) {
                let query = &mut buffers.queries[head * (rank + dims)..][..rank + dims];
                query[..rank].copy_from_slice(product);
                let rotated = &buffers.q[head * (nope + dims) + nope..][..dims];
                query[rank..].copy_from_slice(rotated);
            }
        }
        buffers.key.resize(rank + dims, 0.0);
        let mut tokens = buffers
            .latent
            .chunks_exact(rank)
            .zip(buffers.kv_a.chunks_exact(rank + dims));
        for span in &mut *pass.batch {
            let positions = span.positions();
            let cache = span.state.kv(self.slot);
            for (position, (latent, kv_a)) in positions.zip(tokens.by_ref()) {
                buffers.key[..rank].copy_from_slice(latent);
                buffers.key[rank..].copy_from_slice(&kv_a[rank..]);
                cache.set(0, position, &buffers.key, latent);
            }
        }
        trace::lap("attn_k_b");
    }

    /// Makes keys and values of the short vectors, and keeps these.
    fn expand(&self, pass: &mut Pass<'_, '_>, attn_kv_b: &Linear, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.latent;
        let (nope, rank, dims) = (self.spec.nope, self.spec.kv_rank, self.spec.rope.dims);
        let value_dim = self.spec.value_dim;
        let input = quantized(&buffers.latent, &mut s.activations, [&attn_kv_b.weight]);
        attn_kv_b.apply(n_tokens, input, &mut buffers.kv);
        buffers.queries.clone_from(&buffers.q);
        buffers.key.resize(nope + dims, 0.0);
        let n_own = self.heads.len();
        let mut heads = buffers.kv.chunks_exact(nope + value_dim);
        let mut shared = buffers.kv_a.chunks_exact(rank + dims);
        for span in &mut *pass.batch {
            let positions = span.positions();
            let cache = span.state.kv(self.slot);
            for (position, kv_a) in positions.zip(shared.by_ref()) {
                buffers.key[nope..].copy_from_slice(&kv_a[rank..]);
                for (h, head) in heads.by_ref().take(n_own).enumerate() {
                    buffers.key[..nope].copy_from_slice(&head[..nope]);
                    cache.set(h, position, &buffers.key, &head[nope..]);
                }
            }
        }
        trace::lap("attn_kv_b");
    }

    fn attend(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let n_own = self.heads.len();
        let (head_dim, value_dim) = (self.spec.kept_key_dim(), self.spec.kept_value_dim());
        s.latent.attended.resize(n_tokens * n_own * value_dim, 0.0);
        if n_own == 0 {
            return;
        }
        let (n_kv_heads, n_heads) = match self.spec.is_absorbed {
            true => (1, n_own),
            false => (n_own, 1),
        };
        let mut t = 0;
        for span in &mut *pass.batch {
            let queries = Queries {
                position: span.position,
                all_keys: None,
                n_tokens: span.tokens.len(),
                n_heads,
                stride: n_own * head_dim,
                out_stride: n_own * value_dim,
                scale: self.spec.scale,
                softcap: None,
                window: None,
            };
            let cache = span.state.kv(self.slot);
            for kv_head in 0..n_kv_heads {
                let (layout, head) = cache.head(kv_head);
                let first = t * n_own + kv_head * n_heads;
                let q = &s.latent.queries[first * head_dim..];
                let out = &mut s.latent.attended[first * value_dim..];
                s.attention
                    .attend(layout, head, queries, PerHead::default(), q, out);
            }
            t += span.tokens.len();
        }
        trace::lap("attention");
    }

    /// The outputs of this instance's heads.
    fn outputs(&self, pass: &mut Pass<'_, '_>) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.latent;
        let KeysValues::Absorbed { attn_v_b, .. } = &self.keys_values else {
            std::mem::swap(&mut buffers.attended, &mut buffers.own_outputs);
            return;
        };
        let (rank, value_dim, n_own) = (self.spec.kv_rank, self.spec.value_dim, self.heads.len());
        let n = buffers.attended.len() / rank;
        buffers.own_outputs.resize(n * value_dim, 0.0);
        for h in 0..n_own {
            buffers.rows.clear();
            let attended = buffers.attended.chunks_exact(rank).skip(h).step_by(n_own);
            attended.for_each(|row| buffers.rows.extend_from_slice(row));
            let n_tokens = buffers.rows.len() / rank;
            buffers.products.resize(n_tokens * value_dim, 0.0);
            let matrix = attn_v_b.rows(h);
            let types = [matrix.ty].into_iter();
            let input = s.activations.quantize(&buffers.rows, rank, types);
            kernels::matmul(matrix, input.rows, &mut buffers.products);
            let outputs = buffers.own_outputs.chunks_exact_mut(value_dim).skip(h);
            let outputs = outputs.step_by(n_own);
            for (out, product) in outputs.zip(buffers.products.chunks_exact(value_dim)) {
                out.copy_from_slice(product);
            }
        }
        trace::lap("attn_v_b");
    }
}

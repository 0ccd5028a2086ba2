//! Linear attention by the gated delta rule. Source: Yang et al., 2024; Qwen Team, 2025 (Qwen3-Next).
//!
//! A head keeps a matrix of `[D, D]` numbers, from keys to values. With a token's query q, key k (both of length 1), value
//! v, decay g and rate beta: the matrix decays by g; its value for k is corrected by beta of its difference to v; the
//! output is its value for `q / sqrt(D)`, normalised, times a gate. An instance has some heads of values, and computes all
//! queries and keys.

use std::ops::Range;

use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns};
use super::super::plan::{DeltaNetSpec, KeySharing, NormSpec};
use super::super::weights::{Linear, Loader};
use super::activation::softplus;
use super::conv::Conv;
use super::norm::Norm;
use super::{Pass, Scratch, activation, quantized};
use crate::error::Result;
use crate::kernels;
use crate::trace;

pub(super) struct DeltaNet {
    spec: DeltaNetSpec,
    slot: usize,
    /// This instance's heads of values.
    heads: Range<usize>,
    /// `[2 * key heads * D, E]`, all queries and keys.
    queries_keys: Linear,
    /// `[own heads * D, E]`
    values: Linear,
    /// `[own heads * D, E]`
    attn_gate: Linear,
    rates: Rates,
    queries_keys_conv: Conv,
    values_conv: Conv,
    /// `[own heads]`
    ssm_dt: Vec<f32>,
    ssm_a: Vec<f32>,
    /// `[D]`: of a head's output.
    ssm_norm: Norm,
    /// For the lengths of queries and keys.
    unit_norm: Norm,
    /// `[E, heads * D]`
    ssm_out: Linear,
}

/// The projections of decay and rate.
enum Rates {
    /// `[own heads, E]` each.
    Apart { beta: Linear, alpha: Linear },
    /// `[2 * heads, E]`, all: for each head of keys, beta of its heads of values, then alpha.
    Together(Linear),
}

impl DeltaNetSpec {
    /// The columns of a place's heads of values.
    fn own_columns(&self, place: Place) -> Range<usize> {
        let heads = place.units(self.n_value_heads);
        heads.start * self.head_dim..heads.end * self.head_dim
    }

    /// The head of keys that a head of values shares.
    fn key_head(&self, head: usize) -> usize {
        match self.sharing {
            KeySharing::Neighbours => head / (self.n_value_heads / self.n_key_heads),
            KeySharing::Remainders => head % self.n_key_heads,
        }
    }
}

impl DeltaNet {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        spec: &DeltaNetSpec,
        norm: NormSpec,
    ) -> Result<Self> {
        let dim = spec.head_dim;
        let (n_qk, n_v) = (2 * spec.n_key_heads * dim, spec.n_value_heads * dim);
        let heads = loader.place.units(spec.n_value_heads);
        let own = spec.own_columns(loader.place);
        let own_values = n_qk + own.start..n_qk + own.end;
        let qkv = name("attn_qkv");
        let shape = [n_embd, n_qk + n_v];
        let queries_keys = loader.linear(&qkv, shape, &(0..n_qk))?;
        let values = loader.linear(&qkv, shape, &own_values)?;
        let both = name("ssm_ba");
        let n = spec.n_value_heads;
        let rates = match loader.has(&format!("{both}.weight")) {
            true => Rates::Together(loader.linear(&both, [n_embd, 2 * n], &(0..2 * n))?),
            false => Rates::Apart {
                beta: loader.linear(&name("ssm_beta"), [n_embd, n], &heads)?,
                alpha: loader.linear(&name("ssm_alpha"), [n_embd, n], &heads)?,
            },
        };
        let taps = name("ssm_conv1d");
        let shape = [spec.d_conv, n_qk + n_v];
        let unit = NormSpec {
            eps: norm.eps / dim as f32,
            ..norm
        };
        let own_of = |all: Vec<f32>| all[heads.clone()].to_vec();
        let embd = loader.place.rows(n_embd);
        Ok(Self {
            slot: loader.next_slot(),
            queries_keys,
            values,
            attn_gate: loader.linear(&name("attn_gate"), [n_embd, n_v], &own)?,
            rates,
            queries_keys_conv: Conv::load(loader, &taps, shape, &(0..n_qk))?,
            values_conv: Conv::load(loader, &taps, shape, &own_values)?,
            ssm_dt: own_of(loader.vector(&name("ssm_dt.bias"), n)?),
            ssm_a: own_of(loader.vector(&name("ssm_a"), n)?),
            ssm_norm: Norm::load(loader, &name("ssm_norm"), dim, norm)?,
            unit_norm: Norm::of(vec![1.0 / (dim as f32).sqrt(); dim], unit),
            ssm_out: loader.linear(&name("ssm_out"), [n_v, n_embd], &embd)?,
            spec: *spec,
            heads,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let dim = self.spec.head_dim;
        let widest = (2 * self.spec.n_key_heads * dim).max(self.spec.n_value_heads * dim);
        scratch.recurrent.reserve(BATCH * widest)?;
        scratch.activations.reserve(BATCH, widest)
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        self.project(pass, n_tokens);
        self.convolve(pass);
        self.update(pass);

        let s = &mut *pass.scratch;
        let buffers = &mut s.recurrent;
        let dim = self.spec.head_dim;
        // The gates in `c`, the normalised outputs in `b`.
        self.ssm_norm
            .apply_in_place(dim, &mut buffers.b, &mut buffers.row);
        kernels::swiglu(&mut buffers.c, &buffers.b);
        let n = self.spec.n_value_heads * dim;
        buffers.out.resize(n_tokens * n, 0.0);
        let columns = |place: Place| self.spec.own_columns(place);
        gather_columns(pass.group, &mut buffers.c, n, columns, &mut buffers.out)?;
        trace::lap("gather");
        let input = quantized(&buffers.out, &mut s.activations, [&self.ssm_out.weight]);
        self.ssm_out.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("ssm_out");
        Ok(())
    }

    /// Queries and keys in `a`, values in `b`, gates in `c`, and in `d`, `[T, own heads, 2]`, rates and decays.
    fn project(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.recurrent;
        let readers = [
            &self.queries_keys.weight,
            &self.values.weight,
            &self.attn_gate.weight,
            match &self.rates {
                Rates::Apart { beta, .. } => &beta.weight,
                Rates::Together(both) => &both.weight,
            },
            match &self.rates {
                Rates::Apart { alpha, .. } => &alpha.weight,
                Rates::Together(both) => &both.weight,
            },
        ];
        let input = quantized(&s.normed, &mut s.activations, readers);
        let n_heads = self.heads.len();
        match &self.rates {
            Rates::Apart { beta, alpha } => {
                beta.apply(n_tokens, input, &mut buffers.a);
                alpha.apply(n_tokens, input, &mut buffers.b);
            }
            Rates::Together(both) => {
                both.apply(n_tokens, input, &mut buffers.c);
                buffers.a.clear();
                buffers.b.clear();
                let n_shared = self.spec.n_value_heads / self.spec.n_key_heads;
                for row in buffers.c.chunks_exact(2 * self.spec.n_value_heads) {
                    for head in self.heads.clone() {
                        let at = head / n_shared * 2 * n_shared + head % n_shared;
                        buffers.a.push(row[at]);
                        buffers.b.push(row[at + n_shared]);
                    }
                }
            }
        }
        buffers.d.clear();
        for (i, (beta, alpha)) in buffers.a.iter().zip(&buffers.b).enumerate() {
            let head = i % n_heads;
            let rate = 1.0 / (1.0 + (-beta).exp());
            let decay = (softplus(alpha + self.ssm_dt[head]) * self.ssm_a[head]).exp();
            buffers.d.extend([rate, decay]);
        }
        trace::lap("ssm_rates");
        self.queries_keys.apply(n_tokens, input, &mut buffers.a);
        self.values.apply(n_tokens, input, &mut buffers.b);
        trace::lap("attn_qkv");
        self.attn_gate.apply(n_tokens, input, &mut buffers.c);
        trace::lap("attn_gate");
    }

    /// Convolves queries, keys and values, and makes queries and keys 1 long. Positions advance here.
    fn convolve(&self, pass: &mut Pass<'_, '_>) {
        let buffers = &mut pass.scratch.recurrent;
        let dim = self.spec.head_dim;
        let (n_qk, own) = (2 * self.spec.n_key_heads * dim, self.heads.len() * dim);
        let kept = self.spec.d_conv - 1;
        let mut t = 0;
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot).advance(span.position, n);
            let (keys, rest) = state.split_at_mut(n_qk * kept);
            for t in t..t + n {
                let row = &mut buffers.a[t * n_qk..][..n_qk];
                self.queries_keys_conv.step(keys, row);
                let row = &mut buffers.b[t * own..][..own];
                self.values_conv.step(&mut rest[..own * kept], row);
            }
            t += n;
        }
        activation::silu(&mut buffers.a);
        activation::silu(&mut buffers.b);
        self.unit_norm
            .apply_in_place(dim, &mut buffers.a, &mut buffers.row);
        trace::lap("ssm_conv1d");
    }

    /// Replaces the values in `b` by the outputs.
    fn update(&self, pass: &mut Pass<'_, '_>) {
        let buffers = &mut pass.scratch.recurrent;
        let dim = self.spec.head_dim;
        let n_key_heads = self.spec.n_key_heads;
        let (n_qk, n_heads) = (2 * n_key_heads * dim, self.heads.len());
        let scale = 1.0 / (dim as f32).sqrt();
        let row = &mut buffers.row;
        row.resize(dim, 0.0);
        let mut tokens = buffers
            .a
            .chunks_exact(n_qk)
            .zip(buffers.b.chunks_exact_mut((n_heads * dim).max(1)))
            .zip(buffers.d.chunks_exact((2 * n_heads).max(1)));
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot).numbers();
            // After what the convolutions keep.
            let states = state.len() - n_heads * dim * dim;
            let states = &mut state[states..];
            for ((queries_keys, values), rates) in tokens.by_ref().take(n) {
                let (queries, keys) = queries_keys.split_at(n_key_heads * dim);
                let heads = values.chunks_exact_mut(dim).zip(rates.as_chunks().0);
                for (h, (value, &[rate, decay])) in heads.enumerate() {
                    let key_head = self.spec.key_head(self.heads.start + h) * dim;
                    let query = &queries[key_head..][..dim];
                    let key = &keys[key_head..][..dim];
                    let matrix = &mut states[h * dim * dim..][..dim * dim];
                    // What the matrix has for the key.
                    row.fill(0.0);
                    for (m, k) in matrix.chunks_exact_mut(dim).zip(key) {
                        for (m, sum) in m.iter_mut().zip(&mut *row) {
                            *m *= decay;
                            *sum += *m * k;
                        }
                    }
                    for (x, value) in row.iter_mut().zip(&*value) {
                        *x = (value - *x) * rate;
                    }
                    value.fill(0.0);
                    let rows = matrix.chunks_exact_mut(dim).zip(key).zip(query);
                    for ((m, k), q) in rows {
                        let q = q * scale;
                        for ((m, correction), out) in m.iter_mut().zip(&*row).zip(&mut *value) {
                            *m += k * correction;
                            *out += *m * q;
                        }
                    }
                }
            }
        }
        trace::lap("delta_rule");
    }
}

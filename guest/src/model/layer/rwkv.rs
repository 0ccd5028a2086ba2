//! RWKV 7: linear attention whose memory forgets, and unlearns what it is about to replace. Source: Peng et al., 2025.
//!
//! A head keeps a matrix of `[D, D]` numbers, from keys to values. With a token's receptance r, decay w, key k, value v,
//! the direction kk of its key and its rate a: each column of the matrix decays by w; what the matrix has for kk is
//! taken out at the rate a, and k with v put in; the output is what it then has for r. What goes into each projection is
//! a mix of the token and the one before it. An instance has some heads, and computes the narrow projections of all.

use std::ops::Range;

use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns};
use super::super::plan::{ChannelMixSpec, TimeMixSpec};
use super::super::weights::{Linear, Loader, Matrix};
use super::{Activations, Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

/// The scale of a decay's exponent: `exp(-1/2)`, with the digits of the reference.
const DECAY: f32 = -0.606_531;
/// Added to the variance of a head's outputs.
const HEAD_EPS: f32 = 64e-5;
/// The least length that a key is divided by.
const LEAST_LENGTH: f32 = 1e-12;

/// A layer's attention.
pub(super) struct TimeMix {
    spec: TimeMixSpec,
    slot: usize,
    /// This instance's channels.
    own: Range<usize>,
    n_embd: usize,
    /// `[5 or 6, E]`: how much of the token before goes into receptance, decay, key, value, rate and gate.
    lerp: Vec<f32>,
    /// `[own, E]`
    receptance: Linear,
    key: Linear,
    value: Linear,
    decay: Narrow,
    rate: Narrow,
    /// How much of the first layer's value a later one takes.
    residual: Option<Narrow>,
    gate: Option<Narrow>,
    /// `[own]`: factors of a key's direction, of its correction, and of what a token adds to its own output.
    k_k: Vec<f32>,
    k_a: Vec<f32>,
    r_k: Vec<f32>,
    /// `[own]`: of the outputs, each head by itself.
    ln: Option<[Vec<f32>; 2]>,
    /// `[E, E]`
    output: Linear,
}

/// A projection through a narrow layer.
struct Narrow {
    /// `[rank, E]`, all rows.
    down: Matrix,
    /// `[own, rank]`
    up: Matrix,
    /// `[own]`: added to the result.
    bias: Option<Vec<f32>>,
}

/// A layer's feed-forward network: `value(relu(key(x))^2)`, where x is a mix with the token before.
pub(super) struct ChannelMix {
    spec: ChannelMixSpec,
    /// The state of the layer's [`TimeMix`], whose last part is the token before.
    slot: usize,
    n_embd: usize,
    /// `[E]`
    lerp: Vec<f32>,
    /// `[F, E]`
    key: Linear,
    /// `[E, F]`
    value: Linear,
}

/// The buffers of all such layers.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, E]`: each token's difference to the one before, and what goes into a projection.
    difference: Vec<f32>,
    mixed: Vec<f32>,
    /// `[T, rank]`
    narrow: Vec<f32>,
    /// `[T, own]` each.
    receptance: Vec<f32>,
    decay: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    rate: Vec<f32>,
    gate: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    /// `[T, own]`: the first layer's.
    first_value: Vec<f32>,
    /// `[T, E]`, `[T, F]`
    out: Vec<f32>,
}

impl TimeMixSpec {
    /// The channels of a place.
    fn own(&self, place: Place) -> Range<usize> {
        let heads = place.units(self.n_heads);
        heads.start * self.head_dim..heads.end * self.head_dim
    }
}

impl Narrow {
    fn load(
        loader: &mut Loader<'_>,
        name: impl Fn(&str) -> String,
        part: char,
        [n_embd, rank]: [usize; 2],
        own: &Range<usize>,
    ) -> Result<Self> {
        let tensor = |n: u8| name(&format!("time_mix_{part}{n}"));
        let bias = loader.optional_vector(&format!("{}.weight", tensor(0)), n_embd)?;
        Ok(Self {
            down: loader.matrix(&tensor(1), [n_embd, rank], 0..rank)?,
            up: loader.matrix(&tensor(2), [rank, n_embd], own.clone())?,
            bias: bias.map(|bias| bias[own.clone()].to_vec()),
        })
    }

    /// `out = up(bend(down(s.rwkv.mixed))) + bias`.
    fn apply(
        &self,
        s: &mut Scratch,
        bend: impl Fn(f32) -> f32,
        out: impl Fn(&mut Buffers) -> &mut Vec<f32>,
    ) {
        let n_tokens = s.rwkv.mixed.len() / s.n_embd;
        let mut narrow = std::mem::take(&mut s.rwkv.narrow);
        product(
            &self.down,
            n_tokens,
            &s.rwkv.mixed,
            &mut s.activations,
            &mut narrow,
        );
        narrow.iter_mut().for_each(|x| *x = bend(*x));
        let out = out(&mut s.rwkv);
        product(&self.up, n_tokens, &narrow, &mut s.activations, out);
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(bias.len().max(1)) {
                row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
            }
        }
        s.rwkv.narrow = narrow;
    }
}

fn product(
    matrix: &Matrix,
    n_tokens: usize,
    x: &[f32],
    activations: &mut Activations,
    out: &mut Vec<f32>,
) {
    out.resize(n_tokens * matrix.n_rows(), 0.0);
    let input = quantized(x, activations, [matrix]);
    kernels::matmul(matrix.rows(), input.rows, out);
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl TimeMix {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String + Copy,
        spec: &TimeMixSpec,
    ) -> Result<Self> {
        let slot = loader.next_slot();
        let own = spec.own(loader.place);
        let square = [n_embd, n_embd];
        let own_of = |all: Vec<f32>| all[own.clone()].to_vec();
        let n_lerps = if spec.gate_rank.is_some() { 6 } else { 5 };
        let lerp = name("time_mix_lerp_fused.weight");
        let residual = match spec.residual_rank {
            // The first layer has the tensors, but there is nothing before it.
            None => {
                for tensor in ["time_mix_v0", "time_mix_v1", "time_mix_v2"] {
                    loader.skip(&name(&format!("{tensor}.weight")));
                }
                None
            }
            Some(rank) => Some(Narrow::load(loader, name, 'v', [n_embd, rank], &own)?),
        };
        let gate = match spec.gate_rank {
            None => None,
            Some(rank) => Some(Narrow::load(loader, name, 'g', [n_embd, rank], &own)?),
        };
        let ln = loader.optional_vector(&name("time_mix_ln.weight"), n_embd)?;
        let ln_bias = loader.optional_vector(&name("time_mix_ln.bias"), n_embd)?;
        let embd = loader.place.rows(n_embd);
        Ok(Self {
            slot,
            lerp: loader.numbers(&lerp, &[n_embd, 1, 1, n_lerps])?,
            receptance: loader.linear(&name("time_mix_receptance"), square, &own)?,
            key: loader.linear(&name("time_mix_key"), square, &own)?,
            value: loader.linear(&name("time_mix_value"), square, &own)?,
            decay: Narrow::load(loader, name, 'w', [n_embd, spec.decay_rank], &own)?,
            rate: Narrow::load(loader, name, 'a', [n_embd, spec.rate_rank], &own)?,
            residual,
            gate,
            k_k: own_of(loader.vector(&name("time_mix_k_k.weight"), n_embd)?),
            k_a: own_of(loader.vector(&name("time_mix_k_a.weight"), n_embd)?),
            r_k: own_of(loader.vector(&name("time_mix_r_k.weight"), n_embd)?),
            ln: ln
                .zip(ln_bias)
                .map(|(weight, bias)| [own_of(weight), own_of(bias)]),
            output: loader.linear(&name("time_mix_output"), square, &embd)?,
            own,
            n_embd,
            spec: *spec,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let ranks = [
            Some(self.spec.decay_rank),
            Some(self.spec.rate_rank),
            self.spec.residual_rank,
            self.spec.gate_rank,
        ];
        let rank = ranks.into_iter().flatten().max().unwrap_or(0);
        let b = &mut scratch.rwkv;
        reserve(&mut b.narrow, BATCH * rank)?;
        for buffer in [&mut b.difference, &mut b.mixed, &mut b.out] {
            reserve(buffer, BATCH * self.n_embd)?;
        }
        for buffer in [
            &mut b.receptance,
            &mut b.decay,
            &mut b.key,
            &mut b.value,
            &mut b.rate,
            &mut b.gate,
            &mut b.residual,
            &mut b.direction,
            &mut b.first_value,
        ] {
            // In a group of one, the outputs are swapped with those of all.
            reserve(buffer, BATCH * self.n_embd)?;
        }
        scratch.activations.reserve(BATCH, self.n_embd.max(rank))
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        self.advance(pass);
        self.project(pass.scratch, n_tokens);
        self.update(pass);
        let s = &mut *pass.scratch;
        let (n_embd, spec) = (self.n_embd, self.spec);
        let b = &mut s.rwkv;
        b.out.resize(n_tokens * n_embd, 0.0);
        let columns = |place: Place| spec.own(place);
        gather_columns(pass.group, &mut b.receptance, n_embd, columns, &mut b.out)?;
        trace::lap("gather");
        let input = quantized(&b.out, &mut s.activations, [&self.output.weight]);
        self.output.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("time_mix_output");
        Ok(())
    }

    /// Each token's difference to the one before.
    fn advance(&self, pass: &mut Pass<'_, '_>) {
        let s = &mut *pass.scratch;
        s.rwkv.difference.resize(s.normed.len(), 0.0);
        let mut t = 0;
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot).advance(span.position, n);
            let before = &mut state[..self.n_embd];
            differences(
                &s.normed[t * self.n_embd..(t + n) * self.n_embd],
                before,
                &mut s.rwkv.difference[t * self.n_embd..],
            );
            t += n;
        }
    }

    /// Receptance, decay, key, value, rate and gate.
    fn project(&self, s: &mut Scratch, n_tokens: usize) {
        let lerp = |i: usize| &self.lerp[i * self.n_embd..][..self.n_embd];
        s.mix(lerp(0));
        let input = quantized(&s.rwkv.mixed, &mut s.activations, [&self.receptance.weight]);
        self.receptance
            .apply(n_tokens, input, &mut s.rwkv.receptance);
        s.mix(lerp(1));
        self.decay.apply(s, f32::tanh, |b| &mut b.decay);
        for x in &mut s.rwkv.decay {
            *x = (DECAY * sigmoid(*x)).exp();
        }
        s.mix(lerp(2));
        let input = quantized(&s.rwkv.mixed, &mut s.activations, [&self.key.weight]);
        self.key.apply(n_tokens, input, &mut s.rwkv.key);
        s.mix(lerp(3));
        let input = quantized(&s.rwkv.mixed, &mut s.activations, [&self.value.weight]);
        self.value.apply(n_tokens, input, &mut s.rwkv.value);
        match &self.residual {
            None => s.rwkv.first_value.clone_from(&s.rwkv.value),
            Some(residual) => {
                residual.apply(s, |x| x, |b| &mut b.residual);
                let b = &mut s.rwkv;
                let first = b.first_value.iter().zip(&b.residual);
                for (value, (first, x)) in b.value.iter_mut().zip(first) {
                    *value += (first - *value) * sigmoid(*x);
                }
            }
        }
        s.mix(lerp(4));
        self.rate.apply(s, |x| x, |b| &mut b.rate);
        s.rwkv.rate.iter_mut().for_each(|x| *x = sigmoid(*x));
        if let Some(gate) = &self.gate {
            s.mix(lerp(5));
            gate.apply(s, sigmoid, |b| &mut b.gate);
        }
        trace::lap("time_mix");
    }

    /// Replaces the receptances by the outputs.
    fn update(&self, pass: &mut Pass<'_, '_>) {
        let b = &mut pass.scratch.rwkv;
        let (dim, own) = (self.spec.head_dim, self.own.len());
        b.direction.clone_from(&b.key);
        let rows = b.direction.chunks_exact_mut(own.max(1));
        for ((direction, key), rate) in rows
            .zip(b.key.chunks_exact_mut(own.max(1)))
            .zip(b.rate.chunks_exact(own.max(1)))
        {
            for (x, k_k) in direction.iter_mut().zip(&self.k_k) {
                *x *= k_k;
            }
            for head in direction.chunks_exact_mut(dim) {
                let squares: f32 = head.iter().map(|x| x * x).sum();
                let scale = 1.0 / squares.sqrt().max(LEAST_LENGTH);
                head.iter_mut().for_each(|x| *x *= scale);
            }
            for ((key, k_a), rate) in key.iter_mut().zip(&self.k_a).zip(rate) {
                let scaled = *key * k_a;
                *key += rate * scaled - scaled;
            }
        }
        let mut t = 0;
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot).numbers();
            let heads = &mut state[self.n_embd..][..own * dim];
            for t in t..t + n {
                for (h, matrix) in heads.chunks_exact_mut(dim * dim).enumerate() {
                    let at = t * own + h * dim..t * own + (h + 1) * dim;
                    self.step(matrix, h, at, b);
                }
            }
            t += n;
        }
        if self.gate.is_some() {
            let gated = b.receptance.iter_mut().zip(&b.gate);
            gated.for_each(|(x, gate)| *x *= gate);
        }
        trace::lap("wkv");
    }

    /// One token of one head, whose numbers are `at` of each buffer.
    fn step(&self, matrix: &mut [f32], h: usize, at: Range<usize>, b: &mut Buffers) {
        let dim = self.spec.head_dim;
        let (r, w) = (&b.receptance[at.clone()], &b.decay[at.clone()]);
        let (k, v) = (&b.key[at.clone()], &b.value[at.clone()]);
        let (kk, a) = (&b.direction[at.clone()], &b.rate[at.clone()]);
        let of_head = h * dim..(h + 1) * dim;
        let own: f32 = k
            .iter()
            .zip(r)
            .zip(&self.r_k[of_head.clone()])
            .map(|((k, r), r_k)| k * r * r_k)
            .sum();
        // Not more than a row, so that it needs no buffer of the receptances.
        let out = &mut b.residual;
        out.clear();
        for (row, v) in matrix.chunks_exact_mut(dim).zip(v) {
            let had: f32 = row.iter().zip(kk).map(|(m, kk)| m * -kk).sum();
            let mut sum = 0.0;
            for (j, m) in row.iter_mut().enumerate() {
                *m = *m * w[j] + v * k[j] + had * (kk[j] * a[j]);
                sum += *m * r[j];
            }
            out.push(sum);
        }
        if let Some([weight, bias]) = &self.ln {
            let mean = out.iter().sum::<f32>() / dim as f32;
            out.iter_mut().for_each(|x| *x -= mean);
            let variance = out.iter().map(|x| x * x).sum::<f32>() / dim as f32;
            let scale = 1.0 / (variance + HEAD_EPS).sqrt();
            let affine = weight[of_head.clone()].iter().zip(&bias[of_head]);
            for (x, (weight, bias)) in out.iter_mut().zip(affine) {
                *x = *x * scale * weight + bias;
            }
        }
        for ((out, v), x) in out.iter().zip(v).zip(&mut b.receptance[at]) {
            *x = out + v * own;
        }
    }
}

impl ChannelMix {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        spec: &ChannelMixSpec,
    ) -> Result<Self> {
        let (ff, embd) = (loader.place.rows(spec.n_ff), loader.place.rows(n_embd));
        let lerp = name("channel_mix_lerp_k.weight");
        Ok(Self {
            slot: loader.last_slot(),
            n_embd,
            lerp: loader.numbers(&lerp, &[n_embd, 1, 1])?,
            key: loader.linear(&name("channel_mix_key"), [n_embd, spec.n_ff], &ff)?,
            value: loader.linear(&name("channel_mix_value"), [spec.n_ff, n_embd], &embd)?,
            spec: *spec,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let b = &mut scratch.rwkv;
        // In a group of one, these are swapped.
        reserve(&mut b.key, BATCH * self.spec.n_ff)?;
        reserve(&mut b.out, BATCH * self.spec.n_ff)?;
        scratch.activations.reserve(BATCH, self.spec.n_ff)
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        let s = &mut *pass.scratch;
        let mut t = 0;
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot).numbers();
            let before = state.len() - self.n_embd;
            differences(
                &s.normed[t * self.n_embd..(t + n) * self.n_embd],
                &mut state[before..],
                &mut s.rwkv.difference[t * self.n_embd..],
            );
            t += n;
        }
        s.mix(&self.lerp);
        let b = &mut s.rwkv;
        let input = quantized(&b.mixed, &mut s.activations, [&self.key.weight]);
        self.key.apply(n_tokens, input, &mut b.key);
        for x in &mut b.key {
            *x = x.max(0.0) * x.max(0.0);
        }
        trace::lap("channel_mix_key");
        let n_ff = self.spec.n_ff;
        b.out.resize(n_tokens * n_ff, 0.0);
        let columns = |place: Place| place.rows(n_ff);
        gather_columns(pass.group, &mut b.key, n_ff, columns, &mut b.out)?;
        trace::lap("gather");
        let input = quantized(&b.out, &mut s.activations, [&self.value.weight]);
        self.value.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("channel_mix_value");
        Ok(())
    }
}

impl Scratch {
    /// What goes into a projection: `x + difference * lerp`.
    fn mix(&mut self, lerp: &[f32]) {
        let mixed = &mut self.rwkv.mixed;
        mixed.clone_from(&self.normed);
        let rows = mixed.chunks_exact_mut(lerp.len());
        for (mixed, difference) in rows.zip(self.rwkv.difference.chunks_exact(lerp.len())) {
            for ((x, difference), lerp) in mixed.iter_mut().zip(difference).zip(lerp) {
                *x += difference * lerp;
            }
        }
    }
}

/// Each token's difference to the one before: `before` the first one, and the last one afterwards.
fn differences(x: &[f32], before: &mut [f32], out: &mut [f32]) {
    let n = before.len();
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        for ((out, x), before) in out.iter_mut().zip(x).zip(&mut *before) {
            *out = *before - x;
            *before = *x;
        }
    }
}

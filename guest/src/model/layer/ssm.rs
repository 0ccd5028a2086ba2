//! Selective state space models. Sources: Gu and Dao, 2023 (Mamba 1); Dao and Gu, 2024 (Mamba 2); Preferred Networks, 2025
//! (PLaMo 2).
//!
//! Each head has a state of `d_state` numbers for each of its channels. With a token's step size dt, input x, and weights
//! B and C that its group shares: `state = state * exp(dt * A) + dt * x * B`, and the output is `state * C + D * x`, times
//! a gate. An instance has some heads; B and C are computed by all.

use std::ops::Range;

use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns};
use super::super::plan::{NormSpec, SsmForm, SsmSpec};
use super::super::weights::{Linear, Loader};
use super::activation::softplus;
use super::conv::Conv;
use super::norm::Norm;
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

pub(super) struct Ssm {
    spec: SsmSpec,
    slot: usize,
    /// This instance's heads.
    heads: Range<usize>,
    /// `[own channels, E]` each: the gate and the input. In PLaMo 2, the first has both, a head's gate before its input.
    gate: Linear,
    input: Option<Linear>,
    /// Mamba 2: B and C of all groups, and this instance's step sizes.
    weights: Option<Linear>,
    steps: Option<Linear>,
    conv: Conv,
    /// Mamba 2: of B and C.
    weights_conv: Option<Conv>,
    /// Mamba 1: `[dt_rank + 2 * d_state, d_inner]`, all of it: what step sizes are projected from, B and C.
    ssm_x: Option<Linear>,
    /// Mamba 1: `[own heads, dt_rank]`
    ssm_dt: Option<Linear>,
    /// Norms of what step sizes are projected from, of B and of C.
    norms: Option<[Norm; 3]>,
    /// `[own heads]`: added to the step sizes.
    dt_bias: Vec<f32>,
    /// `[own heads, d_state]` in Mamba 1, otherwise `[own heads]`: the rates of decay, below 0.
    ssm_a: Vec<f32>,
    /// `[own heads]`
    ssm_d: Vec<f32>,
    /// `[groups]`, each of `d_inner / groups`: of the gated outputs.
    ssm_norm: Option<Norm>,
    /// `[E, d_inner]`
    ssm_out: Linear,
}

/// The buffers of recurrent layers.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, own]` each: projections.
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
    pub(super) c: Vec<f32>,
    pub(super) d: Vec<f32>,
    /// `[T, all]`
    pub(super) out: Vec<f32>,
    pub(super) row: Vec<f32>,
}

impl Buffers {
    /// Reserves `n` numbers for each.
    pub(super) fn reserve(&mut self, n: usize) -> Result<()> {
        for buffer in [
            &mut self.a,
            &mut self.b,
            &mut self.c,
            &mut self.d,
            &mut self.out,
            &mut self.row,
        ] {
            reserve(buffer, n)?;
        }
        Ok(())
    }
}

impl SsmSpec {
    fn head_dim(&self) -> usize {
        self.d_inner / self.n_heads
    }

    /// The channels of a place.
    fn own_channels(&self, place: Place) -> Range<usize> {
        let (heads, dim) = (place.units(self.n_heads), self.head_dim());
        heads.start * dim..heads.end * dim
    }
}

impl Ssm {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        spec: &SsmSpec,
        norm: NormSpec,
    ) -> Result<Self> {
        let (d_inner, d_state, n_heads) = (spec.d_inner, spec.d_state, spec.n_heads);
        let heads = loader.place.units(n_heads);
        let own = spec.own_channels(loader.place);
        let after = |rows: &Range<usize>, n: usize| n + rows.start..n + rows.end;
        let n_weights = 2 * spec.n_groups * d_state;
        let ssm_in = name("ssm_in");
        let (gate, input, weights, steps) = match spec.form {
            SsmForm::Mamba1 => {
                let shape = [n_embd, 2 * d_inner];
                let input = loader.linear(&ssm_in, shape, &own)?;
                let gate = loader.linear(&ssm_in, shape, &after(&own, d_inner))?;
                (gate, Some(input), None, None)
            }
            SsmForm::Mamba2 => {
                let shape = [n_embd, 2 * d_inner + n_weights + n_heads];
                let gate = loader.linear(&ssm_in, shape, &own)?;
                let input = loader.linear(&ssm_in, shape, &after(&own, d_inner))?;
                let all = 2 * d_inner..2 * d_inner + n_weights;
                let weights = loader.linear(&ssm_in, shape, &all)?;
                let steps = loader.linear(&ssm_in, shape, &after(&heads, all.end))?;
                (gate, Some(input), Some(weights), Some(steps))
            }
            SsmForm::Plamo2 => {
                let both = 2 * own.start..2 * own.end;
                let gate = loader.linear(&ssm_in, [n_embd, 2 * d_inner], &both)?;
                (gate, None, None, None)
            }
        };
        let taps = name("ssm_conv1d");
        let is_mamba2 = spec.form == SsmForm::Mamba2;
        let n_conv = d_inner + if is_mamba2 { n_weights } else { 0 };
        let conv = Conv::load(loader, &taps, [spec.d_conv, n_conv], &own)?;
        let weights_conv = match is_mamba2 {
            false => None,
            true => {
                let channels = d_inner..n_conv;
                Some(Conv::load(loader, &taps, [spec.d_conv, n_conv], &channels)?)
            }
        };
        let (mut ssm_x, mut ssm_dt) = (None, None);
        if !is_mamba2 {
            let n = spec.dt_rank + 2 * d_state;
            ssm_x = Some(loader.linear(&name("ssm_x"), [d_inner, n], &(0..n))?);
            // Its bias is read below.
            let shape = [spec.dt_rank, n_heads];
            ssm_dt = Some(loader.linear_alone(&name("ssm_dt"), shape, &heads)?);
        }
        let norms = match spec.normalizes {
            false => None,
            true => {
                let mut part = |tensor: &str, n: usize| {
                    let tensor = name(tensor);
                    let has_weight = loader.has(&tensor) || loader.has(&format!("{tensor}.weight"));
                    Norm::load(loader, &tensor, n, NormSpec { has_weight, ..norm })
                };
                Some([
                    part("ssm_dt_norm", spec.dt_rank)?,
                    part("ssm_b_norm", d_state)?,
                    part("ssm_c_norm", d_state)?,
                ])
            }
        };
        let own_of =
            |all: Vec<f32>, width: usize| all[heads.start * width..heads.end * width].to_vec();
        let (a_width, a_shape): (usize, &[usize]) = match spec.form {
            SsmForm::Mamba1 => (d_state, &[d_state, d_inner]),
            SsmForm::Mamba2 => (1, &[1, n_heads]),
            SsmForm::Plamo2 => (1, &[n_heads]),
        };
        let d_shape: &[usize] = match spec.form {
            SsmForm::Mamba2 => &[1, n_heads],
            SsmForm::Mamba1 | SsmForm::Plamo2 => &[n_heads],
        };
        let ssm_norm = name("ssm_norm.weight");
        let ssm_norm = match is_mamba2 && loader.has(&ssm_norm) {
            false => None,
            true => {
                let width = d_inner / spec.n_groups;
                let weight = loader.numbers(&ssm_norm, &[width, spec.n_groups])?;
                Some(Norm::of(weight, norm))
            }
        };
        let embd = loader.place.rows(n_embd);
        Ok(Self {
            slot: loader.next_slot(),
            gate,
            input,
            weights,
            steps,
            conv,
            weights_conv,
            ssm_x,
            ssm_dt,
            norms,
            dt_bias: own_of(loader.vector(&name("ssm_dt.bias"), n_heads)?, 1),
            ssm_a: own_of(loader.numbers(&name("ssm_a"), a_shape)?, a_width),
            ssm_d: own_of(loader.numbers(&name("ssm_d"), d_shape)?, 1),
            ssm_norm,
            ssm_out: loader.linear(&name("ssm_out"), [d_inner, n_embd], &embd)?,
            spec: *spec,
            heads,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let spec = &self.spec;
        let weights = spec.dt_rank + 2 * spec.n_groups * spec.d_state + spec.n_heads;
        scratch
            .recurrent
            .reserve(BATCH * (2 * spec.d_inner).max(weights))?;
        scratch
            .activations
            .reserve(BATCH, spec.d_inner.max(spec.dt_rank))
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        self.project(pass, n_tokens);
        self.convolve(pass);
        if self.ssm_x.is_some() {
            self.project_steps(pass, n_tokens)?;
        }
        self.scan(pass);

        let s = &mut *pass.scratch;
        let buffers = &mut s.recurrent;
        let d_inner = self.spec.d_inner;
        // The gate, and then what is added.
        kernels::swiglu(&mut buffers.a, &buffers.b);
        buffers.out.resize(n_tokens * d_inner, 0.0);
        let columns = |place: Place| self.spec.own_channels(place);
        gather_columns(
            pass.group,
            &mut buffers.a,
            d_inner,
            columns,
            &mut buffers.out,
        )?;
        trace::lap("gather");
        if let Some(norm) = &self.ssm_norm {
            let width = d_inner / self.spec.n_groups;
            norm.apply_in_place(width, &mut buffers.out, &mut buffers.row);
            trace::lap("ssm_norm");
        }
        let input = quantized(&buffers.out, &mut s.activations, [&self.ssm_out.weight]);
        self.ssm_out.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("ssm_out");
        Ok(())
    }

    /// The gate in `a`, the input in `b`; in Mamba 2 B and C in `c`, and step sizes in `d`.
    fn project(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let buffers = &mut s.recurrent;
        let input = quantized(&s.normed, &mut s.activations, [&self.gate.weight]);
        match &self.input {
            Some(linear) => {
                self.gate.apply(n_tokens, input, &mut buffers.a);
                linear.apply(n_tokens, input, &mut buffers.b);
            }
            None => {
                self.gate.apply(n_tokens, input, &mut buffers.c);
                buffers.a.clear();
                buffers.b.clear();
                let head_dim = self.spec.head_dim();
                for head in buffers.c.chunks_exact(2 * head_dim) {
                    let (gate, input) = head.split_at(head_dim);
                    buffers.a.extend_from_slice(gate);
                    buffers.b.extend_from_slice(input);
                }
            }
        }
        if let (Some(weights), Some(steps)) = (&self.weights, &self.steps) {
            weights.apply(n_tokens, input, &mut buffers.c);
            steps.apply(n_tokens, input, &mut buffers.d);
        }
        trace::lap("ssm_in");
    }

    /// Convolves the inputs in `b`, and B and C in `c`. Positions advance here.
    fn convolve(&self, pass: &mut Pass<'_, '_>) {
        let buffers = &mut pass.scratch.recurrent;
        let own = self.heads.len() * self.spec.head_dim();
        let n_weights = 2 * self.spec.n_groups * self.spec.d_state;
        let kept = self.spec.d_conv - 1;
        let mut t = 0;
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot).advance(span.position, n);
            let (last, rest) = state.split_at_mut(own * kept);
            for t in t..t + n {
                self.conv.step(last, &mut buffers.b[t * own..][..own]);
                if let Some(conv) = &self.weights_conv {
                    conv.step(
                        &mut rest[..n_weights * kept],
                        &mut buffers.c[t * n_weights..][..n_weights],
                    );
                }
            }
            t += n;
        }
        super::activation::silu(&mut buffers.b);
        if self.weights_conv.is_some() {
            super::activation::silu(&mut buffers.c);
        }
        trace::lap("ssm_conv1d");
    }

    /// Step sizes in `d`, and B and C in `c`, from the inputs of all instances.
    fn project_steps(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) -> Result<()> {
        let (Some(ssm_x), Some(ssm_dt)) = (&self.ssm_x, &self.ssm_dt) else {
            return Ok(());
        };
        let s = &mut *pass.scratch;
        let buffers = &mut s.recurrent;
        let (d_inner, d_state) = (self.spec.d_inner, self.spec.d_state);
        let dt_rank = self.spec.dt_rank;
        // The own inputs are needed once more, so that they cannot be swapped away.
        buffers.d.clone_from(&buffers.b);
        buffers.out.resize(n_tokens * d_inner, 0.0);
        let columns = |place: Place| self.spec.own_channels(place);
        gather_columns(
            pass.group,
            &mut buffers.d,
            d_inner,
            columns,
            &mut buffers.out,
        )?;
        let input = quantized(&buffers.out, &mut s.activations, [&ssm_x.weight]);
        ssm_x.apply(n_tokens, input, &mut buffers.row);
        trace::lap("ssm_x");
        // B and C together, and before them what step sizes are projected from.
        buffers.c.clear();
        buffers.out.clear();
        let normed = |norm: usize, x: &[f32], out: &mut Vec<f32>| {
            let start = out.len();
            match &self.norms {
                None => out.extend_from_slice(x),
                Some(norms) => {
                    out.resize(start + x.len(), 0.0);
                    norms[norm].row(x, &mut out[start..]);
                }
            }
        };
        for row in buffers.row.chunks_exact(dt_rank + 2 * d_state) {
            let (dt, b, c) = match self.spec.form {
                SsmForm::Plamo2 => {
                    let (b, rest) = row.split_at(d_state);
                    let (c, dt) = rest.split_at(d_state);
                    (dt, b, c)
                }
                _ => {
                    let (dt, rest) = row.split_at(dt_rank);
                    let (b, c) = rest.split_at(d_state);
                    (dt, b, c)
                }
            };
            normed(0, dt, &mut buffers.out);
            normed(1, b, &mut buffers.c);
            normed(2, c, &mut buffers.c);
        }
        let input = quantized(&buffers.out, &mut s.activations, [&ssm_dt.weight]);
        ssm_dt.apply(n_tokens, input, &mut buffers.d);
        trace::lap("ssm_dt");
        Ok(())
    }

    /// Replaces the inputs in `b` by the outputs.
    fn scan(&self, pass: &mut Pass<'_, '_>) {
        let buffers = &mut pass.scratch.recurrent;
        let spec = &self.spec;
        let (head_dim, d_state, n_own) = (spec.head_dim(), spec.d_state, self.heads.len());
        let own = n_own * head_dim;
        let n_groups = spec.n_groups.max(1);
        let per_group = spec.n_heads / n_groups;
        let mut tokens = buffers
            .b
            .chunks_exact_mut(own.max(1))
            .zip(buffers.c.chunks_exact(2 * n_groups * d_state))
            .zip(buffers.d.chunks_exact(n_own.max(1)));
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot).numbers();
            // After what the convolutions keep.
            let states = state.len() - own * d_state;
            let states = &mut state[states..];
            for ((x, weights), steps) in tokens.by_ref().take(n) {
                let (b, c) = weights.split_at(n_groups * d_state);
                for (h, x) in x.chunks_exact_mut(head_dim).enumerate() {
                    let group = (self.heads.start + h) / per_group * d_state;
                    let head = Head {
                        b: &b[group..][..d_state],
                        c: &c[group..][..d_state],
                        step: softplus(steps[h] + self.dt_bias[h]),
                        d: self.ssm_d[h],
                    };
                    let states = &mut states[h * head_dim * d_state..][..head_dim * d_state];
                    match spec.form {
                        SsmForm::Mamba1 => {
                            head.scan_channel(&self.ssm_a[h * d_state..][..d_state], states, x);
                        }
                        _ => head.scan(self.ssm_a[h], states, x),
                    }
                }
            }
        }
        trace::lap("ssm_scan");
    }
}

/// What a head computes with for one token.
struct Head<'a> {
    /// `[d_state]` each.
    b: &'a [f32],
    c: &'a [f32],
    step: f32,
    d: f32,
}

impl Head<'_> {
    /// All channels decay alike: `states` are `[channels, d_state]`.
    fn scan(&self, a: f32, states: &mut [f32], x: &mut [f32]) {
        let decay = (self.step * a).exp();
        for (state, x) in states.chunks_exact_mut(self.b.len()).zip(x) {
            let input = self.step * *x;
            let mut lanes = [0.0; 4];
            let (fours, tail) = state.as_chunks_mut::<4>();
            let (b4, b_tail) = self.b.as_chunks::<4>();
            let (c4, c_tail) = self.c.as_chunks::<4>();
            for ((s, b), c) in fours.iter_mut().zip(b4).zip(c4) {
                for i in 0..4 {
                    s[i] = s[i] * decay + input * b[i];
                    lanes[i] += s[i] * c[i];
                }
            }
            let mut sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
            for ((s, b), c) in tail.iter_mut().zip(b_tail).zip(c_tail) {
                *s = *s * decay + input * b;
                sum += *s * c;
            }
            *x = sum + self.d * *x;
        }
    }

    /// Each number decays at its own rate: `states` are `[1, d_state]`.
    fn scan_channel(&self, a: &[f32], states: &mut [f32], x: &mut [f32]) {
        let input = self.step * x[0];
        let mut sum = 0.0;
        for (((s, a), b), c) in states.iter_mut().zip(a).zip(self.b).zip(self.c) {
            *s = *s * (self.step * a).exp() + input * b;
            sum += *s * c;
        }
        x[0] = sum + self.d * x[0];
    }
}

//! A mixture of experts: a router chooses a few of many gated feed-forward networks for each token, and their outputs are
//! added, weighted. Sources: Shazeer et al., 2017; Jiang et al., 2024 (Mixtral); Qwen Team, 2024 and 2025.
//!
//! Tokens of a batch that chose the same expert are computed together. Every product has the same bits for any number of
//! tokens, and the outputs of a token are added in the order of its choices, so that a token does not depend on its
//! company. Of an expert that no token chose, nothing is read.

use std::ops::Range;

use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns, pause};
use super::super::plan::{Activation, ExpertsSpec, SharedGate};
use super::super::weights::{Loader, Matrices, Matrix};
use super::feed_forward::{FeedForward, Names};
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

pub(super) struct Experts {
    spec: ExpertsSpec,
    /// `[experts, E]`, all of it.
    ffn_gate_inp: Matrix,
    /// `[experts, F, E]`
    ffn_gate_exps: Matrices,
    ffn_up_exps: Matrices,
    /// `[experts, E, F]`
    ffn_down_exps: Matrices,
    shared: Option<Shared>,
}

/// A network that every token goes through, too.
struct Shared {
    /// `[E]`: how much of it a token takes, before the sigmoid; all of it if there is none.
    ffn_gate_inp_shexp: Option<Vec<f32>>,
    feed_forward: FeedForward,
}

/// The buffers of all mixtures of experts. K is the number of experts that a token uses.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, experts]`: the router's scores, then probabilities.
    probabilities: Vec<f32>,
    /// `[T, K]`: the experts that each token chose, the most probable first, and their weights.
    choices: Vec<Choice>,
    /// `[T * K]`: the numbers of the choices, those of the same expert together.
    order: Vec<u32>,
    /// `[tokens of an expert, E or F]`: its inputs.
    inputs: Vec<f32>,
    /// `[tokens of an expert, own F or E]`: its products.
    gate: Vec<f32>,
    up: Vec<f32>,
    /// `[T * K, own F]`, and the same for all instances.
    own_hidden: Vec<f32>,
    hidden: Vec<f32>,
    /// `[T * K, own E]`: what each expert adds.
    outputs: Vec<f32>,
    /// `[T, own E]`: their sums.
    sums: Vec<f32>,
}

#[derive(Clone, Copy, Default)]
struct Choice {
    expert: u32,
    weight: f32,
}

impl Experts {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String + Copy,
        spec: &ExpertsSpec,
    ) -> Result<Self> {
        let (n, n_ff) = (spec.n_experts, spec.n_ff);
        let (ff, embd) = (loader.place.rows(n_ff), loader.place.rows(n_embd));
        let shared = match spec.shared {
            None => None,
            Some(shared) => Some(Shared {
                ffn_gate_inp_shexp: match shared.gate {
                    SharedGate::Open => None,
                    SharedGate::Sigmoid => {
                        Some(loader.vector(&name("ffn_gate_inp_shexp.weight"), n_embd)?)
                    }
                },
                feed_forward: FeedForward::load(
                    loader,
                    n_embd,
                    name,
                    &Names::SHARED,
                    shared.n_ff,
                    Activation::Silu,
                )?,
            }),
        };
        Ok(Self {
            spec: spec.clone(),
            ffn_gate_inp: loader.matrix(&name("ffn_gate_inp"), [n_embd, n], 0..n)?,
            ffn_gate_exps: loader.matrices(&name("ffn_gate_exps"), [n_embd, n_ff, n], &ff)?,
            ffn_up_exps: loader.matrices(&name("ffn_up_exps"), [n_embd, n_ff, n], &ff)?,
            ffn_down_exps: loader.matrices(&name("ffn_down_exps"), [n_ff, n_embd, n], &embd)?,
            shared,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch, place: Place) -> Result<()> {
        let (n_ff, n_embd) = (self.spec.n_ff, scratch.n_embd);
        let own_embd = place.rows(n_embd).len();
        let n_choices = BATCH * self.spec.n_used;
        let buffers = &mut scratch.experts;
        reserve(&mut buffers.probabilities, BATCH * self.spec.n_experts)?;
        reserve(&mut buffers.choices, n_choices)?;
        reserve(&mut buffers.order, n_choices)?;
        reserve(&mut buffers.inputs, BATCH * n_ff.max(n_embd))?;
        reserve(&mut buffers.gate, BATCH * n_ff.max(own_embd))?;
        reserve(&mut buffers.up, BATCH * n_ff)?;
        // In a group of one, these two are swapped.
        reserve(&mut buffers.own_hidden, n_choices * n_ff)?;
        reserve(&mut buffers.hidden, n_choices * n_ff)?;
        reserve(&mut buffers.outputs, n_choices * own_embd)?;
        reserve(&mut buffers.sums, BATCH * own_embd)?;
        scratch.activations.reserve(BATCH, n_ff.max(n_embd))?;
        match &self.shared {
            Some(shared) => shared.feed_forward.reserve(scratch, place),
            None => Ok(()),
        }
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        self.route(pass, n_tokens);
        let (n_used, n_ff) = (self.spec.n_used, self.spec.n_ff);
        let s = &mut *pass.scratch;
        let n_embd = s.n_embd;
        let buffers = &mut s.experts;
        let own_ff = self.ffn_gate_exps.n_rows();
        buffers.own_hidden.resize(n_tokens * n_used * own_ff, 0.0);
        for run in runs(&buffers.order, &buffers.choices) {
            let numbers = &buffers.order[run];
            let expert = buffers.choices[numbers[0] as usize].expert as usize;
            let rows = numbers.iter().map(|&number| number as usize / n_used);
            copy_rows(rows, &s.normed, n_embd, &mut buffers.inputs);
            let (gate, up) = (
                self.ffn_gate_exps.rows(expert),
                self.ffn_up_exps.rows(expert),
            );
            let types = [gate.ty, up.ty].into_iter();
            let input = s.activations.quantize(&buffers.inputs, n_embd, types);
            let n = numbers.len() * own_ff;
            buffers.gate.resize(n, 0.0);
            buffers.up.resize(n, 0.0);
            kernels::matmul(gate, input, &mut buffers.gate);
            kernels::matmul(up, input, &mut buffers.up);
            kernels::swiglu(&mut buffers.gate, &buffers.up);
            place_rows(numbers, &buffers.gate, own_ff, &mut buffers.own_hidden);
        }
        trace::lap("ffn_gate_up_exps");
        pause(pass.group)?;

        let (own_hidden, hidden) = (&mut buffers.own_hidden, &mut buffers.hidden);
        hidden.resize(n_tokens * n_used * n_ff, 0.0);
        let columns = |place: Place| place.rows(n_ff);
        gather_columns(pass.group, own_hidden, n_ff, columns, hidden)?;
        trace::lap("gather");

        let own_embd = self.ffn_down_exps.n_rows();
        buffers.outputs.resize(n_tokens * n_used * own_embd, 0.0);
        for run in runs(&buffers.order, &buffers.choices) {
            let numbers = &buffers.order[run];
            let expert = buffers.choices[numbers[0] as usize].expert as usize;
            let rows = numbers.iter().map(|&number| number as usize);
            copy_rows(rows, &buffers.hidden, n_ff, &mut buffers.inputs);
            let down = self.ffn_down_exps.rows(expert);
            let types = [down.ty].into_iter();
            let input = s.activations.quantize(&buffers.inputs, n_ff, types);
            buffers.gate.resize(numbers.len() * own_embd, 0.0);
            kernels::matmul(down, input, &mut buffers.gate);
            place_rows(numbers, &buffers.gate, own_embd, &mut buffers.outputs);
        }
        trace::lap("ffn_down_exps");
        buffers.sums.clear();
        buffers.sums.resize(n_tokens * own_embd, 0.0);
        if own_embd > 0 {
            let outputs = buffers.outputs.chunks_exact(own_embd);
            for (i, (choice, output)) in buffers.choices.iter().zip(outputs).enumerate() {
                let sum = &mut buffers.sums[i / n_used * own_embd..][..own_embd];
                for (sum, x) in sum.iter_mut().zip(output) {
                    *sum += choice.weight * x;
                }
            }
        }
        trace::lap("weigh_experts");
        self.add_shared(pass)
    }

    /// Chooses the experts of each token.
    fn route(&self, pass: &mut Pass<'_, '_>, n_tokens: usize) {
        let s = &mut *pass.scratch;
        let (n, n_used) = (self.spec.n_experts, self.spec.n_used);
        let buffers = &mut s.experts;
        let input = quantized(&s.normed, &mut s.activations, [&self.ffn_gate_inp]);
        buffers.probabilities.resize(n_tokens * n, 0.0);
        kernels::matmul(self.ffn_gate_inp.rows(), input, &mut buffers.probabilities);
        trace::lap("ffn_gate_inp");
        buffers.choices.clear();
        for p in buffers.probabilities.chunks_exact_mut(n) {
            softmax(p);
            let first = buffers.choices.len();
            for _ in 0..n_used {
                let expert = most_probable(p);
                let weight = p[expert];
                // Not to be chosen again.
                p[expert] = f32::NEG_INFINITY;
                let expert = expert as u32;
                buffers.choices.push(Choice { expert, weight });
            }
            let chosen = &mut buffers.choices[first..];
            let mut factor = self.spec.scale;
            if self.spec.normalizes {
                let sum: f32 = chosen.iter().map(|choice| choice.weight).sum();
                factor /= sum.max(SMALLEST_SUM);
            }
            for choice in chosen {
                choice.weight *= factor;
            }
        }
        buffers.order.clear();
        buffers.order.extend(0..buffers.choices.len() as u32);
        let choices = &buffers.choices;
        buffers
            .order
            .sort_unstable_by_key(|&number| (choices[number as usize].expert, number));
        trace::lap("route");
    }

    /// Writes what the layer adds: the sums, and what the shared network computes.
    fn add_shared(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let Some(shared) = &self.shared else {
            let s = &mut *pass.scratch;
            s.own_delta.clear();
            s.own_delta.extend_from_slice(&s.experts.sums);
            return Ok(());
        };
        shared.feed_forward.forward(pass)?;
        let s = &mut *pass.scratch;
        let tokens = s.normed.chunks_exact(s.n_embd);
        let own_embd = self.ffn_down_exps.n_rows();
        if own_embd == 0 {
            return Ok(());
        }
        let deltas = s.own_delta.chunks_exact_mut(own_embd);
        let sums = s.experts.sums.chunks_exact(own_embd);
        for ((x, delta), sums) in tokens.zip(deltas).zip(sums) {
            let part = shared.ffn_gate_inp_shexp.as_ref().map_or(1.0, |weight| {
                let score: f32 = x.iter().zip(weight).map(|(x, w)| x * w).sum();
                1.0 / (1.0 + (-score).exp())
            });
            for (delta, sum) in delta.iter_mut().zip(sums) {
                *delta = sum + part * *delta;
            }
        }
        trace::lap("shared_expert");
        Ok(())
    }
}

/// The sum of weights is at least this: the smallest normal number of F16, as in llama.cpp.
const SMALLEST_SUM: f32 = 6.103_515_6e-5;

/// `p = exp(p) / sum(exp(p))`.
fn softmax(p: &mut [f32]) {
    let largest = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in &mut *p {
        *x = (*x - largest).exp();
        sum += *x;
    }
    for x in p {
        *x /= sum;
    }
}

/// The first of the largest numbers. What is not a number is never the largest; if none is, the first.
fn most_probable(p: &[f32]) -> usize {
    let mut best = 0;
    for (i, x) in p.iter().enumerate() {
        if *x > p[best] || p[best].is_nan() && !x.is_nan() {
            best = i;
        }
    }
    best
}

/// The ranges in `order` of choices of the same expert.
fn runs<'a>(order: &'a [u32], choices: &'a [Choice]) -> impl Iterator<Item = Range<usize>> + 'a {
    let expert = |number: &u32| choices[*number as usize].expert;
    let mut start = 0;
    order
        .chunk_by(move |a, b| expert(a) == expert(b))
        .map(move |run| {
            start += run.len();
            start - run.len()..start
        })
}

/// `to[i] = from[rows[i]]`, rows of `width` numbers.
fn copy_rows(rows: impl Iterator<Item = usize>, from: &[f32], width: usize, to: &mut Vec<f32>) {
    to.clear();
    for row in rows {
        to.extend_from_slice(&from[row * width..][..width]);
    }
}

/// `to[rows[i]] = from[i]`, rows of `width` numbers.
fn place_rows(rows: &[u32], from: &[f32], width: usize, to: &mut [f32]) {
    for (i, &row) in rows.iter().enumerate() {
        to[row as usize * width..][..width].copy_from_slice(&from[i * width..][..width]);
    }
}

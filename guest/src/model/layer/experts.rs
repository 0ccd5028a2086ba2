//! A mixture of experts: a router chooses a few of many gated feed-forward networks for each token, and their outputs are
//! added, weighted. Sources: Shazeer et al., 2017; Jiang et al., 2024 (Mixtral); Qwen Team, 2024 and 2025.
//!
//! Tokens of a batch that chose the same expert are computed together. Every product has the same bits for any number of
//! tokens, and the outputs of a token are added in the order of its choices, so that a token does not depend on its
//! company. Of an expert that no token chose, nothing is read.

use std::ops::Range;

use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns, pause};
use super::super::plan::{ExpertsSpec, Gating, NormSpec, RouterInput, SharedGate};
use super::super::weights::{Linear, Loader, Matrices, Purpose};
use super::feed_forward::{FeedForward, Names};
use super::norm::Norm;
use super::pass::Input;
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

pub(super) struct Experts {
    spec: ExpertsSpec,
    /// `[experts, E]`, all of it.
    ffn_gate_inp: Linear,
    /// `[experts]`
    ffn_gate_inp_bias: Option<Vec<f32>>,
    /// `[E]`: of what the router sees, if it does not see what the experts see.
    router_norm: Option<Norm>,
    /// `[experts]`: what is added to the probabilities for the choice, but not for the weights.
    exp_probs_b: Option<Vec<f32>>,
    /// `[experts, F, E]`; one tensor may have both.
    ffn_gate_exps: Option<Networks>,
    ffn_up_exps: Networks,
    /// `[experts, E, F]`
    ffn_down_exps: Networks,
    shared: Option<Shared>,
}

/// One matrix of each expert.
struct Networks {
    weight: Matrices,
    /// Its number among what adapters can change.
    number: usize,
    /// `[experts]`: the factors of what it computes.
    scale: Option<Vec<f32>>,
    /// `[experts, own rows]`
    bias: Option<Vec<f32>>,
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
    /// `[experts]`: what one token chooses by.
    preferences: Vec<f32>,
    /// `[groups]`: the best experts of each, added.
    groups: Vec<f32>,
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

impl Networks {
    fn load(
        loader: &mut Loader<'_>,
        name: &str,
        shape: [usize; 3],
        rows: &Range<usize>,
    ) -> Result<Self> {
        let weight = loader.matrices(name, shape, rows)?;
        Self::with(loader, name, shape, rows, weight)
    }

    /// Gate and up in one tensor, each with these of its `n_ff` rows.
    fn load_both(
        loader: &mut Loader<'_>,
        name: &str,
        [n_embd, n_ff, n]: [usize; 3],
        rows: &Range<usize>,
    ) -> Result<[Self; 2]> {
        let shape = [n_embd, 2 * n_ff, n];
        let [gate, up] = loader.both_matrices(name, shape, rows)?;
        let second = n_ff + rows.start..n_ff + rows.end;
        Ok([
            Self::with(loader, name, shape, rows, gate)?,
            Self::with(loader, name, shape, &second, up)?,
        ])
    }

    fn with(
        loader: &mut Loader<'_>,
        name: &str,
        shape: [usize; 3],
        rows: &Range<usize>,
        weight: Matrices,
    ) -> Result<Self> {
        let [_, all_rows, n] = shape;
        let bias = format!("{name}.bias");
        let bias = match loader.has(&bias) {
            false => None,
            true => {
                let all = loader.numbers(&bias, &[all_rows, n])?;
                let own = all
                    .chunks_exact(all_rows)
                    .flat_map(|all| &all[rows.clone()]);
                Some(own.copied().collect())
            }
        };
        Ok(Self {
            weight,
            number: loader.adaptable(name, shape, Purpose::Product, rows.clone()),
            scale: loader.optional_vector(&format!("{name}.scale"), n)?,
            bias,
        })
    }

    /// `out = inputs * weight^T * scale + bias` for one expert and the tokens that chose it, and what adapters add.
    fn apply(&self, run: &Run<'_>, input: Input<'_>, out: &mut [f32]) {
        let expert = run.expert;
        kernels::matmul(self.weight.rows(expert), input.rows, out);
        if let Some(scale) = &self.scale {
            let scale = scale[expert];
            out.iter_mut().for_each(|x| *x *= scale);
        }
        let (attached, rows) = (input.attached, |tokens: &_| run.rows(tokens));
        attached.add_part(self.number, expert, rows, input.rows, out);
        let n = self.weight.n_rows();
        if let Some(bias) = self.bias.as_ref().filter(|_| n > 0) {
            let bias = &bias[expert * n..][..n];
            for row in out.chunks_exact_mut(n) {
                row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
            }
        }
    }
}

impl Experts {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String + Copy,
        spec: &ExpertsSpec,
        norm: NormSpec,
    ) -> Result<Self> {
        let (n, n_ff) = (spec.n_experts, spec.expert.n_ff);
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
                    shared.network,
                    norm,
                )?,
            }),
        };
        let shape = [n_embd, n_ff, n];
        let both = name("ffn_gate_up_exps");
        let [gate, up] = ["ffn_gate_exps", "ffn_up_exps"].map(name);
        let (ffn_gate_exps, ffn_up_exps) = if loader.has(&format!("{both}.weight")) {
            let [gate, up] = Networks::load_both(loader, &both, shape, &ff)?;
            (Some(gate), up)
        } else if spec.expert.has_gate {
            let gate = Networks::load(loader, &gate, shape, &ff)?;
            (Some(gate), Networks::load(loader, &up, shape, &ff)?)
        } else {
            (None, Networks::load(loader, &up, shape, &ff)?)
        };
        // Without its ending in the files of one architecture.
        let probs = [name("exp_probs_b.bias"), name("exp_probs_b")];
        let probs = probs.into_iter().find(|name| loader.has(name));
        let router_norm = match spec.router_input {
            RouterInput::Normed | RouterInput::BeforeLayer => None,
            RouterInput::Residual => {
                let mut scale = loader.vector(&name("ffn_gate_inp.scale"), n_embd)?;
                let factor = 1.0 / (n_embd as f32).sqrt();
                scale.iter_mut().for_each(|x| *x *= factor);
                Some(Norm::of(scale, norm))
            }
        };
        Ok(Self {
            spec: spec.clone(),
            ffn_gate_inp: loader.linear_alone(&name("ffn_gate_inp"), [n_embd, n], &(0..n))?,
            ffn_gate_inp_bias: loader.optional_vector(&name("ffn_gate_inp.bias"), n)?,
            router_norm,
            exp_probs_b: probs.map(|name| loader.vector(&name, n)).transpose()?,
            ffn_gate_exps,
            ffn_up_exps,
            ffn_down_exps: Networks::load(
                loader,
                &name("ffn_down_exps"),
                [n_ff, n_embd, n],
                &embd,
            )?,
            shared,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch, place: Place) -> Result<()> {
        let (n_ff, n_embd) = (self.spec.expert.n_ff, scratch.n_embd);
        let own_embd = place.rows(n_embd).len();
        let n_choices = BATCH * self.spec.n_used;
        let buffers = &mut scratch.experts;
        reserve(&mut buffers.probabilities, BATCH * self.spec.n_experts)?;
        reserve(&mut buffers.preferences, self.spec.n_experts)?;
        reserve(&mut buffers.groups, self.spec.n_experts)?;
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

    /// Whether the router sees the residual stream before the layer.
    pub(super) fn routes_before_layer(&self) -> bool {
        self.spec.router_input == RouterInput::BeforeLayer
    }

    /// Writes what the chosen experts and the shared network add. If the router sees the residual stream before the
    /// layer, the caller has called [`Experts::route`] there.
    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        if !self.routes_before_layer() {
            self.route(pass);
        }
        let n_tokens = pass.n_tokens();
        let (n_used, n_ff) = (self.spec.n_used, self.spec.expert.n_ff);
        let s = &mut *pass.scratch;
        let n_embd = s.n_embd;
        let buffers = &mut s.experts;
        let own_ff = self.ffn_up_exps.weight.n_rows();
        buffers.own_hidden.resize(n_tokens * n_used * own_ff, 0.0);
        let up = &self.ffn_up_exps;
        let gate = self.ffn_gate_exps.as_ref().unwrap_or(up);
        let types = [gate, up].map(|networks| networks.weight.ty());
        // All experts of a single token have the same input.
        let is_shared = n_tokens == 1 && !self.spec.weighs_input;
        if is_shared {
            s.activations.quantize(&s.normed, n_embd, types.into_iter());
        }
        for run in runs(&buffers.order, &buffers.choices, n_used) {
            let numbers = run.numbers;
            let input = if is_shared {
                s.activations.input(&s.normed)
            } else {
                let rows = numbers.iter().map(|&number| number as usize / n_used);
                copy_rows(rows, &s.normed, n_embd, &mut buffers.inputs);
                if self.spec.weighs_input {
                    let rows = buffers.inputs.chunks_exact_mut(n_embd);
                    for (row, &number) in rows.zip(numbers) {
                        let weight = buffers.choices[number as usize].weight;
                        row.iter_mut().for_each(|x| *x *= weight);
                    }
                }
                s.activations
                    .quantize(&buffers.inputs, n_embd, types.into_iter())
            };
            let n = numbers.len() * own_ff;
            buffers.gate.resize(n, 0.0);
            gate.apply(&run, input, &mut buffers.gate);
            let activation = self.spec.expert.activation;
            if self.ffn_gate_exps.is_some() {
                buffers.up.resize(n, 0.0);
                up.apply(&run, input, &mut buffers.up);
                activation.gated(&mut buffers.gate, &mut buffers.up);
            } else {
                activation.alone(&mut buffers.gate);
            }
            place_rows(numbers, &buffers.gate, own_ff, &mut buffers.own_hidden);
        }
        trace::lap("ffn_gate_up_exps");
        pause(pass.group)?;

        let (own_hidden, hidden) = (&mut buffers.own_hidden, &mut buffers.hidden);
        hidden.resize(n_tokens * n_used * n_ff, 0.0);
        let columns = |place: Place| place.rows(n_ff);
        gather_columns(pass.group, own_hidden, n_ff, columns, hidden)?;
        trace::lap("gather");

        let own_embd = self.ffn_down_exps.weight.n_rows();
        buffers.outputs.resize(n_tokens * n_used * own_embd, 0.0);
        for run in runs(&buffers.order, &buffers.choices, n_used) {
            let numbers = run.numbers;
            let rows = numbers.iter().map(|&number| number as usize);
            copy_rows(rows, &buffers.hidden, n_ff, &mut buffers.inputs);
            let types = [self.ffn_down_exps.weight.ty()].into_iter();
            let input = s.activations.quantize(&buffers.inputs, n_ff, types);
            buffers.gate.resize(numbers.len() * own_embd, 0.0);
            self.ffn_down_exps.apply(&run, input, &mut buffers.gate);
            place_rows(numbers, &buffers.gate, own_embd, &mut buffers.outputs);
        }
        trace::lap("ffn_down_exps");
        buffers.sums.clear();
        buffers.sums.resize(n_tokens * own_embd, 0.0);
        if own_embd > 0 {
            let outputs = buffers.outputs.chunks_exact(own_embd);
            for (i, (choice, output)) in buffers.choices.iter().zip(outputs).enumerate() {
                let sum = &mut buffers.sums[i / n_used * own_embd..][..own_embd];
                let weight = match self.spec.weighs_input {
                    true => 1.0,
                    false => choice.weight,
                };
                for (sum, x) in sum.iter_mut().zip(output) {
                    *sum += weight * x;
                }
            }
        }
        trace::lap("weigh_experts");
        self.add_shared(pass)
    }

    /// Chooses the experts of each token.
    pub(super) fn route(&self, pass: &mut Pass<'_, '_>) {
        let s = &mut *pass.scratch;
        let n = self.spec.n_experts;
        let buffers = &mut s.experts;
        let x = match (self.spec.router_input, &self.router_norm) {
            (RouterInput::Normed, _) => &s.normed,
            (_, None) => &s.x,
            (_, Some(norm)) => {
                norm.apply(&s.x, &mut buffers.inputs);
                &buffers.inputs
            }
        };
        let n_tokens = x.len() / s.n_embd;
        let router = &self.ffn_gate_inp;
        let input = quantized(x, &mut s.activations, [&router.weight]);
        router.apply(n_tokens, input, &mut buffers.probabilities);
        trace::lap("ffn_gate_inp");
        buffers.choices.clear();
        let mut probabilities = std::mem::take(&mut buffers.probabilities);
        for p in probabilities.chunks_exact_mut(n) {
            if let Some(bias) = &self.ffn_gate_inp_bias {
                p.iter_mut().zip(bias).for_each(|(p, bias)| *p += bias);
            }
            self.choose(p, buffers);
        }
        buffers.probabilities = probabilities;
        buffers.order.clear();
        buffers.order.extend(0..buffers.choices.len() as u32);
        let choices = &buffers.choices;
        buffers
            .order
            .sort_unstable_by_key(|&number| (choices[number as usize].expert, number));
        trace::lap("route");
    }

    /// Appends the experts that one token chooses by the router's scores `p`.
    fn choose(&self, p: &mut [f32], buffers: &mut Buffers) {
        match self.spec.gating {
            Gating::Softmax => softmax(p),
            Gating::Sigmoid => p.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
            Gating::SoftmaxOfChosen => {}
        }
        let preferences = &mut buffers.preferences;
        preferences.clear();
        preferences.extend_from_slice(p);
        if let Some(bias) = &self.exp_probs_b {
            let both = preferences.iter_mut().zip(bias);
            both.for_each(|(x, bias)| *x += bias);
        }
        if let Some(groups) = self.spec.groups {
            keep_best_groups(preferences, groups.n, groups.n_used, &mut buffers.groups);
        }
        let first = buffers.choices.len();
        for _ in 0..self.spec.n_used {
            let expert = most_probable(preferences);
            // Not to be chosen again.
            preferences[expert] = f32::NEG_INFINITY;
            let (weight, expert) = (p[expert], expert as u32);
            buffers.choices.push(Choice { expert, weight });
        }
        let chosen = &mut buffers.choices[first..];
        if self.spec.gating == Gating::SoftmaxOfChosen {
            let weights = &mut p[..chosen.len()];
            for (weight, choice) in weights.iter_mut().zip(&*chosen) {
                *weight = choice.weight;
            }
            softmax(weights);
            for (choice, weight) in chosen.iter_mut().zip(weights) {
                choice.weight = *weight;
            }
        }
        let mut factor = self.spec.scale;
        if self.spec.normalizes {
            let sum: f32 = chosen.iter().map(|choice| choice.weight).sum();
            factor /= sum.max(SMALLEST_SUM);
        }
        for choice in chosen {
            choice.weight *= factor;
        }
    }

    /// Writes what the layer adds: the sums, and what the shared network computes.
    fn add_shared(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let Some(shared) = &self.shared else {
            let s = &mut *pass.scratch;
            std::mem::swap(&mut s.own_delta, &mut s.experts.sums);
            return Ok(());
        };
        shared.feed_forward.forward(pass)?;
        let s = &mut *pass.scratch;
        let tokens = s.normed.chunks_exact(s.n_embd);
        let own_embd = self.ffn_down_exps.weight.n_rows();
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

/// Excludes the experts of all but the `n_used` best of `n` groups. A group is as good as its two best experts together.
fn keep_best_groups(preferences: &mut [f32], n: usize, n_used: usize, scores: &mut Vec<f32>) {
    let width = preferences.len() / n;
    scores.clear();
    for group in preferences.chunks_exact(width) {
        let mut best = [f32::NEG_INFINITY; 2];
        for &x in group {
            if x > best[0] {
                best = [x, best[0]];
            } else if x > best[1] {
                best[1] = x;
            }
        }
        scores.push(if width == 1 {
            best[0]
        } else {
            best[0] + best[1]
        });
    }
    for _ in 0..n_used {
        let group = most_probable(scores);
        // A mark, and never the best again.
        scores[group] = f32::NAN;
    }
    for (group, score) in preferences.chunks_exact_mut(width).zip(scores) {
        if !score.is_nan() {
            group.fill(f32::NEG_INFINITY);
        }
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

/// The choices of one expert.
struct Run<'a> {
    expert: usize,
    /// Their numbers, in ascending order.
    numbers: &'a [u32],
    /// How many choices each token has.
    n_used: usize,
}

impl Run<'_> {
    /// Which of the choices are of these tokens of the batch.
    fn rows(&self, tokens: &Range<usize>) -> Range<usize> {
        let before = |token: usize| {
            self.numbers
                .partition_point(|number| (*number as usize / self.n_used) < token)
        };
        before(tokens.start)..before(tokens.end)
    }
}

/// The runs in `order`, one for each expert that was chosen.
fn runs<'a>(
    order: &'a [u32],
    choices: &'a [Choice],
    n_used: usize,
) -> impl Iterator<Item = Run<'a>> {
    let expert = |number: &u32| choices[*number as usize].expert;
    let runs = order.chunk_by(move |a, b| expert(a) == expert(b));
    runs.map(move |numbers| Run {
        expert: expert(&numbers[0]) as usize,
        numbers,
        n_used,
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

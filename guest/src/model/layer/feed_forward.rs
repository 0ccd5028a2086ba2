//! The feed-forward network: `ffn_down(act(ffn_gate(x)) * ffn_up(x))`, or without a gate `ffn_down(act(ffn_up(x)))`. Sources:
//! Vaswani et al., 2017; Shazeer, 2020.

use super::super::forward::BATCH;
use super::super::group::{Group, Place, gather_columns, pause};
use super::super::plan::{FfnSpec, NormSpec};
use super::super::weights::{Linear, Loader};
use super::norm::Norm;
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::trace;

pub(super) struct FeedForward {
    spec: FfnSpec,
    /// `[F, E]`, the first half of `ffn_up` if that has both.
    ffn_gate: Option<Linear>,
    ffn_up: Linear,
    /// `[F]`: the inverse of what the hidden layer is divided by.
    ffn_act: Option<Vec<f32>>,
    /// `[F]`: of the hidden layer.
    ffn_sub_norm: Option<Norm>,
    /// `[E, F]`
    ffn_down: Linear,
}

/// What its matrices are called.
pub(super) struct Names {
    gate: &'static str,
    up: &'static str,
    down: &'static str,
}

impl Names {
    pub(super) const PLAIN: Self = Self {
        gate: "ffn_gate",
        up: "ffn_up",
        down: "ffn_down",
    };
    /// Beside a mixture of experts.
    pub(super) const SHARED: Self = Self {
        gate: "ffn_gate_shexp",
        up: "ffn_up_shexp",
        down: "ffn_down_shexp",
    };
}

/// The buffers of all feed-forward networks.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, own F]` twice, and the same for all instances.
    gate: Vec<f32>,
    up: Vec<f32>,
    hidden: Vec<f32>,
}

impl FeedForward {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        names: &Names,
        spec: FfnSpec,
        norm: NormSpec,
    ) -> Result<Self> {
        let n_ff = spec.n_ff;
        let (ff, embd) = (loader.place.rows(n_ff), loader.place.rows(n_embd));
        let (gate, up, down) = (name(names.gate), name(names.up), name(names.down));
        let sub_norm = name("ffn_sub_norm");
        let act = loader.optional_vector(&name("ffn.act.scales"), n_ff)?;
        let has_both = loader.rows_of(&format!("{up}.weight")) == Some(2 * n_ff as u64);
        let (ffn_gate, ffn_up) = if !spec.has_gate {
            (None, loader.linear_scaled_last(&up, [n_embd, n_ff], &ff)?)
        } else if !has_both {
            let gate = loader.linear_scaled_last(&gate, [n_embd, n_ff], &ff)?;
            let up = loader.linear_scaled_last(&up, [n_embd, n_ff], &ff)?;
            (Some(gate), up)
        } else {
            let both = [n_embd, 2 * n_ff];
            let second = n_ff + ff.start..n_ff + ff.end;
            let gate = loader.linear_scaled_last(&up, both, &ff)?;
            let up = loader.linear_scaled_last(&up, both, &second)?;
            (Some(gate), up)
        };
        Ok(Self {
            spec,
            ffn_gate,
            ffn_up,
            ffn_act: act.map(|act| act[ff.clone()].iter().map(|x| 1.0 / x).collect()),
            ffn_sub_norm: Norm::load_any(loader, &sub_norm, n_ff, norm)?,
            ffn_down: loader.linear_scaled_last(&down, [n_ff, n_embd], &embd)?,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch, place: Place) -> Result<()> {
        let n_ff = self.spec.n_ff;
        let buffers = &mut scratch.feed_forward;
        // In a group of one, the first and the last of these are swapped.
        reserve(&mut buffers.gate, BATCH * n_ff)?;
        let up = match self.ffn_sub_norm {
            None => place.rows(n_ff).len(),
            Some(_) => n_ff,
        };
        reserve(&mut buffers.up, BATCH * up)?;
        reserve(&mut buffers.hidden, BATCH * n_ff)?;
        scratch.activations.reserve(BATCH, n_ff)
    }

    /// Writes what the network adds.
    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let (n_tokens, n_ff) = (pass.n_tokens(), self.spec.n_ff);
        let s = &mut *pass.scratch;
        let Buffers { gate, up, hidden } = &mut s.feed_forward;
        if let Some(ffn_gate) = &self.ffn_gate {
            let readers = [&ffn_gate.weight, &self.ffn_up.weight];
            let input = quantized(&s.normed, &mut s.activations, readers);
            trace::lap("quantize");
            ffn_gate.apply(n_tokens, input, gate);
            trace::lap("ffn_gate");
            pause(pass.group)?;
            if let Some(bound) = self.spec.gate_bound {
                hidden.resize(n_tokens * n_ff, 0.0);
                bound_gates(pass.group, n_ff, bound, gate, hidden)?;
                trace::lap("gate_bound");
            }
            self.ffn_up.apply(n_tokens, input, up);
            trace::lap("ffn_up");
            self.spec.activation.gated(gate, up);
        } else {
            let input = quantized(&s.normed, &mut s.activations, [&self.ffn_up.weight]);
            trace::lap("quantize");
            self.ffn_up.apply(n_tokens, input, gate);
            trace::lap("ffn_up");
            self.spec.activation.alone(gate);
            if let Some(act) = &self.ffn_act {
                for row in gate.chunks_exact_mut(act.len().max(1)) {
                    row.iter_mut().zip(act).for_each(|(x, act)| *x *= act);
                }
            }
        }
        trace::lap("activation");

        hidden.resize(n_tokens * n_ff, 0.0);
        let columns = |place: Place| place.rows(n_ff);
        gather_columns(pass.group, gate, n_ff, columns, hidden)?;
        trace::lap("gather");
        let mut input = &*hidden;
        if let Some(norm) = &self.ffn_sub_norm {
            norm.apply(hidden, up);
            trace::lap("ffn_sub_norm");
            input = up;
        }
        let input = quantized(input, &mut s.activations, [&self.ffn_down.weight]);
        trace::lap("quantize");
        self.ffn_down.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("ffn_down");
        Ok(())
    }
}

/// Subtracts from each token's gates, `[T, own F]`, their mean and `bound` standard deviations; what is below 0 is 0.
/// `all`, `[T, F]`, is scratch.
fn bound_gates(
    group: &dyn Group,
    n_ff: usize,
    bound: f32,
    gate: &mut Vec<f32>,
    all: &mut Vec<f32>,
) -> Result<()> {
    let columns = |place: Place| place.rows(n_ff);
    let own = columns(Place::of(group));
    gather_columns(group, gate, n_ff, columns, all)?;
    gate.clear();
    for row in all.chunks_exact(n_ff) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / n_ff as f64;
        let squares = row.iter().map(|x| (f64::from(*x) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / (n_ff as f64 - 1.0).max(1.0)).sqrt();
        let least = mean as f32 + bound * deviation as f32;
        gate.extend(row[own.clone()].iter().map(|x| (x - least).max(0.0)));
    }
    Ok(())
}

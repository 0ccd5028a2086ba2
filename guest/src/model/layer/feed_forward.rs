//! The gated feed-forward network: `ffn_down(act(ffn_gate(x)) * ffn_up(x))`. Source: Shazeer, 2020.

use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns, pause};
use super::super::plan::Activation;
use super::super::weights::{Linear, Loader};
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

pub(super) struct FeedForward {
    /// F.
    n_ff: usize,
    activation: Activation,
    /// `[F, E]`
    ffn_gate: Linear,
    ffn_up: Linear,
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
        n_ff: usize,
        activation: Activation,
    ) -> Result<Self> {
        let (ff, embd) = (loader.place.rows(n_ff), loader.place.rows(n_embd));
        Ok(Self {
            n_ff,
            activation,
            ffn_gate: loader.linear(&name(names.gate), [n_embd, n_ff], &ff)?,
            ffn_up: loader.linear(&name(names.up), [n_embd, n_ff], &ff)?,
            ffn_down: loader.linear(&name(names.down), [n_ff, n_embd], &embd)?,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch, place: Place) -> Result<()> {
        let buffers = &mut scratch.feed_forward;
        // In a group of one, the first and the last of these are swapped.
        reserve(&mut buffers.gate, BATCH * self.n_ff)?;
        reserve(&mut buffers.up, BATCH * place.rows(self.n_ff).len())?;
        reserve(&mut buffers.hidden, BATCH * self.n_ff)?;
        scratch.activations.reserve(BATCH, self.n_ff)
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let (n_tokens, n_ff) = (pass.n_tokens(), self.n_ff);
        let s = &mut *pass.scratch;
        let Buffers { gate, up, hidden } = &mut s.feed_forward;
        let readers = [&self.ffn_gate.weight, &self.ffn_up.weight];
        let input = quantized(&s.normed, &mut s.activations, readers);
        trace::lap("quantize");
        self.ffn_gate.apply(n_tokens, input, gate);
        trace::lap("ffn_gate");
        pause(pass.group)?;
        self.ffn_up.apply(n_tokens, input, up);
        trace::lap("ffn_up");
        match self.activation {
            Activation::Silu => kernels::swiglu(gate, up),
            Activation::Gelu => kernels::geglu(gate, up),
        }
        trace::lap("activation");

        hidden.resize(n_tokens * n_ff, 0.0);
        let columns = |place: Place| place.rows(n_ff);
        gather_columns(pass.group, gate, n_ff, columns, hidden)?;
        trace::lap("gather");
        let input = quantized(hidden, &mut s.activations, [&self.ffn_down.weight]);
        trace::lap("quantize");
        self.ffn_down.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("ffn_down");
        Ok(())
    }
}

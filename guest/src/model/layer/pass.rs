//! What a batch is computed in: its spans, the residual stream, and the buffers of all layers.

use super::super::attention;
use super::super::forward::{BATCH, Span};
use super::super::group::{Group, Place, gather_columns};
use super::super::rope::Ropes;
use super::super::weights::{Linear, Matrix};
use super::{attention as attention_layer, experts, feed_forward};
use crate::error::{Result, reserve};
use crate::kernels::{self, Activations, Input};
use crate::trace;

/// A batch on its way through the layers.
pub(crate) struct Pass<'a, 'b> {
    pub(crate) batch: &'a mut [Span<'b>],
    pub(crate) group: &'a dyn Group,
    pub(crate) ropes: &'a Ropes,
    pub(crate) norm_eps: f32,
    pub(crate) scratch: &'a mut Scratch,
}

/// The buffers of a batch. All are allocated when a model is loaded or a session starts.
#[derive(Default)]
pub(crate) struct Scratch {
    /// E.
    pub(crate) n_embd: usize,
    /// `[T, E]`: the residual stream.
    pub(crate) x: Vec<f32>,
    /// `[T, E]`: normalised.
    pub(crate) normed: Vec<f32>,
    /// The input of the next products in 8 bits.
    pub(crate) activations: Activations,
    /// `[T, own E]`, and the same for all instances: what a layer adds to the residual stream.
    pub(super) own_delta: Vec<f32>,
    delta: Vec<f32>,
    /// What scores and sums of values are computed in.
    pub(crate) attention: attention::Attention,
    pub(super) heads: attention_layer::Buffers,
    pub(super) feed_forward: feed_forward::Buffers,
    pub(super) experts: experts::Buffers,
}

impl Scratch {
    /// Buffers for a residual stream of this width. The layers reserve theirs.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn new(n_embd: usize) -> Result<Self> {
        let mut scratch = Self {
            n_embd,
            ..Self::default()
        };
        // In a group of one, an instance's own columns and all columns are swapped.
        for buffer in [
            &mut scratch.x,
            &mut scratch.normed,
            &mut scratch.own_delta,
            &mut scratch.delta,
        ] {
            reserve(buffer, BATCH * n_embd)?;
        }
        scratch.activations.reserve(BATCH, n_embd)?;
        Ok(scratch)
    }

    /// Moves the wanted rows of the residual stream to its front. Returns how many there are.
    pub(crate) fn keep_wanted(&mut self, batch: &[Span<'_>]) -> usize {
        let (n_embd, mut first, mut kept) = (self.n_embd, 0, 0);
        for Span { tokens, wanted, .. } in batch {
            let rows = (first + wanted.start) * n_embd..(first + wanted.end) * n_embd;
            self.x.copy_within(rows, kept * n_embd);
            kept += wanted.len();
            first += tokens.len();
        }
        kept
    }
}

impl Pass<'_, '_> {
    /// The number of tokens of all spans, T.
    pub(super) fn n_tokens(&self) -> usize {
        self.scratch.x.len() / self.scratch.n_embd
    }

    /// Normalises the residual stream.
    pub(super) fn norm(&mut self, weight: &[f32]) {
        let s = &mut *self.scratch;
        norm_rows(&s.x, weight, self.norm_eps, &mut s.normed);
    }

    /// Gathers what a layer adds to the residual stream, normalises it if there is a weight for that, and adds it times
    /// `scale`.
    pub(super) fn add_delta(&mut self, norm: Option<&[f32]>, scale: f32) -> Result<()> {
        let s = &mut *self.scratch;
        let n_embd = s.n_embd;
        s.delta.resize(s.x.len(), 0.0);
        let columns = |place: Place| place.rows(n_embd);
        gather_columns(self.group, &mut s.own_delta, n_embd, columns, &mut s.delta)?;
        trace::lap("gather");
        let mut delta = &s.delta;
        if let Some(weight) = norm {
            norm_rows(delta, weight, self.norm_eps, &mut s.normed);
            trace::lap("post_norm");
            delta = &s.normed;
        }
        if scale == 1.0 {
            s.x.iter_mut().zip(delta).for_each(|(x, delta)| *x += delta);
        } else {
            let scaled = s.x.iter_mut().zip(delta);
            scaled.for_each(|(x, delta)| *x += scale * delta);
        }
        trace::lap("residual");
        Ok(())
    }
}

impl Linear {
    /// `out = input * weight^T + bias`, `[n_tokens, own rows]`.
    pub(super) fn apply(&self, n_tokens: usize, input: Input<'_>, out: &mut Vec<f32>) {
        out.resize(n_tokens * self.weight.n_rows(), 0.0);
        kernels::matmul(self.weight.rows(), input, out);
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(bias.len().max(1)) {
                for (x, bias) in row.iter_mut().zip(bias) {
                    *x += bias;
                }
            }
        }
    }
}

/// Quantises `x`, `[T, cols]`, to the forms that these matrices read.
pub(crate) fn quantized<'a, const N: usize>(
    x: &'a [f32],
    activations: &'a mut Activations,
    readers: [&Matrix; N],
) -> Input<'a> {
    let types = readers.iter().map(|matrix| matrix.rows().ty);
    activations.quantize(x, readers[0].rows().cols, types)
}

/// Normalises each row of `x`, `[T, weight.len()]`.
pub(crate) fn norm_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut Vec<f32>) {
    out.resize(x.len(), 0.0);
    let rows = x.chunks_exact(weight.len());
    for (x, out) in rows.zip(out.chunks_exact_mut(weight.len())) {
        kernels::rms_norm(x, weight, eps, out);
    }
}

//! What a batch is computed in: its spans, the residual stream, and the buffers of all layers.

use super::super::attention;
use super::super::forward::{BATCH, Span};
use super::super::group::{Group, Place, gather_columns};
use super::super::lora::Attached;
use super::super::rope::Ropes;
use super::super::weights::{Linear, Matrix};
use super::{
    Norm, SublayerNorms, altup, attention as attention_layer, experts, feed_forward, mla,
    per_layer, rwkv, ssm,
};
use crate::error::{Result, reserve};
use crate::gguf::TensorType;
use crate::kernels;
use crate::trace;

/// A batch on its way through the layers.
pub(crate) struct Pass<'a, 'b> {
    pub(crate) batch: &'a mut [Span<'b>],
    pub(crate) group: &'a dyn Group,
    pub(crate) ropes: &'a Ropes,
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
    /// The input of the next products.
    pub(crate) activations: Activations,
    /// `[T, own E]`, and the same for all instances: what a layer adds to the residual stream.
    pub(super) own_delta: Vec<f32>,
    delta: Vec<f32>,
    /// `[T, own E]`: what the first parts of a sublayer add, if it has several.
    sum: Vec<f32>,
    /// `[T, E]`: the residual stream before the layer, if both sublayers see the same.
    before: Vec<f32>,
    /// What scores and sums of values are computed in.
    pub(crate) attention: attention::Attention,
    pub(super) heads: attention_layer::Buffers,
    pub(super) feed_forward: feed_forward::Buffers,
    pub(super) experts: experts::Buffers,
    pub(super) per_layer: per_layer::Buffers,
    pub(super) latent: mla::Buffers,
    pub(super) recurrent: ssm::Buffers,
    pub(super) rwkv: rwkv::Buffers,
    pub(super) altup: altup::Buffers,
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

    pub(super) fn reserve_sum(&mut self) -> Result<()> {
        reserve(&mut self.sum, BATCH * self.n_embd)
    }

    pub(super) fn reserve_before(&mut self) -> Result<()> {
        reserve(&mut self.before, BATCH * self.n_embd)
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

    /// Makes the input of a sublayer of the residual stream.
    pub(super) fn normalize(&mut self, norm: Option<&Norm>) {
        let s = &mut *self.scratch;
        normalize(&s.x, norm, &mut s.normed);
    }

    /// Keeps the residual stream as it is, for [`Pass::normalize_kept`].
    pub(super) fn keep(&mut self) {
        let s = &mut *self.scratch;
        s.before.clone_from(&s.x);
    }

    /// Makes the input of a sublayer of the residual stream that was kept.
    pub(super) fn normalize_kept(&mut self, norm: Option<&Norm>) {
        let s = &mut *self.scratch;
        normalize(&s.before, norm, &mut s.normed);
    }

    /// Adds what the parts of a sublayer add: after part `i` of `n`.
    pub(super) fn sum_up(&mut self, i: usize, n: usize) {
        let s = &mut *self.scratch;
        if i > 0 {
            let both = s.own_delta.iter_mut().zip(&s.sum);
            both.for_each(|(x, sum)| *x += sum);
        }
        if i + 1 < n {
            std::mem::swap(&mut s.own_delta, &mut s.sum);
            s.own_delta.resize(s.sum.len(), 0.0);
        }
    }

    /// The same where each part has norms of its own: gathers what part `i` adds, and adds it up normalised. At the end
    /// comes [`Pass::add_sum`].
    pub(super) fn sum_up_normed(&mut self, i: usize, norm: Option<&Norm>) -> Result<()> {
        self.gather_delta()?;
        let s = &mut *self.scratch;
        normalize(&s.delta, norm, &mut s.normed);
        match i {
            0 => s.sum.clone_from(&s.normed),
            _ => s.sum.iter_mut().zip(&s.normed).for_each(|(x, y)| *x += y),
        }
        trace::lap("post_norm");
        Ok(())
    }

    /// Adds what [`Pass::sum_up_normed`] has added up, as [`Pass::add_delta`] does.
    pub(super) fn add_sum(&mut self, before: f32, norm: Option<&Norm>, scale: f32) {
        let s = &mut *self.scratch;
        std::mem::swap(&mut s.delta, &mut s.sum);
        self.add_gathered(before, norm, scale);
    }

    /// Normalises the residual stream after a sublayer has added to it, if it has norms for that.
    pub(super) fn normalize_sum(&mut self, norms: &SublayerNorms) {
        let s = &mut *self.scratch;
        if let Some(norm) = &norms.of_sum {
            norm.apply(&s.x, &mut s.normed);
            std::mem::swap(&mut s.x, &mut s.normed);
        }
        if let Some(norm) = &norms.of_second_sum {
            s.x.iter_mut().zip(&s.before).for_each(|(x, y)| *x += y);
            norm.apply(&s.x, &mut s.normed);
            std::mem::swap(&mut s.x, &mut s.normed);
        }
    }

    /// Gathers what a sublayer adds to the residual stream, times `before`, normalises it if there is a norm for that,
    /// and adds it times `scale`.
    pub(super) fn add_delta(&mut self, before: f32, norm: Option<&Norm>, scale: f32) -> Result<()> {
        self.gather_delta()?;
        self.add_gathered(before, norm, scale);
        Ok(())
    }

    fn gather_delta(&mut self) -> Result<()> {
        let s = &mut *self.scratch;
        let n_embd = s.n_embd;
        s.delta.resize(s.x.len(), 0.0);
        let columns = |place: Place| place.rows(n_embd);
        gather_columns(self.group, &mut s.own_delta, n_embd, columns, &mut s.delta)?;
        trace::lap("gather");
        Ok(())
    }

    fn add_gathered(&mut self, before: f32, norm: Option<&Norm>, scale: f32) {
        let s = &mut *self.scratch;
        if before != 1.0 {
            s.delta.iter_mut().for_each(|x| *x *= before);
        }
        let mut delta = &s.delta;
        if let Some(norm) = norm {
            norm.apply(delta, &mut s.normed);
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
    }
}

/// The norm of `x`, or `x` itself.
fn normalize(x: &Vec<f32>, norm: Option<&Norm>, out: &mut Vec<f32>) {
    match norm {
        Some(norm) => norm.apply(x, out),
        None => out.clone_from(x),
    }
}

/// The inputs of products: in 8 bits, and with the adapters of the batch.
#[derive(Default)]
pub(crate) struct Activations {
    forms: kernels::Activations,
    /// The adapters that the products of the batch are changed by.
    pub(crate) attached: Attached,
}

impl Activations {
    /// As [`kernels::Activations::reserve`].
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn reserve(&mut self, tokens: usize, cols: usize) -> Result<()> {
        self.forms.reserve(tokens, cols)
    }

    /// As [`kernels::Activations::quantize`].
    pub(crate) fn quantize<'a>(
        &'a mut self,
        x: &'a [f32],
        cols: usize,
        readers: impl Iterator<Item = TensorType>,
    ) -> Input<'a> {
        Input {
            rows: self.forms.quantize(x, cols, readers),
            attached: &self.attached,
        }
    }

    /// As [`kernels::Activations::input`].
    pub(crate) fn input<'a>(&'a self, x: &'a [f32]) -> Input<'a> {
        Input {
            rows: self.forms.input(x),
            attached: &self.attached,
        }
    }
}

/// Rows of activations, one for each token of the batch, and the adapters of these tokens.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) rows: kernels::Input<'a>,
    pub(crate) attached: &'a Attached,
}

impl Linear {
    /// `out = input * weight^T * scale + bias`, `[n_tokens, own rows]`, and what adapters add.
    pub(crate) fn apply(&self, n_tokens: usize, input: Input<'_>, out: &mut Vec<f32>) {
        out.resize(n_tokens * self.weight.n_rows(), 0.0);
        kernels::matmul(self.weight.rows(), input.rows, out);
        if let Some(scale) = self.scale {
            out.iter_mut().for_each(|x| *x *= scale);
        }
        input.attached.add(self.number, input.rows, out);
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
    let cols = readers[0].rows().cols;
    activations.quantize(x, cols, types)
}

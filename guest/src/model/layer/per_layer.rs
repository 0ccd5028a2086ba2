//! What a layer gets of a token besides the residual stream: `post_norm(proj(gelu(inp_gate(x)) * input))`, where the input is
//! an embedding of the token for this layer plus a projection of its first embedding. Source: Gemma Team, 2025 (Gemma 3n).

use super::super::forward::{BATCH, Span};
use super::super::group::{Group, Place, gather_columns};
use super::super::plan::{Activation, NormSpec, Plan};
use super::super::weights::{Linear, Loader, Matrix};
use super::norm::Norm;
use super::{Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::trace;

/// The inputs of all layers. L is the number of layers, P the width of what one gets.
pub(crate) struct PerLayerInputs {
    width: usize,
    /// `[V, L * P]`, all rows.
    token_embd: Matrix,
    /// `[L * P, E]`, this instance's rows.
    model_proj: Linear,
    /// `[P]`
    proj_norm: Norm,
    n_embd: usize,
    /// L * P
    n: usize,
}

/// What a layer makes of its input.
pub(super) struct PerLayer {
    width: usize,
    /// The number of the layer.
    l: usize,
    /// `[P, E]`, all rows.
    inp_gate: Linear,
    /// `[E, P]`
    proj: Linear,
    /// `[E]`
    post_norm: Norm,
}

/// The buffers of all layers.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[T, own L * P]`, and the same for all instances, which becomes the input of the layers.
    own: Vec<f32>,
    inputs: Vec<f32>,
    /// `[L * P]`: a token's embeddings.
    row: Vec<f32>,
    /// `[P]`
    normed: Vec<f32>,
    /// `[T, P]`
    gate: Vec<f32>,
}

impl PerLayerInputs {
    pub(crate) fn load(loader: &mut Loader<'_>, plan: &Plan, width: usize) -> Result<Self> {
        let Plan {
            n_embd, n_vocab, ..
        } = *plan;
        let n = plan.layers.len() * width;
        let rows = loader.place.rows(n);
        Ok(Self {
            width,
            token_embd: loader.matrix("per_layer_token_embd", [n, n_vocab], 0..n_vocab)?,
            model_proj: loader.linear("per_layer_model_proj", [n_embd, n], &rows)?,
            proj_norm: Norm::load(loader, "per_layer_proj_norm", width, plan.norm)?,
            n_embd,
            n,
        })
    }

    pub(crate) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let buffers = &mut scratch.per_layer;
        // In a group of one, these two are swapped.
        reserve(&mut buffers.own, BATCH * self.n)?;
        reserve(&mut buffers.inputs, BATCH * self.n)?;
        reserve(&mut buffers.row, self.n)?;
        reserve(&mut buffers.normed, self.width)
    }

    /// Computes the inputs of all layers, of what the residual stream starts with.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn prepare(
        &self,
        batch: &[Span<'_>],
        group: &dyn Group,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let n_tokens = scratch.x.len() / self.n_embd;
        let Buffers {
            own,
            inputs,
            row,
            normed,
            ..
        } = &mut scratch.per_layer;
        let readers = [&self.model_proj.weight];
        let input = quantized(&scratch.x, &mut scratch.activations, readers);
        self.model_proj.apply(n_tokens, input, own);
        inputs.resize(n_tokens * self.n, 0.0);
        let columns = |place: Place| place.rows(self.n);
        gather_columns(group, own, self.n, columns, inputs)?;

        let projected = 1.0 / (self.n_embd as f32).sqrt();
        let embedded = (self.width as f32).sqrt();
        let both = 0.5f32.sqrt();
        let tokens = batch.iter().flat_map(|span| span.tokens);
        row.resize(self.n, 0.0);
        normed.resize(self.width, 0.0);
        for (x, &token) in inputs.chunks_exact_mut(self.n).zip(tokens) {
            self.token_embd.row(token as usize, row);
            let layers = x.chunks_exact_mut(self.width);
            for (x, row) in layers.zip(row.chunks_exact(self.width)) {
                x.iter_mut().for_each(|x| *x *= projected);
                self.proj_norm.row(x, normed);
                let parts = normed.iter().zip(row);
                let sums = parts.map(|(projected, row)| (projected + row * embedded) * both);
                x.iter_mut().zip(sums).for_each(|(x, sum)| *x = sum);
            }
        }
        trace::lap("per_layer_inputs");
        Ok(())
    }
}

impl PerLayer {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        norm: NormSpec,
        width: usize,
        l: usize,
    ) -> Result<Self> {
        let rows = loader.place.rows(n_embd);
        Ok(Self {
            width,
            l,
            inp_gate: loader.linear(&name("inp_gate"), [n_embd, width], &(0..width))?,
            proj: loader.linear(&name("proj"), [width, n_embd], &rows)?,
            post_norm: Norm::load(loader, &name("post_norm"), n_embd, norm)?,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        reserve(&mut scratch.per_layer.gate, BATCH * self.width)?;
        scratch.activations.reserve(BATCH, self.width)
    }

    /// Computes what [`PerLayer::add`] adds.
    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) {
        let n_tokens = pass.n_tokens();
        let s = &mut *pass.scratch;
        let Buffers { inputs, gate, .. } = &mut s.per_layer;
        let input = quantized(&s.x, &mut s.activations, [&self.inp_gate.weight]);
        self.inp_gate.apply(n_tokens, input, gate);
        Activation::Gelu.alone(gate);
        let n = inputs.len() / n_tokens;
        let inputs = inputs
            .chunks_exact(n)
            .map(|inputs| &inputs[self.l * self.width..]);
        for (gate, inputs) in gate.chunks_exact_mut(self.width).zip(inputs) {
            gate.iter_mut()
                .zip(inputs)
                .for_each(|(x, input)| *x *= input);
        }
        let input = quantized(gate, &mut s.activations, [&self.proj.weight]);
        self.proj.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("per_layer");
    }

    /// Adds it to the residual stream.
    pub(super) fn add(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        pass.add_delta(1.0, Some(&self.post_norm), 1.0)
    }
}

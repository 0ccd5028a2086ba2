//! The kinds of layers. A file has one kind: how it is loaded, what it computes of a batch, and how wide its buffers are.
//! What it keeps of a sequence is in [`super::state`].

mod attention;
mod experts;
mod feed_forward;
mod pass;

use super::group::Place;
use super::plan::{self, LayerSpec, Norms, Plan};
use super::rope::Ropes;
use super::weights::Loader;
use crate::error::Result;
use crate::trace;
use attention::Attention;
use experts::Experts;
use feed_forward::{FeedForward, Names};
pub(crate) use pass::{Pass, Scratch, norm_rows, quantized};

/// One layer: `x += mixer(norm(x))`, then `x += ffn(norm(x))`.
pub(crate) struct Layer {
    /// `[E]`
    attn_norm: Vec<f32>,
    mixer: Mixer,
    /// `[E]`, if what comes out is normalised.
    post_attention_norm: Option<Vec<f32>>,
    /// `[E]`
    ffn_norm: Vec<f32>,
    ffn: Ffn,
    /// `[E]`, if what comes out is normalised.
    post_ffw_norm: Option<Vec<f32>>,
    residual_scale: f32,
}

enum Mixer {
    Attention(Attention),
}

#[allow(
    clippy::large_enum_variant,
    reason = "one for each layer, made when a model is loaded; below the lint's limit with 32 bits"
)]
enum Ffn {
    Gated(FeedForward),
    Experts(Experts),
}

impl Layer {
    /// Loads layer `l`, and adds its rotary frequencies to `ropes`.
    pub(crate) fn load(
        loader: &mut Loader<'_>,
        ropes: &mut Ropes,
        plan: &Plan,
        l: usize,
        spec: &LayerSpec,
    ) -> Result<Self> {
        let n_embd = plan.n_embd;
        let name = |tensor: &str| format!("blk.{l}.{tensor}");
        let after = |loader: &mut Loader<'_>, tensor: &str| match spec.norms {
            Norms::Before => Ok(None),
            Norms::BeforeAndAfter => loader.vector(&name(tensor), n_embd).map(Some),
        };
        Ok(Self {
            attn_norm: loader.vector(&name("attn_norm.weight"), n_embd)?,
            mixer: match &spec.mixer {
                plan::Mixer::Attention(spec) => {
                    Mixer::Attention(Attention::load(loader, ropes, n_embd, name, spec)?)
                }
            },
            post_attention_norm: after(loader, "post_attention_norm.weight")?,
            ffn_norm: loader.vector(&name("ffn_norm.weight"), n_embd)?,
            ffn: match &spec.ffn {
                plan::Ffn::Gated { n_ff, activation } => {
                    let (n_ff, activation) = (*n_ff, *activation);
                    let names = &Names::PLAIN;
                    let made = FeedForward::load(loader, n_embd, name, names, n_ff, activation);
                    Ffn::Gated(made?)
                }
                plan::Ffn::Experts(spec) => {
                    Ffn::Experts(Experts::load(loader, n_embd, name, spec)?)
                }
            },
            post_ffw_norm: after(loader, "post_ffw_norm.weight")?,
            residual_scale: spec.residual_scale,
        })
    }

    /// Reserves buffers for a batch.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn reserve(&self, scratch: &mut Scratch, place: Place) -> Result<()> {
        match &self.mixer {
            Mixer::Attention(attention) => attention.reserve(scratch)?,
        }
        match &self.ffn {
            Ffn::Gated(feed_forward) => feed_forward.reserve(scratch, place),
            Ffn::Experts(experts) => experts.reserve(scratch, place),
        }
    }

    /// Computes a batch. `l` is the number of this layer: the states of the sequences are in the same order.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn forward(&self, pass: &mut Pass<'_, '_>, l: usize) -> Result<()> {
        pass.norm(&self.attn_norm);
        trace::lap("attn_norm");
        match &self.mixer {
            Mixer::Attention(attention) => attention.forward(pass, l)?,
        }
        pass.add_delta(self.post_attention_norm.as_deref(), self.residual_scale)?;
        pass.norm(&self.ffn_norm);
        trace::lap("ffn_norm");
        match &self.ffn {
            Ffn::Gated(feed_forward) => feed_forward.forward(pass)?,
            Ffn::Experts(experts) => experts.forward(pass)?,
        }
        pass.add_delta(self.post_ffw_norm.as_deref(), self.residual_scale)
    }
}

//! The kinds of layers. A file has one kind: how it is loaded, what it computes of a batch, and how wide its buffers are.
//! What it keeps of a sequence is in [`super::state`].

mod activation;
mod altup;
mod attention;
mod conv;
mod delta_net;
mod experts;
mod feed_forward;
mod mla;
mod norm;
mod pass;
mod per_layer;
mod rwkv;
mod short_conv;
mod ssm;

use super::group::Place;
use super::plan::{self, LayerSpec, Norms, Plan};
use super::rope::Ropes;
use super::weights::Loader;
use crate::error::Result;
use crate::trace;
pub(crate) use activation::softplus;
pub(crate) use altup::Streams;
use altup::{AltUp, Laurel};
use attention::Attention;
use delta_net::DeltaNet;
use experts::Experts;
use feed_forward::{FeedForward, Names};
use mla::Mla;
pub(crate) use norm::Norm;
pub(crate) use pass::{Activations, Input, Pass, Scratch, quantized};
use per_layer::PerLayer;
pub(crate) use per_layer::PerLayerInputs;
use rwkv::{ChannelMix, TimeMix};
use short_conv::ShortConv;
use ssm::Ssm;

/// One layer: two sublayers, each of which adds to the residual stream.
pub(crate) struct Layer {
    mixers: Vec<Mixer>,
    mixer_norms: SublayerNorms,
    laurel: Option<Laurel>,
    ffns: Vec<Ffn>,
    ffn_norms: SublayerNorms,
    /// Those of each part, if they have their own.
    ffn_part_norms: Vec<SublayerNorms>,
    is_parallel: bool,
    residual_scale: f32,
    ffn_scale: f32,
    per_layer: Option<PerLayer>,
    /// What it knows of other residual streams, if there are any.
    altup: Option<AltUp>,
    /// The factor of the residual stream after the layer.
    output_scale: Option<f32>,
}

/// The norms of what goes into a sublayer, of what comes out, and of the residual stream after that.
struct SublayerNorms {
    before: Option<Norm>,
    after: Option<Norm>,
    of_sum: Option<Norm>,
    of_second_sum: Option<Norm>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "one for each layer, made when a model is loaded"
)]
enum Mixer {
    Attention(Attention),
    Mla(Mla),
    Ssm(Ssm),
    DeltaNet(DeltaNet),
    ShortConv(ShortConv),
    TimeMix(TimeMix),
}

#[allow(
    clippy::large_enum_variant,
    reason = "one for each layer, made when a model is loaded; below the lint's limit with 32 bits"
)]
enum Ffn {
    Dense(FeedForward),
    Experts(Experts),
    ChannelMix(ChannelMix),
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
        let (n_embd, norm) = (plan.n_embd, plan.norm);
        let name = |tensor: &str| format!("blk.{l}.{tensor}");
        let norms = |loader: &mut Loader<'_>, names: Norms, is_empty: bool| {
            let mut load = |tensor: Option<&str>| {
                let tensor = tensor.filter(|_| !is_empty).map(name);
                tensor
                    .map(|tensor| Norm::load(loader, &tensor, n_embd, norm))
                    .transpose()
            };
            Ok(SublayerNorms {
                before: load(names.before)?,
                after: load(names.after)?,
                of_sum: load(names.of_sum)?,
                of_second_sum: load(names.of_second_sum)?,
            })
        };
        let mixer_norms = norms(loader, spec.mixer_norms, spec.mixers.is_empty())?;
        let mixers = spec.mixers.iter().map(|mixer| match mixer {
            plan::Mixer::Attention(spec) => {
                Attention::load(loader, ropes, n_embd, name, spec, norm).map(Mixer::Attention)
            }
            plan::Mixer::Mla(spec) => {
                Mla::load(loader, ropes, n_embd, name, spec, norm).map(Mixer::Mla)
            }
            plan::Mixer::Ssm(spec) => Ssm::load(loader, n_embd, name, spec, norm).map(Mixer::Ssm),
            plan::Mixer::DeltaNet(spec) => {
                DeltaNet::load(loader, n_embd, name, spec, norm).map(Mixer::DeltaNet)
            }
            plan::Mixer::ShortConv(spec) => {
                ShortConv::load(loader, name, spec).map(Mixer::ShortConv)
            }
            plan::Mixer::TimeMix(spec) => {
                TimeMix::load(loader, n_embd, name, spec).map(Mixer::TimeMix)
            }
        });
        let mixers = mixers.collect::<Result<_>>()?;
        let ffn_norms = norms(loader, spec.ffn_norms, spec.ffns.is_empty())?;
        let ffn_part_norms = spec.ffn_part_norms.iter();
        let ffn_part_norms = ffn_part_norms.map(|names| norms(loader, *names, false));
        let ffn_part_norms = ffn_part_norms.collect::<Result<_>>()?;
        let ffns = spec.ffns.iter().map(|ffn| match ffn {
            plan::Ffn::Dense(spec) => {
                let names = &Names::PLAIN;
                FeedForward::load(loader, n_embd, name, names, *spec, norm).map(Ffn::Dense)
            }
            plan::Ffn::Experts(spec) => {
                Experts::load(loader, n_embd, name, spec, norm).map(Ffn::Experts)
            }
            plan::Ffn::ChannelMix(spec) => {
                ChannelMix::load(loader, n_embd, name, spec).map(Ffn::ChannelMix)
            }
        });
        let ffns = ffns.collect::<Result<_>>()?;
        let per_layer = match plan.input.per_layer {
            None => None,
            Some(width) => Some(PerLayer::load(loader, n_embd, name, norm, width, l)?),
        };
        let altup = match plan.input.altup {
            None => None,
            Some(spec) => Some(AltUp::load(loader, n_embd, name, norm, spec)?),
        };
        let laurel = match spec.laurel {
            None => None,
            Some(rank) => Some(Laurel::load(loader, n_embd, name, norm, rank)?),
        };
        let output_scale = match spec.has_output_scale {
            false => None,
            true => loader.optional_vector(&name("layer_output_scale.weight"), 1)?,
        };
        Ok(Self {
            mixers,
            mixer_norms,
            laurel,
            ffns,
            ffn_part_norms,
            ffn_norms,
            is_parallel: spec.is_parallel,
            residual_scale: spec.residual_scale,
            ffn_scale: spec.ffn_scale,
            per_layer,
            altup,
            output_scale: output_scale.map(|scale| scale[0]),
        })
    }

    /// Reserves buffers for a batch.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn reserve(&self, scratch: &mut Scratch, place: Place) -> Result<()> {
        for mixer in &self.mixers {
            match mixer {
                Mixer::Attention(attention) => attention.reserve(scratch)?,
                Mixer::Mla(mla) => mla.reserve(scratch)?,
                Mixer::Ssm(ssm) => ssm.reserve(scratch)?,
                Mixer::DeltaNet(delta_net) => delta_net.reserve(scratch)?,
                Mixer::ShortConv(short_conv) => short_conv.reserve(scratch)?,
                Mixer::TimeMix(time_mix) => time_mix.reserve(scratch)?,
            }
        }
        for ffn in &self.ffns {
            match ffn {
                Ffn::Dense(feed_forward) => feed_forward.reserve(scratch, place)?,
                Ffn::Experts(experts) => experts.reserve(scratch, place)?,
                Ffn::ChannelMix(channel_mix) => channel_mix.reserve(scratch)?,
            }
        }
        if self.mixers.len() > 1 || self.ffns.len() > 1 {
            scratch.reserve_sum()?;
        }
        if self.keeps_before() {
            scratch.reserve_before()?;
        }
        if let Some(per_layer) = &self.per_layer {
            per_layer.reserve(scratch)?;
        }
        if let Some(laurel) = &self.laurel {
            laurel.reserve(scratch)?;
        }
        Ok(())
    }

    /// Whether the residual stream before the layer is needed after its first sublayer.
    fn keeps_before(&self) -> bool {
        self.is_parallel || self.mixer_norms.of_second_sum.is_some()
    }

    /// Keeps what the tokens of a batch are seen by, for an encoder. [`Layer::forward`] follows once that is done for the
    /// whole text.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn keep(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        pass.normalize(self.mixer_norms.before.as_ref());
        for mixer in &self.mixers {
            if let Mixer::Attention(attention) = mixer {
                attention.keep(pass)?;
            }
        }
        Ok(())
    }

    /// Computes a batch.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        if let Some(altup) = &self.altup {
            altup.predict(pass);
        }
        for ffn in &self.ffns {
            if let Ffn::Experts(experts) = ffn
                && experts.routes_before_layer()
            {
                experts.route(pass);
            }
        }
        if self.keeps_before() {
            pass.keep();
        }
        if !self.mixers.is_empty() {
            pass.normalize(self.mixer_norms.before.as_ref());
            trace::lap("attn_norm");
            if let Some(laurel) = &self.laurel {
                laurel.forward(pass)?;
            }
            for (i, mixer) in self.mixers.iter().enumerate() {
                match mixer {
                    Mixer::Attention(attention) => attention.forward(pass)?,
                    Mixer::Mla(mla) => mla.forward(pass)?,
                    Mixer::Ssm(ssm) => ssm.forward(pass)?,
                    Mixer::DeltaNet(delta_net) => delta_net.forward(pass)?,
                    Mixer::ShortConv(short_conv) => short_conv.forward(pass)?,
                    Mixer::TimeMix(time_mix) => time_mix.forward(pass)?,
                }
                pass.sum_up(i, self.mixers.len());
            }
            let after = self.mixer_norms.after.as_ref();
            pass.add_delta(1.0, after, self.residual_scale)?;
            pass.normalize_sum(&self.mixer_norms);
            if self.laurel.is_some() {
                Laurel::add(pass);
            }
        }
        if !self.ffns.is_empty() {
            match self.is_parallel {
                true => pass.normalize_kept(self.ffn_norms.before.as_ref()),
                false => pass.normalize(self.ffn_norms.before.as_ref()),
            }
            trace::lap("ffn_norm");
            for (i, ffn) in self.ffns.iter().enumerate() {
                let norms = self.ffn_part_norms.get(i);
                if let Some(norms) = norms {
                    pass.normalize(norms.before.as_ref());
                }
                match ffn {
                    Ffn::Dense(feed_forward) => feed_forward.forward(pass)?,
                    Ffn::Experts(experts) => experts.forward(pass)?,
                    Ffn::ChannelMix(channel_mix) => channel_mix.forward(pass)?,
                }
                match norms {
                    Some(norms) => pass.sum_up_normed(i, norms.after.as_ref())?,
                    None => pass.sum_up(i, self.ffns.len()),
                }
            }
            let after = self.ffn_norms.after.as_ref();
            match self.ffn_part_norms.is_empty() {
                true => pass.add_delta(self.ffn_scale, after, self.residual_scale)?,
                false => pass.add_sum(self.ffn_scale, after, self.residual_scale),
            }
            pass.normalize_sum(&self.ffn_norms);
        }
        if let Some(altup) = &self.altup {
            altup.correct(pass);
        }
        if let Some(per_layer) = &self.per_layer {
            per_layer.forward(pass);
            // What it adds goes to the other streams.
            if self.altup.is_some() {
                pass.scratch.x.fill(0.0);
            }
            per_layer.add(pass)?;
            if self.altup.is_some() {
                AltUp::add_to_others(pass);
            }
        }
        if let Some(scale) = self.output_scale {
            pass.scratch.x.iter_mut().for_each(|x| *x *= scale);
        }
        Ok(())
    }
}

//! Several residual streams, of which a layer computes one and predicts the others (AltUp), and a short way around
//! attention (LAuReL). Sources: Baykal et al., 2023; Menghani et al., 2024; Gemma Team, 2025 (Gemma 3n).
//!
//! Before a layer, all streams are predicted from all; one of them goes through the layer; what the layer changed in the
//! prediction corrects all of them.

use super::super::forward::BATCH;
use super::super::group::{Group, Place, gather_columns};
use super::super::plan::{AltUpSpec, NormSpec, Plan};
use super::super::weights::{Linear, Loader, Matrices};
use super::norm::Norm;
use super::{Activations, Pass, Scratch, quantized};
use crate::error::{Result, reserve};
use crate::kernels;
use crate::trace;

/// How the streams begin and end.
pub(crate) struct Streams {
    spec: AltUpSpec,
    n_embd: usize,
    /// `[streams - 1, E, E]`, this instance's rows: the others from the first, and back.
    proj: Matrices,
    unembd_proj: Matrices,
}

/// What a layer knows of the streams. All of it is computed by each instance.
pub(super) struct AltUp {
    spec: AltUpSpec,
    n_embd: usize,
    /// `[streams, E]`, of a normalised stream.
    router: Linear,
    router_norm: Norm,
    /// `[streams * streams, streams]` and `[streams, streams]`.
    predict_coef: Linear,
    correct_coef: Linear,
    /// `[E]`: of the stream that the layer's second embedding sees.
    correct_scale: Vec<f32>,
}

/// A projection through a narrow layer, beside attention.
pub(super) struct Laurel {
    n_embd: usize,
    /// `[rank, E]`, all rows, and `[E, rank]`, this instance's.
    l: Linear,
    r: Linear,
    post_norm: Norm,
}

/// The buffers of all layers.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[streams, T, E]`: the residual streams, and what they are predicted to be.
    streams: Vec<f32>,
    predictions: Vec<f32>,
    /// `[T, streams]`, and `[T, streams * streams]`.
    modalities: Vec<f32>,
    coefs: Vec<f32>,
    /// `[T, own E]`, `[T, E]`
    own: Vec<f32>,
    all: Vec<f32>,
    /// `[T, rank]`, `[T, E]`
    narrow: Vec<f32>,
    laurel: Vec<f32>,
}

impl Streams {
    pub(crate) fn load(loader: &mut Loader<'_>, plan: &Plan, spec: AltUpSpec) -> Result<Self> {
        let n_embd = plan.n_embd;
        let (shape, rows) = ([n_embd, n_embd, spec.n - 1], loader.place.rows(n_embd));
        Ok(Self {
            spec,
            n_embd,
            proj: loader.matrices("altup_proj", shape, &rows)?,
            unembd_proj: loader.matrices("altup_unembd_proj", shape, &rows)?,
        })
    }

    pub(crate) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let (n, row) = (self.spec.n, BATCH * self.n_embd);
        let buffers = &mut scratch.altup;
        reserve(&mut buffers.streams, n * row)?;
        reserve(&mut buffers.predictions, n * row)?;
        reserve(&mut buffers.modalities, BATCH * n)?;
        reserve(&mut buffers.coefs, BATCH * n * n)?;
        // In a group of one, these two are swapped.
        reserve(&mut buffers.own, row)?;
        reserve(&mut buffers.all, row)
    }

    /// Makes the streams of the first one.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn begin(&self, group: &dyn Group, scratch: &mut Scratch) -> Result<()> {
        let n = scratch.x.len();
        scratch.altup.streams.resize(self.spec.n * n, 0.0);
        scratch.altup.streams[..n].copy_from_slice(&scratch.x);
        for i in 1..self.spec.n {
            let b = &mut scratch.altup;
            self.project(group, &self.proj, i, 0, (b, &mut scratch.activations))?;
            rescale(self.n_embd, &scratch.x, &mut b.all);
            b.streams[i * n..][..n].copy_from_slice(&b.all);
        }
        trace::lap("altup_proj");
        Ok(())
    }

    /// Makes one stream of all, as the residual stream.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn end(&self, group: &dyn Group, scratch: &mut Scratch) -> Result<()> {
        let n = scratch.x.len();
        scratch.x.copy_from_slice(&scratch.altup.streams[..n]);
        for i in 1..self.spec.n {
            let b = &mut scratch.altup;
            self.project(
                group,
                &self.unembd_proj,
                i,
                i,
                (b, &mut scratch.activations),
            )?;
            rescale(self.n_embd, &b.streams[..n], &mut b.all);
            scratch.x.iter_mut().zip(&b.all).for_each(|(x, y)| *x += y);
        }
        let factor = 1.0 / self.spec.n as f32;
        scratch.x.iter_mut().for_each(|x| *x *= factor);
        trace::lap("altup_unembd_proj");
        Ok(())
    }

    /// Writes matrix `i - 1` times stream `from` to `all`.
    fn project(
        &self,
        group: &dyn Group,
        matrices: &Matrices,
        i: usize,
        from: usize,
        (b, activations): (&mut Buffers, &mut Activations),
    ) -> Result<()> {
        let n_embd = self.n_embd;
        let n = b.streams.len() / self.spec.n;
        let x = &b.streams[from * n..][..n];
        let input = activations.quantize(x, n_embd, [matrices.ty()].into_iter());
        b.own.resize(n / n_embd * matrices.n_rows(), 0.0);
        kernels::matmul(matrices.rows(i - 1), input.rows, &mut b.own);
        b.all.resize(n, 0.0);
        let columns = |place: Place| place.rows(n_embd);
        gather_columns(group, &mut b.own, n_embd, columns, &mut b.all)
    }
}

impl AltUp {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        norm: NormSpec,
        spec: AltUpSpec,
    ) -> Result<Self> {
        let n = spec.n;
        let mut all = |tensor: &str, cols: usize, rows: usize| {
            loader.linear(&name(tensor), [cols, rows], &(0..rows))
        };
        let router = all("altup_router", n_embd, n)?;
        let predict_coef = all("altup_predict_coef", n, n * n)?;
        let correct_coef = all("altup_correct_coef", n, n)?;
        Ok(Self {
            spec,
            n_embd,
            router,
            router_norm: Norm::load(loader, &name("altup_router_norm"), n_embd, norm)?,
            predict_coef,
            correct_coef,
            correct_scale: loader.vector(&name("altup_correct_scale.weight"), n_embd)?,
        })
    }

    /// Predicts all streams, and makes the active one the residual stream.
    pub(super) fn predict(&self, pass: &mut Pass<'_, '_>) {
        let s = &mut *pass.scratch;
        let (n, active) = (self.spec.n, self.active(s.x.len()));
        s.x.copy_from_slice(&s.altup.streams[active.clone()]);
        self.coefs(s, &self.predict_coef);
        let b = &mut s.altup;
        let (len, n_embd) = (s.x.len(), self.n_embd);
        b.predictions.clone_from(&b.streams);
        for (t, coefs) in b.coefs.chunks_exact(n * n).enumerate() {
            for (j, coefs) in coefs.chunks_exact(n).enumerate() {
                let out = &mut b.predictions[j * len + t * n_embd..][..n_embd];
                for (k, coef) in coefs.iter().enumerate() {
                    let stream = &b.streams[k * len + t * n_embd..][..n_embd];
                    out.iter_mut().zip(stream).for_each(|(x, y)| *x += coef * y);
                }
            }
        }
        s.x.copy_from_slice(&b.predictions[active]);
        trace::lap("altup_predict");
    }

    /// Corrects all streams by what the layer made of the active one, and makes what its second embedding sees the
    /// residual stream.
    pub(super) fn correct(&self, pass: &mut Pass<'_, '_>) {
        let s = &mut *pass.scratch;
        let (n, active) = (self.spec.n, self.active(s.x.len()));
        self.coefs(s, &self.correct_coef);
        let b = &mut s.altup;
        let (len, n_embd) = (s.x.len(), self.n_embd);
        let predicted = &b.predictions[active.clone()];
        s.x.iter_mut().zip(predicted).for_each(|(x, y)| *x -= y);
        for (t, coefs) in b.coefs.chunks_exact(n).enumerate() {
            let innovation = &s.x[t * n_embd..][..n_embd];
            for (j, coef) in coefs.iter().enumerate() {
                let at = j * len + t * n_embd..j * len + (t + 1) * n_embd;
                let parts = innovation.iter().zip(&b.predictions[at.clone()]);
                let parts = b.streams[at].iter_mut().zip(parts);
                parts.for_each(|(x, (innovation, y))| *x = innovation * (coef + 1.0) + y);
            }
        }
        s.x.copy_from_slice(&b.streams[active]);
        for row in s.x.chunks_exact_mut(n_embd) {
            let scaled = row.iter_mut().zip(&self.correct_scale);
            scaled.for_each(|(x, scale)| *x *= scale);
        }
        trace::lap("altup_correct");
    }

    /// Adds the residual stream to all streams but the first.
    pub(super) fn add_to_others(pass: &mut Pass<'_, '_>) {
        let s = &mut *pass.scratch;
        let len = s.x.len();
        for stream in s.altup.streams[len..].chunks_exact_mut(len) {
            stream.iter_mut().zip(&s.x).for_each(|(x, y)| *x += y);
        }
    }

    /// Where the active stream is, of streams that are this long.
    fn active(&self, len: usize) -> std::ops::Range<usize> {
        self.spec.active * len..(self.spec.active + 1) * len
    }

    /// Coefficients of each token of the residual stream.
    fn coefs(&self, s: &mut Scratch, of: &Linear) {
        let n_tokens = s.x.len() / self.n_embd;
        self.router_norm.apply(&s.x, &mut s.normed);
        let factor = 1.0 / self.n_embd as f32;
        s.normed.iter_mut().for_each(|x| *x *= factor);
        let b = &mut s.altup;
        let input = quantized(&s.normed, &mut s.activations, [&self.router.weight]);
        self.router.apply(n_tokens, input, &mut b.modalities);
        b.modalities.iter_mut().for_each(|x| *x = x.tanh());
        let input = quantized(&b.modalities, &mut s.activations, [&of.weight]);
        of.apply(n_tokens, input, &mut b.coefs);
    }
}

impl Laurel {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        n_embd: usize,
        name: impl Fn(&str) -> String,
        norm: NormSpec,
        rank: usize,
    ) -> Result<Self> {
        let rows = loader.place.rows(n_embd);
        Ok(Self {
            n_embd,
            l: loader.linear(&name("laurel_l"), [n_embd, rank], &(0..rank))?,
            r: loader.linear(&name("laurel_r"), [rank, n_embd], &rows)?,
            post_norm: Norm::load(loader, &name("laurel_post_norm"), n_embd, norm)?,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        let rank = self.l.weight.n_rows();
        let buffers = &mut scratch.altup;
        reserve(&mut buffers.narrow, BATCH * rank)?;
        reserve(&mut buffers.laurel, BATCH * self.n_embd)?;
        reserve(&mut buffers.own, BATCH * self.n_embd)?;
        reserve(&mut buffers.all, BATCH * self.n_embd)?;
        scratch.activations.reserve(BATCH, rank)
    }

    /// Computes what [`Laurel::add`] adds, of what attention sees.
    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        let n_embd = self.n_embd;
        let s = &mut *pass.scratch;
        let b = &mut s.altup;
        let input = quantized(&s.normed, &mut s.activations, [&self.l.weight]);
        self.l.apply(n_tokens, input, &mut b.narrow);
        let input = quantized(&b.narrow, &mut s.activations, [&self.r.weight]);
        self.r.apply(n_tokens, input, &mut b.own);
        b.all.resize(n_tokens * n_embd, 0.0);
        let columns = |place: Place| place.rows(n_embd);
        gather_columns(pass.group, &mut b.own, n_embd, columns, &mut b.all)?;
        self.post_norm.apply(&b.all, &mut b.laurel);
        let sums = b.laurel.iter_mut().zip(&s.normed);
        sums.for_each(|(x, y)| *x += y);
        trace::lap("laurel");
        Ok(())
    }

    /// Adds it to the residual stream, and divides by the root of 2.
    pub(super) fn add(pass: &mut Pass<'_, '_>) {
        let s = &mut *pass.scratch;
        let factor = 0.5f32.sqrt();
        let sums = s.x.iter_mut().zip(&s.altup.laurel);
        sums.for_each(|(x, y)| *x = (*x + y) * factor);
    }
}

/// Gives each row of `x` the length of the same row of `like`.
fn rescale(n: usize, like: &[f32], x: &mut [f32]) {
    let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
    for (x, like) in x.chunks_exact_mut(n).zip(like.chunks_exact(n)) {
        // A row of zeros has no direction, and stays one.
        let factor = length(like) / length(x).max(f32::MIN_POSITIVE);
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

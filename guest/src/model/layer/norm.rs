//! Norms: of the residual stream, of what a layer computes, of heads.

use super::super::plan::{NormKind, NormSpec};
use super::super::weights::Loader;
use crate::error::Result;
use crate::kernels;

/// A norm with its weights.
pub(crate) struct Norm {
    spec: NormSpec,
    /// `[n]`; ones if the file has none.
    weight: Vec<f32>,
    /// `[n]`
    bias: Option<Vec<f32>>,
}

impl Norm {
    /// Loads `name.weight` and `name.bias`, as far as the plan has them, `[n]` each.
    ///
    /// # Errors
    /// As [`Loader::vector`].
    pub(crate) fn load(
        loader: &mut Loader<'_>,
        name: &str,
        n: usize,
        spec: NormSpec,
    ) -> Result<Self> {
        // A few architectures write this one name without its ending.
        let plain = Some(name.to_owned()).filter(|name| loader.has(name));
        let weight = plain.unwrap_or_else(|| format!("{name}.weight"));
        Ok(Self {
            spec,
            weight: match spec.has_weight {
                true => loader.vector(&weight, n)?,
                false => vec![1.0; n],
            },
            bias: loader.optional_vector(&format!("{name}.bias"), n)?,
        })
    }

    /// The same, if the file has it.
    ///
    /// # Errors
    /// As [`Loader::vector`].
    pub(crate) fn load_any(
        loader: &mut Loader<'_>,
        name: &str,
        n: usize,
        spec: NormSpec,
    ) -> Result<Option<Self>> {
        match loader.has(&format!("{name}.weight")) {
            true => Self::load(loader, name, n, spec).map(Some),
            false => Ok(None),
        }
    }

    /// A norm with these weights.
    pub(crate) fn of(weight: Vec<f32>, spec: NormSpec) -> Self {
        Self {
            spec,
            weight,
            bias: None,
        }
    }

    /// Normalises each row of `x`, `[rows, n]`.
    pub(crate) fn apply(&self, x: &[f32], out: &mut Vec<f32>) {
        out.resize(x.len(), 0.0);
        let n = self.weight.len();
        for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            self.row(x, out);
        }
    }

    /// Normalises each `width` numbers of `x`, in place, with as many weights, which start over at the end. `row` is
    /// scratch.
    pub(super) fn apply_in_place(&self, width: usize, x: &mut [f32], row: &mut Vec<f32>) {
        row.resize(width, 0.0);
        let weights = self.weight.chunks_exact(width).cycle();
        for (x, weight) in x.chunks_exact_mut(width).zip(weights) {
            self.row_by(weight, x, row);
            x.copy_from_slice(row);
        }
    }

    /// Normalises one row, `[n]`.
    pub(super) fn row(&self, x: &[f32], out: &mut [f32]) {
        self.row_by(&self.weight, x, out);
    }

    fn row_by(&self, weight: &[f32], x: &[f32], out: &mut [f32]) {
        match self.spec.kind {
            NormKind::Rms => kernels::rms_norm(x, weight, self.spec.eps, out),
            NormKind::Layer => layer_norm(x, weight, self.spec.eps, out),
        }
        if let Some(bias) = &self.bias {
            out.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    }
}

/// `out = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight`.
fn layer_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    let scale = 1.0 / (sum(out, |x| x * x) / n + eps).sqrt();
    for (out, weight) in out.iter_mut().zip(weight) {
        *out = *out * scale * weight;
    }
}

/// The sum of a function of each number, in four lanes, so that it is fast and has one order.
fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (fours, tail) = x.as_chunks::<4>();
    let mut lanes = [0.0; 4];
    for four in fours {
        for (lane, x) in lanes.iter_mut().zip(four) {
            *lane += of(*x);
        }
    }
    let tail: f32 = tail.iter().map(|x| of(*x)).sum();
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + tail
}

//! What makes vectors of a text's hidden states: one of them, or their mean, and the small matrices that files of
//! embedding models and rerankers have for it. Each instance of a group computes all of it.

use super::layer::{Activations, Norm, quantized};
use super::plan::{ClassifierActivation, NormKind, NormSpec, Plan, Pooling, PoolingSpec};
use super::weights::{Linear, Loader};
use crate::error::{Result, invalid_argument};
use crate::kernels::geglu;

/// What follows the hidden states.
pub(crate) struct PoolingHead {
    spec: PoolingSpec,
    /// `[n, E]`: the classifier's first layer, and the norm after it.
    cls: Option<Linear>,
    cls_norm: Option<Norm>,
    /// `[labels, n]`
    cls_output: Option<Linear>,
    /// Projections of the pooled vector.
    dense: Vec<Linear>,
    activations: Activations,
}

impl PoolingHead {
    /// Loads the matrices that the file has.
    ///
    /// # Errors
    /// As [`Loader::matrix`].
    pub(crate) fn load(loader: &mut Loader<'_>, plan: &Plan) -> Result<Self> {
        let n_embd = plan.n_embd;
        // Each sees as many columns as the one before it has rows.
        let mut width = n_embd;
        let mut any = |name: &str, width: &mut usize| -> Result<Option<Linear>> {
            let Some(rows) = loader.n_rows(name) else {
                return Ok(None);
            };
            let linear = loader.linear(name, [*width, rows], &(0..rows))?;
            *width = rows;
            Ok(Some(linear))
        };
        let cls = any("cls", &mut width)?;
        let cls_output = any("cls.output", &mut width)?;
        width = n_embd;
        let dense = [any("dense_2", &mut width)?, any("dense_3", &mut width)?];
        let norm = NormSpec {
            kind: NormKind::Layer,
            ..plan.norm
        };
        Ok(Self {
            spec: plan.pooling,
            cls,
            cls_norm: Norm::load_any(loader, "cls.norm", n_embd, norm)?,
            cls_output,
            dense: dense.into_iter().flatten().collect(),
            activations: Activations::default(),
        })
    }

    /// The vectors of hidden states `x`, `[T, E]` with T above 0, concatenated: one, or T for [`Pooling::None`].
    ///
    /// # Errors
    /// `invalid-argument` for [`Pooling::Rank`] if the file has no classifier.
    pub(crate) fn pool(&mut self, x: &[f32], n_embd: usize, kind: Pooling) -> Result<Vec<f32>> {
        let mut out = take(x, n_embd, kind);
        if kind == Pooling::Rank {
            if self.cls.is_none() && self.cls_output.is_none() {
                let expected =
                    "none, mean, cls or last, because the model's file has no classifier";
                return Err(invalid_argument("pooling", expected, "rank"));
            }
            out = self.classify(&take(x, n_embd, self.spec.classified));
        }
        let (dense, activations) = (&self.dense, &mut self.activations);
        for linear in dense {
            out = apply(linear, &out, activations);
        }
        Ok(out)
    }

    fn classify(&mut self, x: &[f32]) -> Vec<f32> {
        let mut out = x.to_vec();
        if let Some(cls) = &self.cls {
            out = apply(cls, &out, &mut self.activations);
            match self.spec.classifier {
                ClassifierActivation::Tanh => out.iter_mut().for_each(|x| *x = x.tanh()),
                ClassifierActivation::Gelu => {
                    let ones = vec![1.0; out.len()];
                    geglu(&mut out, &ones);
                }
            }
            if let Some(norm) = &self.cls_norm {
                let mut normed = Vec::new();
                norm.apply(&out, &mut normed);
                out = normed;
            }
        }
        if let Some(output) = &self.cls_output {
            out = apply(output, &out, &mut self.activations);
        }
        if self.spec.has_softmax {
            softmax(&mut out);
        }
        out
    }
}

/// The hidden states that represent the text.
fn take(x: &[f32], n_embd: usize, kind: Pooling) -> Vec<f32> {
    let n_tokens = (x.len() / n_embd).max(1);
    match kind {
        Pooling::None => x.to_vec(),
        Pooling::Cls | Pooling::Rank => x[..n_embd].to_vec(),
        Pooling::Last => x[x.len() - n_embd..].to_vec(),
        Pooling::Mean => {
            let mut mean = vec![0.0; n_embd];
            for row in x.chunks_exact(n_embd) {
                mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            let factor = 1.0 / n_tokens as f32;
            mean.iter_mut().for_each(|sum| *sum *= factor);
            mean
        }
    }
}

/// The products of some vectors with a matrix.
fn apply(linear: &Linear, x: &[f32], activations: &mut Activations) -> Vec<f32> {
    let mut out = Vec::new();
    let input = quantized(x, activations, [&linear.weight]);
    linear.apply(x.len() / linear.weight.rows().cols, input, &mut out);
    out
}

fn softmax(x: &mut [f32]) {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f32 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= sum);
}

//! What a feed-forward network bends its hidden layer with.

use super::super::plan::Activation;
use crate::kernels;

/// Ones: what a network without a gate is multiplied by.
const ONES: [f32; 64] = [1.0; 64];

/// The slope of the sigmoid in [`Activation::ClampedSilu`].
const ALPHA: f32 = 1.702;
/// The bound of the numbers in [`Activation::ClampedSilu`].
const LIMIT: f32 = 7.0;

/// `ln(1 + exp(x))`.
pub(crate) fn softplus(x: f32) -> f32 {
    match x > 20.0 {
        true => x,
        false => x.exp().ln_1p(),
    }
}

/// `x = x / (1 + exp(-x))`.
pub(super) fn silu(x: &mut [f32]) {
    Activation::Silu.alone(x);
}

impl Activation {
    /// `gate = act(gate) * up`.
    pub(super) fn gated(self, gate: &mut [f32], up: &mut [f32]) {
        match self {
            Self::Silu => kernels::swiglu(gate, up),
            Self::Gelu => kernels::geglu(gate, up),
            Self::Relu => {
                for (gate, up) in gate.iter_mut().zip(up) {
                    *gate = gate.max(0.0) * *up;
                }
            }
            Self::ReluSquared => {
                for (gate, up) in gate.iter_mut().zip(up) {
                    let x = gate.max(0.0);
                    *gate = x * x * *up;
                }
            }
            Self::ClampedSilu => {
                // silu(a x) / a = x / (1 + exp(-a x))
                for (gate, up) in gate.iter_mut().zip(&mut *up) {
                    *gate = ALPHA * gate.min(LIMIT);
                    *up = (1.0 + up.clamp(-LIMIT, LIMIT)) / ALPHA;
                }
                kernels::swiglu(gate, up);
            }
            Self::Xielu {
                positive,
                negative,
                beta,
                eps,
            } => {
                for (gate, up) in gate.iter_mut().zip(up) {
                    let x = *gate;
                    let bent = match x > 0.0 {
                        true => positive * x * x,
                        false => (x.min(eps).exp_m1() - x) * negative,
                    };
                    *gate = (bent + beta * x) * *up;
                }
            }
            Self::SiluWithin(limit) => {
                for (gate, up) in gate.iter_mut().zip(&mut *up) {
                    *gate = gate.min(limit);
                    *up = up.clamp(-limit, limit);
                }
                kernels::swiglu(gate, up);
            }
        }
    }

    /// `x = act(x)`.
    pub(super) fn alone(self, x: &mut [f32]) {
        for x in x.chunks_mut(ONES.len()) {
            let mut ones = ONES;
            self.gated(x, &mut ones[..x.len()]);
        }
    }
}

//! Rotary position embedding. Source: Su et al., 2021; scaling: Chen et al., 2023 (linear), Llama 3.1.

use super::config::{Config, Pairing, RopeScaling};

/// The frequencies of a model, and sine and cosine for the positions of one batch.
pub(crate) struct Rope {
    pairing: Pairing,
    /// `[rope_dims / 2]`: radians per token. In f64, because positions multiply the error.
    frequencies: Vec<f64>,
    /// `[batch, rope_dims / 2]`, each cosine and sine.
    table: Vec<(f32, f32)>,
}

impl Rope {
    /// `factors` divide the frequencies (the tensor `rope_freqs`).
    pub(crate) fn new(config: &Config, factors: Option<&[f32]>) -> Self {
        let frequencies = (0..config.rope_dims / 2)
            .map(|i| {
                let exponent = -((2 * i) as f64) / config.rope_dims as f64;
                let frequency = f64::from(config.rope_base).powf(exponent);
                scale(frequency, config.rope_scaling) / factors.map_or(1.0, |f| f64::from(f[i]))
            })
            .collect();
        Self {
            pairing: config.rope_pairing,
            frequencies,
            table: Vec::new(),
        }
    }

    /// Prepares the positions from `first` on.
    pub(crate) fn prepare(&mut self, first: usize, n_tokens: usize) {
        self.table.clear();
        for position in first..first + n_tokens {
            let angles = self.frequencies.iter().map(|f| position as f64 * f);
            self.table
                .extend(angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)));
        }
    }

    /// Rotates one head `[head_dim]` to the position of token `t` of the batch.
    pub(crate) fn rotate(&self, t: usize, head: &mut [f32]) {
        let half = self.frequencies.len();
        let row = &self.table[t * half..(t + 1) * half];
        match self.pairing {
            Pairing::Interleaved => {
                for (pair, (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(row) {
                    let [a, b] = *pair;
                    *pair = [a * cos - b * sin, a * sin + b * cos];
                }
            }
            Pairing::Halves => {
                let (first, second) = head[..2 * half].split_at_mut(half);
                for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(row) {
                    (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                }
            }
        }
    }
}

fn scale(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear(factor) => frequency / f64::from(factor),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context,
        } => {
            let (low, high) = (f64::from(low_freq_factor), f64::from(high_freq_factor));
            let turns = f64::from(original_context) * frequency / std::f64::consts::TAU;
            // 0 for what turns less than `low` times within the original context, 1 for more than `high`.
            let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            frequency * (keep + (1.0 - keep) / f64::from(factor))
        }
    }
}

//! Rotary position embedding. Sources: Su et al., 2021; for scaling, Chen et al., 2023 (linear), Llama 3.1, Peng et al., 2023
//! (YaRN), and Ding et al., 2024 (long and short factors).

use super::forward::{BATCH, Span};
use super::plan::{Pairing, RopeScaling, RopeSpec};
use super::weights::Loader;
use crate::error::{Result, reserve};

/// The different frequencies of a model's layers.
#[derive(Default)]
pub(crate) struct Ropes(Vec<(RopeSpec, Rope)>);

impl Ropes {
    /// Returns the number of these frequencies. They are divided by the numbers of a tensor, if the plan says so and
    /// there is one.
    ///
    /// # Errors
    /// As [`Loader::vector`].
    pub(crate) fn add(&mut self, loader: &mut Loader<'_>, spec: RopeSpec) -> Result<usize> {
        if let Some(known) = self.0.iter().position(|(known, _)| *known == spec) {
            return Ok(known);
        }
        let mut factors = |name: &str| match spec.has_factors {
            true => loader.optional_vector(name, spec.dims / 2),
            false => Ok(None),
        };
        let one = factors("rope_freqs.weight")?;
        let (short, long) = match one {
            Some(_) => (one, None),
            None => (
                factors("rope_factors_short.weight")?,
                factors("rope_factors_long.weight")?,
            ),
        };
        let mut rope = Rope::new(spec, short.as_deref(), long.as_deref());
        reserve(&mut rope.table, BATCH * (spec.dims / 2))?;
        self.0.push((spec, rope));
        Ok(self.0.len() - 1)
    }

    /// Prepares the positions of a batch's tokens.
    pub(crate) fn prepare(&mut self, batch: &[Span<'_>]) {
        for (_, rope) in &mut self.0 {
            rope.table.clear();
            for span in batch {
                rope.prepare(span.positions(), span.state.capacity());
            }
        }
    }

    pub(crate) fn get(&self, number: usize) -> &Rope {
        &self.0[number].1
    }
}

/// Frequencies, and the sines and cosines for the positions of one batch.
pub(crate) struct Rope {
    pairing: Pairing,
    /// The factor of sines and cosines.
    magnitude: f64,
    /// `[rope_dims / 2]`: radians per token. In f64, because the position multiplies the error.
    frequencies: Vec<f64>,
    /// The same for sequences with room for more than this many tokens, if they differ.
    long: Option<(usize, Vec<f64>)>,
    /// `[batch, rope_dims / 2]`: pairs of cosine and sine.
    table: Vec<(f32, f32)>,
}

impl Rope {
    fn new(spec: RopeSpec, short: Option<&[f32]>, long: Option<&[f32]>) -> Self {
        let frequencies = |factors: Option<&[f32]>| {
            let frequency = |i: usize| {
                let exponent = -((2 * i) as f64) / spec.dims as f64;
                let frequency = f64::from(spec.base).powf(exponent);
                let factor = factors.map_or(1.0, |f| f64::from(f[i]));
                match spec.scaling {
                    RopeScaling::Yarn { .. } => yarn(frequency / factor, i, spec),
                    scaling => scale(frequency, scaling) / factor,
                }
            };
            (0..spec.dims / 2).map(frequency).collect::<Vec<_>>()
        };
        Self {
            pairing: spec.pairing,
            magnitude: f64::from(spec.magnitude),
            frequencies: frequencies(short),
            long: long.map(|long| (spec.original_context, frequencies(Some(long)))),
            table: Vec::new(),
        }
    }

    /// Prepares the positions of one sequence, which has room for `capacity` tokens, after those that are prepared.
    fn prepare(&mut self, positions: impl Iterator<Item = usize>, capacity: usize) {
        let frequencies = match &self.long {
            Some((original, long)) if capacity > *original => long,
            _ => &self.frequencies,
        };
        let magnitude = self.magnitude;
        for position in positions {
            let angles = frequencies.iter().map(|f| position as f64 * f);
            let pair = |angle: f64| {
                let (cos, sin) = (angle.cos() * magnitude, angle.sin() * magnitude);
                (cos as f32, sin as f32)
            };
            self.table.extend(angles.map(pair));
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

/// The frequency of pair `i` of dimensions. The blend is linear in the number of the pair, from the one that turns
/// `beta_fast` times within the original context to the one that turns `beta_slow` times.
fn yarn(frequency: f64, i: usize, spec: RopeSpec) -> f64 {
    let RopeScaling::Yarn {
        factor,
        beta_fast,
        beta_slow,
        original_context,
    } = spec.scaling
    else {
        return frequency;
    };
    let (dims, base) = (spec.dims as f64, f64::from(spec.base));
    let pair = |turns: f32| {
        let wavelength = f64::from(original_context) / f64::from(turns);
        dims * (wavelength / std::f64::consts::TAU).ln() / (2.0 * base.ln())
    };
    let first = pair(beta_fast).floor().max(0.0);
    let last = pair(beta_slow).ceil().min(dims - 1.0);
    let divided = ((i as f64 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
    frequency * (1.0 - divided + divided / f64::from(factor))
}

fn scale(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None | RopeScaling::Yarn { .. } => frequency,
        RopeScaling::Linear(factor) => frequency / f64::from(factor),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context,
        } => {
            let (low, high) = (f64::from(low_freq_factor), f64::from(high_freq_factor));
            let turns = f64::from(original_context) * frequency / std::f64::consts::TAU;
            // 0 for frequencies with fewer than `low` turns within the original context, 1 for more than `high`.
            let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            frequency * (keep + (1.0 - keep) / f64::from(factor))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(pairing: Pairing, frequencies: Vec<f64>) -> Rope {
        Rope {
            pairing,
            magnitude: 1.0,
            frequencies,
            long: None,
            table: Vec::new(),
        }
    }

    /// Rotating a pair of dimensions is the multiplication of a complex number with one of magnitude 1.
    #[test]
    fn pairs_are_rotated_by_position_times_frequency() {
        let frequencies = vec![1.0, 0.25];
        for (pairing, pairs) in [
            (Pairing::Interleaved, [[0, 1], [2, 3]]),
            (Pairing::Halves, [[0, 2], [1, 3]]),
        ] {
            let mut rope = rope(pairing, frequencies.clone());
            rope.prepare(7..9, 9);
            let head = [1.0f32, 2.0, 3.0, 4.0, 5.0];
            let mut rotated = head;
            rope.rotate(1, &mut rotated);
            for (i, [a, b]) in pairs.into_iter().enumerate() {
                let angle = 8.0 * frequencies[i];
                let (x, y) = (f64::from(head[a]), f64::from(head[b]));
                let expected = [
                    x * angle.cos() - y * angle.sin(),
                    x * angle.sin() + y * angle.cos(),
                ];
                assert!(
                    (f64::from(rotated[a]) - expected[0]).abs() < 1e-6,
                    "{pairing:?}"
                );
                assert!(
                    (f64::from(rotated[b]) - expected[1]).abs() < 1e-6,
                    "{pairing:?}"
                );
            }
            assert_eq!(rotated[4], 5.0, "dimensions after the rotated ones stay");
        }
    }

    #[test]
    fn linear_scaling_divides_all_frequencies() {
        assert_eq!(scale(0.5, RopeScaling::Linear(4.0)), 0.125);
        assert_eq!(scale(0.5, RopeScaling::None), 0.5);
    }

    /// Expected values: the formula of `apply_scaling` in Meta's `llama_models`, evaluated by wavelength.
    #[test]
    fn llama3_scaling_keeps_high_frequencies_and_blends() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192.0,
        };
        let by_wavelength = |wavelength: f64| {
            let frequency = std::f64::consts::TAU / wavelength;
            scale(frequency, scaling) / frequency
        };
        assert_eq!(by_wavelength(100.0), 1.0, "shorter than 8192 / 4");
        assert_eq!(by_wavelength(10_000.0), 0.125, "longer than 8192");
        // 8192 / 4096 = 2 turns: (2 - 1) / (4 - 1) of the way from low to high.
        let blend = 1.0 / 3.0;
        assert!((by_wavelength(4096.0) - (blend + (1.0 - blend) / 8.0)).abs() < 1e-12);
    }
}

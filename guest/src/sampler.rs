//! The sampler chain: logits in, one token out.
//!
//! Stages, names, defaults and order are llama.cpp's: penalties, top-k, typical, top-p, min-p, temperature, and a
//! random draw. Among equal logits the lower token comes first, so the result depends only on the input and the seed.

mod candidates;

pub use candidates::{Candidate, Candidates};

use crate::error::{Result, invalid_argument};

/// How a token is chosen. The fields match `generation-options` in `wit/engine.wit`.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: u32,
    /// 1 keeps all.
    pub top_p: f32,
    /// 0 keeps all.
    pub min_p: f32,
    /// 1 keeps all.
    pub typical_p: f32,
    /// 1 is off.
    pub repeat_penalty: f32,
    /// 0 is off.
    pub frequency_penalty: f32,
    /// 0 is off.
    pub presence_penalty: f32,
    /// How many of the last tokens count as recent.
    pub penalty_window: u32,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 64,
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// Checks every number against its range.
    ///
    /// # Errors
    /// `invalid-argument`, naming the option.
    pub fn check(&self) -> Result<()> {
        let range = |name: &str, value: f32, holds: bool, expected: &str| {
            if holds && value.is_finite() {
                return Ok(());
            }
            Err(invalid_argument(name, expected, value))
        };
        let fraction = |name: &str, p: f32| range(name, p, (0.0..=1.0).contains(&p), "0 to 1");
        let penalty = |name: &str, p: f32| range(name, p, (-2.0..=2.0).contains(&p), "-2 to 2");
        range(
            "temperature",
            self.temperature,
            self.temperature >= 0.0,
            "at least 0",
        )?;
        fraction("top-p", self.top_p)?;
        fraction("min-p", self.min_p)?;
        fraction("typical-p", self.typical_p)?;
        range(
            "repeat-penalty",
            self.repeat_penalty,
            self.repeat_penalty > 0.0,
            "more than 0",
        )?;
        penalty("frequency-penalty", self.frequency_penalty)?;
        penalty("presence-penalty", self.presence_penalty)
    }
}

/// A chain with its random number generator.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplerOptions,
    random: SplitMix64,
    candidates: Candidates,
}

impl Sampler {
    /// A chain with a freshly seeded generator.
    ///
    /// # Errors
    /// As [`SamplerOptions::check`].
    pub fn new(options: SamplerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self {
            random: SplitMix64(options.seed),
            options,
            candidates: Candidates::default(),
        })
    }

    /// Chooses a token from the logits of all tokens (at least one) and the tokens so far.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        let options = &self.options;
        let candidates = &mut self.candidates;
        candidates.reset(logits);
        let recent = history
            .len()
            .saturating_sub(options.penalty_window as usize);
        candidates.penalize(
            &history[recent..],
            options.repeat_penalty,
            options.frequency_penalty,
            options.presence_penalty,
        );
        if options.temperature == 0.0 {
            return candidates.best();
        }
        candidates.top_k(options.top_k as usize);
        candidates.typical(options.typical_p);
        candidates.top_p(options.top_p);
        candidates.min_p(options.min_p);
        candidates.temperature(options.temperature);
        candidates.draw(self.random.next_unit())
    }

    /// The state of the random number generator.
    pub(crate) fn random_state(&self) -> u64 {
        self.random.0
    }

    /// Continues from a state.
    pub(crate) fn set_random_state(&mut self, state: u64) {
        self.random = SplitMix64(state);
    }
}

/// Source: Steele, Lea and Flood, 2014. Small, fast, and every seed is a good one.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    /// A uniform number from 0 (inclusive) to 1 (exclusive).
    fn next_unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;

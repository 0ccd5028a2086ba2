//! The stages: each removes candidates or changes their logits.

use std::cmp::Ordering;

/// A token and its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Never NaN.
    pub logit: f32,
}

/// The candidate tokens; never empty.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    items: Vec<Candidate>,
    /// Whether they are sorted, the most probable first.
    is_sorted: bool,
    /// Scratch: the probability of each candidate.
    probabilities: Vec<f32>,
}

/// Orders the most probable first; among equals, the lower token.
fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

impl Candidates {
    /// Starts with all tokens of a vocabulary, at least one. A token whose logit is NaN is never chosen.
    pub fn reset(&mut self, logits: &[f32]) {
        self.items.clear();
        self.items
            .extend(logits.iter().zip(0..).map(|(&logit, id)| Candidate {
                id,
                // `+ 0.0` makes the two zeros equal.
                logit: if logit.is_nan() {
                    f32::NEG_INFINITY
                } else {
                    logit + 0.0
                },
            }));
        self.is_sorted = false;
    }

    /// The current candidates.
    pub fn items(&self) -> &[Candidate] {
        &self.items
    }

    /// The most probable token.
    pub fn best(&self) -> u32 {
        self.items
            .iter()
            .min_by(|a, b| best_first(a, b))
            .map_or(0, |best| best.id)
    }

    /// Makes recent tokens less probable. Must run before any stage that removes candidates. Source: Keskar et al.,
    /// 2019 (repeat), with negative logits multiplied.
    pub fn penalize(&mut self, recent: &[u32], repeat: f32, frequency: f32, presence: f32) {
        if repeat == 1.0 && frequency == 0.0 && presence == 0.0 {
            return;
        }
        for (i, &token) in recent.iter().enumerate() {
            let Some(candidate) = self.items.get_mut(token as usize) else {
                continue;
            };
            if recent[..i].contains(&token) {
                candidate.logit -= frequency;
                continue;
            }
            candidate.logit = if candidate.logit <= 0.0 {
                candidate.logit * repeat
            } else {
                candidate.logit / repeat
            };
            candidate.logit -= frequency + presence;
        }
    }

    /// Keeps the `k` most probable tokens; 0 keeps all.
    pub fn top_k(&mut self, k: usize) {
        if k == 0 {
            return;
        }
        if k < self.items.len() {
            self.items.select_nth_unstable_by(k - 1, best_first);
            self.items.truncate(k);
        }
        self.sort();
    }

    /// Keeps the tokens whose surprisal is closest to the entropy, up to a mass of `p`. Source: Meister et al., 2022.
    pub fn typical(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        self.softmax();
        let surprise = |p: f32| -p.max(f32::MIN_POSITIVE).ln();
        let entropy: f32 = self.probabilities.iter().map(|&p| p * surprise(p)).sum();
        let mut order: Vec<(f32, f32, Candidate)> = self
            .items
            .iter()
            .zip(&self.probabilities)
            .map(|(candidate, &p)| ((surprise(p) - entropy).abs(), p, *candidate))
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(best_first(&a.2, &b.2)));
        let mut mass = 0.0;
        let kept = order.iter().position(|(_, probability, _)| {
            mass += probability;
            mass > p
        });
        order.truncate(kept.map_or(order.len(), |last| last + 1));
        self.items.clear();
        self.items
            .extend(order.into_iter().map(|(_, _, candidate)| candidate));
        self.is_sorted = false;
    }

    /// Keeps the smallest set of tokens whose mass reaches `p`. Source: Holtzman et al., 2020.
    pub fn top_p(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        self.sort();
        self.softmax();
        let mut mass = 0.0;
        let kept = self.probabilities.iter().position(|probability| {
            mass += probability;
            mass >= p
        });
        self.items
            .truncate(kept.map_or(self.items.len(), |last| last + 1));
    }

    /// Keeps tokens at least `p` times as probable as the best, which always stays. Source: Nguyen et al., 2024.
    pub fn min_p(&mut self, p: f32) {
        if p <= 0.0 {
            return;
        }
        let largest = self.largest_logit();
        let least = (largest + p.ln()).min(largest);
        self.items.retain(|candidate| candidate.logit >= least);
    }

    /// Divides all logits; 0 keeps only the best.
    pub fn temperature(&mut self, temperature: f32) {
        let best = self.best();
        for candidate in &mut self.items {
            candidate.logit = if temperature > 0.0 {
                candidate.logit / temperature
            } else if candidate.id == best {
                candidate.logit
            } else {
                f32::NEG_INFINITY
            };
        }
    }

    /// The token at `unit` (0 to 1) of the cumulative probabilities.
    pub fn draw(&mut self, unit: f64) -> u32 {
        self.softmax();
        let total: f64 = self.probabilities.iter().map(|&p| f64::from(p)).sum();
        let mut left = unit * total;
        for (candidate, &p) in self.items.iter().zip(&self.probabilities) {
            left -= f64::from(p);
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Reached through rounding, or if no logit is a number.
        self.best()
    }

    /// The probability of each candidate.
    pub fn softmax(&mut self) -> &[f32] {
        let largest = self.largest_logit();
        self.probabilities.clear();
        self.probabilities
            .extend(self.items.iter().map(|candidate| {
                // Infinite logits share the whole probability mass.
                if candidate.logit == largest {
                    1.0
                } else {
                    (candidate.logit - largest).exp()
                }
            }));
        let sum: f32 = self.probabilities.iter().sum();
        self.probabilities.iter_mut().for_each(|p| *p /= sum);
        &self.probabilities
    }

    fn sort(&mut self) {
        if !self.is_sorted {
            self.items.sort_unstable_by(best_first);
            self.is_sorted = true;
        }
    }

    fn largest_logit(&self) -> f32 {
        self.items
            .iter()
            .map(|candidate| candidate.logit)
            .fold(f32::NEG_INFINITY, f32::max)
    }
}

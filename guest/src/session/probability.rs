//! The log-probabilities of tokens, for callers that request them.

use super::Session;

impl Session {
    /// The log-probability of token `id`, which was chosen from the last logits, and of the most probable tokens, if
    /// requested.
    pub(super) fn report(&mut self, id: u32) -> (Option<f32>, Vec<(u32, f32)>) {
        let Some(best) = self.answer.options.logprobs else {
            return (None, Vec::new());
        };
        let logits = self.sequence.last_logits();
        let log_softmax = log_softmax(logits);
        let mut top = Vec::new();
        if best > 0 {
            self.candidates.reset(logits);
            self.candidates.top_k(best as usize);
            let items = self.candidates.items().iter();
            top.extend(items.map(|candidate| (candidate.id, log_softmax(candidate.id))));
        }
        (Some(log_softmax(id)), top)
    }
}

/// Returns a function that gives the natural logarithm of any token's probability; the normalisation is computed once.
/// The sum is in f64, for vocabularies of any size.
pub(super) fn log_softmax(logits: &[f32]) -> impl Fn(u32) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .sum();
    let log_sum = sum.ln();
    move |id| (f64::from(logits[id as usize] - largest) - log_sum) as f32
}

//! A draft model: a smaller model that proposes what the session's own model will generate.
//!
//! It applies the same sampler to its own logits, with the same random numbers that will choose the session's tokens.
//! So two models that agree choose the same token at any temperature.

use std::rc::Rc;

use super::SessionOptions;
use super::sequence::Sequence;
use super::speculation::Guess;
use crate::error::{Result, invalid_argument};
use crate::loaded::Model;
use crate::sampler::{Sampler, SamplerOptions};
use crate::tokenizer::Tokenizer;

/// Models of one family pad their vocabularies to different multiples; this many tokens may be in only one of them.
const MAX_PADDING: u32 = 128;

/// The draft model's side of a session.
pub(super) struct Draft {
    /// The session's tokens as far as the draft model has followed them, and its guesses.
    sequence: Sequence,
    sampler: Sampler,
    /// Tokens that the session's own model knows.
    n_vocab: u32,
}

impl Draft {
    /// A draft for the sequence `main`, whose tokens `sampler` chooses.
    ///
    /// # Errors
    /// `invalid-argument` if the vocabulary differs from that of `main`, `out-of-memory`.
    pub(super) fn new(model: Rc<Model>, main: &Sequence, sampler: Sampler) -> Result<Self> {
        let tokenizer = main.model().tokenizer()?;
        check_vocabulary(tokenizer, model.tokenizer()?)?;
        let trained = model.transformer()?.plan().context_length as usize;
        let options = SessionOptions {
            context_length: Some(main.capacity().min(trained) as u32),
            kv_type: None,
        };
        let mut sequence = Sequence::new(model, options)?;
        sequence.reserve(1, 1)?;
        Ok(Self {
            sequence,
            sampler,
            n_vocab: tokenizer.vocab_size(),
        })
    }

    /// Sets how it chooses tokens.
    pub(super) fn configure(&mut self, options: SamplerOptions) -> Result<()> {
        self.sampler = Sampler::new(options)?;
        Ok(())
    }

    /// Computes the part of `tokens` that it has not seen yet, at most a batch. Returns whether that was all.
    ///
    /// # Errors
    /// `aborted`.
    pub(super) fn follow(&mut self, tokens: &[u32]) -> Result<bool> {
        let own = &mut self.sequence;
        if tokens.is_empty() || tokens.len() > own.capacity() {
            return Ok(false);
        }
        let seen = tokens.iter().zip(own.tokens());
        let seen = seen.take_while(|(a, b)| a == b).count();
        // The last token is always computed, for the logits after it.
        own.rewind(seen, seen.min(tokens.len() - 1));
        let unseen = &tokens[seen..];
        let taken = unseen.len().min(own.batch_room());
        let n_vocab = own.model().tokenizer()?.vocab_size();
        let known = unseen[..taken].iter().copied();
        own.extend(known.take_while(|&id| id < n_vocab));
        own.compute(std::iter::empty())?;
        Ok(own.tokens().len() == tokens.len())
    }

    /// Starts to guess what follows `tokens`, if it has seen these. `sampler` is the session's, before it chooses.
    ///
    /// # Errors
    /// `aborted`.
    pub(super) fn begin(&mut self, tokens: &[u32], sampler: &Sampler) -> Result<bool> {
        self.sampler.set_random_state(sampler.random_state());
        self.follow(tokens)
    }

    /// The next guess, if it has one.
    ///
    /// # Errors
    /// `aborted`.
    pub(super) fn guess(&mut self) -> Result<Option<Guess>> {
        let own = &mut self.sequence;
        if own.room() == 0 {
            return Ok(None);
        }
        let class = lead_class(own.logits(std::iter::empty())?);
        let id = self.sampler.sample(own.last_logits(), own.tokens());
        if id >= self.n_vocab {
            return Ok(None);
        }
        own.extend([id]);
        Ok(Some(Guess { id, class }))
    }

    /// Bytes reserved for its keys and values.
    pub(super) fn kv_bytes(&self) -> u64 {
        self.sequence.kv_bytes()
    }

    /// An independent copy.
    pub(super) fn fork(&mut self) -> Result<Self> {
        Ok(Self {
            sequence: self.sequence.fork()?,
            sampler: self.sampler.clone(),
            n_vocab: self.n_vocab,
        })
    }
}

/// How confident a model is: by how far the largest logit leads the second largest.
fn lead_class(logits: &[f32]) -> usize {
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &logit in logits {
        if logit > first {
            (first, second) = (logit, first);
        } else if logit > second {
            second = logit;
        }
    }
    const LEADS: [f32; Guess::CLASSES - 1] = [0.25, 0.75, 1.5, 3.0, 5.0];
    LEADS.iter().filter(|&&lead| first - second >= lead).count()
}

/// Tokens that both models have must be the same, and only padding may be in just one of them.
fn check_vocabulary(main: &Tokenizer, draft: &Tokenizer) -> Result<()> {
    let (expected, found) = (main.vocab_size(), draft.vocab_size());
    if expected.abs_diff(found) > MAX_PADDING {
        return Err(invalid_argument(
            "vocabulary of the draft model",
            format!("the vocabulary of the main model, {expected} tokens"),
            format!("{found} tokens"),
        ));
    }
    let differs = |&id: &u32| main.name(id) != draft.name(id);
    if let Some(id) = (0..expected.min(found)).find(differs) {
        let name = |tokenizer: &Tokenizer| {
            let name = tokenizer.name(id).unwrap_or_default();
            format!("`{}` as token {id}", name.escape_default())
        };
        return Err(invalid_argument(
            "vocabulary of the draft model",
            name(main),
            name(draft),
        ));
    }
    Ok(())
}

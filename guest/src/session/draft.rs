//! A draft model: a smaller model that proposes what the session's own model will generate.
//!
//! It applies the same sampler to its own logits, with the same random numbers that will choose the session's tokens.
//! So two models that agree choose the same token at any temperature.

use std::rc::Rc;

use super::speculation::Guess;
use super::{Session, SessionOptions};
use crate::engine::Model;
use crate::error::{Result, invalid_argument};
use crate::model::BATCH;
use crate::sampler::{Sampler, SamplerOptions};
use crate::tokenizer::Tokenizer;

/// Models of one family pad their vocabularies to different multiples; this many tokens may be in only one of them.
const MAX_PADDING: u32 = 128;

/// The draft model's side of a session.
pub(super) struct Draft {
    /// The draft model's session, which has no draft model itself and does no lookup.
    session: Box<Session>,
    sampler: Sampler,
    /// Tokens that the session's own model knows.
    n_vocab: u32,
}

impl Draft {
    /// # Errors
    /// `invalid-argument` if the vocabulary differs from that of `main`, `out-of-memory`.
    pub(super) fn new(model: Rc<Model>, main: &Session) -> Result<Self> {
        let tokenizer = main.model.tokenizer()?;
        check_vocabulary(tokenizer, model.tokenizer()?)?;
        let trained = model.transformer()?.config().context_length as usize;
        let options = SessionOptions {
            context_length: Some(main.cache.capacity().min(trained) as u32),
            kv_type: None,
        };
        Ok(Self {
            session: Box::new(Session::new(model, options)?),
            sampler: main.answer.sampler.clone(),
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
        let own = &mut *self.session;
        let seen = tokens.iter().zip(&own.tokens);
        let seen = seen.take_while(|(a, b)| a == b).count();
        if tokens.is_empty() || tokens.len() > own.cache.capacity() {
            return Ok(false);
        }
        own.tokens.truncate(seen);
        // The last token is always computed, for the logits after it.
        own.computed = own.computed.min(seen).min(tokens.len() - 1);
        own.cache.truncate(own.computed);
        let unseen = &tokens[seen..];
        let n_vocab = own.model.tokenizer()?.vocab_size();
        let pending = seen - own.computed;
        let taken = unseen.len().min(BATCH - pending);
        let known = unseen[..taken].iter().take_while(|&&id| id < n_vocab);
        own.tokens.extend(known);
        own.compute()?;
        Ok(own.tokens.len() == tokens.len())
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
        let own = &mut *self.session;
        if own.tokens.len() == own.cache.capacity() {
            return Ok(None);
        }
        let logits = own.logits()?;
        let class = lead_class(logits);
        let id = self.sampler.sample(&own.logits, &own.tokens);
        if id >= self.n_vocab {
            return Ok(None);
        }
        own.tokens.push(id);
        Ok(Some(Guess { id, class }))
    }

    /// Bytes reserved for its keys and values.
    pub(super) fn kv_bytes(&self) -> u64 {
        self.session.cache.reserved_bytes()
    }

    /// An independent copy.
    pub(super) fn fork(&mut self) -> Result<Self> {
        Ok(Self {
            session: Box::new(self.session.fork()?),
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

//! A session: the tokens of one sequence, what the model has computed for them, and how the sequence continues.

mod answer;
mod draft;
mod lookup;
mod probability;
mod sequence;
mod speculation;
mod state;
mod verification;

use std::rc::Rc;

use crate::error::{Error, Result, invalid_argument};
use crate::loaded::Model;
use crate::model::{Adapter, Adapters, KvType};
use crate::sampler::{Candidates, SamplerOptions};
use answer::Answer;
pub use answer::FinishReason;
use draft::Draft;
use probability::log_softmax;
use sequence::Sequence;
use speculation::Speculation;
pub use speculation::SpeculationOptions;

/// Tokens whose logits [`Session::score`] computes at once: enough to use each weight several times, few enough for the
/// largest vocabularies.
const SCORED_ROWS: usize = 8;

/// The layout of a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionOptions {
    /// Capacity in tokens. Default: the model's context length, but at most 4,096.
    pub context_length: Option<u32>,
    /// Default: F16.
    pub kv_type: Option<KvType>,
}

/// How an answer is generated and where it ends.
#[derive(Debug, Clone, Default)]
pub struct GenerationOptions {
    /// How tokens are chosen.
    pub sampler: SamplerOptions,
    /// The most tokens in one answer.
    pub max_tokens: Option<u32>,
    /// Texts that end it.
    pub stop: Vec<String>,
    /// Continues after an end-of-generation token.
    pub ignore_end: bool,
    /// Reports the log-probabilities of the chosen token and of this many most probable tokens.
    pub logprobs: Option<u32>,
    /// How many tokens are proposed. The answer is the same for any numbers here; only the speed differs.
    pub speculation: SpeculationOptions,
}

/// The result of [`Session::next_token`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was chosen and appended.
    Token {
        /// Its number.
        id: u32,
        /// The text that it made final.
        bytes: Vec<u8>,
        /// The natural logarithm of its probability, if requested.
        logprob: Option<f32>,
        /// The most probable tokens and their log-probabilities.
        top: Vec<(u32, f32)>,
    },
    /// The answer is complete.
    Finished {
        /// Why.
        reason: FinishReason,
        /// Text that was held back.
        bytes: Vec<u8>,
    },
}

/// What a session has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens in the context.
    pub context_used: u32,
    /// The capacity of the context in tokens.
    pub context_length: u32,
    /// Tokens fed since the session was created.
    pub fed: u64,
    /// Tokens generated since the session was created.
    pub generated: u64,
    /// Bytes reserved for keys and values, including the draft model's.
    pub kv_bytes: u64,
    /// Tokens proposed since the session was created.
    pub drafted: u64,
    /// How many of the proposed tokens were chosen.
    pub accepted: u64,
}

/// A sequence and how it continues: the answer that is being generated, and the tokens that are proposed for it.
pub struct Session {
    sequence: Sequence,
    answer: Answer,
    speculation: Speculation,
    draft: Option<Draft>,
    /// Scratch for the most probable tokens.
    candidates: Candidates,
    fed: u64,
    generated: u64,
    drafted: u64,
    accepted: u64,
}

/// Receives the logits after a token, and the token that follows.
type Each<'a> = dyn FnMut(&[f32], u32) + 'a;

impl Session {
    /// An empty session.
    ///
    /// # Errors
    /// `invalid-argument` for a context length out of the model's range, `out-of-memory`.
    pub fn new(model: Rc<Model>, options: SessionOptions) -> Result<Self> {
        let mut session = Self {
            sequence: Sequence::new(model, options)?,
            answer: Answer::new(GenerationOptions::default())?,
            speculation: Speculation::new(SpeculationOptions::default())?,
            draft: None,
            candidates: Candidates::default(),
            fed: 0,
            generated: 0,
            drafted: 0,
            accepted: 0,
        };
        session.reserve()?;
        Ok(session)
    }

    /// Sets how the next tokens are chosen, starts a new answer, and reseeds the random numbers.
    ///
    /// # Errors
    /// `invalid-argument` for an option out of range.
    pub fn configure(&mut self, options: GenerationOptions) -> Result<()> {
        let speculation = Speculation::new(options.speculation)?;
        let answer = Answer::new(options)?;
        self.settle();
        self.speculation = speculation;
        self.answer = answer;
        if let Some(draft) = &mut self.draft {
            draft.configure(self.answer.options.sampler.clone())?;
        }
        self.reserve()
    }

    /// Appends some of `tokens` and returns how many: at least one, if there is one.
    ///
    /// # Errors
    /// `invalid-argument` for a token outside the vocabulary, `prompt-too-long` if `tokens` do not all fit; in both
    /// cases nothing is appended. `aborted`.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<usize> {
        self.check_room(tokens)?;
        self.answer.begin();
        self.append(tokens, None)
    }

    /// Appends some of `tokens`, and returns for each the natural logarithm of its probability given those before it; 0
    /// for the first token of an empty session.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn score(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.check_room(tokens)?;
        self.answer.begin();
        let mut scores = Vec::new();
        if let Some(&first) = tokens.first() {
            scores.push(match self.sequence.tokens().is_empty() {
                true => 0.0,
                false => log_softmax(self.logits()?)(first),
            });
        }
        let mut each = |logits: &[f32], next| scores.push(log_softmax(logits)(next));
        self.append(tokens, Some(&mut each))?;
        Ok(scores)
    }

    /// Chooses the next token and appends it, or returns why the answer has ended.
    ///
    /// # Errors
    /// `context-full`; `invalid-argument` for an empty session; `aborted`.
    pub fn next_token(&mut self) -> Result<Event> {
        if let Some(reason) = self.answer.finished() {
            let bytes = Vec::new();
            return Ok(Event::Finished { reason, bytes });
        }
        if self.answer.is_long_enough() {
            return Ok(self.answer.finish(FinishReason::Length));
        }
        self.propose()?;
        self.logits()?;
        let (sequence, sampler) = (&self.sequence, &mut self.answer.sampler);
        let id = sampler.sample(sequence.last_logits(), sequence.tokens());
        let model = Rc::clone(sequence.model());
        let tokenizer = model.tokenizer()?;
        if tokenizer.is_end_of_generation(id) && !self.answer.options.ignore_end {
            return Ok(self.answer.finish(FinishReason::EndOfSequence));
        }
        if sequence.room() == 0 {
            return Err(Error::ContextFull(sequence.capacity() as u32));
        }
        let (logprob, top) = self.report(id);
        self.generated += 1;
        self.push(id);
        let text = tokenizer.token_bytes(id).unwrap_or_default();
        Ok(self.answer.token(id, text, logprob, top))
    }

    /// Drops all tokens from position `length` on.
    ///
    /// # Errors
    /// `invalid-argument` if there are fewer.
    pub fn truncate(&mut self, length: usize) -> Result<()> {
        let n_tokens = self.sequence.tokens().len();
        if length > n_tokens {
            let expected = format!("at most {n_tokens}, the number of tokens");
            return Err(invalid_argument("length", expected, length));
        }
        if length < n_tokens {
            self.settle();
            // The last token is recomputed when it is needed, for the logits after it.
            self.sequence.rewind(length, length.saturating_sub(1));
            self.answer.begin();
        }
        Ok(())
    }

    /// Adds these adapters' changes to the model's matrices from now on, each times its scale, in place of those before;
    /// none removes them. Afterwards the session is as if its tokens had been fed with these adapters: they are computed
    /// again when it is asked for what follows, unless the adapters are the same as before. A new answer starts. A draft
    /// model keeps its own matrices.
    ///
    /// # Errors
    /// `invalid-argument` for an adapter of another model or a scale that is not finite, `out-of-memory`; then nothing
    /// has changed.
    pub fn set_adapters(&mut self, adapters: &[(Rc<Adapter>, f32)]) -> Result<()> {
        let adapters = Adapters::new(adapters)?;
        self.settle();
        self.sequence.set_adapters(adapters)?;
        self.answer.begin();
        Ok(())
    }

    /// The logits after the last token, `[V]`.
    ///
    /// # Errors
    /// `invalid-argument` for an empty session, `aborted`.
    pub fn logits(&mut self) -> Result<&[f32]> {
        let done = self.sequence.logits(self.speculation.ahead());
        if done.is_err() {
            self.speculation.forget();
        }
        done
    }

    /// What the session has used.
    pub fn usage(&self) -> Usage {
        Usage {
            context_used: self.sequence.tokens().len() as u32,
            context_length: self.sequence.capacity() as u32,
            fed: self.fed,
            generated: self.generated,
            kv_bytes: self.sequence.kv_bytes() + self.draft.as_ref().map_or(0, Draft::kv_bytes),
            drafted: self.drafted,
            accepted: self.accepted,
        }
    }

    fn check_room(&self, tokens: &[u32]) -> Result<()> {
        let n_vocab = self.sequence.model().tokenizer()?.vocab_size();
        if let Some(token) = tokens.iter().find(|&&token| token >= n_vocab) {
            return Err(invalid_argument(
                "token",
                format!("a number below {n_vocab}"),
                token,
            ));
        }
        let room = self.sequence.room();
        if tokens.len() > room {
            return Err(Error::PromptTooLong {
                tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
                limit: room as u32,
            });
        }
        Ok(())
    }

    /// Appends and computes as many of `tokens` as fit into a batch with the pending tokens. `each` receives the logits
    /// after each of them except the last, and the token that follows.
    fn append(&mut self, tokens: &[u32], each: Option<&mut Each<'_>>) -> Result<usize> {
        self.settle();
        let taken = tokens.len().min(self.sequence.batch_room());
        if taken == 0 {
            return Ok(0);
        }
        let before = self.sequence.tokens().len();
        self.sequence.extend(tokens[..taken].iter().copied());
        if let Err(error) = self.compute_each(&tokens[..taken], each) {
            self.truncate(before)?;
            return Err(error);
        }
        self.fed += taken as u64;
        Ok(taken)
    }

    /// Computes `tokens`, the last ones of the sequence, and what is pending before them.
    fn compute_each(&mut self, tokens: &[u32], each: Option<&mut Each<'_>>) -> Result<()> {
        let ahead = std::iter::empty();
        if let Some(each) = each {
            let n_vocab = self.sequence.model().tokenizer()?.vocab_size() as usize;
            return self
                .sequence
                .compute_and(ahead, tokens.len(), |hidden, scratch| {
                    for (i, next) in tokens[1..].chunks(SCORED_ROWS).enumerate() {
                        let first = i * SCORED_ROWS;
                        hidden.logits(first..first + next.len(), scratch)?;
                        for (logits, &next) in scratch.chunks_exact(n_vocab).zip(next) {
                            each(logits, next);
                        }
                    }
                    Ok(())
                });
        }
        self.sequence.compute(ahead)?;
        // Scored tokens will not be continued.
        if let Some(draft) = &mut self.draft {
            draft.follow(self.sequence.tokens())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

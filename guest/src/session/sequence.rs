//! A sequence: its tokens, and what a model has computed of them.
//!
//! The last tokens may be pending: they are computed when something is asked that depends on them. Tokens that may come
//! next can be computed in one batch with them, ahead of time; until the sequence accepts one of these, it is not part
//! of it.

use std::rc::Rc;

use super::SessionOptions;
use crate::blob::Blob;
use crate::error::{Error, Result, invalid_argument, reserve};
use crate::loaded::Model;
use crate::model::{Adapters, BATCH, Hidden, KvType, Plan, Span, State, embeds_only};
use crate::quant::{Element, F32};

/// The default context length. A longer one takes memory that few sessions use.
const DEFAULT_CONTEXT: u32 = 4096;

/// Tokens, and what the model has computed of them.
pub(super) struct Sequence {
    model: Rc<Model>,
    /// All tokens of the sequence.
    tokens: Vec<u32>,
    /// The number of tokens in `state` that are part of the sequence. After a token was chosen, or the sequence
    /// truncated, it is one less than all: the last one is computed when it is needed. After a rewind that a recurrent
    /// model could not follow, it may be many less.
    computed: usize,
    state: State,
    /// `[1 + ahead, E]`: what the model computed for the last token of a batch, and for the tokens ahead of it.
    hidden: Vec<f32>,
    /// The row of `hidden` of the last computed token of the sequence: the number of tokens ahead that were accepted.
    row: usize,
    n_embd: usize,
    /// `[1 + ahead, V]`: scratch, or the logits of `hidden` if `has_logits`.
    logits: Vec<f32>,
    n_vocab: usize,
    has_logits: bool,
}

impl Sequence {
    /// An empty sequence.
    ///
    /// # Errors
    /// `invalid-argument` for a context outside the model's, `out-of-memory`.
    pub(super) fn new(model: Rc<Model>, options: SessionOptions) -> Result<Self> {
        let mut transformer = model.transformer()?;
        if !transformer.plan().can_generate() {
            return Err(embeds_only(transformer.plan()));
        }
        let trained = transformer.plan().context_length;
        let context = options
            .context_length
            .unwrap_or(trained.min(DEFAULT_CONTEXT));
        if !(1..=trained).contains(&context) {
            let expected = format!("1 to {trained}, the model's context length");
            return Err(invalid_argument("context-length", expected, context));
        }
        let kv_type = options.kv_type.unwrap_or(KvType::F16);
        let Plan {
            n_embd, n_vocab, ..
        } = *transformer.plan();
        let state = transformer.new_state(kv_type, context as usize)?;
        drop(transformer);
        Ok(Self {
            model,
            tokens: Vec::with_capacity(context as usize),
            computed: 0,
            state,
            hidden: Vec::new(),
            row: 0,
            n_embd,
            logits: Vec::new(),
            n_vocab,
            has_logits: false,
        })
    }

    /// Reserves buffers for `rows` tokens whose logits are computed at once, so that no token needs an allocation;
    /// `scratch_rows` is the most for which [`Hidden::logits`] is called elsewhere.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(super) fn reserve(&mut self, rows: usize, scratch_rows: usize) -> Result<()> {
        self.model
            .transformer()?
            .reserve_logits(rows.max(scratch_rows))?;
        reserve(&mut self.hidden, rows * self.n_embd)?;
        reserve(&mut self.logits, rows * self.n_vocab)
    }

    /// The model that computes it.
    pub(super) fn model(&self) -> &Rc<Model> {
        &self.model
    }

    /// All tokens.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The number of tokens that fit, those that are there included.
    pub(super) fn capacity(&self) -> usize {
        self.state.capacity()
    }

    /// The number of tokens that still fit.
    pub(super) fn room(&self) -> usize {
        self.capacity() - self.tokens.len()
    }

    /// The number of tokens that have been computed.
    pub(super) fn computed(&self) -> usize {
        self.computed
    }

    /// The number of tokens that are yet to be computed.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Bytes reserved for keys and values.
    pub(super) fn kv_bytes(&self) -> u64 {
        self.state.reserved_bytes()
    }

    /// How many tokens are best appended before they are computed.
    pub(super) fn batch_room(&self) -> usize {
        BATCH - self.pending().min(1)
    }

    /// Appends tokens, which are pending then. Drops what was computed ahead.
    pub(super) fn extend(&mut self, tokens: impl IntoIterator<Item = u32>) {
        self.settle();
        self.tokens.extend(tokens);
        debug_assert!(self.tokens.len() <= self.capacity());
    }

    /// Appends the next of the tokens that were computed ahead.
    pub(super) fn accept(&mut self, token: u32) {
        self.tokens.push(token);
        self.computed += 1;
        self.row += 1;
    }

    /// Drops what was computed ahead.
    pub(super) fn settle(&mut self) {
        if self.hidden.len() > self.n_embd {
            self.computed = self.state.rewind(self.computed);
            keep_row(&mut self.hidden, self.row, self.n_embd);
            if self.has_logits {
                keep_row(&mut self.logits, self.row, self.n_vocab);
            }
            self.row = 0;
        }
    }

    /// Drops the tokens from position `length` on, and what was computed of those from position `computed` on, which is
    /// no more than `length`. Drops what was computed ahead, and the logits.
    pub(super) fn rewind(&mut self, length: usize, computed: usize) {
        self.settle();
        self.tokens.truncate(length);
        self.computed = self.state.rewind(self.computed.min(computed));
        self.has_logits = false;
    }

    /// Changes the model's matrices by `adapters` from now on. The tokens stay, and are computed again with these when they
    /// are needed.
    ///
    /// # Errors
    /// `invalid-argument` for adapters of another model, `out-of-memory`; then nothing has changed.
    pub(super) fn set_adapters(&mut self, adapters: Option<Rc<Adapters>>) -> Result<()> {
        if let Some(adapters) = &adapters {
            self.model.transformer()?.reserve_adapters(adapters)?;
        }
        let is_same = adapters.as_ref().map(|new| new.fingerprint()) == self.adapters();
        if !is_same {
            self.rewind(self.tokens.len(), 0);
            self.state.set_adapters(adapters);
        }
        Ok(())
    }

    /// The fingerprint of its adapters, if it has any.
    pub(super) fn adapters(&self) -> Option<u64> {
        let adapters = self.state.adapters();
        adapters.map(|adapters| adapters.fingerprint())
    }

    /// Computes the pending tokens, at most a batch, and the tokens `ahead` that may follow them. Does nothing if no
    /// token is pending.
    ///
    /// # Errors
    /// `aborted`; then what was computed before is still there, and nothing is computed ahead.
    pub(super) fn compute(&mut self, ahead: impl Iterator<Item = u32>) -> Result<()> {
        self.compute_and(ahead, 1, |_, _| Ok(()))
    }

    /// As [`Sequence::compute`], and calls `then` with what was computed for the last `seen` of the pending tokens and
    /// those ahead, and with scratch for their logits.
    pub(super) fn compute_and(
        &mut self,
        ahead: impl Iterator<Item = u32>,
        seen: usize,
        then: impl FnOnce(&mut Hidden<'_>, &mut Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        if self.pending() == 0 {
            return Ok(());
        }
        let length = self.tokens.len();
        self.tokens.extend(ahead);
        let caught_up = self.catch_up(BATCH);
        let pending = length - self.computed;
        if caught_up.is_err() {
            self.tokens.truncate(length);
            return caught_up;
        }
        let mut transformer = self.model.transformer()?;
        let batch = &self.tokens[self.computed..];
        let span = Span {
            tokens: batch,
            position: self.computed,
            state: &mut self.state,
            wanted: pending - seen..batch.len(),
        };
        let done = transformer.forward(&mut [span]);
        self.tokens.truncate(length);
        let mut hidden = match done {
            Ok(hidden) => hidden,
            Err(error) => {
                // Some layers have taken the batch, and others have not.
                self.computed = self.state.rewind(self.computed);
                return Err(error);
            }
        };
        self.hidden.clear();
        self.hidden
            .extend_from_slice(&hidden.rows()[(seen - 1) * self.n_embd..]);
        self.row = 0;
        self.computed = length;
        self.has_logits = false;
        then(&mut hidden, &mut self.logits)
    }

    /// Computes tokens whose hidden states nobody wants, until at most `rest` are pending.
    ///
    /// # Errors
    /// `aborted`; then what was computed before is still there.
    fn catch_up(&mut self, rest: usize) -> Result<()> {
        while self.pending() > rest {
            let n = BATCH.min(self.pending() - rest);
            let span = Span {
                tokens: &self.tokens[self.computed..self.computed + n],
                position: self.computed,
                state: &mut self.state,
                wanted: 0..0,
            };
            let done = self.model.transformer()?.forward(&mut [span]).map(drop);
            if let Err(error) = done {
                self.computed = self.state.rewind(self.computed);
                return Err(error);
            }
            self.computed += n;
        }
        Ok(())
    }

    /// The logits after the last token, `[V]`. Computes what is pending, and with it the tokens `ahead`.
    ///
    /// # Errors
    /// `invalid-argument` for an empty sequence, `aborted`.
    pub(super) fn logits(&mut self, ahead: impl Iterator<Item = u32>) -> Result<&[f32]> {
        if self.tokens.is_empty() {
            return Err(invalid_argument(
                "session",
                "at least one token",
                "none; feed a prompt first",
            ));
        }
        self.compute(ahead)?;
        if !self.has_logits {
            self.model.transformer()?.logits_of(
                &self.hidden,
                self.state.adapters(),
                &mut self.logits,
            )?;
            self.has_logits = true;
        }
        Ok(self.last_logits())
    }

    /// The logits that [`Sequence::logits`] has computed, `[V]`.
    pub(super) fn last_logits(&self) -> &[f32] {
        &self.logits[self.row * self.n_vocab..][..self.n_vocab]
    }

    /// Makes an independent copy. Drops what was computed ahead.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(super) fn fork(&mut self) -> Result<Self> {
        self.settle();
        let mut tokens = Vec::with_capacity(self.capacity());
        tokens.extend_from_slice(&self.tokens);
        Ok(Self {
            model: self.model.clone(),
            tokens,
            computed: self.computed,
            state: self.state.fork()?,
            hidden: self.hidden.clone(),
            row: self.row,
            n_embd: self.n_embd,
            logits: self.logits.clone(),
            n_vocab: self.n_vocab,
            has_logits: self.has_logits,
        })
    }

    /// Drops what was computed ahead, and computes what is missing: only then can it be saved.
    ///
    /// # Errors
    /// `invalid-argument` if the model's weights are not loaded, `aborted`.
    pub(super) fn prepare_to_save(&mut self) -> Result<()> {
        self.settle();
        self.catch_up(1)
    }

    /// See [`agree`](crate::model::Transformer::agree).
    pub(super) fn agree<T>(&self, done: Result<T>) -> Result<T> {
        self.model.transformer()?.agree(done)
    }

    /// How many bytes [`save_front`](Self::save_front) appends.
    pub(super) fn front_len(&self) -> usize {
        4 * (self.tokens.len() + self.saved_hidden().len())
    }

    /// Appends what all instances have: the tokens, and the hidden state of the last computed one if there is one.
    pub(super) fn save_front(&self, out: &mut Vec<u8>) {
        out.extend(self.tokens.iter().flat_map(|token| token.to_le_bytes()));
        out.extend(self.saved_hidden().iter().flat_map(|x| x.to_le_bytes()));
    }

    fn saved_hidden(&self) -> &[f32] {
        match self.computed {
            0 => &[],
            _ => &self.hidden,
        }
    }

    /// How many bytes follow: what each instance has a part of, keys and values.
    ///
    /// # Errors
    /// `invalid-argument` if the model's weights are not loaded.
    pub(super) fn rest_len(&self) -> Result<u64> {
        let transformer = self.model.transformer()?;
        Ok(transformer.saved_bytes(&self.state, self.computed))
    }

    /// At most a mebibyte of them from `offset` on.
    ///
    /// # Errors
    /// `invalid-argument` if the model's weights are not loaded, `out-of-memory`, `aborted`.
    pub(super) fn save_rest(&self, offset: u64) -> Result<Vec<u8>> {
        let transformer = self.model.transformer()?;
        transformer.save_piece(&self.state, self.computed, offset)
    }

    /// Replaces the sequence with one of `length` tokens, of which `computed` are computed, that is saved from `offset` to
    /// the end of `saved`.
    ///
    /// # Errors
    /// What `wrong` makes of a description of the bytes, and `out-of-memory`; then nothing has changed. If the bytes cannot be
    /// read a second time, the sequence is empty.
    pub(super) fn restore(
        &mut self,
        length: u64,
        computed: u64,
        saved: &dyn Blob,
        offset: u64,
        wrong: impl Fn(&str) -> Error,
    ) -> Result<()> {
        // Only the last token may be pending.
        if length > self.capacity() as u64 || computed > length || length > computed + 1 {
            return Err(wrong("inconsistent numbers"));
        }
        let (computed, length) = (computed as usize, length as usize);
        let n_embd = if computed > 0 { self.n_embd } else { 0 };
        let rest = offset + 4 * (length + n_embd) as u64;
        if saved.size() < rest {
            return Err(wrong("too few bytes"));
        }
        let front = saved.read(offset, 4 * (length + n_embd))?;
        let (tokens, hidden) = front.split_at(4 * length);
        let raws = tokens.as_chunks().0.iter();
        let mut tokens = Vec::new();
        reserve(&mut tokens, length)?;
        tokens.extend(raws.map(|raw| u32::from_le_bytes(*raw)));
        let n_vocab = self.model.tokenizer()?.vocab_size();
        if tokens.iter().any(|&token| token >= n_vocab) {
            return Err(wrong("tokens outside the vocabulary"));
        }
        self.settle();
        let transformer = self.model.transformer()?;
        if !transformer.check_state(&self.state, computed, saved, rest)? {
            return Err(wrong("keys and values of a different size, or not finite"));
        }
        let loaded = transformer.load_state(&mut self.state, computed, saved, rest);
        drop(transformer);
        if loaded.is_err() {
            self.rewind(0, 0);
            return loaded;
        }
        self.tokens.clear();
        self.tokens.extend(tokens);
        self.computed = computed;
        self.hidden.clear();
        let numbers = F32::raws(hidden).iter();
        self.hidden.extend(numbers.map(|raw| F32::to_f32(*raw)));
        self.row = 0;
        self.has_logits = false;
        Ok(())
    }

    /// What must match for a saved sequence to fit. The size of the group may differ.
    ///
    /// # Errors
    /// `invalid-argument` if the model's weights are not loaded.
    pub(super) fn shape(&self) -> Result<[u64; 4]> {
        let transformer = self.model.transformer()?;
        let plan = transformer.plan();
        Ok([
            plan.n_vocab as u64,
            plan.n_embd as u64,
            plan.layers.len() as u64,
            // Differs for each KV type, and for other heads.
            transformer.saved_bytes(&self.state, 1),
        ])
    }
}

/// Keeps only row `row`.
fn keep_row(rows: &mut Vec<f32>, row: usize, width: usize) {
    rows.copy_within(row * width..(row + 1) * width, 0);
    rows.truncate(width);
}

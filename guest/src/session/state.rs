//! Copies of a session: in memory, and as bytes.
//!
//! The bytes are `magic, shape, usage, random, computed, tokens, hidden, keys and values`, little-endian. They are
//! checked like a file, because they may come from anywhere.

use super::Session;
use super::draft::Draft;
use crate::error::{Result, invalid_argument};
use crate::quant::{Element, F32};

/// The last digit is the version of the layout.
const MAGIC: &[u8; 8] = b"gustses2";

impl Session {
    /// Makes an independent copy.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fork(&mut self) -> Result<Self> {
        self.settle();
        let mut tokens = Vec::with_capacity(self.cache.capacity());
        tokens.extend_from_slice(&self.tokens);
        Ok(Self {
            model: self.model.clone(),
            tokens,
            computed: self.computed,
            cache: self.cache.fork()?,
            hidden: self.hidden.clone(),
            n_embd: self.n_embd,
            logits: self.logits.clone(),
            n_vocab: self.n_vocab,
            has_logits: self.has_logits,
            answer: self.answer.clone(),
            speculation: self.speculation.clone(),
            draft: self.draft.as_mut().map(Draft::fork).transpose()?,
            candidates: self.candidates.clone(),
            fed: self.fed,
            generated: self.generated,
            drafted: self.drafted,
            accepted: self.accepted,
        })
    }

    /// Returns everything except the options as bytes.
    ///
    /// # Errors
    /// `invalid-argument` if the model's weights are not loaded, `aborted`.
    pub fn save(&mut self) -> Result<Vec<u8>> {
        self.settle();
        let mut out = MAGIC.to_vec();
        for number in self.shape()? {
            out.extend(number.to_le_bytes());
        }
        for number in [
            self.fed,
            self.generated,
            self.drafted,
            self.accepted,
            self.answer.sampler.random_state(),
            self.computed as u64,
            self.tokens.len() as u64,
        ] {
            out.extend(number.to_le_bytes());
        }
        self.tokens
            .iter()
            .for_each(|token| out.extend(token.to_le_bytes()));
        if self.computed > 0 {
            self.hidden.iter().for_each(|x| out.extend(x.to_le_bytes()));
        }
        self.model
            .transformer()?
            .save_cache(&self.cache, &mut out)?;
        Ok(out)
    }

    /// Restores the saved state of a session of the same model and layout. The options stay, and a new answer starts.
    ///
    /// # Errors
    /// `invalid-argument` for any other bytes; then nothing has changed.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let wrong = |found: &str| {
            let expected = "a state saved with the same model and session options";
            invalid_argument("state", expected, found)
        };
        let mut rest = state;
        if rest.split_off(..MAGIC.len()) != Some(MAGIC) {
            return Err(wrong("bytes that are not a saved state"));
        }
        for expected in self.shape()? {
            if number(&mut rest) != Some(expected) {
                return Err(wrong("the state of a different model or layout"));
            }
        }
        let mut header = [0; 7];
        for field in &mut header {
            *field = number(&mut rest).ok_or_else(|| wrong("too few bytes"))?;
        }
        let [fed, generated, drafted, accepted, random, computed, length] = header;
        // Only the last token may be pending.
        if length > self.cache.capacity() as u64 || computed > length || length > computed + 1 {
            return Err(wrong("inconsistent numbers"));
        }
        let (computed, length) = (computed as usize, length as usize);
        let n_embd = if computed > 0 {
            self.model.transformer()?.config().n_embd
        } else {
            0
        };
        let tokens = rest
            .split_off(..4 * length)
            .ok_or_else(|| wrong("too few bytes"))?;
        let hidden = rest
            .split_off(..4 * n_embd)
            .ok_or_else(|| wrong("too few bytes"))?;
        let tokens: Vec<u32> = tokens
            .as_chunks()
            .0
            .iter()
            .map(|raw| u32::from_le_bytes(*raw))
            .collect();
        let n_vocab = self.model.tokenizer()?.vocab_size();
        if tokens.iter().any(|&token| token >= n_vocab) {
            return Err(wrong("tokens outside the vocabulary"));
        }
        self.settle();
        let transformer = self.model.transformer()?;
        if !transformer.load_cache(&mut self.cache, computed, rest) {
            return Err(wrong("keys and values of a different size, or not finite"));
        }
        self.tokens.clear();
        self.tokens.extend(tokens);
        self.computed = computed;
        self.hidden = F32::raws(hidden)
            .iter()
            .map(|raw| F32::to_f32(*raw))
            .collect();
        self.has_logits = false;
        self.answer.begin();
        self.answer.sampler.set_random_state(random);
        (self.fed, self.generated) = (fed, generated);
        (self.drafted, self.accepted) = (drafted, accepted);
        Ok(())
    }

    /// What must match for a state to fit. The size of the group may differ.
    fn shape(&self) -> Result<[u64; 6]> {
        let transformer = self.model.transformer()?;
        let config = transformer.config();
        Ok([
            config.n_vocab as u64,
            config.n_embd as u64,
            config.n_layers as u64,
            config.head_dim as u64,
            config.n_kv_heads as u64,
            // Differs for each KV type.
            self.cache.head_bytes(1),
        ])
    }
}

/// Removes and returns the next number.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (raw, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*raw))
}

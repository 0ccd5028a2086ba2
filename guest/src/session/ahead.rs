//! Computing ahead of a session's last token: proposed tokens (see [`super::speculation`]), in one batch with it.

use std::ops::Range;
use std::rc::Rc;

use super::draft::Draft;
use super::{SCORED_ROWS, Session};
use crate::engine::Model;
use crate::error::{Error, Result};

impl Session {
    /// Lets `model` propose tokens from now on. It starts with the current answer's sampler options;
    /// [`Session::configure`] changes them for both models.
    ///
    /// # Errors
    /// `invalid-argument` if its vocabulary differs, `out-of-memory`.
    pub fn set_draft_model(&mut self, model: Rc<Model>) -> Result<()> {
        self.draft = Some(Draft::new(model, self)?);
        self.reserve()
    }

    /// Reserves buffers for everything that is computed at once, so that no token needs an allocation.
    pub(super) fn reserve(&mut self) -> Result<()> {
        let rows = 1 + self.speculation.most(self.draft.is_some());
        self.model
            .transformer()?
            .reserve_logits(rows.max(SCORED_ROWS))?;
        for (buffer, width) in [
            (&mut self.hidden, self.n_embd),
            (&mut self.logits, self.n_vocab),
        ] {
            let needed = rows * width;
            buffer
                .try_reserve_exact(needed.saturating_sub(buffer.len()))
                .map_err(|_| Error::OutOfMemory {
                    needed: (needed * size_of::<f32>()) as u64,
                    available: 0,
                })?;
        }
        Ok(())
    }

    /// Proposes tokens, if there is a last token to compute them with.
    pub(super) fn propose(&mut self) -> Result<()> {
        if self.tokens.len() == self.computed {
            return Ok(());
        }
        // One more token is chosen after the last proposed one.
        let room = self.cache.capacity() - self.tokens.len();
        let room = room.min(self.answer.remaining().saturating_sub(1));
        let (draft, sampler) = (self.draft.as_mut(), &self.answer.sampler);
        self.speculation
            .propose(&self.tokens, room, draft, sampler)?;
        if !self.answer.options.ignore_end {
            let tokenizer = self.model.tokenizer()?;
            self.speculation
                .cut_at(|id| tokenizer.is_end_of_generation(id));
        }
        self.drafted += self.speculation.ahead().len() as u64;
        Ok(())
    }

    /// Appends a token that was chosen.
    pub(super) fn push(&mut self, id: u32) {
        if self.speculation.confirm(id) {
            self.accepted += 1;
            self.computed += 1;
        } else {
            self.settle();
        }
        self.tokens.push(id);
    }

    /// Drops the proposed tokens and what was computed for them.
    pub(super) fn settle(&mut self) {
        if self.speculation.is_active() {
            let row = self.speculation.row();
            self.cache.truncate(self.computed);
            keep_row(&mut self.hidden, row, self.n_embd);
            if self.has_logits {
                keep_row(&mut self.logits, row, self.n_vocab);
            }
        }
        self.speculation.forget();
    }

    /// The range in `logits` with the logits after the last token.
    pub(super) fn current_logits(&self) -> Range<usize> {
        let start = self.speculation.row() * self.n_vocab;
        start..start + self.n_vocab
    }
}

/// Keeps only row `row`.
fn keep_row(rows: &mut Vec<f32>, row: usize, width: usize) {
    rows.copy_within(row * width..(row + 1) * width, 0);
    rows.truncate(width);
}

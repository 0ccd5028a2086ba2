//! Computing ahead of a session's last token: proposed tokens (see [`super::speculation`]), in one batch with it.

use std::rc::Rc;

use super::draft::Draft;
use super::{SCORED_ROWS, Session};
use crate::error::Result;
use crate::loaded::Model;

impl Session {
    /// Lets `model` propose tokens from now on. It starts with the current answer's sampler options;
    /// [`Session::configure`] changes them for both models.
    ///
    /// # Errors
    /// `invalid-argument` if its vocabulary differs, `out-of-memory`.
    pub fn set_draft_model(&mut self, model: Rc<Model>) -> Result<()> {
        let sampler = self.answer.sampler.clone();
        self.draft = Some(Draft::new(model, &self.sequence, sampler)?);
        self.reserve()
    }

    /// Reserves buffers for everything that is computed at once, so that no token needs an allocation.
    pub(super) fn reserve(&mut self) -> Result<()> {
        let rows = 1 + self.speculation.most(self.draft.is_some());
        self.sequence.reserve(rows, SCORED_ROWS)
    }

    /// Proposes tokens, if there is a last token to compute them with.
    pub(super) fn propose(&mut self) -> Result<()> {
        if self.sequence.pending() == 0 {
            return Ok(());
        }
        // One more token is chosen after the last proposed one.
        let room = self.sequence.room();
        let room = room.min(self.answer.remaining().saturating_sub(1));
        let (draft, sampler) = (self.draft.as_mut(), &self.answer.sampler);
        self.speculation
            .propose(self.sequence.tokens(), room, draft, sampler)?;
        if !self.answer.options.ignore_end {
            let tokenizer = self.sequence.model().tokenizer()?;
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
            self.sequence.accept(id);
        } else {
            self.speculation.forget();
            self.sequence.extend([id]);
        }
    }

    /// Drops the proposed tokens and what was computed for them.
    pub(super) fn settle(&mut self) {
        self.sequence.settle();
        self.speculation.forget();
    }
}

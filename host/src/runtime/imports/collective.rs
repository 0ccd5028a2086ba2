//! The `collective` import: a member's way to the others of its group.
//!
//! An instance also passes through here while it computes, so that an overdue call can be ended (see
//! [`deadline`](crate::runtime::deadline)).

use crate::runtime::bindings::gust::llm::collective::{CollectiveError, Host};
use crate::runtime::meeting::{Leave, Member};
use crate::runtime::state::State;

impl Host for State {
    fn rank(&mut self) -> wasmtime::Result<u32> {
        Ok(self.member.rank as u32)
    }

    fn size(&mut self) -> wasmtime::Result<u32> {
        Ok(self.member.meeting.size() as u32)
    }

    fn all_gather(&mut self, part: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, CollectiveError>> {
        self.in_time()?;
        let paid = self.pay_for_part(part.len() as u64);
        let cancelled = self.is_cancelled();
        let Member { meeting, rank } = &self.member;
        if let Err(reason) = paid {
            // It is no reason to end: the others leave the call too, and all are as they were before it.
            meeting.leave(*rank, Some(reason.clone()));
            return Ok(Err(CollectiveError::Aborted(reason)));
        }
        Ok(meeting
            .all_gather(*rank, part, cancelled)
            .map_err(|leave| self.leave(leave)))
    }

    fn checkpoint(&mut self) -> wasmtime::Result<Result<(), CollectiveError>> {
        self.in_time()?;
        // Several members might see it in different places, so they are told at a gather.
        if self.member.meeting.size() == 1 && self.is_cancelled() {
            return Ok(Err(self.leave(Leave::Cancelled)));
        }
        Ok(Ok(()))
    }
}

impl State {
    /// Takes memory for a part of `length` bytes: the meeting keeps the last two of each member, and each member gets a
    /// copy of this one with all others. What was taken is kept for the next ones. An error says what there is no room for.
    pub(crate) fn pay_for_part(&mut self, length: u64) -> Result<(), String> {
        let copies = self.member.meeting.size() as u64 + 2;
        let needed = length.saturating_mul(copies);
        let more = needed.saturating_sub(self.gathered);
        if !self.memory.take(more) {
            return Err(format!(
                "a part of {length} bytes in {copies} copies exceeds the memory limit"
            ));
        }
        self.gathered += more;
        Ok(())
    }

    fn is_cancelled(&self) -> bool {
        self.cancel
            .as_ref()
            .is_some_and(|cancel| cancel.is_cancelled())
    }

    fn leave(&mut self, leave: Leave) -> CollectiveError {
        CollectiveError::Aborted(match leave {
            Leave::Cancelled => {
                self.was_cancelled = true;
                "cancelled".to_owned()
            }
            Leave::Aborted(reason) => reason,
        })
    }
}

//! Copies of a session: in memory, and as bytes.
//!
//! The bytes are `magic, shape, adapters, usage, random, computed, tokens, hidden, keys and values`, little-endian;
//! `adapters` is there only if the session has some. They are checked like a file, because they may come from anywhere.

use super::Session;
use super::draft::Draft;
use crate::blob::Blob;
use crate::error::{Result, invalid_argument, reserve};
use crate::model::PIECE;

/// The last digit is the version of the layout.
const MAGIC: &[u8; 8] = b"gustses3";
/// The most tokens that a session can have been fed, or have generated.
const MAX_COUNT: u64 = 1 << 48;
/// Bytes in front of those of the sequence, at most.
const MAX_HEADER: usize = 256;
/// That of a session with adapters.
const ADAPTED: &[u8; 8] = b"gustses4";

impl Session {
    /// Makes an independent copy.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fork(&mut self) -> Result<Self> {
        self.settle();
        Ok(Self {
            sequence: self.sequence.fork()?,
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
    /// `invalid-argument` if the model's weights are not loaded, `out-of-memory`, `aborted`.
    pub fn save(&mut self) -> Result<Vec<u8>> {
        self.prepare_to_save()?;
        let rest = usize::try_from(self.sequence.rest_len()?).unwrap_or(usize::MAX);
        let out = self.front().and_then(|mut front| {
            let len = front.len().saturating_add(rest);
            reserve(&mut front, len).map(|()| front)
        });
        let mut out = self.sequence.agree(out)?;
        let front = out.len() as u64;
        loop {
            let piece = self.sequence.save_rest(out.len() as u64 - front)?;
            if piece.is_empty() {
                return Ok(out);
            }
            out.extend(piece);
        }
    }

    /// What [`save`](Self::save) would return from `offset` on: at most a mebibyte of it, and nothing at its end. No more
    /// than that is in memory.
    ///
    /// # Errors
    /// As for `save`.
    pub fn save_piece(&mut self, offset: u64) -> Result<Vec<u8>> {
        self.prepare_to_save()?;
        let front = self.front();
        let mut front = self.sequence.agree(front)?;
        if offset >= front.len() as u64 {
            return self.sequence.save_rest(offset - front.len() as u64);
        }
        front.drain(..offset as usize);
        front.truncate(PIECE);
        Ok(front)
    }

    fn prepare_to_save(&mut self) -> Result<()> {
        self.settle();
        self.sequence.prepare_to_save()
    }

    /// What all instances of a group have of a saved state: the header, the tokens, the last hidden state.
    fn front(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        reserve(&mut out, MAX_HEADER + self.sequence.front_len())?;
        let adapters = self.sequence.adapters();
        out.extend_from_slice(adapters.map_or(MAGIC, |_| ADAPTED));
        for number in self.sequence.shape()?.into_iter().chain(adapters) {
            out.extend(number.to_le_bytes());
        }
        for number in [
            self.fed,
            self.generated,
            self.drafted,
            self.accepted,
            self.answer.sampler.random_state(),
            self.sequence.computed() as u64,
            self.sequence.tokens().len() as u64,
        ] {
            out.extend(number.to_le_bytes());
        }
        self.sequence.save_front(&mut out);
        Ok(out)
    }

    /// As [`restore_from`](Self::restore_from), of bytes in memory.
    ///
    /// # Errors
    /// `invalid-argument` for any other bytes, `out-of-memory`; then nothing has changed.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.restore_from(&state)
    }

    /// Restores the saved state of a session of the same model, layout and adapters, which is read in pieces. The options
    /// stay, and a new answer starts.
    ///
    /// # Errors
    /// `invalid-argument` for any other bytes, `out-of-memory`; then nothing has changed. If they cannot be read a
    /// second time, the session is empty.
    pub fn restore_from(&mut self, state: &dyn Blob) -> Result<()> {
        let wrong = |found: &str| {
            let expected = "a state saved with the same model, session options and adapters";
            invalid_argument("state", expected, found)
        };
        let header = state.read(0, state.size().min(MAX_HEADER as u64) as usize)?;
        let mut rest = header.as_slice();
        let magic = rest.split_off(..MAGIC.len());
        let is_adapted = magic == Some(ADAPTED);
        if magic != Some(MAGIC) && !is_adapted {
            return Err(wrong("bytes that are not a saved state"));
        }
        for expected in self.sequence.shape()? {
            if number(&mut rest) != Some(expected) {
                return Err(wrong("the state of a different model or layout"));
            }
        }
        let adapters = match is_adapted {
            true => Some(number(&mut rest).ok_or_else(|| wrong("too few bytes"))?),
            false => None,
        };
        if adapters != self.sequence.adapters() {
            return Err(wrong(
                "the state of a session with other adapters or scales",
            ));
        }
        let mut numbers = [0; 7];
        for field in &mut numbers {
            *field = number(&mut rest).ok_or_else(|| wrong("too few bytes"))?;
        }
        let [fed, generated, drafted, accepted, random, computed, length] = numbers;
        // They are added to.
        if [fed, generated, drafted, accepted]
            .iter()
            .any(|&count| count > MAX_COUNT)
        {
            return Err(wrong("counts that no session reaches"));
        }
        self.settle();
        let offset = (header.len() - rest.len()) as u64;
        self.sequence
            .restore(length, computed, state, offset, wrong)?;
        self.answer.begin();
        self.answer.sampler.set_random_state(random);
        (self.fed, self.generated) = (fed, generated);
        (self.drafted, self.accepted) = (drafted, accepted);
        Ok(())
    }
}

/// Removes and returns the next number.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (raw, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*raw))
}

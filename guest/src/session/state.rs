//! Copies of a session: in memory, and as bytes.
//!
//! The bytes are `magic, shape, adapters, usage, random, computed, tokens, hidden, keys and values`, little-endian;
//! `adapters` is there only if the session has some. They are checked like a file, because they may come from anywhere.

use super::Session;
use super::draft::Draft;
use crate::error::{Result, invalid_argument};

/// The last digit is the version of the layout.
const MAGIC: &[u8; 8] = b"gustses3";
/// The most tokens that a session can have been fed, or have generated.
const MAX_COUNT: u64 = 1 << 48;
/// Bytes in front of those of the sequence, at most.
const MAX_HEADER: u64 = 256;
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
        self.settle();
        let adapters = self.sequence.adapters();
        let magic = adapters.map_or(MAGIC, |_| ADAPTED);
        // Before the numbers: it may compute tokens.
        let mut out = Vec::new();
        self.sequence.prepare_to_save(MAX_HEADER, &mut out)?;
        out.extend_from_slice(magic);
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
        self.sequence.save(&mut out)?;
        Ok(out)
    }

    /// Restores the saved state of a session of the same model, layout and adapters. The options stay, and a new answer
    /// starts.
    ///
    /// # Errors
    /// `invalid-argument` for any other bytes; then nothing has changed.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let wrong = |found: &str| {
            let expected = "a state saved with the same model, session options and adapters";
            invalid_argument("state", expected, found)
        };
        let mut rest = state;
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
        let mut header = [0; 7];
        for field in &mut header {
            *field = number(&mut rest).ok_or_else(|| wrong("too few bytes"))?;
        }
        let [fed, generated, drafted, accepted, random, computed, length] = header;
        // They are added to.
        if [fed, generated, drafted, accepted]
            .iter()
            .any(|&count| count > MAX_COUNT)
        {
            return Err(wrong("counts that no session reaches"));
        }
        self.settle();
        self.sequence.restore(length, computed, rest, wrong)?;
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

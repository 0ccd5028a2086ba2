//! One answer: its options, its progress, and the text on its way out.

use super::{Event, GenerationOptions};
use crate::error::{Result, invalid_argument};
use crate::limits::{MAX_LOGPROBS, MAX_STOPS};
use crate::sampler::Sampler;
use crate::stop::{Passed, StopFilter};

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    EndOfSequence,
    /// A stop text would have appeared.
    Stop,
    /// It has as many tokens as requested.
    Length,
}

#[derive(Clone)]
pub(super) struct Answer {
    pub(super) options: GenerationOptions,
    pub(super) sampler: Sampler,
    text: StopFilter,
    /// Tokens so far.
    length: u32,
    finished: Option<FinishReason>,
}

impl Answer {
    pub(super) fn new(options: GenerationOptions) -> Result<Self> {
        let (stops, logprobs) = (options.stop.len(), options.logprobs.unwrap_or(0));
        if stops > MAX_STOPS {
            return Err(invalid_argument(
                "stop",
                format!("at most {MAX_STOPS} texts"),
                stops,
            ));
        }
        if options.stop.iter().any(String::is_empty) {
            return Err(invalid_argument("stop", "non-empty texts", "an empty text"));
        }
        if logprobs > MAX_LOGPROBS {
            return Err(invalid_argument(
                "logprobs",
                format!("0 to {MAX_LOGPROBS}"),
                logprobs,
            ));
        }
        let sampler = Sampler::new(options.sampler.clone())?;
        let stops = options
            .stop
            .iter()
            .map(|stop| stop.clone().into_bytes())
            .collect();
        Ok(Self {
            options,
            sampler,
            text: StopFilter::new(stops),
            length: 0,
            finished: None,
        })
    }

    /// Starts a new answer with the same options; the random numbers continue.
    pub(super) fn begin(&mut self) {
        self.text.flush();
        self.length = 0;
        self.finished = None;
    }

    pub(super) fn finished(&self) -> Option<FinishReason> {
        self.finished
    }

    pub(super) fn is_long_enough(&self) -> bool {
        self.options
            .max_tokens
            .is_some_and(|most| self.length >= most)
    }

    /// How many more tokens the answer may have.
    pub(super) fn remaining(&self) -> usize {
        let most = self.options.max_tokens.unwrap_or(u32::MAX);
        most.saturating_sub(self.length) as usize
    }

    pub(super) fn finish(&mut self, reason: FinishReason) -> Event {
        self.finished = Some(reason);
        let bytes = self.text.flush();
        Event::Finished { reason, bytes }
    }

    /// Takes a token that was chosen.
    pub(super) fn token(
        &mut self,
        id: u32,
        text: &[u8],
        logprob: Option<f32>,
        top: Vec<(u32, f32)>,
    ) -> Event {
        self.length += 1;
        match self.text.push(text) {
            Passed::Bytes(bytes) => Event::Token {
                id,
                bytes,
                logprob,
                top,
            },
            Passed::Stopped(bytes) => {
                self.finished = Some(FinishReason::Stop);
                let reason = FinishReason::Stop;
                Event::Finished { reason, bytes }
            }
        }
    }
}

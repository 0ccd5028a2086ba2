//! How long a run took, and what it used: one line for people, one object for programs.

use std::time::Duration;

use gust::FinishReason;
use serde::Serialize;

use crate::command::units::{milliseconds, per_second, time};

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Finished(FinishReason),
    /// The model gave no reason.
    Stopped,
    ContextFull,
    /// By Ctrl-C.
    Cancelled,
    Failed,
}

/// What a run did.
pub(super) struct Summary {
    pub(super) ending: Ending,
    pub(super) model: String,
    pub(super) seed: u64,
    pub(super) prompt_tokens: u64,
    pub(super) generated: u64,
    pub(super) context_used: Option<u32>,
    pub(super) context_length: Option<u32>,
    /// How many tokens speculative decoding proposed, and how many of those were chosen.
    pub(super) drafted: Option<u64>,
    pub(super) accepted: Option<u64>,
    pub(super) load: Duration,
    pub(super) prefill: Duration,
    /// From the start of the prompt to the first token.
    pub(super) first_token: Option<Duration>,
    pub(super) decode: Duration,
}

/// The last line of `--json`.
#[derive(Serialize)]
pub(super) struct SummaryLine<'a> {
    finish_reason: &'static str,
    model: &'a str,
    seed: u64,
    usage: UsageFields,
    timings: TimingFields,
}

#[derive(Serialize)]
struct UsageFields {
    prompt_tokens: u64,
    generated_tokens: u64,
    context_used: Option<u32>,
    context_length: Option<u32>,
    drafted_tokens: Option<u64>,
    accepted_tokens: Option<u64>,
}

#[derive(Serialize)]
struct TimingFields {
    load_ms: f64,
    prefill_ms: f64,
    prefill_tokens_per_second: f64,
    first_token_ms: Option<f64>,
    decode_ms: f64,
    decode_tokens_per_second: f64,
}

impl Summary {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        format!(
            "load {} | prefill {} in {}, {:.0} tokens/s | decode {} in {}, {:.0} tokens/s{} | {} | seed {}",
            time(self.load),
            tokens(self.prompt_tokens),
            time(self.prefill),
            per_second(self.prompt_tokens, self.prefill),
            tokens(self.generated),
            time(self.decode),
            per_second(self.generated, self.decode),
            self.speculated(),
            self.ending.name(),
            self.seed,
        )
    }

    /// The result of speculative decoding, if there was any.
    fn speculated(&self) -> String {
        match (self.drafted, self.accepted) {
            (Some(drafted @ 1..), Some(accepted)) => format!(" ({accepted} of {drafted} drafted)"),
            _ => String::new(),
        }
    }

    /// One object for programs.
    pub(super) fn json(&self) -> SummaryLine<'_> {
        SummaryLine {
            finish_reason: self.ending.name(),
            model: &self.model,
            seed: self.seed,
            usage: UsageFields {
                prompt_tokens: self.prompt_tokens,
                generated_tokens: self.generated,
                context_used: self.context_used,
                context_length: self.context_length,
                drafted_tokens: self.drafted,
                accepted_tokens: self.accepted,
            },
            timings: TimingFields {
                load_ms: milliseconds(self.load),
                prefill_ms: milliseconds(self.prefill),
                prefill_tokens_per_second: per_second(self.prompt_tokens, self.prefill),
                first_token_ms: self.first_token.map(milliseconds),
                decode_ms: milliseconds(self.decode),
                decode_tokens_per_second: per_second(self.generated, self.decode),
            },
        }
    }
}

impl Ending {
    /// Its name in both the line and the object.
    fn name(self) -> &'static str {
        match self {
            Ending::Finished(FinishReason::EndOfSequence) => "end-of-sequence",
            Ending::Finished(FinishReason::Stop) => "stop",
            Ending::Finished(FinishReason::Length) => "length",
            Ending::Stopped => "stopped",
            Ending::ContextFull => "context-full",
            Ending::Cancelled => "cancelled",
            Ending::Failed => "failed",
        }
    }
}

fn tokens(count: u64) -> String {
    if count == 1 {
        "1 token".to_owned()
    } else {
        format!("{count} tokens")
    }
}

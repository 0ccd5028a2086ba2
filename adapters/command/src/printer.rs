//! Prints an answer as text, or as lines of JSON like `gust run --json`.

use std::io::{Write, stdout};
use std::time::Duration;

use gust_front_end::engine::FinishReason;
use gust_front_end::{Finish, Piece};
use serde_json::{Value, json};

/// Prints an answer while it is generated.
#[derive(Default)]
pub(crate) struct Printer {
    /// Whether to print a line of JSON for each token and one for the end.
    pub(crate) json: bool,
    /// Whether nothing has been printed before the next text.
    pub(crate) at_beginning: bool,
    pub(crate) in_line: bool,
}

/// The summary of a run.
pub(crate) struct Summary {
    pub(crate) finish: Option<Finish>,
    pub(crate) model: String,
    pub(crate) seed: u64,
    pub(crate) prompt_tokens: usize,
    pub(crate) generated: u32,
    pub(crate) load: Duration,
    pub(crate) prefill: Duration,
    pub(crate) decode: Duration,
}

impl Printer {
    /// Prints a part of the answer.
    pub(crate) fn piece(&mut self, piece: &Piece) -> Result<(), String> {
        match &piece.token {
            _ if !self.json => self.text(&piece.text),
            None if piece.text.is_empty() => Ok(()),
            token => {
                let id = token.as_ref().map(|token| token.id);
                self.line(&json!({ "id": id, "text": piece.text }))
            }
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), String> {
        // SentencePiece marks words with a leading space, including the first word of a text.
        let text = match text.strip_prefix(' ') {
            Some(rest) if self.at_beginning => rest,
            _ => text,
        };
        let Some(last) = text.chars().next_back() else {
            return Ok(());
        };
        (self.at_beginning, self.in_line) = (false, last != '\n');
        write(text)
    }

    /// Ends the text, complete or not.
    pub(crate) fn end_of_text(&mut self) -> Result<(), String> {
        if self.in_line {
            self.text("\n")
        } else {
            Ok(())
        }
    }

    /// Ends the answer.
    pub(crate) fn end(&mut self, summary: &Summary) -> Result<(), String> {
        if self.json {
            self.line(&summary.json())
        } else {
            self.end_of_text()
        }
    }

    fn line(&self, value: &Value) -> Result<(), String> {
        write(&format!("{value}\n"))
    }
}

fn write(text: &str) -> Result<(), String> {
    let mut stdout = stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("cannot write to stdout: {error}"))
}

impl Summary {
    fn json(&self) -> Value {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        json!({
            "finish_reason": self.finish.map(|finish| match finish {
                Finish::Reason(FinishReason::EndOfSequence) => "end-of-sequence",
                Finish::Reason(FinishReason::Stop) => "stop",
                Finish::Reason(FinishReason::Length) => "length",
                Finish::ContextFull(_) => "context-full",
            }),
            "model": self.model,
            "seed": self.seed,
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "generated_tokens": self.generated,
            },
            "timings": {
                "load_ms": milliseconds(self.load),
                "prefill_ms": milliseconds(self.prefill),
                "decode_ms": milliseconds(self.decode),
                "decode_tokens_per_second": f64::from(self.generated) / self.decode.as_secs_f64(),
            },
        })
    }
}

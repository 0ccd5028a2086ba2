//! How an answer is printed: as text, or as lines of JSON.

use gust::{Model, SpecialTokens, Token, Utf8Stream};
use serde::Serialize;

use super::summary::Summary;
use crate::command::failure::Failure;
use crate::command::output::Output;

/// Prints an answer as it comes. A character that spans two tokens is held back until it is whole.
pub(super) struct Printer<'a> {
    model: &'a Model,
    output: Output,
    utf8: Utf8Stream,
    json: bool,
    /// Whether the last thing printed was a line break.
    at_line_start: bool,
    /// Whether the next text is the very first, because there was no prompt.
    at_beginning: bool,
}

/// What `--json` prints for a token. `id` is null for text that was held back because it might have become a stop text.
#[derive(Serialize)]
struct TokenLine<'a> {
    id: Option<u32>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprob: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<TopEntry>,
}

/// One of the most probable tokens.
#[derive(Serialize)]
struct TopEntry {
    id: u32,
    text: String,
    logprob: f32,
}

impl<'a> Printer<'a> {
    pub(super) fn new(model: &'a Model, prompt: &str, json: bool) -> Self {
        Printer {
            model,
            output: Output::new(),
            utf8: Utf8Stream::new(),
            json,
            at_line_start: true,
            at_beginning: prompt.is_empty(),
        }
    }

    /// Prints the prompt, so that the text is complete. JSON output omits it.
    pub(super) fn prompt(&mut self, prompt: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.text(prompt) }
    }

    pub(super) fn token(&mut self, token: &Token) -> Result<(), Failure> {
        let text = self.utf8.push(&token.bytes);
        if !self.json {
            return self.text(&text);
        }
        let mut top = Vec::with_capacity(token.top.len());
        for candidate in &token.top {
            let bytes = self
                .model
                .detokenize(&[candidate.id], SpecialTokens::Render)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            top.push(TopEntry {
                id: candidate.id,
                text,
                logprob: candidate.logprob,
            });
        }
        self.output.json(&TokenLine {
            id: token.id,
            text: &text,
            logprob: token.logprob,
            top,
        })?;
        self.output.flush()
    }

    /// Prints what is still held back, and then a line break, or the summary as JSON.
    pub(super) fn end(&mut self, summary: &Summary) -> Result<(), Failure> {
        let rest = self.utf8.finish();
        if self.json {
            if !rest.is_empty() {
                self.output.json(&TokenLine {
                    id: None,
                    text: &rest,
                    logprob: None,
                    top: Vec::new(),
                })?;
            }
            self.output.json(&summary.json())?;
        } else {
            self.text(&rest)?;
            if !self.at_line_start {
                self.output.text("\n")?;
            }
        }
        self.output.flush()
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        // SentencePiece marks every word with a leading space, even the first word of a text.
        let text = match text.strip_prefix(' ') {
            Some(rest) if self.at_beginning => rest,
            _ => text,
        };
        if let Some(last) = text.chars().next_back() {
            self.at_line_start = last == '\n';
            self.at_beginning = false;
            self.output.text(text)?;
            self.output.flush()?;
        }
        Ok(())
    }
}

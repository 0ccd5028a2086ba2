//! Generates an answer: turns the engine's tokens into JSON, all at once or event by event.

use gust_front_end::engine::{FinishReason, TokenEvent};
use gust_front_end::{Answer, Finish, Piece};
use serde_json::Value;

use crate::access::Owner;
use crate::asked::Asked;
use crate::calls::{Calls, MARKERS, Part};
use crate::reply::{self, DONE, Failure, Head, Usage, event};
use crate::served::{self, Feeding, failure};
use crate::wire::{Gone, Outgoing, Response};

/// Answers a request, in one piece or as a stream. A failure before the first piece of the prompt has been taken becomes
/// the response; a later one stands in the body, which then has no end.
pub(crate) fn answer(asked: &Asked, owner: Option<Owner>, out: Outgoing) {
    let mut out = Some(out);
    let outcome = served::with(|served| {
        let head = asked.head()?;
        let tokens = asked.tokens(served.model())?;
        let mut feeding = served.session(owner, &tokens, &asked.options)?;
        // Whatever may be wrong with a request, the engine says about the first piece. The response begins after it,
        // before the work: only then can it be noticed that nobody waits for the answer any more.
        let done = feeding.feed(&tokens).and_then(|_| {
            let kind = match asked.stream {
                true => "text/event-stream",
                false => "application/json",
            };
            let Some(mut response) = out.take().and_then(|out| out.begin(200, Some(kind))) else {
                return Ok(());
            };
            let mut making = Making {
                asked,
                head,
                prompt: &tokens,
                cached: feeding.cached,
                feeding,
                made: 0,
            };
            match making.all(&mut response) {
                Ok(()) => response.end(),
                Err(Ended::Gone) => {}
                Err(Ended::Failed(failure)) => {
                    let value = failure.json();
                    // A client that has disconnected does not need it.
                    let _ = response.write(&match asked.stream {
                        true => event(&value),
                        false => value.to_string(),
                    });
                    return Err(failure);
                }
            }
            Ok(())
        });
        if done.is_err() {
            served.forget();
        }
        done
    });
    if let (Err(failure), Some(out)) = (outcome, out) {
        out.fail(&failure);
    }
}

/// Why an answer has no end.
enum Ended {
    /// The client has disconnected.
    Gone,
    Failed(Failure),
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Ended::Gone
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Ended::Failed(failure)
    }
}

/// An answer in progress.
struct Making<'a> {
    asked: &'a Asked,
    head: Head,
    prompt: &'a [u32],
    /// Tokens of the prompt that were still in the session.
    cached: usize,
    feeding: Feeding<'a>,
    /// How many tokens were generated so far.
    made: usize,
}

impl Making<'_> {
    fn all(&mut self, response: &mut Response) -> Result<(), Ended> {
        response.wanted()?;
        while self.feeding.feed(self.prompt)? {
            response.wanted()?;
        }
        match self.asked.stream {
            true => self.events(response),
            false => self.whole(response),
        }
    }

    fn whole(&mut self, response: &mut Response) -> Result<(), Ended> {
        let mut text = self.asked.echo.clone();
        let mut logprobs = self.asked.options.logprobs.map(|_| Vec::new());
        let mut calls = Vec::new();
        let mut finder = self.finder();
        let mut put = |parts: Vec<Part>| {
            for part in parts {
                match part {
                    Part::Text(more) => text += &more,
                    Part::Call(call) => calls.push(reply::call(&call_id(), &call)),
                }
            }
        };
        let mut answer = Answer::new(self.feeding.session);
        for piece in &mut answer {
            response.wanted()?;
            let piece = piece.map_err(failure)?;
            put(self.parts(&mut finder, &piece)?);
            if let Some(token) = &piece.token {
                self.went_on(token);
                if let Some(logprobs) = &mut logprobs {
                    logprobs.extend(self.logprob(token)?);
                }
            }
        }
        put(finder.map(|mut finder| finder.finish()).unwrap_or_default());
        let finish = finish_reason(answer.finish, calls.len());
        let whole = self
            .head
            .whole(&text, calls, logprobs, finish, self.usage());
        Ok(response.write(&whole.to_string())?)
    }

    fn events(&mut self, response: &mut Response) -> Result<(), Ended> {
        if let Some(first) = self.head.first() {
            response.write(&event(&first))?;
        }
        if !self.asked.echo.is_empty() {
            response.write(&event(&self.head.piece(&self.asked.echo, None)))?;
        }
        let mut called = 0;
        let mut finder = self.finder();
        let mut answer = Answer::new(self.feeding.session);
        for piece in &mut answer {
            response.wanted()?;
            let piece = piece.map_err(failure)?;
            let parts = self.parts(&mut finder, &piece)?;
            let mut logprobs = None;
            if let Some(token) = &piece.token {
                self.went_on(token);
                if self.asked.options.logprobs.is_some() {
                    logprobs = Some(Vec::from_iter(self.logprob(token)?));
                }
            }
            // The token's log-probability comes with its text, or alone if that is held back or a call.
            let is_text = matches!(parts.first(), Some(Part::Text(_)));
            if logprobs.is_some() && !is_text {
                response.write(&event(&self.head.piece("", logprobs.take())))?;
            }
            for part in parts {
                let piece = self.piece(part, logprobs.take(), &mut called);
                response.write(&event(&piece))?;
            }
        }
        for part in finder.map(|mut finder| finder.finish()).unwrap_or_default() {
            let piece = self.piece(part, None, &mut called);
            response.write(&event(&piece))?;
        }
        let finish = finish_reason(answer.finish, called);
        response.write(&event(&self.head.last(finish)))?;
        if self.asked.include_usage {
            response.write(&event(&self.head.usage(self.usage())))?;
        }
        Ok(response.write(DONE)?)
    }

    /// What finds calls of tools, if the request has tools.
    fn finder(&self) -> Option<Calls> {
        let tools = &self.asked.tools;
        (!tools.is_empty()).then(|| Calls::new(tools.clone()))
    }

    /// The parts of the answer that are certain with this piece.
    fn parts(&self, finder: &mut Option<Calls>, piece: &Piece) -> Result<Vec<Part>, Failure> {
        let Some(finder) = finder else {
            let text = Some(piece.text.clone()).filter(|text| !text.is_empty());
            return Ok(Vec::from_iter(text.map(Part::Text)));
        };
        // What begins a call may be a control token, which has no text.
        if let Some(token) = &piece.token
            && token.bytes.is_empty()
        {
            let name = self.feeding.model.detokenize(&[token.id], true);
            let name = name.map_err(failure)?;
            if let Some(marker) = MARKERS.iter().find(|marker| marker.as_bytes() == name) {
                return Ok(finder.push(marker));
            }
        }
        Ok(finder.push(&piece.text))
    }

    /// A part as a piece of a stream; `called` counts the calls.
    fn piece(&self, part: Part, logprobs: Option<Vec<Value>>, called: &mut usize) -> Value {
        match part {
            Part::Text(text) => self.head.piece(&text, logprobs),
            Part::Call(call) => {
                *called += 1;
                self.head
                    .called(*called - 1, reply::call(&call_id(), &call))
            }
        }
    }

    fn went_on(&mut self, token: &TokenEvent) {
        self.feeding.went_on(token.id);
        self.made += 1;
    }

    fn usage(&self) -> Usage {
        Usage {
            prompt: self.prompt.len(),
            cached: self.cached,
            completion: self.made,
        }
    }

    /// The token's log-probability; none if a filter has removed it.
    fn logprob(&self, token: &TokenEvent) -> Result<Option<Value>, Failure> {
        let Some(logprob) = token.logprob else {
            return Ok(None);
        };
        let model = self.feeding.model;
        let text = |id| model.detokenize(&[id], true).map_err(failure);
        let mut value = reply::logprob(&text(token.id)?, logprob);
        let mut top = Vec::new();
        for candidate in &token.top {
            top.push(reply::logprob(&text(candidate.id)?, candidate.logprob));
        }
        value["top_logprobs"] = top.into();
        Ok(Some(value))
    }
}

/// An identifier of a call: nine letters and digits, because templates of Mistral's refuse any other.
fn call_id() -> String {
    format!("{:09x}", served::random() >> 28)
}

/// OpenAI's name for the reason, after so many calls.
fn finish_reason(finish: Option<Finish>, calls: usize) -> &'static str {
    match finish {
        Some(Finish::Reason(FinishReason::Length) | Finish::ContextFull(_)) => "length",
        _ if calls > 0 => "tool_calls",
        _ => "stop",
    }
}

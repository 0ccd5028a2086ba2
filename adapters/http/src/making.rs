//! Generates an answer: turns the engine's tokens into JSON, all at once or event by event.

use gust_front_end::engine::{FinishReason, TokenEvent};
use gust_front_end::{Answer, Finish};
use serde_json::Value;

use crate::access::Owner;
use crate::asked::Asked;
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
        let mut answer = Answer::new(self.feeding.session);
        for piece in &mut answer {
            response.wanted()?;
            let piece = piece.map_err(failure)?;
            text += &piece.text;
            if let Some(token) = &piece.token {
                self.went_on(token);
                if let Some(logprobs) = &mut logprobs {
                    logprobs.extend(self.logprob(token)?);
                }
            }
        }
        let finish = finish_reason(answer.finish);
        let whole = self.head.whole(&text, logprobs, finish, self.usage());
        Ok(response.write(&whole.to_string())?)
    }

    fn events(&mut self, response: &mut Response) -> Result<(), Ended> {
        if let Some(first) = self.head.first() {
            response.write(&event(&first))?;
        }
        if !self.asked.echo.is_empty() {
            response.write(&event(&self.head.piece(&self.asked.echo, None)))?;
        }
        let mut answer = Answer::new(self.feeding.session);
        for piece in &mut answer {
            response.wanted()?;
            let piece = piece.map_err(failure)?;
            let mut logprobs = None;
            if let Some(token) = &piece.token {
                self.went_on(token);
                if self.asked.options.logprobs.is_some() {
                    logprobs = Some(Vec::from_iter(self.logprob(token)?));
                }
            }
            if !piece.text.is_empty() || logprobs.is_some() {
                response.write(&event(&self.head.piece(&piece.text, logprobs)))?;
            }
        }
        let finish = finish_reason(answer.finish);
        response.write(&event(&self.head.last(finish)))?;
        if self.asked.include_usage {
            response.write(&event(&self.head.usage(self.usage())))?;
        }
        Ok(response.write(DONE)?)
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

/// OpenAI's name for the reason.
fn finish_reason(finish: Option<Finish>) -> &'static str {
    match finish {
        Some(Finish::Reason(FinishReason::Length) | Finish::ContextFull(_)) => "length",
        _ => "stop",
    }
}

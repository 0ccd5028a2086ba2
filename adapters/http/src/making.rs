//! Generates an answer: turns the engine's tokens into JSON, all at once or event by event.

use gust_front_end::engine::{FinishReason, Model, Session, TokenEvent};
use gust_front_end::{Answer, Finish};
use serde_json::Value;
use wasip2::http::types::ResponseOutparam;

use crate::asked::Asked;
use crate::reply::{self, DONE, Failure, Head, Usage, event};
use crate::served::{self, failure};
use crate::wire::{self, Response};

/// Answers a request, in one piece or as a stream. A failure before the first byte becomes the response, a later one an
/// event.
pub(crate) fn answer(asked: &Asked, out: ResponseOutparam) {
    let mut out = Some(out);
    let outcome = served::with(|served| {
        let head = asked.head()?;
        let tokens = asked.tokens(served.model())?;
        let (model, session, cached) = served.session(&tokens, &asked.options)?;
        let mut making = Making {
            asked,
            head,
            model,
            session,
            usage: Usage {
                prompt: tokens.len(),
                cached,
                completion: 0,
            },
            made: Vec::new(),
        };
        let value = match out.take_if(|_| asked.stream) {
            Some(out) => {
                making.stream(out);
                None
            }
            None => Some(making.whole()?),
        };
        let made = making.made;
        served.went_on(&made);
        Ok(value)
    });
    match (outcome, out) {
        (Ok(Some(value)), Some(out)) => wire::json(out, 200, &value),
        (Err(failure), Some(out)) => wire::json(out, failure.status, &failure.json()),
        _ => {}
    }
}

/// An answer in progress.
struct Making<'a> {
    asked: &'a Asked,
    head: Head,
    model: &'a Model,
    session: &'a Session,
    /// The usage before the answer; `completion` is filled in later.
    usage: Usage,
    /// The tokens generated so far.
    made: Vec<u32>,
}

impl Making<'_> {
    fn whole(&mut self) -> Result<Value, Failure> {
        let mut text = self.asked.echo.clone();
        let mut logprobs = self.asked.options.logprobs.map(|_| Vec::new());
        let mut answer = Answer::new(self.session);
        for piece in &mut answer {
            let piece = piece.map_err(failure)?;
            text += &piece.text;
            if let Some(token) = &piece.token {
                self.made.push(token.id);
                if let Some(logprobs) = &mut logprobs {
                    logprobs.extend(self.logprob(token)?);
                }
            }
        }
        let finish = finish_reason(answer.finish);
        Ok(self.head.whole(&text, logprobs, finish, self.usage()))
    }

    fn stream(&mut self, out: ResponseOutparam) {
        if let Some(mut response) = Response::begin(out, 200, "text/event-stream") {
            // If the client has disconnected, the answer ends.
            let _ = self.events(&mut response);
            response.end();
        }
    }

    fn events(&mut self, response: &mut Response) -> std::io::Result<()> {
        if let Some(first) = self.head.first() {
            response.write(&event(&first))?;
        }
        if !self.asked.echo.is_empty() {
            response.write(&event(&self.head.piece(&self.asked.echo, None)))?;
        }
        let mut answer = Answer::new(self.session);
        for piece in &mut answer {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return response.write(&event(&failure(error).json())),
            };
            self.made.extend(piece.token.as_ref().map(|token| token.id));
            let token = piece
                .token
                .filter(|_| self.asked.options.logprobs.is_some());
            let logprobs = match token.map(|token| self.logprob(&token)).transpose() {
                Ok(logprobs) => logprobs.map(Vec::from_iter),
                Err(failure) => return response.write(&event(&failure.json())),
            };
            if !piece.text.is_empty() || logprobs.is_some() {
                response.write(&event(&self.head.piece(&piece.text, logprobs)))?;
            }
        }
        let finish = finish_reason(answer.finish);
        response.write(&event(&self.head.last(finish)))?;
        if self.asked.include_usage {
            response.write(&event(&self.head.usage(self.usage())))?;
        }
        response.write(DONE)
    }

    fn usage(&self) -> Usage {
        Usage {
            completion: self.made.len(),
            ..self.usage
        }
    }

    /// The token's log-probability; none if a filter has removed it.
    fn logprob(&self, token: &TokenEvent) -> Result<Option<Value>, Failure> {
        let Some(logprob) = token.logprob else {
            return Ok(None);
        };
        let text = |id| self.model.detokenize(&[id], true).map_err(failure);
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

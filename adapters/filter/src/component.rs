//! The middleware.

use std::rc::Rc;

use gust_middleware::Middleware;
use gust_middleware::adapters::{self, Adapter};
use gust_middleware::engine::{
    self, Error, Event, Finish, FinishReason, GenerationOptions, LoadOptions, Mismatch, Model,
    Session, SessionOptions,
};

use crate::settings::Settings;
use crate::stream::Stream;

gust_middleware::export!(Filter);

/// The state of a session.
struct Filter {
    settings: Settings,
    model: Rc<Model>,
    stream: Stream,
    /// Why the answer ended, once it has.
    ended: Option<FinishReason>,
}

impl Filter {
    fn with(settings: Settings, model: Rc<Model>) -> Self {
        Filter {
            settings,
            model,
            stream: Stream::default(),
            ended: None,
        }
    }

    /// Discards the state of the last answer.
    fn begin_answer(&mut self) {
        self.stream = Stream::default();
        self.ended = None;
    }

    fn end(&mut self, reason: FinishReason, bytes: Vec<u8>) -> Event {
        self.ended = Some(reason);
        Event::Finished(Finish { reason, bytes })
    }
}

fn settings() -> Result<Settings, Error> {
    let file = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    Settings::read(|name| std::env::var(name).ok(), file).map_err(|wrong| {
        Error::InvalidArgument(Mismatch {
            subject: wrong.subject.to_owned(),
            expected: wrong.expected,
            found: wrong.found,
        })
    })
}

impl Middleware for Filter {
    /// Without a list no model is loaded, because an unfiltered answer would be worse than none.
    fn load_model(name: &str, options: LoadOptions) -> Result<Model, Error> {
        settings()?;
        engine::load_model(name, options)
    }

    fn new(model: &Rc<Model>, _: SessionOptions, _: &Session) -> Result<Self, Error> {
        Ok(Self::with(settings()?, model.clone()))
    }

    fn fork(&self, _: &Session, _: &Session) -> Result<Self, Error> {
        Ok(Filter {
            settings: self.settings.clone(),
            model: self.model.clone(),
            stream: self.stream.clone(),
            ended: self.ended,
        })
    }

    fn configure(&mut self, inner: &Session, options: &GenerationOptions) -> Result<(), Error> {
        inner.configure(options)?;
        self.begin_answer();
        Ok(())
    }

    fn attach(&mut self, inner: &Session, adapters: &[(&Adapter, f32)]) -> Result<(), Error> {
        adapters::attach(inner, adapters)?;
        self.begin_answer();
        Ok(())
    }

    fn feed(&mut self, inner: &Session, tokens: &[u32]) -> Result<u32, Error> {
        let taken = inner.feed(tokens)?;
        self.begin_answer();
        Ok(taken)
    }

    fn next_token(&mut self, inner: &Session) -> Result<Event, Error> {
        if let Some(reason) = self.ended {
            return Ok(self.end(reason, Vec::new()));
        }
        Ok(match inner.next_token()? {
            Event::Token(mut token) => {
                let before = self.stream.clone();
                let passed = self.stream.push(&self.settings, &token.bytes);
                if passed.stopped {
                    return Ok(self.end(FinishReason::Stop, passed.bytes));
                }
                if passed.touched {
                    // These would reveal the token whose text is held back.
                    token.logprob = None;
                    token.top = Vec::new();
                }
                // Nor may the alternatives have text that would not be shown at once.
                let mut shown = Vec::new();
                for candidate in std::mem::take(&mut token.top) {
                    let text = self.model.detokenize(&[candidate.id], true)?;
                    if !before.clone().push(&self.settings, &text).touched {
                        shown.push(candidate);
                    }
                }
                token.top = shown;
                token.bytes = passed.bytes;
                Event::Token(token)
            }
            Event::Finished(end) => {
                let mut passed = self.stream.push(&self.settings, &end.bytes);
                if passed.stopped {
                    return Ok(self.end(FinishReason::Stop, passed.bytes));
                }
                passed.bytes.append(&mut self.stream.finish());
                self.end(end.reason, passed.bytes)
            }
        })
    }

    fn score(&mut self, inner: &Session, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        let scores = inner.score(tokens)?;
        self.begin_answer();
        Ok(scores)
    }

    fn truncate(&mut self, inner: &Session, length: u32) -> Result<(), Error> {
        let before = inner.usage().context_used;
        inner.truncate(length)?;
        if length < before {
            self.begin_answer();
        }
        Ok(())
    }

    fn restore(&mut self, inner: &Session, state: &[u8]) -> Result<(), Error> {
        inner.restore(state)?;
        self.begin_answer();
        Ok(())
    }
}

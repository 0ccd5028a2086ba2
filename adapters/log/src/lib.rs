//! Middleware that writes a line to stderr for each model, session, answer and error, and for whatever else lets tokens
//! in or knowledge of them out: scores, logits, vectors, adapters, and states that are saved and restored.
//!
//! A line is `gust-audit` followed by `key=value` words. It has only numbers and reasons, and no text or token of a
//! prompt or an answer, unless the environment variable `GUST_LOG_TEXT=1` enables both.
//!
//! In a native build this crate is empty, because it only contains the component.

#![cfg(target_arch = "wasm32")]

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gust_middleware::Middleware;
use gust_middleware::adapters::{self, Adapter};
use gust_middleware::embedding::{self, EmbedOptions};
use gust_middleware::engine::{
    self, Error, Event, FinishReason, LoadOptions, Model, Session, SessionOptions,
};

gust_middleware::export!(Log);

/// The state of a session.
struct Log {
    /// Its number among the sessions of this instance.
    session: u32,
    /// The answer in progress.
    answer: Option<Answer>,
    /// Whether text may be written.
    with_text: bool,
}

/// An answer, from the first token fed.
struct Answer {
    begin: Instant,
    /// The number of tokens fed.
    fed: usize,
    prompt: Vec<u32>,
    generated: u32,
    text: Vec<u8>,
}

/// Writes one line.
fn line(event: &str, words: &str) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = time.map_or(0.0, |time| time.as_secs_f64());
    eprintln!("gust-audit time={seconds:.3} event={event} {words}");
}

/// Whether text may be written.
fn with_text() -> bool {
    std::env::var("GUST_LOG_TEXT").is_ok_and(|value| value == "1")
}

/// The name of an error's case, without its payload, which may quote a prompt.
fn case(error: &Error) -> &'static str {
    match error {
        Error::NotFound(_) => "not-found",
        Error::InvalidModel(_) => "invalid-model",
        Error::Unsupported(_) => "unsupported",
        Error::OutOfMemory(_) => "out-of-memory",
        Error::PromptTooLong(_) => "prompt-too-long",
        Error::ContextFull(_) => "context-full",
        Error::InvalidArgument(_) => "invalid-argument",
        Error::Io(_) => "io",
        Error::Aborted(_) => "aborted",
    }
}

impl Log {
    fn next(with_text: bool, from: &str) -> Self {
        static SESSIONS: AtomicU32 = AtomicU32::new(1);
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
        line("session", &format!("session={session} from={from}"));
        Log {
            session,
            answer: None,
            with_text,
        }
    }

    fn answer(&mut self) -> &mut Answer {
        self.answer.get_or_insert_with(|| Answer {
            begin: Instant::now(),
            fed: 0,
            prompt: Vec::new(),
            generated: 0,
            text: Vec::new(),
        })
    }

    /// Writes the line for the answer in progress, if there is one.
    fn end(&mut self, reason: &str) {
        let Some(answer) = self.answer.take() else {
            return;
        };
        let mut words = format!(
            "session={} fed={} generated={} milliseconds={} end={reason}",
            self.session,
            answer.fed,
            answer.generated,
            answer.begin.elapsed().as_millis()
        );
        if self.with_text {
            let text = String::from_utf8_lossy(&answer.text);
            words += &format!(" prompt={:?} text={text:?}", answer.prompt);
        }
        line("answer", &words);
    }

    /// Writes the line for a call that is not a part of an answer, and returns its outcome.
    fn note<T>(
        &self,
        event: &str,
        outcome: Result<T, Error>,
        count: impl FnOnce(&T) -> String,
    ) -> Result<T, Error> {
        let words = match &outcome {
            Ok(done) => count(done),
            Err(error) => format!("error={}", case(error)),
        };
        line(event, &format!("session={} {words}", self.session));
        outcome
    }

    fn fail(&mut self, error: &Error) {
        self.answer();
        self.end(case(error));
    }
}

impl Middleware for Log {
    fn load_model(name: &str, options: LoadOptions) -> Result<Model, Error> {
        let begin = Instant::now();
        let model = engine::load_model(name, options);
        let outcome = match &model {
            Ok(model) => {
                let info = model.info();
                format!(
                    "architecture={:?} parameters={}",
                    info.architecture, info.parameters
                )
            }
            Err(error) => format!("error={}", case(error)),
        };
        let time = begin.elapsed().as_millis();
        line(
            "load",
            &format!("model={name:?} milliseconds={time} {outcome}"),
        );
        model
    }

    fn embed(model: &Model, tokens: &[u32], options: EmbedOptions) -> Result<Vec<f32>, Error> {
        let vectors = embedding::embed(model, tokens, options);
        let mut words = match &vectors {
            Ok(_) => format!("fed={}", tokens.len()),
            Err(error) => format!("error={}", case(error)),
        };
        if with_text() {
            words += &format!(" prompt={tokens:?}");
        }
        line("embed", &words);
        vectors
    }

    fn load_adapter(name: &str, model: &Model) -> Result<Adapter, Error> {
        let adapter = adapters::load(name, model);
        let outcome = match &adapter {
            Ok(_) => String::new(),
            Err(error) => format!(" error={}", case(error)),
        };
        line("load-adapter", &format!("adapter={name:?}{outcome}"));
        adapter
    }

    fn attach(&mut self, inner: &Session, adapters: &[(&Adapter, f32)]) -> Result<(), Error> {
        self.end("left");
        let attached = adapters::attach(inner, adapters);
        let scales: Vec<f32> = adapters.iter().map(|(_, scale)| *scale).collect();
        self.note("attach", attached, |()| format!("scales={scales:?}"))
    }

    fn new(_: &Rc<Model>, _: SessionOptions, _: &Session) -> Result<Self, Error> {
        Ok(Self::next(with_text(), "model"))
    }

    fn refused(error: &Error) {
        line("session", &format!("error={}", case(error)));
    }

    fn fork(&self, _: &Session, _: &Session) -> Result<Self, Error> {
        Ok(Self::next(self.with_text, &self.session.to_string()))
    }

    fn feed(&mut self, inner: &Session, tokens: &[u32]) -> Result<u32, Error> {
        if self
            .answer
            .as_ref()
            .is_some_and(|answer| answer.generated > 0)
        {
            self.end("left");
        }
        let taken = inner.feed(tokens).inspect_err(|error| self.fail(error))?;
        let with_text = self.with_text;
        let answer = self.answer();
        answer.fed += taken as usize;
        if with_text {
            let taken = tokens.get(..taken as usize).unwrap_or(tokens);
            answer.prompt.extend_from_slice(taken);
        }
        Ok(taken)
    }

    fn next_token(&mut self, inner: &Session) -> Result<Event, Error> {
        let event = inner.next_token().inspect_err(|error| self.fail(error))?;
        let with_text = self.with_text;
        match &event {
            Event::Token(token) => {
                let answer = self.answer();
                answer.generated += 1;
                if with_text {
                    answer.text.extend_from_slice(&token.bytes);
                }
            }
            Event::Finished(end) => {
                if let (Some(answer), true) = (&mut self.answer, with_text) {
                    answer.text.extend_from_slice(&end.bytes);
                }
                self.end(match end.reason {
                    FinishReason::EndOfSequence => "end-of-sequence",
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                });
            }
        }
        Ok(event)
    }

    fn score(&mut self, inner: &Session, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        let scores = inner.score(tokens);
        self.note("score", scores, |scores| {
            let taken = tokens.get(..scores.len()).unwrap_or(tokens);
            match self.with_text {
                true => format!("fed={} prompt={taken:?}", scores.len()),
                false => format!("fed={}", scores.len()),
            }
        })
    }

    fn logits(&mut self, inner: &Session) -> Result<Vec<f32>, Error> {
        let logits = inner.logits();
        self.note("logits", logits, |logits| format!("count={}", logits.len()))
    }

    fn save(&mut self, inner: &Session) -> Result<Vec<u8>, Error> {
        self.note("save", inner.save(), |state| {
            format!("bytes={}", state.len())
        })
    }

    fn restore(&mut self, inner: &Session, state: &[u8]) -> Result<(), Error> {
        self.end("left");
        let restored = inner.restore(state);
        self.note("restore", restored, |()| format!("bytes={}", state.len()))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end("left");
        line("session-end", &format!("session={}", self.session));
    }
}

//! The served model: loaded on an instance's first request, and kept for the following ones.
//!
//! The session is kept too: a request that starts like the previous one, such as the next turn of a conversation, only
//! computes the new tokens. The answer is the same either way.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use gust_front_end::engine::{
    Error, GenerationOptions, LoadOptions, Model, Session, SessionOptions, load_model,
};
use gust_front_end::{describe, feed};

use crate::reply::Failure;

/// The environment variable with the model's name, as the weights provider understands it.
const MODEL: &str = "GUST_MODEL";
/// The environment variable with the context length of a session in tokens.
const CONTEXT: &str = "GUST_CONTEXT";
/// The environment variable with the date for templates that write one.
const DATE: &str = "GUST_DATE";

thread_local! {
    static SERVED: RefCell<Option<Served>> = const { RefCell::new(None) };
}

/// A loaded model and the session of the last request.
pub(crate) struct Served {
    model: Model,
    session: Option<Held>,
}

struct Held {
    session: Session,
    /// The tokens in the session, or the first part of them.
    tokens: Vec<u32>,
}

/// The model's path.
///
/// # Errors
/// If none is set.
pub(crate) fn path() -> Result<String, Failure> {
    std::env::var(MODEL).map_err(|_| {
        let message = format!("no model is configured; set the environment variable {MODEL}");
        Failure::server(503, message)
    })
}

/// The model's name: its file name without folder and extension.
///
/// # Errors
/// If none is set.
pub(crate) fn name() -> Result<String, Failure> {
    let path = path()?;
    let file = path.rsplit('/').next().unwrap_or(&path);
    Ok(file.strip_suffix(".gguf").unwrap_or(file).to_owned())
}

/// The date for templates that write one, if it is not today's.
pub(crate) fn date() -> Option<String> {
    std::env::var(DATE).ok()
}

/// Whether the model is loaded in this instance.
pub(crate) fn is_loaded() -> bool {
    SERVED.with_borrow(Option::is_some)
}

/// Runs `work` with the model, after loading it if necessary. An instance serves one request at a time.
pub(crate) fn with<T>(work: impl FnOnce(&mut Served) -> Result<T, Failure>) -> Result<T, Failure> {
    SERVED.with_borrow_mut(|served| {
        let served = match served {
            Some(served) => served,
            None => served.insert(load()?),
        };
        work(served)
    })
}

fn load() -> Result<Served, Failure> {
    let path = path()?;
    let model = load_model(&path, LoadOptions::default())
        .map_err(|error| Failure::server(503, describe(&error)))?;
    Ok(Served {
        model,
        session: None,
    })
}

impl Served {
    /// The model.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The model, a session that has been fed `tokens` and configured with `options`, and how many of the tokens did
    /// not have to be computed again.
    ///
    /// # Errors
    /// The caller's mistakes: too many tokens, options out of range.
    pub(crate) fn session(
        &mut self,
        tokens: &[u32],
        options: &GenerationOptions,
    ) -> Result<(&Model, &Session, usize), Failure> {
        let mut held = match self.session.take() {
            Some(held) => held,
            None => Held {
                session: self
                    .model
                    .new_session(session_options()?)
                    .map_err(failure)?,
                tokens: Vec::new(),
            },
        };
        // The last token is always fed again, because the logits after it are computed with it.
        let limit = tokens.len().saturating_sub(1);
        let common = held.tokens.iter().zip(tokens).take(limit);
        let common = common.take_while(|(old, new)| old == new).count();
        let session = &held.session;
        // A failure may leave the session in any state, so the session is dropped then.
        session.truncate(common as u32).map_err(failure)?;
        session.configure(options).map_err(failure)?;
        feed(session, &tokens[common..]).map_err(failure)?;
        held.tokens = tokens.to_vec();
        let held = self.session.insert(held);
        Ok((&self.model, &held.session, common))
    }

    /// Records that the session has generated these tokens.
    pub(crate) fn went_on(&mut self, made: &[u32]) {
        if let Some(held) = &mut self.session {
            held.tokens.extend_from_slice(made);
        }
    }
}

fn session_options() -> Result<SessionOptions, Failure> {
    let context = match std::env::var(CONTEXT) {
        Err(_) => None,
        Ok(text) => Some(text.parse().map_err(|_| {
            let message = format!("{CONTEXT}: expected a number of tokens, found `{text}`");
            Failure::server(503, message)
        })?),
    };
    Ok(SessionOptions {
        context_length: context,
        ..SessionOptions::default()
    })
}

/// Turns an engine's error into the response to a request.
pub(crate) fn failure(error: Error) -> Failure {
    let message = describe(&error);
    match error {
        Error::InvalidArgument(_) | Error::Unsupported(_) => Failure::invalid(None, message),
        Error::PromptTooLong(_) | Error::ContextFull(_) => {
            Failure::status(400, "context_length_exceeded", message)
        }
        _ => Failure::server(500, message),
    }
}

/// A number from the host's randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

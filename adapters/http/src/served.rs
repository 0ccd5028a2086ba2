//! The served model: loaded on an instance's first request, and kept for the following ones.
//!
//! The session is kept too: a request that starts like the previous one, such as the next turn of a conversation, only
//! computes the new tokens. The answer is the same either way, but the time is not: so only the owner of the previous
//! prompt may continue it, because somebody else could find out what it was.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use gust_front_end::engine::{
    Error, GenerationOptions, LoadOptions, Model, Session, SessionOptions, load_model,
};
use gust_front_end::{ChatSettings, assumed_template, chat_template, describe};
use serde_json::{Map, Value};

use crate::access::Owner;
use crate::reply::Failure;

/// The environment variable with the model's name, as the weights provider understands it.
const MODEL: &str = "GUST_MODEL";
/// The environment variable with the context length of a session in tokens.
const CONTEXT: &str = "GUST_CONTEXT";
/// The environment variable with the date for templates that write one.
const DATE: &str = "GUST_DATE";
/// The environment variable with the path or the name of a chat template that is used instead of the model's.
const TEMPLATE: &str = "GUST_CHAT_TEMPLATE";
/// The environment variable with variables for the chat template, a JSON object. A request may have others.
const KWARGS: &str = "GUST_CHAT_TEMPLATE_KWARGS";

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
    /// Whose they are.
    owner: Option<Owner>,
}

/// A session whose prompt is being fed.
pub(crate) struct Feeding<'a> {
    pub(crate) model: &'a Model,
    pub(crate) session: &'a Session,
    /// How many of the prompt's tokens did not have to be computed again.
    pub(crate) cached: usize,
    held: &'a mut Vec<u32>,
}

impl Feeding<'_> {
    /// Feeds some of `tokens`, the whole prompt. Whether more are left.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) fn feed(&mut self, tokens: &[u32]) -> Result<bool, Failure> {
        let left = tokens.get(self.held.len()..).unwrap_or_default();
        if !left.is_empty() {
            let taken = self.session.feed(left).map_err(failure)? as usize;
            self.held.extend(left.iter().take(taken.max(1)));
        }
        Ok(self.held.len() < tokens.len())
    }

    /// Records that the session has generated this token.
    pub(crate) fn went_on(&mut self, token: u32) {
        self.held.push(token);
    }
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

/// What the chat template is told, with the variables of a request, which override those of the server.
///
/// # Errors
/// If the server is not configured well.
pub(crate) fn settings(of_request: &Map<String, Value>) -> Result<ChatSettings, Failure> {
    let mut variables = match std::env::var(KWARGS) {
        Err(_) => Map::new(),
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            let message = format!("{KWARGS}: expected a JSON object, found {error}");
            Failure::server(503, message)
        })?,
    };
    variables.extend(of_request.clone());
    let template = std::env::var(TEMPLATE).ok();
    let read = |name: String| {
        let text = chat_template(&name);
        text.map_err(|error| Failure::server(503, format!("{TEMPLATE}: reading {name}: {error}")))
    };
    Ok(ChatSettings {
        template: template.map(read).transpose()?,
        variables: (!variables.is_empty()).then(|| Value::Object(variables).to_string()),
        date: std::env::var(DATE).ok(),
        ..ChatSettings::default()
    })
}

/// Whether the model is loaded in this instance.
pub(crate) fn is_loaded() -> bool {
    SERVED.with_borrow(Option::is_some)
}

/// Runs `work` with the model, after loading it if necessary. An instance serves one request at a time.
pub(crate) fn with<T>(work: impl FnOnce(&mut Served) -> Result<T, Failure>) -> Result<T, Failure> {
    SERVED.with(|served| {
        let busy = |_| Failure::busy("the server is busy with another request");
        let mut served = served.try_borrow_mut().map_err(busy)?;
        let served = match &mut *served {
            Some(served) => served,
            none => none.insert(load()?),
        };
        work(served)
    })
}

fn load() -> Result<Served, Failure> {
    let path = path()?;
    let model = load_model(&path, LoadOptions::default()).map_err(|error| match error {
        Error::OutOfMemory(_) => failure(error),
        _ => Failure::server(503, describe(&error)),
    })?;
    if let Some(name) = assumed_template(&model) {
        eprintln!("note: the file has no chat template; the one for conversations is {name}");
    }
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

    /// A session for `owner`, configured with `options`, with what it has of `tokens` already.
    ///
    /// # Errors
    /// The caller's mistakes: options out of range.
    pub(crate) fn session(
        &mut self,
        owner: Option<Owner>,
        tokens: &[u32],
        options: &GenerationOptions,
    ) -> Result<Feeding<'_>, Failure> {
        // A failure may leave the session in any state, so the session is dropped then.
        let mut held = match self.session.take() {
            Some(held) => held,
            None => Held {
                session: self
                    .model
                    .new_session(session_options()?)
                    .map_err(failure)?,
                tokens: Vec::new(),
                owner: None,
            },
        };
        if held.owner.is_none() || held.owner != owner {
            held.tokens.clear();
            held.owner = owner;
        }
        // The last token is always fed again, because the logits after it are computed with it.
        let limit = tokens.len().saturating_sub(1);
        let common = held.tokens.iter().zip(tokens).take(limit);
        let common = common.take_while(|(old, new)| old == new).count();
        held.session.truncate(common as u32).map_err(failure)?;
        held.session.configure(options).map_err(failure)?;
        held.tokens.truncate(common);
        let held = self.session.insert(held);
        Ok(Feeding {
            model: &self.model,
            session: &held.session,
            cached: common,
            held: &mut held.tokens,
        })
    }

    /// Drops the session, whose state is not known.
    pub(crate) fn forget(&mut self) {
        self.session = None;
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
        // Other instances may have what is missing, and be done soon.
        Error::OutOfMemory(_) => Failure::busy(message),
        _ => Failure::server(500, message),
    }
}

/// A number from the host's randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

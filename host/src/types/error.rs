//! What can go wrong.
//!
//! One enum for the whole library. Its first half mirrors the `error` variant of `wit/engine.wit`: the errors that the
//! engine returns. The second half is the host's own: limits, cancellation, and components that break their contract.

use std::time::Duration;

/// What was checked, what was expected, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What was checked: a tensor, a metadata key, an option.
    pub subject: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mismatch {
            subject,
            expected,
            found,
        } = self;
        write!(f, "{subject}: expected {expected}, found {found}")
    }
}

/// Why a call failed.
///
/// After an error the model and the session are as they were before the call, unless the variant says that they are
/// lost. An instance that is lost answers every later call with the error that ended it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no model with this name.
    #[error("no model at `{0}`")]
    NotFound(String),
    /// The bytes are not a valid model: the file is broken or hostile.
    #[error("invalid model: {0}")]
    InvalidModel(Mismatch),
    /// A valid model that this engine cannot run.
    #[error("unsupported model: {0}")]
    Unsupported(Mismatch),
    /// The instance does not have enough memory.
    #[error("out of memory: needed {needed} bytes, available {available} bytes")]
    OutOfMemory {
        /// Bytes that were needed.
        needed: u64,
        /// Bytes that were available.
        available: u64,
    },
    /// More tokens were fed than fit into the context. None of them was taken.
    #[error("prompt too long: {tokens} tokens, room for {limit}")]
    PromptTooLong {
        /// Tokens that were given.
        tokens: u32,
        /// Tokens that fit.
        limit: u32,
    },
    /// The context has no room for another token. Truncate the session or start a new one.
    #[error("context full: all {limit} tokens are used")]
    ContextFull {
        /// Tokens that the context holds.
        limit: u32,
    },
    /// The caller made a mistake: an option out of range, a token outside the vocabulary.
    #[error("invalid argument: {0}")]
    InvalidArgument(Mismatch),
    /// The model's bytes could not be read. The session is lost.
    #[error("reading failed: {0}")]
    Io(String),
    /// One of the instances that compute together is gone.
    #[error("aborted: {0}")]
    Aborted(String),

    /// The component cannot be used: it is not a component, has another world, or does not compile.
    #[error("unusable component: {0}")]
    Component(String),
    /// The library was built without the feature `middleware`. Carries the name of the middleware that was asked for.
    #[error("cannot put {0} around the engine: this build of gust has no middleware")]
    NoMiddleware(String),
    /// The library was built without the engine that runs a `tokenizer.json`.
    #[error("cannot use a tokenizer.json: this build of gust has no engine that runs one")]
    NoTokenizers,
    /// The engine asked for more memory than [`Limits::memory`](crate::Limits::memory) allows. If it could not continue
    /// without that memory, the model and its sessions are lost.
    #[error("memory limit reached: the engine may use at most {limit} bytes")]
    MemoryLimit {
        /// Bytes that the engine may use.
        limit: u64,
    },
    /// A call took longer than [`Limits::call_time`](crate::Limits::call_time). The model and its sessions are lost.
    #[error("time limit reached: a call into the engine took longer than {limit:?}")]
    CallTime {
        /// The time that a call may take.
        limit: Duration,
    },
    /// The system has no more address space for linear memories. The instance that needed it is lost.
    #[error("out of address space: {}", space(.limit))]
    AddressSpace {
        /// The most bytes that this process may use, if there is a limit (`ulimit -v`).
        limit: Option<u64>,
    },
    /// [`CancelHandle::cancel`](crate::CancelHandle::cancel) was called. The session stays usable.
    #[error("cancelled")]
    Cancelled,
    /// The model file was truncated or overwritten while it was read or mapped. The model and its sessions are lost.
    #[error("the model file was truncated or overwritten while in use")]
    FileChanged,
    /// The component trapped. Carries its last output to standard error, if any. The model and its sessions are lost.
    #[error("the engine trapped: {0}")]
    Trap(String),
}

impl Error {
    /// What to do about it, for a line that begins with `hint:`.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Error::NotFound(_) => {
                "check the path; if no model is given, gust uses the one that ships with it"
            }
            Error::InvalidModel(_) => {
                "the file may be truncated, or not a GGUF file; download it again"
            }
            Error::Unsupported(_) => {
                "use another file of the model, another model, or a newer gust; `gust inspect` shows what is in a file"
            }
            Error::OutOfMemory { .. } => "use a smaller context, a smaller model, or more threads",
            Error::PromptTooLong { .. } => "shorten the prompt or raise the context length",
            Error::ContextFull { .. } => "raise the context length, or truncate the session",
            Error::Component(_) => {
                "a component must export `gust:llm/engine@0.1.0` and import no more than the engine does"
            }
            Error::NoMiddleware(_) => {
                "`cargo xtask build` builds gust with middleware; in a crate, turn the feature `middleware` on"
            }
            Error::NoTokenizers => {
                "`cargo xtask build` builds gust with that engine; in a crate, turn the feature `tokenizers` on"
            }
            Error::MemoryLimit { .. } => {
                "raise the memory limit, or use a smaller context or model"
            }
            Error::CallTime { .. } => "raise the time limit per call",
            Error::AddressSpace { .. } => {
                "raise the limit (ulimit -v), or use fewer threads, a smaller context or a smaller model"
            }
            Error::FileChanged => "load the model again once the file is complete",
            Error::InvalidArgument(_)
            | Error::Io(_)
            | Error::Aborted(_)
            | Error::Cancelled
            | Error::Trap(_) => return None,
        })
    }
}

fn space(limit: &Option<u64>) -> String {
    match limit {
        Some(limit) => {
            format!("this process is limited to {limit} bytes (ulimit -v), too few for the engine")
        }
        None => "the system refuses the engine more memory".to_owned(),
    }
}

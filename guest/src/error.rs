//! The engine's errors: one enum, which mirrors `error` in `wit/engine.wit` case for case.

use std::fmt::Display;

/// The engine's `Result`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. After an error everything is as it was before the call, unless the case says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The weights provider has nothing with this name.
    #[error("{0}: no such model")]
    NotFound(String),
    /// A broken or hostile file.
    #[error("invalid model: {0}")]
    InvalidModel(Mismatch),
    /// A valid file that this engine cannot run.
    #[error("unsupported: {0}")]
    Unsupported(Mismatch),
    /// The instance does not have enough memory; both numbers are in bytes.
    #[error("out of memory: {needed} bytes needed, {available} available")]
    OutOfMemory {
        /// Bytes requested.
        needed: u64,
        /// Bytes available.
        available: u64,
    },
    /// More tokens than fit in the context.
    #[error("prompt too long: {tokens} tokens, room for {limit}")]
    PromptTooLong {
        /// Tokens given.
        tokens: u32,
        /// Tokens that fit.
        limit: u32,
    },
    /// The context, of this many tokens, cannot hold another one.
    #[error("context full: all {0} tokens are used")]
    ContextFull(u32),
    /// The caller made a mistake.
    #[error("invalid argument: {0}")]
    InvalidArgument(Mismatch),
    /// The model's bytes could not be read.
    #[error("reading the model failed: {0}")]
    Io(String),
    /// The call was cancelled, or another member of the group is gone.
    #[error("aborted: {0}")]
    Aborted(String),
}

/// What was checked, what was expected, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: expected {expected}, found {found}")]
pub struct Mismatch {
    /// What was checked.
    pub subject: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl Mismatch {
    fn new(subject: impl Display, expected: impl Display, found: impl Display) -> Self {
        Self {
            subject: subject.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// An [`Error::InvalidModel`].
pub(crate) fn invalid_model(
    subject: impl Display,
    expected: impl Display,
    found: impl Display,
) -> Error {
    Error::InvalidModel(Mismatch::new(subject, expected, found))
}

/// An [`Error::Unsupported`].
pub(crate) fn unsupported(
    subject: impl Display,
    expected: impl Display,
    found: impl Display,
) -> Error {
    Error::Unsupported(Mismatch::new(subject, expected, found))
}

/// An [`Error::InvalidArgument`].
pub(crate) fn invalid_argument(
    subject: impl Display,
    expected: impl Display,
    found: impl Display,
) -> Error {
    Error::InvalidArgument(Mismatch::new(subject, expected, found))
}

/// Reserves capacity for `len` elements in total, so that pushing them does not allocate later.
pub(crate) fn reserve<T>(buffer: &mut Vec<T>, len: usize) -> Result<()> {
    let additional = len.saturating_sub(buffer.len());
    buffer
        .try_reserve_exact(additional)
        .map_err(|_| Error::OutOfMemory {
            needed: (len * std::mem::size_of::<T>()) as u64,
            available: 0,
        })
}

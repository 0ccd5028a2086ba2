//! Error messages, the same as those of the `gust` command.

use crate::engine::{Error, Mismatch};

/// Describes an error: what went wrong, what was expected, and what was found.
pub fn describe(error: &Error) -> String {
    let mismatch = |what: &Mismatch| {
        format!(
            "{}: expected {}, found {}",
            what.subject, what.expected, what.found
        )
    };
    match error {
        Error::NotFound(name) => format!("no model at `{name}`"),
        Error::InvalidModel(what) => format!("invalid model: {}", mismatch(what)),
        Error::Unsupported(what) => format!("unsupported model: {}", mismatch(what)),
        Error::OutOfMemory(shortage) => format!(
            "out of memory: needed {} bytes, available {} bytes",
            shortage.needed, shortage.available
        ),
        Error::PromptTooLong(overflow) => format!(
            "prompt too long: {} tokens, room for {}",
            overflow.tokens, overflow.limit
        ),
        Error::ContextFull(limit) => format!("context full: all {limit} tokens are used"),
        Error::InvalidArgument(what) => format!("invalid argument: {}", mismatch(what)),
        Error::Io(reason) => format!("reading failed: {reason}"),
        Error::Aborted(reason) => format!("aborted: {reason}"),
    }
}

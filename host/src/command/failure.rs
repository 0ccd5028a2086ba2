//! How a command ends when it fails: the message, the hint and the exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use super::output::printable;

/// Something failed while running.
const FAILED: u8 = 1;
/// The command line is invalid. clap uses the same code.
const USAGE: u8 = 2;
/// The model or the component is missing, broken or unsupported.
const MODEL: u8 = 3;
/// A limit was reached.
const LIMIT: u8 = 4;
/// Stopped by Ctrl-C: 128 plus the number of SIGINT, as in shells.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// An error from the library, which has its own hint.
    Gust(gust::Error),
    /// An error of the command itself, with its exit code.
    Message {
        message: String,
        hint: Option<String>,
        code: u8,
    },
    /// The reader of stdout has closed it (`| head`). This is not an error, and nothing is reported.
    ClosedOutput,
    /// What failed has been reported, and the command went on. Its exit code is left.
    Reported { code: u8 },
}

impl Failure {
    /// Something failed while running.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Failure::Message {
            message: message.into(),
            hint: None,
            code: FAILED,
        }
    }

    /// The command line is invalid in a way that only shows once the model is known.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Failure::Message {
            message: message.into(),
            hint: None,
            code: USAGE,
        }
    }

    /// The model cannot do this.
    pub(super) fn model(message: impl Into<String>) -> Self {
        Failure::Message {
            message: message.into(),
            hint: None,
            code: MODEL,
        }
    }

    /// Adds what to do about it.
    pub(super) fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Failure::Message { message, code, .. } => Failure::Message {
                message,
                hint: Some(text.into()),
                code,
            },
            other => other,
        }
    }

    /// Says in front of the message what it is about.
    pub(super) fn about(self, what: &str) -> Self {
        match self.message() {
            None => self,
            Some(message) => Failure::Message {
                message: format!("{what}: {message}"),
                hint: self.hint_text().map(str::to_owned),
                code: self.code(),
            },
        }
    }

    /// A file, or stdin, that could not be read or written.
    pub(super) fn file(doing: &str, name: impl Display, error: &io::Error) -> Self {
        Failure::failed(format!("{doing} {name}: {error}"))
    }

    /// Reports the failure on stderr and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        self.tell();
        ExitCode::from(self.code())
    }

    /// Reports the failure on stderr.
    pub(super) fn tell(&self) {
        // If stderr is closed too, only the exit code is left.
        let mut stderr = io::stderr().lock();
        if let Some(message) = self.message() {
            let _ = writeln!(stderr, "error: {}", printable(&message));
        }
        if let Some(hint) = self.hint_text() {
            let _ = writeln!(stderr, "hint: {}", printable(hint));
        }
    }

    /// The text of the error, or `None` if there is nothing to report.
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Failure::ClosedOutput
            | Failure::Reported { .. }
            | Failure::Gust(gust::Error::Cancelled) => None,
            Failure::Gust(error) => Some(error.to_string()),
            Failure::Message { message, .. } => Some(message.clone()),
        }
    }

    /// What to do about it. Unlike the library, the command can name its flags.
    fn hint_text(&self) -> Option<&str> {
        let error = match self {
            Failure::ClosedOutput | Failure::Reported { .. } => return None,
            Failure::Message { hint, .. } => return hint.as_deref(),
            Failure::Gust(error) => error,
        };
        match error {
            gust::Error::OutOfMemory { .. } => {
                Some("use a smaller --context, a smaller model, or more --threads")
            }
            gust::Error::PromptTooLong { .. } => Some("shorten the prompt or raise --context"),
            gust::Error::ContextFull { .. } => {
                Some("raise --context, or end the text earlier with --max-tokens")
            }
            gust::Error::MemoryLimit { .. } => {
                Some("raise --max-memory, or use a smaller --context or a smaller model")
            }
            gust::Error::CallTime { .. } => Some("raise --call-timeout"),
            other => other.hint(),
        }
    }

    /// The exit code of a command that ends because of it.
    pub(super) fn code(&self) -> u8 {
        match self {
            Failure::ClosedOutput => 0,
            Failure::Message { code, .. } | Failure::Reported { code } => *code,
            Failure::Gust(error) => match error {
                gust::Error::InvalidArgument(_) => USAGE,
                gust::Error::NotFound(_)
                | gust::Error::InvalidModel(_)
                | gust::Error::Unsupported(_)
                | gust::Error::Component(_)
                | gust::Error::NoMiddleware(_)
                | gust::Error::NoTokenizers
                | gust::Error::FileChanged => MODEL,
                gust::Error::OutOfMemory { .. }
                | gust::Error::PromptTooLong { .. }
                | gust::Error::ContextFull { .. }
                | gust::Error::MemoryLimit { .. }
                | gust::Error::CallTime { .. }
                | gust::Error::AddressSpace { .. } => LIMIT,
                gust::Error::Cancelled => INTERRUPTED,
                _ => FAILED,
            },
        }
    }
}

impl From<gust::Error> for Failure {
    fn from(error: gust::Error) -> Self {
        Failure::Gust(error)
    }
}

//! The contract for a program that holds the engine itself, where there is no component to import it from.
//!
//! The names and signatures are those that bindings of an imported engine have, so that one program is compiled for
//! either. What no program has asked for yet is not here.

use std::rc::Rc;

use super::{GuestModel, GuestSession, ModelHandle, SessionHandle, wit};
use crate::blob::Blob;
use crate::model::Solo;
pub use wit::{
    ChatMessage, ChatOptions, Error, Event, FinishReason, GenerationOptions, LoadOptions, Mismatch,
    ModelInfo, SessionOptions, TokenEvent, TokenizeOptions, Usage,
};

/// A loaded model.
pub struct Model(ModelHandle);

/// A sequence of tokens and how it goes on.
pub struct Session(SessionHandle);

impl Model {
    /// Loads what `load-model` would find under a name.
    ///
    /// # Errors
    /// `invalid-model`, `unsupported`, `out-of-memory`, `io`.
    pub fn load(blob: &dyn Blob, options: LoadOptions) -> Result<Self, Error> {
        Ok(Self(ModelHandle::load(blob, options, Rc::new(Solo))?))
    }

    /// What it says of itself.
    pub fn info(&self) -> ModelInfo {
        self.0.info()
    }

    /// Text to tokens.
    ///
    /// # Errors
    /// `invalid-argument` if only the metadata were loaded.
    pub fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<u32>, Error> {
        self.0.tokenize(text.to_owned(), options)
    }

    /// A conversation to the prompt that its template makes of it.
    ///
    /// # Errors
    /// `invalid-argument`, `unsupported`.
    pub fn render_chat(
        &self,
        messages: &[ChatMessage],
        options: &ChatOptions,
    ) -> Result<String, Error> {
        self.0.render_chat(messages.to_vec(), options.clone())
    }

    /// An empty session.
    ///
    /// # Errors
    /// `invalid-argument`, `out-of-memory`.
    pub fn new_session(&self, options: SessionOptions) -> Result<Session, Error> {
        Ok(Session(self.0.session(options)?))
    }
}

impl Session {
    /// Sets how the next tokens are chosen, and begins a new answer.
    ///
    /// # Errors
    /// `invalid-argument`.
    pub fn configure(&self, options: &GenerationOptions) -> Result<(), Error> {
        self.0.configure(options.clone())
    }

    /// Appends some of `tokens`, and says how many.
    ///
    /// # Errors
    /// `invalid-argument`, `prompt-too-long`.
    pub fn feed(&self, tokens: &[u32]) -> Result<u32, Error> {
        self.0.feed(tokens.to_vec())
    }

    /// The next token, or the end.
    ///
    /// # Errors
    /// `context-full`, `invalid-argument`.
    pub fn next_token(&self) -> Result<Event, Error> {
        self.0.next_token()
    }
}

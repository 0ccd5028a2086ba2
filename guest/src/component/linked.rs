//! The contract for a program that links the engine in, where there is no component to import it from.
//!
//! The names and signatures match the bindings of an imported engine, so the same program compiles with either. It has
//! only the functions that a program has needed so far.

use std::rc::Rc;

use super::{GuestModel, GuestSession, ModelHandle, SessionHandle, wit};
use crate::blob::{Blob, ONLY, only};
use crate::model::Solo;
pub use wit::{
    ChatMessage, ChatOptions, Error, Event, FinishReason, GenerationOptions, LoadOptions,
    MetadataEntry, Mismatch, ModelInfo, SessionOptions, TokenEvent, TokenizeOptions, Usage,
};

/// A loaded model.
pub struct Model(ModelHandle);

/// A sequence of tokens and how it continues.
pub struct Session(SessionHandle);

impl Model {
    /// Loads a model from the blob that `load-model` would find by name.
    ///
    /// # Errors
    /// `invalid-model`, `unsupported`, `out-of-memory`, `io`.
    pub fn load(blob: &dyn Blob, options: LoadOptions) -> Result<Self, Error> {
        Ok(Self(ModelHandle::load(
            ONLY,
            None,
            only(blob),
            options,
            Rc::new(Solo),
        )?))
    }

    /// What the model's file says about it.
    pub fn info(&self) -> ModelInfo {
        self.0.info()
    }

    /// All metadata, and what the engine assumes.
    pub fn metadata(&self) -> Vec<MetadataEntry> {
        self.0.metadata()
    }

    /// Turns text into tokens.
    ///
    /// # Errors
    /// `invalid-argument` if only the metadata was loaded.
    pub fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<u32>, Error> {
        self.0.tokenize(text.to_owned(), options)
    }

    /// Renders a conversation into a prompt with the model's chat template.
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

    /// Creates an empty session.
    ///
    /// # Errors
    /// `invalid-argument`, `out-of-memory`.
    pub fn new_session(&self, options: SessionOptions) -> Result<Session, Error> {
        Ok(Session(self.0.session(options)?))
    }
}

impl Session {
    /// Sets how the next tokens are chosen, and starts a new answer.
    ///
    /// # Errors
    /// `invalid-argument`.
    pub fn configure(&self, options: &GenerationOptions) -> Result<(), Error> {
        self.0.configure(options.clone())
    }

    /// Appends some of `tokens` and returns how many.
    ///
    /// # Errors
    /// `invalid-argument`, `prompt-too-long`.
    pub fn feed(&self, tokens: &[u32]) -> Result<u32, Error> {
        self.0.feed(tokens.to_vec())
    }

    /// Chooses the next token, or returns why the answer has ended.
    ///
    /// # Errors
    /// `context-full`, `invalid-argument`.
    pub fn next_token(&self) -> Result<Event, Error> {
        self.0.next_token()
    }
}

/// The interface `chat`.
pub mod chat {
    use super::{Error, Model};
    pub use crate::component::wit_chat::{Message, Prompt, RenderOptions};

    /// Renders a conversation into a prompt and tokenizes it.
    ///
    /// # Errors
    /// `invalid-argument`, `unsupported`.
    pub fn render(
        model: &Model,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Prompt, Error> {
        model.0.prompt(messages.to_vec(), options.clone())
    }
}

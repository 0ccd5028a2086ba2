//! The shared part of every middleware: an engine that forwards each call to the engine that it wraps.
//!
//! A middleware implements `Middleware` for its per-session state, overrides the calls that it needs, and writes
//! `gust_middleware::export!(ItsName)`. Everything else is forwarded unchanged. An imported record and its exported
//! counterpart are one Rust type (`merge_structurally_equal_types`), so a new field of the contract needs no change
//! here, and a new function only a change in the two places that list all functions: `Middleware` and `forward`.
//!
//! In a native build this crate is empty, because it only contains a component's bindings.

#![cfg(target_arch = "wasm32")]

use std::rc::Rc;

mod forward;

/// The bindings generated from `wit/`. Public only for [`export!`].
#[doc(hidden)]
#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from documented WIT"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "middleware",
        merge_structurally_equal_types: true,
        pub_export_macro: true,
        default_bindings_module: "gust_middleware::bindings",
    });
}

use adapters::Adapter;
pub use bindings::gust::llm::{adapters, chat, embedding, engine};
use chat::{Message, Prompt, RenderOptions};
use embedding::EmbedOptions;
use engine::{Error, Event, GenerationOptions, LoadOptions, Model, Session, SessionOptions, Usage};
#[doc(hidden)]
pub use forward::Around;

/// A middleware's state for one session, and how it handles the calls into it.
///
/// `inner` is the session of the wrapped engine. By default each call is forwarded.
pub trait Middleware: Sized + 'static {
    /// Loads a model. This is the place to reject invalid settings, before anything else happens.
    fn load_model(name: &str, options: LoadOptions) -> Result<Model, Error> {
        engine::load_model(name, options)
    }

    /// Turns a conversation into tokens.
    fn render(
        model: &Model,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Prompt, Error> {
        chat::render(model, messages, options)
    }

    /// Makes the vectors of a text.
    fn embed(model: &Model, tokens: &[u32], options: EmbedOptions) -> Result<Vec<f32>, Error> {
        embedding::embed(model, tokens, options)
    }

    /// Loads an adapter of a model.
    fn load_adapter(name: &str, model: &Model) -> Result<Adapter, Error> {
        adapters::load(name, model)
    }

    /// Creates the state for `inner`, a new session of `model`, which it may keep.
    fn new(model: &Rc<Model>, options: SessionOptions, inner: &Session) -> Result<Self, Error>;

    /// The wrapped engine has refused a session.
    fn refused(_: &Error) {}

    /// Creates the state for `copy`, a fork of `inner`.
    fn fork(&self, inner: &Session, copy: &Session) -> Result<Self, Error>;

    /// Sets how the next tokens are chosen.
    fn configure(&mut self, inner: &Session, options: &GenerationOptions) -> Result<(), Error> {
        inner.configure(options)
    }

    /// Lets another model propose tokens.
    fn set_draft_model(&mut self, inner: &Session, draft: &Model) -> Result<(), Error> {
        inner.set_draft_model(draft)
    }

    /// Changes the model for this session. A new answer starts.
    fn attach(&mut self, inner: &Session, adapters: &[(&Adapter, f32)]) -> Result<(), Error> {
        adapters::attach(inner, adapters)
    }

    /// Appends tokens and returns how many.
    fn feed(&mut self, inner: &Session, tokens: &[u32]) -> Result<u32, Error> {
        inner.feed(tokens)
    }

    /// Chooses the next token, or returns why the answer has ended.
    fn next_token(&mut self, inner: &Session) -> Result<Event, Error> {
        inner.next_token()
    }

    /// Appends tokens and returns their log-probabilities.
    fn score(&mut self, inner: &Session, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        inner.score(tokens)
    }

    /// Drops all tokens from position `length` on.
    fn truncate(&mut self, inner: &Session, length: u32) -> Result<(), Error> {
        inner.truncate(length)
    }

    /// The logits after the last token.
    fn logits(&mut self, inner: &Session) -> Result<Vec<f32>, Error> {
        inner.logits()
    }

    /// Returns the whole state as bytes, without the middleware's own state.
    fn save(&mut self, inner: &Session) -> Result<Vec<u8>, Error> {
        inner.save()
    }

    /// Restores a saved state.
    fn restore(&mut self, inner: &Session, state: &[u8]) -> Result<(), Error> {
        inner.restore(state)
    }

    /// What the session has used.
    fn usage(&self, inner: &Session) -> Usage {
        inner.usage()
    }
}

/// Turns the crate into a component that exports the middleware of this type.
#[macro_export]
macro_rules! export {
    ($middleware:ident) => {
        #[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
        #[allow(unreachable_pub, clippy::all, reason = "generated")]
        mod gust_middleware_export {
            type Exported = $crate::Around<super::$middleware>;
            $crate::bindings::export!(Exported with_types_in $crate::bindings);
        }
    };
}

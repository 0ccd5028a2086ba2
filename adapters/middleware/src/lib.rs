//! What every middleware has in common: an engine that passes each call on to the engine that it wraps.
//!
//! A middleware implements `Middleware` for what it keeps of one session, overrides the calls that it cares about, and
//! writes `gust_middleware::export!(ItsName)`. Everything else goes through unchanged. Imported and exported records are
//! one Rust type each (`merge_structurally_equal_types`), so that a new field of the contract needs nothing here, and a new
//! function the two places that name them all: `Middleware` and `forward`.
//!
//! Natively this crate is empty: there is nothing in it but a component's border.

#![cfg(target_arch = "wasm32")]

mod forward;

/// What is generated from `wit/`. Public for [`export!`] alone.
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

pub use bindings::gust::llm::engine;
use engine::{Error, Event, GenerationOptions, LoadOptions, Model, Session, SessionOptions, Usage};
#[doc(hidden)]
pub use forward::Around;

/// What a middleware keeps of one session, and what it does to the calls into it.
///
/// `inner` is the session of the engine that is wrapped. The defaults pass each call on.
pub trait Middleware: Sized + 'static {
    /// A model is loaded. The place to refuse settings that make no sense, before anything else happens.
    fn load_model(name: &str, options: LoadOptions) -> Result<Model, Error> {
        engine::load_model(name, options)
    }

    /// `inner` was made by `model`.
    fn new(model: &Model, options: SessionOptions, inner: &Session) -> Result<Self, Error>;

    /// `copy` was forked off `inner`.
    fn fork(&self, inner: &Session, copy: &Session) -> Result<Self, Error>;

    /// Sets how the next tokens are chosen.
    fn configure(&mut self, inner: &Session, options: &GenerationOptions) -> Result<(), Error> {
        inner.configure(options)
    }

    /// Has another model propose tokens.
    fn set_draft_model(&mut self, inner: &Session, draft: &Model) -> Result<(), Error> {
        inner.set_draft_model(draft)
    }

    /// Appends tokens, and says how many.
    fn feed(&mut self, inner: &Session, tokens: &[u32]) -> Result<u32, Error> {
        inner.feed(tokens)
    }

    /// The next token, or the end.
    fn next_token(&mut self, inner: &Session) -> Result<Event, Error> {
        inner.next_token()
    }

    /// Appends tokens and gives their log-probabilities.
    fn score(&mut self, inner: &Session, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        inner.score(tokens)
    }

    /// Forgets all tokens from `length` on.
    fn truncate(&mut self, inner: &Session, length: u32) -> Result<(), Error> {
        inner.truncate(length)
    }

    /// The logits after the last token.
    fn logits(&mut self, inner: &Session) -> Result<Vec<f32>, Error> {
        inner.logits()
    }

    /// All of the state as bytes. What a middleware keeps is not among them.
    fn save(&mut self, inner: &Session) -> Result<Vec<u8>, Error> {
        inner.save()
    }

    /// Becomes what was saved.
    fn restore(&mut self, inner: &Session, state: &[u8]) -> Result<(), Error> {
        inner.restore(state)
    }

    /// What the session has used.
    fn usage(&self, inner: &Session) -> Usage {
        inner.usage()
    }
}

/// Makes the crate a component that exports the middleware of this type.
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

//! gust runs language models inside a WebAssembly sandbox.
//!
//! ```no_run
//! let engine = gust::Engine::new()?;
//! let model = engine.load(gust::SHIPPED_MODEL, &gust::LoadOptions::default())?;
//! let mut session = model.session(&gust::SessionOptions::default())?;
//! session.feed(&model.tokenize("Once upon a time", &gust::TokenizeOptions::default())?)?;
//! for text in session.text() {
//!     print!("{}", text?);
//! }
//! # Ok::<(), gust::Error>(())
//! ```

mod bindings;
mod cache;
mod cancel;
mod collective;
mod convert;
mod deadline;
mod engine;
mod error;
mod event;
mod info;
mod instance;
#[cfg_attr(not(target_os = "linux"), path = "memory_copied.rs")]
mod memory;
mod model;
mod options;
mod program;
mod session;
mod source;
mod state;
mod utf8;
mod wasi;
mod weights;

pub use cancel::CancelHandle;
pub use engine::{Engine, EngineBuilder};
pub use error::{Error, Mismatch};
pub use event::{Candidate, Event, FinishReason, Token};
pub use info::{MetadataEntry, ModelInfo, TensorEntry, Usage};
pub use model::Model;
pub use options::{
    ChatMessage, ChatOptions, GenerationOptions, KvType, Limits, LoadOptions, Mapping, Progress,
    ProgressFn, Scope, SessionOptions, SpecialTokens, TokenizeOptions,
};
pub use session::{Session, Text, Tokens};
pub use source::Source;
pub use utf8::Utf8Stream;

/// The model that ships with gust: a GGUF file in the program.
pub const SHIPPED_MODEL: &[u8] = include_bytes!(env!("GUST_EMBED_MODEL"));

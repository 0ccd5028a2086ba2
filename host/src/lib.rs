//! gust runs language models inside a WebAssembly sandbox.
//!
//! ```
//! use gust::{Engine, GenerationOptions, LoadOptions, SessionOptions, TokenizeOptions};
//!
//! let engine = Engine::new()?;
//! let model = engine.load(gust::SHIPPED_MODEL, &LoadOptions::default())?; // or a path
//! let mut session = model.session(&SessionOptions::default())?;
//! session.configure(&GenerationOptions { max_tokens: Some(100), ..Default::default() })?;
//! session.feed(&model.tokenize("Once upon a time", &TokenizeOptions::default())?)?;
//! for text in session.text() {
//!     print!("{}", text?);
//! }
//! # Ok::<(), gust::Error>(())
//! ```
//!
//! The engine, which reads the model file and runs the model, is a WebAssembly component compiled into this library. It
//! has no files, no network and no clock to wait on: the worst that a hostile model can do is cause an [`Error`]. Its
//! resources can be [limited](Limits), its work can be [cancelled](CancelHandle), and any other component that exports
//! `gust:llm/engine` can replace it ([`EngineBuilder::component_file`]).
//!
//! - An [`Engine`] is compiled code, made once and [cached](EngineBuilder::cache_dir) between runs.
//! - A [`Model`] is a file loaded into instances of the engine, which compute together, each on its own
//!   [thread](LoadOptions::threads). On Linux its weights are mapped rather than copied: loading takes milliseconds,
//!   and all processes and instances that use the file share one copy of it.
//! - A [`Session`] is a sequence of tokens that the model continues. Feed it a prompt, and iterate over the answer, as
//!   [text](Session::text) or as [tokens](Session::tokens). It can be [copied](Session::fork),
//!   [truncated](Session::truncate) and [saved](Session::save).
//!
//! Everything is synchronous and can be sent between threads. The sessions of a model take turns.
//!
//! When a file is first mapped, gust installs a [`SIGBUS`](https://man7.org/linux/man-pages/man7/signal.7.html)
//! handler, so that a file truncated while in use is an [error](Error::FileChanged). The handler passes all other
//! faults on.

mod adapter;
mod build_info;
mod engine;
mod middleware;
mod model;
mod packing;
mod placement;
mod runtime;
mod session;
mod threads;
mod types;
mod utf8;

pub use adapter::Adapter;
pub use build_info::BuildInfo;
pub use engine::{Engine, EngineBuilder};
pub use middleware::Middleware;
pub use model::Model;
pub use packing::Packed;
#[doc(hidden)]
pub use runtime::{files, terminal};
pub use session::{Session, Text, Tokens};
pub use types::{
    CancelHandle, Candidate, ChatMessage, ChatOptions, EmbeddingInfo, Error, Event, FinishReason,
    GenerationOptions, Isa, KvType, Limits, LoadOptions, Mapping, MetadataEntry, Mismatch,
    ModelInfo, OperatorTime, Pooling, Progress, ProgressFn, Prompt, RenderOptions, Scope,
    SessionOptions, Source, SpecialTokens, TensorEntry, Token, TokenizeOptions, Usage,
};
pub use utf8::Utf8Stream;

/// The model that ships with gust: a GGUF file embedded in the program.
pub const SHIPPED_MODEL: &[u8] = include_bytes!(env!("GUST_EMBED_MODEL"));

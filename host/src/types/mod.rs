//! The types that callers and the runtime have in common: options, events, errors, what a model says about itself.
//!
//! The lowest layer. They are plain data, public at the root of the crate, and know nothing of what works on them.

mod cancel;
mod embedding;
mod error;
mod event;
mod info;
mod isa;
mod options;
mod source;

pub use cancel::CancelHandle;
pub use embedding::{EmbeddingInfo, Pooling};
pub use error::{Error, Mismatch};
pub use event::{Candidate, Event, FinishReason, Token};
pub use info::{MetadataEntry, ModelInfo, OperatorTime, TensorEntry, Usage};
pub use isa::Isa;
pub use options::{
    ChatMessage, ChatOptions, GenerationOptions, KvType, Limits, LoadOptions, Mapping, Progress,
    ProgressFn, Prompt, RenderOptions, Scope, SessionOptions, SpecialTokens, TokenizeOptions,
};
pub use source::Source;

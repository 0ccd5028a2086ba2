//! GGUF, the file format of models: `header, metadata, tensor table, padding, data`.
//!
//! Source: ggml's `docs/gguf.md`, versions 2 and 3, little-endian. A file is hostile until it is checked: each count,
//! length, dimension, type and offset is compared with the file's actual bytes before anything is allocated for it. In
//! reading order: `value` (metadata), `types` (tensor types), `read`, `split` (several files as one), [`write`].

mod read;
mod split;
mod types;
mod value;
mod write;

pub use read::{Gguf, TensorInfo};
pub use split::Joined;
pub use types::TensorType;
pub use value::{Array, Metadata, Value, ValueType};
pub use write::Writer;

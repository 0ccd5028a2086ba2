//! The gust engine: GGUF bytes in, tokens out.
//!
//! The modules in the order of the pipeline: [`blob`] (bytes), [`gguf`] (the file). Nothing here opens a file or a socket.

pub mod blob;
pub mod error;
pub mod gguf;

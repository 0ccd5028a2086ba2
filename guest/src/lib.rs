//! The gust engine: GGUF bytes in, tokens out.
//!
//! The modules in the order of the pipeline: [`blob`] (bytes), [`gguf`] (the file), [`tokenizer`] (text to
//! tokens and back), [`chat`] (conversations to text). Nothing here opens a file or a socket.

pub mod blob;
pub mod chat;
pub mod error;
pub mod gguf;
pub mod tokenizer;

#[cfg(test)]
mod test_data;

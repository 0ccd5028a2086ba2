//! The gust engine: GGUF bytes in, tokens out.
//!
//! The modules in pipeline order: [`blob`] (bytes), [`gguf`] (the file), [`tokenizer`] (text to tokens and back),
//! [`chat`] (conversations to text), [`quant`] (block formats), `kernels` (arithmetic), [`model`] (the forward pass),
//! [`sampler`], [`loaded`] and [`session`] (everything combined), and the contract on top: as a component, or
//! [`linked`] into a program. Nothing here opens a file or a socket.

pub mod blob;
pub mod embedding;
pub mod error;
pub mod gguf;
pub mod tokenizer;

mod kernels;
pub mod model;
pub mod packing;
pub mod quant;
mod trace;

pub mod chat;
mod limits;
pub mod loaded;
mod pulse;
pub mod sampler;
pub mod session;
mod stop;

// A native build has nothing to export to, and exporting would not link.
#[cfg(all(target_arch = "wasm32", feature = "bench"))]
mod bench;
#[cfg(not(feature = "bench"))]
mod component;

#[cfg(not(feature = "bench"))]
pub use component::linked;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod test_alloc;
#[cfg(test)]
mod test_data;
#[cfg(any(test, feature = "tiny-models"))]
#[cfg_attr(not(test), expect(dead_code, reason = "tests use more of it"))]
mod test_model;
#[cfg(any(test, feature = "tiny-models"))]
pub mod tiny_models;

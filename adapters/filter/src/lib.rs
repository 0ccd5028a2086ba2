//! Middleware that keeps listed phrases out of the streamed text.
//!
//! [`settings`] reads the list, [`stream`] finds the phrases however they are split into tokens, and the component ends
//! the answer there or masks them. Text that might still become a phrase is held back.

#[cfg(target_arch = "wasm32")]
mod component;
pub mod settings;
pub mod stream;

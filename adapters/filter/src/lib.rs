//! Middleware that keeps phrases of a list out of what is streamed.
//!
//! [`settings`] reads the list, [`stream`] finds the phrases however they are cut into tokens, and the component ends the
//! answer there or masks them. What might still become a phrase is held back.

#[cfg(target_arch = "wasm32")]
mod component;
pub mod settings;
pub mod stream;

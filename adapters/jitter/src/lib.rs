//! Middleware that releases tokens at a constant pace.
//!
//! The time of a token reveals something to anyone who observes the connection: a cache hit, a correct guess, the
//! length of the prompt. With this middleware each token, or the end, is released at a multiple of a fixed interval
//! after the prompt was fed, at most one per multiple. A slower token waits for the next multiple, so only the number
//! of intervals can still be observed. Sizes are not hidden.

#[cfg(target_arch = "wasm32")]
mod component;
pub mod pace;

//! Middleware that gives tokens out at a constant pace.
//!
//! How long a token takes tells something about it to whoever watches the line: a cache that was hit, a guess that came
//! true, the length of what was fed. Here a token, or the end, comes at a multiple of a fixed interval after
//! the prompt was fed, and at most one at each. A token that took longer waits for the next multiple, so that what can
//! still be seen is how many intervals it took. Sizes are not hidden.

#[cfg(target_arch = "wasm32")]
mod component;
pub mod pace;

//! An engine as a server with OpenAI's API.
//!
//! How a request is handled: [`access`] decides who may ask, `handler` dispatches on the path, [`api`] parses the body and
//! rejects what is not supported, `asked` turns it into tokens and options, `served` has the model, loaded once per
//! instance, and `making` streams the answer, in which [`calls`] finds those of tools. [`reply`] has the JSON of answers and
//! errors, `wire` the streams of `wasi:http`.

pub mod access;
pub mod api;
#[cfg(target_arch = "wasm32")]
mod asked;
pub mod calls;
#[cfg(target_arch = "wasm32")]
mod handler;
#[cfg(target_arch = "wasm32")]
mod making;
pub mod reply;
#[cfg(target_arch = "wasm32")]
mod served;
#[cfg(target_arch = "wasm32")]
mod wire;

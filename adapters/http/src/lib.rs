//! An engine as a server that speaks OpenAI's API.
//!
//! A request goes this way: `handler` looks at its path, [`api`] reads what is asked for and refuses what cannot be had,
//! `asked` makes tokens and options of it, `served` has the model, loaded once for each instance, and `making` streams the
//! answer. [`reply`] has the JSON of answers and errors, `wire` the streams of `wasi:http`.

pub mod api;
#[cfg(target_arch = "wasm32")]
mod asked;
#[cfg(target_arch = "wasm32")]
mod handler;
#[cfg(target_arch = "wasm32")]
mod making;
pub mod reply;
#[cfg(target_arch = "wasm32")]
mod served;
#[cfg(target_arch = "wasm32")]
mod wire;

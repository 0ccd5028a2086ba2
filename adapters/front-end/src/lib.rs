//! What every front end has in common: the engine that it uses, an answer as text, errors in words.

#[cfg(target_arch = "wasm32")]
mod answer;
#[cfg(target_arch = "wasm32")]
mod chat;
#[cfg(target_arch = "wasm32")]
mod error;
// The host's own: a second copy would be a second opinion on what a broken character is.
#[path = "../../../host/src/utf8.rs"]
mod utf8;

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from documented WIT"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "front-end",
        // What is absent has the default, also what later versions of the contract add.
        additional_type_attributes: {
            "gust:llm/engine@0.1.0/load-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/session-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/generation-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/tokenize-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/chat-options": [#[derive(Default)]],
        },
    });
}

pub use utf8::Utf8Stream;
#[cfg(target_arch = "wasm32")]
pub use {answer::*, bindings::gust::llm::engine, chat::chat_tokens, error::describe};

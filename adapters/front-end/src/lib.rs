//! The shared part of every front end: the engine that it uses, an answer as text, error messages.
//!
//! The component imports the engine. Where there are no components (hosts that only support core modules, and the
//! native build for tests), it is gust's engine, linked in with the same names.

mod answer;
mod conversation;
// The command's own module: a date is read in one way.
#[path = "../../../host/src/command/date.rs"]
#[allow(unreachable_pub, reason = "the command has this file too")]
mod date;
#[cfg(not(target_env = "p2"))]
pub mod engine;
mod error;
// The host's own module: a second copy might disagree about what a broken character is.
#[path = "../../../host/src/utf8.rs"]
mod utf8;

#[cfg(target_env = "p2")]
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
        // An absent field has its default, including fields that later versions of the contract add.
        additional_type_attributes: {
            "gust:llm/engine@0.1.0/load-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/session-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/generation-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/tokenize-options": [#[derive(Default)]],
            "gust:llm/engine@0.1.0/chat-options": [#[derive(Default)]],
            "gust:llm/chat@0.1.0/message": [#[derive(Default)]],
            "gust:llm/chat@0.1.0/render-options": [#[derive(Default)]],
        },
    });
}

pub use answer::*;
#[cfg(target_env = "p2")]
pub use bindings::gust::llm::{chat, engine};
pub use conversation::{ChatSettings, assumed_template, chat_template, chat_tokens};
#[cfg(not(target_env = "p2"))]
pub use engine::chat;
pub use error::describe;
pub use utf8::Utf8Stream;

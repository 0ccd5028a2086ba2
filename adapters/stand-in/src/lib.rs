//! What stands in for the optional interfaces of an engine that lacks them: `chat`, `embedding` and `adapters`. Components
//! that are composed with such an engine import them whether or not they use them.
//!
//! `chat` is made of what every engine has. It renders with `render-chat`, which returns text alone, so nobody can tell any
//! more who wrote the name of a control token. All texts with such names are refused. The other two say that there is no
//! such thing.
//!
//! In a native build this crate is empty, because it only contains the component.

#![cfg(target_arch = "wasm32")]

// The library's own module: it does the same with such an engine, and a second copy might let something through.
#[path = "../../../host/src/model/guard.rs"]
mod guard;

#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "stand-in",
    });
}

use bindings::exports::gust::llm::adapters::{self, AdapterBorrow};
use bindings::exports::gust::llm::chat::{self, Message, Prompt, RenderOptions};
use bindings::exports::gust::llm::embedding::{self, EmbedOptions, EmbeddingInfo};
use bindings::gust::llm::engine::{
    ChatMessage, ChatOptions, Error, Mismatch, Model, Session, TokenizeOptions,
};
use guard::{collect, reserved};
use serde_json::{Map, Value};

struct StandIn;

#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(unreachable_pub, clippy::all, reason = "generated")]
mod export {
    super::bindings::export!(StandIn with_types_in super::bindings);
    use super::StandIn;
}

impl embedding::Guest for StandIn {
    fn info(_: &Model) -> Result<EmbeddingInfo, Error> {
        Err(lacking("embedding"))
    }

    fn embed(_: &Model, _: Vec<u32>, _: EmbedOptions) -> Result<Vec<f32>, Error> {
        Err(lacking("embedding"))
    }

    fn tokenize(_: &Model, _: String) -> Result<Vec<u32>, Error> {
        Err(lacking("embedding"))
    }

    fn tokenize_pair(_: &Model, _: String, _: String) -> Result<Vec<u32>, Error> {
        Err(lacking("embedding"))
    }
}

/// There is none.
enum Adapter {}

impl adapters::GuestAdapter for Adapter {}

impl adapters::Guest for StandIn {
    type Adapter = Adapter;

    fn load(_: String, _: &Model) -> Result<adapters::Adapter, Error> {
        Err(lacking("adapters"))
    }

    fn left_out(_: AdapterBorrow<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Without adapters, there is nothing to attach.
    fn attach(_: &Session, _: Vec<(AdapterBorrow<'_>, f32)>) -> Result<(), Error> {
        Ok(())
    }
}

/// The error of every call that the engine itself would have to answer.
fn lacking(interface: &str) -> Error {
    Error::Unsupported(Mismatch {
        subject: format!("gust:llm/{interface}"),
        expected: "an engine that exports it".to_owned(),
        found: "one that does not".to_owned(),
    })
}

impl chat::Guest for StandIn {
    fn render(
        model: &Model,
        messages: Vec<Message>,
        options: RenderOptions,
    ) -> Result<Prompt, Error> {
        let mut variables = match &options.variables {
            Some(text) => object("variables", text)?,
            None => Map::new(),
        };
        if let Some((expected, found)) = reserved(&variables) {
            return Err(wrong("variables", &expected, found));
        }
        if let Some(tools) = &options.tools {
            let tools = serde_json::from_str(tools);
            let tools: Vec<Value> = tools.map_err(|error| wrong("tools", "a JSON array", error))?;
            variables.insert("tools".to_owned(), tools.into());
        }
        let mut objects = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let mut all = Map::new();
            all.insert("role".to_owned(), message.role.as_str().into());
            all.insert("content".to_owned(), message.content.clone().into());
            if let Some(fields) = &message.fields {
                all.extend(object(&format!("messages[{at}].fields"), fields)?);
            }
            objects.push(Value::Object(all));
        }
        let mut texts = String::new();
        collect(&Value::Object(variables.clone()), &mut texts);
        collect(&Value::Array(objects.clone()), &mut texts);
        refuse_control_tokens(model, &texts)?;

        // Such messages are more than a role and a text, and variables override the messages.
        let plain = |message: &Message| message.fields.is_none() && message.content.is_some();
        if !messages.iter().all(plain) {
            variables.insert("messages".to_owned(), objects.into());
        }
        if let Some(now) = options.now {
            let time = variables.entry("unix_time");
            time.or_insert(now.into());
        }
        let messages = messages.iter().map(|message| ChatMessage {
            role: message.role.clone(),
            content: message.content.clone().unwrap_or_default(),
        });
        let messages: Vec<_> = messages.collect();
        let options = ChatOptions {
            add_generation_prompt: options.add_generation_prompt,
            template: options.template.clone(),
            variables: Some(Value::Object(variables).to_string()),
        };
        let text = model.render_chat(&messages, &options)?;
        // Many templates write the begin-of-sequence themselves; it must not occur twice.
        let tokens = tokenize(model, &text, false, true)?;
        let tokens = match model.info().bos {
            Some(bos) if tokens.first() != Some(&bos) => tokenize(model, &text, true, true)?,
            _ => tokens,
        };
        Ok(Prompt { tokens, text })
    }
}

fn refuse_control_tokens(model: &Model, texts: &str) -> Result<(), Error> {
    if tokenize(model, texts, false, true)? == tokenize(model, texts, false, false)? {
        return Ok(());
    }
    let expected =
        "text without the names of control tokens, because this engine cannot tell who wrote them";
    Err(wrong("messages", expected, "the name of a control token"))
}

fn tokenize(model: &Model, text: &str, special: bool, parse: bool) -> Result<Vec<u32>, Error> {
    let options = TokenizeOptions {
        add_special: Some(special),
        parse_special: Some(parse),
    };
    model.tokenize(text, options)
}

fn object(subject: &str, text: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(text).map_err(|error| wrong(subject, "a JSON object", error))
}

fn wrong(subject: &str, expected: &str, found: impl std::fmt::Display) -> Error {
    Error::InvalidArgument(Mismatch {
        subject: subject.to_owned(),
        expected: expected.to_owned(),
        found: found.to_string(),
    })
}

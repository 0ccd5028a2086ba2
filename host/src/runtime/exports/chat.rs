//! What turns conversations into tokens: the engine's side of `wit/chat.wit`, if it has one.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::component::{ComponentType, Instance, Lift, Lower, ResourceAny, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::runtime::bindings::exports::gust::llm::engine::Error;
use crate::runtime::state::State;
use crate::types::{self, ChatMessage};

/// An optional export of an engine.
const INTERFACE: &str = "gust:llm/chat@0.1.0";

/// The result type of the engine's functions.
type Answer<T> = (Result<T, Error>,);

/// The functions of an engine that tokenizes conversations itself. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct Chat {
    render: TypedFunc<(ResourceAny, Vec<Message>, RenderOptions), Answer<Prompt>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Message {
    role: String,
    content: Option<String>,
    fields: Option<String>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct RenderOptions {
    #[component(name = "add-generation-prompt")]
    add_generation_prompt: Option<bool>,
    template: Option<String>,
    tools: Option<String>,
    variables: Option<String>,
    now: Option<i64>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Prompt {
    tokens: Vec<u32>,
    text: String,
}

impl Chat {
    pub(super) fn of(store: &mut Store<State>, instance: &Instance) -> Option<Chat> {
        let interface = instance.get_export_index(&mut *store, None, INTERFACE)?;
        let render = instance.get_export_index(&mut *store, Some(&interface), "render")?;
        let render = instance.get_typed_func(&mut *store, render).ok()?;
        Some(Chat { render })
    }

    pub(crate) fn render(
        self,
        store: impl AsContextMut,
        model: ResourceAny,
        messages: &[ChatMessage],
        options: &types::RenderOptions,
    ) -> wasmtime::Result<Result<types::Prompt, Error>> {
        let messages = messages.iter().map(Message::from).collect();
        let arguments = (model, messages, RenderOptions::from(options));
        let (prompt,) = self.render.call(store, arguments)?;
        Ok(prompt.map(|Prompt { tokens, text }| types::Prompt { tokens, text }))
    }
}

impl From<&ChatMessage> for Message {
    fn from(message: &ChatMessage) -> Self {
        Message {
            role: message.role.clone(),
            content: Some(message.content.clone()),
            fields: message.fields.clone(),
        }
    }
}

impl From<&types::RenderOptions> for RenderOptions {
    fn from(options: &types::RenderOptions) -> Self {
        RenderOptions {
            add_generation_prompt: options.add_generation_prompt,
            template: options.template.clone(),
            tools: options.tools.clone(),
            variables: options.variables.clone(),
            now: Some(unix_time(options.now.unwrap_or_else(SystemTime::now))),
        }
    }
}

/// Seconds since 1970.
pub(crate) fn unix_time(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |before| -before)
        }
    }
}

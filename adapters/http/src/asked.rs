//! A request in one form for both APIs.

use std::time::{SystemTime, UNIX_EPOCH};

use gust_front_end::engine::{GenerationOptions, Model, TokenizeOptions};
use gust_front_end::{ChatSettings, chat, chat_tokens};
use serde_json::{Map, Value};

use crate::api::{Arguments, ChatRequest, Common, CompletionRequest, Message, Prompt};
use crate::reply::{Failure, Head, Kind};
use crate::served::{self, failure};

/// A request, from either API.
pub(crate) struct Asked {
    kind: Kind,
    prompt: Wanted,
    /// The text to put in front of the answer.
    pub(crate) echo: String,
    pub(crate) options: GenerationOptions,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Names prompts that may continue each other.
    pub(crate) cache_key: Option<String>,
    /// The names of the tools that the model may call.
    pub(crate) tools: Vec<String>,
}

enum Wanted {
    Conversation(Conversation),
    Text(String),
    Tokens(Vec<u32>),
}

struct Conversation {
    /// With the arguments of calls as objects, which most templates expect.
    messages: Vec<chat::Message>,
    /// With the arguments as they were sent, if that is another form.
    as_sent: Option<Vec<chat::Message>>,
    tools: Option<String>,
    variables: Map<String, Value>,
}

/// Parses a chat completion request.
///
/// # Errors
/// If it is not supported.
pub(crate) fn conversation(body: &[u8]) -> Result<Asked, Failure> {
    let request = ChatRequest::parse(body)?;
    let messages = |arguments: Arguments| {
        let message = |message: &Message| {
            Ok(chat::Message {
                role: message.role.clone(),
                content: Some(message.text()?),
                fields: message.fields(arguments),
            })
        };
        request
            .messages
            .iter()
            .map(message)
            .collect::<Result<_, Failure>>()
    };
    let conversation = Conversation {
        messages: messages(Arguments::Parsed)?,
        as_sent: match request.messages.iter().any(Message::has_arguments_as_text) {
            true => Some(messages(Arguments::AsSent)?),
            false => None,
        },
        tools: request.tools(),
        variables: request.chat_template_kwargs.clone().unwrap_or_default(),
    };
    let mut options = options(&request.common);
    options.max_tokens = request.max_completion_tokens.or(options.max_tokens);
    options.logprobs = request.logprobs();
    Ok(Asked {
        kind: Kind::Chat,
        prompt: Wanted::Conversation(conversation),
        echo: String::new(),
        options,
        stream: request.common.stream,
        include_usage: request.common.include_usage(),
        tools: request.tool_names(),
        cache_key: request.common.prompt_cache_key,
    })
}

/// Parses a completion request.
///
/// # Errors
/// If it is not supported.
pub(crate) fn completion(body: &[u8]) -> Result<Asked, Failure> {
    let request = CompletionRequest::parse(body)?;
    let prompt = match request.prompt {
        Prompt::Text(text) => Wanted::Text(text),
        Prompt::Texts(texts) => Wanted::Text(texts.concat()),
        Prompt::Tokens(tokens) => Wanted::Tokens(tokens),
    };
    let echo = match &prompt {
        Wanted::Text(text) if request.echo == Some(true) => text.clone(),
        _ => String::new(),
    };
    Ok(Asked {
        kind: Kind::Completion,
        prompt,
        echo,
        options: options(&request.common),
        stream: request.common.stream,
        include_usage: request.common.include_usage(),
        cache_key: request.common.prompt_cache_key,
        tools: Vec::new(),
    })
}

fn options(common: &Common) -> GenerationOptions {
    GenerationOptions {
        max_tokens: common.max_tokens,
        temperature: common.temperature,
        top_k: common.top_k,
        top_p: common.top_p,
        min_p: common.min_p,
        typical_p: common.typical_p,
        repeat_penalty: common.repeat_penalty,
        frequency_penalty: common.frequency_penalty,
        presence_penalty: common.presence_penalty,
        seed: Some(common.seed.map_or_else(served::random, |seed| seed as u64)),
        stop: Some(common.stop()),
        ..GenerationOptions::default()
    }
}

impl Asked {
    /// The prompt's tokens.
    pub(crate) fn tokens(&self, model: &Model) -> Result<Vec<u32>, Failure> {
        let tokens = match &self.prompt {
            Wanted::Conversation(conversation) => conversation.tokens(model)?,
            Wanted::Text(text) => {
                let tokens = model.tokenize(text, TokenizeOptions::default());
                tokens.map_err(failure)?
            }
            Wanted::Tokens(tokens) => tokens.clone(),
        };
        if tokens.is_empty() {
            let message = "the prompt is empty, and this model needs something to continue";
            return Err(Failure::invalid("prompt", message));
        }
        Ok(tokens)
    }

    /// The fields that all parts of the answer share.
    pub(crate) fn head(&self) -> Result<Head, Failure> {
        let prefix = match self.kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Head {
            kind: self.kind,
            id: format!("{prefix}-{:016x}", served::random()),
            created: now.map_or(0, |time| time.as_secs()),
            model: served::name()?,
        })
    }
}

impl Conversation {
    fn tokens(&self, model: &Model) -> Result<Vec<u32>, Failure> {
        let settings = ChatSettings {
            tools: self.tools.clone(),
            ..served::settings(&self.variables)?
        };
        let tokens = chat_tokens(model, &self.messages, &settings);
        let tokens = match (tokens, &self.as_sent) {
            // A template that puts the arguments into a text cannot do that with objects.
            (Err(error), Some(as_sent)) => {
                chat_tokens(model, as_sent, &settings).map_err(|_| error)
            }
            (tokens, _) => tokens,
        };
        tokens.map_err(failure)
    }
}

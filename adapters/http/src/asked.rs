//! A request in one form for both APIs.

use std::time::{SystemTime, UNIX_EPOCH};

use gust_front_end::engine::{GenerationOptions, Model, TokenizeOptions};
use gust_front_end::{chat, chat_tokens};

use crate::api::{ChatRequest, Common, CompletionRequest, Message, Prompt};
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
}

enum Wanted {
    Conversation(Vec<chat::Message>),
    Text(String),
    Tokens(Vec<u32>),
}

/// Parses a chat completion request.
///
/// # Errors
/// If it is not supported.
pub(crate) fn conversation(body: &[u8]) -> Result<Asked, Failure> {
    let request = ChatRequest::parse(body)?;
    let message = |message: &Message| {
        Ok(chat::Message {
            role: message.role.clone(),
            content: Some(message.text()?),
            fields: None,
        })
    };
    let messages = request.messages.iter().map(message);
    let mut options = options(&request.common);
    options.max_tokens = request.max_completion_tokens.or(options.max_tokens);
    options.logprobs = request.logprobs();
    Ok(Asked {
        kind: Kind::Chat,
        prompt: Wanted::Conversation(messages.collect::<Result<_, Failure>>()?),
        echo: String::new(),
        options,
        stream: request.common.stream,
        include_usage: request.common.include_usage(),
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
            Wanted::Conversation(messages) => {
                chat_tokens(model, messages, served::date().as_deref())
            }
            Wanted::Text(text) => model.tokenize(text, TokenizeOptions::default()),
            Wanted::Tokens(tokens) => Ok(tokens.clone()),
        };
        let tokens = tokens.map_err(failure)?;
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

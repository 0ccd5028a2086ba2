//! Chat templates: a conversation to the prompt that a model was trained on.
//!
//! Models carry a Jinja2 template that is written for Hugging Face's `apply_chat_template`. It is rendered here with
//! minijinja as that function does it: blocks are trimmed, and `raise_exception`, `strftime_now`, `tojson`, `break`,
//! `continue`, `{% generation %}` and the methods of Python's strings, lists and dictionaries are there. A template is
//! hostile until it has ended: its nesting is checked before it is read (`guard`), and its work, its memory and its
//! output are limited. `clock` and `json` are the functions that need more than a line.

mod clock;
mod engine;
mod guard;
mod json;
mod methods;

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{ErrorKind, context};

use crate::error::{Error, Result, invalid_argument, invalid_model};
use crate::tokenizer::MAX_TEXT_LEN;

/// The length of a template at most, in bytes. The longest that are known have 30,000.
pub const MAX_TEMPLATE_LEN: usize = 1 << 18;
/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

/// Whose template it is, which decides whose mistake an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The model's: errors are `invalid-model`.
    Model,
    /// The caller's: errors are `invalid-argument`.
    Caller,
}

/// What a template gets beside the conversation.
#[derive(Debug, Clone, Copy)]
pub struct ChatOptions<'a> {
    /// Whose template it is.
    pub origin: Origin,
    /// Ends with the head of an answer.
    pub add_generation_prompt: bool,
    /// The name of the begin-of-sequence token, if there is one.
    pub bos_token: Option<&'a str>,
    /// The name of the end-of-sequence token, if there is one.
    pub eos_token: Option<&'a str>,
    /// More variables (`tools`, `documents`, `enable_thinking`, ...): a JSON object as text. They win over the others,
    /// `messages` too, so that messages may have more than a role and a text. `unix_time` is what `strftime_now` takes
    /// for now.
    pub variables: Option<&'a str>,
}

/// Renders a conversation. A template reads the names of control tokens, so tokenize the result with `parse_special`.
///
/// # Errors
/// `invalid-model` or `invalid-argument` (see [`Origin`]) for a template that is broken, too long or nested too deep, takes
/// too many steps or gives too long a text; `invalid-argument` for variables that are no JSON object and for a
/// conversation that the template refuses.
pub fn render(template: &str, messages: &[Message], options: &ChatOptions<'_>) -> Result<String> {
    let message = |Message { role, content }: &Message| context! { role, content };
    let mut variables = BTreeMap::from([
        (
            "messages".to_string(),
            messages.iter().map(message).collect(),
        ),
        (
            "add_generation_prompt".to_string(),
            options.add_generation_prompt.into(),
        ),
    ]);
    let tokens = [
        ("bos_token", options.bos_token),
        ("eos_token", options.eos_token),
    ];
    for (name, text) in tokens {
        variables.extend(text.map(|text| (name.to_string(), text.into())));
    }
    variables.extend(extra(options.variables)?);
    render_with(template, variables.into(), options.origin)
}

fn extra(variables: Option<&str>) -> Result<Vec<(String, Value)>> {
    let Some(text) = variables else {
        return Ok(Vec::new());
    };
    let wrong = |found: String| invalid_argument("variables", "a JSON object", found);
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if value.kind() != ValueKind::Map {
        return Err(wrong(value.kind().to_string()));
    }
    engine::weigh(&value).map_err(|error| wrong(error.to_string()))?;
    let names = value.try_iter().map_err(|error| wrong(error.to_string()))?;
    names
        .map(|name| {
            let value = value
                .get_item(&name)
                .map_err(|error| wrong(error.to_string()))?;
            Ok((name.to_string(), value))
        })
        .collect()
}

fn render_with(template: &str, variables: Value, origin: Origin) -> Result<String> {
    let fail = |expected: String, found: String| match origin {
        Origin::Model => invalid_model("chat template", expected, found),
        Origin::Caller => invalid_argument("chat template", expected, found),
    };
    if template.len() > MAX_TEMPLATE_LEN {
        let found = format!("{} bytes", template.len());
        return Err(fail(format!("at most {MAX_TEMPLATE_LEN} bytes"), found));
    }
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    let syntax = syntax.map_err(|error| fail("a syntax".into(), error.to_string()))?;
    let source = guard::check(template, &syntax).map_err(|(error, line)| {
        fail("a Jinja2 template".into(), describe(&error, line as usize))
    })?;
    match engine::render(&source, syntax, variables) {
        Ok(text) if text.len() <= MAX_TEXT_LEN => Ok(text),
        Ok(text) => {
            let found = format!("{} bytes", text.len());
            Err(fail(
                format!("a prompt of at most {MAX_TEXT_LEN} bytes"),
                found,
            ))
        }
        Err(error) => Err(convert(&error, fail)),
    }
}

/// What a template says of a conversation that it does not take.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn raise_exception(message: String) -> std::result::Result<Value, minijinja::Error> {
    let error = minijinja::Error::new(ErrorKind::InvalidOperation, message.clone());
    Err(error.with_source(Refusal(message)))
}

fn convert(error: &minijinja::Error, fail: impl Fn(String, String) -> Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Refusal(message)) = current.downcast_ref() {
            return invalid_argument("messages", "what the chat template takes", message);
        }
        cause = current.source();
    }
    let expected = match error.kind() {
        ErrorKind::OutOfFuel => format!("a template of at most {} steps", engine::FUEL),
        _ => "a Jinja2 template that this engine can render".to_string(),
    };
    fail(expected, describe(error, error.line().unwrap_or(0)))
}

fn describe(error: &minijinja::Error, line: usize) -> String {
    let detail = error
        .detail()
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    format!("{}{detail} in line {line}", error.kind())
}

#[cfg(test)]
mod tests;

//! Chat templates turn a conversation into a prompt in the format that the model was trained on.
//!
//! Models carry a Jinja2 template written for Hugging Face's `apply_chat_template`. It is rendered here with minijinja
//! in the same way as that function: blocks are trimmed, and `raise_exception`, `strftime_now`, `tojson`, `break`,
//! `continue`, `{% generation %}` and the methods of Python's strings, lists and dictionaries are available. A template
//! is treated as hostile until it has finished: its nesting is checked before it is parsed (`guard`), and its work,
//! memory and output are limited. `clock` and `json` are the functions that need more than a line.

mod clock;
mod guard;
mod json;
mod methods;
mod renderer;

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{ErrorKind, context};

use crate::error::{Error, Result, invalid_argument, invalid_model};
use crate::tokenizer::MAX_TEXT_LEN;

/// The longest allowed template, in bytes. The longest known ones have 30,000.
pub const MAX_TEMPLATE_LEN: usize = 1 << 18;
/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or any other role that the template knows.
    pub role: String,
    /// The message text.
    pub content: String,
}

/// Who supplied the template, which decides who is blamed for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The model: errors are `invalid-model`.
    Model,
    /// The caller: errors are `invalid-argument`.
    Caller,
}

/// A template's inputs besides the conversation.
#[derive(Debug, Clone, Copy)]
pub struct ChatOptions<'a> {
    /// Who supplied the template.
    pub origin: Origin,
    /// Ends the prompt with the header of the assistant's answer.
    pub add_generation_prompt: bool,
    /// The name of the begin-of-sequence token, if there is one.
    pub bos_token: Option<&'a str>,
    /// The name of the end-of-sequence token, if there is one.
    pub eos_token: Option<&'a str>,
    /// Additional variables (`tools`, `documents`, `enable_thinking`, ...), as the text of a JSON object. They override
    /// the other variables, including `messages`, so messages can have more than a role and a text. `unix_time` is the
    /// current time for `strftime_now`.
    pub variables: Option<&'a str>,
}

/// Renders a conversation. Templates write control tokens by name, so tokenize the result with `parse_special`.
///
/// # Errors
/// `invalid-model` or `invalid-argument` (see [`Origin`]) for a template that is broken, too long or nested too deeply,
/// takes too many steps, or produces too long a text; `invalid-argument` for variables that are not a JSON object and
/// for a conversation that the template rejects.
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
    renderer::weigh(&value).map_err(|error| wrong(error.to_string()))?;
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
    match renderer::render(&source, syntax, variables) {
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

/// The message of a template that rejects a conversation.
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
            return invalid_argument(
                "messages",
                "messages that the chat template accepts",
                message,
            );
        }
        cause = current.source();
    }
    let expected = match error.kind() {
        ErrorKind::OutOfFuel => format!("a template of at most {} steps", renderer::FUEL),
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

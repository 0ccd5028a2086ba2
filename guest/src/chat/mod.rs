//! Chat templates turn a conversation into a prompt in the format that the model was trained on.
//!
//! Models carry a Jinja2 template written for Hugging Face's `apply_chat_template`. It is rendered here with minijinja
//! in the same way as that function: blocks are trimmed, and `raise_exception`, `strftime_now`, `tojson`, `break`,
//! `continue`, `{% generation %}` and the methods of Python's strings, lists and dictionaries are available. A template
//! is treated as hostile until it has finished: its nesting is checked before it is parsed (`guard`), and its work,
//! memory and output are limited. `clock` and `json` are the functions that need more than a line.
//!
//! [`prompt`] does it all: it renders, sees to it that no message gets lost, and tokenizes. Only the template's own text
//! can become control tokens (`marks`, `filters`). [`render`] returns the text alone. [`families`] has the templates that
//! can be asked for by name, and finds the one of a file that has none.

mod builtins;
mod clock;
pub mod families;
mod filters;
mod guard;
mod json;
mod marks;
mod methods;
mod prompt;
mod renderer;

use std::collections::BTreeMap;

use minijinja::ErrorKind;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};

use crate::error::{Error, Result, invalid_argument, invalid_model};
pub use marks::Rendered;
pub use prompt::{Prompt, prompt};
use renderer::{Failed, Inputs};

/// The longest allowed template, in bytes. The longest known ones have 30,000.
pub const MAX_TEMPLATE_LEN: usize = 1 << 18;

/// The longest allowed prompt, in bytes.
const MAX_PROMPT_LEN: usize = 4 << 20;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// `system`, `user`, `assistant`, or any other role that the template knows.
    pub role: String,
    /// The message text, if it has one.
    pub content: Option<String>,
    /// Its other fields (`tool_calls`, `name`, ...), as the text of a JSON object. They override those above.
    pub fields: Option<String>,
}

impl Message {
    /// A message with a text and nothing else.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message {
            role: role.into(),
            content: Some(content.into()),
            fields: None,
        }
    }
}

/// Who supplied the template, which decides who is blamed for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The model: errors are `invalid-model`.
    Model,
    /// The caller: errors are `invalid-argument`.
    Caller,
}

/// The time of `strftime_now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// There is none, nor the function. Templates with a date of their own use that one.
    None,
    /// 26 July 2024, unless the variable `unix_time` has another time.
    Default,
    /// Seconds since 1970.
    At(i64),
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
    /// The tools that the model may call, as the text of a JSON array.
    pub tools: Option<&'a str>,
    /// Additional variables (`documents`, `enable_thinking`, ...), as the text of a JSON object. For [`render`] they
    /// override the other variables, including `messages`; [`prompt`] refuses those.
    pub variables: Option<&'a str>,
    /// What time it is.
    pub clock: Clock,
}

/// Renders a conversation.
///
/// # Errors
/// `invalid-model` or `invalid-argument` (see [`Origin`]) for a template that is broken, too long or nested too deeply,
/// takes too many steps, or produces too long a text; `invalid-argument` for tools, variables and fields that are not
/// JSON, and for a conversation that the template rejects.
pub fn render(template: &str, messages: &[Message], options: &ChatOptions<'_>) -> Result<Rendered> {
    let messages = messages.iter().enumerate();
    let messages = messages.map(|(at, message)| values_of(at, message));
    render_values(template, messages.collect::<Result<_>>()?, options)
}

fn render_values(
    template: &str,
    messages: Vec<Value>,
    options: &ChatOptions<'_>,
) -> Result<Rendered> {
    // What the caller does not give is none and not undefined, as in `apply_chat_template`.
    let mut variables = BTreeMap::from([
        ("messages".to_string(), Value::from(messages)),
        ("tools".to_string(), Value::from(())),
        ("documents".to_string(), Value::from(())),
        (
            "add_generation_prompt".to_string(),
            options.add_generation_prompt.into(),
        ),
    ]);
    if let Some(tools) = options.tools {
        let tools = parsed("tools", ValueKind::Seq, tools)?;
        variables.insert("tools".to_string(), tools);
    }
    if let Clock::At(time) = options.clock {
        variables.insert(clock::VARIABLE.to_string(), time.into());
    }
    let tokens = [
        ("bos_token", options.bos_token),
        ("eos_token", options.eos_token),
    ];
    let tokens = tokens.into_iter();
    let inputs = Inputs {
        own: tokens
            .filter_map(|(name, text)| Some((name, text?)))
            .collect(),
        variables: BTreeMap::new(),
        clock: options.clock,
    };
    if let Some(text) = options.variables {
        let object = parsed("variables", ValueKind::Map, text)?;
        variables.extend(entries("variables", &object)?);
    }
    render_with(
        template,
        Inputs {
            variables,
            ..inputs
        },
        options.origin,
    )
}

/// The names under which a message may have the reasoning before its text. The first is the one that most templates read;
/// gpt-oss reads the second.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A message as the template sees it: without what is null, and with a reasoning under the names that templates read, as
/// in `apply_chat_template`.
fn values_of(at: usize, message: &Message) -> Result<Value> {
    let mut all = vec![
        ("role".to_string(), Value::from(message.role.as_str())),
        (
            "content".to_string(),
            Value::from(message.content.as_deref()),
        ),
    ];
    let mut set = |name: String, value: Value| match all.iter_mut().find(|(own, _)| *own == name) {
        Some((_, slot)) => *slot = value,
        None => all.push((name, value)),
    };
    for (name, value) in fields_of(at, message)? {
        set(name, value);
    }
    all.retain(|(_, value)| !value.is_none());
    let named = |name: &str| all.iter().find(|(own, _)| own == name);
    let reasoning = REASONING.iter().find_map(|name| named(name));
    if let Some((_, reasoning)) = reasoning.cloned() {
        all.retain(|(name, _)| name != REASONING[0]);
        all.push((REASONING[0].to_string(), reasoning.clone()));
        if !all.iter().any(|(name, _)| name == REASONING[1]) {
            all.push((REASONING[1].to_string(), reasoning));
        }
    }
    Ok(Value::from_pairs(all))
}

/// What a message has besides its role and its text.
fn fields_of(at: usize, message: &Message) -> Result<Vec<(String, Value)>> {
    let Some(fields) = &message.fields else {
        return Ok(Vec::new());
    };
    let subject = format!("messages[{at}].fields");
    entries(&subject, &parsed(&subject, ValueKind::Map, fields)?)
}

/// The value that a JSON text stands for.
fn parsed(subject: &str, kind: ValueKind, text: &str) -> Result<Value> {
    let expected = match kind {
        ValueKind::Seq => "a JSON array",
        _ => "a JSON object",
    };
    let wrong = |found: String| invalid_argument(subject, expected, found);
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if value.kind() != kind {
        return Err(wrong(value.kind().to_string()));
    }
    renderer::weigh(&value, &mut |_| {}).map_err(|error| wrong(error.to_string()))?;
    Ok(value)
}

fn entries(subject: &str, object: &Value) -> Result<Vec<(String, Value)>> {
    let wrong = |error: minijinja::Error| invalid_argument(subject, "a JSON object", error);
    let names = object.try_iter().map_err(wrong)?;
    names
        .map(|name| {
            let value = object.get_item(&name).map_err(wrong)?;
            Ok((name.to_string(), value))
        })
        .collect()
}

fn render_with(template: &str, inputs: Inputs<'_>, origin: Origin) -> Result<Rendered> {
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
        fail(
            "a Jinja2 template".into(),
            describe(&error.into(), line as usize),
        )
    })?;
    match renderer::render(&source, syntax, inputs) {
        Ok(rendered) if rendered.text.len() <= MAX_PROMPT_LEN => Ok(rendered),
        Ok(rendered) => {
            let found = format!("{} bytes", rendered.text.len());
            Err(fail(
                format!("a prompt of at most {MAX_PROMPT_LEN} bytes"),
                found,
            ))
        }
        Err(failed) => Err(convert(&failed, fail)),
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

fn convert(failed: &Failed, fail: impl Fn(String, String) -> Error) -> Error {
    let error = &failed.error;
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
    let detail = failed.detail.as_deref().unwrap_or_default();
    if error.kind() == ErrorKind::UnknownFunction && detail.contains("strftime_now") {
        let expected = "the time, because the chat template asks for the date";
        return invalid_argument("now", expected, "none");
    }
    let expected = match error.kind() {
        ErrorKind::OutOfFuel => format!("a template of at most {} steps", renderer::FUEL),
        _ => "a Jinja2 template that this engine can render".to_string(),
    };
    fail(expected, describe(failed, error.line().unwrap_or(0)))
}

fn describe(failed: &Failed, line: usize) -> String {
    let detail = failed.detail.as_ref();
    let detail = detail
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    format!("{}{detail} in line {line}", failed.error.kind())
}

#[cfg(test)]
mod tests;

//! From a conversation to tokens.

use std::io::ErrorKind;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::chat::{Message, RenderOptions, render};
use crate::date::seconds_until;
use crate::engine::{Error, MetadataEntry, Mismatch, Model};

/// What a template is told besides the conversation. An absent field has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatSettings {
    /// A Jinja template to use instead of the model's own, or the name of one that the engine has.
    pub template: Option<String>,
    /// The tools that the model may call: a JSON array as text.
    pub tools: Option<String>,
    /// Additional variables: a JSON object as text.
    pub variables: Option<String>,
    /// The date for templates that write one, as `YYYY-MM-DD`. Default: today, in UTC.
    pub date: Option<String>,
}

/// Renders a conversation with the model's template, up to the header of the next answer, and tokenizes it.
///
/// # Errors
/// `invalid-argument` if the template is missing or rejects the conversation, for variables that are no JSON object, and
/// for any other text than a date.
pub fn chat_tokens(
    model: &Model,
    messages: &[Message],
    settings: &ChatSettings,
) -> Result<Vec<u32>, Error> {
    let now = match settings.date.as_deref() {
        Some(date) => seconds_until(date).ok_or_else(|| no_date(date))?,
        None => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs() as i64)
        }
    };
    let options = RenderOptions {
        now: Some(now),
        template: settings.template.clone(),
        tools: settings.tools.clone(),
        variables: settings.variables.clone(),
        ..RenderOptions::default()
    };
    Ok(render(model, messages, &options)?.tokens)
}

/// The chat template that a user asks for: that of a file, or the name of one that the engine has.
///
/// # Errors
/// If it is a path, and the file cannot be read as text.
pub fn chat_template(file_or_name: &str) -> std::io::Result<String> {
    match std::fs::read_to_string(file_or_name) {
        Err(error) if error.kind() == ErrorKind::NotFound && !file_or_name.contains('/') => {
            Ok(file_or_name.to_owned())
        }
        read => read,
    }
}

/// The name of the template that is used because the file has none, and why it is that one.
pub fn assumed_template(model: &Model) -> Option<String> {
    let mut entries = model.metadata().into_iter();
    let of_template = |entry: &MetadataEntry| {
        entry.value_type == "assumed" && entry.key == "tokenizer.chat_template"
    };
    entries.find(of_template).map(|entry| entry.value)
}

fn no_date(found: &str) -> Error {
    Error::InvalidArgument(Mismatch {
        subject: "date".to_owned(),
        expected: "a date such as 2025-07-10".to_owned(),
        found: format!("`{found}`"),
    })
}

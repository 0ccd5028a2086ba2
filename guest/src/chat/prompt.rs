//! From a conversation to tokens, in one step.
//!
//! The template is rendered, the result is compared with what it is without each kind of message, and then tokenized
//! with the knowledge of who wrote what.

use super::{ChatOptions, Message, render, render_values, values_of};
use crate::error::{Result, invalid_argument};
use crate::tokenizer::Tokenizer;

/// How many roles are tried out in one conversation.
const MAX_SUSPECTS: usize = 8;

/// A conversation as the model gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The tokens, with a begin-of-sequence token if the model expects one.
    pub tokens: Vec<u32>,
    /// The text, as the template wrote it.
    pub text: String,
}

/// Renders a conversation and tokenizes it.
///
/// Names of control tokens count where the template wrote them, and are text everywhere else. A `developer` is a
/// `system` for a template that does not mention developers.
///
/// # Errors
/// As [`render`]; `invalid-argument` for a message that the template leaves out, naming its role.
pub fn prompt(
    tokenizer: &Tokenizer,
    template: &str,
    messages: &[Message],
    options: &ChatOptions<'_>,
) -> Result<Prompt> {
    let mut messages = messages.to_vec();
    if !template.contains("developer") {
        for message in &mut messages {
            if message.role == "developer" {
                message.role = "system".to_owned();
            }
        }
    }
    let rendered = render(template, &messages, options)?;
    refuse_lost(template, &messages, &rendered.text, options)?;
    let tokens = tokenizer.encode_prompt(&rendered.text, &rendered.template)?;
    Ok(Prompt {
        tokens,
        text: rendered.text,
    })
}

/// Refuses a conversation with a message that makes no difference to the prompt.
///
/// Trying this out for each message would take as many renderings. So each message says a word of its own once; those
/// whose words are missing are suspects, and of each role one suspect is tried out.
fn refuse_lost(
    template: &str,
    messages: &[Message],
    text: &str,
    options: &ChatOptions<'_>,
) -> Result<()> {
    let word = |at: usize| format!("word{at}word");
    // Not where the text may be in other fields.
    let has_text = |message: &Message| {
        let content = message.content.as_deref().unwrap_or_default();
        let fields = message.fields.as_deref().unwrap_or_default();
        !content.trim().is_empty() && !fields.contains("content")
    };
    let spoken = messages.iter().enumerate();
    let spoken = spoken.map(|(at, message)| Message {
        content: match has_text(message) {
            true => Some(word(at)),
            false => message.content.clone(),
        },
        ..message.clone()
    });
    let spoken: Vec<_> = spoken.collect();
    // A template that refuses such words has looked at them, so nothing can be said here.
    let heard = render(template, &spoken, options).map_or(String::new(), |heard| heard.text);
    let mut suspects: Vec<usize> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let known = |other: &usize| messages[*other].role == message.role;
        if has_text(message) && !heard.contains(&word(at)) && !suspects.iter().any(known) {
            suspects.push(at);
        }
    }
    for at in suspects.into_iter().take(MAX_SUSPECTS) {
        let rest = messages
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let rest = rest.map(|(other, message)| values_of(other, message));
        let without = render_values(template, rest.collect::<Result<_>>()?, options);
        if without.is_ok_and(|without| without.text == text) {
            return Err(invalid_argument(
                format!("messages[{at}].role"),
                "a role that the chat template writes into the prompt at this place",
                format!("`{}`, which it leaves out", messages[at].role),
            ));
        }
    }
    Ok(())
}

//! From a conversation to tokens, in one step.
//!
//! The template is rendered, the result is compared with what it is without each kind of message, and then tokenized
//! with the knowledge of who wrote what.

use minijinja::value::ValueKind;

use super::{ChatOptions, Message, entries, fields_of, parsed, render, render_values, values_of};
use crate::error::{Result, invalid_argument};
use crate::tokenizer::Tokenizer;

/// The variables of a template that this call itself sets: `wit/chat.wit` lists them.
const RESERVED: [&str; 7] = [
    "messages",
    "tools",
    "add_generation_prompt",
    "bos_token",
    "eos_token",
    "raise_exception",
    "strftime_now",
];

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
/// As [`render`]; `invalid-argument` for a message that the template leaves out, naming its role, for tools that it leaves
/// out, for a variable with one of the names that this call sets, and for an image or another part that is not text.
pub fn prompt(
    tokenizer: &Tokenizer,
    template: &str,
    messages: &[Message],
    options: &ChatOptions<'_>,
) -> Result<Prompt> {
    refuse_reserved(options)?;
    let mut messages = messages.to_vec();
    if !template.contains("developer") {
        for message in &mut messages {
            if message.role == "developer" {
                message.role = "system".to_owned();
            }
        }
    }
    refuse_media(&messages)?;
    let rendered = render(template, &messages, options)?;
    refuse_lost_tools(template, &messages, &rendered.text, options)?;
    refuse_lost(template, &messages, &rendered.text, options)?;
    let tokens = tokenizer.encode_prompt(&rendered.text, &rendered.template)?;
    Ok(Prompt {
        tokens,
        text: rendered.text,
    })
}

/// Refuses variables that would replace the conversation, or what is known of the model.
fn refuse_reserved(options: &ChatOptions<'_>) -> Result<()> {
    let Some(text) = options.variables else {
        return Ok(());
    };
    let object = parsed("variables", ValueKind::Map, text)?;
    let names = entries("variables", &object)?.into_iter();
    let reserved = names
        .map(|(name, _)| name)
        .find(|name| RESERVED.contains(&name.as_str()));
    match reserved {
        None => Ok(()),
        Some(name) => Err(invalid_argument(
            "variables",
            format!(
                "none of the names {}, which are set already",
                RESERVED.join(", ")
            ),
            format!("`{name}`"),
        )),
    }
}

/// Refuses parts that are not text. Many templates write a token where an image belongs, and nothing would follow it.
fn refuse_media(messages: &[Message]) -> Result<()> {
    const MEDIA: [&str; 4] = ["image", "audio", "video", "file"];
    let is_media = |name: &str| name.split('_').any(|word| MEDIA.contains(&word));
    for (at, message) in messages.iter().enumerate() {
        let mut fields = fields_of(at, message)?.into_iter();
        let Some((_, content)) = fields.rfind(|(name, _)| name == "content") else {
            continue;
        };
        if content.kind() != ValueKind::Seq {
            continue;
        }
        for (nth, part) in content.try_iter().into_iter().flatten().enumerate() {
            let of_type = part.get_attr("type").unwrap_or_default();
            let of_type = of_type.as_str().unwrap_or_default();
            let mut names = part.try_iter().into_iter().flatten();
            let named = names.find(|name| name.as_str().is_some_and(is_media));
            let named = named.map(|name| name.to_string());
            if let Some(found) = Some(of_type.to_owned())
                .filter(|name| is_media(name))
                .or(named)
            {
                return Err(invalid_argument(
                    format!("messages[{at}].content[{nth}]"),
                    "a part of the type `text`, because this engine reads nothing else",
                    format!("`{found}`"),
                ));
            }
        }
    }
    Ok(())
}

/// Refuses tools that make no difference to the prompt: the model could not call what it does not know of.
fn refuse_lost_tools(
    template: &str,
    messages: &[Message],
    text: &str,
    options: &ChatOptions<'_>,
) -> Result<()> {
    let Some(tools) = options.tools else {
        return Ok(());
    };
    if parsed("tools", ValueKind::Seq, tools)?.len() == Some(0) {
        return Ok(());
    }
    let without = ChatOptions {
        tools: None,
        ..*options
    };
    match render(template, messages, &without) {
        Ok(without) if without.text == text => Err(invalid_argument(
            "tools",
            "a chat template that writes them into the prompt",
            "one that leaves them out",
        )),
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::RESERVED;

    #[test]
    fn the_refused_variables_are_those_that_the_contract_lists() {
        let contract = include_str!("../../../wit/chat.wit");
        let (_, list) = contract
            .split_once("that are set already are an `invalid-argument`:")
            .expect("a list");
        let (list, _) = list.split_once("Default").expect("an end of the list");
        let names: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        assert_eq!(names, RESERVED);
    }
}

//! From a conversation to tokens.

use crate::engine::{ChatMessage, ChatOptions, Error, Mismatch, Model, TokenizeOptions};

/// Renders a conversation with the model's template, up to the header of the next answer, and tokenizes it.
///
/// # Errors
/// `unsupported` or `invalid-argument` if the template is missing or rejects the conversation; `invalid-argument` if a
/// message contains the name of a control token, because a user who can write `<|im_end|>` can impersonate the system.
pub fn chat_tokens(model: &Model, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
    for message in messages {
        let tokenize = |parse_special| tokenize(model, &message.content, false, parse_special);
        if tokenize(true)? != tokenize(false)? {
            return Err(Error::InvalidArgument(Mismatch {
                subject: format!("message with role `{}`", message.role),
                expected: "text without the names of control tokens".to_owned(),
                found: "the name of a control token".to_owned(),
            }));
        }
    }
    let prompt = model.render_chat(messages, &ChatOptions::default())?;
    // Many templates write the begin-of-sequence themselves; it must not occur twice.
    let tokens = tokenize(model, &prompt, false, true)?;
    match model.info().bos {
        Some(bos) if tokens.first() != Some(&bos) => tokenize(model, &prompt, true, true),
        _ => Ok(tokens),
    }
}

fn tokenize(model: &Model, text: &str, special: bool, parse: bool) -> Result<Vec<u32>, Error> {
    let options = TokenizeOptions {
        add_special: Some(special),
        parse_special: Some(parse),
    };
    model.tokenize(text, options)
}

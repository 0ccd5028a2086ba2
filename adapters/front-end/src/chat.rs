//! A conversation to tokens.

use crate::engine::{ChatMessage, ChatOptions, Error, Mismatch, Model, TokenizeOptions};

/// The tokens of the prompt that the model's template makes of a conversation, up to the head of the next answer.
///
/// # Errors
/// `unsupported` or `invalid-argument` where the template is missing or refuses the conversation; `invalid-argument`
/// where a message contains the name of a control token: whoever can write `<|im_end|>` can speak as the system.
pub fn chat_tokens(model: &Model, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
    for message in messages {
        let tokenize = |parse_special| tokenize(model, &message.content, false, parse_special);
        if tokenize(true)? != tokenize(false)? {
            return Err(Error::InvalidArgument(Mismatch {
                subject: format!("a message of role `{}`", message.role),
                expected: "text without the names of control tokens".to_owned(),
                found: "one of them".to_owned(),
            }));
        }
    }
    let prompt = model.render_chat(messages, &ChatOptions::default())?;
    // Many templates write the begin-of-sequence themselves; it must not come twice.
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

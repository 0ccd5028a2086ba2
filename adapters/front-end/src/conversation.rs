//! From a conversation to tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::chat::{Message, RenderOptions, render};
use crate::date::seconds_until;
use crate::engine::{Error, Mismatch, Model};

/// Renders a conversation with the model's template, up to the header of the next answer, and tokenizes it. `date` is
/// the date for templates that write one, as `YYYY-MM-DD`; without it, it is today's.
///
/// # Errors
/// `invalid-argument` if the template is missing or rejects the conversation, and for any other text than a date.
pub fn chat_tokens(
    model: &Model,
    messages: &[Message],
    date: Option<&str>,
) -> Result<Vec<u32>, Error> {
    let now = match date {
        Some(date) => seconds_until(date).ok_or_else(|| no_date(date))?,
        None => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs() as i64)
        }
    };
    let options = RenderOptions {
        now: Some(now),
        ..RenderOptions::default()
    };
    Ok(render(model, messages, &options)?.tokens)
}

fn no_date(found: &str) -> Error {
    Error::InvalidArgument(Mismatch {
        subject: "date".to_owned(),
        expected: "a date such as 2025-07-10".to_owned(),
        found: format!("`{found}`"),
    })
}

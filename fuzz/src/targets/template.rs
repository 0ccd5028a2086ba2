//! Chat templates, and what is rendered with them.

use arbitrary::{Result, Unstructured};
use gust_engine::chat::{ChatOptions, Clock, Message, Origin, render};

use super::values::text;

const PIECES: [&str; 78] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{%-",
    "-%}",
    "{{-",
    " ",
    "\n",
    "messages",
    "message",
    "m",
    "x",
    ".",
    "[",
    "]",
    "(",
    ")",
    "'a'",
    "\"b\"",
    "0",
    "1",
    "-1",
    "99999999999",
    "1.5",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "%",
    "~",
    "|",
    ":",
    ",",
    "=",
    "==",
    "!=",
    "<",
    "in",
    "not",
    "and",
    "or",
    "is",
    "if",
    "else",
    "elif",
    "endif",
    "for",
    "endfor",
    "set",
    "endset",
    "macro",
    "endmacro",
    "namespace",
    "range",
    "loop.index0",
    "loop.last",
    "raise_exception",
    "strftime_now",
    "tojson",
    "trim",
    "length",
    "split",
    "replace",
    "join",
    "map",
    "selectattr",
    "items",
    "defined",
    "none",
    "content",
    "role",
    "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    "{% macro x() %}{{ x() }}{% endmacro %}",
];
const JSON: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    "\"a\"",
    ":",
    ",",
    "1",
    "-1",
    "1e308",
    "null",
    "true",
    "\"\\u0000\"",
    "\"\\ud800\"",
    " ",
    "{}",
    "[]",
    "{\"a\":",
    "[[[[[[[[",
    "]]]]]]]]",
    "\"type\":\"function\"",
    "\"messages\"",
];

/// A template, a conversation, and everything that it may use.
pub fn run(data: &[u8]) {
    let _ = attack(&mut Unstructured::new(data));
}

fn attack(input: &mut Unstructured<'_>) -> Result<()> {
    let length = input.int_in_range(0..=60)?;
    let template = match input.ratio(7, 8)? {
        true => text(input, &PIECES, length)?,
        false => input.arbitrary()?,
    };
    let mut messages = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let role = input.choose(&["user", "assistant", "system", "tool", "", "{{ x }}"])?;
        let content = text(input, &["a", " ", "\n", "<s>", "{{ 1 }}", "</s>"], 8)?;
        let mut message = Message::new(*role, content);
        if input.ratio(1, 4)? {
            message.fields = Some(text(input, &JSON, 12)?);
        }
        messages.push(message);
    }
    let optional = |input: &mut Unstructured<'_>| {
        Ok(match input.ratio(1, 4)? {
            true => Some(text(input, &JSON, 16)?),
            false => None,
        })
    };
    let (tools, variables) = (optional(input)?, optional(input)?);
    let clock = match input.int_in_range(0..=2)? {
        0 => Clock::None,
        1 => Clock::Default,
        _ => Clock::At(input.arbitrary()?),
    };
    let options = ChatOptions {
        origin: Origin::Model,
        add_generation_prompt: input.arbitrary()?,
        bos_token: Some("<s>"),
        eos_token: None,
        tools: tools.as_deref(),
        variables: variables.as_deref(),
        clock,
    };
    let _ = render(&template, &messages, &options);
    Ok(())
}

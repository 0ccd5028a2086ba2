//! Conversations to tokens: what can become a control token, and what must not get lost.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;
use super::cases::{file, get, items, text};
use crate::gguf::{Array, Gguf, Metadata};
use crate::test_data::shared;
use crate::tokenizer::{EncodeOptions, SpecialTokens, TokenType, Tokenizer};

const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
const PARSED: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};

/// Names as vocabularies have them; `<tool>` and `<<` are user-defined, so plain text becomes them too.
const NAMES: [&str; 16] = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "</think>",
];
const USER_DEFINED: [&str; 3] = ["<tool>", "<<", "\n\n"];

/// A vocabulary of bytes and of these names.
fn vocabulary() -> Tokenizer {
    Tokenizer::from_metadata(&vocabulary_of(&NAMES, &USER_DEFINED)).expect("a tokenizer")
}

/// The metadata of a vocabulary of bytes, of control tokens and of tokens that are found in any text.
pub(super) fn vocabulary_of(control: &[&str], user_defined: &[&str]) -> Metadata {
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let names = control.iter().chain(user_defined);
    let names = names.map(|name| name.to_string());
    let texts = ["<unk>".to_owned()].into_iter().chain(bytes).chain(names);
    let texts: Vec<String> = texts.chain(["▁".to_owned()]).collect();
    let kinds = (0..texts.len()).map(|id| match id {
        0 => 2,
        1..257 => 6,
        _ if id < 257 + control.len() => 3,
        _ if id < 257 + control.len() + user_defined.len() => 4,
        _ => 1,
    });
    let mut metadata = Metadata::default();
    let mut set = |key: &str, value: crate::gguf::Value| {
        assert!(metadata.insert(format!("tokenizer.ggml.{key}"), value));
    };
    set("model", "llama".into());
    set("token_type", Array::i32s(kinds).into());
    set("scores", Array::f32s(texts.iter().map(|_| 0.0)).into());
    set("bos_token_id", 257u32.into());
    set("eos_token_id", 258u32.into());
    set("add_space_prefix", false.into());
    set("tokens", Array::strings(texts).into());
    metadata
}

/// Those of other files.
#[cfg(feature = "tokenizer-json")]
fn of_json() -> impl Iterator<Item = Tokenizer> {
    use crate::tokenizer::json_tests::tokenizer;
    ["byte-level", "fallback", "unigram"]
        .into_iter()
        .map(tokenizer)
}

#[cfg(not(feature = "tokenizer-json"))]
fn of_json() -> impl Iterator<Item = Tokenizer> {
    std::iter::empty()
}

/// Published vocabularies, where they are there, the one above, and others.
fn tokenizers() -> Vec<Tokenizer> {
    ["qwen2", "llama-bpe", "llama-spm", "phi-3", "gpt-2"]
        .iter()
        .map_while(|name| shared(&format!("vocab/ggml-vocab-{name}.gguf")))
        .map(|bytes| Gguf::read(&bytes).expect("a sound file").metadata)
        .map(|metadata| Tokenizer::from_metadata(&metadata).expect("a tokenizer"))
        .chain([vocabulary()])
        .chain(of_json())
        .collect()
}

fn options<'a>(tokenizer: &'a Tokenizer) -> ChatOptions<'a> {
    let name = |id: Option<u32>| id.and_then(|id| tokenizer.name(id));
    ChatOptions {
        origin: Origin::Model,
        add_generation_prompt: true,
        bos_token: name(tokenizer.bos()),
        eos_token: name(tokenizer.eos()),
        tools: None,
        variables: None,
        clock: Clock::At(1_752_105_600),
    }
}

/// The published templates of the test data, and some that write names in other ways.
fn templates() -> Vec<String> {
    let llama_cpp = get(&file("chat_template_cases.json"), "cases");
    let cases = items(&llama_cpp).into_iter();
    let cases = cases.chain(items(&file("hfjs_e2e_cases.json")));
    let published = cases.map(|case| text(&case, "chat_template"));
    let own = [
        "{% for m in messages %}{{ '<|' + m.role + '|>' }}{{ m.content|trim }}<|end|>{% endfor %}",
        "{% macro turn(m) %} <|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|> {% endmacro %}\
         {% for m in messages %}{{ turn(m)|trim }}\n{% endfor %}",
        "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')|last }}\
         {{ m.tool_calls|tojson if m.tool_calls else '' }}<|im_end|>{% endfor %}{{ tools|tojson if tools else '' }}",
        "{% for m in messages %}{{ '[INST] %s [/INST]'|format(m.content) if m.role == 'user' \
         else '{}</s>'.format(m.content) }}{% endfor %}",
        "{{ mood }}<|system|>{{ '<|' ~ reasoning_effort ~ '|>' }}{{ documents|tojson }}{% for m in messages %}\
         <|user|>{{ m.role ~ mood }}{{ m.content }}{{ m.reasoning_content }}<|end|>{% endfor %}",
        include_str!("templates/blocks.jinja"),
        include_str!("templates/reasoning.jinja"),
        include_str!("templates/tools.jinja"),
        include_str!("templates/turns.jinja"),
    ];
    let by_name = [
        "bailing",
        "chatml",
        "gemma",
        "kimi-k2",
        "llama2-sys",
        "openchat",
        "phi3",
    ];
    let by_name = by_name.iter().filter_map(|name| families::template(name));
    published
        .chain(by_name.map(str::to_owned))
        .chain(own.map(str::to_owned))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// The control tokens of a prompt are those that the template's own text has. Returns how many there are.
fn only_the_template_writes_control_tokens(
    tokenizer: &Tokenizer,
    rendered: &Rendered,
) -> Result<usize> {
    let control = |ids: Vec<u32>| {
        let is = |id: &u32| {
            matches!(
                tokenizer.token_type(*id),
                TokenType::Control | TokenType::Unknown
            )
        };
        ids.into_iter().filter(is).collect::<Vec<_>>()
    };
    let found = control(tokenizer.encode_prompt(&rendered.text, &rendered.template)?);
    let mut expected = Vec::new();
    for range in &rendered.template {
        expected.extend(control(
            tokenizer.encode(&rendered.text[range.clone()], PARSED)?,
        ));
    }
    // A vocabulary without a token for a byte has the unknown token for it.
    let unknown = |ids: &[u32]| -> Vec<u32> {
        let is = |id: &&u32| tokenizer.token_type(**id) == TokenType::Control;
        ids.iter().filter(is).copied().collect()
    };
    let (mut found, expected) = (unknown(&found), unknown(&expected));
    if found.len() == expected.len() + 1 && found.first().copied() == tokenizer.bos() {
        found.remove(0);
    }
    assert_eq!(found, expected, "{rendered:?}");
    Ok(found.len())
}

/// No part of `outside` is taken for the template's text. Returns how often it was found.
fn is_from_outside(rendered: &Rendered, outside: &str) -> usize {
    let places = rendered.text.match_indices(outside);
    places
        .inspect(|(at, _)| {
            let mine = |range: &&std::ops::Range<usize>| {
                range.start < at + outside.len() && *at < range.end
            };
            let taken = rendered.template.iter().find(mine);
            assert_eq!(taken, None, "{outside:?} in {rendered:?}");
        })
        .count()
}

/// Whether these tokens follow one another somewhere.
fn contains(whole: &[u32], part: &[u32]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

fn conversation(role: &str, hostile: &str) -> Vec<Message> {
    let call = serde_json::json!({ "tool_calls": [{
        "type": "function", "id": "call00001",
        "function": { "name": hostile, "arguments": { hostile: hostile } },
    }]});
    let mut messages = vec![
        Message::new("system", format!("qx1 {hostile} xq1")),
        Message::new("user", format!("qx2 {hostile} xq2")),
        Message::new("assistant", format!("qx3 {hostile} xq3")),
        Message::new("user", format!("qx4{hostile}xq4")),
    ];
    if role != "user" {
        messages.insert(3, Message::new(role, format!("qx5 {hostile} xq5")));
        let mut fields = call;
        fields["reasoning_content"] = format!("qx6 {hostile} xq6").into();
        messages[2].fields = Some(fields.to_string());
    }
    messages
}

/// Whatever a message, a role, a tool, a call, an answer, its reasoning or a variable says: it does not become a control token, and its text
/// is in the prompt as it is without a template.
#[test]
fn no_text_from_outside_becomes_a_control_token() {
    let tokenizers = tokenizers();
    let hostile: Vec<String> = ["<s>9.99</s> <filename>", "<|user|>", "|>\n\n<"]
        .iter()
        .map(|text| text.to_string())
        .chain([NAMES.concat()])
        .collect();
    let (mut texts, mut controls, mut placed) = (0, 0, 0);
    for template in templates() {
        for hostile in &hostile {
            for role in ["user", "tool", hostile.as_str()] {
                let tools = serde_json::json!([{ "type": "function", "function": {
                    "name": hostile, "description": hostile,
                    "parameters": { "type": "object", "properties": { hostile.as_str(): { "type": "string" } } },
                }}]);
                let tools = tools.to_string();
                let variables = serde_json::json!({
                    "mood": hostile, "date_string": hostile, "reasoning_effort": hostile, "enable_thinking": hostile,
                    "documents": [{ "title": hostile, "text": hostile }],
                });
                let variables = variables.to_string();
                let messages = conversation(role, hostile);
                for tokenizer in &tokenizers {
                    let options = ChatOptions {
                        tools: (role == "tool").then_some(&tools),
                        variables: (role != "user").then_some(&variables),
                        ..options(tokenizer)
                    };
                    let Ok(rendered) = render(&template, &messages, &options) else {
                        continue;
                    };
                    texts += 1;
                    controls += only_the_template_writes_control_tokens(tokenizer, &rendered)
                        .expect("tokens");
                    for message in &messages {
                        let content = message.content.as_deref().unwrap_or_default();
                        let found = is_from_outside(&rendered, content);
                        placed += found;
                        let alone = tokenizer.encode(content, PLAIN).expect("tokens");
                        // The text may merge with what is around it.
                        if let (1.., [_, _, inner @ .., _, _]) = (found, alone.as_slice()) {
                            let whole = tokenizer.encode_prompt(&rendered.text, &rendered.template);
                            assert!(
                                contains(&whole.expect("tokens"), inner),
                                "{content} in {template}"
                            );
                        }
                    }
                }
            }
        }
    }
    assert!(
        texts > 400 && controls > 1_000 && placed > 1_000,
        "{texts} {controls} {placed}"
    );
}

fn fragments() -> impl Strategy<Value = String> {
    let names = NAMES.iter().chain(&USER_DEFINED).copied();
    let halves = names.clone().flat_map(|name| {
        let (left, right) = name.split_at(name.len() / 2);
        [left, right]
    });
    let others = [
        "<",
        "|>",
        "<|",
        " ",
        "\n",
        "hi",
        "<0x0A>",
        "é",
        "\u{f0000}",
        "{{ x }}",
        "<unk>",
    ];
    let all: Vec<&str> = names.clone().chain(halves).chain(others).collect();
    let texts = prop::collection::vec(prop::sample::select(all), 0..8);
    texts.prop_map(|texts| texts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// The same with names, their halves and what is around them in any order.
    #[test]
    fn nothing_put_together_of_names_becomes_a_control_token(
        texts in prop::collection::vec(fragments(), 4),
        role in fragments(),
    ) {
        let tokenizer = vocabulary();
        let mut messages: Vec<_> = texts
            .iter()
            .zip(["system", "user", "assistant", "user"])
            .map(|(text, role)| Message::new(role, text))
            .collect();
        messages.push(Message::new(&role, &texts[0]));
        for template in templates() {
            if let Ok(rendered) = render(&template, &messages, &options(&tokenizer)) {
                only_the_template_writes_control_tokens(&tokenizer, &rendered).expect("tokens");
                let ids = tokenizer.encode_prompt(&rendered.text, &rendered.template).expect("tokens");
                // Without the token that is added unless the template writes it.
                let own = rendered.text.starts_with("<s>")
                    && rendered.template.first().is_some_and(|range| range.start == 0 && range.end >= 3);
                let ids = if own { &ids[..] } else { &ids[1..] };
                let back = tokenizer.decode(ids, SpecialTokens::Render).expect("text");
                let written = rendered.text.replace('▁', " ");
                prop_assert_eq!(String::from_utf8_lossy(&back), written);
            }
        }
    }
}

/// For honest text, the tokens are those of the whole text with control tokens parsed, as in llama.cpp: the template
/// writes all of its names itself.
#[test]
fn honest_conversations_have_the_tokens_of_their_text() {
    let mut compared = 0;
    for tokenizer in tokenizers() {
        for template in templates() {
            for messages in [conversation("user", "plain"), conversation("tool", "plain")] {
                let Ok(rendered) = render(&template, &messages, &options(&tokenizer)) else {
                    continue;
                };
                let mut expected = tokenizer.encode(&rendered.text, PARSED).expect("tokens");
                if tokenizer.adds_bos() && expected.first() != tokenizer.bos().as_ref() {
                    expected.splice(0..0, tokenizer.bos());
                }
                let found = tokenizer.encode_prompt(&rendered.text, &rendered.template);
                assert_eq!(found, Ok(expected), "{template}\n{rendered:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 50, "{compared}");
}

/// A name must not be made of text from both sides, and a text from outside must not swallow the beginning of one.
#[test]
fn names_do_not_cross_the_border() {
    let tokenizer = vocabulary();
    let encode = |text: &str, template: &[(usize, usize)]| {
        let template: Vec<_> = template.iter().map(|&(start, end)| start..end).collect();
        tokenizer.encode_prompt(text, &template).expect("tokens")
    };
    let found = |text: &str, template: &[(usize, usize)]| {
        let ids = encode(text, template);
        let name = |id: &u32| tokenizer.name(*id).filter(|name| !name.starts_with("<0x"));
        ids.iter().filter_map(name).collect::<Vec<_>>().join(" ")
    };
    // (The whole text is the template's; half of it is; none of it is.)
    assert_eq!(found("<|im_end|>", &[(0, 10)]), "<s> <|im_end|>");
    assert_eq!(found("<|im_end|>", &[(0, 5)]), "<s>");
    assert_eq!(found("<|im_end|>", &[(5, 10)]), "<s>");
    assert_eq!(found("<|im_end|>", &[]), "<s>");
    assert_eq!(found("<|im_end|>", &[(0, 4), (5, 10)]), "<s>");
    // User-defined tokens are found in plain text, but not across the border, unless they are white space.
    assert_eq!(found("<tool>", &[]), "<s> <tool>");
    assert_eq!(found("<tool>", &[(0, 3)]), "<s>");
    assert_eq!(found("<<|im_end|>", &[(1, 11)]), "<s> <|im_end|>");
    assert_eq!(found("<<|im_end|>", &[]), "<s> <<");
    assert_eq!(found("a\n\nb", &[(0, 2)]), "<s> \n\n");
    // The begin-of-sequence token is there once, whether or not the template writes it; another's does not count.
    assert_eq!(found("<s>a", &[(0, 3)]), "<s>");
    assert_eq!(found("<s>a", &[]), "<s>");
    assert_eq!(encode("<s>a", &[]).len(), 5);
    assert_eq!(encode("<s>a", &[(0, 3)]).len(), 2);
}

const CHATML: &str = "{% for m in messages %}{% if m.role in ['system', 'user', 'assistant'] %}\
                      <|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}";

/// A role that the template does not know must not make its message disappear.
#[test]
fn a_message_that_the_template_leaves_out_is_an_error() {
    let tokenizer = vocabulary();
    let made = |template: &str, messages: &[(&str, &str)]| {
        let messages: Vec<_> = messages
            .iter()
            .map(|(role, text)| Message::new(*role, *text))
            .collect();
        let made = prompt(&tokenizer, template, &messages, &options(&tokenizer));
        made.map(|prompt| prompt.text)
            .map_err(|error| error.to_string())
    };
    let user = ("user", "Hi");
    let developer = made(CHATML, &[("developer", "Say BANANA"), user]);
    assert_eq!(developer, made(CHATML, &[("system", "Say BANANA"), user]));
    assert!(developer.is_ok_and(|text| text.contains("BANANA")));
    let error = made(CHATML, &[user, ("critic", "Bad")]).expect_err("an unknown role");
    assert_eq!(
        error,
        "invalid argument: messages[1].role: expected a role that the chat template writes into the prompt at this \
         place, found `critic`, which it leaves out"
    );
    // A template that mentions developers gets them.
    let knows = CHATML.replace("'user'", "'developer', 'user'");
    let text = made(&knows, &[("developer", "Be brief"), user]).expect("a prompt");
    assert!(
        text.starts_with("<|im_start|>developer\nBe brief"),
        "{text}"
    );
    // Only the first system turn is written here.
    let first = "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}\
                 {% for m in messages if m.role == 'user' %}[{{ m.content }}]{% endfor %}";
    assert!(made(first, &[("system", "A"), user]).is_ok());
    let error = made(first, &[("system", "A"), user, ("system", "B")]).expect_err("a lost turn");
    assert!(
        error.contains("messages[2].role") && error.contains("`system`"),
        "{error}"
    );
    // Nothing is lost with an empty turn, nor where a template wants something else in a turn.
    assert!(made(CHATML, &[("critic", " "), user]).is_ok());
    let picky = format!(
        "{{% if 'word' in messages[0].content %}}{{{{ raise_exception('no') }}}}{{% endif %}}{CHATML}"
    );
    assert!(made(&picky, &[user]).is_ok());
}

/// A message's fields are those of `apply_chat_template`: what is null is not there, and a reasoning has several names.
#[test]
fn a_message_has_no_nulls_and_a_reasoning_with_all_its_names() {
    let tokenizer = vocabulary();
    let template = "{% for m in messages %}{{ m|tojson }};{% endfor %}";
    let made = |fields: &str| {
        let message = Message {
            role: "assistant".into(),
            content: Some("Hi".into()),
            fields: Some(fields.into()),
        };
        let rendered = render(template, &[message], &options(&tokenizer));
        rendered.map(|rendered| rendered.text).expect(fields)
    };
    assert_eq!(
        made(r#"{"tool_calls": null, "content": null}"#),
        r#"{"role": "assistant"};"#
    );
    let named =
        r#"{"role": "assistant", "content": "Hi", "reasoning_content": "Hm", "thinking": "Hm"};"#;
    assert_eq!(made(r#"{"reasoning_content": "Hm"}"#), named);
    assert_eq!(
        made(r#"{"thinking": "Hm"}"#),
        r#"{"role": "assistant", "content": "Hi", "thinking": "Hm", "reasoning_content": "Hm"};"#
    );
    let both = made(r#"{"reasoning": "a", "reasoning_content": "b"}"#);
    assert_eq!(
        both,
        r#"{"role": "assistant", "content": "Hi", "reasoning": "a", "reasoning_content": "b", "thinking": "b"};"#
    );
    let template = "{{ tools is defined }} {{ tools is none }} {{ documents is none }}";
    let rendered = render(template, &[], &options(&tokenizer)).expect("a text");
    assert_eq!(rendered.text, "True True True");
}

/// Fields beyond a role and a text reach the template, and so do tools, variables and the time.
#[test]
fn everything_reaches_the_template() {
    let tokenizer = vocabulary();
    let template = "{{ tools|tojson }} {{ mood }} {% for m in messages %}{{ m.role }}:{{ m.content }}:\
                    {{ m.tool_calls|tojson if m.tool_calls }};{% endfor %}{{ strftime_now('%Y-%m-%d') }}";
    let messages = [
        Message {
            role: "assistant".into(),
            content: None,
            fields: Some(r#"{"tool_calls": [{"name": "f"}]}"#.into()),
        },
        Message {
            role: "tool".into(),
            content: Some("old".into()),
            fields: Some(r#"{"content": "new"}"#.into()),
        },
    ];
    let whole = ChatOptions {
        tools: Some(r#"[{"name": "f"}]"#),
        variables: Some(r#"{"mood": "calm"}"#),
        ..options(&tokenizer)
    };
    let made = |options: &ChatOptions<'_>| {
        let made = prompt(&tokenizer, template, &messages, options);
        made.map(|prompt| prompt.text)
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        made(&whole).as_deref(),
        Ok(r#"[{"name": "f"}] calm assistant::[{"name": "f"}];tool:new:;2025-07-10"#)
    );
    let error = made(&ChatOptions {
        clock: Clock::None,
        ..whole
    })
    .expect_err("no time");
    assert!(
        error.starts_with("invalid argument: now: expected the time"),
        "{error}"
    );
    let error = made(&ChatOptions {
        tools: Some("{}"),
        ..whole
    })
    .expect_err("no list");
    assert!(
        error.starts_with("invalid argument: tools: expected a JSON array"),
        "{error}"
    );
    for reserved in [
        "messages",
        "tools",
        "add_generation_prompt",
        "bos_token",
        "strftime_now",
    ] {
        let variables = format!(r#"{{"mood": "calm", "{reserved}": []}}"#);
        let error = made(&ChatOptions {
            variables: Some(&variables),
            ..whole
        })
        .expect_err(reserved);
        assert!(
            error.starts_with("invalid argument: variables: expected none of the names")
                && error.ends_with(&format!("found `{reserved}`")),
            "{error}"
        );
    }
    // An image has no tokens here, whatever the template writes for it, and tools must not be lost.
    for part in [
        r#"{"type": "image"}"#,
        r#"{"type": "image_url", "image_url": {"url": "data:,"}}"#,
        r#"{"type": "input_audio", "input_audio": {}}"#,
        r#"{"video": "x"}"#,
    ] {
        let content = format!(r#"{{"content": [{{"type": "text", "text": "What is"}}, {part}]}}"#);
        let seen = Message {
            fields: Some(content),
            ..Message::new("user", "")
        };
        let error = prompt(&tokenizer, template, &[seen], &whole).expect_err(part);
        let error = error.to_string();
        assert!(
            error.starts_with(
                "invalid argument: messages[0].content[1]: expected a part of the type `text`"
            ),
            "{error}"
        );
    }
    let deaf =
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ mood }}{{ strftime_now('%Y') }}";
    let of = |tools| {
        let options = ChatOptions { tools, ..whole };
        prompt(&tokenizer, deaf, &[Message::new("user", "hi")], &options)
    };
    assert!(of(Some("[]")).is_ok() && of(None).is_ok());
    let error = of(Some(r#"[{"name": "f"}]"#)).expect_err("no tools");
    assert_eq!(
        error.to_string(),
        "invalid argument: tools: expected a chat template that writes them into the prompt, found one that leaves them out"
    );
    let mut broken = messages.to_vec();
    broken[1].fields = Some("[]".into());
    let error = prompt(&tokenizer, template, &broken, &whole).expect_err("no object");
    assert!(
        error
            .to_string()
            .starts_with("invalid argument: messages[1].fields: "),
        "{error}"
    );
    // A template that has a date of its own uses it where there is no time.
    let own = "{{ strftime_now('%Y') if strftime_now is defined else 'always' }}";
    let of = |clock| {
        let options = ChatOptions {
            clock,
            ..options(&tokenizer)
        };
        prompt(&tokenizer, own, &[], &options).map(|prompt| prompt.text)
    };
    assert_eq!(of(Clock::None), Ok("always".into()));
    assert_eq!(of(Clock::At(0)), Ok("1970".into()));
}

//! Published templates, with Jinja2's output as the expected value.

use super::super::*;
use crate::test_data::data;

pub(super) fn get(value: &Value, key: &str) -> Value {
    value.get_attr(key).expect("a map")
}

pub(super) fn text(value: &Value, key: &str) -> String {
    get(value, key)
        .as_str()
        .unwrap_or_else(|| panic!("{key}: a text"))
        .to_string()
}

pub(super) fn file(name: &str) -> Value {
    serde_json::from_slice(&data(&format!("templates/{name}"))).expect("JSON")
}

/// Renders with the variables of a JSON object, and with variables of the template's own.
pub(super) fn rendered_from(
    template: &str,
    data: &str,
    own: &[(&'static str, &str)],
) -> Result<Rendered> {
    let data = parsed("data", ValueKind::Map, data)?;
    let inputs = Inputs {
        variables: entries("data", &data)?.into_iter().collect(),
        own: own.iter().copied().collect(),
        clock: Clock::Default,
    };
    render_with(template, inputs, Origin::Caller)
}

/// Renders with these variables alone.
fn rendered(template: &str, variables: BTreeMap<String, Value>) -> Result<String> {
    let inputs = Inputs {
        variables,
        own: BTreeMap::new(),
        clock: Clock::Default,
    };
    render_with(template, inputs, Origin::Model).map(|rendered| rendered.text)
}

pub(super) fn items(value: &Value) -> Vec<Value> {
    value.try_iter().expect("a list").collect()
}

#[test]
fn the_cases_of_llama_cpp_give_what_jinja2_gives() {
    let file = file("chat_template_cases.json");
    let messages = |list: Value| {
        let message = |item: Value| Message::new(text(&item, "role"), text(&item, "content"));
        items(&list).into_iter().map(message)
    };
    let mut failed = Vec::new();
    let cases = items(&get(&file, "cases"));
    assert!(cases.len() > 30);
    for case in cases {
        let lists = [get(&file, "messages"), get(&case, "extra_conversation")];
        let conversation: Vec<_> = lists.into_iter().flat_map(messages).collect();
        let (bos, eos) = (text(&case, "bos_token"), text(&case, "eos_token"));
        let options = ChatOptions {
            origin: Origin::Model,
            add_generation_prompt: get(&file, "add_generation_prompt").is_true(),
            bos_token: Some(&bos),
            eos_token: Some(&eos),
            tools: None,
            variables: None,
            clock: Clock::Default,
        };
        let found = render(&text(&case, "chat_template"), &conversation, &options);
        let expected = get(&case, "jinja2_output");
        match (found, expected.as_str()) {
            (Ok(found), Some(expected)) if found.text == expected => {}
            (Err(_), None) => {}
            (found, expected) => failed.push(format!(
                "{} (agrees {}):\n found {found:?}\n expected {expected:?}\n {}",
                text(&case, "name"),
                get(&case, "jinja2_agrees"),
                get(&case, "jinja2_error"),
            )),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn the_cases_of_hugging_face_give_what_jinja2_gives() {
    let file = file("hfjs_e2e_cases.json");
    let mut failed = Vec::new();
    let cases = items(&file);
    assert!(cases.len() > 20);
    for case in cases {
        // 10 July 2025, the day of their test.
        let time = [("unix_time".to_string(), Value::from(1_752_105_600))];
        let data = get(&case, "data");
        let data = items(&data)
            .into_iter()
            .map(|key| (key.to_string(), data.get_item(&key).expect("there")));
        let found = rendered(&text(&case, "chat_template"), data.chain(time).collect());
        let expected = text(&case, "target");
        match found {
            Ok(found) if found == expected => {}
            // Python's Jinja2 prints lists like Python, and so do we.
            Ok(found)
                if !get(&case, "jinja2_agrees").is_true()
                    && found.contains("[{'type': 'function'") => {}
            found => failed.push(format!(
                "{} (agrees {}):\n found {found:?}\n expected {expected:?}",
                text(&case, "name"),
                get(&case, "jinja2_agrees"),
            )),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Templates of our own that have every construct of llama.cpp's collection of real ones, with conversations of all kinds:
/// `jinja2.py` writes `templates.json`, with an object where Jinja2 fails.
#[test]
fn whole_templates_give_what_jinja2_gives() {
    let templates = [
        ("blocks", include_str!("templates/blocks.jinja")),
        ("reasoning", include_str!("templates/reasoning.jinja")),
        ("strict", include_str!("templates/strict.jinja")),
        ("tools", include_str!("templates/tools.jinja")),
        ("turns", include_str!("templates/turns.jinja")),
    ];
    let read = |text| serde_json::from_str::<Value>(text).expect("JSON");
    let conversations = items(&read(include_str!("conversations.json")));
    let all = read(include_str!("templates.json"));
    assert_eq!(items(&all).len(), templates.len());
    for (name, template) in templates {
        let expected = items(&get(&all, name));
        assert!(expected.len() > 20 && expected.len() == conversations.len());
        for (conversation, expected) in conversations.iter().zip(expected) {
            let message = |given: &Value| Message {
                role: text(given, "role"),
                content: None,
                fields: Some(serde_json::to_string(given).expect("JSON")),
            };
            let messages = items(&get(conversation, "messages"));
            let messages: Vec<_> = messages.iter().map(message).collect();
            let json = |key: &str| {
                let value = get(conversation, key);
                (!value.is_undefined()).then(|| serde_json::to_string(&value).expect("JSON"))
            };
            let (tools, variables) = (json("tools"), json("variables"));
            let options = ChatOptions {
                origin: Origin::Model,
                add_generation_prompt: get(conversation, "add_generation_prompt").is_true(),
                bos_token: Some("<s>"),
                eos_token: Some("</s>"),
                tools: tools.as_deref(),
                variables: variables.as_deref(),
                clock: Clock::At(1_752_105_600),
            };
            let found = render(template, &messages, &options).map(|rendered| rendered.text);
            assert_eq!(
                found.as_deref().ok(),
                expected.as_str(),
                "{name}, {}: {found:?}, {expected}",
                text(conversation, "name")
            );
        }
    }
}

/// Small templates of our own with the output of Jinja2 3.1.6, set up like `apply_chat_template`; `null` where it
/// fails. They leave out what the engine does differently: `%` between strings, a unary plus, and filters and methods
/// that no chat template is known to use.
#[test]
fn small_templates_give_what_jinja2_gives() {
    let file: Value = serde_json::from_str(include_str!("jinja2.json")).expect("JSON");
    let cases = items(&get(&file, "cases"));
    assert!(cases.len() > 250);
    for case in cases {
        let [template, expected] = [0, 1].map(|at| case.get_item_by_index(at).expect("a pair"));
        let template = template.as_str().expect("a text");
        let context = get(&file, "context");
        let variables = entries("context", &context).expect("a map");
        let found = rendered(template, variables.into_iter().collect());
        assert_eq!(
            found.as_deref().ok(),
            expected.as_str(),
            "{template:?}: {found:?}"
        );
    }
}

/// `bos_token` and `eos_token` are the names that the model gives them.
#[test]
fn variables_of_the_caller_win() {
    let messages = [Message::new("user", "hi")];
    let options = ChatOptions {
        origin: Origin::Caller,
        add_generation_prompt: true,
        bos_token: Some("<s>"),
        eos_token: None,
        tools: None,
        variables: None,
        clock: Clock::Default,
    };
    let template = "{{ bos_token }}{{ eos_token is defined }}{{ messages[0].role }}{{ messages[0].tools }}{{ x }}";
    let found = |variables| {
        render(
            template,
            &messages,
            &ChatOptions {
                variables,
                ..options
            },
        )
        .map(|rendered| rendered.text)
    };
    assert_eq!(found(None), Ok("<s>Falseuser".into()));
    let variables =
        r#"{"x": {"b": [1, null], "a": 2.0}, "messages": [{"role": "tool", "tools": "T"}]}"#;
    assert_eq!(
        found(Some(variables)),
        Ok("<s>FalsetoolT{'b': [1, None], 'a': 2.0}".into())
    );
    for wrong in ["", "[]", "{", "3", r#"{"a": nul}"#] {
        let error = found(Some(wrong)).expect_err(wrong);
        assert!(
            matches!(&error, Error::InvalidArgument(mismatch) if mismatch.subject == "variables"),
            "{error}"
        );
    }
}

#[test]
fn errors_name_the_line_and_whose_mistake_it_is() {
    let options = |origin| ChatOptions {
        origin,
        add_generation_prompt: false,
        bos_token: None,
        eos_token: None,
        tools: None,
        variables: None,
        clock: Clock::Default,
    };
    let found =
        |template: &str, origin| render(template, &[], &options(origin)).expect_err(template);
    assert_eq!(
        found("a\n{% if x %}\n", Origin::Model).to_string(),
        "invalid model: chat template: expected a Jinja2 template that this engine can render, found syntax error: \
         unexpected end of input, expected end of block in line 2"
    );
    assert_eq!(
        found("a\nb\n{{ x.y }}", Origin::Caller).to_string(),
        "invalid argument: chat template: expected a Jinja2 template that this engine can render, found undefined value \
         in line 3"
    );
    assert_eq!(
        found("{{ raise_exception('no system role') }}", Origin::Model).to_string(),
        "invalid argument: messages: expected messages that the chat template accepts, found no system role"
    );
    assert_eq!(
        found(&" ".repeat(MAX_TEMPLATE_LEN + 1), Origin::Model).to_string(),
        "invalid model: chat template: expected at most 262144 bytes, found 262145 bytes"
    );
}

#[test]
fn hugging_face_s_generation_blocks_are_read_over() {
    let template =
        "{% for m in [1, 2] %}\n  {%- generation -%} {{ m }}\n  {% endgeneration %}\n{% endfor %}";
    assert_eq!(rendered(template, BTreeMap::new()), Ok("1\n2\n".into()));
}

/// A long conversation is not an attack.
#[test]
fn a_conversation_of_a_thousand_turns_is_within_the_limits() {
    let file = file("hfjs_e2e_cases.json");
    let messages: Vec<Message> = (0..1_000)
        .map(|i| {
            Message::new(
                ["user", "assistant"][i % 2],
                "Once upon a time. ".repeat(40),
            )
        })
        .collect();
    for name in [
        "Qwen/Qwen1.5-72B-Chat",
        "meta-llama/Llama-3.1-8B-Instruct",
        "HuggingFaceTB/SmolLM3-3B",
    ] {
        let case = items(&file)
            .into_iter()
            .find(|case| text(case, "name") == name);
        let template = text(&case.expect("the case"), "chat_template");
        let options = ChatOptions {
            origin: Origin::Model,
            add_generation_prompt: true,
            bos_token: Some("<s>"),
            eos_token: Some("</s>"),
            tools: None,
            variables: None,
            clock: Clock::Default,
        };
        let prompt = render(&template, &messages, &options).expect(name);
        assert!(prompt.text.len() > 700_000, "{name}");
    }
}

//! The published templates with what Jinja2 makes of them.

use super::super::*;
use crate::test_data::shared;

fn get(value: &Value, key: &str) -> Value {
    value.get_attr(key).expect("a map")
}

fn text(value: &Value, key: &str) -> String {
    get(value, key)
        .as_str()
        .unwrap_or_else(|| panic!("{key}: a text"))
        .to_string()
}

fn file(name: &str) -> Option<Value> {
    let bytes = shared(&format!("templates/{name}"))?;
    Some(serde_json::from_slice(&bytes).expect("JSON"))
}

fn items(value: &Value) -> Vec<Value> {
    value.try_iter().expect("a list").collect()
}

#[test]
fn the_cases_of_llama_cpp_give_what_jinja2_gives() {
    let Some(file) = file("chat_template_cases.json") else {
        return;
    };
    let messages = |list: &Value| -> Vec<Message> {
        let message = |item: &Value| Message {
            role: text(item, "role"),
            content: text(item, "content"),
        };
        items(list).iter().map(message).collect()
    };
    let mut failed = Vec::new();
    let cases = items(&get(&file, "cases"));
    assert!(cases.len() > 30);
    for case in cases {
        let extra = get(&case, "extra_conversation");
        let source = if extra.len() > Some(0) {
            extra
        } else {
            get(&file, "messages")
        };
        let (bos, eos) = (text(&case, "bos_token"), text(&case, "eos_token"));
        let options = ChatOptions {
            origin: Origin::Model,
            add_generation_prompt: get(&file, "add_generation_prompt").is_true(),
            bos_token: Some(&bos),
            eos_token: Some(&eos),
            variables: None,
        };
        let found = render(&text(&case, "chat_template"), &messages(&source), &options);
        let expected = get(&case, "jinja2_output");
        match (found, expected.as_str()) {
            (Ok(found), Some(expected)) if found == expected => {}
            (Err(Error::InvalidArgument(_)), None) => {}
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
    let Some(file) = file("hfjs_e2e_cases.json") else {
        return;
    };
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
        let variables: BTreeMap<String, Value> = data.chain(time).collect();
        let found = render_with(
            &text(&case, "chat_template"),
            variables.into(),
            Origin::Model,
        );
        let expected = text(&case, "target");
        match found {
            Ok(found) if found == expected => {}
            found => failed.push(format!(
                "{} (agrees {}):\n found {found:?}\n expected {expected:?}",
                text(&case, "name"),
                get(&case, "jinja2_agrees"),
            )),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

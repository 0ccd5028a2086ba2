//! What keeps a conversation apart from its template where an engine only renders text (`render-chat`): for the library, and
//! for the component `adapters/stand-in`.

use serde_json::{Map, Value};

/// The variables that `gust:llm/chat` refuses (`wit/chat.wit` lists them); `render-chat` lets them override all others.
const RESERVED: [&str; 7] = [
    "messages",
    "tools",
    "add_generation_prompt",
    "bos_token",
    "eos_token",
    "raise_exception",
    "strftime_now",
];

/// If one of the variables is refused: what was expected of them, and what was found.
pub(crate) fn reserved(variables: &Map<String, Value>) -> Option<(String, String)> {
    let name = RESERVED
        .iter()
        .find(|name| variables.contains_key(**name))?;
    let expected = format!(
        "none of the names {}, which are set already",
        RESERVED.join(", ")
    );
    Some((expected, format!("`{name}`")))
}

/// Appends all strings in a value, one on a line.
pub(crate) fn collect(value: &Value, texts: &mut String) {
    match value {
        Value::String(text) => *texts += &format!("{text}\n"),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(entries) => {
            for (key, value) in entries {
                *texts += &format!("{key}\n");
                collect(value, texts);
            }
        }
        _ => {}
    }
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

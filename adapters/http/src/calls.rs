//! The calls of tools in an answer, in the forms that models are trained for:
//!
//! - `<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen and others.
//! - `{"name": …, "parameters": {…}}` as the whole answer, perhaps after `<|python_tag|>`: Llama 3.
//! - `[TOOL_CALLS][{"name": …, "arguments": {…}}]`, and `[TOOL_CALLS]name[ARGS]{…}`: Mistral.
//!
//! Only what names one of the request's tools is a call. Everything else stays text, as the model wrote it.

use serde_json::{Map, Value};

/// What begins a call. They may be control tokens, which have no text in an answer.
pub const MARKERS: [&str; 3] = [TAG, MISTRAL, PYTHON];
const TAG: &str = "<tool_call>";
const TAG_END: &str = "</tool_call>";
const MISTRAL: &str = "[TOOL_CALLS]";
const MISTRAL_ARGUMENTS: &str = "[ARGS]";
const PYTHON: &str = "<|python_tag|>";

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text for the reader.
    Text(String),
    /// A call of a tool.
    Call(Call),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// The arguments, a JSON object.
    pub arguments: Map<String, Value>,
}

/// Finds calls in an answer while it grows. Text that may still become a call is held back.
#[derive(Debug)]
pub struct Calls {
    /// The names of the tools.
    tools: Vec<String>,
    /// What is held back.
    held: String,
    state: State,
    /// White space at the end of what was text so far: none of it is shown before a call, or at the end after one.
    space: String,
    /// Whether there was a call.
    called: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nothing but white space yet.
    Begin,
    /// Text, in which a marker may come.
    Text,
    /// After [`TAG`], until its end.
    Tag,
    /// What is held is calls, if it is complete: until the end of the answer. After this marker.
    Rest(&'static str),
}

impl Calls {
    /// For the tools of these names.
    pub fn new(tools: Vec<String>) -> Self {
        Self {
            tools,
            held: String::new(),
            state: State::Begin,
            space: String::new(),
            called: false,
        }
    }

    /// Takes more of the answer, and gives what is certain.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held += text;
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// Gives what is left at the end of the answer.
    pub fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Begin | State::Text => self.text(&held, &mut parts),
            // The end of the tag may be a token that ends the answer.
            State::Tag => match self.call(&held) {
                Some(call) => self.called(call, &mut parts),
                None => self.text(&format!("{TAG}{held}"), &mut parts),
            },
            State::Rest(marker) => match self.all(&held, marker) {
                Some(calls) => {
                    for call in calls {
                        self.called(call, &mut parts);
                    }
                }
                None => self.text(&format!("{marker}{held}"), &mut parts),
            },
        }
        if !self.called && !self.space.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut self.space)));
        }
        parts
    }

    /// Goes on if something can be said of what is held. Whether it was.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state {
            State::Begin => {
                let begin = self.held.trim_start();
                if begin.is_empty() {
                    return false;
                }
                self.state = match begin.starts_with('{') {
                    true => State::Rest(""),
                    false => State::Text,
                };
                true
            }
            State::Text => {
                let found = MARKERS.iter().filter_map(|marker| {
                    let at = self.held.find(marker)?;
                    Some((at, *marker))
                });
                if let Some((at, marker)) = found.min() {
                    let rest = self.held.split_off(at);
                    let text = std::mem::replace(&mut self.held, rest[marker.len()..].to_owned());
                    self.text(&text, parts);
                    self.state = match marker {
                        TAG => State::Tag,
                        other => State::Rest(other),
                    };
                    return true;
                }
                let kept = self.held.len() - begun(&self.held);
                let rest = self.held.split_off(kept);
                let text = std::mem::replace(&mut self.held, rest);
                self.text(&text, parts);
                false
            }
            State::Tag => {
                let Some(at) = self.held.find(TAG_END) else {
                    return false;
                };
                let rest = self.held.split_off(at);
                let inner = std::mem::replace(&mut self.held, rest[TAG_END.len()..].to_owned());
                match self.call(&inner) {
                    Some(call) => self.called(call, parts),
                    None => self.text(&format!("{TAG}{inner}{TAG_END}"), parts),
                }
                self.state = State::Text;
                true
            }
            State::Rest(_) => false,
        }
    }

    fn called(&mut self, call: Call, parts: &mut Vec<Part>) {
        self.called = true;
        self.space.clear();
        parts.push(Part::Call(call));
    }

    /// Gives text, but holds back the white space at its end.
    fn text(&mut self, text: &str, parts: &mut Vec<Part>) {
        let end = text.trim_end().len();
        if end > 0 {
            let shown = std::mem::take(&mut self.space) + &text[..end];
            parts.push(Part::Text(shown));
        }
        self.space += &text[end..];
    }

    /// The call that a text is.
    fn call(&self, text: &str) -> Option<Call> {
        self.of(serde_json::from_str(text.trim()).ok()?)
    }

    /// The calls that the rest of an answer is after a marker; none if it is anything else.
    fn all(&self, text: &str, marker: &str) -> Option<Vec<Call>> {
        if marker == MISTRAL && !text.trim_start().starts_with('[') {
            // Each call has a marker of its own.
            let calls = text.split(MISTRAL).map(|call| {
                let (name, arguments) = call.split_once('{')?;
                let name = name.strip_suffix(MISTRAL_ARGUMENTS).unwrap_or(name);
                let arguments = serde_json::from_str(&format!("{{{arguments}")).ok()?;
                self.named(name.trim(), arguments)
            });
            return calls.collect();
        }
        let mut calls = Vec::new();
        // Llama separates several by `;`.
        for part in separated(text)? {
            match part {
                Value::Array(several) => {
                    for one in several {
                        calls.push(self.of(one)?);
                    }
                }
                one => calls.push(self.of(one)?),
            }
        }
        (!calls.is_empty()).then_some(calls)
    }

    /// The call that a JSON value is.
    fn of(&self, value: Value) -> Option<Call> {
        let Value::Object(mut fields) = value else {
            return None;
        };
        let name = fields.get("name")?.as_str()?.to_owned();
        let arguments = fields.remove("arguments");
        let arguments = arguments.or_else(|| fields.remove("parameters"));
        match arguments {
            Some(Value::Object(arguments)) => self.named(&name, arguments),
            None => self.named(&name, Map::new()),
            Some(_) => None,
        }
    }

    fn named(&self, name: &str, arguments: Map<String, Value>) -> Option<Call> {
        let is_tool = self.tools.iter().any(|tool| tool == name);
        is_tool.then(|| Call {
            name: name.to_owned(),
            arguments,
        })
    }
}

/// The JSON values of a text that has nothing else than these and `;` between them.
fn separated(text: &str) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        values.push(stream.next()?.ok()?);
        rest = rest[stream.byte_offset()..].trim_start();
        rest = rest.strip_prefix(';').unwrap_or(rest).trim_start();
    }
    Some(values)
}

/// How many bytes at the end of a text may be the beginning of a marker.
fn begun(text: &str) -> usize {
    let longest = MARKERS.iter().filter_map(|marker| {
        let lengths = 1..marker.len();
        lengths.rev().find(|n| text.ends_with(&marker[..*n]))
    });
    longest.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All parts, with texts that follow one another as one, however the answer is cut.
    fn parts(answer: &str, sizes: usize) -> Vec<Part> {
        let mut calls = Calls::new(vec!["f".to_owned(), "g".to_owned()]);
        let chars: Vec<char> = answer.chars().collect();
        let mut all: Vec<Part> = Vec::new();
        let pieces = chars.chunks(sizes).map(String::from_iter);
        let mut found: Vec<Part> = pieces.flat_map(|piece| calls.push(&piece)).collect();
        found.extend(calls.finish());
        for part in found {
            match (all.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => text.push_str(&more),
                (_, part) => all.push(part),
            }
        }
        all
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn call(name: &str, arguments: &str) -> Part {
        Part::Call(Call {
            name: name.to_owned(),
            arguments: serde_json::from_str(arguments).expect("an object"),
        })
    }

    #[test]
    fn calls_are_found_in_all_forms_however_the_answer_is_cut() {
        let f = || call("f", r#"{"x": 1, "a": [2.0, null]}"#);
        let json = r#"{"name": "f", "arguments": {"x": 1, "a": [2.0, null]}}"#;
        let parameters =
            r#"{"type": "function", "name": "f", "parameters": {"x": 1, "a": [2.0, null]}}"#;
        let cases = [
            (format!("<tool_call>\n{json}\n</tool_call>"), vec![f()]),
            (
                format!(
                    "Let me see.\n\n<tool_call>\n{json}\n</tool_call>\n<tool_call>\n{{\"name\": \"g\"}}\n</tool_call>\n"
                ),
                vec![text("Let me see."), f(), call("g", "{}")],
            ),
            (format!("<tool_call>{json}"), vec![f()]),
            (
                format!("<tool_call>{json}</tool_call> done"),
                vec![f(), text(" done")],
            ),
            (parameters.to_owned(), vec![f()]),
            (format!("\n{parameters}; {json}"), vec![f(), f()]),
            (format!("<|python_tag|>{parameters}"), vec![f()]),
            (format!("[TOOL_CALLS][{json}, {json}]"), vec![f(), f()]),
            (format!("[TOOL_CALLS] [{json}]"), vec![f()]),
            (
                "[TOOL_CALLS]f[ARGS]{\"x\": 1, \"a\": [2.0, null]}[TOOL_CALLS]g{}".to_owned(),
                vec![f(), call("g", "{}")],
            ),
        ];
        for (answer, expected) in cases {
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(parts(&answer, size), expected, "{answer:?} by {size}");
            }
        }
    }

    /// Nothing of it is lost, and nothing is changed.
    #[test]
    fn everything_else_is_text() {
        for answer in [
            "",
            " ",
            "Hello, world!\n",
            "  two spaces before, and behind  ",
            "a < b <tool",
            "<tool_call>",
            "<tool_call>no JSON</tool_call> and more",
            "<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call>",
            "<tool_call>{\"name\": \"f\", \"arguments\": \"x\"}</tool_call>",
            "<tool_call>{\"name\": \"f\", \"arguments\": {}",
            "{\"name\": \"Ada\", \"age\": 36}",
            "{\"name\": \"f\"} is JSON",
            "{ code }",
            "[TOOL_CALLS]",
            "[TOOL_CALLS]h[ARGS]{}",
            "[TOOL_CALLS][{\"name\": \"f\"}, 1]",
            "<|python_tag|>print(1)",
            "ünï 🦀 <tool_c",
        ] {
            for size in [1, 2, 5, 1000] {
                let found = parts(answer, size);
                let expected = match answer {
                    "" => vec![],
                    answer => vec![text(answer)],
                };
                assert_eq!(found, expected, "{answer:?} by {size}");
            }
        }
    }

    #[test]
    fn text_is_not_held_back_longer_than_it_must_be() {
        let mut calls = Calls::new(vec!["f".to_owned()]);
        assert_eq!(calls.push("Hello"), [text("Hello")]);
        assert_eq!(calls.push(" world <"), [text(" world")]);
        assert_eq!(calls.push("b>"), [text(" <b>")]);
        assert_eq!(calls.push("<tool_call>{\"name\": \"f\"}"), []);
        assert_eq!(calls.push("</tool_call>"), [call("f", "{}")]);
        assert_eq!(calls.finish(), []);
    }
}

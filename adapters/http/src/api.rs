//! The bodies of requests.
//!
//! Unknown fields are ignored. Known fields that would change the answer but are not supported are rejected.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::reply::Failure;

/// The most stop texts of a request. OpenAI takes 4.
const MAX_STOPS: usize = 16;
/// The most alternatives to each token, as in OpenAI's API.
const MAX_TOP_LOGPROBS: u32 = 20;

/// The body of `/v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Whether to report log-probabilities.
    pub logprobs: Option<bool>,
    /// Also report those of this many most probable tokens.
    pub top_logprobs: Option<u32>,
    /// Variables for the chat template.
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// The newer name of `max_tokens`.
    pub max_completion_tokens: Option<u32>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    functions: Option<Value>,
    response_format: Option<Value>,
    /// The fields of both kinds of requests.
    #[serde(flatten)]
    pub common: Common,
}

/// One turn of a conversation.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// The role of the speaker.
    pub role: String,
    content: Option<Content>,
    /// Everything else: `name`, `tool_calls`, `tool_call_id`, `reasoning_content`.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// The form of the arguments in `tool_calls`. OpenAI's clients send text; most chat templates expect what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// As they were sent.
    AsSent,
    /// Text that is a JSON object as that object.
    Parsed,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// The body of `/v1/completions`.
#[derive(Debug, Deserialize)]
pub struct CompletionRequest {
    /// The text to continue.
    pub prompt: Prompt,
    /// Whether to return the prompt in front of its continuation.
    pub echo: Option<bool>,
    logprobs: Option<u32>,
    suffix: Option<String>,
    best_of: Option<u32>,
    /// The fields of both kinds of requests.
    #[serde(flatten)]
    pub common: Common,
}

/// A prompt as text, as tokens, or a list of one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// As text.
    Text(String),
    /// As tokens.
    Tokens(Vec<u32>),
    /// A list of texts, of which there must be one.
    Texts(Vec<String>),
}

/// The fields of both kinds of requests: OpenAI's options, and options of the engine that OpenAI does not have.
#[derive(Debug, Default, Deserialize)]
pub struct Common {
    /// Whether to stream server-sent events instead of one response.
    #[serde(default)]
    pub stream: bool,
    stream_options: Option<StreamOptions>,
    /// The most tokens to generate.
    pub max_tokens: Option<u32>,
    /// 0 always chooses the most probable token.
    pub temperature: Option<f32>,
    /// The probability mass of the tokens that are kept.
    pub top_p: Option<f32>,
    /// The number of tokens that are kept.
    pub top_k: Option<u32>,
    /// The fraction of the best token's probability that a token needs.
    pub min_p: Option<f32>,
    /// Locally typical sampling.
    pub typical_p: Option<f32>,
    /// Divides the logits of recent tokens.
    pub repeat_penalty: Option<f32>,
    /// Subtracted once per occurrence of a recent token.
    pub frequency_penalty: Option<f32>,
    /// Subtracted once from each recent token.
    pub presence_penalty: Option<f32>,
    /// The same seed gives the same answer.
    pub seed: Option<i64>,
    /// Names prompts that may continue each other; for others a secret.
    pub prompt_cache_key: Option<String>,
    stop: Option<Stop>,
    n: Option<u32>,
    logit_bias: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

impl Common {
    /// The texts that end the answer.
    pub fn stop(&self) -> Vec<String> {
        match &self.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text.clone()],
            Some(Stop::Several(texts)) => texts.clone(),
        }
    }

    /// Whether a stream ends with the token counts.
    pub fn include_usage(&self) -> bool {
        let options = self.stream_options.as_ref();
        options.is_some_and(|options| options.include_usage)
    }

    fn check(&self) -> Result<(), Failure> {
        refuse(
            "n",
            self.n.is_some_and(|n| n != 1),
            "1, because there is one answer per request",
        )?;
        let stops = match &self.stop {
            Some(Stop::Several(texts)) => texts.len(),
            _ => 0,
        };
        refuse("stop", stops > MAX_STOPS, "at most 16 texts")?;
        refuse(
            "logit_bias",
            is_set(&self.logit_bias),
            "none, because it is not supported",
        )
    }
}

impl Message {
    /// The message's text.
    ///
    /// # Errors
    /// If it has parts that are not text.
    pub fn text(&self) -> Result<String, Failure> {
        let parts = match &self.content {
            None => return Ok(String::new()),
            Some(Content::Text(text)) => return Ok(text.clone()),
            Some(Content::Parts(parts)) => parts,
        };
        let mut all = String::new();
        for part in parts {
            match &part.text {
                Some(text) if part.kind == "text" => all.push_str(text),
                _ => {
                    let message = format!("expected parts of type `text`, found `{}`", part.kind);
                    return Err(Failure::invalid("messages", message));
                }
            }
        }
        Ok(all)
    }

    /// The other fields, as the text of a JSON object, if there are any.
    pub fn fields(&self, arguments: Arguments) -> Option<String> {
        let mut fields = self.fields.clone();
        fields.retain(|_, value| !value.is_null());
        if arguments == Arguments::Parsed {
            let calls = fields.get_mut("tool_calls").and_then(Value::as_array_mut);
            for call in calls.into_iter().flatten() {
                if let Some(arguments) = call.pointer_mut("/function/arguments") {
                    let object = arguments.as_str().map(serde_json::from_str::<Map<_, _>>);
                    if let Some(Ok(object)) = object {
                        *arguments = Value::Object(object);
                    }
                }
            }
        }
        (!fields.is_empty()).then(|| Value::Object(fields).to_string())
    }

    /// Whether the arguments of a call have two forms.
    pub fn has_arguments_as_text(&self) -> bool {
        self.fields(Arguments::Parsed) != self.fields(Arguments::AsSent)
    }
}

impl ChatRequest {
    /// Parses a body.
    ///
    /// # Errors
    /// If the request is malformed, or uses an unsupported feature.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let request: ChatRequest = parse(body)?;
        request.common.check()?;
        refuse(
            "messages",
            request.messages.is_empty(),
            "at least one message",
        )?;
        let choice = request.tool_choice.as_ref().unwrap_or(&Value::Null);
        refuse(
            "tool_choice",
            !choice.is_null() && choice != "auto" && choice != "none",
            "`auto` or `none`, because the model decides whether it calls a tool",
        )?;
        refuse(
            "parallel_tool_calls",
            request.parallel_tool_calls == Some(false),
            "true, because the model decides how many tools it calls",
        )?;
        refuse(
            "functions",
            is_set(&request.functions),
            "none; use `tools`, their newer form",
        )?;
        refuse(
            "top_logprobs",
            request.top_logprobs > Some(MAX_TOP_LOGPROBS),
            "0 to 20",
        )?;
        let format = request.response_format.as_ref();
        let format = format.and_then(|format| format["type"].as_str());
        let other = format.is_some_and(|format| format != "text");
        refuse("response_format", other, "type `text`")?;
        Ok(request)
    }

    /// The tools that the model may call, as the text of a JSON array, if there are any.
    pub fn tools(&self) -> Option<String> {
        let tools = self.allowed_tools();
        (!tools.is_empty()).then(|| Value::Array(tools.to_vec()).to_string())
    }

    /// The names of these.
    pub fn tool_names(&self) -> Vec<String> {
        let tools = self.allowed_tools().iter();
        let names = tools.filter_map(|tool| tool["function"]["name"].as_str());
        names.map(str::to_owned).collect()
    }

    fn allowed_tools(&self) -> &[Value] {
        match &self.tool_choice {
            Some(choice) if choice == "none" => &[],
            _ => self.tools.as_deref().unwrap_or_default(),
        }
    }

    /// How many most probable tokens to report with each token, if log-probabilities are requested.
    pub fn logprobs(&self) -> Option<u32> {
        let wanted = self.logprobs == Some(true);
        wanted.then(|| self.top_logprobs.unwrap_or(0))
    }
}

impl CompletionRequest {
    /// Parses a body.
    ///
    /// # Errors
    /// If the request is malformed, or uses an unsupported feature.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let request: CompletionRequest = parse(body)?;
        request.common.check()?;
        let several = matches!(&request.prompt, Prompt::Texts(texts) if texts.len() != 1);
        refuse("prompt", several, "one prompt")?;
        let best_of = request.best_of.is_some_and(|n| n != 1);
        refuse(
            "best_of",
            best_of,
            "1, because there is one answer per request",
        )?;
        refuse(
            "suffix",
            request.suffix.is_some(),
            "none, because it is not supported",
        )?;
        let logprobs = request.logprobs.is_some();
        refuse(
            "logprobs",
            logprobs,
            "none; use chat completions for log-probabilities",
        )?;
        Ok(request)
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::invalid(None, format!("cannot parse the request body: {error}")))
}

fn refuse(param: &'static str, condition: bool, expected: &str) -> Result<(), Failure> {
    match condition {
        false => Ok(()),
        true => Err(Failure::invalid(
            param,
            format!("`{param}`: expected {expected}"),
        )),
    }
}

/// Whether a field is present and not empty.
fn is_set(value: &Option<Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(values)) => !values.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_request_is_read() {
        let body = br#"{"model": "any", "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]},
            {"role": "assistant", "content": null}
        ], "stream": true, "stream_options": {"include_usage": true}, "stop": "\n", "seed": 42,
        "temperature": 0, "logprobs": true, "top_logprobs": 2, "tools": [], "user": "someone"}"#;
        let request = ChatRequest::parse(body).expect("a request");
        let texts: Vec<_> = request
            .messages
            .iter()
            .map(|m| m.text().expect("text"))
            .collect();
        assert_eq!(texts, ["Be brief.", "Hello", ""]);
        assert_eq!(request.logprobs(), Some(2));
        let common = request.common;
        assert!(common.stream && common.include_usage());
        assert_eq!(
            (common.stop(), common.seed),
            (vec!["\n".to_owned()], Some(42))
        );
        assert_eq!(common.temperature, Some(0.0));
    }

    /// Everything in its order, and arguments in both forms.
    #[test]
    fn tools_and_calls_are_read() {
        let body = br#"{"messages": [
            {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"z\": 1, \"a\": [2.0]}"}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "no JSON"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"}, {"role": "user", "content": "a"}],
            "tools": [{"type": "function", "function": {"name": "f", "b": 1, "a": 2}}], "tool_choice": "auto"}"#;
        let request = ChatRequest::parse(body).expect("a request");
        let tools = r#"[{"type":"function","function":{"name":"f","b":1,"a":2}}]"#;
        assert_eq!(request.tools().as_deref(), Some(tools));
        assert_eq!(request.tool_names(), ["f"]);
        let fields = |at: usize, form| request.messages[at].fields(form);
        let calls = fields(0, Arguments::Parsed).expect("fields");
        assert!(
            calls.contains(r#""arguments":{"z":1,"a":[2.0]}}"#),
            "{calls}"
        );
        assert!(
            calls.contains(r#""arguments":"no JSON"}"#) && !calls.contains("refusal"),
            "{calls}"
        );
        let calls = fields(0, Arguments::AsSent).expect("fields");
        assert!(calls.contains(r#""arguments":"{\"z\": 1, "#), "{calls}");
        assert_eq!(
            fields(1, Arguments::Parsed).as_deref(),
            Some(r#"{"tool_call_id":"c1"}"#)
        );
        assert_eq!(fields(2, Arguments::Parsed), None);
        let body = br#"{"messages": [{"role": "user"}], "tools": [{}], "tool_choice": "none"}"#;
        let request = ChatRequest::parse(body).expect("a request");
        assert_eq!(request.tools(), None);
        assert!(request.tool_names().is_empty());
    }

    #[test]
    fn a_prompt_is_text_or_tokens() {
        let prompt = |body: &str| CompletionRequest::parse(body.as_bytes()).map(|r| r.prompt);
        assert!(matches!(prompt(r#"{"prompt": "a"}"#), Ok(Prompt::Text(text)) if text == "a"));
        assert!(
            matches!(prompt(r#"{"prompt": ["a"]}"#), Ok(Prompt::Texts(texts)) if texts == ["a"])
        );
        assert!(
            matches!(prompt(r#"{"prompt": [1, 2]}"#), Ok(Prompt::Tokens(ids)) if ids == [1, 2])
        );
    }

    /// CVE-2026-21869: a negative number of tokens to be dropped, which this server has no option for.
    #[test]
    fn negative_numbers_are_not_taken() {
        for field in ["max_tokens", "top_k", "n"] {
            let body = format!(r#"{{"prompt": "a", "{field}": -2}}"#);
            assert!(CompletionRequest::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(CompletionRequest::parse(br#"{"prompt": "a", "n_discard": -2}"#).is_ok());
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        for (body, param) in [
            (r#"{"messages": []}"#, "messages"),
            (
                r#"{"messages": [{"role": "user", "content": "a"}], "n": 2}"#,
                "n",
            ),
            (
                r#"{"messages": [{"role": "user"}], "tools": [{}], "tool_choice": "required"}"#,
                "tool_choice",
            ),
            (
                r#"{"messages": [{"role": "user"}], "tools": [{}], "parallel_tool_calls": false}"#,
                "parallel_tool_calls",
            ),
            (
                r#"{"messages": [{"role": "user"}], "functions": [{}]}"#,
                "functions",
            ),
            (
                r#"{"messages": [{"role": "user"}], "response_format": {"type": "json_object"}}"#,
                "response_format",
            ),
            (
                r#"{"messages": [{"role": "user"}], "logprobs": true, "top_logprobs": 21}"#,
                "top_logprobs",
            ),
            (
                r#"{"messages": [{"role": "user"}], "stop": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}"#,
                "stop",
            ),
        ] {
            let failure = ChatRequest::parse(body.as_bytes()).expect_err(param);
            assert_eq!(
                (failure.status, failure.param),
                (400, Some(param)),
                "{body}"
            );
        }
        for (body, param) in [
            (r#"{"prompt": ["a", "b"]}"#, Some("prompt")),
            (r#"{"prompt": "a", "logprobs": 1}"#, Some("logprobs")),
            (r#"{"prompt": "a""#, None),
            (r#"{}"#, None),
        ] {
            let failure = CompletionRequest::parse(body.as_bytes()).expect_err(body);
            assert_eq!((failure.status, failure.param), (400, param), "{body}");
        }
    }
}

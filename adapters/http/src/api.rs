//! What is asked for: the bodies of requests.
//!
//! Fields that are not known do not matter. Those that would change the answer, and are not offered, are refused.

use serde::Deserialize;
use serde_json::Value;

use crate::reply::Failure;

/// The body of `/v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Whether log-probabilities are wanted.
    pub logprobs: Option<bool>,
    /// And those of this many best tokens.
    pub top_logprobs: Option<u32>,
    /// The newer name of `max_tokens`.
    pub max_completion_tokens: Option<u32>,
    tools: Option<Value>,
    functions: Option<Value>,
    response_format: Option<Value>,
    /// What both kinds of requests have.
    #[serde(flatten)]
    pub common: Common,
}

/// One turn of a conversation.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: String,
    content: Option<Content>,
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
    /// What is to be continued.
    pub prompt: Prompt,
    /// Whether the prompt comes back in front of its continuation.
    pub echo: Option<bool>,
    logprobs: Option<u32>,
    suffix: Option<String>,
    best_of: Option<u32>,
    /// What both kinds of requests have.
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

/// What both kinds of requests have: OpenAI's options, and the engine's that OpenAI has not.
#[derive(Debug, Default, Deserialize)]
pub struct Common {
    /// Server-sent events instead of one answer.
    #[serde(default)]
    pub stream: bool,
    stream_options: Option<StreamOptions>,
    /// At most this many tokens.
    pub max_tokens: Option<u32>,
    /// 0 takes the most probable token.
    pub temperature: Option<f32>,
    /// The mass of tokens that are kept.
    pub top_p: Option<f32>,
    /// The number of tokens that are kept.
    pub top_k: Option<u32>,
    /// The share of the best token's probability that a token needs.
    pub min_p: Option<f32>,
    /// Locally typical sampling.
    pub typical_p: Option<f32>,
    /// Divides the logits of recent tokens.
    pub repeat_penalty: Option<f32>,
    /// Subtracted once per occurrence.
    pub frequency_penalty: Option<f32>,
    /// Subtracted once.
    pub presence_penalty: Option<f32>,
    /// The same seed, the same answer.
    pub seed: Option<i64>,
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

    /// Whether a stream ends with what was used.
    pub fn include_usage(&self) -> bool {
        let options = self.stream_options.as_ref();
        options.is_some_and(|options| options.include_usage)
    }

    fn check(&self) -> Result<(), Failure> {
        refuse("n", self.n.is_some_and(|n| n != 1), "one answer at a time")?;
        refuse("logit_bias", is_set(&self.logit_bias), "no bias")
    }
}

impl Message {
    /// Its text.
    ///
    /// # Errors
    /// If it has parts that are no text.
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
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// If it is no such request, or asks for what is not offered.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let request: ChatRequest = parse(body)?;
        request.common.check()?;
        refuse(
            "messages",
            request.messages.is_empty(),
            "at least one message",
        )?;
        refuse("tools", is_set(&request.tools), "no tools")?;
        refuse("functions", is_set(&request.functions), "no functions")?;
        let format = request.response_format.as_ref();
        let format = format.and_then(|format| format["type"].as_str());
        let other = format.is_some_and(|format| format != "text");
        refuse("response_format", other, "the format `text`")?;
        Ok(request)
    }

    /// How many best tokens are reported with each, if log-probabilities are wanted.
    pub fn logprobs(&self) -> Option<u32> {
        let wanted = self.logprobs == Some(true);
        wanted.then(|| self.top_logprobs.unwrap_or(0))
    }
}

impl CompletionRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// If it is no such request, or asks for what is not offered.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let request: CompletionRequest = parse(body)?;
        request.common.check()?;
        let several = matches!(&request.prompt, Prompt::Texts(texts) if texts.len() != 1);
        refuse("prompt", several, "one prompt")?;
        let best_of = request.best_of.is_some_and(|n| n != 1);
        refuse("best_of", best_of, "one answer at a time")?;
        refuse("suffix", request.suffix.is_some(), "no suffix")?;
        let logprobs = request.logprobs.is_some();
        refuse("logprobs", logprobs, "none; chat completions have them")?;
        Ok(request)
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::invalid(None, format!("the body is no such request: {error}")))
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

/// Whether a field is there and is not empty.
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

    #[test]
    fn what_is_not_offered_is_refused() {
        for (body, param) in [
            (r#"{"messages": []}"#, "messages"),
            (
                r#"{"messages": [{"role": "user", "content": "a"}], "n": 2}"#,
                "n",
            ),
            (
                r#"{"messages": [{"role": "user"}], "tools": [{}]}"#,
                "tools",
            ),
            (
                r#"{"messages": [{"role": "user"}], "response_format": {"type": "json_object"}}"#,
                "response_format",
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

//! The responses: the JSON of answers, of the pieces of a stream, and of errors.

use serde_json::{Value, json};

use crate::calls::Call;

/// How long an answer may take that others wait for, in seconds.
const RETRY_AFTER: u32 = 5;

/// Why a request failed, in OpenAI's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The response's status code.
    pub status: u16,
    /// OpenAI's name for the type of error.
    pub kind: &'static str,
    /// The error code, for programs.
    pub code: Option<&'static str>,
    /// The field of the request that is at fault.
    pub param: Option<&'static str>,
    /// The message, for people.
    pub message: String,
    /// The seconds after which the same request may succeed.
    pub retry_after: Option<u32>,
}

impl Failure {
    /// A mistake of the caller, with status 400.
    pub fn invalid(param: impl Into<Option<&'static str>>, message: impl Into<String>) -> Self {
        Failure {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            param: param.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// A mistake of the caller, with a status and an error code.
    pub fn status(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Failure {
            status,
            code: Some(code),
            ..Failure::invalid(None, message)
        }
    }

    /// A failure of the server.
    pub fn server(status: u16, message: impl Into<String>) -> Self {
        Failure {
            status,
            kind: "server_error",
            ..Failure::invalid(None, message)
        }
    }

    /// A failure of the server, which is too busy at the moment.
    pub fn busy(message: impl Into<String>) -> Self {
        Failure {
            retry_after: Some(RETRY_AFTER),
            ..Failure::server(503, message)
        }
    }

    /// The response body.
    pub fn json(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

/// Which of the two APIs is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completion,
}

/// The fields that all parts of one answer share.
#[derive(Debug)]
pub struct Head {
    /// The API.
    pub kind: Kind,
    /// A unique identifier of the answer.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
}

/// The token counts.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Tokens in the prompt.
    pub prompt: usize,
    /// Tokens of the prompt that were still in the session from the previous request of the same owner.
    pub cached: usize,
    /// Tokens generated.
    pub completion: usize,
}

impl Head {
    /// The whole answer in one piece. `calls` are those of tools, as [`call`] gives them.
    pub fn whole(
        &self,
        text: &str,
        calls: Vec<Value>,
        logprobs: Option<Vec<Value>>,
        finish: &str,
        usage: Usage,
    ) -> Value {
        let choice = match self.kind {
            Kind::Chat => json!({
                "index": 0,
                "message": message(text, calls),
                "logprobs": logprobs.map(|content| json!({"content": content})),
                "finish_reason": finish,
            }),
            Kind::Completion => json!({
                "index": 0,
                "text": text,
                "logprobs": null,
                "finish_reason": finish,
            }),
        };
        let object = match self.kind {
            Kind::Chat => "chat.completion",
            Kind::Completion => "text_completion",
        };
        self.object(object, json!([choice]), usage.json())
    }

    /// The first piece of a stream, with the role, if the API has one.
    pub fn first(&self) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        (self.kind == Kind::Chat).then(|| self.chunk(delta, Value::Null, Value::Null))
    }

    /// A piece of text.
    pub fn piece(&self, text: &str, logprobs: Option<Vec<Value>>) -> Value {
        let logprobs = logprobs
            .map(|content| json!({"content": content}))
            .unwrap_or_default();
        self.chunk(json!({"content": text}), logprobs, Value::Null)
    }

    /// A call of a tool, as [`call`] gives it: the one with this number in the answer.
    pub fn called(&self, number: usize, mut call: Value) -> Value {
        call["index"] = number.into();
        self.chunk(json!({"tool_calls": [call]}), Value::Null, Value::Null)
    }

    /// The last piece, with the reason why the answer ended.
    pub fn last(&self, finish: &str) -> Value {
        self.chunk(json!({}), Value::Null, json!(finish))
    }

    /// The piece with the token counts, after the last one.
    pub fn usage(&self, usage: Usage) -> Value {
        self.object(self.chunk_object(), json!([]), usage.json())
    }

    fn chunk(&self, delta: Value, logprobs: Value, finish: Value) -> Value {
        let choice = match self.kind {
            Kind::Chat => json!({
                "index": 0,
                "delta": delta,
                "logprobs": logprobs,
                "finish_reason": finish,
            }),
            Kind::Completion => json!({
                "index": 0,
                "text": delta["content"].as_str().unwrap_or_default(),
                "logprobs": logprobs,
                "finish_reason": finish,
            }),
        };
        self.object(self.chunk_object(), json!([choice]), Value::Null)
    }

    fn chunk_object(&self) -> &'static str {
        match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        }
    }

    fn object(&self, object: &str, choices: Value, usage: Value) -> Value {
        let mut value = json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if !usage.is_null() {
            value["usage"] = usage;
        }
        value
    }
}

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }
}

/// The message of an answer.
fn message(text: &str, calls: Vec<Value>) -> Value {
    match calls.is_empty() {
        true => json!({"role": "assistant", "content": text}),
        false => {
            let content = Some(text).filter(|text| !text.is_empty());
            json!({"role": "assistant", "content": content, "tool_calls": calls})
        }
    }
}

/// A call of a tool with an identifier of its own. Its arguments are text, as in OpenAI's API.
pub fn call(id: &str, call: &Call) -> Value {
    let arguments = Value::Object(call.arguments.clone()).to_string();
    json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
}

/// A token and its log-probability, as chat completions report it.
pub fn logprob(bytes: &[u8], logprob: f32) -> Value {
    json!({
        "token": String::from_utf8_lossy(bytes),
        "logprob": logprob,
        "bytes": bytes,
    })
}

/// A model in the list of models.
pub fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": "gust"})
}

/// An event of a stream.
pub fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// The end of a stream.
pub const DONE: &str = "data: [DONE]\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: Kind) -> Head {
        Head {
            kind,
            id: "x-1".to_owned(),
            created: 7,
            model: "m".to_owned(),
        }
    }

    const USAGE: Usage = Usage {
        prompt: 3,
        cached: 1,
        completion: 2,
    };

    /// The formats match OpenAI's reference.
    #[test]
    fn answers_have_the_shape_of_the_reference() {
        let chat = head(Kind::Chat).whole("Hi", vec![], None, "stop", USAGE);
        assert_eq!(chat["object"], "chat.completion");
        assert_eq!(
            chat["choices"][0]["message"],
            json!({"role": "assistant", "content": "Hi"})
        );
        assert_eq!(chat["choices"][0]["finish_reason"], "stop");
        assert_eq!(chat["usage"]["total_tokens"], 5);
        let completion = head(Kind::Completion).whole("Hi", vec![], None, "length", USAGE);
        assert_eq!(completion["object"], "text_completion");
        assert_eq!(completion["choices"][0]["text"], "Hi");
    }

    #[test]
    fn calls_have_the_shape_of_the_reference() {
        let arguments = serde_json::from_str(r#"{"z": 1, "a": "\"b\""}"#).expect("an object");
        let name = "f".to_owned();
        let call = call("c1", &Call { name, arguments });
        let expected = json!({"id": "c1", "type": "function", "function":
            {"name": "f", "arguments": "{\"z\":1,\"a\":\"\\\"b\\\"\"}"}});
        assert_eq!(call, expected);
        let chat = head(Kind::Chat);
        let whole = chat.whole("", vec![call.clone()], None, "tool_calls", USAGE);
        let message = &whole["choices"][0]["message"];
        assert!(message["content"].is_null() && message["tool_calls"] == json!([expected]));
        let piece = chat.called(3, call);
        let delta = &piece["choices"][0]["delta"]["tool_calls"][0];
        assert_eq!((&delta["index"], &delta["id"]), (&json!(3), &json!("c1")));
    }

    #[test]
    fn pieces_of_a_stream_have_the_shape_of_the_reference() {
        let chat = head(Kind::Chat);
        let first = chat.first().expect("chats have one");
        assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
        let piece = chat.piece("Hi", None);
        assert_eq!(piece["object"], "chat.completion.chunk");
        assert_eq!(piece["choices"][0]["delta"], json!({"content": "Hi"}));
        assert!(piece["choices"][0]["finish_reason"].is_null() && piece.get("usage").is_none());
        let last = chat.last("stop");
        assert_eq!(last["choices"][0]["delta"], json!({}));
        assert_eq!(last["choices"][0]["finish_reason"], "stop");
        let usage = chat.usage(USAGE);
        assert_eq!(
            (&usage["choices"], &usage["usage"]["prompt_tokens"]),
            (&json!([]), &json!(3))
        );

        let completion = head(Kind::Completion);
        assert!(completion.first().is_none());
        assert_eq!(completion.piece("Hi", None)["choices"][0]["text"], "Hi");
        assert_eq!(completion.last("stop")["choices"][0]["text"], "");
    }

    /// A line break in the data would end the event early.
    #[test]
    fn an_event_is_one_line_of_data() {
        let text = event(&json!({"content": "a\n\nb"}));
        assert_eq!(text, "data: {\"content\":\"a\\n\\nb\"}\n\n");
    }
}

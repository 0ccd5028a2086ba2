//! `gust-http.wasm` in a stock Wasmtime with its own `wasi:http`: OpenAI's API, whole and streamed.

use std::thread;

use crate::helpers::stock::{MODEL, Stock, compiled, composed};
use crate::helpers::{Parrot, ParrotFile, gust};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::bindings::sync::Proxy;
use wasmtime_wasi_http::{
    Error, RequestOptions, Result, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

/// An instance that serves one request after another, as `wasmtime serve` does with instance reuse.
struct Server {
    store: Store<State>,
    proxy: Proxy,
}

struct State {
    stock: Stock,
    http: WasiHttpCtx,
    hooks: NoRequests,
}

/// The context size of a session in tokens: smaller than some of the answers need.
const CONTEXT: u32 = 128;

/// The server makes no requests of its own.
struct NoRequests;

type Sent = Box<dyn Future<Output = Result<()>> + Send>;

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sent,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Sent)>> + Send> {
        let refused = std::io::ErrorKind::Unsupported;
        Box::new(std::future::ready(Err(Error::Connect(refused.into()))))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.stock.ctx()
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.stock.table,
            hooks: &mut self.hooks,
        }
    }
}

impl Server {
    /// One server for each of `environments`; the component is compiled once.
    fn start<const N: usize>(environments: [&[(&str, &str)]; N]) -> [Server; N] {
        Self::start_with(&[], environments)
    }

    /// With these middlewares in between, innermost first.
    fn start_with<const N: usize>(
        middlewares: &[&str],
        environments: [&[(&str, &str)]; N],
    ) -> [Server; N] {
        let (component, mut linker) = compiled(&composed(middlewares, Some("http")));
        wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker).expect("wasi:http");
        environments.map(|variables| {
            let state = State {
                stock: Stock::new(&[], variables),
                http: WasiHttpCtx::new(),
                hooks: NoRequests,
            };
            let mut store = Store::new(component.engine(), state);
            let proxy = Proxy::instantiate(&mut store, &component, &linker).expect("an instance");
            Server { store, proxy }
        })
    }

    /// The status, the type and the body of the answer.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let (status, headers, body) = self.send(method, path, &[JSON], body);
        (status, header(&headers, "content-type").to_owned(), body)
    }

    /// The status, the headers and the body of the answer to a request with these headers.
    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, HeaderMap, String) {
        let answer = self.exchange(method, path, headers, body, |response| {
            let (head, body) = response.into_parts();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            let body = runtime.block_on(body.collect()).expect("a body").to_bytes();
            let body = String::from_utf8(body.to_vec()).expect("UTF-8");
            (head.status.as_u16(), head.headers, body)
        });
        answer.expect("an answer")
    }

    /// What `read` makes of the response. Without a host of its own, the request is for `localhost`.
    fn exchange<T: Send + 'static>(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        read: impl FnOnce(Response<WasiBody>) -> T + Send + 'static,
    ) -> thread::Result<T> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .expect("a request");
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut http = self.store.data_mut().http();
        let request = http
            .new_incoming_request(Scheme::Http, request)
            .expect("a request");
        let out = http.new_response_outparam(sender).expect("a response");
        // The answer is read while it is written.
        let reader =
            thread::spawn(|| read(receiver.blocking_recv().expect("sent").expect("no error")));
        let handler = self.proxy.wasi_http_incoming_handler();
        handler
            .call_handle(&mut self.store, request, out)
            .expect("no trap");
        reader.join()
    }

    fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let (status, kind, body) = self.ask("POST", path, &body.to_string());
        assert_eq!(kind, "application/json", "{body}");
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// The data of the events, without the last one, which marks the end.
    fn stream(&mut self, path: &str, body: &Value) -> Vec<Value> {
        let (status, kind, body) = self.ask("POST", path, &body.to_string());
        assert_eq!(
            (status, kind.as_str()),
            (200, "text/event-stream"),
            "{body}"
        );
        let events = body.strip_suffix("\n\n").expect("an end").split("\n\n");
        let mut events: Vec<_> = events
            .map(|event| event.strip_prefix("data: ").expect("an event"))
            .collect();
        assert_eq!(events.pop(), Some("[DONE]"));
        let parse = |event| serde_json::from_str(event).expect("JSON");
        events.into_iter().map(parse).collect()
    }
}

/// What a body must be.
const JSON: (&str, &str) = ("content-type", "application/json");

/// The value of a header, or nothing.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).map(|value| value.to_str().expect("text"));
    value.unwrap_or_default()
}

fn text(events: &[Value]) -> String {
    let of = |event: &Value| {
        let choice = &event["choices"][0];
        let text = choice["delta"]["content"]
            .as_str()
            .or(choice["text"].as_str());
        text.unwrap_or_default().to_owned()
    };
    events.iter().map(of).collect()
}

#[test]
fn it_speaks_openais_api() {
    let context = CONTEXT.to_string();
    let environment: &[(&str, &str)] = &[("GUST_MODEL", MODEL), ("GUST_CONTEXT", &context)];
    let missing: &[(&str, &str)] = &[("GUST_MODEL", "models/none.gguf")];
    let thinking: &[(&str, &str)] = &[
        ("GUST_MODEL", MODEL),
        ("GUST_CHAT_TEMPLATE", "templates/thinking.jinja"),
        ("GUST_CHAT_TEMPLATE_KWARGS", r#"{"enable_thinking": true}"#),
    ];
    let parrots = [
        // In pieces, and with text before it.
        parrot(
            "!",
            &[
                ("Wait.\n<tool_", false),
                ("call>{\"name\": ", false),
                (CALLED, false),
                ("</tool_call>", false),
            ],
        ),
        // A control token has no text of its own. No word may be one of the prompt.
        parrot(
            "\n",
            &[
                ("[TOOL_CALLS]", true),
                ("[{\"name\": ", false),
                (CALLED, false),
                ("]\n", false),
            ],
        ),
    ];
    let names = parrots.each_ref().map(|file| {
        let name = file.as_ref().file_name().expect("a name");
        format!("temporary/{}", name.to_string_lossy())
    });
    let [hermes, mistral] = names.each_ref().map(|name| [("GUST_MODEL", name.as_str())]);
    let [
        mut server,
        mut unconfigured,
        mut without_model,
        mut thinking,
        hermes,
        mistral,
    ] = Server::start([environment, &[], missing, thinking, &hermes, &mistral]);

    completions(&mut server);
    chats(&mut server);
    names_of_control_tokens(&mut server);
    models_and_errors(&mut server);
    variables(&mut thinking);
    tools(&mut thinking);
    calls(hermes, "Wait.", "!");
    calls(mistral, "", "");
    tools_without_a_place(&mut server);

    let (status, answer) = unconfigured.post("/v1/completions", &json!({"prompt": "Once"}));
    assert_eq!(
        (status, &answer["error"]["type"]),
        (503, &json!("server_error"))
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("GUST_MODEL"))
    );
    let (status, answer) = without_model.post("/v1/completions", &json!({"prompt": "Once"}));
    assert_eq!(status, 503, "{answer}");
}

/// The tokens of `gust run`, whole and streamed, and again from a cached context.
fn completions(server: &mut Server) {
    let expected = gust([
        "run",
        "-n",
        "40",
        "--seed",
        "42",
        "--no-echo",
        "Once upon a time",
    ])
    .run()
    .success();
    let expected = expected.trim_end_matches('\n');
    let mut body = json!({
        "model": "any", "prompt": "Once upon a time", "max_tokens": 40, "seed": 42,
        "prompt_cache_key": "a secret",
    });
    let mut cached = Vec::new();
    for _ in 0..2 {
        let (status, answer) = server.post("/v1/completions", &body);
        assert_eq!(
            (status, &answer["object"]),
            (200, &json!("text_completion")),
            "{answer}"
        );
        let choice = &answer["choices"][0];
        assert_eq!(
            choice["text"]
                .as_str()
                .map(|text| text.trim_end_matches('\n')),
            Some(expected)
        );
        assert_eq!(choice["finish_reason"], "length");
        assert_eq!(answer["usage"]["completion_tokens"], 40);
        cached.push(answer["usage"]["prompt_tokens_details"]["cached_tokens"].clone());
    }
    assert!(cached[0] == 0 && cached[1].as_u64() > Some(0), "{cached:?}");

    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let events = server.stream("/v1/completions", &body);
    assert_eq!(text(&events).trim_end_matches('\n'), expected);
    assert_eq!(
        events
            .last()
            .map(|event| &event["usage"]["completion_tokens"]),
        Some(&json!(40))
    );

    // If the context fills up before the end, the reason is also `length`, whole and streamed.
    body["ignored"] = "by everyone".into();
    body["max_tokens"] = 1000.into();
    let events = server.stream("/v1/completions", &body);
    let reasons: Vec<_> = events
        .iter()
        .filter_map(|event| event["choices"][0]["finish_reason"].as_str())
        .collect();
    let usage = &events.last().expect("events")["usage"];
    let full = usage["total_tokens"] == CONTEXT;
    assert_eq!(reasons, [if full { "length" } else { "stop" }]);
    body["stream"] = false.into();
    let (_, answer) = server.post("/v1/completions", &body);
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], reasons[0]);
    assert_eq!(choice["text"].as_str(), Some(text(&events).as_str()));
}

fn chats(server: &mut Server) {
    let body = json!({
        "messages": [{"role": "user", "content": "Tell me a story."}],
        "max_tokens": 12, "temperature": 0, "logprobs": true, "top_logprobs": 2,
    });
    let (status, whole) = server.post("/v1/chat/completions", &body);
    assert_eq!(status, 200, "{whole}");
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["role"], "assistant");
    let content = whole["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("log-probabilities");
    assert!(!content.is_empty() && content.len() <= 12);
    for token in content {
        let top = &token["top_logprobs"];
        assert_eq!(top.as_array().map(Vec::len), Some(2));
        // Greedy: the token is the best of them.
        assert_eq!(
            (&top[0]["token"], &top[0]["logprob"]),
            (&token["token"], &token["logprob"])
        );
    }

    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let events = server.stream("/v1/chat/completions", &streamed);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(Some(text(&events).as_str()), message["content"].as_str());
    let last = events.last().expect("events");
    assert_eq!(
        last["choices"][0]["finish_reason"],
        whole["choices"][0]["finish_reason"]
    );
}

/// What a message says is text, whatever it is the name of. A template that leaves a message out is an error.
fn names_of_control_tokens(server: &mut Server) {
    let ask = |server: &mut Server, role: &str, content: &str| {
        let body = json!({
            "messages": [{"role": "user", "content": "Hi"}, {"role": role, "content": content}],
            "max_tokens": 2, "temperature": 0,
        });
        server.post("/v1/chat/completions", &body)
    };
    let (status, plain) = ask(server, "user", "It costs");
    assert_eq!(status, 200, "{plain}");
    let (status, named) = ask(server, "user", "It costs <s>9</s>");
    assert_eq!(status, 200, "{named}");
    let tokens = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().expect("a number");
    // More than the two that the names would be.
    assert!(tokens(&named) > tokens(&plain) + 3, "{plain} {named}");
    let (status, dropped) = ask(server, "critic", "It is bad");
    assert_eq!(status, 400, "{dropped}");
    let message = dropped["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`critic`"), "{message}");
}

/// The template has the server's variables, and those of a request override them.
fn variables(server: &mut Server) {
    let mut ask = |variables: Value| {
        let body = json!({
            "messages": [{"role": "user", "content": "Once"}],
            "max_tokens": 1, "temperature": 0, "chat_template_kwargs": variables,
        });
        server.post("/v1/chat/completions", &body)
    };
    let mut tokens = |variables: Value| {
        let (status, answer) = ask(variables);
        assert_eq!(status, 200, "{answer}");
        answer["usage"]["prompt_tokens"].as_u64().expect("a number")
    };
    let thinking = tokens(Value::Null);
    assert_eq!(tokens(json!({"enable_thinking": true})), thinking);
    assert_eq!(tokens(json!({"other": [1]})), thinking);
    let brief = tokens(json!({"enable_thinking": false}));
    assert!(brief + 2 < thinking, "{brief} {thinking}");
    for (variables, words) in [
        (json!([1]), "parse"),
        (json!({"tools": []}), "`tools`"),
        (json!({"eos_token": "x"}), "`eos_token`"),
    ] {
        let (status, answer) = ask(variables);
        assert_eq!(status, 400, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{message}");
    }
}

/// The end of a call.
const CALLED: &str = "\"weather\", \"arguments\": {\"city\": \"Paris\"}}";

/// A model that says this.
fn parrot(text: &str, words: &[(&'static str, bool)]) -> ParrotFile {
    let mut parrot = Parrot::new(text);
    parrot.ends = true;
    parrot.words = words.to_vec();
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools }}";
    parrot.chat_template = Some(template.to_owned());
    parrot.file()
}

/// A call of one of the request's tools comes back as one, whole and streamed; of any other tool, it is text.
fn calls(mut server: Server, before: &str, after: &str) {
    let body = |name: &str, more: Value| {
        let mut body = json!({
            "messages": [{"role": "user", "content": "Hi"}], "temperature": 0,
            "tools": [{"type": "function", "function": {"name": name}}],
        });
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    };
    let (status, whole) = server.post("/v1/chat/completions", &body("weather", json!({})));
    assert_eq!(status, 200, "{whole}");
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{whole}");
    let content = choice["message"]["content"].as_str().unwrap_or_default();
    assert_eq!(content, format!("{before}{after}"), "{whole}");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["type"], "function");
    assert_eq!(call["id"].as_str().map(str::len), Some(9));
    let function = json!({"name": "weather", "arguments": "{\"city\":\"Paris\"}"});
    assert_eq!(call["function"], function);

    let streamed = json!({"stream": true, "logprobs": true});
    let events = server.stream("/v1/chat/completions", &body("weather", streamed));
    assert_eq!(text(&events), content);
    let calls = events.iter().filter_map(|event| {
        let calls = event["choices"][0]["delta"]["tool_calls"].as_array()?;
        Some(calls[0].clone())
    });
    let calls: Vec<_> = calls.collect();
    assert_eq!(calls.len(), 1, "{events:?}");
    assert_eq!(
        (&calls[0]["index"], &calls[0]["function"]),
        (&json!(0), &function)
    );
    let reported = events.iter().filter_map(|event| {
        let reported = event["choices"][0]["logprobs"]["content"].as_array();
        reported.map(Vec::len)
    });
    assert_eq!(reported.sum::<usize>(), whole["usage"]["completion_tokens"]);
    let last = events.last().expect("events");
    assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");

    for (name, more) in [
        ("other", json!({})),
        ("weather", json!({"tool_choice": "none"})),
    ] {
        let (status, whole) = server.post("/v1/chat/completions", &body(name, more));
        assert_eq!(status, 200, "{whole}");
        let choice = &whole["choices"][0];
        assert_eq!(choice["finish_reason"], "stop");
        let text = choice["message"]["content"].as_str().unwrap_or_default();
        assert!(text.contains(CALLED), "{whole}");
    }
}

/// Tools, and calls whose arguments are text, reach the template as it expects them.
fn tools(server: &mut Server) {
    let mut tokens = |more: Value| {
        let call = json!({"id": "1", "type": "function",
            "function": {"name": "weather", "arguments": "{\"city\": \"Paris by the sea\"}"}});
        let mut body = json!({
            "messages": [
                {"role": "user", "content": "Once"},
                {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "1", "content": "upon"},
            ],
            "max_tokens": 1, "temperature": 0,
        });
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let (status, answer) = server.post("/v1/chat/completions", &body);
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        let tokens = answer["usage"]["prompt_tokens"].as_u64();
        (status, tokens.unwrap_or_default(), message.to_owned())
    };
    let (status, without, message) = tokens(json!({}));
    assert_eq!(status, 200, "{message}");
    let none = json!([{"role": "user", "content": "Once"}, {"role": "assistant", "content": null},
        {"role": "tool", "content": "upon"}]);
    let (_, no_call, message) = tokens(json!({ "messages": none }));
    assert!(no_call + 2 < without, "{no_call} {without} {message}");
    let weather = json!([{"type": "function", "function": {"name": "weather"}}]);
    let (_, with, message) = tokens(json!({ "tools": weather }));
    assert!(without + 10 < with, "{without} {with} {message}");
    let forbidden = json!({ "tools": weather, "tool_choice": "none" });
    assert_eq!(tokens(forbidden).1, without);
    let (status, _, message) = tokens(json!({ "tools": weather, "tool_choice": "required" }));
    assert!(
        status == 400 && message.contains("tool_choice"),
        "{message}"
    );
}

/// Nobody calls a tool that the template does not tell of.
fn tools_without_a_place(server: &mut Server) {
    let body =
        json!({"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function"}]});
    let (status, answer) = server.post("/v1/chat/completions", &body);
    assert_eq!(status, 400, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("leaves them out"), "{message}");
}

fn models_and_errors(server: &mut Server) {
    let (status, _, list) = server.ask("GET", "/v1/models", "");
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(
        (status, &list["data"][0]["id"]),
        (200, &json!("gust-stories-q8_0"))
    );
    assert_eq!(server.ask("GET", "/v1/models/gust-stories-q8_0", "").0, 200);
    let (status, _, health) = server.ask("GET", "/health?verbose", "");
    assert!(
        status == 200 && health.contains("\"loaded\":true"),
        "{health}"
    );

    let long = json!({"prompt": "word ".repeat(400)}).to_string();
    let huge = json!({"prompt": "word ".repeat(4 << 20)}).to_string();
    for (method, path, body, status, word) in [
        ("GET", "/v1/nothing", "", 404, "not_found"),
        ("GET", "/v1/models/other", "", 404, "model_not_found"),
        ("GET", "/v1/completions", "", 405, "method_not_allowed"),
        ("POST", "/v1/completions", "{", 400, "invalid_request_error"),
        (
            "POST",
            "/v1/completions",
            r#"{"prompt": "a", "temperature": -1}"#,
            400,
            "temperature",
        ),
        (
            "POST",
            "/v1/chat/completions",
            r#"{"messages": [], "stream": true}"#,
            400,
            "messages",
        ),
        (
            "POST",
            "/v1/completions",
            &long,
            400,
            "context_length_exceeded",
        ),
        ("POST", "/v1/completions", &huge, 413, "body_too_long"),
        ("OPTIONS", "/v1/completions", "", 405, "method_not_allowed"),
        (
            "POST",
            "/v1/chat/completions",
            r#"{"messages": [{"role": "user"}], "logprobs": true, "top_logprobs": 21}"#,
            400,
            "top_logprobs",
        ),
    ] {
        let (found, kind, answer) = server.ask(method, path, body);
        assert_eq!(
            (found, kind.as_str()),
            (status, "application/json"),
            "{path}: {answer}"
        );
        let error: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(
            error["error"]["message"].is_string() && answer.contains(word),
            "{answer}"
        );
    }
}

/// Nothing that a page from elsewhere, or under a name that is not the server's, can send is answered.
#[test]
fn pages_from_elsewhere_are_refused() {
    let allowing: &[(&str, &str)] = &[
        ("GUST_MODEL", MODEL),
        ("GUST_HOSTS", "llm.example.com"),
        ("GUST_ORIGINS", "https://page.example"),
    ];
    let [mut server, mut allowing, mut wrong] = Server::start([
        &[("GUST_MODEL", MODEL)],
        allowing,
        &[("GUST_MODEL", MODEL), ("GUST_CACHE", "all")],
    ]);
    let path = "/v1/completions";
    let body = json!({"prompt": "Once upon a time", "max_tokens": 2}).to_string();
    let own = ("origin", "http://localhost");
    let page = ("origin", "https://page.example");
    let long = "x".repeat(70_000);
    for (headers, status, word) in [
        (vec![JSON], 200, "text_completion"),
        (vec![JSON, own], 200, "text_completion"),
        (vec![JSON, page], 403, "GUST_ORIGINS"),
        (vec![JSON, ("origin", "null")], 403, "GUST_ORIGINS"),
        (vec![JSON, ("host", "evil.example")], 403, "GUST_HOSTS"),
        (vec![JSON, ("cookie", &long)], 431, "headers"),
        (vec![("content-type", "text/plain")], 415, "content-type"),
        (vec![], 415, "content-type"),
    ] {
        let (found, got, answer) = server.send("POST", path, &headers, &body);
        assert_eq!(found, status, "{answer}");
        assert!(answer.contains(word), "{answer}");
        assert!(!got.contains_key("access-control-allow-origin"));
    }
    let preflight = |server: &mut Server| {
        let asks = ("access-control-request-method", "POST");
        server.send("OPTIONS", path, &[page, asks], "")
    };
    let (status, headers, _) = preflight(&mut server);
    assert_eq!(status, 403);
    assert!(!headers.contains_key("access-control-allow-origin"));

    let (status, headers, answer) = preflight(&mut allowing);
    assert_eq!((status, answer.as_str()), (204, ""));
    let says = |name| header(&headers, name);
    assert_eq!(says("access-control-allow-origin"), page.1);
    assert_eq!(says("access-control-allow-methods"), "GET, POST");
    assert_eq!(says("access-control-allow-headers"), "*, authorization");
    for (body, status) in [(body.as_str(), 200), ("{}", 400)] {
        let named = ("host", "llm.example.com:443");
        let (found, headers, answer) = allowing.send("POST", path, &[JSON, page, named], body);
        assert_eq!(found, status, "{answer}");
        assert_eq!(header(&headers, "access-control-allow-origin"), page.1);
        assert_eq!(header(&headers, "vary"), "origin");
    }

    let (status, _, answer) = wrong.send("POST", path, &[JSON], &body);
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("GUST_CACHE"), "{answer}");
}

/// How much of a prompt was in the session already tells what somebody else's prompt was.
#[test]
fn nobody_continues_the_prompt_of_somebody_else() {
    let shared: &[(&str, &str)] = &[("GUST_MODEL", MODEL), ("GUST_CACHE", "shared")];
    let [mut server, mut shared] = Server::start([&[("GUST_MODEL", MODEL)], shared]);
    let cached = |server: &mut Server, authorization: Option<&str>, key: Option<&str>| {
        let mut body = json!({"prompt": "The secret is a dragon", "max_tokens": 1});
        if let Some(key) = key {
            body["prompt_cache_key"] = key.into();
        }
        let mut headers = vec![JSON];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let (status, _, answer) =
            server.send("POST", "/v1/completions", &headers, &body.to_string());
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let found = &answer["usage"]["prompt_tokens_details"]["cached_tokens"];
        found.as_u64().expect("a number")
    };
    let (a, b) = (Some("Bearer a"), Some("Bearer b"));
    for (authorization, key) in [
        (a, None),
        (b, None),
        (None, None),
        (None, None),
        (a, Some("k")),
        (b, Some("k")),
        (None, Some("k")),
        (None, Some("Bearer a")),
    ] {
        assert_eq!(cached(&mut server, authorization, key), 0);
    }
    assert!(cached(&mut server, None, Some("Bearer a")) > 0);
    assert_eq!(cached(&mut server, a, None), 0);
    assert!(cached(&mut server, a, None) > 0);
    assert_eq!(cached(&mut shared, None, None), 0);
    assert!(cached(&mut shared, a, None) > 0);
}

/// A client that has disconnected needs no answer, streamed or whole. A token every 20 ms leaves time to disconnect.
#[test]
fn an_answer_ends_when_its_client_has_gone() {
    const ASKED: u32 = 400;
    let environment: &[(&str, &str)] = &[("GUST_MODEL", MODEL), ("GUST_JITTER_MS", "20")];
    let [mut server] = Server::start_with(&["jitter", "log"], [environment]);
    for stream in [false, true] {
        let body = json!({
            "prompt": "Once upon a time", "max_tokens": ASKED, "temperature": 0, "stream": stream,
        });
        let status = server.exchange(
            "POST",
            "/v1/completions",
            &[JSON],
            &body.to_string(),
            // The body is dropped.
            |response| response.status().as_u16(),
        );
        assert_eq!(status.expect("an answer"), 200);
    }
    // The line of an answer is written when the next one begins, at the latest.
    let (status, _) = server.post(
        "/v1/completions",
        &json!({"prompt": "Once", "max_tokens": 1}),
    );
    assert_eq!(status, 200);
    let log = server.store.data().stock.written(1);
    let counts = log.split("generated=").skip(1);
    let counts = counts.map(|rest| rest.split(' ').next().unwrap_or_default());
    let generated: u32 = counts
        .map(|count| count.parse::<u32>().expect("a number"))
        .sum();
    assert!((1..ASKED / 4).contains(&generated), "{log}");
}

/// What a filter keeps out of the answer must not stand among the alternatives to its tokens.
#[test]
fn alternatives_do_not_show_what_a_filter_hides() {
    let body = json!({
        "messages": [{"role": "user", "content": "Tell me a story."}],
        "max_tokens": 24, "temperature": 0, "logprobs": true, "top_logprobs": 5,
    });
    let ask = |server: &mut Server| {
        let (status, answer) = server.post("/v1/chat/completions", &body);
        assert_eq!(status, 200, "{answer}");
        let choice = &answer["choices"][0];
        let said = choice["message"]["content"]
            .as_str()
            .expect("text")
            .to_lowercase();
        let tokens = choice["logprobs"]["content"]
            .as_array()
            .expect("tokens")
            .clone();
        let of = |token: &Value| token["top_logprobs"].as_array().expect("a list").clone();
        let alternatives: Vec<Value> = tokens.iter().flat_map(of).collect();
        (said, alternatives)
    };
    let word = |token: &Value| token["token"].as_str().expect("text").trim().to_lowercase();
    let [mut server] = Server::start([&[("GUST_MODEL", MODEL)]]);
    let (said, all) = ask(&mut server);
    let unsaid = |word: &String| word.len() > 2 && !said.contains(word.as_str());
    let hidden = all
        .iter()
        .map(word)
        .find(unsaid)
        .expect("a word that is only an alternative");

    let environment: &[(&str, &str)] = &[("GUST_MODEL", MODEL), ("GUST_FILTER", &hidden)];
    let [mut server] = Server::start_with(&["filter"], [environment]);
    let (filtered, left) = ask(&mut server);
    assert_eq!(filtered, said);
    assert!(!left.is_empty() && left.len() < all.len());
    assert!(
        !left.iter().map(word).any(|left| left.contains(&hidden)),
        "{hidden}: {left:?}"
    );
}

//! `gust-http.wasm` in a stock Wasmtime with its own `wasi:http`: OpenAI's API, whole and streamed.

use std::thread;

use crate::helpers::gust;
use crate::helpers::stock::{MODEL, Stock, compiled, composed};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
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
        let (component, mut linker) = compiled(&composed(&[], Some("http")));
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
        let request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .body(Full::new(Bytes::from(body.to_owned())))
            .expect("a request");
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut http = self.store.data_mut().http();
        let request = http
            .new_incoming_request(Scheme::Http, request)
            .expect("a request");
        let out = http.new_response_outparam(sender).expect("a response");
        // The answer is read while it is written.
        let reader = thread::spawn(|| {
            let response: Response<_> = receiver.blocking_recv().expect("sent").expect("no error");
            let (head, body) = response.into_parts();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            let body = runtime.block_on(body.collect()).expect("a body").to_bytes();
            let kind = head.headers["content-type"]
                .to_str()
                .expect("text")
                .to_owned();
            let body = String::from_utf8(body.to_vec()).expect("UTF-8");
            (head.status.as_u16(), kind, body)
        });
        let handler = self.proxy.wasi_http_incoming_handler();
        handler
            .call_handle(&mut self.store, request, out)
            .expect("no trap");
        reader.join().expect("an answer")
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
    let [mut server, mut unconfigured, mut without_model] =
        Server::start([environment, &[], missing]);

    completions(&mut server);
    chats(&mut server);
    names_of_control_tokens(&mut server);
    models_and_errors(&mut server);

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
    let mut body =
        json!({"model": "any", "prompt": "Once upon a time", "max_tokens": 40, "seed": 42});
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

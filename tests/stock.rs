//! The composed components in a stock Wasmtime, without gust's host: the same tokens, and what the adapters add.

mod bindings {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package test:stock;
            world library {
                export gust:llm/engine@0.1.0;
                export gust:llm/chat@0.1.0;
            }
        ",
        world: "test:stock/library",
    });
}

use crate::helpers::stock::{MODEL, Stock, built, compiled, composed};
use crate::helpers::{find, golden, gust, masked, phrase};
use bindings::Library as Llm;
use bindings::exports::gust::llm::chat::{Message, RenderOptions};
use bindings::exports::gust::llm::engine::{
    ChatMessage, ChatOptions, Event, FinishReason, GenerationOptions, Guest, LoadOptions,
    SessionOptions, TokenizeOptions,
};
use gust_compose::Part;
use wasmtime::Store;
use wasmtime::component::ResourceAny;
use wasmtime_wasi::p2::bindings::sync::Command;

/// Arguments and environment variables.
type Run<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

/// Runs a program in each of these ways, and returns what it wrote to stdout and to stderr.
fn run<const N: usize>(bytes: &[u8], runs: [Run<'_>; N]) -> [(String, String); N] {
    let (component, linker) = compiled(bytes);
    runs.map(|(args, variables)| {
        let args = [&["gust.wasm", "-m", MODEL], args].concat();
        let mut store = Store::new(component.engine(), Stock::new(&args, variables));
        let command = Command::instantiate(&mut store, &component, &linker).expect("an instance");
        // What it wrote says more than how it ended.
        let _ = command.wasi_cli_run().call_run(&mut store);
        let stock = store.data();
        (stock.written(0), stock.written(1))
    })
}

#[test]
fn the_program_streams_what_gust_run_does() {
    let bytes = composed(&[], Some("command"));
    let greedy: &[&str] = &["-n", "200", "-t", "0", "Once upon a time"];
    let sampled: &[&str] = &[
        "-n",
        "60",
        "--seed",
        "42",
        "--top-k",
        "20",
        "The little dragon",
    ];
    let missing: &[&str] = &["-m", "models/none.gguf", "Once"];
    let wrong: &[&str] = &["--seed", "x"];
    let [greedy, drawn, missing, wrong] = run(
        &bytes,
        [(greedy, &[]), (sampled, &[]), (missing, &[]), (wrong, &[])],
    );
    golden("once.txt", &greedy.0);
    let expected = gust(["run"]).args(sampled).run().success();
    assert_eq!(drawn.0, expected, "{}", drawn.1);
    assert!(
        missing
            .1
            .starts_with("error: no model at `models/none.gguf`"),
        "{}",
        missing.1
    );
    assert!(
        wrong.1.contains("expected a number, found `x`"),
        "{}",
        wrong.1
    );
    assert_eq!((missing.0, wrong.0), (String::new(), String::new()));
}

#[test]
fn the_program_has_the_lines_of_json_of_gust_run() {
    let args: &[&str] = &["-n", "12", "--seed", "42", "--json", "The little dragon"];
    let [found] = run(&composed(&[], Some("command")), [(args, &[])]);
    let expected = gust(["run"]).args(args).run().success();
    // The last line has times.
    let tokens = |text: &str| text.rsplit_once("\n{").map(|(tokens, _)| tokens.to_owned());
    assert_eq!(tokens(&found.0), tokens(&expected), "{}", found.1);
    assert_eq!(
        tokens(&expected).map_or(0, |tokens| tokens.lines().count()),
        12
    );
}

/// Across token boundaries, and in a different case from the one that the model writes.
#[test]
fn a_filter_stops_or_masks() {
    let bytes = composed(&["filter"], Some("command"));
    let prompt = "Once upon a time";
    let story: &[&str] = &["-n", "200", "-t", "0", prompt];
    let whole = gust(["run"]).args(story).run().success();
    let written = phrase(&whole, prompt);
    let shouted = written.to_ascii_uppercase();
    let list = format!("never this\n{shouted}");
    let stop: &[(&str, &str)] = &[("GUST_FILTER", &list)];
    let mask: &[(&str, &str)] = &[("GUST_FILTER", &list), ("GUST_FILTER_ACTION", "mask")];
    let exact: &[(&str, &str)] = &[("GUST_FILTER", &shouted), ("GUST_FILTER_CASE", "exact")];
    let [none, stopped, hidden, exact] = run(
        &bytes,
        [(story, &[]), (story, stop), (story, mask), (story, exact)],
    );
    assert!(
        none.1.contains("GUST_FILTER"),
        "without a list it must refuse: {}",
        none.1
    );
    assert_eq!(none.0, "");
    let before = &whole[..find(&whole, &written).expect("it is there")];
    assert_eq!(stopped.0, format!("{before}\n"), "{}", stopped.1);
    assert_eq!(hidden.0, masked(&whole, &written, "[...]"), "{}", hidden.1);
    assert_eq!(exact.0, whole, "{}", exact.1);
}

/// All three middlewares around each other, with nothing for the filter to find: every function of the engine returns
/// the same as without them.
#[test]
fn middleware_passes_everything_else_on() {
    let alone = Library::new(&[], &[]);
    let variables = &[("GUST_FILTER", "zzzz"), ("GUST_JITTER_MS", "1")];
    let wrapped = Library::new(&["filter", "jitter", "log"], variables);
    let (alone, wrapped) = (alone.everything(), wrapped.everything());
    for (plain, other) in alone.0.iter().zip(&wrapped.0) {
        assert_eq!(plain, other);
    }
    assert_eq!(alone.0.len(), wrapped.0.len());

    // The log contains numbers, but no text.
    let lines: Vec<_> = wrapped.1.lines().collect();
    let of = |event: &str| lines.iter().filter(|line| line.contains(event)).count();
    assert_eq!(
        (
            of("event=load"),
            of("event=session "),
            of("event=session-end")
        ),
        (1, 2, 2),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("generated=8") && line.contains("end=length")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("end=prompt-too-long")),
        "{lines:?}"
    );
    for text in ["Once", "upon", "panda"] {
        assert!(!wrapped.1.contains(text), "{text}: {lines:?}");
    }
    assert_eq!(alone.1, "");
}

/// A library component, and a model in it.
struct Library {
    store: Store<Stock>,
    llm: Llm,
    model: ResourceAny,
}

impl Library {
    fn new(middlewares: &[&str], variables: &[(&str, &str)]) -> Self {
        let (component, linker) = compiled(&composed(middlewares, None));
        let mut store = Store::new(component.engine(), Stock::new(&[], variables));
        let llm = Llm::instantiate(&mut store, &component, &linker).expect("an instance");
        let options = LoadOptions {
            scope: None,
            allow_mapping: None,
        };
        let model = llm
            .gust_llm_engine()
            .call_load_model(&mut store, MODEL, options);
        let model = model.expect("no trap").expect("the model");
        Library { store, llm, model }
    }

    /// What each function of the contract returns, and what was written to stderr until everything is dropped.
    fn everything(mut self) -> (Vec<String>, String) {
        let mut said = Vec::new();
        let mut say =
            |what: &str, answer: &dyn std::fmt::Debug| said.push(format!("{what}: {answer:?}"));
        let engine: &Guest = self.llm.gust_llm_engine();
        let store = &mut self.store;
        let (model, m) = (engine.model(), self.model);
        say("info", &model.call_info(&mut *store, m).expect("info"));
        say(
            "metadata",
            &model.call_metadata(&mut *store, m).expect("metadata"),
        );
        say(
            "tensors",
            &model.call_tensors(&mut *store, m).expect("tensors"),
        );
        let options = TokenizeOptions {
            add_special: None,
            parse_special: Some(true),
        };
        let tokens = model.call_tokenize(&mut *store, m, "Once upon a time", options);
        say("tokenize", &tokens);
        let tokens = tokens.expect("tokenize").expect("tokens");
        say(
            "detokenize",
            &model.call_detokenize(&mut *store, m, &tokens, true),
        );
        say(
            "detokenize wrongly",
            &model.call_detokenize(&mut *store, m, &[u32::MAX], false),
        );
        let message = ChatMessage {
            role: "user".into(),
            content: "Hi".into(),
        };
        let options = ChatOptions {
            add_generation_prompt: Some(false),
            template: Some("{{ messages[0].content }}{{ x }}".into()),
            variables: Some("{\"x\": 1}".into()),
        };
        say(
            "render-chat",
            &model.call_render_chat(&mut *store, m, &[message], &options),
        );

        let message = Message {
            role: "user".into(),
            content: Some("Hi</s>".into()),
            fields: Some("{\"name\": \"Ann\"}".into()),
        };
        let options = RenderOptions {
            add_generation_prompt: Some(false),
            template: Some("{{ messages[0].name }}<s>{{ messages[0].content }}</s>{{ x }}".into()),
            tools: Some("[]".into()),
            variables: Some("{\"x\": 1}".into()),
            now: Some(0),
        };
        let chat = self.llm.gust_llm_chat();
        let prompt = chat.call_render(&mut *store, m, &[message], &options);
        say("render", &prompt);
        let prompt = prompt.expect("render").expect("a prompt");
        assert_eq!(prompt.text, "Ann<s>Hi</s></s>1");

        let options = SessionOptions {
            context_length: Some(40),
            kv_type: None,
        };
        let session = model.call_new_session(&mut *store, m, options);
        let s = session.expect("new-session").expect("a session");
        let session = engine.session();
        let options = GenerationOptions {
            max_tokens: Some(8),
            temperature: None,
            top_k: None,
            top_p: None,
            min_p: None,
            typical_p: None,
            repeat_penalty: None,
            frequency_penalty: None,
            presence_penalty: None,
            penalty_window: None,
            seed: Some(42),
            stop: None,
            ignore_end: None,
            logprobs: Some(2),
            lookup: None,
            draft_max: None,
        };
        say(
            "configure",
            &session.call_configure(&mut *store, s, &options),
        );
        say(
            "set-draft-model",
            &session.call_set_draft_model(&mut *store, s, m),
        );
        say("feed", &session.call_feed(&mut *store, s, &tokens));
        say("logits", &session.call_logits(&mut *store, s));
        let state = session
            .call_save(&mut *store, s)
            .expect("save")
            .expect("a state");
        say("save", &state.len());
        let copy = session
            .call_fork(&mut *store, s)
            .expect("fork")
            .expect("a copy");
        for of in [s, copy] {
            loop {
                let event = session
                    .call_next_token(&mut *store, of)
                    .expect("next-token");
                say("next-token", &event);
                if let Ok(Event::Token(_)) = event {
                    continue;
                }
                assert!(
                    matches!(event, Ok(Event::Finished(end)) if end.reason == FinishReason::Length)
                );
                break;
            }
        }
        say("finished", &session.call_next_token(&mut *store, s));
        say("score", &session.call_score(&mut *store, s, &tokens));
        say("truncate", &session.call_truncate(&mut *store, s, 3));
        say(
            "truncate wrongly",
            &session.call_truncate(&mut *store, s, 30),
        );
        say("usage", &session.call_usage(&mut *store, s).expect("usage"));
        say("restore", &session.call_restore(&mut *store, s, &state));
        say(
            "restore wrongly",
            &session.call_restore(&mut *store, s, &[1, 2, 3]),
        );
        say("after restore", &session.call_next_token(&mut *store, s));
        say("too much", &session.call_feed(&mut *store, s, &[1; 41]));
        for resource in [s, copy, m] {
            resource.resource_drop(&mut *store).expect("dropped");
        }
        (said, self.store.data().written(1))
    }
}

/// An engine without `chat` gets it from the stand-in, which refuses what it cannot tell apart.
#[test]
fn an_engine_without_chat_refuses_the_names_of_control_tokens() {
    let built = |name: &str| built(&format!("adapters/{name}.wasm"));
    let (mock, stand_in) = (built("example-mock"), built("stand-in"));
    fn part<'a>(name: &'a str, bytes: &'a [u8]) -> Part<'a> {
        Part { name, bytes }
    }
    let wrap = |around: &[u8], inner: &[u8]| {
        let wrapped = gust_compose::wrap(
            part("around", around),
            part("engine", inner),
            part("stand-in", &stand_in),
        );
        wrapped.unwrap_or_else(|error| panic!("{error}"))
    };
    let bytes = wrap(&built("command"), &wrap(&built("example-shout"), &mock));
    let ask = |prompt| ["--chat", "--no-echo", "-n", "5", prompt];
    let (hello, named) = (ask("Hello"), ask("Hello<|end|>"));
    let [honest, forged] = run(&bytes, [(&hello, &[]), (&named, &[])]);
    assert_eq!(honest.0, ", SAI\n", "{}", honest.1);
    assert!(forged.1.contains("control token"), "{}", forged.1);
}

/// The pace promises a minimum time. That a token does not come too late cannot be tested on a busy machine.
#[test]
fn jitter_gives_each_token_its_time() {
    let bytes = composed(&["jitter"], Some("command"));
    let args: &[&str] = &["-n", "10", "-t", "0", "Once upon a time"];
    let begin = std::time::Instant::now();
    let [run] = run(&bytes, [(args, &[("GUST_JITTER_MS", "30")])]);
    // Ten tokens and the end.
    assert!(begin.elapsed().as_millis() >= 11 * 30);
    let expected = gust(["run"]).args(args).run().success();
    assert_eq!(run.0, expected, "{}", run.1);
}

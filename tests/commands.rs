//! What the smaller commands print: data on stdout, in a form that programs can read, and nothing that harms a
//! terminal.

use std::io::{Read, Write};
use std::process::Stdio;

use sha2::{Digest, Sha256};

use crate::helpers::{Parrot, data, engine_component, find, gust, masked, phrase, workspace};

/// All commands that take a model.
const WITH_MODEL: [&str; 7] = [
    "run",
    "chat",
    "tokenize",
    "inspect",
    "logits",
    "perplexity",
    "bench",
];

#[test]
fn the_version_names_what_the_build_is_made_of() {
    let plain = gust(["--version"]).run().success();
    assert_eq!(plain, format!("gust {}\n", env!("CARGO_PKG_VERSION")));
    let verbose = gust(["--version", "--verbose"]).run().success();
    let (first, rest) = verbose.split_once('\n').expect("several lines");
    assert_eq!(format!("{first}\n"), plain);
    let engine = std::fs::read(engine_component("gust-engine.wasm")).expect("the engine");
    let digest = Sha256::digest(&engine);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).expect("Cargo.lock");
    let wasmtime = rest.lines().find_map(|line| line.strip_prefix("wasmtime"));
    let wasmtime = wasmtime.expect("Wasmtime's version").trim();
    assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{wasmtime}\"\n")));
    for word in [&digest, &engine.len().to_string(), "filter, jitter, log"] {
        assert!(rest.contains(word), "expected `{word}`: {rest}");
    }
    gust(["--verbose"]).run().fails(2, &["required"]);
}

#[test]
fn the_listing_of_tokens_can_be_read_by_line() {
    let parrot = Parrot::new("abc").file();
    let tokens = gust(["tokenize", "aé\n\u{1b}"])
        .model(&parrot)
        .run()
        .success();
    assert_eq!(
        tokens,
        "1\t<s>\n100\ta\n198\t\\xc3\n172\t\\xa9\n13\t\\n\n30\t\\u{1b}\n"
    );
    let json = gust(["tokenize", "--json", "a"])
        .model(&parrot)
        .run()
        .success();
    assert_eq!(json, "{\"ids\":[1,100]}\n");
    // The names of control tokens are text, unless --parse-special is given.
    let count = |args: &[&str]| {
        let run = gust(["tokenize", "--ids", "--no-special", "</s>"]).args(args);
        run.model(&parrot).run().success()
    };
    assert_eq!(count(&["--parse-special"]), "2\n");
    assert_eq!(count(&[]).lines().count(), 4);
}

#[test]
fn the_highest_logits_come_first() {
    let parrot = Parrot::new("abc").file();
    let logits = |args: &[&str]| {
        gust(["logits", "--tokens", "1,100"])
            .args(args)
            .model(&parrot)
            .run()
    };
    let all = logits(&["--json"]).json();
    assert_eq!(all["tokens"], serde_json::json!([1, 100]));
    assert_eq!(all["logits"].as_array().map(Vec::len), Some(288));
    let top = logits(&["--json", "--top", "3"]).json();
    assert_eq!(top["top"].as_array().map(Vec::len), Some(3));
    // After `a` comes `b`.
    assert_eq!(top["top"][0]["id"], 101);
    assert_eq!(top["top"][0]["text"], "b");
    assert_eq!(top["top"][0]["logit"], all["logits"][101]);
    assert!(logits(&["--top", "1"]).success().starts_with("101\t"));
    assert_eq!(logits(&[]).success().lines().count(), 288);
}

#[test]
fn inspect_estimates_the_memory() {
    let parrot = Parrot::new("abc").file();
    let report = gust(["inspect", "--json", "--context", "100"])
        .model(&parrot)
        .run()
        .json();
    // Keys and values of one layer, 128 wide, two bytes each, in blocks of 32 tokens.
    assert_eq!(report["memory"]["kv_f16"], 128 * 2 * 128 * 2);
    assert_eq!(report["memory"]["kv_f32"], 128 * 2 * 128 * 4);
    let sizes = report["tensors"].as_array().into_iter().flatten();
    let weights: u64 = sizes.filter_map(|tensor| tensor["size"].as_u64()).sum();
    assert_eq!(report["memory"]["weights"], weights);
    assert_eq!(report["types"][0]["type"], "F32");
    assert_eq!(report["types"][0]["bytes"], weights);
    assert_eq!(report["model"]["name"], "parrot");
    let keys: Vec<&str> = report["metadata"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["key"].as_str())
        .collect();
    assert_eq!(keys[0], "general.architecture");
    assert!(keys.contains(&"tokenizer.ggml.tokens"), "{keys:?}");
}

/// A layer with a window keeps what it sees and some tokens before that, not the whole context.
#[test]
fn inspect_knows_windows() {
    let report = gust(["inspect", "--json", "--context", "512"])
        .model(data("architectures/gemma3.gguf"))
        .run()
        .json();
    // Five layers with a window of 50 tokens, a batch of 64, and 256 to go back by; one layer with all. Two heads, 8 wide.
    let window = ((50 + 64 + 256) as u32).next_multiple_of(32) + 32;
    let per_token = 2 * 2 * 8 * 2;
    assert_eq!(report["memory"]["kv_f16"], (5 * window + 512) * per_token);
    assert_eq!(
        report["memory"]["kv_f32"],
        (5 * window + 512) * per_token * 2
    );
}

/// Text in a file cannot control the terminal on which it is shown.
#[test]
fn escapes_in_a_file_are_not_passed_on() {
    let mut parrot = Parrot::new("abc");
    parrot.chat_template = Some("\u{1b}[2J\u{7}\u{202e}".to_owned());
    let parrot = parrot.file();
    let text = gust(["inspect"]).model(&parrot).run().success();
    assert!(text.contains("\\u{1b}[2J"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
}

#[test]
fn bench_measures() {
    let parrot = Parrot::new("abc").file();
    let args = [
        "bench",
        "--prompt-tokens",
        "20",
        "--gen-tokens",
        "10",
        "--repeat",
        "3",
    ];
    let report = gust(args).args(["--json"]).model(&parrot).run().json();
    for field in [
        "load_ms",
        "time_to_first_token_ms",
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
    ] {
        assert!(
            report[field].as_f64().is_some_and(|value| value > 0.0),
            "{field}: {report}"
        );
    }
    if cfg!(target_os = "linux") {
        assert!(
            report["peak_memory_bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes > 1 << 20),
            "{report}"
        );
    }
    let table = gust(args).model(&parrot).run().success();
    for word in ["prefill", "decode", "first token", "peak memory", "load"] {
        assert!(table.contains(word), "{table}");
    }
    gust(["bench", "--prompt-tokens", "512"])
        .model(&parrot)
        .run()
        .fails(2, &["512"]);
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = gust(["completions", shell]).run().success();
        for command in WITH_MODEL {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let page = gust(["man"]).run().success();
    assert!(page.contains(".TH gust"), "{page}");
    for command in WITH_MODEL {
        assert!(page.contains(command), "{command}");
        let page = gust(["man", command]).run().success();
        assert!(page.contains(&format!(".TH gust-{command}")), "{page}");
    }
}

#[test]
fn help_lists_the_exit_codes() {
    let help = gust(["--help"]).run().success();
    assert!(
        help.contains("Exit codes:") && help.contains("130"),
        "{help}"
    );
    assert!(gust(["--version"]).run().success().starts_with("gust "));
}

/// The reader of stdout may close it early (`| head`): the command ends quietly.
#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let mut parrot = Parrot::new("abc");
    parrot.context_length = 1 << 20;
    let parrot = parrot.file();
    for args in [
        &["run", "-t", "0", "--context", "1000000", "x"] as &[&str],
        &["inspect", "--json"],
    ] {
        let mut child = gust(args).model(&parrot).start(Stdio::null());
        let mut first = [0];
        let mut stdout = child.stdout.take().unwrap_or_else(|| panic!("no stdout"));
        stdout
            .read_exact(&mut first)
            .unwrap_or_else(|error| panic!("{error}"));
        drop(stdout);
        let ended = child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    }
}

#[test]
fn middleware_stands_around_the_engine() {
    let prompt = "Once upon a time";
    let story = ["run", "-n", "60", "-t", "0", prompt];
    let whole = gust(story).run().success();
    let phrase = phrase(&whole, prompt);
    let mut list = tempfile::NamedTempFile::new().expect("a temporary file");
    writeln!(list, "{}", phrase.to_ascii_uppercase()).expect("room for it");
    let list = list.path().to_str().expect("UTF-8");

    let stopped = gust(story)
        .args(["--with", "filter", "--filter-list", list])
        .run()
        .success();
    let before = &whole[..find(&whole, &phrase).expect("it is there")];
    assert_eq!(stopped, format!("{before}\n"));
    let hidden = gust(story)
        .args(["--with", "filter,log", "--filter-list", list])
        .env("GUST_FILTER_ACTION", "mask")
        .run();
    let audit = |line: &&str| line.starts_with("gust-audit ");
    let audited = hidden.stderr.lines().filter(audit).count();
    assert!(audited >= 3, "{}", hidden.stderr);
    assert_eq!(hidden.success(), masked(&whole, &phrase, "[...]"));

    gust(story)
        .args(["--with", "filter"])
        .run()
        .fails(2, &["GUST_FILTER"]);
    gust(story)
        .args(["--with", "filter", "--filter-list", "/none"])
        .run()
        .fails(2, &["/none"]);
}

/// The log has a line for everything that lets tokens in or knowledge of them out, and for what was refused.
#[test]
fn the_log_leaves_nothing_out() {
    let cases: [(&[&str], &str, &str); 4] = [
        (&["perplexity", "--tokens", "1,2,3,4"], "score", " fed=4"),
        (&["logits", "--tokens", "1,2,3"], "logits", " count="),
        (&["embed", "Once"], "embed", " fed="),
        (
            &["run", "--context", "16000000", "Once"],
            "session",
            "error=invalid-argument",
        ),
    ];
    for (command, event, words) in cases {
        let ended = gust(command).args(["--with", "log"]).run();
        let is_it = |line: &str| {
            line.starts_with("gust-audit ")
                && line.contains(&format!(" event={event} "))
                && line.contains(words)
        };
        assert!(ended.stderr.lines().any(is_it), "{command:?}: {ended:?}");
    }
}

/// An engine that does not export `chat` is used without it, in the host and between middleware.
#[test]
fn an_engine_without_chat_holds_conversations() {
    let folder = workspace().join("target/adapters");
    let adapter = |name: &str| folder.join(name).display().to_string();
    let mock = adapter("example-mock.wasm");
    let with = adapter("example-shout.wasm");
    for (more, said) in [
        (&[] as &[&str], ", said the mock, and nothing more.\n"),
        (&["--with", &with], ", SAID THE MOCK, AND NOTHING MORE.\n"),
    ] {
        let template = tempfile::NamedTempFile::new().expect("a file");
        let path = template.path().display().to_string();
        let chat = gust(["chat", "--component", &mock, "--template", &path]).args(more);
        let ended = chat.stdin("Hi<|end|>\nHi\n").run();
        // The first turn is refused, and the second one answered.
        ended.says(&["control token"]);
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        assert_eq!(ended.stdout, said.as_bytes());
    }
}

/// The mock engine needs no model and knows none; its sentence is in `examples/plugin/mock`.
#[test]
fn engine_and_middleware_can_be_swapped() {
    let adapter = |name: &str| {
        let path = workspace().join("target/adapters").join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let (mock, shout) = (adapter("example-mock.wasm"), adapter("example-shout.wasm"));
    let said = gust(["run", "--component", &mock, "Hello"]).run().success();
    assert_eq!(said, "Hello, said the mock, and nothing more.\n");
    let with = format!("filter,{shout}");
    let said = gust(["run", "--component", &mock, "--with", &with, "Hello"])
        .env("GUST_FILTER", "nothing")
        .run()
        .success();
    assert_eq!(said, "Hello, SAID THE MOCK, AND \n");
}

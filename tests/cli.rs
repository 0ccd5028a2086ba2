//! The command line: what is wrong with it is told with a message, a hint and an exit code; stdout holds data only.

use std::io::Read;
use std::process::Stdio;

use gust_tests::{Parrot, gust, workspace};

/// All commands that take a model, with what else they need.
const WITH_MODEL: [&[&str]; 7] = [
    &["run", "x"],
    &["chat"],
    &["tokenize", "x"],
    &["inspect"],
    &["logits", "--tokens", "1"],
    &["perplexity", "--tokens", "1,2"],
    &[
        "bench",
        "--prompt-tokens",
        "2",
        "--gen-tokens",
        "2",
        "--repeat",
        "1",
    ],
];

#[test]
fn a_missing_file_is_told() {
    for command in WITH_MODEL {
        let ended = gust(command).model("/no/such/model.gguf").run();
        assert!(ended.stderr.contains("hint: "), "{ended:#?}");
        ended.fails(3, &["/no/such/model.gguf"]);
    }
}

#[test]
fn a_folder_is_no_model() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    for command in WITH_MODEL {
        let ended = gust(command).model(folder.path()).run();
        assert!(matches!(ended.code, Some(1 | 3)), "{ended:#?}");
        ended.says(&[]);
    }
}

#[test]
fn a_file_that_is_no_gguf_is_told() {
    let manifest = workspace().join("Cargo.toml");
    for command in WITH_MODEL {
        let ended = gust(command).model(&manifest).run();
        assert!(ended.stderr.contains("hint: "), "{ended:#?}");
        ended.fails(3, &["expected", "GGUF", "found"]);
    }
}

#[test]
fn a_truncated_file_is_told() {
    let bytes = Parrot::new("abc").bytes();
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(file.path(), &bytes[..bytes.len() / 2])
        .unwrap_or_else(|error| panic!("{error}"));
    for command in WITH_MODEL {
        gust(command)
            .model(file.path())
            .run()
            .fails(3, &["invalid model", "expected", "found"]);
    }
}

#[test]
fn an_empty_file_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    for command in WITH_MODEL {
        gust(command)
            .model(file.path())
            .run()
            .fails(3, &["expected", "found"]);
    }
}

#[test]
fn an_unknown_architecture_is_told_by_its_name() {
    let bytes = Parrot::new("abc").bytes();
    let at = bytes
        .windows(5)
        .position(|window| window == b"llama")
        .unwrap_or_default();
    let mut changed = bytes;
    changed[at..at + 5].copy_from_slice(b"lemur");
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(file.path(), changed).unwrap_or_else(|error| panic!("{error}"));
    gust(["run", "x"])
        .model(file.path())
        .run()
        .fails(3, &["unsupported", "lemur"]);
    // What is in it can be seen all the same.
    gust(["inspect"]).model(file.path()).run().success();
}

#[test]
fn a_component_that_is_none_is_told() {
    let parrot = Parrot::new("abc").file();
    for component in ["/no/such/engine.wasm", "/dev/null"] {
        let run = gust(["run", "--component", component, "x"])
            .model(&parrot)
            .run();
        run.fails(3, &["component"]);
    }
    let manifest = workspace().join("Cargo.toml");
    let run = gust(["inspect", "--component", &manifest.to_string_lossy()])
        .model(&parrot)
        .run();
    run.fails(3, &["component"]);
}

#[test]
fn wrong_flags_are_told_before_anything_is_loaded() {
    for (args, word) in [
        (&["frobnicate"] as &[&str], "frobnicate"),
        (&["run", "--frobnicate"], "--frobnicate"),
        (&["run", "--temperature", "-1", "x"], "temperature"),
        (&["run", "--temperature", "nan", "x"], "temperature"),
        (&["run", "--temperature", "hot", "x"], "temperature"),
        (&["run", "--top-p", "1.5", "x"], "top-p"),
        (&["run", "--min-p", "-0.5", "x"], "min-p"),
        (&["run", "--typical-p", "2", "x"], "typical-p"),
        (&["run", "--top-k", "-3", "x"], "-3"),
        (&["run", "--repeat-penalty", "0", "x"], "repeat-penalty"),
        (
            &["run", "--presence-penalty", "2.5", "x"],
            "presence-penalty",
        ),
        (
            &["run", "--frequency-penalty", "inf", "x"],
            "frequency-penalty",
        ),
        (&["run", "--seed", "18446744073709551616", "x"], "seed"),
        (&["run", "--context", "0", "x"], "context"),
        (&["run", "--kv-type", "f64", "x"], "kv-type"),
        (&["run", "--stop", "", "x"], "stop"),
        (&["run", "--logprobs", "5", "x"], "--json"),
        (&["run", "--json", "--logprobs", "1025", "x"], "logprobs"),
        (&["run", "--max-memory", "much", "x"], "max-memory"),
        (&["run", "--max-memory", "0", "x"], "max-memory"),
        (&["run", "--call-timeout", "0", "x"], "call-timeout"),
        (&["run", "one", "two"], "two"),
        (&["tokenize", "--ids", "--json", "x"], "--json"),
        (&["logits"], "--tokens"),
        (&["logits", "--tokens", "1,x"], "x"),
        (&["logits", "--tokens", "-1"], "-1"),
        (&["perplexity", "--tokens", "1,2", "file"], "file"),
        (&["bench", "--repeat", "0"], "repeat"),
        (&["completions", "cmd.exe"], "cmd.exe"),
        (&["man", "frobnicate"], "frobnicate"),
    ] {
        gust(args).run().fails(2, &[]);
        let stderr = gust(args).run().stderr;
        assert!(stderr.contains(word), "{args:?}: {stderr}");
    }
    // Nothing at all is a question for help.
    assert_eq!(gust([""; 0]).run().code, Some(2));
}

#[test]
fn too_many_stop_texts_are_told() {
    let stops = std::iter::repeat_n(["--stop", "x"], 65).flatten();
    gust(["run"])
        .args(stops)
        .args(["x"])
        .run()
        .fails(2, &["64", "65"]);
}

#[test]
fn text_that_is_no_utf8_is_told_with_its_place() {
    for command in [&["run"] as &[&str], &["tokenize"], &["perplexity"]] {
        let ended = gust(command).stdin(b"caf\xc3\xa9 \xff!".as_slice()).run();
        ended.fails(1, &["UTF-8", "0xff", "offset 6"]);
    }
    // A character cut in two at the end.
    gust(["tokenize"])
        .stdin(b"caf\xc3".as_slice())
        .run()
        .fails(1, &["0xc3", "offset 3"]);
}

#[test]
fn a_text_too_short_for_perplexity_is_told() {
    gust(["perplexity"]).run().fails(2, &["two tokens"]);
    gust(["perplexity", "--tokens", "1"])
        .run()
        .fails(2, &["two tokens"]);
    gust(["perplexity", "/no/such/text"])
        .run()
        .fails(1, &["/no/such/text"]);
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
    // The names of control tokens are text, unless it is asked for them.
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
    // Keys and values of one layer, 128 wide, two bytes each.
    assert_eq!(report["memory"]["kv_f16"], 100 * 2 * 128 * 2);
    assert_eq!(report["memory"]["kv_f32"], 100 * 2 * 128 * 4);
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

/// What a file says cannot steer the terminal of whoever looks at it.
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
            assert!(script.contains(command[0]), "{shell}: {}", command[0]);
        }
    }
    let page = gust(["man"]).run().success();
    assert!(page.contains(".TH gust"), "{page}");
    for command in WITH_MODEL {
        assert!(page.contains(command[0]), "{}", command[0]);
        let page = gust(["man", command[0]]).run().success();
        assert!(page.contains(&format!(".TH gust-{}", command[0])), "{page}");
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

/// Whoever reads stdout may have enough (`| head`): the command ends, quietly.
#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let mut parrot = Parrot::new("abc");
    parrot.context_length = 1 << 20;
    let parrot = parrot.file();
    for args in [
        &["run", "-t", "0", "--context", "1000000", "x"] as &[&str],
        &["inspect", "--json"],
    ] {
        let mut child = gust(args)
            .model(&parrot)
            .into_command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}"));
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

//! Errors in a model, a text or the command line are reported with a message, a hint and an exit code, and nothing goes
//! to stdout.

use crate::helpers::{Parrot, gust, workspace};

/// All commands that take a model, with the other arguments that they need.
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
    // Its contents can still be inspected.
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
        (&["run", "one", "- two"], "- two"),
        (&["run", "-n", "-2", "x"], "-2"),
        (&["run", "--seed", "x", "y"], "-1"),
        (&["run", "--stop", "--json"], "--stop"),
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
    // No arguments at all show the help.
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
    // A character that is cut off at the end.
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

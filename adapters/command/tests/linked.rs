//! The program with the engine linked in, as in `gust-core.wasm`, compiled natively: it prints the same as `gust run`.
//! `cargo xtask hosts` runs it in the real host.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's root folder.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the workspace")
}

fn model() -> PathBuf {
    root().join("models/gust-stories-q8_0.gguf")
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gust-command"));
    command.arg("-m").arg(model()).args(args);
    command.output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Greedy, because a native build uses the scalar kernels, which sum in a different order, so sampled tokens may
/// differ.
#[test]
fn it_tells_the_golden_story() {
    let output = run(&["-n", "200", "-t", "0", "Once upon a time"]);
    let golden = std::fs::read_to_string(root().join("tests/golden/once.txt"));
    let (story, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(story, golden.expect("a golden file"), "{error}");
}

#[test]
fn json_has_the_same_text_and_its_numbers() {
    let args = ["-n", "12", "--seed", "1", "Once upon a time"];
    let (plain, json) = (run(&args), run(&[&args[..], &["--json"]].concat()));
    let json = text(&json.stdout);
    let mut lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let end = lines.pop().expect("a summary");
    let told: Vec<_> = lines
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert_eq!(
        format!("Once upon a time{}\n", told.concat()),
        text(&plain.stdout)
    );
    assert!(lines.iter().all(|line| line["id"].is_u64()), "{json}");
    assert_eq!(end["usage"]["generated_tokens"], 12);
    assert_eq!(
        (&end["finish_reason"], &end["seed"]),
        (&"length".into(), &1.into())
    );
}

#[test]
fn a_chat_goes_through_the_models_template() {
    let question = "Tell me a story about a dog.";
    let [plain, chat] = [&[][..], &["--chat"]].map(|flag| {
        let output = run(&[flag, &["-n", "20", "--seed", "1", "--no-echo", question]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    });
    assert_ne!(plain, chat);
    assert!(chat.contains("dog") && !chat.contains(question), "{chat}");
}

#[test]
fn errors_are_said_in_the_words_of_gust_run() {
    for (args, words) in [
        (
            &["-m", "none.gguf", "Once"][..],
            "error: no model at `none.gguf`",
        ),
        (
            &["-m", "src", "Once"],
            "error: reading failed: src: expected a file",
        ),
        (&["-m", "Cargo.toml", "Once"], "error: invalid model: "),
        (
            &["-c", "0", "Once"],
            "error: invalid argument: context-length: expected 1 to",
        ),
    ] {
        let output = run(args);
        let error = text(&output.stderr);
        assert!(error.starts_with(words), "{error}");
        assert_eq!((output.status.code(), output.stdout), (Some(1), vec![]));
    }
}

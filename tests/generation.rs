//! What `gust run` prints: characters that span tokens, stop texts, ends, JSON. The model repeats a single text, so
//! that every byte is known.

use crate::helpers::{Parrot, ParrotFile, gust};
use serde_json::{Value, json};

/// Four bytes, three, two and one; no byte occurs twice.
const TEXT: &str = "😀語é!";

fn parrot() -> ParrotFile {
    Parrot::new(TEXT).file()
}

fn run(model: &ParrotFile, args: &[&str]) -> String {
    gust(["run", "-t", "0", "--no-echo"])
        .args(args)
        .model(model)
        .run()
        .success()
}

/// Only whole characters, however many tokens they span; a character that is never completed becomes U+FFFD.
#[test]
fn characters_are_held_back_until_they_are_whole() {
    let parrot = parrot();
    assert_eq!(run(&parrot, &["-n", "10", "x"]), format!("{TEXT}\n"));
    assert_eq!(run(&parrot, &["-n", "20", "x"]), format!("{TEXT}{TEXT}\n"));
    // Four tokens make the first character; two of three make the beginning of the second.
    assert_eq!(run(&parrot, &["-n", "4", "x"]), "😀\n");
    assert_eq!(run(&parrot, &["-n", "6", "x"]), "😀\u{fffd}\n");
    assert_eq!(run(&parrot, &["-n", "1", "x"]), "\u{fffd}\n");
    assert_eq!(run(&parrot, &["-n", "0", "x"]), "");
}

#[test]
fn json_has_a_line_for_each_token_and_a_summary() {
    let parrot = parrot();
    let mut lines = gust(["run", "-t", "0", "--json", "-n", "8", "--seed", "3", "x"])
        .model(&parrot)
        .run()
        .json_lines();
    let summary = lines.pop().unwrap_or_default();
    let texts: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    // The ninth byte never came; the text printed for the eighth belongs to no token.
    let expected = ["", "", "", "😀", "", "", "語", "", "\u{fffd}"];
    assert_eq!(texts, expected);
    let ids: Vec<u64> = lines
        .iter()
        .filter_map(|line| line["id"].as_u64())
        .collect();
    let bytes: Vec<u64> = TEXT
        .bytes()
        .take(8)
        .map(|byte| 3 + u64::from(byte))
        .collect();
    assert_eq!(ids, bytes);
    assert_eq!(lines.last().map(|line| &line["id"]), Some(&Value::Null));
    assert_eq!(summary["finish_reason"], "length");
    assert_eq!(summary["seed"], 3);
    assert_eq!(summary["usage"]["generated_tokens"], 8);
    // Begin-of-sequence and one byte.
    assert_eq!(summary["usage"]["prompt_tokens"], 2);
    for time in [
        "load_ms",
        "prefill_ms",
        "decode_ms",
        "decode_tokens_per_second",
    ] {
        assert!(
            summary["timings"][time]
                .as_f64()
                .is_some_and(|ms| ms >= 0.0),
            "{summary}"
        );
    }
}

#[test]
fn logprobs_are_those_of_the_model() {
    let parrot = Parrot::new("ab").file();
    let mut lines = gust([
        "run",
        "-t",
        "0",
        "--json",
        "-n",
        "4",
        "--logprobs",
        "2",
        "x",
    ])
    .model(&parrot)
    .run()
    .json_lines();
    lines.pop();
    for (index, line) in lines.iter().enumerate() {
        let top = line["top"]
            .as_array()
            .map_or(&[] as &[Value], Vec::as_slice);
        assert_eq!(top.len(), 2, "{line}");
        // The parrot is certain of every token.
        let logprob = line["logprob"].as_f64().unwrap_or(f64::NAN);
        assert!(logprob <= 0.0 && logprob > -1e-3, "{line}");
        assert_eq!(top[0]["id"], line["id"]);
        assert_eq!(top[0]["logprob"], line["logprob"]);
        assert_eq!(top[0]["text"], if index % 2 == 0 { "a" } else { "b" });
        assert!(
            top[1]["logprob"].as_f64() < top[0]["logprob"].as_f64(),
            "{line}"
        );
    }
}

/// A stop text may span tokens and characters. None of it is printed, but text that only begins like it is.
#[test]
fn an_answer_ends_before_a_stop_text() {
    let parrot = Parrot::new("abcdef").file();
    let stop = |texts: &[&str]| {
        let flags: Vec<&str> = texts.iter().flat_map(|text| ["--stop", text]).collect();
        run(&parrot, &[&flags[..], &["-n", "14", "x"]].concat())
    };
    assert_eq!(stop(&["ef"]), "abcd\n");
    assert_eq!(stop(&["fab"]), "abcde\n");
    assert_eq!(stop(&["cx", "fa"]), "abcde\n");
    assert_eq!(stop(&["a"]), "");
    // The end begins like a stop text when the tokens run out: then it is text.
    assert_eq!(stop(&["abcdefabcdefabc"]), "abcdefabcdefab\n");
    assert_eq!(stop(&["efabcdefabX"]), "abcdefabcdefab\n");

    let lines = gust(["run", "-t", "0", "--json", "--stop", "de", "x"])
        .model(&parrot)
        .run()
        .json_lines();
    assert_eq!(
        lines.last().map(|line| &line["finish_reason"]),
        Some(&json!("stop"))
    );
    let text: String = lines
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert_eq!(text, "abc");
}

/// A stop text of several bytes per character: no character is printed in half.
#[test]
fn a_stop_text_of_many_bytes_is_found() {
    let parrot = parrot();
    assert_eq!(run(&parrot, &["--stop", "語", "-n", "50", "x"]), "😀\n");
    assert_eq!(run(&parrot, &["--stop", "é!😀", "-n", "50", "x"]), "😀語\n");
}

#[test]
fn an_answer_ends_with_the_models_own_end() {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    let parrot = parrot.file();
    assert_eq!(run(&parrot, &["x"]), "abc\n");
    let lines = gust(["run", "-t", "0", "--json", "x"])
        .model(&parrot)
        .run()
        .json_lines();
    assert_eq!(
        lines.last().map(|line| &line["finish_reason"]),
        Some(&json!("end-of-sequence"))
    );
    // Past its end, the text starts over.
    assert_eq!(run(&parrot, &["--ignore-eos", "-n", "8", "x"]), "abcabc\n");
}

/// The prompt is printed first, unless `--no-echo` is given; from stdin, the final line break is not part of it.
#[test]
fn the_prompt_comes_first() {
    let parrot = Parrot::new("abc").file();
    let echo = |args: &[&str], stdin: &str| {
        let run = gust(["run", "-t", "0", "-n", "3"]).args(args);
        run.model(&parrot).stdin(stdin).run().success()
    };
    assert_eq!(echo(&["Say: "], ""), "Say: abc\n");
    assert_eq!(echo(&[], "Say: \n"), "Say: abc\n");
    assert_eq!(echo(&[], "Say: \r\n"), "Say: abc\n");
    assert_eq!(echo(&[], "two\n\n"), "two\nabc\n");
    assert_eq!(echo(&[], ""), "abc\n");
    assert_eq!(echo(&["--no-echo", "Say: "], ""), "abc\n");
    assert_eq!(echo(&[" Say: "], ""), " Say: abc\n");
}

/// A space belongs between a prompt and its continuation, but not before a text without a prompt.
#[test]
fn only_a_text_without_a_prompt_loses_its_first_space() {
    let parrot = Parrot::new(" ab").file();
    let say = |args: &[&str]| {
        let run = gust(["run", "-t", "0", "-n", "6"]).args(args);
        run.model(&parrot).run().success()
    };
    assert_eq!(say(&[""]), "ab ab\n");
    assert_eq!(say(&["x"]), "x ab ab\n");
    assert_eq!(say(&["--no-echo", "x"]), " ab ab\n");
}

#[test]
fn the_summary_is_one_line_on_stderr() {
    let parrot = parrot();
    let ended = gust(["run", "-n", "3", "x"]).model(&parrot).run();
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for word in [
        "load ",
        "prefill 2 tokens",
        "decode 3 tokens",
        "tokens/s",
        "length",
        "seed ",
    ] {
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
    let quiet = gust(["run", "--quiet", "-n", "3", "x"])
        .model(&parrot)
        .run();
    assert_eq!(quiet.stderr, "");
}

/// Lists, options of other programs, negative numbers: a prompt begins with whatever it likes.
#[test]
fn a_prompt_may_begin_with_a_hyphen() {
    let parrot = Parrot::new("abc").file();
    for prompt in ["- [ ] a", "-> a", "--- a", "-1", "-n is a"] {
        for args in [[prompt, "-n", "3"], ["-n", "3", prompt]] {
            let text = gust(["run", "-t", "0"]).args(args).model(&parrot).run();
            let text = text.success();
            assert!(text.starts_with(prompt), "{prompt}: {text}");
            assert_eq!(text.len(), prompt.len() + 4, "{prompt}: {text}");
        }
    }
    // So does a stop text.
    let stop = ["run", "-n", "9", "--stop", "- x", "a"];
    gust(stop).model(&parrot).run().success();
}

/// As in other programs.
#[test]
fn minus_one_is_no_limit_and_a_random_seed() {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    let parrot = parrot.file();
    let summary = || {
        let args = [
            "-n",
            "-1",
            "--seed",
            "-1",
            "--top-k",
            "-1",
            "--penalty-window",
            "-1",
        ];
        let run = gust(["run", "-t", "0", "--json", "a"]).args(args);
        run.model(&parrot)
            .run()
            .json_lines()
            .pop()
            .unwrap_or_default()
    };
    let (first, second) = (summary(), summary());
    assert_eq!(first["finish_reason"], "end-of-sequence");
    assert_eq!(
        first["usage"]["generated_tokens"],
        second["usage"]["generated_tokens"]
    );
    assert!(first["seed"].as_u64() < Some(1 << 32), "{first}");
    assert_ne!(first["seed"], second["seed"], "one time in four billion");
}

/// `add_eos_token` is for texts that are whole, as those that are embedded. Behind a prompt, the model would begin anew.
#[test]
fn no_end_of_sequence_stands_behind_a_prompt() {
    let mut parrot = Parrot::new("abc");
    parrot.adds_eos = true;
    parrot.chat_template = Some("{{ messages[-1].content }}".to_owned());
    let file = parrot.file();
    assert_eq!(run(&file, &["-n", "2", "ab"]), "ca\n");
    let chat = gust(["chat", "-t", "0", "-n", "2"]).model(&file);
    assert_eq!(chat.stdin("ab\n").run().success(), "ca\n");
    let ids = gust(["tokenize", "--ids", "ab"]).model(&file).run();
    assert_eq!(ids.success(), "1\n100\n101\n");

    let tokens = |file: &ParrotFile| {
        let embedded = gust(["embed", "--json", "ab"]).model(file).run().json();
        embedded["tokens"].as_u64()
    };
    assert_eq!(tokens(&file), Some(4));
    parrot.adds_eos = false;
    assert_eq!(tokens(&parrot.file()), Some(3));
}

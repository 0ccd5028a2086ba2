//! Speculative decoding: the same text as without it, token by token and number by number.

use crate::helpers::{Gust, Parrot, data, gust, workspace};
use serde_json::Value;

/// Something to repeat.
const PROMPT: &str =
    "Once upon a time there was a little red bird. The little red bird sang. The little red bird";

/// The answer's tokens and texts, and how it ended, as JSON lines without timings; and the usage.
fn lines(run: Gust) -> (Vec<Value>, Value) {
    let mut lines = run.run().json_lines();
    let summary = lines.pop().unwrap_or_default();
    lines.push(summary["finish_reason"].clone());
    (lines, summary["usage"].clone())
}

fn number(usage: &Value, name: &str) -> u64 {
    usage[name].as_u64().unwrap_or_default()
}

/// Runs with `args` and without any speculation, and compares. Returns the numbers of tokens drafted and accepted.
fn agree(run: impl Fn() -> Gust, args: &[&str]) -> (u64, u64) {
    let (plain, usage) = lines(run().args(["--lookup", "0"]));
    assert_eq!(number(&usage, "drafted_tokens"), 0, "{usage}");
    let (found, usage) = lines(run().args(args));
    assert_eq!(found, plain, "{args:?}");
    (
        number(&usage, "drafted_tokens"),
        number(&usage, "accepted_tokens"),
    )
}

#[test]
fn a_look_up_changes_nothing_on_the_shipped_model() {
    let (mut drafted, mut accepted) = (0, 0);
    for temperature in ["0", "0.8", "1.5"] {
        for seed in ["1", "2", "3"] {
            let run = || {
                let run = gust(["run", "--json", "--logprobs", "2", "-n", "150"]);
                run.args(["-t", temperature, "-s", seed, "--ignore-eos", PROMPT])
            };
            let counts = agree(run, &[]);
            agree(run, &["--lookup", "31"]);
            agree(run, &["--lookup", "1", "-c", "512"]);
            drafted += counts.0;
            accepted += counts.1;
        }
    }
    assert!(
        0 < accepted && accepted < drafted,
        "{accepted} of {drafted}"
    );
}

#[test]
fn penalties_stops_and_ends_are_kept() {
    for args in [
        &["--repeat-penalty", "1.3", "--frequency-penalty", "0.2"][..],
        &["--stop", "bird", "--stop", "the end"],
        &["--stop", ". "],
        &["-c", "64", "--ignore-eos"],
    ] {
        for seed in ["4", "5"] {
            let ended = |lookup: &str| {
                let run = gust(["run", "--no-echo", "-n", "120", "-t", "0.4", "-s", seed]);
                let ended = run.args(args).args(["--lookup", lookup, PROMPT]).run();
                assert!(!ended.stdout.is_empty(), "{ended:#?}");
                (ended.code, ended.stdout)
            };
            assert_eq!(ended("7"), ended("0"), "{args:?}");
        }
    }
}

#[test]
fn the_reference_model_says_the_same() {
    let model = data("models/stories260K-q8_0.gguf");
    for temperature in ["0", "1"] {
        let run = || {
            let run = gust(["run", "--json", "-n", "300", "-t", temperature, "-s", "1"]);
            run.args(["--ignore-eos", PROMPT]).model(&model)
        };
        agree(run, &["--lookup", "7"]);
    }
}

/// A text that goes in circles comes from the lookup, except for its beginning.
#[test]
fn circles_are_accepted() {
    let parrot = Parrot::new("abcdefgh").file();
    let run = || gust(["run", "--json", "-n", "200", "-t", "0", "x"]).model(&parrot);
    let (drafted, accepted) = agree(run, &[]);
    assert!(
        accepted == drafted && accepted > 150,
        "{accepted} of {drafted}"
    );
}

/// A version of the shipped model with fewer bits proposes tokens to it.
#[test]
fn a_draft_model_changes_nothing() {
    let models = workspace().join("models");
    let (q8, q4) = (
        models.join("gust-stories-q8_0.gguf"),
        models.join("gust-stories-q4_0.gguf"),
    );
    for temperature in ["0", "0.8"] {
        for (main, draft, all) in [(&q8, &q4, false), (&q4, &q8, false), (&q8, &q8, true)] {
            let run = || {
                let run = gust(["run", "--json", "-n", "120", "-t", temperature, "-s", "6"]);
                run.args(["--ignore-eos", PROMPT]).model(main)
            };
            let draft = draft.to_string_lossy();
            let args = ["--lookup", "0", "--draft-model", &draft];
            let (drafted, accepted) = agree(run, &args);
            assert!(accepted > 40, "{accepted} of {drafted}");
            assert!(!all || accepted == drafted, "{accepted} of {drafted}");
            agree(
                run,
                &["--draft-model", &draft, "--draft-max", "3", "--no-mmap"],
            );
        }
    }
}

#[test]
fn a_draft_model_with_another_vocabulary_is_refused() {
    let tiny = workspace().join("models/gust-tiny.gguf");
    let run = gust(["run", "x", "--draft-model", &tiny.to_string_lossy()]);
    run.run().fails(
        2,
        &["vocabulary of the draft model", "expected", "640 tokens"],
    );
    gust(["run", "x", "--draft-model", "/no/such/draft.gguf"])
        .run()
        .fails(3, &["/no/such/draft.gguf"]);
}

/// A conversation feeds, truncates and continues.
#[test]
fn a_conversation_is_the_same() {
    let chat = |lookup: &str| {
        let turns = "Tell me of a bird.\nAnd of a bird again.\nAgain!\n";
        let chat = gust(["chat", "-t", "0.5", "-s", "1", "-n", "60"]);
        chat.args(["--lookup", lookup]).stdin(turns).run().success()
    };
    assert_eq!(chat("7"), chat("0"));
}

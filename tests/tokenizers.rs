//! Tokens of other programs' vocabularies: llama.cpp's test texts and the tokens that it turns them into, and the
//! `tokenizer.json` files of Hugging Face's (`--tokenizer`) with the tokens that Python's `tokenizers` gives.

use std::path::{Path, PathBuf};

use crate::helpers::{engine_component, gust, shared, workspace};
use serde_json::{Value, json};

/// Separates two texts in a `.inp` file.
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

#[test]
fn gpt_2() {
    check("gpt-2");
}

#[test]
fn qwen2() {
    check("qwen2");
}

#[test]
fn phi_3() {
    check("phi-3");
}

#[test]
fn falcon() {
    check("falcon");
}

#[test]
fn llama_bpe() {
    check("llama-bpe");
}

#[test]
fn llama_spm() {
    check("llama-spm");
}

/// Texts are tokenized as in llama.cpp's own test: without special tokens.
fn check(vocabulary: &str) {
    let Some(model) = shared(&format!("vocab/ggml-vocab-{vocabulary}.gguf")) else {
        return;
    };
    let texts = read(&model, ".inp");
    let texts: Vec<&str> = texts.split(SEPARATOR).collect();
    let texts = texts.strip_suffix(&[""]).unwrap_or(&texts);
    let expected = read(&model, ".out");
    let expected: Vec<Value> = expected.lines().map(ids).collect();
    assert_eq!(texts.len(), expected.len());

    let found = gust(["tokenize", "--json", "--no-special", "--null"])
        .model(&model)
        .stdin(
            texts
                .iter()
                .map(|text| format!("{text}\0"))
                .collect::<String>(),
        )
        .run()
        .json_lines();
    assert_eq!(found.len(), texts.len());
    for ((text, expected), found) in texts.iter().zip(&expected).zip(&found) {
        assert_eq!(&found["ids"], expected, "{vocabulary}: {text:?}");
    }
    // The same through an argument, and line by line.
    let (text, expected) = (texts[0], &expected[0]);
    let args = ["tokenize", "--no-special", text];
    assert_eq!(
        &gust(args).args(["--json"]).model(&model).run().json()["ids"],
        expected
    );
    let lines = gust(args).args(["--ids"]).model(&model).run().success();
    assert_eq!(&ids(&lines), expected);
}

fn ids(line: &str) -> Value {
    let ids = line.split_whitespace().map(|id| id.parse::<u32>());
    json!(
        ids.map(|id| id.unwrap_or_else(|error| panic!("{line}: {error}")))
            .collect::<Vec<_>>()
    )
}

fn read(model: &Path, ending: &str) -> String {
    let path = format!("{}{ending}", model.display());
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file of `tests/data`.
fn data(path: &str) -> PathBuf {
    workspace().join("tests/data").join(path)
}

fn stories() -> PathBuf {
    data("models/stories260K-f32.gguf")
}

fn tokenizer_json(kind: &str) -> [String; 2] {
    let path = data(&format!("tokenizers/{kind}.json"));
    ["--tokenizer".to_owned(), path.display().to_string()]
}

#[test]
fn another_vocabulary_gives_the_tokens_of_pythons_tokenizers() {
    let expected = std::fs::read(data("tokenizers/expected.json")).expect("readable");
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    let texts = expected["texts"].as_array().expect("a list").iter();
    let texts: Vec<_> = texts.map(|text| text.as_str().expect("a text")).collect();
    // Those whose last token ends no answer: such a token is not put behind a text that is to be continued.
    for kind in ["byte-level", "fallback", "wordpiece", "wordlevel"] {
        let wanted = expected["ids"][kind].as_array().expect("a list");
        let both = texts.iter().zip(wanted);
        let both: Vec<_> = both.filter(|(text, _)| !text.contains('\0')).collect();
        let stdin: String = both.iter().map(|(text, _)| format!("{text}\0")).collect();
        let found = gust(["tokenize", "--json", "--null", "--parse-special"])
            .args(tokenizer_json(kind))
            .model(stories())
            .stdin(stdin)
            .run()
            .json_lines();
        assert_eq!(found.len(), both.len());
        for ((text, wanted), found) in both.iter().zip(&found) {
            assert_eq!(&found["ids"], *wanted, "{kind}: {text:?}");
        }
    }
}

/// The same vocabulary in the model's file and beside it.
#[test]
fn a_story_is_the_same_with_its_vocabulary_from_another_file() {
    let story = |more: &[String]| {
        let args = ["run", "-t", "0", "-n", "60", "Once upon a time"];
        let run = gust(args).args(more).model(stories());
        run.run().success()
    };
    let own = story(&[]);
    assert!(own.len() > 100, "{own}");
    assert_eq!(story(&tokenizer_json("stories")), own);
    // With a time limit, the engine is compiled in another way; in a group, each member has the tokenizer.
    let limited = tokenizer_json("stories").into_iter();
    let limited: Vec<_> = limited
        .chain(["--call-timeout", "300", "--threads", "2"].map(String::from))
        .collect();
    assert_eq!(story(&limited), own);
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() {
    let tokenize = |file: &Path| {
        let tokenize = gust(["tokenize", "a"]).model(stories());
        tokenize.args([Path::new("--tokenizer"), file])
    };
    let missing = data("tokenizers/none.json");
    tokenize(&missing).run().fails(3, &["none.json"]);
    let own = data("models/stories260K-f32.gguf");
    tokenize(&own)
        .run()
        .fails(3, &["tokenizer.json", "expected value"]);
    let folder = tempfile::tempdir().expect("a folder");
    let written = |change: &dyn Fn(&mut Value)| {
        let bytes = std::fs::read(data("tokenizers/gpt2.json")).expect("readable");
        let mut file: Value = serde_json::from_slice(&bytes).expect("JSON");
        change(&mut file);
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, file.to_string()).expect("writable");
        path
    };
    let large = written(&|file| file["model"]["vocab"]["more"] = 512.into());
    tokenize(&large).run().fails(3, &["512 tokens", "513"]);
    let fits = data("tokenizers/gpt2.json");
    tokenize(&fits)
        .args(["--with", "log"])
        .run()
        .fails(3, &["gust:llm/tokenizers"]);
    let baseline = engine_component("gust-engine-baseline.wasm");
    tokenize(&fits)
        .args([Path::new("--component"), &baseline])
        .run()
        .fails(3, &["gust:llm/tokenizers"]);
    // An expression that takes a quarter of a million steps for each character.
    let slow = written(&|file| {
        file["pre_tokenizer"] = json!({"type": "Split", "behavior": "Isolated", "invert": false,
            "pattern": {"Regex": "(?=(?:a(?!c)|a(?!d)){18}b)b|a"}});
    });
    let text = "a".repeat(100_000);
    let limited = gust(["tokenize", "--json", "--call-timeout", "20"]).model(stories());
    let limited = limited.args([Path::new("--tokenizer"), &slow]).stdin(text);
    limited.run().fails(4, &["time limit"]);
}

//! Tokens of other programs' vocabularies: llama.cpp's test texts and the tokens that it turns them into.

use std::path::Path;

use crate::helpers::{gust, shared};
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

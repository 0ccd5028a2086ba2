//! Texts as vectors: `gust embed` and `gust rerank`, with tiny random models of every architecture that has them.

use std::path::PathBuf;

use gust_engine::tiny_models::{Matrices, encoders};
use serde_json::Value;
use tempfile::TempDir;

use crate::helpers::{Gust, engine_component, gust, workspace};

/// One of the tiny models, as a file.
fn model(name: &str) -> (TempDir, PathBuf) {
    let found = encoders().into_iter().find(|(other, _)| other == name);
    let (_, case) = found.expect("a tiny model");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, case.file(Matrices::Q8_0)).expect("writable");
    (folder, path)
}

/// Texts of different lengths: the tokenizer of these models makes a token of five bytes.
const TEXTS: &str =
    "a cat\nThe quick brown fox jumps over the lazy dog, which does not mind at all.\nfive!\n";

fn embed(args: &[&str]) -> Gust {
    gust([&["embed", "--json"], args].concat()).stdin(TEXTS)
}

fn numbers(line: &Value) -> Vec<f64> {
    let numbers = line["embedding"].as_array().expect("a list").iter();
    numbers.map(|x| x.as_f64().expect("a number")).collect()
}

/// Mapped and copied weights, any number of threads, both engines: the same numbers, to the last digit.
#[test]
fn whatever_computes_a_vector_it_has_the_same_bits() {
    let baseline = engine_component("gust-engine-baseline.wasm");
    let baseline = baseline.to_string_lossy();
    for (name, _) in encoders() {
        let (_folder, path) = model(&name);
        let lines = |args: &[&str]| embed(args).model(&path).run().json_lines();
        let expected = lines(&["--threads", "1", "--mmap"]);
        assert_eq!(expected.len(), 3, "{name}");
        for other in [
            &["--no-mmap"] as &[&str],
            &["--threads", "2"],
            &["--threads", "3", "--mmap"],
            &["--component", &baseline],
            &["--with", "log"],
        ] {
            assert_eq!(lines(other), expected, "{name}, {other:?}");
        }
    }
}

#[test]
fn vectors_have_length_1_unless_asked_not_to() {
    let (_folder, path) = model("bert");
    let length = |line: &Value| {
        let squares = numbers(line).iter().map(|x| x * x).sum::<f64>();
        squares.sqrt()
    };
    let lines = embed(&[]).model(&path).run().json_lines();
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], i);
        assert_eq!(numbers(line).len(), 64);
        assert!((length(line) - 1.0).abs() < 1e-6, "{line}");
    }
    assert_eq!(lines[0]["tokens"], 1);
    let raw = embed(&["--normalize", "none"]).model(&path);
    let raw = raw.run().json_lines();
    assert!((length(&raw[0]) - 1.0).abs() > 1e-3, "{}", raw[0]);
    // One vector for each token, whose mean is the pooled one.
    let all = embed(&["--normalize", "none", "--pooling", "none"]);
    let all = all.model(&path).run().json_lines();
    let tokens = all[1]["tokens"].as_u64().expect("a number") as usize;
    let (all, mean) = (numbers(&all[1]), numbers(&raw[1]));
    assert_eq!(all.len(), 64 * tokens);
    for (i, mean) in mean.iter().enumerate() {
        let exact = all.iter().skip(i).step_by(64).sum::<f64>() / tokens as f64;
        assert!((mean - exact).abs() < 1e-5);
    }
}

/// A text is an argument or a line, and prints as numbers.
#[test]
fn a_text_is_a_line_of_numbers() {
    let (_folder, path) = model("eurobert");
    let printed = gust(["embed", "a cat"]).model(&path).run().success();
    let numbers: Vec<f64> = printed
        .trim_end()
        .split(' ')
        .map(|x| x.parse().expect("a number"))
        .collect();
    let line = &embed(&[]).model(&path).run().json_lines()[0];
    assert_eq!(numbers, self::numbers(line));
    let texts = "a\nb\0a cat\0";
    let lines = gust(["embed", "--json", "-0"]).stdin(texts).model(&path);
    let lines = lines.run().json_lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(self::numbers(&lines[1]), numbers);
}

/// The most relevant first, and no line is lost.
#[test]
fn documents_are_sorted_by_their_scores() {
    let (_folder, path) = model("bert-2");
    let documents: Vec<String> = (0..7).map(|i| format!("document {}", i * i)).collect();
    let rerank = |args: &[&str]| {
        let rerank = gust([&["rerank", "--json"], args, &["a query"]].concat());
        rerank.stdin(documents.join("\n")).model(&path).run()
    };
    let ranked = rerank(&[]).json_lines();
    let scores: Vec<f64> = ranked
        .iter()
        .map(|line| line["score"].as_f64().expect("a number"))
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert!(scores[0] > scores[6], "{scores:?}");
    let mut seen = vec![false; 7];
    for line in &ranked {
        let index = line["index"].as_u64().expect("a number") as usize;
        assert_eq!(line["document"], documents[index].as_str());
        seen[index] = true;
    }
    assert_eq!(seen, [true; 7]);
    assert_eq!(rerank(&["--top", "2"]).json_lines(), ranked[..2]);
    // A file with a classifier need not ask for it, as llama.cpp's converter leaves it open.
    let mut bytes = std::fs::read(&path).expect("a model");
    let key = b"bert.pooling_type";
    let at = bytes.windows(key.len()).position(|part| part == key);
    let at = at.expect("the key") + key.len() + 4;
    assert_eq!(bytes[at..at + 4], 4_u32.to_le_bytes());
    bytes[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
    std::fs::write(&path, bytes).expect("writable");
    assert_eq!(rerank(&[]).json_lines(), ranked);
    let text = gust(["rerank", "a query"]).stdin(documents.join("\n"));
    let text = text.model(&path).run().success();
    let first = format!("{}\t{}\t", ranked[0]["score"], ranked[0]["index"]);
    assert!(text.starts_with(&first), "{text} {first}");
}

#[test]
fn what_cannot_be_done_says_what_can() {
    let (_folder, bert) = model("bert");
    let run = gust(["run", "hello"]).model(&bert).run();
    run.fails(3, &["gust embed", "bert"]);
    let rerank = gust(["rerank", "q"]).stdin("a\n").model(&bert).run();
    rerank.fails(3, &["reranker", "rank"]);
    let pooling = gust(["embed", "--pooling", "rank", "a"]).model(&bert);
    pooling.run().fails(2, &["no classifier"]);
    // The number of the text, and the limit.
    let long = format!("{}\na\n", "x".repeat(1000));
    let long = gust(["embed"]).stdin(long).model(&bert).run();
    assert!(long.stderr.contains("split the text"), "{}", long.stderr);
    long.fails(4, &["text 0", "96"]);
    let empty = gust(["embed"]).stdin("\na\n").model(&bert).run();
    empty.fails(2, &["text 0", "at least one"]);
    // An engine without this interface.
    let mock = workspace().join("target/adapters/example-mock.wasm");
    for with in [&[] as &[&str], &["--with", "log"]] {
        let embed = gust(["embed", "x"]).args(with);
        let embed = embed.args(["--component".as_ref(), mock.as_os_str()]);
        embed.run().fails(3, &["gust:llm/embedding"]);
    }
}

/// A decoder whose file says nothing of vectors.
#[test]
fn the_shipped_model_embeds_with_a_note() {
    let run = gust(["embed", "--json", "Once upon a time"]).run();
    assert!(run.stderr.contains("--pooling"), "{}", run.stderr);
    assert!(!numbers(&run.json()).is_empty());
}

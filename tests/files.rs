//! Files that are broken, each in its own way: the verdict of ggml's own parser on its own test files, and files cut
//! short at any length.

use std::path::Path;

use gust_engine::gguf::{Array, Gguf, Writer};

use crate::helpers::{Parrot, data, gust, shared};

#[test]
fn the_files_of_ggmls_own_test_get_their_verdict() {
    assert_eq!(check_verdicts(&data("malformed")), 29);
}

#[test]
fn the_big_files_of_ggmls_own_test_get_their_verdict() {
    if let Some(folder) = shared("malformed") {
        assert_eq!(check_verdicts(&folder), 34);
    }
}

/// The names carry the verdict: `KV_BAD_TYPE.reject.gguf`, `KV_RANDOM_KV.accept.gguf`. Gives the number of files.
fn check_verdicts(folder: &Path) -> usize {
    let mut seen = 0;
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{error}"));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{error}")).path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let expected = if name.ends_with(".accept.gguf") {
            0
        } else if name.ends_with(".reject.gguf") {
            3
        } else {
            continue;
        };
        seen += 1;
        let ended = gust(["inspect", "--json"]).model(&path).run();
        assert_eq!(ended.code, Some(expected), "{name}: {ended:#?}");
        if expected == 3 {
            ended.fails(3, &["model"]);
        } else {
            ended.json();
        }
        // Whatever the verdict on its metadata, no such file is a model that runs.
        let code = gust(["run", "-n", "1", "x"]).model(&path).run().code;
        assert!(
            matches!(code, Some(3 | 4)),
            "{name}: running it gave {code:?}"
        );
    }
    seen
}

#[test]
fn a_file_cut_short_at_any_length_is_refused() {
    let bytes = Parrot::new("abc").bytes();
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    // Densely in the header, sparsely in the data, and one byte short of all.
    let header = (0..64).chain((64..8_000).step_by(397));
    let data = (8_000..bytes.len()).step_by(60_001);
    for length in header.chain(data).chain([bytes.len() - 1]) {
        write(file.path(), &bytes[..length]);
        for command in [
            &["inspect"] as &[_],
            &["tokenize", "x"],
            &["run", "-n", "1", "x"],
        ] {
            let ended = gust(command).model(file.path()).run();
            assert_eq!(
                ended.code,
                Some(3),
                "cut at {length}, {command:?}: {ended:#?}"
            );
            ended.fails(3, &["expected", "found"]);
        }
    }
    write(file.path(), &bytes);
    gust(["inspect"]).model(file.path()).run().success();
}

#[test]
fn a_pre_tokenizer_that_the_file_does_not_name_is_a_warning() {
    let mut writer = Writer::default();
    writer
        .metadata("general.architecture", "llama")
        .metadata("tokenizer.ggml.model", "gpt2")
        .metadata("tokenizer.ggml.tokens", Array::strings(["a", "b", "ab"]))
        .metadata("tokenizer.ggml.merges", Array::strings(["a b"]));
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    let tokenize = || gust(["tokenize", "ab"]).model(file.path()).run();
    write(file.path(), &writer.header());
    let ended = tokenize();
    let mut warnings = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning: "));
    let warning = warnings.next().unwrap_or_else(|| panic!("{ended:#?}"));
    assert!(warning.contains("`tokenizer.ggml.pre`"), "{warning}");
    assert!(warning.contains("`default`"), "{warning}");
    assert_eq!(warnings.next(), None);
    assert!(ended.success().contains('2'));
    writer.metadata("tokenizer.ggml.pre", "gpt-2");
    write(file.path(), &writer.header());
    let ended = tokenize();
    assert!(!ended.stderr.contains("warning"), "{ended:#?}");
    ended.success();
}

#[test]
fn a_model_in_several_files_runs_from_its_first() {
    let whole = Parrot::new("abc").bytes();
    let parts = Writer::split(&whole, 3).unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = |no: usize| folder.path().join(format!("parrot-{no:05}-of-00003.gguf"));
    for (no, part) in (1..).zip(&parts) {
        write(&path(no), part);
    }
    for mapping in ["--mmap", "--no-mmap"] {
        let text = gust(["run", "-n", "3", "a", mapping])
            .model(path(1))
            .run()
            .success();
        assert_eq!(text, "abca\n");
    }
    let report = gust(["inspect", "--json"]).model(path(1)).run().json();
    let tensors = report["tensors"].as_array().map_or(0, Vec::len);
    let expected = Gguf::read(&whole).map_or(0, |gguf| gguf.tensors.len());
    assert_eq!(tensors, expected);
    assert_eq!(report["runs"], true);

    let run = gust(["run", "x"]).model(path(2)).run();
    run.fails(3, &["the first of 3", "number 2", "-00001-of-00003"]);
    let out = folder.path().join("packed.gguf");
    let args = ["pack", "-o", &out.to_string_lossy()];
    gust(args)
        .model(path(1))
        .run()
        .fails(3, &["one of 3 files", "llama-gguf-split --merge"]);

    let shown = path(3).to_string_lossy().into_owned();
    std::fs::remove_file(path(3)).unwrap_or_else(|error| panic!("{error}"));
    for command in [&["run", "x"] as &[_], &["inspect"]] {
        gust(command).model(path(1)).run().fails(3, &[&shown]);
    }
}

/// A parrot of which one text has been changed for another of the same length.
fn changed(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = Parrot::new("abc").bytes();
    let at = bytes.windows(from.len()).position(|window| window == from);
    let at = at.unwrap_or_else(|| panic!("a parrot has {}", from.escape_ascii()));
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

/// What a listing has in the row with this title.
fn row<'a>(text: &'a str, title: &str) -> &'a str {
    let mut lines = text.lines();
    let row = lines.find_map(|line| line.strip_prefix(title)?.strip_prefix(' '));
    row.unwrap_or_default().trim()
}

#[test]
fn inspect_says_whether_a_model_runs_and_what_is_missing() {
    let parrot = Parrot::new("abc").file();
    let report = gust(["inspect", "--json"]).model(&parrot).run().json();
    assert_eq!(report["runs"], true);
    assert!(report["obstacle"].is_null());
    let text = gust(["inspect"]).model(&parrot).run().success();
    assert_eq!(row(&text, "runs"), "yes", "{text}");

    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    for (from, to, obstacle) in [
        (&b"llama"[..], &b"lemur"[..], "lemur"),
        (b"blk.0.attn_q.weight", b"blk.0.attn_p.weight", "attn_q"),
    ] {
        write(file.path(), &changed(from, to));
        let report = gust(["inspect", "--json"]).model(file.path()).run().json();
        assert_eq!(report["runs"], false, "{obstacle}");
        let found = report["obstacle"].as_str().unwrap_or_default();
        assert!(found.contains(obstacle), "{found}");
        assert!(report["tensors"][0]["name"].is_string());
        let text = gust(["inspect"]).model(file.path()).run().success();
        assert!(row(&text, "runs").starts_with("no: "), "{text}");
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{error}"));
}

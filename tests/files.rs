//! Files that are broken, each in its own way: the verdict of ggml's own parser on its own test files, and files cut
//! short at any length.

use std::path::Path;

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

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{error}"));
}

//! `gust pack`: the packed file gives the same answers as the original, and appears complete or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use crate::helpers::{Ended, gust, workspace};
use serde_json::Value;
use tempfile::TempDir;

fn shipped(file: &str) -> PathBuf {
    workspace().join("models").join(file)
}

fn pack(model: &Path, output: &Path) -> Ended {
    gust(["pack", "--json", "-o"])
        .args([output])
        .model(model)
        .run()
}

/// A new folder, and the path of a file in it.
fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary folder");
    let output = folder.path().join("packed.gguf");
    (folder, output)
}

/// The tokens of a story and the logits after some tokens, with this number of threads.
fn answers(model: &Path, threads: &str) -> (Vec<Value>, Value) {
    let args = [
        "--seed",
        "42",
        "-n",
        "40",
        "--threads",
        threads,
        "--json",
        "Once upon a time",
    ];
    let lines = gust(["run"]).args(args).model(model).run().json_lines();
    let ids = lines
        .iter()
        .filter_map(|line| line.get("id").cloned())
        .collect();
    let logits = [
        "logits",
        "--tokens",
        "1,400,403,500,3",
        "--threads",
        threads,
        "--json",
    ];
    (
        ids,
        gust(logits).model(model).run().json()["logits"].clone(),
    )
}

#[test]
fn a_packed_model_says_the_same_with_any_number_of_threads() {
    for file in ["gust-stories-q4_0.gguf", "gust-stories-q8_0.gguf"] {
        let (_folder, output) = place();
        let report = pack(&shipped(file), &output).json();
        assert!(report["changed_tensors"].as_u64() > Some(10), "{report}");
        let size = fs::metadata(&output).expect("the packed file").len();
        assert_eq!(report["bytes"], size);
        let expected = answers(&shipped(file), "1");
        assert!(expected.0.len() > 20, "{expected:?}");
        for threads in ["1", "2", "3"] {
            assert!(
                answers(&output, threads) == expected,
                "{file}, {threads} threads"
            );
        }
    }
}

#[test]
fn the_baseline_engine_computes_the_same_from_it() {
    let (_folder, output) = place();
    pack(&shipped("gust-stories-q4_0.gguf"), &output).success();
    let baseline = workspace().join("target/engine/gust-engine-baseline.wasm");
    let run = |model: &Path| {
        let run = gust(["logits", "--tokens", "1,400,403", "--json", "--component"]);
        run.args([&baseline]).model(model).run().json()
    };
    assert_eq!(run(&output), run(&shipped("gust-stories-q4_0.gguf")));
}

#[test]
fn inspect_names_the_packed_types() {
    let (_folder, output) = place();
    pack(&shipped("gust-stories-q8_0.gguf"), &output).success();
    let report = gust(["inspect", "--json"]).model(&output).run().json();
    let types = report["types"].as_array().expect("a list");
    assert!(types.iter().any(|ty| ty["type"] == "Q8_0_X4"), "{types:?}");
}

#[test]
fn it_goes_on_where_it_was_interrupted() {
    let (_folder, output) = place();
    let model = shipped("gust-stories-q8_0.gguf");
    pack(&model, &output).success();
    let whole = fs::read(&output).expect("the packed file");
    let part = output.with_extension("gguf.part");
    let again = |part_bytes: &[u8]| {
        fs::remove_file(&output).expect("it was there");
        fs::write(&part, part_bytes).expect("can be written");
        let report = pack(&model, &output).json();
        assert!(fs::read(&output).expect("the packed file") == whole);
        assert!(!part.exists());
        report["resumed_at"].as_u64()
    };
    let half = whole.len() / 2;
    assert_eq!(again(&whole[..half]), Some(half as u64));
    assert_eq!(again(&whole), Some(whole.len() as u64));
    // A partial file that is not a prefix of this output is discarded.
    assert_eq!(again(&[7; 1000]), Some(0));
    let mut other_end = whole[..half].to_vec();
    other_end[half - 1] ^= 1;
    assert_eq!(again(&other_end), Some(0));
    let mut too_long = whole.clone();
    too_long.extend([1; 10]);
    assert_eq!(again(&too_long), Some(whole.len() as u64));
}

/// The partial file is where anybody can guess it. What is there must be one's own, and is not followed elsewhere.
#[cfg(unix)]
#[test]
fn a_partial_file_that_somebody_has_planted_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (folder, output) = place();
    let model = shipped("gust-stories-q8_0.gguf");
    let part = output.with_extension("gguf.part");
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").expect("can be written");

    symlink(&victim, &part).expect("a link");
    pack(&model, &output).fails(1, &["symbolic link"]);
    fs::remove_file(&part).expect("it is still there");
    fs::hard_link(&victim, &part).expect("a second name");
    pack(&model, &output).fails(1, &["hard links"]);
    assert_eq!(fs::read(&victim).expect("still there"), b"precious");

    fs::remove_file(&part).expect("it is still there");
    let made = std::process::Command::new("mkfifo").arg(&part).status();
    assert!(made.expect("mkfifo").success());
    pack(&model, &output).fails(1, &["not a regular file"]);
    fs::remove_file(&part).expect("it is still there");
    fs::write(&part, "planted").expect("can be written");
    fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).expect("it is ours");
    pack(&model, &output).fails(1, &["written to by others"]);
    fs::remove_file(&part).expect("it is still there");
    pack(&model, &output).success();
}

#[test]
fn packing_has_limits() {
    let (_folder, output) = place();
    let model = shipped("gust-stories-q8_0.gguf");
    let limited = |flags: [&str; 2]| {
        let run = gust(["pack", "-o"]).args([&output]).args(flags);
        run.model(&model).run()
    };
    limited(["--call-timeout", "0.0000001"]).fails(4, &["time limit"]);
    limited(["--max-memory", "1MiB"]).fails(4, &["memory"]);
    assert!(!output.exists());
    limited(["--call-timeout", "600"]).success();
}

#[test]
fn nothing_is_replaced_unasked() {
    let (_folder, output) = place();
    fs::write(&output, "mine").expect("can be written");
    let model = shipped("gust-stories-q8_0.gguf");
    pack(&model, &output).fails(2, &["already exists"]);
    assert_eq!(fs::read(&output).expect("still there"), b"mine");
    let report = gust(["pack", "--force", "--json", "-o"])
        .args([&output])
        .model(&model);
    assert!(report.run().json()["bytes"].as_u64() > Some(1000));
}

/// The model may be the only copy of a file of gigabytes: no name for it is an output.
#[cfg(unix)]
#[test]
fn the_model_is_never_its_own_output() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let model = path("model.gguf");
    fs::copy(shipped("gust-stories-q8_0.gguf"), &model).expect("space");
    let before = fs::read(&model).expect("the model");
    fs::hard_link(&model, path("hard.gguf")).expect("the same file system");
    std::os::unix::fs::symlink("model.gguf", path("soft.gguf")).expect("a link");
    // What an interrupted run would have left for `output.gguf`.
    fs::hard_link(&model, path("output.gguf.part")).expect("the same file system");
    for (input, output) in [
        ("model.gguf", "./model.gguf"),
        ("model.gguf", "hard.gguf"),
        ("model.gguf", "soft.gguf"),
        ("soft.gguf", "model.gguf"),
        ("model.gguf", "output.gguf"),
    ] {
        for force in [&["--force"] as &[_], &[]] {
            let run = gust(["pack"]).args(force).args(["-o"]);
            let ended = run.args([path(output)]).model(path(input)).run();
            ended.fails(2, &["is the model itself"]);
        }
    }
    assert!(fs::read(&model).expect("still there") == before);
}

/// A device, a pipe or a socket is no file that another could take the place of; a link stays one.
#[cfg(unix)]
#[test]
fn only_files_are_replaced() {
    let (folder, output) = place();
    let model = shipped("gust-stories-q8_0.gguf");
    let forced = |output: &Path| {
        let run = gust(["pack", "--force", "-o"]);
        run.args([output]).model(&model).run()
    };
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a short path");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
    for place in [&socket, &link, &folder.path().to_owned()] {
        forced(place).fails(2, &["expected a regular file", "found"]);
    }
    let kind = fs::symlink_metadata(&socket).expect("still there");
    assert!(std::os::unix::fs::FileTypeExt::is_socket(&kind.file_type()));

    fs::write(&output, "old").expect("can be written");
    fs::remove_file(&link).expect("still there");
    std::os::unix::fs::symlink(&output, &link).expect("a link");
    forced(&link).success();
    assert!(link.is_symlink());
    let size = fs::metadata(&output).expect("the packed file").len();
    assert_eq!(size, fs::metadata(&model).expect("the model").len());
}

#[test]
fn what_cannot_be_packed_leaves_no_file() {
    let (folder, output) = place();
    let packed = folder.path().join("once.gguf");
    pack(&shipped("gust-stories-q8_0.gguf"), &packed).success();
    let broken = folder.path().join("broken.gguf");
    fs::write(
        &broken,
        &fs::read(&packed).expect("it was written")[..1_000_000],
    )
    .expect("can be written");
    let text = folder.path().join("text.gguf");
    fs::write(&text, "no model").expect("can be written");
    pack(&packed, &output).fails(3, &["nothing to pack"]);
    pack(&broken, &output).fails(3, &["cut short"]);
    pack(&text, &output).fails(3, &["GGUF"]);
    pack(&folder.path().join("nowhere.gguf"), &output).fails(3, &["no model at"]);
    let left = fs::read_dir(folder.path()).expect("the folder");
    let mut names: Vec<_> = left
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["broken.gguf", "once.gguf", "text.gguf"]);
}

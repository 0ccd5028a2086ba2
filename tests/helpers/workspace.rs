//! Where things are: the workspace, what was built in it, the test data, the golden files.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A build of the engine, such as `gust-engine.wasm`.
///
/// # Panics
///
/// If it has not been built.
pub(crate) fn engine_component(file: &str) -> PathBuf {
    let path = workspace().join("target/engine").join(file);
    assert!(
        path.is_file(),
        "{} is missing; run `cargo xtask test`, which builds it first",
        path.display()
    );
    path
}

/// A file or folder of the test data that come with the project.
pub(crate) fn data(path: &str) -> PathBuf {
    workspace().join("tests/data").join(path)
}

/// A JSON file of the test data that come with the project.
///
/// # Panics
///
/// If it is missing, or no JSON.
pub(crate) fn data_json(path: &str) -> Value {
    let path = data(path);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file or folder of `../shared/data`, beside the checkout: what others do not let us publish, and what is too big. Where
/// it is missing this says so and gives nothing, and the test ends; `cargo xtask test` says in its summary what was not
/// tested.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let data = workspace().join("../shared/data");
    if data.is_dir() {
        return Some(data.join(path));
    }
    println!("skipped: no shared data");
    None
}

/// Compares with a file in `tests/golden`, or writes it where `BLESS=1` is set.
///
/// # Panics
///
/// If they differ, or there is no such file.
pub(crate) fn golden(name: &str, found: &str) {
    let path = workspace().join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(&path, found).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; BLESS=1 writes it from what is found",
            path.display()
        )
    });
    assert_eq!(
        expected,
        found,
        "{} differs (left); if the change is meant, BLESS=1 writes it anew",
        path.display()
    );
}

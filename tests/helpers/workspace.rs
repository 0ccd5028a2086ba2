//! Where things are: the workspace, what was built in it, the shared data, the golden files.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A build of the engine, such as `gust-engine.wasm`.
///
/// # Panics
///
/// If it has not been built.
pub fn engine_component(file: &str) -> PathBuf {
    let path = workspace().join("target/engine").join(file);
    assert!(
        path.is_file(),
        "{} is missing; run `cargo xtask test`, which builds it first",
        path.display()
    );
    path
}

/// A file or folder of the shared test data, which is not part of the project. If the data are missing, it says so and
/// returns `None`, and the test ends; in CI they must be there.
///
/// # Panics
///
/// If the data are missing and the environment variable `CI` is set.
pub fn shared(path: &str) -> Option<PathBuf> {
    let data = workspace().join("../shared/data");
    if data.is_dir() {
        return Some(data.join(path));
    }
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!in_ci, "{} is missing in CI", data.display());
    println!("skipped: no shared data");
    None
}

/// A JSON file of the shared test data.
///
/// # Panics
///
/// As [`shared`], and if the file is not JSON.
pub fn shared_json(path: &str) -> Option<Value> {
    let path = shared(path)?;
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
}

/// Compares with a file in `tests/golden`, or writes it if `BLESS=1` is set.
///
/// # Panics
///
/// If they differ, or there is no such file.
pub fn golden(name: &str, found: &str) {
    let path = workspace().join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(&path, found).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; set BLESS=1 to create it from the current output",
            path.display()
        )
    });
    assert_eq!(
        expected,
        found,
        "{} differs (left is the file); if the change is intended, set BLESS=1 to update it",
        path.display()
    );
}

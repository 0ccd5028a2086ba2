//! Test data: what comes with the project, in `tests/data`, and what others do not let us publish, beside the project.

use std::path::PathBuf;

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");

/// A file of `tests/data`.
pub(crate) fn data(path: &str) -> Vec<u8> {
    read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data"), path)
}

/// A file of `../shared/data`, beside the checkout. `None`, after saying so, where that folder is missing; `cargo xtask
/// test` says in its summary what was not tested.
pub(crate) fn shared(path: &str) -> Option<Vec<u8>> {
    if !PathBuf::from(SHARED).is_dir() {
        eprintln!("skipped: no shared data");
        return None;
    }
    Some(read(SHARED, path))
}

fn read(folder: &str, path: &str) -> Vec<u8> {
    let file = PathBuf::from(folder).join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

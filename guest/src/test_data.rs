//! Test data that lives next to the project and is not part of it.

use std::path::PathBuf;

/// A file in `../shared/data`. If that folder is missing, prints a note and returns `None`; in CI it must exist.
pub(crate) fn shared(path: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    if !folder.is_dir() {
        assert!(
            std::env::var_os("CI").is_none(),
            "no shared data, and CI is set"
        );
        eprintln!("skipped: no shared data");
        return None;
    }
    let file = folder.join(path);
    Some(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

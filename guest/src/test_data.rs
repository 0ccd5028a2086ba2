//! The shared test data: files that nobody here wrote. See `shared/data/README.md`.

/// The bytes of a file below `shared/data`, or `None` (and a word on why the test does nothing) where the folder is
/// missing. In CI it must be there.
pub(crate) fn shared(path: &str) -> Option<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    match std::fs::read(format!("{folder}/{path}")) {
        Ok(bytes) => Some(bytes),
        Err(error) if std::env::var_os("CI").is_some() => panic!("{folder}/{path}: {error}"),
        Err(_) => {
            eprintln!("skipped: no shared data");
            None
        }
    }
}

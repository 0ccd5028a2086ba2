//! Compiled engines, kept between runs.
//!
//! Compiling takes seconds, reading the result milliseconds. An entry is one file, named after everything that the
//! result depends on: the component, Wasmtime's version and settings and the processor's features (all of them in
//! Wasmtime's compatibility hash), and gust's version. A file states its length and its checksum; if its contents do
//! not match, the engine is compiled again and the file replaced. Files are written to a temporary name and then
//! renamed, so that programs starting at the same time only see complete files. A folder that cannot be written to is
//! not an error: there is no cache then.

#![expect(
    unsafe_code,
    reason = "loads machine code that an earlier run has compiled"
)]

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The first bytes of every file: its kind, and the version of this layout.
const MAGIC: &[u8; 16] = b"gust engine  1\r\n";

/// How an entry's name ends.
const EXTENSION: &str = "gust-engine";

/// Entries beyond this many are removed, the oldest first.
const KEPT: usize = 8;

/// Where compiled engines are kept by default: `GUST_CACHE_DIR` (nowhere if empty), otherwise the user's cache
/// directory.
pub(crate) fn default_dir() -> Option<PathBuf> {
    match std::env::var_os("GUST_CACHE_DIR") {
        Some(dir) if dir.is_empty() => None,
        Some(dir) => Some(dir.into()),
        None => Some(
            directories::ProjectDirs::from("", "", "gust")?
                .cache_dir()
                .to_owned(),
        ),
    }
}

/// Returns `component` compiled for `engine`: from the cache in `dir`, or else by calling `on_compile`, compiling it,
/// and storing the result for the next time.
pub(crate) fn compiled(
    engine: &Engine,
    component: &[u8],
    dir: Option<&Path>,
    on_compile: impl FnOnce(),
) -> wasmtime::Result<Component> {
    let entry = dir
        .filter(|dir| prepare(dir))
        .map(|dir| dir.join(name(engine, component)));
    if let Some(compiled) = entry.as_deref().and_then(|entry| read(engine, entry)) {
        return Ok(compiled);
    }
    on_compile();
    let compiled = Component::from_binary(engine, component)?;
    if let Some(entry) = entry {
        // The next run compiles again if this fails.
        let _ = compiled.serialize().map(|code| write(&entry, &code));
    }
    Ok(compiled)
}

/// Creates `dir` if it is missing. Returns whether it may be used: machine code is loaded from it, so no other user may
/// be able to put any there.
fn prepare(dir: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        let _ = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        // It does no harm if others can read it. Some systems make home folders writable by a group, which is the
        // user's own group.
        dir.metadata()
            .is_ok_and(|dir| dir.is_dir() && dir.mode() & 0o002 == 0)
    }
    #[cfg(not(unix))]
    {
        let _ = fs::create_dir_all(dir);
        dir.is_dir()
    }
}

/// The name of the entry for `component` compiled for `engine`.
fn name(engine: &Engine, component: &[u8]) -> String {
    let mut key = Key(Sha256::new());
    key.write(env!("CARGO_PKG_VERSION").as_bytes());
    engine.precompile_compatibility_hash().hash(&mut key);
    key.write(&Sha256::digest(component));
    let mut name: String = key
        .0
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    name.push('.');
    name.push_str(EXTENSION);
    name
}

/// A cryptographic hash for values that implement `Hash`.
struct Key(Sha256);

impl Hasher for Key {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

/// Reads an entry. `None` if it is missing, is incomplete, or is not something that Wasmtime would load.
fn read(engine: &Engine, entry: &Path) -> Option<Component> {
    let bytes = fs::read(entry).ok()?;
    let (magic, rest) = bytes.split_first_chunk::<{ MAGIC.len() }>()?;
    let (checksum, code) = rest.split_first_chunk::<32>()?;
    if magic != MAGIC || Sha256::digest(code)[..] != checksum[..] {
        return None;
    }
    // SAFETY: `deserialize` requires unchanged bytes from `serialize`. The checksum shows that they are what `write`
    // has written, which is what `serialize` returned; accidental damage does not pass it. Deliberate damage would, but
    // `prepare` has found that others cannot write to the folder, and anyone who can write there as this user can just
    // as well replace the program. Wasmtime itself refuses code for other versions, settings and processors.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Writes an entry so that it appears complete or not at all.
fn write(entry: &Path, code: &[u8]) -> std::io::Result<()> {
    let dir = entry.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(MAGIC)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)?;
    file.persist(entry).map_err(|error| error.error)?;
    prune(dir)
}

/// Removes the oldest entries, which may never be needed again.
fn prune(dir: &Path) -> std::io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(dir)?
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    entries.sort();
    let excess = entries.len().saturating_sub(KEPT);
    for (_, path) in &entries[..excess] {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

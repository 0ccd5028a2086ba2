//! Compiled engines, kept between runs.
//!
//! Compiling takes seconds, reading the result milliseconds. An entry is one file, named by everything that the result
//! depends on: the component, Wasmtime's version and settings and the processor's features (all of them in Wasmtime's
//! compatibility hash), and gust's version. A file says its length and its checksum; one that does not hold what it says
//! is compiled again and replaced. Files are written beside their place and renamed, so that programs starting at the
//! same time see whole files only. A folder that cannot be written to is no error: then there is no cache.

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

/// The first bytes of every file: what it is, and the version of this layout.
const MAGIC: &[u8; 16] = b"gust engine  1\r\n";

/// How an entry's name ends.
const EXTENSION: &str = "gust-engine";

/// Entries beyond this many are removed, the oldest first.
const KEPT: usize = 8;

/// Where compiled engines are kept by default: `GUST_CACHE_DIR` (empty: nowhere), else the user's folder for caches.
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

/// Gives `component` compiled for `engine`: from the cache in `dir`, or else by compiling it, which is announced with
/// `on_compile`, and stored for the next time.
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

/// Creates `dir` where it is missing. Says whether it may be used: machine code is loaded from it, so no other user may
/// be able to put any there.
fn prepare(dir: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        let _ = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        // Readable by others is no harm. Writable by a group is how some systems set up home folders, where the group
        // is the user's own.
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

/// A cryptographic hash for what implements `Hash`.
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

/// Reads an entry. `None` where it is missing, is not whole, or is not what Wasmtime would load.
fn read(engine: &Engine, entry: &Path) -> Option<Component> {
    let bytes = fs::read(entry).ok()?;
    let (magic, rest) = bytes.split_first_chunk::<{ MAGIC.len() }>()?;
    let (checksum, code) = rest.split_first_chunk::<32>()?;
    if magic != MAGIC || Sha256::digest(code)[..] != checksum[..] {
        return None;
    }
    // SAFETY: `deserialize` wants bytes that `serialize` made, unchanged. The checksum shows them to be what `write` has
    // written, which is what `serialize` gave; damage by accident does not pass it. Damage on purpose would, but `prepare`
    // has found that others cannot write to the folder, and whoever can write there as this user can as well replace the
    // program. Wasmtime itself refuses code for other versions, settings and processors.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Writes an entry so that it appears whole or not at all.
fn write(entry: &Path, code: &[u8]) -> std::io::Result<()> {
    let dir = entry.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(MAGIC)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)?;
    file.persist(entry).map_err(|error| error.error)?;
    prune(dir)
}

/// Removes the oldest entries, which no program of today may ever ask for again.
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

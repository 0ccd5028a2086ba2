//! Compiled engines, kept between runs.
//!
//! Compiling takes seconds, reading the result milliseconds. An entry is one file, named after everything that the
//! result depends on: the component, Wasmtime's version and settings and the processor's features (all of them in
//! Wasmtime's compatibility hash), and gust's version. A file states its length and its checksum; if its contents do
//! not match, the engine is compiled again and the file replaced. Files are written to a temporary name and then
//! renamed, so that programs starting at the same time only see complete files. A folder that cannot be written to is
//! not an error: there is no cache then.
//!
//! An entry is executed, so nobody else may have had a hand in it: the folder and the entry belong to the user that the
//! program runs as, nobody else may write to them, and neither is a symbolic link (see
//! [`files`](crate::runtime::files)). Anything else is not used, and the caller is told why.

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

use crate::runtime::files::{OwnFolder, Refusal};
use crate::runtime::memory::address_limit;

/// The first bytes of every file: its kind, and the version of this layout.
const MAGIC: &[u8; 16] = b"gust engine  1\r\n";

/// How an entry's name ends.
const EXTENSION: &str = "gust-engine";

/// Entries beyond this many are removed, the oldest first.
const KEPT: usize = 8;

/// The least address space in which a component is compiled, in bytes: an allocation that fails there ends the process.
const COMPILING: u64 = 512 << 20;
/// And in which a compiled one is run.
const RUNNING: u64 = 72 << 20;

/// There is too little address space to go on.
#[derive(Debug, thiserror::Error)]
#[error("too little address space")]
pub(crate) struct TooLittleSpace;

/// Whether there is enough address space.
fn check_space(least: u64) -> wasmtime::Result<()> {
    match address_limit() {
        Some(limit) if limit < least => Err(TooLittleSpace.into()),
        _ => Ok(()),
    }
}

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

/// What [`compiled`] tells its caller.
pub(crate) struct Listeners<'a> {
    /// The component has to be compiled, which may take seconds.
    pub(crate) on_compile: &'a dyn Fn(),
    /// What is in the cache is not used, for the reason given, which says what to do.
    pub(crate) on_distrust: &'a dyn Fn(&str),
}

/// Returns `component` compiled for `engine`: from the cache in `dir`, or else by compiling it, and storing the result
/// for the next time.
///
/// # Errors
/// [`TooLittleSpace`], or what is wrong with the component.
pub(crate) fn compiled(
    engine: &Engine,
    component: &[u8],
    dir: Option<&Path>,
    listeners: &Listeners<'_>,
) -> wasmtime::Result<Component> {
    check_space(RUNNING)?;
    let folder = dir.and_then(|dir| match OwnFolder::open(dir) {
        Ok(folder) => Some(folder),
        Err(Refusal::Unusable(_)) => None,
        Err(Refusal::Untrusted(found)) => {
            (listeners.on_distrust)(&format!(
                "the cache folder {} is not used, because it {found}; remove it, or set GUST_CACHE_DIR to a folder of \
                 your own that nobody else can write to",
                dir.display()
            ));
            None
        }
    });
    let name = name(engine, component);
    if let Some(folder) = &folder {
        match folder.read(&name) {
            Ok(bytes) => {
                if let Some(compiled) = load(engine, &bytes) {
                    return Ok(compiled);
                }
            }
            Err(Refusal::Unusable(_)) => {}
            Err(Refusal::Untrusted(found)) => (listeners.on_distrust)(&format!(
                "the cached {} is not used, because it {found}; it is replaced",
                folder.path().join(&name).display()
            )),
        }
    }
    check_space(COMPILING)?;
    (listeners.on_compile)();
    let compiled = Component::from_binary(engine, component)?;
    if let Some(folder) = folder {
        // The next run compiles again if this fails.
        let _ = compiled
            .serialize()
            .map(|code| write(&folder.path().join(&name), &code));
    }
    Ok(compiled)
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

/// Loads the bytes of an entry. `None` if they are incomplete, or not something that Wasmtime would load.
fn load(engine: &Engine, bytes: &[u8]) -> Option<Component> {
    let (magic, rest) = bytes.split_first_chunk::<{ MAGIC.len() }>()?;
    let (checksum, code) = rest.split_first_chunk::<32>()?;
    if magic != MAGIC || Sha256::digest(code)[..] != checksum[..] {
        return None;
    }
    // SAFETY: `deserialize` requires unchanged bytes from `serialize`. The checksum shows that they are what `write`
    // has written, which is what `serialize` returned; accidental damage does not pass it. Deliberate damage would, but
    // the bytes come from `OwnFolder::read`: the file that they were read from, and the folder that it was found in,
    // belong to this user, and nobody else can write to them. Anyone who can write there as this user can just as well
    // replace the program. Wasmtime itself refuses code for other versions, settings and processors.
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

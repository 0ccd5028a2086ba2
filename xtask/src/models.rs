//! Model files that are at hand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The GGUF files of a folder, by name.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "gguf"));
    paths.sort();
    Ok(paths)
}

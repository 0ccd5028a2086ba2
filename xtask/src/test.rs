//! Every test: natively, in WebAssembly with both engines' instructions, end to end, and the examples of the
//! documentation. A step that fails does not keep the next from running; the last line sums up.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::build::{self, FLAVORS, wasm_flags};
use crate::process::{WORKSPACE, binary, cargo, step};
use crate::setup::WASM;

/// Sets up, builds, tests. Gives success if every test passed.
pub(crate) fn all() -> Result<ExitCode> {
    step("components", build::components)?;
    step("host", || build::host(&["--bin", "wasm-test-runner"]))?;

    let mut sum = Tally::default();
    sum.add("unit tests, native", &mut native(&["--lib", "--bins"]))?;
    for flavor in &FLAVORS {
        let title = format!("unit tests of the engine, {WASM} {}", flavor.features);
        sum.add(&title, &mut wasm(flavor.features))?;
    }
    sum.add("end to end", &mut native(&["--test", "*"]))?;
    // `--doc` passes over `doctest = false`: one crate shares a module of the host, whose example is the host's.
    let examples = ["--doc", "--exclude", "gust-front-end"];
    sum.add("examples in the documentation", &mut native(&examples))?;

    println!();
    for name in &sum.names {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(match sum.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn native(targets: &[&str]) -> Command {
    let selection = [&["test", "--no-fail-fast"], &WORKSPACE[..], targets].concat();
    cargo(&selection)
}

fn wasm(features: &str) -> Command {
    let mut command = cargo(&["test", "--no-fail-fast", "--release", "--lib"]);
    command
        .args(["--package", "gust-engine", "--target", WASM])
        .env("CARGO_ENCODED_RUSTFLAGS", wasm_flags(features))
        .env(
            "CARGO_TARGET_WASM32_WASIP2_RUNNER",
            binary("wasm-test-runner"),
        );
    command
}

/// What the test harnesses said, summed up.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    /// What failed, and in which step.
    names: Vec<String>,
}

impl Tally {
    /// Runs one step, passing on what it prints. A step that ends badly without a failed test (it did not compile, it
    /// was aborted) counts as one.
    fn add(&mut self, title: &str, command: &mut Command) -> Result<()> {
        step(title, || {
            let mut child = command
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot start cargo")?;
            let failed_before = self.failed;
            let output = child.stdout.take().context("no output to read")?;
            for line in BufReader::new(output).split(b'\n') {
                let line = line.context("cannot read the tests' output")?;
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                self.count(title, &line);
            }
            let status = child.wait().context("cannot wait for cargo")?;
            if !status.success() && self.failed == failed_before {
                self.failed += 1;
                self.names.push(format!("{title}: {status}"));
            }
            Ok(())
        })
    }

    /// Takes the names from `test NAME ... FAILED`, and the numbers from `test result: ok. 5 passed; 0 failed; ...`.
    fn count(&mut self, title: &str, line: &str) {
        let failed = line.strip_suffix(" ... FAILED");
        if let Some(name) = failed.and_then(|line| line.strip_prefix("test ")) {
            self.names.push(format!("{title}: {name}"));
        }
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let number = |word: &str| -> u64 {
            let before = result.split(word).next().unwrap_or_default();
            let digits = before.rsplit([' ', ';']).find(|part| !part.is_empty());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        self.passed += number(" passed");
        self.failed += number(" failed");
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn numbers_of_a_harness_are_added() {
        let mut tally = Tally::default();
        for line in [
            "running 12 tests",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test blocks::tests::first ... ok",
            "test blocks::tests::second ... FAILED",
            "test result: FAILED. 31 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.count("unit", line);
        }
        assert_eq!(tally.names, ["unit: blocks::tests::second"]);
        assert_eq!((tally.passed, tally.failed), (36, 2));
    }
}

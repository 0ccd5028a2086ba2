//! Every test: natively, in WebAssembly (the kernels also as they are for other processors and hosts), the length of the kernels'
//! loops, end to end, and the examples of the documentation. A step that fails does not keep the next from running; the last
//! line sums up.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::{self, FLAVORS, Flavor, wasm_flags};
use crate::debug_info;
use crate::process::{WHOLE, WORKSPACE, binary, cargo, root, target, timed};
use crate::setup::WASM;

/// Sets up, builds, tests. Gives success if every test passed.
pub(crate) fn all() -> Result<ExitCode> {
    let mut times = Times::default();
    times.step("build: components", build::components)?;
    times.step("build: programs", || {
        build::host(&["--bin", "wasm-test-runner", "--bin", "kernels"])
    })?;
    times.step("build: tests", || {
        // A test that does not compile fails its step below, and the others run.
        let built = native(&["--no-run", "--lib", "--bins", "--tests"]).status();
        built.map(drop).context("cannot start cargo")
    })?;

    let mut sum = Tally::default();
    let title = "unit tests, native";
    times.step(title, || sum.add(title, &mut native(&["--lib", "--bins"])))?;
    let [relaxed, baseline] = &FLAVORS;
    let title = format!("unit tests of the engine, {WASM} {}", relaxed.features);
    times.step(&title, || {
        sum.add(&title, &mut wasm(relaxed, build::TOKENIZERS))
    })?;
    for isa in isas() {
        let title = format!("unit tests of the kernels, {WASM} for {isa}");
        let mut tests = wasm(relaxed, build::TOKENIZERS);
        tests.env("GUST_ISA", isa).args(["--", "kernels::"]);
        times.step(&title, || sum.add(&title, &mut tests))?;
    }
    // The flavors differ in kernels and in nothing else, so there is no need to compile the rest of the tests' dependencies.
    let title = format!("unit tests of the kernels, {WASM} {}", baseline.features);
    let mut tests = wasm(baseline, "");
    tests.args(["--", "kernels::"]);
    times.step(&title, || sum.add(&title, &mut tests))?;
    let title = "instructions of the kernels";
    times.step(title, || sum.add(title, &mut instructions()))?;
    let title = "end to end";
    times.step(title, || sum.add(title, &mut native(&["--test", "*"])))?;
    // `--doc` passes over `doctest = false`: one crate shares a module of the host, whose example is the host's.
    let examples = ["--doc", "--exclude", "gust-front-end"];
    let title = "examples in the documentation";
    times.step(title, || sum.add(title, &mut native(&examples)))?;

    // Cargo has put its own program there again, which has its symbols inside.
    debug_info::split(&binary("gust"))?;

    println!();
    times.print();
    if !root().join(VOCABULARIES).is_dir() {
        println!("not tested: the vocabularies of other models ({VOCABULARIES} is missing)");
    }
    for name in &sum.names {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(match sum.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Vocabularies that are not ours to publish. Tests of them pass over them where they are missing.
const VOCABULARIES: &str = "../shared/data/vocab";

fn native(targets: &[&str]) -> Command {
    let selection = [&["test", "--no-fail-fast"], &WORKSPACE[..], &WHOLE, targets].concat();
    cargo(&selection)
}

/// The engine's unit tests in WebAssembly, with these features of cargo's.
fn wasm(flavor: &Flavor, features: &str) -> Command {
    let mut command = cargo(&["test", "--no-fail-fast", "--release", "--lib"]);
    command
        .args(["--package", "gust-engine", "--target", WASM])
        .args(["--features", features])
        .env("CARGO_ENCODED_RUSTFLAGS", wasm_flags(flavor.features))
        .env(
            "CARGO_TARGET_WASM32_WASIP2_RUNNER",
            binary("wasm-test-runner"),
        );
    command
}

/// What the kernels are also tested with: they give the same bits whatever Cranelift makes of them. The other tests use all
/// that the processor has; these are for what has less.
fn isas() -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") {
        return &["avx2"];
    }
    match std::env::consts::ARCH {
        "aarch64" => &["neon"],
        _ => &[],
    }
}

/// Compares the kernels' loops with `benches/instructions.json`.
fn instructions() -> Command {
    let [relaxed, ..] = &FLAVORS;
    let mut command = Command::new(binary("kernels"));
    command.args(["counts", "--check"]);
    command.arg(target().join("engine").join(relaxed.file));
    command
}

/// How long each step took.
#[derive(Default)]
struct Times(Vec<(String, Duration)>);

impl Times {
    fn step<T>(&mut self, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (result, time) = timed(title, work)?;
        self.0.push((title.to_owned(), time));
        Ok(result)
    }

    fn print(&self) {
        let total = Duration::default();
        let total = self.0.iter().fold(total, |total, (_, time)| total + *time);
        for (title, time) in &self.0 {
            println!("{:7.1} s  {title}", time.as_secs_f64());
        }
        println!("{:7.1} s  all", total.as_secs_f64());
    }
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

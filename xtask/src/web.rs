//! `cargo xtask web`: the npm package in `web/`, which Node and browsers run the engine from.
//!
//! It is made of the engines with and without relaxed-simd, each with and without tokenizers from files, with npm's
//! packages that `web/package-lock.json` names. Nothing else needs Node, so it is looked for here, and only when this is
//! asked for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Error, Result, anyhow, bail};

use crate::process::{root, run, step};
use crate::{build, setup};

/// The oldest version of Node that runs the package.
const OLDEST: u32 = 20;

/// Builds the package; with `test`, tests it as well; with `demo`, serves the demo page.
pub(crate) fn web(args: &[OsString]) -> Result<ExitCode> {
    let (what, rest) = match args.split_first() {
        None => ("", args),
        Some((what, rest)) => (what.to_str().unwrap_or("?"), rest),
    };
    match what {
        "" => package()?,
        "test" if rest.is_empty() => test()?,
        "demo" => demo(rest)?,
        _ => {
            eprintln!("error: expected `web`, `web test` or `web demo [ARGS]`");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the engines, and the package out of them.
fn package() -> Result<()> {
    node()?;
    setup::check()?;
    step("engines", || {
        build::engines()?;
        build::baseline_tokenizers()
    })?;
    step("package", || {
        if !has_packages() {
            run(&mut npm(&["ci", "--no-audit", "--no-fund"]))?;
        }
        run(&mut npm(&["run", "build"]))
    })
}

/// The package is compared with the command, so that one is built too.
fn test() -> Result<()> {
    node()?;
    step("gust", build::all)?;
    package()?;
    step("Node 24", || run(&mut npm(&["run", "node24"])))?;
    step("tests in Node", || run(&mut npm(&["test"])))?;
    step("tests in Chromium", || {
        run(&mut npm(&["run", "test:browser"]))
    })
}

fn demo(args: &[OsString]) -> Result<()> {
    package()?;
    run(npm(&["run", "demo", "--"]).args(args))
}

/// `npm ARGS` in the package's folder.
fn npm(args: &[&str]) -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.args(args).current_dir(folder());
    command
}

/// Looks for Node and npm.
fn node() -> Result<()> {
    let hint = "hint: install it with npm from https://nodejs.org";
    let missing = |what: &str, error: Error| anyhow!("{what} is missing ({error})\n{hint}");
    let version = said(Command::new("node").arg("--version"))
        .map_err(|error| missing(&format!("Node, version {OLDEST} or later,"), error))?;
    if major(&version).is_none_or(|major| major < OLDEST) {
        bail!("expected Node {OLDEST} or later, found {version}\n{hint}");
    }
    said(&mut npm(&["--version"])).map_err(|error| missing("npm", error))?;
    Ok(())
}

/// The first number of a version such as `v20.2.0`.
fn major(version: &str) -> Option<u32> {
    version
        .trim_start_matches('v')
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// What a program writes that is asked something simple.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("it failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether npm has installed what the lock file names, and it has not changed since.
fn has_packages() -> bool {
    let modified = |name: &str| folder().join(name).metadata()?.modified();
    match (
        modified("package-lock.json"),
        modified("node_modules/.package-lock.json"),
    ) {
        (Ok(wanted), Ok(installed)) => wanted <= installed,
        _ => false,
    }
}

fn folder() -> PathBuf {
    root().join("web")
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn versions_of_node() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("24.21.0"), Some(24));
        assert_eq!(major("nonsense"), None);
    }
}

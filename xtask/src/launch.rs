//! Running what was built, in the caller's folder, in place of this process where the system can do that.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build::{self, FLAVORS};
use crate::process::{WORKSPACE, binary, cargo, run, target};
use crate::setup;

/// Builds what a story needs, then runs `gust run`.
pub(crate) fn story(args: Vec<OsString>) -> Result<ExitCode> {
    build::story()?;
    replace(Command::new(binary("gust")).arg("run").args(args))
}

/// Builds everything, then runs the command `gust`.
pub(crate) fn gust(args: Vec<OsString>) -> Result<ExitCode> {
    build::all()?;
    replace(Command::new(binary("gust")).args(args))
}

/// Builds and runs the generator of random models.
pub(crate) fn synth(args: Vec<OsString>) -> Result<ExitCode> {
    let selection = [&["build"], &WORKSPACE[..], &["--bin", "synth"]].concat();
    run(&mut cargo(&selection))?;
    replace(Command::new(binary("synth")).args(args))
}

/// Builds gust and what measures it, and measures: against peers, or, with `--kernels` in front, the kernels alone.
pub(crate) fn bench(args: Vec<OsString>) -> Result<ExitCode> {
    setup::check()?;
    if let Some((first, rest)) = args.split_first()
        && first == "--kernels"
    {
        let component = build::kernels()?;
        return kernels("speed", [&[component.into()], rest].concat());
    }
    build::components()?;
    build::host(&["--bin", "bench", "--bin", "synth"])?;
    replace(Command::new(binary("bench")).args(args))
}

/// Builds the engine and prints the machine code of its functions.
pub(crate) fn disasm(mut args: Vec<OsString>) -> Result<ExitCode> {
    setup::check()?;
    build::engines()?;
    if !args.iter().any(|arg| arg == "--component") {
        let [relaxed, ..] = &FLAVORS;
        let component = target().join("engine").join(relaxed.file);
        args.extend(["--component".into(), component.into()]);
    }
    kernels("disasm", args)
}

/// Builds the engine and counts the instructions of its kernels.
pub(crate) fn counts(mut args: Vec<OsString>) -> Result<ExitCode> {
    setup::check()?;
    let [relaxed, ..] = &FLAVORS;
    build::engine(relaxed, "", relaxed.file)?;
    args.push(target().join("engine").join(relaxed.file).into());
    kernels("counts", args)
}

/// Builds and runs what looks into the kernels.
fn kernels(command: &str, args: Vec<OsString>) -> Result<ExitCode> {
    let selection = [&["build"], &WORKSPACE[..], &["--bin", "kernels"]].concat();
    run(&mut cargo(&selection))?;
    replace(Command::new(binary("kernels")).arg(command).args(args))
}

/// Builds the components and puts them together.
pub(crate) fn compose(args: Vec<OsString>) -> Result<ExitCode> {
    build::components()?;
    let selection = [&["build"], &WORKSPACE[..], &["--bin", "compose"]].concat();
    run(&mut cargo(&selection))?;
    replace(Command::new(binary("compose")).args(args))
}

/// Builds all there is, runs it in every host, and compares.
pub(crate) fn hosts(args: Vec<OsString>) -> Result<ExitCode> {
    build::components()?;
    build::core_modules()?;
    build::host(&["--bin", "hosts", "--bin", "gust-example-embed"])?;
    replace(Command::new(binary("hosts")).args(args))
}

/// Builds gust and compares it with llama.cpp.
pub(crate) fn parity(args: Vec<OsString>) -> Result<ExitCode> {
    build::components()?;
    build::host(&["--bin", "parity"])?;
    replace(Command::new(binary("parity")).args(args))
}

#[cfg(unix)]
fn replace(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

#[cfg(not(unix))]
fn replace(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

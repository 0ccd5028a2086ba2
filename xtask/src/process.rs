//! Starting other programs: cargo, with what all its calls have in common, and steps with a headline and a time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Selects all packages for a native cargo call; a call that wants fewer targets adds which.
///
/// Cargo unites the features of what is selected. Were it one package here and another there, Wasmtime would be
/// compiled again for each set of features.
pub(crate) const WORKSPACE: [&str; 4] = ["--release", "--workspace", "--features", "xtask/tools"];

/// What [`WORKSPACE`] leaves out, because a first story does not need it: the host's middleware, and the tool that holds the
/// host.
pub(crate) const WHOLE: [&str; 2] = ["--features", "gust/middleware,xtask/parity"];

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where everything is built, whatever the caller's own settings say: the host and the tests look for the engine there.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// A built program of the native build.
pub(crate) fn binary(name: &str) -> PathBuf {
    let mut path = target().join("release").join(name);
    path.set_extension(std::env::consts::EXE_EXTENSION);
    path
}

/// The path with `suffix` after its whole name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.to_owned();
    path.as_mut_os_string().push(suffix);
    path
}

/// `cargo ARGS` in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(args)
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target());
    command
}

/// Runs to the end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{program}`"))?;
    if !status.success() {
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        bail!("`{program} {}` failed: {status}", args.join(" "));
    }
    Ok(())
}

/// Does both at the same time, and gives the first error. For builds that do not use each other's folder: one of them often
/// compiles a single large crate, which takes one core.
pub(crate) fn both(
    first: impl FnOnce() -> Result<()> + Send,
    second: impl FnOnce() -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        let first = first
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        first.and(second)
    })
}

/// Does `work` under a headline, and says how long it took.
pub(crate) fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    Ok(timed(title, work)?.0)
}

/// [`step`] that gives the time as well.
pub(crate) fn timed<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    eprintln!("\n== {title}");
    let start = Instant::now();
    let result = work();
    let time = start.elapsed();
    eprintln!("== {title}: {:.1} s", time.as_secs_f64());
    Ok((result?, time))
}

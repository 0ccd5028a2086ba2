//! What results say of where they come from: the version of gust, the machine. For the tools that measure.

use std::process::Command;

use crate::root;

#[path = "../../host/src/command/bench/processor.rs"]
mod processor;

/// The commit, and `+` behind it where files differ from it.
pub(crate) fn gust_version() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root()).output();
        output.map_or(String::new(), |output| {
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    // Results of an earlier run are no change of the program.
    let changed = git(&[
        "status",
        "--porcelain",
        "--",
        "guest",
        "host",
        "wit",
        "Cargo.lock",
    ]);
    let mark = if changed.trim().is_empty() { "" } else { "+" };
    format!("{}{mark}", commit.trim())
}

/// Processor, system, memory.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let kib: f64 = field(&read("/proc/meminfo"), "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {processors} processors, {:.0} GiB, Linux {}",
        processor::processor(),
        kib / 1_048_576.0,
        read("/proc/sys/kernel/osrelease").trim()
    )
}

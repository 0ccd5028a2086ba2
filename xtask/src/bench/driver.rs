//! A program that measures what it is asked for, as `benches/peers/README.md` says, and its memory seen from outside.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::plan::Measure;

/// A running driver. Ends when dropped.
pub(crate) struct Driver {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) ready: Ready,
}

/// What a driver says first.
#[derive(Deserialize)]
pub(crate) struct Ready {
    pub(crate) version: String,
    pub(crate) load_ms: f64,
    /// Memory that it has before it loads anything, in bytes: of an interpreter around the peer.
    #[serde(default)]
    before_bytes: u64,
}

#[derive(Deserialize)]
struct Answer {
    seconds: f64,
}

#[derive(Deserialize)]
struct Complaint {
    error: String,
}

impl Driver {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let program = command.get_program().display().to_string();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{program}`"))?;
        let (requests, answers) = (child.stdin.take(), child.stdout.take());
        let mut driver = Self {
            child,
            requests: requests.context("no way to ask")?,
            answers: BufReader::new(answers.context("nothing to read from")?),
            ready: Ready {
                version: String::new(),
                load_ms: 0.0,
                before_bytes: 0,
            },
        };
        driver.ready = driver.answer()?;
        Ok(driver)
    }

    /// Seconds that it took.
    pub(crate) fn time(&mut self, measure: Measure) -> Result<f64> {
        let request = match measure {
            Measure::Prefill { tokens } => format!("prefill {tokens}"),
            Measure::Decode { tokens, depth } => format!("decode {tokens} {depth}"),
            other => bail!("{other} is not what a driver measures"),
        };
        writeln!(self.requests, "{request}").context("the driver is gone")?;
        let Answer { seconds } = self.answer()?;
        if !(seconds.is_finite() && seconds > 0.0) {
            bail!("{measure}: expected a time, found {seconds} seconds");
        }
        Ok(seconds)
    }

    fn answer<A: for<'de> Deserialize<'de>>(&mut self) -> Result<A> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            bail!("the driver ended: {status}");
        }
        if let Ok(Complaint { error }) = serde_json::from_str(&line) {
            bail!("{error}");
        }
        serde_json::from_str(&line).with_context(|| format!("the driver said {line:?}"))
    }

    /// The most bytes that the driver and its children have had in memory, less what it had before it began.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        let most = tree(self.child.id())
            .into_iter()
            .filter_map(high_water_mark)
            .sum::<u64>();
        if most == 0 {
            bail!("/proc does not tell how much memory the driver has had");
        }
        Ok(most.saturating_sub(self.ready.before_bytes))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Children first: a browser outlives its driver otherwise.
        for process in tree(self.child.id()).into_iter().rev() {
            let _ = Command::new("kill").arg(process.to_string()).status();
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process and all below it, parents first.
fn tree(root: u32) -> Vec<u32> {
    let mut processes = vec![root];
    let mut at = 0;
    while let Some(process) = processes.get(at) {
        let tasks = fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            processes.extend(children.split_whitespace().flat_map(str::parse::<u32>));
        }
        at += 1;
    }
    processes
}

fn high_water_mark(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

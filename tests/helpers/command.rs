//! Runs the built command and checks its output.
//!
//! The command is not built here: `cargo xtask test` does that first, with the engine inside. `GUST_BIN` names another
//! binary.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::workspace::workspace;

/// `gust ARGS`, with nothing on stdin.
pub(crate) fn gust<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Gust {
    let binary = binary();
    let mut command = Command::new(&binary);
    // The tests have their own cache: the user's cache is neither used nor changed.
    command
        .args(args)
        .env("GUST_CACHE_DIR", workspace().join("target/tmp/gust-cache"))
        .env("RUST_BACKTRACE", "0")
        .env_remove("NO_COLOR");
    Gust {
        command,
        stdin: Vec::new(),
    }
}

/// A command that is about to run.
#[derive(Debug)]
pub(crate) struct Gust {
    command: Command,
    stdin: Vec<u8>,
}

impl Gust {
    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds `-m MODEL`.
    pub(crate) fn model(self, path: impl AsRef<Path>) -> Self {
        self.args([OsStr::new("-m"), path.as_ref().as_os_str()])
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Limits its address space, as `ulimit -v` does.
    #[cfg(unix)]
    pub(crate) fn address_space(self, kib: u64) -> Self {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit -v {kib} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limited]).arg(self.command.get_program());
        shell.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        Gust {
            command: shell,
            ..self
        }
    }

    /// Sets what it reads from stdin.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Starts it with its output on pipes, for tests that interact with it while it runs. What was given to
    /// [`stdin`](Self::stdin) is not written.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub(crate) fn start(&mut self, stdin: Stdio) -> Child {
        self.start_on(stdin, Stdio::piped(), Stdio::piped())
    }

    /// Starts it with these streams, which may be a terminal.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub(crate) fn start_on(&mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Child {
        let line = format!("{:?}", self.command);
        self.command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Runs to the end.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub(crate) fn run(mut self) -> Ended {
        let line = format!("{:?}", self.command);
        let mut child = self.start(Stdio::piped());
        // Written from a separate thread: a command that writes while it reads must not block on a full pipe.
        let stdin = child.stdin.take();
        let bytes = std::mem::take(&mut self.stdin);
        let writer = std::thread::spawn(move || {
            // A command may end without reading everything.
            let _ = stdin.map(|mut stdin| stdin.write_all(&bytes));
        });
        let output = child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        writer.join().unwrap_or_else(|_| panic!("{line}: stdin"));
        Ended::new(line, output)
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    line: String,
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to stdout.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
}

impl Ended {
    fn new(line: String, output: Output) -> Self {
        let ended = Ended {
            line,
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        // In every test: no input may make the program panic or trap.
        for word in ["panicked", "trapped", "wasm backtrace"] {
            assert!(!ended.stderr.contains(word), "{ended:#?}");
        }
        assert!(ended.code.is_some(), "a signal ended it: {ended:#?}");
        ended
    }

    /// What it wrote to stdout, after making sure that it succeeded.
    ///
    /// # Panics
    ///
    /// If it failed, or stdout is not UTF-8.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.line, self.stderr);
        String::from_utf8(self.stdout).unwrap_or_else(|error| panic!("{}: {error}", self.line))
    }

    /// stdout as one JSON value, after making sure that it succeeded.
    ///
    /// # Panics
    ///
    /// If it failed, or stdout is no JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let line = self.line.clone();
        serde_json::from_str(&self.success()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// stdout as lines of JSON, after making sure that it succeeded.
    ///
    /// # Panics
    ///
    /// If it failed, or a line is no JSON.
    #[track_caller]
    pub(crate) fn json_lines(self) -> Vec<Value> {
        let line = self.line.clone();
        let parse =
            |text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{line}: {error}"));
        self.success().lines().map(parse).collect()
    }

    /// Makes sure that it failed with this exit code and an `error:` line that contains all of `words`, and wrote
    /// nothing to stdout.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.stdout.is_empty(), "{self:#?}");
        self.says(words);
    }

    /// Makes sure that stderr has an `error:` line that contains all of `words`.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        let error = self
            .stderr
            .lines()
            .find(|line| line.starts_with("error: "))
            .unwrap_or_else(|| panic!("no error was reported: {self:#?}"));
        for word in words {
            assert!(
                error.contains(word),
                "expected `{word}` in the error: {self:#?}"
            );
        }
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("GUST_BIN").map_or_else(beside_the_tests, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing; run `cargo xtask test`, which builds it first, or set GUST_BIN",
        path.display()
    );
    path
}

/// Tests are built into `target/release/deps`, the command into `target/release`.
fn beside_the_tests() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("this test: {error}"));
    let folder = test.ancestors().nth(2).unwrap_or(Path::new("."));
    folder
        .join("gust")
        .with_extension(std::env::consts::EXE_EXTENSION)
}

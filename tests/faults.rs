//! Calls to the system that fail, one at a time, and processes that are killed at a call: none of it is a crash, and nothing
//! that was written before is lost.
//!
//! A library in front of the C library makes them fail (`helpers/fault.c`). It does not see the calls that Wasmtime makes
//! without the C library, to map compiled code.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::helpers::{Gust, Parrot, gust, workspace};

/// Which of the calls of one kind fails, one in each run.
const TIMES: [u32; 6] = [1, 2, 3, 4, 6, 12];

/// Makes calls fail.
struct Faults {
    folder: TempDir,
}

impl Faults {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let source = workspace().join("tests/helpers/fault.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(folder.path().join("fault.so"))
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(compiled.expect("a C compiler").success());
        Faults { folder }
    }

    fn hit(&self) -> PathBuf {
        self.folder.path().join("hit")
    }

    /// The same command, whose `time`th call of this name fails.
    fn at(&self, command: Gust, call: &str, time: u32) -> Gust {
        let _ = fs::remove_file(self.hit());
        command
            .env("LD_PRELOAD", self.folder.path().join("fault.so"))
            .env("FAULT_CALL", call)
            .env("FAULT_AT", time.to_string())
            .env("FAULT_HIT", self.hit())
    }

    /// Runs the command with each of these calls failing, and then `check` on how it ended. Returns how many did.
    fn each(
        &self,
        calls: &[&str],
        command: impl Fn() -> Gust,
        mut check: impl FnMut(&str, crate::helpers::Ended),
    ) -> usize {
        let mut count = 0;
        for call in calls {
            for time in TIMES {
                // It checks that there was no panic and no signal.
                let ended = self.at(command(), call, time).run();
                if !self.hit().exists() {
                    break;
                }
                count += 1;
                check(&format!("{call} {time}"), ended);
            }
        }
        count
    }

    /// Runs the command, with `stdin`, which is killed at each of these calls in turn. Returns how many times it was.
    fn kill(
        &self,
        calls: &[&str],
        command: impl Fn() -> Gust,
        stdin: &str,
        mut check: impl FnMut(&str),
    ) -> usize {
        // From a file: nobody has to write to a process that is gone.
        let script = self.folder.path().join("stdin");
        fs::write(&script, stdin).expect("room");
        let mut count = 0;
        for call in calls {
            for time in TIMES {
                let mut command = self.at(command(), call, time).env("FAULT_KILL", "1");
                let stdin = fs::File::open(&script).expect("it is there");
                let mut child = command.start(stdin.into());
                child.wait().expect("it ends");
                if !self.hit().exists() {
                    break;
                }
                count += 1;
                check(&format!("killed at {call} {time}"));
            }
        }
        count
    }
}

#[test]
fn a_call_that_fails_is_an_error() {
    let faults = Faults::new();
    let parrot = Parrot::new("abc").file();
    let run = || gust(["run", "-t", "0", "-n", "3", "--threads", "2", "xyz"]).model(&parrot);
    let expected = run().run().success();
    let calls = ["mmap", "mprotect", "pread64", "write", "pthread_create"];
    let count = faults.each(&calls, run, |what, ended| {
        let answer = String::from_utf8_lossy(&ended.stdout);
        // What failed may have been the message itself.
        match ended.code {
            Some(0) => assert_eq!(answer, expected, "{what}: {ended:#?}"),
            // The line is ended, wherever the answer is.
            Some(1 | 3 | 4) => assert!(
                expected.starts_with(answer.trim_end()),
                "{what}: {ended:#?}"
            ),
            _ => panic!("{what}: {ended:#?}"),
        }
    });
    assert!(count >= 10, "{count}");
}

#[test]
fn a_packed_file_is_whole_or_not_there() {
    let faults = Faults::new();
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("packed.gguf");
    let pack = || {
        let model = workspace().join("models/gust-stories-q8_0.gguf");
        gust([OsStr::new("pack"), OsStr::new("-o"), output.as_os_str()]).model(model)
    };
    pack().run().success();
    let whole = fs::read(&output).expect("the packed file");
    fs::remove_file(&output).expect("it was there");
    // What is there is whole, and the next run makes it so.
    let check = |what: &str| {
        if output.exists() {
            assert!(read(&output) == whole, "{what}");
            fs::remove_file(&output).expect("it was there");
        }
        pack().run().success();
        assert!(read(&output) == whole, "{what}, and then packed again");
        fs::remove_file(&output).expect("it was there");
    };
    let calls = ["write", "ftruncate64", "fsync", "rename"];
    let failed = faults.each(&calls, pack, |what, _| check(what));
    let killed = faults.kill(&calls, pack, "", check);
    assert!(failed >= 3 && killed >= 3, "{failed}, {killed}");
}

#[test]
fn a_saved_conversation_is_the_old_one_or_the_new_one() {
    let faults = Faults::new();
    let folder = tempfile::tempdir().expect("a folder");
    let saved = folder.path().join("saved.json");
    let mut parrot = Parrot::new("abc");
    parrot.chat_template = Some("{% for m in messages %}{{ m.content }}{% endfor %}".to_owned());
    let parrot = parrot.file();
    let stdin = |text: &str| format!("{text}\n/save {}\n", saved.display());
    let chat = |text: &str| {
        gust(["chat", "-t", "0", "-n", "2"])
            .model(&parrot)
            .stdin(stdin(text))
    };
    chat("x").run().success();
    let old = read(&saved);
    // A new one may have an answer that has failed.
    let check = |what: &str| {
        let found = read(&saved);
        let messages: Result<Vec<serde_json::Value>, _> = serde_json::from_slice(&found);
        let is_whole = messages.is_ok_and(|messages| !messages.is_empty());
        let text = String::from_utf8_lossy(&found);
        assert!(is_whole, "{what}: {text}");
        fs::write(&saved, &old).expect("room");
    };
    check("before");
    let calls = ["write", "fsync", "rename"];
    let failed = faults.each(&calls, || chat("yyy"), |what, _| check(what));
    let killed = faults.kill(&calls, || chat(""), &stdin("yyy"), check);
    assert!(failed >= 3 && killed >= 3, "{failed}, {killed}");
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

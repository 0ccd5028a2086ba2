//! Limits and interruptions: each is an error that says so, with its own exit code.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::Stdio;

use crate::helpers::{Parrot, gust};

#[test]
fn a_full_context_ends_the_run_after_what_was_said() {
    let parrot = Parrot::new("abc").file();
    let ended = gust(["run", "-t", "0", "--context", "16", "--json", "xyz"])
        .model(&parrot)
        .run();
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    ended.says(&["context full", "16"]);
    assert!(ended.stderr.contains("hint: "), "{ended:#?}");
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let last: serde_json::Value =
        serde_json::from_str(stdout.lines().last().unwrap_or("")).unwrap_or_default();
    assert_eq!(last["finish_reason"], "context-full");
    assert_eq!(last["usage"]["context_used"], 16);
    // Begin-of-sequence and three bytes leave room for twelve.
    assert_eq!(last["usage"]["generated_tokens"], 12);
}

#[test]
fn a_prompt_that_fills_the_context_leaves_no_room() {
    let parrot = Parrot::new("abc").file();
    let run = |prompt: &str| {
        gust(["run", "--context", "16", prompt])
            .model(&parrot)
            .run()
    };
    run(&"x".repeat(16)).fails(4, &["prompt too long", "17", "16"]);
    // It fits, but nothing fits after it.
    assert_eq!(run(&"x".repeat(15)).code, Some(4));
}

#[test]
fn a_context_beyond_the_models_own_is_refused() {
    let parrot = Parrot::new("abc").file();
    gust(["run", "--context", "513", "x"])
        .model(&parrot)
        .run()
        .fails(2, &["512", "513"]);
}

#[test]
fn too_little_memory_is_told() {
    let parrot = Parrot::new("abc").file();
    let run = |size: &str| {
        gust(["run", "-n", "1", "--max-memory", size, "x"])
            .model(&parrot)
            .run()
    };
    run("1MiB").fails(4, &["memory"]);
    run("1KiB").fails(4, &["memory"]);
    run("1GiB").success();
    // A context that does not fit.
    let mut parrot = Parrot::new("abc");
    parrot.context_length = 1 << 20;
    let args = [
        "run",
        "-n",
        "1",
        "--context",
        "1000000",
        "--max-memory",
        "64MiB",
        "x",
    ];
    let parrot = parrot.file();
    gust(args).model(&parrot).run().fails(4, &["memory"]);
}

#[test]
fn a_call_that_takes_too_long_is_ended() {
    // Wide enough that a chunk of its prompt takes much longer than the host needs to notice.
    let mut parrot = Parrot::new("abc");
    parrot.width = 1024;
    let parrot = parrot.file();
    let run = |seconds: &str| {
        let args = ["run", "-n", "1", "--no-echo", "--call-timeout", seconds];
        gust(args).args(["x".repeat(300)]).model(&parrot).run()
    };
    run("0.000001").fails(4, &["time limit"]);
    run("60").success();
}

#[test]
fn tokens_outside_the_vocabulary_are_refused() {
    let parrot = Parrot::new("abc").file();
    gust(["logits", "--tokens", "1,288"])
        .model(&parrot)
        .run()
        .fails(2, &["288"]);
    gust(["perplexity", "--tokens", "1,2,4294967295"])
        .model(&parrot)
        .run()
        .fails(2, &["4294967295"]);
}

/// Ctrl-C ends the answer cleanly: whole characters, a summary, exit code 130.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_with_its_summary() {
    let mut parrot = Parrot::new("abc");
    parrot.context_length = 1 << 20;
    let parrot = parrot.file();
    let args = ["run", "-t", "0", "--context", "1000000", "--json", "x"];
    let mut child = gust(args).model(&parrot).start(Stdio::null());
    let mut lines =
        BufReader::new(child.stdout.take().unwrap_or_else(|| panic!("no stdout"))).lines();
    // The first token has arrived: the run is in the middle of its answer.
    lines.next();
    interrupt(child.id());
    let last = lines.map_while(Result::ok).last().unwrap_or_default();
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().unwrap_or_else(|| panic!("no stderr"));
    pipe.read_to_string(&mut stderr)
        .unwrap_or_else(|error| panic!("{error}"));
    let status = child.wait().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(last.contains("\"finish_reason\":\"cancelled\""), "{last}");
    assert!(stderr.contains("cancelled | seed"), "{stderr}");
}

/// Truncating a file while its pages are mapped ends the run with an error.
#[cfg(target_os = "linux")]
#[test]
fn a_file_cut_short_while_in_use_is_an_error() {
    // Wide enough that its weights are mapped, small ones are not.
    let mut parrot = Parrot::new("abc");
    parrot.width = 512;
    let all = "{% for message in messages %}{{ message.content }}{% endfor %}";
    parrot.chat_template = Some(all.to_owned());
    let file = parrot.file();
    let mut child = gust(["chat", "--mmap", "-t", "0", "-n", "3"])
        .model(&file)
        .start(Stdio::piped());
    let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("no stdin"));
    let mut stdout = BufReader::new(child.stdout.take().unwrap_or_else(|| panic!("no stdout")));
    let mut answer = String::new();
    writeln!(stdin, "Hello").unwrap_or_else(|error| panic!("{error}"));
    stdout
        .read_line(&mut answer)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answer, "abc\n");

    let cut = std::fs::OpenOptions::new().write(true).open(&file);
    cut.and_then(|file| file.set_len(4096))
        .unwrap_or_else(|error| panic!("{error}"));
    writeln!(stdin, "Hello again").unwrap_or_else(|error| panic!("{error}"));
    drop(stdin);
    let ended = child
        .wait_with_output()
        .unwrap_or_else(|error| panic!("{error}"));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("error: the model file was truncated"),
        "{stderr}"
    );
}

/// Overwriting a file in place changes a model whose pages are mapped, and not one whose weights have been copied.
#[cfg(target_os = "linux")]
#[test]
fn a_file_overwritten_while_in_use_is_an_error() {
    for (mapping, code) in [("--mmap", 3), ("--no-mmap", 0)] {
        // Wide enough that its weights are mapped, small ones are not.
        let mut parrot = Parrot::new("abc");
        parrot.width = 512;
        let all = "{% for message in messages %}{{ message.content }}{% endfor %}";
        parrot.chat_template = Some(all.to_owned());
        let file = parrot.file();
        let mut child = gust(["chat", mapping, "-t", "0", "-n", "3"])
            .model(&file)
            .start(Stdio::piped());
        let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("no stdin"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap_or_else(|| panic!("no stdout")));
        let mut answer = String::new();
        writeln!(stdin, "Hello").unwrap_or_else(|error| panic!("{error}"));
        stdout
            .read_line(&mut answer)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(answer, "abc\n");

        let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
        let overwritten = std::fs::OpenOptions::new().write(true).open(&file);
        overwritten
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(size / 2))?;
                file.write_all(&vec![0; size as usize / 4])
            })
            .unwrap_or_else(|error| panic!("{error}"));
        writeln!(stdin, "Hello again").unwrap_or_else(|error| panic!("{error}"));
        drop(stdin);
        let mut rest = String::new();
        stdout
            .read_to_string(&mut rest)
            .unwrap_or_else(|error| panic!("{error}"));
        let ended = child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("{error}"));
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{stderr}");
        if code == 0 {
            assert_eq!(rest, "abc\n");
        } else {
            assert_eq!(rest, "");
            assert!(stderr.contains("overwritten while in use"), "{stderr}");
            assert!(stderr.contains("/save FILE"), "{stderr}");
        }
    }
}

/// A linear memory usually takes 4 GiB of addresses, whatever the model needs.
#[cfg(target_os = "linux")]
#[test]
fn limited_address_space_is_enough_for_small_models() {
    let run = || {
        gust([
            "run",
            "-t",
            "0",
            "-n",
            "20",
            "--threads",
            "2",
            "Once upon a time",
        ])
    };
    let story = run().run().success();
    for kib in [4_000_000, 1_000_000] {
        assert_eq!(run().address_space(kib).run().success(), story, "{kib} KiB");
    }
    // Too little to compile the engine, and too little to run it.
    let cache = tempfile::tempdir().expect("a temporary folder");
    for kib in [300_000, 66_000] {
        let mut run = run();
        run = run.env("GUST_CACHE_DIR", cache.path()).address_space(kib);
        run.run().fails(4, &["address space", "ulimit -v"]);
    }
    // A context that the limit has no room for.
    let mut parrot = Parrot::new("abc");
    parrot.context_length = 1 << 20;
    let parrot = parrot.file();
    let args = [
        "run",
        "-n",
        "1",
        "--context",
        "1000000",
        "--kv-type",
        "f32",
        "x",
    ];
    let ended = gust(args).model(&parrot).address_space(1_000_000).run();
    assert!(ended.stderr.contains("hint: "), "{ended:#?}");
    ended.fails(4, &["1024000000 bytes", "ulimit -v"]);
}

#[cfg(unix)]
fn interrupt(pid: u32) {
    let kill = std::process::Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status();
    assert!(kill.is_ok_and(|status| status.success()), "kill failed");
}

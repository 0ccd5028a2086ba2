//! What the command reports about its own speed: other programs read it, so its format is tested. No test asserts a
//! time.

use std::process::Stdio;

use crate::helpers::{Parrot, gust};
use serde_json::Value;

#[test]
fn a_trace_names_the_operators_and_all_of_the_time() {
    let args = ["bench", "--trace", "-p", "40", "-n", "5", "-r", "1"];
    let report = gust(args).args(["--json"]).run().json();
    for (part, operators) in [
        ("prefill", ["attn_q", "attention", "ffn_down", "(rest)"]),
        ("decode", ["attn_q", "attention", "output", "(rest)"]),
    ] {
        let shares = report["trace"][part].as_array();
        let shares = shares.unwrap_or_else(|| panic!("{part}: {report}"));
        for operator in operators {
            let found = shares.iter().find(|share| share["operator"] == operator);
            let found = found.unwrap_or_else(|| panic!("{part}: no {operator}: {report}"));
            assert!(found["calls"].as_u64().is_some_and(|calls| calls > 0));
        }
        let sum: f64 = shares.iter().flat_map(|one| one["share"].as_f64()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{part}: {sum}");
    }
    let table = gust(args).run().success();
    assert!(table.contains("ffn_gate"), "{table}");
    let untraced = gust(["bench", "-r", "1", "-n", "2", "--json"]).run().json();
    assert_eq!(untraced["trace"], Value::Null);
}

#[test]
fn serving_answers_line_by_line() {
    let parrot = Parrot::new("abc").file();
    let serve = || gust(["bench", "--serve", "-p", "30", "-n", "2"]).model(&parrot);
    let asked = "prefill 20\ndecode 3 0\ndecode 2 25\ndecode 2 10\n";
    let lines = serve().stdin(asked).run().json_lines();
    assert_eq!(lines[0]["ready"], Value::Bool(true));
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in &lines[1..] {
        let seconds = line["seconds"].as_f64();
        assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{line}");
    }
    let wrong = serve().stdin("prefill many\n").run();
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    wrong.says(&["prefill TOKENS", "prefill many"]);
}

#[test]
fn rounds_can_be_measured_behind_other_tokens() {
    let parrot = Parrot::new("abc").file();
    let bench = |depth| {
        let args = [
            "bench", "-p", "8", "-n", "4", "-r", "2", "--json", "-d", depth,
        ];
        gust(args).model(&parrot).run()
    };
    assert_eq!(bench("20").json()["depth"], 20);
    bench("100000").fails(2, &["100000 + 8 + 1 + 4"]);
}

#[cfg(target_os = "linux")]
#[test]
fn perf_is_told_the_names_of_the_engines_functions() {
    // First compiled, then from the cache.
    for _ in 0..2 {
        let child = gust(["inspect", "--profile"]).start(Stdio::null());
        let map = format!("/tmp/perf-{}.map", child.id());
        let output = child.wait_with_output();
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        assert!(output.status.success(), "{output:?}");
        let names = std::fs::read_to_string(&map).unwrap_or_else(|error| panic!("{map}: {error}"));
        assert!(names.contains("gust_engine"), "{names}");
        // `cargo xtask build` has written the file with the program's own symbols.
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains(".debug is missing"), "{stderr}");
        std::fs::remove_file(&map).unwrap_or_else(|error| panic!("{map}: {error}"));
    }
}

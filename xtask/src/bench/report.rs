//! `RESULTS.md`: the targets and what was reached, a table for each peer, and how it came about.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use crate::chart;
use crate::order::{NO_REPACK, PEERS};
use crate::results::{MEASURES, Results, Row, write_whole};

/// Writes the page and its chart beside the results.
pub(crate) fn write(results: &Results) -> Result<()> {
    let folder = results.folder();
    let kernels = std::fs::read_to_string(folder.join("kernels.txt")).ok();
    write_whole(&folder.join("chart.svg"), &chart::svg(&results.rows))?;
    write_whole(
        &folder.join("RESULTS.md"),
        &page(&results.rows, kernels.as_deref()),
    )
}

/// The page: rows, and what `--kernels` said.
fn page(rows: &[Row], kernels: Option<&str>) -> String {
    let mut text = "\
# Results

Written by `cargo xtask bench` from [results.json](results.json); do not edit. Ratios above 1 mean that gust is better:
faster, sooner at the first token, or smaller.

![How many times better gust is, for each peer and measure](chart.svg)

"
    .to_owned();
    targets(&mut text, &against_the_best(rows));
    for peer in PEERS {
        table(&mut text, peer, rows);
    }
    if let Some(kernels) = kernels {
        let _ = write!(text, "{KERNELS}```text\n{}\n```\n\n", kernels.trim_end());
    }
    conditions(&mut text, rows);
    text.push_str(LIMITS);
    text
}

/// Rows with one llama.cpp: of that with its repacking of weights and that without, the better one in each measure.
fn against_the_best(rows: &[Row]) -> Vec<Row> {
    let is_llama = |row: &&Row| row.peer == "llama.cpp" || row.peer == NO_REPACK;
    let mut best: Vec<Row> = rows.iter().filter(|row| !is_llama(row)).cloned().collect();
    for row in rows.iter().filter(is_llama) {
        let known = best
            .iter_mut()
            .find(|known| known.peer == "llama.cpp" && known.name() == row.name());
        let row = Row {
            peer: "llama.cpp".to_owned(),
            ..row.clone()
        };
        match known {
            Some(known) if known.ratio <= row.ratio => {}
            Some(known) => *known = row,
            None => best.push(row),
        }
    }
    best
}

/// What gust set out to reach.
struct Target {
    what: &'static str,
    at_least: f64,
    aim: Option<f64>,
    covers: fn(&Row) -> bool,
}

const TARGETS: [Target; 7] = [
    Target {
        what: "decode, Q4_0 and Q4_K, against native llama.cpp",
        at_least: 0.85,
        aim: Some(1.1),
        covers: |row| row.peer == "llama.cpp" && is_decode(row) && is_4_bit(row),
    },
    Target {
        what: "decode, Q8_0, against native llama.cpp",
        at_least: 0.9,
        aim: Some(1.1),
        covers: |row| row.peer == "llama.cpp" && is_decode(row) && row.ty == "q8_0",
    },
    Target {
        what: "prefill 128, Q4_0 and Q4_K, against native llama.cpp",
        at_least: 0.6,
        aim: Some(1.0),
        covers: |row| row.peer == "llama.cpp" && row.measure == "prefill128" && is_4_bit(row),
    },
    Target {
        what: "decode and prefill against wllama, same threads",
        at_least: 2.0,
        aim: Some(4.0),
        covers: |row| row.peer == "wllama" && row.unit == "tokens/s",
    },
    Target {
        what: "decode with 2 threads against 1",
        at_least: 1.7,
        aim: None,
        covers: |row| row.peer == "gust-1" && is_decode(row) && row.threads == 2,
    },
    Target {
        what: "first token against llama.cpp",
        at_least: 1.0,
        aim: Some(3.0),
        covers: |row| row.peer == "llama.cpp" && row.measure == "first_token",
    },
    Target {
        what: "peak memory against llama.cpp",
        at_least: 1.0,
        aim: None,
        covers: |row| row.peer == "llama.cpp" && row.measure == "peak_memory",
    },
];

fn is_decode(row: &Row) -> bool {
    row.measure.starts_with("decode")
}

fn is_4_bit(row: &Row) -> bool {
    matches!(&*row.ty, "q4_0" | "q4_k")
}

fn targets(text: &mut String, rows: &[Row]) {
    text.push_str("## Targets\n\n| target | at least | aim | reached | |\n|---|---|---|---|---|\n");
    for target in &TARGETS {
        let mut covered: Vec<&Row> = rows.iter().filter(|row| (target.covers)(row)).collect();
        covered.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let aim = target.aim.map_or("–".to_owned(), |aim| aim.to_string());
        let (reached, verdict) = target.verdict(&covered);
        let _ = writeln!(
            text,
            "| {} | {} | {aim} | {reached} | {verdict} |",
            target.what, target.at_least
        );
    }
    text.push_str(
        "\nA target counts as reached if its worst row reaches it; `reached` is the range from the worst row to the best. Of \
         llama.cpp with and without its repacking of weights, the better one counts in each row.\n\n",
    );
}

impl Target {
    /// From the worst to the best of `rows`, which are in this order, and what that means.
    fn verdict(&self, rows: &[&Row]) -> (String, String) {
        let (Some(worst), Some(best)) = (rows.first(), rows.last()) else {
            return ("–".to_owned(), "not measured".to_owned());
        };
        let range = format!("{:.2} to {:.2}", worst.ratio, best.ratio);
        let short = rows.iter().filter(|row| row.ratio < self.at_least).count();
        let verdict = if short > 0 {
            format!(
                "**falls short** in {short} of {}, worst `{}`",
                rows.len(),
                worst.name()
            )
        } else if self.aim.is_some_and(|aim| worst.ratio >= aim) {
            "aim reached".to_owned()
        } else {
            "reached".to_owned()
        };
        (range, verdict)
    }
}

/// All rows of one peer: gust, the other, and their ratio.
fn table(text: &mut String, peer: &str, rows: &[Row]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.peer == peer).collect();
    let _ = write!(text, "## {}\n\n", heading(peer));
    if rows.is_empty() {
        text.push_str("Not measured here.\n\n");
        return;
    }
    let measures: Vec<&str> = MEASURES
        .into_iter()
        .filter(|measure| rows.iter().any(|row| row.measure == *measure))
        .collect();
    text.push_str("| model | type | threads |");
    for measure in &measures {
        let unit = rows.iter().find(|row| row.measure == *measure);
        let _ = write!(text, " {measure}, {} |", unit.map_or("", |row| &row.unit));
    }
    let _ = writeln!(text, "\n|---|---|---|{}", "---|".repeat(measures.len()));
    let mut lines: Vec<(&str, &str, usize)> = Vec::new();
    for row in &rows {
        let line = (row.model.as_str(), row.ty.as_str(), row.threads);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    for line in lines {
        let (model, ty, threads) = line;
        let _ = write!(text, "| {model} | {} | {threads} |", ty.to_uppercase());
        for measure in &measures {
            let found = rows.iter().find(|row| {
                (row.model.as_str(), row.ty.as_str(), row.threads) == line
                    && row.measure == *measure
            });
            let cell = found.map_or("–".to_owned(), |row| {
                format!("{} / {}: **{:.2}**", row.gust, row.other, row.ratio)
            });
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push('\n');
}

fn heading(peer: &str) -> String {
    match peer {
        "gust-1" => "gust against itself with one thread".to_owned(),
        NO_REPACK => "gust / llama.cpp without repacking".to_owned(),
        other => format!("gust / {other}"),
    }
}

/// Where and with what: everything that the rows say of themselves.
fn conditions(text: &mut String, rows: &[Row]) {
    let list = |text: &mut String, title: &str, of: &dyn Fn(&Row) -> String| {
        let all: BTreeSet<String> = rows.iter().map(of).collect();
        for one in all.iter().filter(|one| !one.is_empty()) {
            let _ = writeln!(text, "- {title}: {one}");
        }
    };
    text.push_str("## Where and with what\n\n");
    list(text, "machine", &|row| row.machine.clone());
    list(
        text,
        "gust compiled for",
        &|row| match row.features.as_str() {
            "" => row.isa.clone(),
            features => format!("{} ({features})", row.isa),
        },
    );
    list(text, "gust, commit and day", &|row| {
        format!("{}, {}, {} rounds", row.gust_version, row.date, row.rounds)
    });
    list(text, "peer", &|row| match row.peer.as_str() {
        "gust-1" => String::new(),
        _ => row.other_version.clone(),
    });
    text.push('\n');
}

const KERNELS: &str = "\
## Kernels

`cargo xtask bench --kernels --save` runs the engine's own kernels in WebAssembly under Wasmtime, on one core, with 2,048
columns. The same program measures the baselines: a loop that only reads, and one that only multiplies and adds
(`vpmaddubsw` and `vpaddw` in twelve independent chains, 128 bits wide, the widest that WebAssembly has). GB/s count
weights as stored in the file.

";

const LIMITS: &str = "\
## How it was measured, and what that means

    cargo xtask bench --kernels --save
    cargo xtask bench

- In each round, all programs measure the same thing once, one after the other, and the order rotates from round to
  round; a row has the medians. Processes are pinned to the first processors (`taskset`), the browser is not.
- `decode64@N`: 64 tokens, decoded greedily one by one after N in the context. `prefill128`: 128 tokens into an empty
  context. Filling the context is not timed. KV caches are F16 (candle's are F32).
- `load`: from a running program to a session with a context of 4,096 tokens, file in the page cache. `first_token`: for
  gust the whole run of `gust run -n 1`, from process start to exit; for llama.cpp from the end of Python's imports to the
  logits of the prompt, so without process start. `peak_memory`: the peak resident memory, including mapped files, after
  128 and 64 tokens in a context of 4,096; for llama.cpp, minus Python's memory before the measurement; for wllama, the
  whole browser, with pages shared between its processes counted more than once.
- The models have the dimensions, types and file layout of the real ones and random weights, so that the words mean
  nothing and the work is the same. The TinyLlama file declares a context of 8,192 tokens instead of 2,048; this changes
  nothing else.
- llama.cpp is built for the processor (`GGML_NATIVE=ON`), and with no more than AVX2, FMA, F16C and BMI2 beside gust with
  `--isa avx2`; the list above says what it was built with (until November 2026, always with AVX2). It has its own defaults
  (flash attention, batches of 512), and is measured twice: with its repacking of weights, and without
  (`use_extra_bufts`). On processors with AVX-512, VNNI or AMX it uses what WebAssembly, with its 128 bits, does not have.
- wllama is llama.cpp's own code in WebAssembly; its prompt is text, and its times are self-reported.
- The virtual machine has neighbours: bandwidth varies from minute to minute, which is why ratios of alternating runs are
  given.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::row;

    fn rows() -> Vec<Row> {
        vec![
            row("tinyllama-1.1b/q4_0/1/decode64@0", "llama.cpp", 12.0, 10.0),
            row("tinyllama-1.1b/q4_k/1/decode64@0", "llama.cpp", 7.0, 10.0),
            row("tinyllama-1.1b/q8_0/1/decode64@0", "llama.cpp", 12.0, 10.0),
        ]
    }

    #[test]
    fn a_target_is_as_good_as_its_worst_row() {
        let page = page(&rows(), None);
        let line = |start: &str| {
            let found = page.lines().find(|line| line.starts_with(start));
            found.unwrap_or_default().to_owned()
        };
        assert_eq!(
            line("| decode, Q4_0"),
            "| decode, Q4_0 and Q4_K, against native llama.cpp | 0.85 | 1.1 | 0.70 to 1.20 | \
             **falls short** in 1 of 2, worst `tinyllama-1.1b/q4_k/1/decode64@0` |"
        );
        assert!(line("| decode, Q8_0").ends_with("| 1.20 to 1.20 | aim reached |"));
        assert!(line("| first token").ends_with("| – | not measured |"));
    }

    #[test]
    fn of_two_llamas_the_better_one_counts() {
        let mut rows = rows();
        rows.push(row(
            "tinyllama-1.1b/q8_0/1/decode64@0",
            NO_REPACK,
            12.0,
            15.0,
        ));
        rows.push(row(
            "tinyllama-1.1b/q4_0/1/decode64@0",
            NO_REPACK,
            12.0,
            8.0,
        ));
        let page = page(&rows, None);
        let line = page.lines().find(|line| line.starts_with("| decode, Q8_0"));
        assert!(
            line.is_some_and(|line| line.contains("| 0.80 to 0.80 |")),
            "{page}"
        );
        let line = page.lines().find(|line| line.starts_with("| decode, Q4_0"));
        assert!(
            line.is_some_and(|line| line.contains("| 0.70 to 1.20 |")),
            "{page}"
        );
        assert!(page.contains("## gust / llama.cpp without repacking\n\n| model"));
    }

    #[test]
    fn tables_have_both_speeds_and_their_ratio() {
        let page = page(&rows(), Some("kernels\n"));
        assert!(page.contains("| tinyllama-1.1b | Q4_0 | 1 | 12 / 10: **1.20** |"));
        assert!(page.contains("## gust / wllama\n\nNot measured here."));
        assert!(page.contains("```text\nkernels\n```"));
    }
}

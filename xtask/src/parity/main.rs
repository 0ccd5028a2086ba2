//! `parity`: what gust computes against what llama.cpp computes.
//!
//! In the order of use: [`order`] (the command line), [`oracle`] (llama.cpp), [`mod@gust`] (the command), [`table`] (what is
//! made of both).

mod gust;
#[path = "../machine.rs"]
#[expect(dead_code, reason = "the benchmarks need more of it")]
mod machine;
#[path = "../models.rs"]
mod models;
mod oracle;
mod order;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use gust_engine::tiny_models::{Matrices, named};

use oracle::Oracle;
use order::Order;
use table::{Distance, Outcome, Row};

/// The lengths of prompts: one token, more than one batch and than the windows, and more than two batches.
const LENGTHS: [usize; 3] = [1, 80, 160];
/// The length of the prompt of gust's own tiny models.
const TINY: usize = 90;
/// Tokens of a window of a text.
const WINDOW: u32 = 512;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        print!("{}", order::HELP);
        return ExitCode::SUCCESS;
    }
    let order = match Order::parse(&args) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("error: {error:#}\nhint: `cargo xtask parity --help` lists the options");
            return ExitCode::from(2);
        }
    };
    match carry_out(&order) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked for, and says whether all agree that gust runs.
fn carry_out(order: &Order) -> Result<bool> {
    let oracle = Oracle::set_up(order.llama_cpp.as_deref())?;
    if let Some(real) = &order.real {
        return real_models(&oracle, real, order.text.as_deref());
    }
    if order.update {
        update(&oracle)?;
    }
    let models = folder()?.join("models");
    let _ = std::fs::remove_dir_all(&models);
    std::fs::create_dir_all(&models)?;
    oracle.write_models(&models, order.seed)?;
    let mut rows = Vec::new();
    for model in models::files(&models)? {
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        if order.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let outcome = compare(&oracle, &model, order.seed, 128)?;
        eprintln!("{name}: {outcome}");
        rows.push(Row {
            name: name.into_owned(),
            outcome,
        });
    }
    if order.only.is_none() {
        let path = root().join("docs/PARITY.md");
        let own = own_models(&oracle, &rows, order.seed)?;
        let types = types(&oracle, &models, order.seed)?;
        let page = table::page(&rows, &own, &types, order.seed);
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("written: {}", path.display());
        rows.extend(own);
    }
    Ok(!rows.iter().any(|row| row.outcome.is_wrong()))
}

/// gust's own tiny models of architectures that are not among those files.
fn own_models(oracle: &Oracle, files: &[Row], seed: u64) -> Result<Vec<Row>> {
    let model = folder()?.join("tiny.gguf");
    let mut rows = Vec::new();
    for (name, case) in named() {
        let prefix = format!("{}-", case.architecture);
        if files.iter().any(|row| row.name.starts_with(&prefix)) {
            continue;
        }
        std::fs::write(&model, case.with_context(256).file(Matrices::F32))?;
        let outcome = compare(oracle, &model, seed, 64)?;
        eprintln!("{name}, our own: {outcome}");
        rows.push(Row { name, outcome });
    }
    Ok(rows)
}

/// One model, with prompts of all lengths.
fn compare(oracle: &Oracle, model: &Path, seed: u64, n_vocab: u64) -> Result<Outcome> {
    let tokens = tokens(seed, n_vocab, LENGTHS[LENGTHS.len() - 1]);
    let expected = match oracle.logits(model, &tokens) {
        Ok(expected) => expected,
        Err(error) => return Ok(Outcome::NoOracle(error.to_string())),
    };
    let n_vocab = expected.len() / tokens.len();
    let mut worst = 0f64;
    for length in LENGTHS {
        let found = match gust::logits(model, &tokens[..length])? {
            Ok(found) => found,
            Err(refusal) => return Ok(Outcome::Refused(refusal.0)),
        };
        let expected = &expected[(length - 1) * n_vocab..length * n_vocab];
        worst = worst.max(table::relative_rmse(&found, expected));
    }
    Ok(Outcome::Compared(worst))
}

/// All types of weights in blocks, and the short numbers, by ggml's names.
const TYPES: [&str; 27] = [
    "f16", "bf16", "q8_0", "q6_K", "q5_K", "q5_1", "q5_0", "q4_K", "q4_1", "q4_0", "q3_K", "q2_K",
    "q2_0", "q1_0", "iq4_nl", "iq4_xs", "iq3_s", "iq3_xxs", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m",
    "iq1_s", "tq2_0", "tq1_0", "mxfp4", "nvfp4",
];

/// How far both are from the exact answer, for each type of weights: one of the models, its matrices in that type,
/// against the numbers that these stand for in F32.
fn types(oracle: &Oracle, models: &Path, seed: u64) -> Result<Vec<Distance>> {
    let model = models.join("qwen3-dense.gguf");
    let folder = folder()?;
    let (quantized, exact) = (folder.join("quantized.gguf"), folder.join("exact.gguf"));
    let tokens = tokens(seed, 128, LENGTHS[LENGTHS.len() - 1]);
    let distances = TYPES.iter().map(|ty| {
        oracle.quantize(&model, ty, &quantized, &exact)?;
        let (exact, theirs) = (
            oracle.logits(&exact, &tokens)?,
            oracle.logits(&quantized, &tokens)?,
        );
        let n_vocab = exact.len() / tokens.len();
        let rows = LENGTHS.map(|length| (length - 1) * n_vocab..length * n_vocab);
        let (exact, theirs) = (
            rows.clone().map(|row| &exact[row]).concat(),
            rows.map(|row| &theirs[row]).concat(),
        );
        let mut ours = Vec::new();
        for length in LENGTHS {
            match gust::logits(&quantized, &tokens[..length])? {
                Ok(found) => ours.extend(found),
                Err(refusal) => bail!("gust refuses {ty}: {}", refusal.0),
            }
        }
        let distance = Distance {
            ty,
            gust: table::relative_rmse(&ours, &exact),
            llama_cpp: table::relative_rmse(&theirs, &exact),
        };
        eprintln!(
            "{ty}: {:.1e}, llama.cpp {:.1e}",
            distance.gust, distance.llama_cpp
        );
        Ok(distance)
    });
    distances.collect()
}

/// Writes what llama.cpp computes of gust's own tiny models, for the engine's tests.
fn update(oracle: &Oracle) -> Result<()> {
    let tokens = tokens(9, 64, TINY);
    let model = folder()?.join("tiny.gguf");
    let mut lines = Vec::new();
    for (name, case) in named() {
        std::fs::write(&model, case.file(Matrices::F32))?;
        match oracle.logits(&model, &tokens) {
            Err(error) => eprintln!("{name}: left out: {error}"),
            Ok(logits) => {
                let last = &logits[logits.len() - 64..];
                lines.push(format!("\"{name}\": {}", serde_json::to_string(last)?));
            }
        }
    }
    let page = format!(
        "{{\n\"llama.cpp\": \"of {}, in F32 with keys and values in F32\",\n\"tokens\": {},\n\"logits\": {{\n{}\n}}\n}}\n",
        oracle::PACKAGE,
        serde_json::to_string(&tokens)?,
        lines.join(",\n")
    );
    let path = root().join("tests/data/architectures/llama-cpp.json");
    std::fs::write(&path, page)?;
    eprintln!("written: {} ({} models)", path.display(), lines.len());
    Ok(())
}

/// Perplexity of real models over a text.
fn real_models(oracle: &Oracle, models: &Path, text: Option<&Path>) -> Result<bool> {
    let text = match text {
        Some(text) => text.to_owned(),
        None => own_text()?,
    };
    println!("| file | tokens | gust | llama.cpp | gust / llama.cpp |");
    println!("|---|---|---|---|---|");
    let mut all_agree = true;
    for model in models::files(models)? {
        let (n, found) = gust::nll(&model, &text, WINDOW)?;
        let (n_expected, expected) = oracle.nll(&model, &text, WINDOW)?;
        let ratio = (found - expected).exp();
        all_agree = all_agree && n == n_expected && (ratio - 1.0).abs() < 0.005;
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        let same = if n == n_expected {
            ""
        } else {
            " (other tokens)"
        };
        println!(
            "| {name} | {n}{same} | {:.4} | {:.4} | {ratio:.5} |",
            found.exp(),
            expected.exp()
        );
    }
    Ok(all_agree)
}

/// This repository's documents: more than 20,000 tokens.
fn own_text() -> Result<PathBuf> {
    let mut text = String::new();
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "adapters/README.md",
        "web/README.md",
        "models/README.md",
        "docs/SCALING.md",
        "benches/PROFILES.md",
    ] {
        text += &std::fs::read_to_string(root().join(name))?;
    }
    let path = folder()?.join("text.md");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Random tokens below `n_vocab`.
fn tokens(seed: u64, n_vocab: u64, n: usize) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        ((state >> 33) % n_vocab) as u32
    };
    (0..n).map(|_| next()).collect()
}

/// The workspace's root.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where llama.cpp is set up: outside of git, kept between runs.
fn folder() -> Result<PathBuf> {
    let folder = root().join("target/parity");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

//! `parity`: what gust computes against what llama.cpp computes.
//!
//! In the order of use: [`order`] (the command line), [`oracle`] (llama.cpp), [`mod@gust`] (the library), [`longer`] (a file
//! with a longer context), [`mod@compare`] with [`mixed`] (one model), [`mod@vectors`] (models that embed), [`mod@adapters`],
//! [`types`] with [`exact`] (types of weights), [`real`] (real models), [`table`] (the page). Other comparisons:
//! [`mod@templates`] (chat templates with Jinja2), [`mod@tokenizers`] with [`texts`] (tokens of random texts).

mod adapters;
mod compare;
mod exact;
mod gust;
mod longer;
#[path = "../machine.rs"]
mod machine;
mod mixed;
#[path = "../models.rs"]
mod models;
mod oracle;
mod order;
mod real;
mod table;
mod templates;
mod texts;
mod tokenizers;
mod types;
mod vectors;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use ::gust::Engine;
use anyhow::{Context, Result};
use gust_engine::tiny_models::{Matrices, encoders, named};

use compare::compare;
use oracle::Oracle;
use order::Order;
use table::Row;

/// The lengths of prompts: one token, more than one batch and than the windows, more than two batches, and so many that
/// every window has dropped most of them.
const LENGTHS: [usize; 4] = [1, 80, 160, LONG];
const LONG: usize = 640;
/// The context length of the files: the longest prompt, and an answer.
const CONTEXT: u32 = 1024;
/// The length of the prompt of gust's own tiny models in the tests.
const TINY: usize = 90;

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
    if order.templates {
        let only = order.only.as_deref();
        let (page, agree) = templates::templates(order.llama_cpp.as_deref(), only)?;
        if only.is_none() {
            let path = root().join("docs/TEMPLATES.md");
            std::fs::write(&path, page).with_context(|| path.display().to_string())?;
            eprintln!("written: {}", path.display());
        }
        return Ok(agree);
    }
    let oracle = Oracle::set_up(order.llama_cpp.as_deref())?;
    if order.tokenizers {
        return tokenizers::tokenizers(&oracle, order);
    }
    let engine = Engine::new()?;
    let (only, page) = (order.only.as_deref(), root().join("docs/PARITY.md"));
    let read = || std::fs::read_to_string(&page).with_context(|| page.display().to_string());
    let write = |text: String| {
        eprintln!("written: {}", page.display());
        std::fs::write(&page, text).with_context(|| page.display().to_string())
    };
    if order.adapters || order.lora.is_some() {
        return adapters(&oracle, &engine, order);
    }
    if let Some(models) = &order.real {
        let text = order.text.as_deref();
        let mut printed = String::new();
        let agree = real::real_models(&oracle, &engine, models, only, text, |section| {
            printed = section.to_owned();
            // After each file: a run may take an hour.
            match order.update {
                true => write(table::with_real(&read()?, section)),
                false => Ok(()),
            }
        })?;
        print!("{printed}");
        return Ok(agree);
    }
    if order.update {
        update(&oracle)?;
    }
    let models = folder()?.join("models");
    let _ = std::fs::remove_dir_all(&models);
    std::fs::create_dir_all(&models)?;
    oracle.write_models(&models, order.seed)?;
    let files = models::files(&models)?;
    let start = Instant::now();
    let mut rows = Vec::new();
    for (i, model) in files.iter().enumerate() {
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let outcome = compare(&oracle, &engine, model, order.seed, 128)?;
        let seconds = start.elapsed().as_secs();
        eprintln!(
            "{} of {}, {seconds} s: {name}: {outcome}",
            i + 1,
            files.len()
        );
        rows.push(Row {
            name: name.into_owned(),
            outcome,
        });
    }
    if only.is_none() {
        let own = own_models(&oracle, &engine, &rows, order.seed)?;
        let vectors = vectors::vectors(&oracle, &engine, order.seed)?;
        let types = types::types(&oracle, &engine, &models, order.seed)?;
        let page = table::page(&rows, &own, &vectors, &types, order.seed, &read()?);
        write(page)?;
        rows.extend(own);
        if vectors.iter().any(|vector| !vector.agrees()) {
            return Ok(false);
        }
    }
    Ok(!rows.iter().any(|row| row.outcome.is_wrong()))
}

/// Writes a section of `docs/ADAPTERS.md`, and says whether all agree.
fn adapters(oracle: &Oracle, engine: &Engine, order: &Order) -> Result<bool> {
    let (title, (section, agree)) = match (&order.lora, &order.real) {
        (Some(lora), Some(model)) => (
            "A fine-tune of a real model",
            adapters::real_adapter(oracle, engine, model, lora, &ASKED)?,
        ),
        _ => (
            "Random adapters",
            adapters::random_adapters(oracle, engine, order.only.as_deref(), order.seed)?,
        ),
    };
    if order.only.is_some() {
        print!("{section}");
        return Ok(agree);
    }
    let page = root().join("docs/ADAPTERS.md");
    let old = std::fs::read_to_string(&page).unwrap_or_else(|_| "# Adapters\n".to_owned());
    std::fs::write(&page, adapters::with_section(&old, title, &section))?;
    eprintln!("written: {}", page.display());
    Ok(agree)
}

/// Questions to a chat model, in the template of the models that the adapter is trained for.
const ASKED: [&str; 3] = [
    "What is a bridge?",
    "Write a function in Python that adds two numbers.",
    "Why is the sky blue?",
];

/// gust's own tiny models of architectures that are not among those files.
fn own_models(oracle: &Oracle, engine: &Engine, files: &[Row], seed: u64) -> Result<Vec<Row>> {
    let model = folder()?.join("tiny.gguf");
    let mut rows = Vec::new();
    for (name, case) in named() {
        let prefix = format!("{}-", case.architecture);
        if files.iter().any(|row| row.name.starts_with(&prefix)) {
            continue;
        }
        std::fs::write(&model, case.file(Matrices::F32))?;
        let outcome = compare(oracle, engine, &model, seed, 64)?;
        eprintln!("{name}, our own: {outcome}");
        rows.push(Row { name, outcome });
    }
    Ok(rows)
}

/// Writes what llama.cpp computes of gust's own tiny models, for the engine's tests.
fn update(oracle: &Oracle) -> Result<()> {
    let tokens = tokens(9, 64, TINY);
    let model = folder()?.join("tiny.gguf");
    let mut lines = Vec::new();
    for (name, case) in named() {
        std::fs::write(&model, case.file(Matrices::F32))?;
        match oracle.logits(&model, &[], &tokens, 0) {
            Err(error) => eprintln!("{name}: left out: {error}"),
            Ok(logits) => {
                let last = serde_json::to_string(logits.after(TINY))?;
                lines.push(format!("\"{name}\": {last}"));
            }
        }
    }
    let mut vectors = Vec::new();
    for (name, case) in encoders() {
        std::fs::write(&model, case.file(Matrices::F32))?;
        let vector = serde_json::to_string(&oracle.embed(&model, &tokens)?)?;
        vectors.push(format!("\"{name}\": {vector}"));
    }
    let page = format!(
        "{{\n\"llama.cpp\": \"of {}, in F32 with keys and values in F32\",\n\"tokens\": {},\n\"logits\": {{\n{}\n}},\n\
         \"embeddings\": {{\n{}\n}}\n}}\n",
        oracle::PACKAGE,
        serde_json::to_string(&tokens)?,
        lines.join(",\n"),
        vectors.join(",\n")
    );
    let path = root().join("tests/data/architectures/llama-cpp.json");
    std::fs::write(&path, page)?;
    let n = lines.len() + vectors.len();
    eprintln!("written: {} ({n} models)", path.display());
    Ok(())
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

//! gust, as a library: the engine as a component in Wasmtime. What one model answers to all questions ([`run`]), and how it
//! goes on after a prompt ([`greedy`]).

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use gust::{Engine, Error, GenerationOptions, KvType, LoadOptions, Model, Session, SessionOptions};
use serde::Deserialize;

use crate::root;

/// What is asked of a model.
pub(crate) struct Script<'a> {
    pub(crate) prompt: &'a [u32],
    /// How much of the prompt is fed before the logits are asked for, each time.
    pub(crate) lengths: &'a [usize],
    /// The number of tokens that are chosen greedily after the prompt.
    pub(crate) n_greedy: usize,
    /// How many tokens are left when the session is truncated after that, and what is fed then.
    pub(crate) cut: usize,
    pub(crate) others: &'a [u32],
}

/// What it answers.
pub(crate) struct Run {
    /// The logits after each of the lengths.
    pub(crate) prompt: Vec<Vec<f32>>,
    pub(crate) greedy: Vec<u32>,
    /// The logits after the prompt and the greedy tokens.
    pub(crate) end: Vec<f32>,
    /// The same from a session that was saved after the prompt, restored, and continued.
    pub(crate) restored: Result<Vec<f32>, Error>,
    /// The same from two instances, which are fed all of these tokens.
    pub(crate) grouped: Result<Vec<f32>, Error>,
    /// The logits after the cut and the other tokens.
    pub(crate) truncated: Vec<f32>,
}

/// Loads a model into so many instances.
pub(crate) fn load(engine: &Engine, file: &Path, threads: Option<u32>) -> Result<Model, Error> {
    let options = LoadOptions {
        threads,
        ..LoadOptions::default()
    };
    engine.load(file, &options)
}

/// An empty session with keys and values in F32.
pub(crate) fn session(model: &Model) -> Result<Session, Error> {
    model.session(&SessionOptions {
        kv_type: Some(KvType::F32),
        ..SessionOptions::default()
    })
}

/// The next `n` tokens, each the most probable one.
pub(crate) fn greedy(session: &mut Session, n: usize) -> Result<Vec<u32>, Error> {
    session.configure(&GenerationOptions {
        temperature: Some(0.0),
        ignore_end: Some(true),
        max_tokens: Some(n as u32),
        ..GenerationOptions::default()
    })?;
    let tokens = session
        .tokens()
        .filter_map(|token| token.map(|token| token.id).transpose());
    tokens.collect()
}

/// Goes through a script.
pub(crate) fn run(engine: &Engine, file: &Path, script: &Script<'_>) -> Result<Run, Error> {
    let model = load(engine, file, Some(1))?;
    let mut original = session(&model)?;
    let mut prompt = Vec::new();
    let mut fed = 0;
    for &length in script.lengths {
        original.feed(&script.prompt[fed..length])?;
        prompt.push(original.logits()?);
        fed = length;
    }
    let saved = original.save()?;
    let tokens = greedy(&mut original, script.n_greedy)?;
    let end = original.logits()?;
    let all = [script.prompt, &tokens].concat();
    original.truncate(script.cut as u32)?;
    original.feed(script.others)?;
    Ok(Run {
        prompt,
        end,
        restored: restored(&model, &saved, &tokens),
        grouped: grouped(engine, file, &all),
        truncated: original.logits()?,
        greedy: tokens,
    })
}

fn restored(model: &Model, saved: &[u8], tokens: &[u32]) -> Result<Vec<f32>, Error> {
    let mut session = session(model)?;
    session.restore(saved)?;
    session.feed(tokens)?;
    session.logits()
}

fn grouped(engine: &Engine, file: &Path, tokens: &[u32]) -> Result<Vec<f32>, Error> {
    let model = load(engine, file, Some(2))?;
    let mut session = session(&model)?;
    session.feed(tokens)?;
    session.logits()
}

/// The number of scored tokens of a text in windows of so many tokens, and their mean negative log-likelihood: by the
/// command, as users run it.
pub(crate) fn nll(model: &Path, text: &Path, window: u32) -> Result<(u64, f64)> {
    #[derive(Deserialize)]
    struct Answer {
        mean_nll: f64,
        tokens: u64,
    }
    let mut gust = Command::new(root().join("target/release/gust"));
    gust.arg("perplexity").arg("--model").arg(model);
    gust.args(["--kv-type", "f32", "--json"]).arg(text);
    gust.args(["--context", &window.to_string()]);
    let output = gust.stdin(Stdio::null()).output();
    let output = output.context("cannot start gust")?;
    let words = String::from_utf8_lossy(&output.stderr);
    let answer: Answer =
        serde_json::from_slice(&output.stdout).with_context(|| words.to_string())?;
    Ok((answer.tokens, answer.mean_nll))
}

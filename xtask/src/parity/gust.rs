//! gust: the command, whose engine runs as a component.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::root;

/// Why gust does not run a file.
pub(crate) struct Refusal(pub(crate) String);

fn gust(command: &str, model: &Path) -> Command {
    let mut gust = Command::new(root().join("target/release/gust"));
    gust.arg(command).arg("--model").arg(model);
    gust.args(["--kv-type", "f32"]).stdin(Stdio::null());
    gust
}

/// The logits after all of the tokens.
pub(crate) fn logits(model: &Path, tokens: &[u32]) -> Result<Result<Vec<f32>, Refusal>> {
    #[derive(Deserialize)]
    struct Answer {
        logits: Vec<f32>,
    }
    let tokens: Vec<String> = tokens.iter().map(u32::to_string).collect();
    let mut gust = gust("logits", model);
    gust.args(["--json", "--tokens", &tokens.join(",")]);
    let output = gust.output().context("cannot start gust")?;
    if output.status.success() {
        let answer: Answer = serde_json::from_slice(&output.stdout)?;
        return Ok(Ok(answer.logits));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().next().unwrap_or("no words");
    let words = words.trim_start_matches("error: ");
    Ok(Err(Refusal(words.to_owned())))
}

/// The number of scored tokens of a text in windows of so many tokens, and their mean negative log-likelihood.
pub(crate) fn nll(model: &Path, text: &Path, window: u32) -> Result<(u64, f64)> {
    #[derive(Deserialize)]
    struct Answer {
        mean_nll: f64,
        tokens: u64,
    }
    let mut gust = gust("perplexity", model);
    gust.arg("--json").arg(text);
    gust.args(["--context", &window.to_string()]);
    let output = gust.output().context("cannot start gust")?;
    let words = String::from_utf8_lossy(&output.stderr);
    let answer: Answer =
        serde_json::from_slice(&output.stdout).with_context(|| words.to_string())?;
    Ok((answer.tokens, answer.mean_nll))
}

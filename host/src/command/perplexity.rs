//! `gust perplexity`: how well a model predicts a text.
//!
//! The text is cut into windows as long as the context. Each begins with the model's begin-of-sequence token, if it has
//! one, and is scored on its own, without overlap. The result is the mean over all tokens that have at least one token
//! before them.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use gust::{Model, Scope, Session, TokenizeOptions};
use serde::Serialize;

use super::args::{ModelArgs, SessionArgs};
use super::failure::Failure;
use super::input;
use super::lora::LoraArgs;
use super::open::open;
use super::output::Output;
use super::progress::Progress;
use super::signals;
use super::units::count;

/// Measure how well a model predicts a text
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust perplexity -m model.gguf book.txt
  gust perplexity -m model.gguf --context 512 --json < book.txt")]
pub(super) struct PerplexityArgs {
    /// File with the text [default: stdin]
    #[arg(value_name = "TEXT", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Score these token IDs instead of a text, exactly as given
    #[arg(long, value_name = "IDS", value_delimiter = ',', num_args = 1.., conflicts_with = "file")]
    tokens: Vec<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    session: SessionArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    lora: LoraArgs,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    perplexity: f64,
    /// Nats per token.
    mean_nll: f64,
    /// Tokens scored.
    tokens: usize,
    windows: usize,
    context: u32,
}

pub(super) fn perplexity(args: &PerplexityArgs) -> Result<(), Failure> {
    let text = match (&args.file, args.tokens.is_empty()) {
        (_, false) => None,
        (Some(path), _) => {
            let name = path.display().to_string();
            let bytes =
                std::fs::read(path).map_err(|error| Failure::file("reading", &name, &error))?;
            Some(input::text(&name, bytes)?)
        }
        (None, _) => Some(input::stdin_text()?),
    };
    let model = open(&args.model, Scope::Full)?.model;
    let mut session = args.lora.session(&model, &args.session.options())?;
    let context = session.usage()?.context_length;
    let windows = match text {
        None => windows(&args.tokens, None, context),
        Some(text) => {
            let options = TokenizeOptions {
                add_special: Some(false),
                ..Default::default()
            };
            windows(&model.tokenize(&text, &options)?, bos(&model)?, context)
        }
    };
    let report = report(&score(&mut session, &windows)?, windows.len(), context)?;

    let mut output = Output::new();
    if args.json {
        output.json(&report)?;
    } else {
        output.line(&format!(
            "perplexity {:.4}, mean NLL {:.4} over {} tokens in {} windows of {context}",
            report.perplexity,
            report.mean_nll,
            count(report.tokens as u64),
            report.windows,
        ))?;
    }
    output.flush()
}

/// The begin-of-sequence token, if the model wants texts to begin with it.
fn bos(model: &Model) -> Result<Option<u32>, Failure> {
    let begin = model.tokenize("", &TokenizeOptions::default())?;
    Ok(begin
        .first()
        .copied()
        .filter(|&first| Some(first) == model.info().bos))
}

/// Windows of at most `context` tokens, each beginning with `first`.
fn windows(tokens: &[u32], first: Option<u32>, context: u32) -> Vec<Vec<u32>> {
    let room = (context as usize)
        .saturating_sub(usize::from(first.is_some()))
        .max(1);
    tokens
        .chunks(room)
        .map(|piece| first.into_iter().chain(piece.iter().copied()).collect())
        .collect()
}

/// The log-probability of every token that has another before it.
fn score(session: &mut Session, windows: &[Vec<u32>]) -> Result<Vec<f32>, Failure> {
    let progress = Progress::start("scoring");
    let reporter = progress.reporter();
    let handle = session.cancel_handle();
    let _guard = signals::cancels(&handle);
    let total: usize = windows.iter().map(Vec::len).sum();
    let mut before = 0;
    let mut scores = Vec::with_capacity(total);
    for window in windows {
        session.truncate(0)?;
        let scored = session.score_with(window, |done| {
            reporter.done((before + done) as u64, total as u64)
        })?;
        // The first token of a window has nothing before it.
        scores.extend_from_slice(scored.get(1..).unwrap_or_default());
        before += window.len();
    }
    Ok(scores)
}

fn report(scores: &[f32], windows: usize, context: u32) -> Result<Report, Failure> {
    if scores.is_empty() {
        return Err(
            Failure::usage("the text: expected at least two tokens, found fewer")
                .hint("only tokens that have another before them count; use a longer text"),
        );
    }
    let mean_nll = -scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64;
    Ok(Report {
        perplexity: mean_nll.exp(),
        mean_nll,
        tokens: scores.len(),
        windows,
        context,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fill_the_context_and_begin_with_bos() {
        assert_eq!(
            windows(&[5, 6, 7, 8, 9], Some(1), 3),
            [vec![1, 5, 6], vec![1, 7, 8], vec![1, 9]]
        );
        assert_eq!(windows(&[5, 6, 7], None, 2), [vec![5, 6], vec![7]]);
        assert!(windows(&[], Some(1), 3).is_empty());
    }

    #[test]
    fn perplexity_is_the_exponential_of_the_mean() {
        let report = report(&[0.5f32.ln(), 0.125f32.ln()], 1, 8).expect("two scores");
        assert!(
            (report.perplexity - 4.0).abs() < 1e-6,
            "{}",
            report.perplexity
        );
    }
}

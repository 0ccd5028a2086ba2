//! `gust logits`: the model's logits for the next token, for comparison with other programs.

use std::cmp::Ordering;

use clap::Args;
use gust::{Model, Scope, SpecialTokens};
use serde::Serialize;

use super::args::{ModelArgs, SessionArgs};
use super::failure::Failure;
use super::lora::LoraArgs;
use super::open::open;
use super::output::{Output, printable_bytes};
use super::signals;

/// Print the logits after a sequence of tokens
///
/// Without --top, prints one line for each token of the vocabulary: its ID, a tab, and its logit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust logits -m model.gguf --tokens 1,403,407 --json
  gust logits -m model.gguf --tokens 1,403,407 --top 5")]
pub(super) struct LogitsArgs {
    /// Token IDs, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true, num_args = 1..)]
    tokens: Vec<u32>,
    /// Print only the K highest logits, highest first, with the tokens' texts
    #[arg(long, value_name = "K")]
    top: Option<usize>,
    /// Print {"tokens":[...],"logits":[...]}, with --top "top" instead of "logits"
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    session: SessionArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    lora: LoraArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    tokens: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<Row>>,
}

/// One of the highest logits.
#[derive(Serialize)]
struct Row {
    id: usize,
    logit: f32,
    text: String,
}

pub(super) fn logits(args: &LogitsArgs) -> Result<(), Failure> {
    let model = open(&args.model, Scope::Full)?.model;
    let mut session = args.lora.session(&model, &args.session.options())?;
    let handle = session.cancel_handle();
    let guard = signals::cancels(&handle);
    session.feed(&args.tokens)?;
    drop(guard);
    let logits = session.logits()?;
    let top = args
        .top
        .map(|count| highest(&model, &logits, count))
        .transpose()?;

    let mut output = Output::new();
    if args.json {
        let logits = top.is_none().then_some(logits.as_slice());
        output.json(&Answer {
            tokens: &args.tokens,
            logits,
            top,
        })?;
    } else if let Some(rows) = top {
        for Row { id, logit, text } in rows {
            output.line(&format!("{id}\t{logit}\t{text}"))?;
        }
    } else {
        for (id, logit) in logits.iter().enumerate() {
            output.line(&format!("{id}\t{logit}"))?;
        }
    }
    output.flush()
}

/// The `count` highest logits; of equal ones, the lower token ID first.
fn highest(model: &Model, logits: &[f32], count: usize) -> Result<Vec<Row>, Failure> {
    let mut order: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    order.sort_by(|a, b| {
        b.1.partial_cmp(&a.1)
            .unwrap_or(Ordering::Equal)
            .then(a.0.cmp(&b.0))
    });
    order.truncate(count);
    let row = |(id, logit): (usize, f32)| {
        let token = u32::try_from(id).map_err(|_| Failure::failed("more logits than token IDs"))?;
        let text = printable_bytes(&model.detokenize(&[token], SpecialTokens::Render)?);
        Ok(Row { id, logit, text })
    };
    order.into_iter().map(row).collect()
}

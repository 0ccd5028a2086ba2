//! `gust tokenize`: text to tokens.

use clap::Args;
use gust::{Scope, SpecialTokens, TokenizeOptions};
use serde::Serialize;

use super::args::ModelArgs;
use super::failure::Failure;
use super::input::stdin_text;
use super::open::open;
use super::output::{Output, printable_bytes};

/// Turn text into tokens
///
/// Prints one line for each token: its ID, a tab, and its escaped text. Also works on files that contain only a
/// vocabulary.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust tokenize \"Once upon a time\"
  gust tokenize -m vocabulary.gguf --json < text.txt")]
pub(super) struct TokenizeArgs {
    /// Text to tokenize [default: stdin, byte for byte]
    text: Option<String>,
    /// Do not add the special tokens that the model expects around a text, such as begin-of-sequence
    #[arg(long)]
    no_special: bool,
    /// Turn the names of control tokens in the text into those tokens
    #[arg(long)]
    parse_special: bool,
    /// Print only the token IDs, one per line
    #[arg(long)]
    ids: bool,
    /// Print {"ids":[...]}
    #[arg(long, conflicts_with = "ids")]
    json: bool,
    /// With --json: read several texts from stdin, each ended by a zero byte, and print one line for each
    #[arg(short = '0', long, requires = "json", conflicts_with = "text")]
    null: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Ids {
    ids: Vec<u32>,
}

pub(super) fn tokenize(args: &TokenizeArgs) -> Result<(), Failure> {
    let text = match &args.text {
        Some(text) => text.clone(),
        None => stdin_text()?,
    };
    let model = open(&args.model, Scope::Vocabulary)?.model;
    let options = TokenizeOptions {
        add_special: Some(!args.no_special),
        parse_special: Some(args.parse_special),
    };
    let mut output = Output::new();
    if args.null {
        for text in text.strip_suffix('\0').unwrap_or(&text).split('\0') {
            let ids = model.tokenize(text, &options)?;
            output.json(&Ids { ids })?;
        }
    } else if args.json {
        let ids = model.tokenize(&text, &options)?;
        output.json(&Ids { ids })?;
    } else {
        for id in model.tokenize(&text, &options)? {
            if args.ids {
                output.line(&id.to_string())?;
            } else {
                let bytes = model.detokenize(&[id], SpecialTokens::Render)?;
                output.line(&format!("{id}\t{}", printable_bytes(&bytes)))?;
            }
        }
    }
    output.flush()
}

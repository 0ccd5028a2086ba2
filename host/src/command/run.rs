//! `gust run`: a prompt goes in, its continuation streams out.

use std::io::{IsTerminal, stdin};
use std::time::{Duration, Instant};

use clap::Args;
use gust::{Model, Session, TokenizeOptions, Usage};

use super::args::{GenerationArgs, ModelArgs, SessionArgs};
use super::failure::Failure;
use super::input::stdin_text;
use super::lora::LoraArgs;
use super::open::{Opened, open_to_generate};
use super::output::note;
use super::progress::Progress;
use super::signals;
use printer::Printer;
use summary::{Ending, Summary};

mod printer;
mod summary;

/// Continue a prompt
///
/// Prints the prompt and then streams its continuation. A summary goes to stderr. If Ctrl-C stops the run, the text
/// generated so far is kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust run \"Once upon a time\"
  gust run -m model.gguf -n 200 --temperature 0 \"The capital of France is\"
  gust run -m model.gguf --no-echo < prompt.txt > continuation.txt
  gust run --json --logprobs 3 \"Once\"")]
pub(super) struct RunArgs {
    /// Text to continue [default: stdin without its final line break; on a terminal, none]
    prompt: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    lora: LoraArgs,
    #[command(flatten)]
    session: SessionArgs,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    printing: PrintArgs,
}

/// What is printed, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct PrintArgs {
    /// Do not print the prompt before its continuation
    #[arg(long)]
    no_echo: bool,
    /// Print one JSON object per line: one for each token ({"id","text"}), then one with the summary
    #[arg(long)]
    json: bool,
    /// With --json: add each token's log-probability, and those of the N most probable tokens
    #[arg(long, value_name = "N", requires = "json", value_parser = clap::value_parser!(u32).range(0..=1024))]
    logprobs: Option<u32>,
    /// Do not print the summary
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let prompt = prompt(args)?;
    let draft = args.generation.speculation.draft_model.as_ref();
    let opened = open_to_generate(&args.model, draft, args.generation.max_tokens())?;
    let model = &opened.model;
    let tokens = model.tokenize(&prompt, &TokenizeOptions::default())?;
    if tokens.is_empty() {
        return Err(Failure::usage(
            "the prompt is empty, and this model needs something to continue",
        )
        .hint("pass a prompt: gust run \"Once upon a time\""));
    }
    let mut session = args.lora.session(model, &args.session.options())?;
    let seed = args.generation.sampling.seed();
    session.configure(&gust::GenerationOptions {
        logprobs: args.printing.logprobs,
        ..args.generation.options(seed)
    })?;

    let handle = session.cancel_handle();
    let guard = signals::cancels(&handle);
    let mut printer = Printer::new(model, &prompt, args.printing.json);
    let echo = if args.printing.no_echo { "" } else { &prompt };
    let answer = answer(&mut session, &tokens, echo, &mut printer);
    drop(guard);
    // If the reader is gone, end here. Otherwise complete the output, whatever stopped the answer.
    if matches!(answer.outcome, Err(Failure::ClosedOutput)) {
        return answer.outcome.map(drop);
    }
    let summary = answer.summary(&opened, &session, seed)?;
    printer.end(&summary)?;
    if !args.printing.quiet {
        note(&summary.line());
    }
    answer.outcome.map(drop)
}

/// The argument, or stdin. `echo` and editors end text with a line break that is not meant to be part of the prompt.
fn prompt(args: &RunArgs) -> Result<String, Failure> {
    if let Some(prompt) = &args.prompt {
        return Ok(prompt.clone());
    }
    if stdin().is_terminal() {
        note(
            "note: no prompt given, so the model starts a text of its own; to give one: gust run \"Once upon a time\"",
        );
        return Ok(String::new());
    }
    let text = stdin_text()?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// The result of a run.
struct Answer {
    outcome: Result<Ending, Failure>,
    /// How many tokens of the prompt were read.
    prompt_tokens: usize,
    generated: u64,
    prefill: Duration,
    /// From the start of the prompt to the first token.
    first_token: Option<Duration>,
    decode: Duration,
}

/// Feeds the prompt, prints `echo`, and streams the continuation. An error is returned inside the [`Answer`], so that
/// the rest of it can still be reported.
fn answer(session: &mut Session, prompt: &[u32], echo: &str, printer: &mut Printer<'_>) -> Answer {
    let start = Instant::now();
    let (fed, prompt_tokens) = feed(session, prompt);
    let prefill = start.elapsed();
    let (mut generated, mut first_token) = (0, None);
    let decode = || -> Result<Ending, Failure> {
        fed?;
        printer.prompt(echo)?;
        for token in session.tokens() {
            let token = token?;
            if token.id.is_some() {
                generated += 1;
                first_token.get_or_insert_with(|| start.elapsed());
            }
            printer.token(&token)?;
        }
        Ok(session
            .finish_reason()
            .map_or(Ending::Stopped, Ending::Finished))
    };
    let outcome = decode();
    let decode = start.elapsed() - prefill;
    Answer {
        outcome,
        prompt_tokens,
        generated,
        prefill,
        first_token,
        decode,
    }
}

/// Returns the outcome, and how many tokens were taken.
fn feed(session: &mut Session, tokens: &[u32]) -> (Result<(), Failure>, usize) {
    let progress = Progress::start("reading the prompt");
    let reporter = progress.reporter();
    let mut taken = 0;
    let fed = session.feed_with(tokens, |done| {
        taken = done;
        reporter.done(done as u64, tokens.len() as u64);
    });
    (fed.map_err(Failure::from), taken)
}

impl Answer {
    fn summary(&self, opened: &Opened, session: &Session, seed: u64) -> Result<Summary, Failure> {
        // After a trap the session no longer answers, and the trap is what has to be reported.
        let usage = session.usage().ok();
        let ending = match &self.outcome {
            Ok(ending) => *ending,
            Err(Failure::Gust(gust::Error::Cancelled)) => Ending::Cancelled,
            Err(Failure::Gust(gust::Error::ContextFull { .. })) => Ending::ContextFull,
            Err(_) => Ending::Failed,
        };
        Ok(Summary {
            ending,
            model: model_name(&opened.model),
            seed,
            prompt_tokens: self.prompt_tokens as u64,
            generated: self.generated,
            context_used: usage.map(|Usage { context_used, .. }| context_used),
            context_length: usage.map(|Usage { context_length, .. }| context_length),
            drafted: usage.map(|Usage { drafted, .. }| drafted),
            accepted: usage.map(|Usage { accepted, .. }| accepted),
            load: opened.engine_time + opened.load_time,
            prefill: self.prefill,
            first_token: self.first_token,
            decode: self.decode,
        })
    }
}

fn model_name(model: &Model) -> String {
    let info = model.info();
    if info.name.is_empty() {
        info.architecture.clone()
    } else {
        info.name.clone()
    }
}

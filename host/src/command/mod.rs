//! The command line: one file for each subcommand, and what they share.
//!
//! Data goes to stdout, everything else (progress, summaries, errors) to stderr. A failure ends the program with one of
//! the exit codes of [`failure`], which `--help` lists.

mod args;
mod bench;
mod chat;
mod completions;
#[allow(unreachable_pub, reason = "the front ends have this file too")]
mod date;
mod embed;
mod failure;
mod hyphens;
mod input;
mod inspect;
mod logits;
mod lora;
mod man;
mod open;
mod output;
mod pack;
mod perplexity;
mod progress;
mod run;
mod signals;
mod tokenize;
mod units;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;

/// Run language models in a WebAssembly sandbox.
#[derive(Debug, Parser)]
#[command(name = "gust", version, disable_version_flag = true, about, long_about = LONG_ABOUT, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
#[command(
    arg_required_else_help = true,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    /// Print the version; with --verbose, also what this build is made of
    #[arg(short = 'V', long, required = true)]
    version: bool,
    /// With --version: the engine and its hash, Wasmtime's version, and what is built in
    #[arg(long, requires = "version")]
    verbose: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Chat(chat::ChatArgs),
    Embed(embed::EmbedArgs),
    Rerank(embed::RerankArgs),
    Tokenize(tokenize::TokenizeArgs),
    Inspect(inspect::InspectArgs),
    Pack(pack::PackArgs),
    Logits(logits::LogitsArgs),
    Perplexity(perplexity::PerplexityArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

const LONG_ABOUT: &str = "\
Run language models in a WebAssembly sandbox.

The inference engine is a single WebAssembly component with no access to files or the network. It reads GGUF models, \
whose weights are mapped into its memory rather than copied. Without -m, gust uses the model that ships with it.";

const AFTER_HELP: &str = "\
Examples:
  gust run \"Once upon a time\"             tell a story with the model that ships with gust
  gust run -m model.gguf < prompt.txt     read the prompt from stdin
  gust chat -m model.gguf                 start a conversation
  gust inspect -m model.gguf              show what is in the file and how much memory it needs";

const AFTER_LONG_HELP: &str = "\
Examples:
  gust run \"Once upon a time\"             tell a story with the model that ships with gust
  gust run -m model.gguf < prompt.txt     read the prompt from stdin
  gust chat -m model.gguf                 start a conversation
  gust inspect -m model.gguf              show what is in the file and how much memory it needs

Exit codes:
  0    success
  1    something failed at run time
  2    the command line is invalid: an unknown flag, a value out of range
  3    the model or the component is missing, broken or unsupported
  4    a limit was reached: memory, time per call, a full context, a prompt that is too long
  130  stopped by Ctrl-C

Environment:
  GUST_CACHE_DIR  where to keep the compiled engine, instead of the user's cache directory";

/// Parses the command line and runs the subcommand.
pub(super) fn main() -> ExitCode {
    let args = hyphens::told_apart(&Cli::command(), std::env::args_os());
    let cli = Cli::parse_from(args);
    signals::install();
    let done = match &cli.command {
        Some(command) => dispatch(command),
        None => version::version(cli.verbose),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Chat(args) => chat::chat(args),
        Command::Embed(args) => embed::embed(args),
        Command::Rerank(args) => embed::rerank(args),
        Command::Tokenize(args) => tokenize::tokenize(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Pack(args) => pack::pack(args),
        Command::Logits(args) => logits::logits(args),
        Command::Perplexity(args) => perplexity::perplexity(args),
        Command::Bench(args) => bench::bench(args),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => man::man(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap's own check of the whole command line: names that clash, defaults that do not parse.
    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

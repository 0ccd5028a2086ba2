//! `gust man`: the manual page of gust or of one of its subcommands, in roff.

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::Cli;
use super::failure::Failure;
use super::output::Output;

/// Print a manual page
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust man | man -l -
  gust man run > ~/.local/share/man/man1/gust-run.1")]
pub(super) struct ManArgs {
    /// The subcommand to describe [default: gust itself]
    subcommand: Option<String>,
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    command.build();
    let command = match &args.subcommand {
        None => command,
        Some(name) => command.find_subcommand(name).cloned().ok_or_else(|| {
            Failure::usage(format!(
                "expected one of gust's subcommands, found `{name}`"
            ))
            .hint("`gust --help` lists them")
        })?,
    };
    let mut page = Vec::new();
    Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::failed(format!("writing the manual page: {error}")))?;
    let mut output = Output::new();
    output.text(&String::from_utf8_lossy(&page))?;
    output.flush()
}

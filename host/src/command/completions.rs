//! `gust completions`: a script with which a shell completes gust's commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;
use super::output::Output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust completions bash > ~/.local/share/bash-completion/completions/gust
  gust completions zsh > ~/.zfunc/_gust
  gust completions fish > ~/.config/fish/completions/gust.fish")]
pub(super) struct CompletionsArgs {
    /// The shell to generate the script for
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    // Generated in memory first, because clap_complete panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gust", &mut script);
    let mut output = Output::new();
    output.text(&String::from_utf8_lossy(&script))?;
    output.flush()
}

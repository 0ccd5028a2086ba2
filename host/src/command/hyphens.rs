//! Texts and numbers that begin with a hyphen.
//!
//! `gust run "- [ ] buy milk"` has a prompt, and `-n -1` a number, but clap takes whatever begins with a hyphen for a flag.
//! So what cannot be one is written differently before clap sees it: a value is joined to its flag (`-n=-1`), and a text
//! goes behind `--`.

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;

use clap::{Arg, Command};

/// The arguments of this program, which begin with its name and a subcommand, as clap understands them.
pub(super) fn told_apart(
    command: &Command,
    args: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut args = args.into_iter().peekable();
    let mut told: Vec<OsString> = args.by_ref().take(2).collect();
    let subcommand = told.get(1).and_then(|name| command.find_subcommand(name));
    let Some(subcommand) = subcommand else {
        told.extend(args);
        return told;
    };
    let mut texts = Vec::new();
    while let Some(mut arg) = args.next() {
        if arg == "--" {
            texts.extend(args.by_ref());
        } else if is_no_flag(subcommand, &arg) {
            texts.push(arg);
        } else {
            if waits_for_value(subcommand, &arg)
                && let Some(value) = next_if_no_flag(subcommand, &mut args)
            {
                arg.push("=");
                arg.push(value);
            }
            told.push(arg);
        }
    }
    if !texts.is_empty() {
        told.push("--".into());
        told.extend(texts);
    }
    told
}

fn next_if_no_flag(
    subcommand: &Command,
    args: &mut Peekable<impl Iterator<Item = OsString>>,
) -> Option<OsString> {
    args.next_if(|next| is_no_flag(subcommand, next))
}

/// Whether an argument begins with a hyphen and cannot be meant as a flag. Flags are `--name`, `--name=VALUE`, `-x` and
/// `-xVALUE`, whether they exist or not; `-` alone is left to clap.
fn is_no_flag(subcommand: &Command, arg: &OsStr) -> bool {
    let Some(text) = arg.to_str().and_then(|text| text.strip_prefix('-')) else {
        return false;
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (None, _) | (Some('-'), None) => false,
        (Some('-'), _) => {
            let name = text[1..].split('=').next().unwrap_or_default();
            !name.starts_with(|c: char| c.is_ascii_alphabetic())
                || name.contains(char::is_whitespace)
        }
        (Some(short), next) => {
            let exists = || subcommand.get_arguments().any(|arg| is_short(arg, short));
            !(short.is_ascii_alphabetic() || exists()) || next.is_some_and(char::is_whitespace)
        }
    }
}

/// Whether a flag takes the argument after it as its value.
fn waits_for_value(subcommand: &Command, arg: &OsStr) -> bool {
    let takes_value =
        |found: Option<&Arg>| found.is_some_and(|arg| arg.get_action().takes_values());
    let Some(flags) = arg.to_str().and_then(|text| text.strip_prefix('-')) else {
        return false;
    };
    if let Some(name) = flags.strip_prefix('-') {
        let mut long = subcommand.get_arguments();
        return takes_value(long.find(|arg| arg.get_long() == Some(name)));
    }
    // In `-qn`, only the last one can wait: `-nq` has the value `q`.
    let mut shorts = flags.chars().peekable();
    while let Some(short) = shorts.next() {
        let mut all = subcommand.get_arguments();
        if takes_value(all.find(|arg| is_short(arg, short))) {
            return shorts.peek().is_none();
        }
    }
    false
}

fn is_short(arg: &Arg, short: char) -> bool {
    arg.get_short() == Some(short)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn told(args: &[&str]) -> Vec<String> {
        let command = crate::command::Cli::command();
        let args = ["gust"].iter().chain(args).map(OsString::from);
        let told = told_apart(&command, args).into_iter().skip(1);
        told.map(|arg| arg.into_string().unwrap_or_default())
            .collect()
    }

    #[test]
    fn what_cannot_be_a_flag_is_a_text() {
        for text in [
            "- [ ] buy milk",
            "-> this way",
            "--- a title",
            "---",
            "-5 degrees",
            "-n is a flag of gust",
            "--seed is one, too",
            "-–",
            "--=",
        ] {
            assert_eq!(told(&["run", text, "-q"]), ["run", "-q", "--", text]);
            assert_eq!(told(&["run", "--", text, "-q"]), ["run", "--", text, "-q"]);
        }
    }

    #[test]
    fn flags_stay_flags_whether_they_exist_or_not() {
        for args in [
            &["run", "--frobnicate", "x"] as &[&str],
            &["run", "-x", "--seed", "--quiet"],
            &["run", "-mmy model.gguf", "--stop=- x", "-"],
            &["tokenize", "-0", "--json"],
            &["chat", "--system", "Be brief."],
            &["help", "- x"],
            &["--version"],
            &[],
        ] {
            assert_eq!(told(args), args);
        }
    }

    #[test]
    fn a_value_is_joined_to_its_flag() {
        assert_eq!(
            told(&["run", "-n", "-1", "--stop", "- x", "-qs", "-1", "Once"]),
            ["run", "-n=-1", "--stop=- x", "-qs=-1", "Once"]
        );
        // A flag without a value takes none, and one with its value in the same argument has it.
        assert_eq!(
            told(&["run", "-q", "-1", "-t0.5", "-2"]),
            ["run", "-q", "-t0.5", "--", "-1", "-2"]
        );
        assert_eq!(told(&["run", "--stop", "--"]), ["run", "--stop"]);
    }
}

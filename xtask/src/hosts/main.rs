//! `hosts`: the shipped model in every host there is, with the same prompt and seed; the tokens must be the same.
//!
//! In the order of use: [`order`] (the command line), [`list`] (the hosts, a table), [`tools`] (finding each host's
//! program, or setting it up, with [`wasmedge`] for the longest of these), [`run`] (running it, in the four ways there are,
//! with [`http`] for one of them), [`table`] (comparing, and what is printed).

mod http;
mod list;
#[path = "../machine.rs"]
mod machine;
mod order;
mod run;
mod table;
mod tools;
mod wasmedge;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use list::HOSTS;
use order::Order;
use run::Answer;
use table::{Outcome, Row};
use tools::Tools;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let order = match Order::parse(&args) {
        Ok(Some(order)) => order,
        Ok(None) => {
            print!("{}", order::help());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error:#}\nhint: `cargo xtask hosts --help` lists the options");
            return ExitCode::from(2);
        }
    };
    match carry_out(&order) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what is asked for, and says whether all that ran gave the same tokens.
fn carry_out(order: &Order) -> Result<bool> {
    let tools = Tools::new(order.install);
    let reference = reference(&tools)?;
    let mut rows = Vec::new();
    for host in HOSTS.iter().filter(|host| order.wants(host.id)) {
        eprintln!("{} ({})", host.name, host.id);
        let row = match tools.find(host.tool) {
            Err(reason) => Row::of(host, Outcome::NotRun(reason)),
            Ok(found) => match run::run(host, &found, &reference) {
                Err(error) => Row::failed(host, &found, &error),
                Ok(answer) => Row::compared(host, &found, answer, &reference),
            },
        };
        if let Outcome::Failed(reason) | Outcome::NotRun(reason) = &row.outcome {
            eprintln!("  {reason}");
        }
        rows.push(row);
    }
    if order.json {
        print!("{}", table::json(&rows));
    } else {
        print!("{}", table::markdown(&rows));
    }
    if order.save {
        let path = root().join("docs/HOSTS.md");
        let page = table::page(&rows, &machine::machine(), &machine::gust_version());
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("written: {}", path.display());
    }
    Ok(rows.iter().all(Row::is_good))
}

/// What every host must answer: what gust itself does.
fn reference(tools: &Tools) -> Result<Answer> {
    let [gust, ..] = &HOSTS;
    let found = tools.find(gust.tool).map_err(anyhow::Error::msg)?;
    let answer = run::run(gust, &found, &Answer::default()).context("the reference failed")?;
    if answer
        .tokens
        .as_ref()
        .is_none_or(|tokens| tokens.len() < 32)
    {
        bail!("the reference is too short to be one: {:?}", answer.tokens);
    }
    Ok(answer)
}

/// The workspace's root, where all programs are run.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where hosts are set up: outside of git, kept between runs.
fn folder() -> PathBuf {
    root().join("target/hosts")
}

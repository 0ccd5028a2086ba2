//! `bench`: gust against its peers, in turns, on this machine.
//!
//! In the order of use: [`order`] (the command line), [`plan`] (what there is to measure), [`peers`] (setting up and
//! starting who is measured), [`driver`] (talking to one of them), [`rounds`] (measuring in turns, with [`clock`] and
//! [`machine`]), [`results`] (rows that are kept and merged), [`report`] and [`chart`] (what is made of them).

mod chart;
mod clock;
mod driver;
#[path = "../isa.rs"]
mod isa;
#[path = "../machine.rs"]
mod machine;
#[path = "../models.rs"]
mod models;
mod order;
mod peers;
mod plan;
mod report;
mod results;
mod rounds;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use order::Order;
use results::Results;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        print!("{}", order::HELP);
        return ExitCode::SUCCESS;
    }
    match Order::parse(&args) {
        Ok(order) => match carry_out(&order) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error:#}\nhint: `cargo xtask bench --help` lists the options");
            ExitCode::from(2)
        }
    }
}

fn carry_out(order: &Order) -> Result<()> {
    if order.list {
        for group in order.groups()? {
            let measures = group.measures.iter();
            measures.for_each(|measure| println!("{}", group.name(measure)));
        }
        return Ok(());
    }
    // What a quick run finds is no result.
    let folder = match order.quick {
        true => cache().join("quick"),
        false => root().join("benches"),
    };
    let folder = folder.join(order.folder());
    let mut results = Results::read(&folder.join("results.json"))?;
    if !order.report_only {
        let peers = peers::set_up(order)?;
        let known = results.clone();
        rounds::measure(order, &peers, &known, |rows| {
            results.merge(rows);
            results.write()?;
            report::write(&results)
        })?;
    }
    report::write(&results)?;
    eprintln!(
        "written: results.json, RESULTS.md and chart.svg in {}",
        folder.display()
    );
    Ok(())
}

/// The workspace's root.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where peers are set up: outside of git, kept between runs.
fn cache() -> PathBuf {
    root().join("target/bench")
}

//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::plan::{self, Group};

pub(crate) const HELP: &str = "\
Measures gust against its peers, in turns, and writes benches/results.json, RESULTS.md and chart.svg.

Usage: cargo xtask bench [OPTIONS]
       cargo xtask bench --kernels [--only TEXT] [--quick] [--json]

What is measured:
  --only TEXT        what has this text in its name MODEL/TYPE/THREADS/MEASURE, such as tinyllama, /q4_0/1/ or decode64@0;
                     given several times, what has all of them
  --peers LIST       llama.cpp, wllama, candle, gust-1 (gust with one thread, against more); default: all
  --list             says what there is to measure, and measures nothing
  --missing          leaves out what benches/results.json has already, of the same commit
  --kernels          the engine's kernels alone, against the machine's bandwidth and integer peak

How:
  --rounds N         take the median of N rounds; default: 5
  --quick            one round of fewer tokens, kept apart from real results: benches/ is not written
  --report           measures nothing: writes RESULTS.md and chart.svg from results.json
  --real FOLDER      also the GGUF files in this folder, as MODEL/file
  --into NAME        keep the results apart, in benches/NAME: those of another machine
  --python FILE      a Python with llama-cpp-python, instead of building one (10 minutes); also GUST_BENCH_PYTHON

Peers are set up in target/bench from PyPI, npm and crates.io. wllama needs node, npm and Chromium (CHROMIUM names it;
Debian: apt-get install nodejs npm chromium). What cannot be had is reported as missing. Models are made in
target/synth. Results are written after each measurement and merged, so a run may be stopped and continued.
";

/// What was asked for.
pub(crate) struct Order {
    pub(crate) only: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) list: bool,
    pub(crate) missing: bool,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) report_only: bool,
    pub(crate) python: Option<PathBuf>,
    pub(crate) real: Option<PathBuf>,
    /// A folder in `benches`.
    pub(crate) into: Option<String>,
}

/// Names of peers, in the order of results.
pub(crate) const PEERS: [&str; 4] = ["llama.cpp", "wllama", "candle", "gust-1"];

impl Order {
    /// What there is to measure of what was asked for.
    pub(crate) fn groups(&self) -> Result<Vec<Group>> {
        let real = match &self.real {
            None => Vec::new(),
            Some(folder) => plan::real_models(folder)?,
        };
        Ok(plan::groups(&self.only, &real, self.quick))
    }

    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut order = Self {
            only: Vec::new(),
            peers: PEERS.map(str::to_owned).to_vec(),
            list: false,
            missing: false,
            rounds: 5,
            quick: false,
            report_only: false,
            python: std::env::var_os("GUST_BENCH_PYTHON").map(PathBuf::from),
            real: None,
            into: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .with_context(|| format!("`{arg}` needs a value"))
            };
            match arg.as_str() {
                "--only" => order.only.push(value()?.to_lowercase()),
                "--peers" => order.peers = value()?.split(',').map(str::to_owned).collect(),
                "--real" => order.real = Some(value()?.into()),
                "--into" => order.into = Some(value()?.clone()),
                "--python" => order.python = Some(value()?.into()),
                "--rounds" => {
                    order.rounds = value()?.parse().context("`--rounds` needs a number")?;
                }
                "--list" => order.list = true,
                "--missing" => order.missing = true,
                "--quick" => order.quick = true,
                "--report" => order.report_only = true,
                other => bail!("unknown option `{other}`"),
            }
        }
        if order.quick {
            order.rounds = 1;
        }
        if order.rounds == 0 {
            bail!("`--rounds`: expected at least 1, found 0");
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if let Some(into) = &order.into
            && (into.is_empty() || !into.chars().all(is_name))
        {
            bail!("`--into`: expected letters, digits and hyphens, found `{into}`");
        }
        if let Some(peer) = order
            .peers
            .iter()
            .find(|peer| !PEERS.contains(&peer.as_str()))
        {
            bail!("`--peers`: expected {}, found `{peer}`", PEERS.join(", "));
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Order> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Order::parse(&args)
    }

    #[test]
    fn options_are_checked() {
        let order = parse("--only Q4_0 --only decode --peers wllama,candle --rounds 7").unwrap();
        assert_eq!(order.only, ["q4_0", "decode"]);
        assert_eq!(order.peers, ["wllama", "candle"]);
        assert_eq!(order.rounds, 7);
        for line in [
            "--into ../x",
            "--peers ollama",
            "--rounds 0",
            "--rounds",
            "model.gguf",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::isa::Isa;
use crate::plan::{self, Group};

pub(crate) const HELP: &str = "\
Measures gust against its peers, in turns, and writes benches/results.json, RESULTS.md and chart.svg.

Usage: cargo xtask bench [OPTIONS]
       cargo xtask bench --kernels [--only TEXT] [--isa ISA] [--quick] [--json] [--save]

What is measured:
  --only TEXT        what has this text in its name MODEL/TYPE/THREADS/MEASURE, such as tinyllama, /q4_0/1/ or decode64@0;
                     given several times, what has all of them
  --peers LIST       llama.cpp, llama.cpp-no-repack (without its repacking of weights), wllama, candle, gust-1 (gust with
                     one thread, against more); default: all
  --isa ISA          gust compiled for fewer instructions than the processor has: avx2 or avx512 on x86-64, neon or dotprod
                     on arm64. Beside avx2, llama.cpp has AVX2 only. The results are kept apart, in benches/ISA
  --list             says what there is to measure, and measures nothing
  --missing          leaves out what benches/results.json has already, of the same commit
  --kernels          the engine's kernels alone, against the machine's bandwidth and integer peak

How:
  --rounds N         take the median of N rounds; default: 5
  --quick            one round of fewer tokens, kept apart from real results: benches/ is not written
  --report           measures nothing: writes RESULTS.md and chart.svg from results.json
  --real FOLDER      also the GGUF files in this folder, as MODEL/file
  --into NAME        keep the results apart, in benches/NAME (with --isa, benches/NAME-ISA): those of another machine
  --python FILE      a Python with llama-cpp-python, instead of building one (10 minutes); also GUST_BENCH_PYTHON. Without
                     --isa avx2, it must have been built for this processor (CMAKE_ARGS=-DGGML_NATIVE=ON)

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
    into: Option<String>,
    /// What gust is compiled for.
    pub(crate) isa: Isa,
}

/// Names of peers, in the order of results.
pub(crate) const PEERS: [&str; 5] = ["llama.cpp", NO_REPACK, "wllama", "candle", "gust-1"];
/// llama.cpp, told not to repack weights while it loads.
pub(crate) const NO_REPACK: &str = "llama.cpp-no-repack";

impl Order {
    /// What there is to measure of what was asked for.
    pub(crate) fn groups(&self) -> Result<Vec<Group>> {
        let real = match &self.real {
            None => Vec::new(),
            Some(folder) => plan::real_models(folder)?,
        };
        Ok(plan::groups(&self.only, &real, self.quick))
    }

    /// The folder of the results, in that of all results.
    pub(crate) fn folder(&self) -> String {
        let isa = (self.isa != Isa::Native).then(|| self.isa.name());
        let parts = [self.into.as_deref(), isa];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        parts.join("-")
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
            isa: Isa::Native,
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
                "--isa" => {
                    let name = value()?;
                    let names: Vec<&str> = Isa::known().iter().map(|isa| isa.name()).collect();
                    order.isa = Isa::named(name).with_context(|| {
                        format!("`--isa`: expected {}, found `{name}`", names.join(", "))
                    })?;
                }
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
        if let Err(lacking) = order.isa.check() {
            bail!(
                "`--isa {}`: expected {}, found {}",
                order.isa,
                lacking.expected,
                lacking.found
            );
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
        assert_eq!(order.folder(), "");
        assert_eq!(parse("--into zen4 --isa native").unwrap().folder(), "zen4");
        for line in [
            "--into ../x",
            "--peers ollama",
            "--isa avx1024",
            "--rounds 0",
            "--rounds",
            "model.gguf",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    /// What this processor has is measured apart; what it lacks is an error.
    #[test]
    fn every_isa_has_a_folder_of_its_own() {
        for isa in Isa::known().iter().filter(|isa| **isa != Isa::Native) {
            let order = parse(&format!("--isa {isa}"));
            match isa.check() {
                Ok(()) => {
                    assert_eq!(order.unwrap().folder(), isa.name());
                    let other = parse(&format!("--into zen4 --isa {isa}")).unwrap();
                    assert_eq!(other.folder(), format!("zen4-{isa}"));
                }
                Err(_) => assert!(order.is_err()),
            }
        }
    }
}

//! The command line.

use anyhow::{Context, Result, bail};

use crate::list::HOSTS;
use crate::tools::Install;

const HELP: &str = "\
Runs the shipped model in every host, with the same prompt and seed, and prints a table. The tokens must be the same.

Usage: cargo xtask hosts [OPTIONS]

What is not on the machine is fetched into target/hosts where that can be done: from PyPI (Wasmtime for Python), npm (jco's
packages, Node 24), Debian (WasmEdge). What cannot be had is in the table as not run, with the way to get it.

Options:
  --only NAMES         runs these, and those whose names begin so; see below
  --no-install         fetches nothing
  --install-wasmtime   builds the `wasmtime` command into target/hosts, from crates.io: 10 minutes. Without it, that of
                       GUST_WASMTIME or PATH is used
  --json               prints JSON
  --save               writes the table to docs/HOSTS.md too
  -h, --help           prints this

Exit status: 0; 1 if a host that ran has failed or has other tokens; 2 for wrong usage.

";

/// The help, with the names of all hosts.
pub(crate) fn help() -> String {
    let names: Vec<_> = HOSTS.iter().map(|host| host.id).collect();
    format!("{HELP}Hosts: {}\n", names.join(", "))
}

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Order {
    only: Vec<String>,
    pub(crate) install: Install,
    pub(crate) json: bool,
    pub(crate) save: bool,
}

impl Order {
    /// Reads the arguments; `None` where help is asked for.
    pub(crate) fn parse(args: &[String]) -> Result<Option<Self>> {
        let mut order = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-h" | "--help" => return Ok(None),
                "--only" => {
                    let names = args.next().context("`--only` wants names")?;
                    order.only.extend(names.split(',').map(str::to_owned));
                }
                "--no-install" => order.install = Install::Nothing,
                "--install-wasmtime" => order.install = Install::WasmtimeToo,
                "--json" => order.json = true,
                "--save" => order.save = true,
                _ => bail!("unknown option `{arg}`"),
            }
        }
        for name in &order.only {
            if !HOSTS.iter().any(|host| host.id.starts_with(name.as_str())) {
                bail!("no host's name begins with `{name}`");
            }
        }
        if order.save && !order.only.is_empty() {
            bail!("`--save` keeps the table of all hosts, found `--only` too");
        }
        Ok(Some(order))
    }

    /// Whether the host of this name is to run.
    pub(crate) fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| id.starts_with(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Order>> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        Order::parse(&args)
    }

    #[test]
    fn names_select_what_begins_with_them() {
        let order = parse(&["--only", "node,gust-2", "--json"]);
        let order = order.expect("right").expect("no help");
        let wanted: Vec<_> = HOSTS.iter().map(|host| host.id).collect();
        let wanted: Vec<_> = wanted.into_iter().filter(|id| order.wants(id)).collect();
        assert_eq!(wanted, ["gust-2", "node", "node24"]);
        assert!(order.json && !order.save);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for args in [
            &["--only"][..],
            &["--only", "lynx"],
            &["--fast"],
            &["--save", "--only", "gust"],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
        assert_eq!(parse(&["--help"]).ok(), Some(None));
    }
}

//! The command line of `cargo xtask parity`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const HELP: &str = "\
Compares what gust computes with what llama.cpp computes, and writes docs/PARITY.md, which says how.

Usage: cargo xtask parity [OPTIONS]

The models have random weights: those of llama.cpp's own test-llama-archs, about 130 files of 120 architectures. gust
runs as a component. llama.cpp is built in target/parity from the source package of llama-cpp-python on PyPI (10 minutes
on two cores; needs python3, a C++ compiler and a network).

Options:
  --seed N           of the weights and of the prompt [default: 20261127]
  --only TEXT        only files with this text in their name; without --real, nothing is written
  --real FOLDER      instead, perplexity of the GGUF files in FOLDER over a text, and greedy answers to prompts, printed
  --adapters         instead, random LoRA adapters of gust's own tiny models; writes a section of docs/ADAPTERS.md
  --lora FILE        instead, with --real MODEL: this adapter of that model; writes a section of docs/ADAPTERS.md
  --text FILE        that text [default: the documents of this repository, one after the other]
  --tokenizers       instead, tokens of random texts, against llama.cpp and Python's tokenizers, into docs/TOKENIZERS.md;
                     real tokenizer.json files come from npm
  --update           also writes tests/data/architectures/llama-cpp.json: what llama.cpp computes of gust's own tiny models;
                     with --real, only the section of docs/PARITY.md about real models
  --templates        instead, llama.cpp's collection of real chat templates against Jinja2 from PyPI, into docs/TEMPLATES.md
                     (a minute; with --only, nothing is written)
  --llama-cpp FOLDER llama.cpp's source tree with a finished build in build/, in place of one of our own
  -h, --help         prints this help

Exit status: 1 if anything failed or a file that gust runs does not agree; 2 for invalid usage.
";

pub(crate) struct Order {
    pub(crate) seed: u64,
    pub(crate) only: Option<String>,
    pub(crate) update: bool,
    pub(crate) templates: bool,
    pub(crate) real: Option<PathBuf>,
    pub(crate) tokenizers: bool,
    pub(crate) text: Option<PathBuf>,
    pub(crate) adapters: bool,
    pub(crate) lora: Option<PathBuf>,
    pub(crate) llama_cpp: Option<PathBuf>,
}

impl Order {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut order = Self {
            seed: 20_261_127,
            only: None,
            update: false,
            templates: false,
            real: None,
            tokenizers: false,
            text: None,
            adapters: false,
            lora: None,
            llama_cpp: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--seed" => order.seed = value()?.parse().context("--seed: expected a number")?,
                "--only" => order.only = Some(value()?.clone()),
                "--update" => order.update = true,
                "--templates" => order.templates = true,
                "--tokenizers" => order.tokenizers = true,
                "--real" => order.real = Some(value()?.into()),
                "--adapters" => order.adapters = true,
                "--lora" => order.lora = Some(value()?.into()),
                "--text" => order.text = Some(value()?.into()),
                "--llama-cpp" => order.llama_cpp = Some(value()?.into()),
                other => bail!("unexpected argument `{other}`"),
            }
        }
        if order.lora.is_some() && order.real.is_none() {
            bail!("--lora needs --real MODEL");
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_others_refused() {
        let args = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let order = Order::parse(&args("--seed 7 --only qwen --update")).unwrap();
        assert_eq!((order.seed, order.only.as_deref()), (7, Some("qwen")));
        assert!(order.update);
        for line in [
            "--lora a.gguf",
            "--seed",
            "--seed x",
            "--speed 3",
            "model.gguf",
        ] {
            assert!(Order::parse(&args(line)).is_err(), "{line}");
        }
    }
}

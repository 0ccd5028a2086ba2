//! `synth`: writes a GGUF of random weights in the dimensions of a real model, for work on size and speed where the
//! words do not matter. The same model, type and seed give the same bytes.
//!
//! In the order of the file: [`model`] (dimensions, metadata, tensors), [`vocabulary`] (made-up tokens), [`blocks`]
//! (random numbers in the layout of each type).

mod blocks;
mod model;
mod vocabulary;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gust_engine::gguf::{TensorType, Writer};

use blocks::Blocks;
use model::{MODELS, Model};

const HELP: &str = "\
Writes a GGUF of random weights in the dimensions of a real model, and prints its path.

Usage: cargo xtask synth MODEL --type TYPE [-o FILE] [--seed N]

  MODEL        tinyllama-1.1b, llama-3.2-1b, qwen2.5-0.5b, moe-1b-a400m or llama-2-7b
  --type TYPE  q4_0, q8_0 or q4_k
  -o FILE      where to; default: target/synth/MODEL-TYPE.gguf
  --context N  tokens of context in the metadata; default: the model's own
  --seed N     another seed gives other weights; default: 0
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() || args.iter().any(|arg| arg == "-h" || arg == "--help") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Order::parse(&args).map(|order| (write(&order), order)) {
        Ok((Ok(()), order)) => {
            println!("{}", order.path.display());
            ExitCode::SUCCESS
        }
        Ok((Err(error), _)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}\nhint: `cargo xtask synth --help` lists the options");
            ExitCode::from(2)
        }
    }
}

/// What is to be written, and where.
struct Order {
    model: &'static Model,
    ty: TensorType,
    seed: u64,
    context: Option<u32>,
    path: PathBuf,
}

impl Order {
    fn parse(args: &[String]) -> Result<Self> {
        let (mut model, mut ty, mut path, mut seed) = (None, None, None, 0);
        let mut context = None;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .with_context(|| format!("`{arg}` needs a value"))
            };
            match arg.as_str() {
                "--type" => ty = Some(value()?.to_lowercase()),
                "-o" | "--output" => path = Some(PathBuf::from(value()?)),
                "--context" => {
                    context = Some(value()?.parse().context("`--context` needs a number")?);
                }
                "--seed" => seed = value()?.parse().context("`--seed` needs a whole number")?,
                flag if flag.starts_with('-') => bail!("unknown option `{flag}`"),
                name if model.is_none() => model = Some(name.to_owned()),
                extra => bail!("expected one model, found `{extra}` as well"),
            }
        }
        let (name, type_name) = (
            model.context("expected the name of a model")?,
            ty.context("expected `--type`")?,
        );
        let model = MODELS.iter().find(|model| model.id == name);
        let model = model.with_context(|| format!("unknown model `{name}`"))?;
        let ty = match type_name.as_str() {
            "q4_0" => TensorType::Q4_0,
            "q8_0" => TensorType::Q8_0,
            "q4_k" => TensorType::Q4_K,
            other => bail!("unknown type `{other}`: expected q4_0, q8_0 or q4_k"),
        };
        let path = path.unwrap_or_else(|| {
            let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
            let file = format!("target/synth/{name}-{type_name}.gguf");
            xtask.parent().unwrap_or(xtask).join(file)
        });
        Ok(Self {
            model,
            ty,
            seed,
            context,
            path,
        })
    }
}

/// Writes beside the path and renames at the end, so that no half file is left under it.
fn write(order: &Order) -> Result<()> {
    let folder = order.path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let mut part = order.path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);

    let file = File::create(&part).with_context(|| format!("cannot create {}", part.display()))?;
    let written = stream(order, file)
        .and_then(|()| std::fs::rename(&part, &order.path))
        .with_context(|| format!("cannot write {}", order.path.display()));
    if written.is_err() {
        // The message is about the first failure; a file that cannot be removed either adds nothing.
        let _ = std::fs::remove_file(&part);
    }
    written
}

fn stream(order: &Order, mut file: File) -> io::Result<()> {
    let mut writer = Writer::default();
    order.model.metadata(&mut writer, order.ty, order.context);
    let tensors = order.model.tensors(order.ty);
    let sizes: Vec<u64> = tensors
        .iter()
        .map(|tensor| writer.tensor(&tensor.name, tensor.ty, &tensor.shape))
        .collect();
    file.write_all(&writer.header())?;

    let mut progress = Progress::new(sizes.iter().sum());
    for (number, (tensor, size)) in tensors.iter().zip(sizes).enumerate() {
        let mut blocks = Blocks::new(order.seed, number as u64);
        let mut left = size;
        while left > 0 {
            let bytes = blocks.next(tensor, left);
            file.write_all(bytes)?;
            left -= bytes.len() as u64;
            progress.add(bytes.len() as u64);
        }
        let padding = size.next_multiple_of(Writer::ALIGNMENT) - size;
        file.write_all(&[0; Writer::ALIGNMENT as usize][..padding as usize])?;
    }
    progress.finish();
    Ok(())
}

/// A line on stderr, if that is a terminal.
struct Progress {
    total: u64,
    done: u64,
    percent: u64,
    start: Instant,
    terminal: bool,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self {
            total,
            done: 0,
            percent: 0,
            start: Instant::now(),
            terminal: io::stderr().is_terminal(),
        }
    }

    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let percent = self.done * 100 / self.total;
        if self.terminal && percent != self.percent {
            self.percent = percent;
            eprint!("\r{percent:3} % of {} MB", self.total / 1_000_000);
        }
    }

    fn finish(&self) {
        let line_start = if self.terminal { "\r" } else { "" };
        let seconds = self.start.elapsed().as_secs_f64();
        eprintln!(
            "{line_start}{} MB in {seconds:.1} s",
            self.total / 1_000_000
        );
    }
}

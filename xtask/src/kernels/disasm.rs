//! Prints the machine code that Wasmtime makes of the engine's functions, and what is in their innermost loops.

use std::path::Path;

use wasmtime::error::Context;
use wasmtime::{Result, bail};

use crate::code::{self, Instruction};
use crate::isa::Isa;
use crate::loops::{Count, Loop};

pub(crate) const HELP: &str = "\
Prints the machine code that Wasmtime makes of the engine's functions.

Usage: cargo xtask disasm NAME [--isa ISA] [--loops] [--summary] [--list] [--component FILE]

  NAME              a part of the function's name, such as dot_rows or Q4_0
  --isa ISA         the processor: native (default), avx2 or avx512 (x86-64), neon or dotprod (arm64)
  --loops           only the innermost loops
  --summary         only the numbers
  --list            only names and sizes
  --component FILE  another component; default: target/engine/gust-engine.wasm

Needs objdump (Debian: apt-get install binutils); for another architecture than this machine's, llvm-objdump (llvm), and a
compiler that is built once, which takes minutes.
";

/// Prints what the arguments ask for.
pub(crate) fn show(args: &[String]) -> Result<()> {
    let order = Order::parse(args)?;
    let all = code::functions(Path::new(&order.component), order.isa)?;
    let mut found = all
        .into_iter()
        .filter(|function| function.name.contains(&order.name))
        .peekable();
    if found.peek().is_none() {
        bail!(
            "no function's name holds `{}`; `cargo xtask disasm \"\" --list` lists all",
            order.name
        );
    }
    for function in found {
        println!("{}: {}", function.name, Count::of(&function.code));
        if order.list {
            continue;
        }
        let loops = Loop::all(&function.code);
        for innermost in loops.iter().filter(|one| one.is_innermost()) {
            let body = &function.code[innermost.span.clone()];
            println!("  loop at {:x}: {}", body[0].address, Count::of(body));
            if order.loops {
                print_code(body);
            }
        }
        if !order.loops && !order.summary {
            print_code(&function.code);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Order {
    name: String,
    component: String,
    isa: Isa,
    loops: bool,
    summary: bool,
    list: bool,
}

impl Order {
    fn parse(args: &[String]) -> Result<Self> {
        let mut order = Self::default();
        let mut name = None;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--loops" => order.loops = true,
                "--summary" => order.summary = true,
                "--list" => order.list = true,
                "--isa" => {
                    let name = args.next().context("`--isa` needs a name")?;
                    let mut known = [&[Isa::Native], &code::ISAS[..]].concat().into_iter();
                    let found = known.find(|isa| isa.name() == name);
                    order.isa = found.with_context(|| {
                        format!("`--isa`: expected native, avx2, avx512, neon or dotprod, found `{name}`")
                    })?;
                }
                "--component" => {
                    order.component = args.next().context("`--component` needs a file")?.clone();
                }
                flag if flag.starts_with('-') => bail!("unknown option `{flag}`"),
                text => name = Some(text.to_owned()),
            }
        }
        order.name = name.context("expected a part of a function's name")?;
        Ok(order)
    }
}

fn print_code(code: &[Instruction]) {
    for Instruction { address, text } in code {
        println!("    {address:x}: {text}");
    }
    println!();
}

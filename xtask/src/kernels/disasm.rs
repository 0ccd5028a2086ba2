//! The machine code that Wasmtime makes of the engine's functions, and what is in their innermost loops.
//!
//! Compiled code is an ELF file whose symbols are the component's function names. `objdump` reads it; this finds the
//! functions and counts: loops are what a jump backwards spans, and the innermost are those that span no other.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wasmtime::component::Component;
use wasmtime::error::Context;
use wasmtime::{Config, Engine, Result, bail};

pub(crate) const HELP: &str = "\
Prints the machine code that Wasmtime makes of the engine's functions.

Usage: cargo xtask disasm NAME [--loops] [--summary] [--list] [--component FILE]

  NAME              a part of the function's name, such as dot_blocks or Q4_0
  --loops           only the innermost loops
  --summary         only the numbers
  --list            only names and sizes
  --component FILE  another component; default: target/engine/gust-engine.wasm

Needs objdump (Debian: apt-get install binutils).
";

/// Prints what the arguments ask for.
pub(crate) fn show(args: &[String]) -> Result<()> {
    let order = Order::parse(args)?;
    let code = compile(Path::new(&order.component))?;
    let all = readable(functions(&disassemble(&code)?));
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
        for range in innermost(&function.code) {
            let body = &function.code[range.clone()];
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

/// Compiles as gust's host does (its settings are the defaults where they touch code), into a file beside the component.
fn compile(component: &Path) -> Result<PathBuf> {
    let engine = Engine::new(&Config::new())?;
    let compiled = Component::from_file(&engine, component)?.serialize()?;
    let path = component.with_extension("elf");
    std::fs::write(&path, compiled).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn disassemble(code: &Path) -> Result<String> {
    let mut objdump = Command::new("objdump");
    objdump.args([
        "--disassemble",
        "--no-show-raw-insn",
        "--disassembler-options=intel",
    ]);
    let output = match objdump.arg(code).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("objdump is not installed; on Debian: apt-get install binutils")
        }
        output => output.context("cannot start objdump")?,
    };
    if !output.status.success() {
        bail!(
            "objdump failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

struct Function {
    name: String,
    code: Vec<Instruction>,
}

#[derive(Debug, Clone, PartialEq)]
struct Instruction {
    address: u64,
    /// As objdump writes it, without comments.
    text: String,
}

/// The functions in objdump's text: `ADDRESS <NAME>:` and lines `ADDRESS: TEXT`.
fn functions(text: &str) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    for line in text.lines() {
        if let Some((_, name)) = line.split_once(" <").filter(|_| line.ends_with(">:")) {
            functions.push(Function {
                name: name.trim_end_matches(">:").to_owned(),
                code: Vec::new(),
            });
        } else if let Some((address, rest)) = line.split_once(":\t")
            && let Ok(address) = u64::from_str_radix(address.trim(), 16)
            && let Some(function) = functions.last_mut()
        {
            let rest = rest.split('#').next().unwrap_or(rest);
            let text = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            function.code.push(Instruction { address, text });
        }
    }
    functions
}

/// With names as they are in the source, if `c++filt` is there, which comes with objdump.
fn readable(mut functions: Vec<Function>) -> Vec<Function> {
    let names: String = functions
        .iter()
        .map(|function| format!("{}\n", function.name))
        .collect();
    let demangled = || -> std::io::Result<String> {
        let mut filter = Command::new("c++filt")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = filter.stdin.take();
        let writer = std::thread::spawn(move || {
            input.map_or(Ok(()), |mut input| input.write_all(names.as_bytes()))
        });
        let output = filter.wait_with_output()?;
        let _ = writer.join();
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let demangled = demangled().unwrap_or_default();
    if demangled.lines().count() == functions.len() {
        for (function, name) in functions.iter_mut().zip(demangled.lines()) {
            function.name = name.to_owned();
        }
    }
    functions
}

fn print_code(code: &[Instruction]) {
    for Instruction { address, text } in code {
        println!("    {address:x}: {text}");
    }
    println!();
}

/// Spans of the loops that have no other inside.
fn innermost(code: &[Instruction]) -> Vec<Range<usize>> {
    let index: BTreeMap<u64, usize> = (0..)
        .zip(code)
        .map(|(at, instruction)| (instruction.address, at))
        .collect();
    let backwards = |at: usize| {
        let mut words = code[at].text.split(' ');
        let is_jump = words.next()?.starts_with('j');
        let target = u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
        let to = *index.get(&target)?;
        (is_jump && to <= at).then_some(to..at + 1)
    };
    let loops: Vec<Range<usize>> = (0..code.len()).filter_map(backwards).collect();
    let spans_none = |outer: &&Range<usize>| {
        !loops
            .iter()
            .any(|inner| *inner != **outer && outer.start <= inner.start && inner.end <= outer.end)
    };
    loops.iter().filter(spans_none).cloned().collect()
}

/// How many instructions of which kind.
#[derive(Debug, Default, PartialEq)]
struct Count {
    all: usize,
    /// On vector registers.
    vector: usize,
    /// That read or write memory of the component.
    memory: usize,
    /// That read or write the stack: what did not fit in registers.
    stack: usize,
    calls: usize,
}

impl Count {
    fn of(code: &[Instruction]) -> Self {
        let mut count = Self {
            all: code.len(),
            ..Self::default()
        };
        for Instruction { text, .. } in code {
            // Behind `<` is the name of where a jump goes, which has brackets of its own.
            let operands = text.split('<').next().unwrap_or(text);
            let accesses = operands.contains('[') && !text.starts_with("lea");
            count.vector += usize::from(text.contains("xmm"));
            count.calls += usize::from(text.starts_with("call"));
            if accesses && (text.contains("[rsp") || text.contains("[rbp")) {
                count.stack += 1;
            } else {
                count.memory += usize::from(accesses);
            }
        }
        count
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            all,
            vector,
            memory,
            stack,
            calls,
        } = self;
        write!(
            f,
            "{all} instructions, {vector} on vectors, {memory} on memory, {stack} on the stack, {calls} calls"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
0000000000000040 <wasm[0]::function[7]::dot>:
      40:\tpush   rbp
      41:\tvmovdqu xmm0,XMMWORD PTR [rsp+0x10]
      47:\tvpaddw xmm1,xmm1,XMMWORD PTR [rdi+rax*1]        # a comment
      4c:\tdec    rax
      50:\tjne    47 <wasm[0]::function[7]::dot+0x7>
      52:\tcall   90 <other>
      57:\tjmp    41 <wasm[0]::function[7]::dot+0x1>

0000000000000090 <other>:
      90:\tret
";

    #[test]
    fn functions_and_their_innermost_loops_are_found() {
        let functions = functions(TEXT);
        assert_eq!(functions.len(), 2);
        let dot = &functions[0];
        assert_eq!(dot.name, "wasm[0]::function[7]::dot");
        assert_eq!(dot.code[2].text, "vpaddw xmm1,xmm1,XMMWORD PTR [rdi+rax*1]");
        assert_eq!(innermost(&dot.code), vec![Range { start: 2, end: 5 }]);
        let all = Count {
            all: 7,
            vector: 2,
            memory: 1,
            stack: 1,
            calls: 1,
        };
        assert_eq!(Count::of(&dot.code), all);
    }
}

//! The machine code that Wasmtime makes of a component, for this processor or another.
//!
//! Compiled code is an ELF file. Its symbols say which function of which core module a piece of code is; they also have the
//! function's name, but cut short, so the names come from the component. A disassembler of LLVM or GNU reads the code.
//!
//! Cranelift has back ends for other architectures, but gust is built without them: they would take a part of every
//! build, and of the program. So a small tool of its own (`xtask/cross`), which is built when it is first asked for,
//! compiles for them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wasmparser::{KnownCustom, Name, Parser, Payload};
use wasmtime::error::Context;
use wasmtime::{Config, Engine, Result, bail};

use crate::isa::{self, Isa};
use crate::root;

/// What code can be compiled for, besides this processor with all that it has: names as for `gust bench --isa`, whatever
/// the architecture of this machine.
pub(crate) const ISAS: [Isa; 4] = [Isa::Avx2, Isa::Avx512, Isa::Neon, Isa::Dotprod];

/// The architecture of an ISA, as Rust names it.
pub(crate) fn architecture(isa: Isa) -> &'static str {
    match isa {
        Isa::Avx2 | Isa::Avx512 => "x86_64",
        Isa::Neon | Isa::Dotprod => "aarch64",
        _ => std::env::consts::ARCH,
    }
}

/// Cranelift's flags for all features of the ISA, usual ones included.
fn flags(isa: Isa) -> impl Iterator<Item = &'static str> {
    let features = match architecture(isa) {
        "x86_64" => isa::X86_64,
        _ => isa::AARCH64,
    };
    let usual = features
        .iter()
        .filter(move |feature| feature.since != Isa::Native && isa.includes(feature));
    usual.map(|feature| feature.flag)
}

pub(crate) struct Function {
    /// As it is in the source.
    pub(crate) name: String,
    pub(crate) code: Vec<Instruction>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instruction {
    pub(crate) address: u64,
    /// As the disassembler writes it, without comments.
    pub(crate) text: String,
}

/// The functions of a component, compiled for `isa`, in their order.
pub(crate) fn functions(component: &Path, isa: Isa) -> Result<Vec<Function>> {
    let bytes =
        std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    let code = component.with_extension(format!("{isa}.elf"));
    compile(component, &bytes, isa, &code)?;
    let names = names(&bytes)?;
    let mut functions = parsed(&disassemble(&code, architecture(isa))?);
    for function in &mut functions {
        if let Some(name) = place(&function.name).and_then(|place| names.get(&place)) {
            function.name.clone_from(name);
        }
    }
    demangle(&mut functions);
    Ok(functions)
}

/// Compiles as gust's host does: its settings are the defaults where they touch code.
fn compile(component: &Path, bytes: &[u8], isa: Isa, output: &Path) -> Result<()> {
    let architecture = architecture(isa);
    let triple = format!("{architecture}-unknown-linux-gnu");
    if architecture != std::env::consts::ARCH {
        let mut cross = Command::new(cross()?);
        cross
            .arg(component)
            .arg(output)
            .arg(triple)
            .args(flags(isa));
        return run(&mut cross);
    }
    let mut config = Config::new();
    if isa != Isa::Native {
        config.target(&triple)?;
        enable(&mut config, flags(isa));
    }
    let code = Engine::new(&config)?.precompile_component(bytes)?;
    std::fs::write(output, code).with_context(|| format!("cannot write {}", output.display()))
}

#[expect(unsafe_code, reason = "Cranelift's flags are set by name")]
fn enable(config: &mut Config, flags: impl Iterator<Item = &'static str>) {
    for flag in flags {
        // SAFETY: the flags say which instructions a processor has, and the code is read, not run.
        unsafe { config.cranelift_flag_enable(flag) };
    }
}

/// The compiler for other architectures.
fn cross() -> Result<PathBuf> {
    let target = root().join("target/cross");
    let program = target.join("release/gust-cross");
    if !program.exists() {
        eprintln!("building xtask/cross, a compiler for other processors (minutes, once)");
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--locked"]);
    cargo.current_dir(root().join("xtask/cross"));
    cargo.env("CARGO_TARGET_DIR", &target);
    run(&mut cargo)?;
    Ok(program)
}

/// Names of functions, by the number of the core module and of the function in it.
fn names(component: &[u8]) -> Result<BTreeMap<(u32, u32), String>> {
    let (mut modules, mut names) = (0, BTreeMap::new());
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } => modules += 1,
            Payload::CustomSection(section) if modules > 0 => {
                let KnownCustom::Name(subsections) = section.as_known() else {
                    continue;
                };
                for subsection in subsections {
                    let Name::Function(functions) = subsection? else {
                        continue;
                    };
                    for function in functions {
                        let function = function?;
                        names.insert((modules - 1, function.index), function.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// The numbers in `wasm[0]::function[7]::NAME`.
fn place(symbol: &str) -> Option<(u32, u32)> {
    let (module, rest) = symbol.strip_prefix("wasm[")?.split_once(']')?;
    let (function, _) = rest.strip_prefix("::function[")?.split_once(']')?;
    Some((module.parse().ok()?, function.parse().ok()?))
}

fn disassemble(code: &Path, architecture: &str) -> Result<String> {
    // GNU's knows one architecture, LLVM's all of them.
    let (program, package) = match architecture == std::env::consts::ARCH {
        true => ("objdump", "binutils"),
        false => ("llvm-objdump", "llvm"),
    };
    let mut objdump = Command::new(program);
    objdump.args(["--disassemble", "--no-show-raw-insn"]);
    match architecture {
        "x86_64" => objdump.arg("--disassembler-options=intel"),
        _ if program == "llvm-objdump" => objdump.arg("--mattr=+v8.6a,+dotprod"),
        _ => &mut objdump,
    };
    let output = match objdump.arg(code).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{program} is not installed; on Debian: apt-get install {package}")
        }
        output => output.with_context(|| format!("cannot start {program}"))?,
    };
    if !output.status.success() {
        bail!(
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The functions in a disassembler's text: `ADDRESS <NAME>:` and lines `ADDRESS: TEXT`. LLVM's has blanks before the
/// tabulator.
pub(crate) fn parsed(text: &str) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    for line in text.lines() {
        if let Some((_, name)) = line.split_once(" <").filter(|_| line.ends_with(">:")) {
            functions.push(Function {
                name: name.trim_end_matches(">:").to_owned(),
                code: Vec::new(),
            });
        } else if let Some((address, rest)) = line.split_once(':')
            && let Ok(address) = u64::from_str_radix(address.trim(), 16)
            && let Some((_, rest)) = rest.split_once('\t')
            && let Some(function) = functions.last_mut()
        {
            // On arm64, `#` without a blank begins a number.
            let rest = rest.split("# ").next().unwrap_or(rest);
            let text = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            function.code.push(Instruction { address, text });
        }
    }
    functions
}

/// Gives functions the names that they have in the source, if `c++filt` is there, which comes with objdump.
fn demangle(functions: &mut [Function]) {
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
            function.name = without_hashes(name);
        }
    }
}

/// Without the hashes of crates, `[0123456789abcdef]`.
fn without_hashes(name: &str) -> String {
    let mut parts = name.split('[');
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((hash, rest)) if hash.len() == 16 => short.push_str(rest),
            _ => {
                short.push('[');
                short.push_str(part);
            }
        }
    }
    short
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{program}`"))?;
    if !status.success() {
        bail!("`{program}` failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_say_which_function_they_are() {
        assert_eq!(place("wasm[0]::function[199]::_RINvNt"), Some((0, 199)));
        assert_eq!(place("component-trampoline"), None);
        let name = "a[0123456789abcdef]::f::<[u8; 4]>";
        assert_eq!(without_hashes(name), "a::f::<[u8; 4]>");
    }

    /// The tool for other processors compiles with the same compiler as gust's host.
    #[test]
    fn both_lock_files_have_the_same_wasmtime() {
        let version = |lock: &str, name: &str| {
            let lock = std::fs::read_to_string(root().join(lock)).expect(lock);
            let found = lock.split("[[package]]").find_map(|package| {
                let rest = package
                    .trim_start()
                    .strip_prefix(&format!("name = \"{name}\"\nversion = \""))?;
                Some(rest.split('"').next()?.to_owned())
            });
            found.unwrap_or_else(|| panic!("{lock}: no {name}"))
        };
        for name in ["wasmtime", "cranelift-codegen", "regalloc2"] {
            assert_eq!(
                version("xtask/cross/Cargo.lock", name),
                version("Cargo.lock", name),
                "{name}: write gust's version into xtask/cross/Cargo.toml, and its lock file anew"
            );
        }
    }
}

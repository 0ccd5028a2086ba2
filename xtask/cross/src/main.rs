//! `gust-cross`: compiles a component as Wasmtime would on another processor, into an ELF file for a disassembler.
//!
//! `cargo xtask disasm` runs it for processors of another architecture than this machine's.

use std::process::ExitCode;

use wasmtime::error::Context;
use wasmtime::{Config, Engine, Result, bail};

const USAGE: &str =
    "usage: gust-cross COMPONENT OUTPUT TARGET [FLAG...], with Cranelift's flags, such as has_avx2";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match compile(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compile(args: &[String]) -> Result<()> {
    let [component, output, target, flags @ ..] = args else {
        bail!("{USAGE}");
    };
    let mut config = Config::new();
    config.target(target)?;
    flags.iter().for_each(|flag| enable(&mut config, flag));
    let component = std::fs::read(component).with_context(|| format!("cannot read {component}"))?;
    let code = Engine::new(&config)?.precompile_component(&component)?;
    std::fs::write(output, code).with_context(|| format!("cannot write {output}"))
}

#[expect(unsafe_code, reason = "Cranelift's flags are set by name")]
fn enable(config: &mut Config, flag: &str) {
    // SAFETY: the flag says that a processor has some instructions, and the code is read, not run.
    unsafe { config.cranelift_flag_enable(flag) };
}

//! `kernels`: what Wasmtime makes of the engine's kernels: their [`speed`], their machine code ([`disasm`], with [`code`] and
//! its [`loops`]), and the [`counts`] of its instructions.

mod code;
mod counts;
mod disasm;
#[path = "../isa.rs"]
mod isa;
mod loops;
#[path = "../../../host/src/command/bench/processor.rs"]
mod processor;
mod speed;

use std::path::Path;
use std::process::ExitCode;

/// The workspace's root.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, args)) = args.split_first() else {
        eprintln!("error: expected `speed`, `disasm` or `counts`");
        return ExitCode::from(2);
    };
    type Tool = fn(&[String]) -> wasmtime::Result<()>;
    let (help, tool): (&str, Tool) = match command.as_str() {
        "speed" => (speed::HELP, speed::measure),
        "disasm" => (disasm::HELP, disasm::show),
        "counts" => (counts::HELP, counts::count),
        other => {
            eprintln!("error: expected `speed`, `disasm` or `counts`, found `{other}`");
            return ExitCode::from(2);
        }
    };
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        print!("{help}");
        return ExitCode::SUCCESS;
    }
    match tool(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

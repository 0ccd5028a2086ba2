//! `kernels`: what Wasmtime makes of the engine's kernels, as [`speed`] and as machine code ([`disasm`]).

mod disasm;
mod speed;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, args)) = args.split_first() else {
        eprintln!("error: expected `speed` or `disasm`");
        return ExitCode::from(2);
    };
    type Tool = fn(&[String]) -> wasmtime::Result<()>;
    let (help, tool): (&str, Tool) = match command.as_str() {
        "speed" => (speed::HELP, speed::measure),
        "disasm" => (disasm::HELP, disasm::show),
        other => {
            eprintln!("error: expected `speed` or `disasm`, found `{other}`");
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

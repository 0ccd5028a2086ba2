//! `cargo xtask`: sets up, builds, runs and tests gust, and holds no logic of the product.
//!
//! In the order of use: [`setup`] (what must be on the machine), [`build`] (both engines, then the host), [`launch`]
//! (the built programs), [`mod@test`], [`mod@fuzz`] and [`lint`]; [`mod@web`] makes the npm package. [`process`] is what they start other
//! programs with. All of its own words go to stderr; stdout belongs to the program that is run.

mod build;
mod debug_info;
mod fuzz;
mod launch;
mod lint;
mod process;
mod setup;
mod test;
mod web;

use std::process::ExitCode;

const HELP: &str = "\
Builds, runs and tests gust.

Usage: cargo xtask COMMAND [ARGS]

Commands:
  run [ARGS]      builds what a story needs, then runs `gust run ARGS`: cargo xtask run \"Once upon a time\"
  test            sets up, builds and runs every test: native, in WebAssembly, end to end
  build           builds everything: both engines, the adapters and the host (target/release/gust)
  compose [ARGS]  composes the engine with adapters; see `cargo xtask compose --help`
  core            builds the program as a core module, for hosts without the component model
  hosts [ARGS]    runs the shipped model in every host and compares the tokens; see `cargo xtask hosts --help`
  parity [ARGS]   compares what gust computes with llama.cpp; see `cargo xtask parity --help`
  gust [ARGS]     builds everything, then runs `gust ARGS`: cargo xtask gust inspect
  fuzz [ARGS]     attacks parsers with inputs made at random: cargo xtask fuzz [--minutes N] [TARGET...]; see fuzz/README.md
  lint            checks formatting, dependencies, clippy (native and WebAssembly) and documentation
  setup           adds the Rust target wasm32-wasip2 if it is missing, and looks for a C compiler
  bench [ARGS]    measures gust and its peers; with --kernels, only the kernels; see `cargo xtask bench --help`
  disasm NAME     prints the machine code of the engine's functions; see `cargo xtask disasm --help`
  counts [ARGS]   counts the instructions of the kernels' loops; see `cargo xtask counts --help`
  synth [ARGS]    writes a random-weight GGUF with the dimensions of a real model; see `cargo xtask synth --help`
  web [test|demo] builds the npm package in web/; tests it, or serves its demo page (needs Node)
  help            prints this help

Build outputs:
  target/release/gust                      the command, with the engine inside; after `run` alone, without middleware
  target/release/gust.debug                its debug information, for profilers
  target/engine/gust-engine.wasm           the engine, for hosts with relaxed-simd
  target/engine/gust-engine-baseline.wasm  the engine, for hosts with simd128 only
  target/adapters/*.wasm                   providers, middleware and front ends
  target/components/*.wasm                 the engine and adapters in one component (compose)
  target/components/gust-core*.wasm        the engine and the command in one core module (core)

Exit status: that of the program that was run; 1 if a step failed; 2 for invalid usage.
";

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    let command = match args.is_empty() {
        true => "help".into(),
        false => args.remove(0),
    };
    let takes_args = matches!(
        command.to_str(),
        Some(
            "run"
                | "gust"
                | "synth"
                | "bench"
                | "disasm"
                | "counts"
                | "compose"
                | "web"
                | "hosts"
                | "parity"
                | "fuzz"
        )
    );
    if !takes_args && let Some(arg) = args.first() {
        return match arg.to_str() {
            Some("-h" | "--help") => help(),
            _ => usage(&format!(
                "`{}` takes no arguments, found `{}`",
                command.display(),
                arg.display()
            )),
        };
    }
    let result = match command.to_str() {
        Some("run") => launch::story(args),
        Some("gust") => launch::gust(args),
        Some("synth") => launch::synth(args),
        Some("bench") => launch::bench(args),
        Some("disasm") => launch::disasm(args),
        Some("counts") => launch::counts(args),
        Some("compose") => launch::compose(args),
        Some("web") => web::web(&args),
        Some("hosts") => launch::hosts(args),
        Some("parity") => launch::parity(args),
        Some("fuzz") => fuzz::fuzz(args),
        Some("core") => build::core_modules().map(|()| ExitCode::SUCCESS),
        Some("build") => build::all().map(|()| ExitCode::SUCCESS),
        Some("setup") => setup::check().map(|()| ExitCode::SUCCESS),
        Some("test") => test::all(),
        Some("lint") => lint::all().map(|()| ExitCode::SUCCESS),
        Some("help" | "-h" | "--help") => return help(),
        _ => return usage(&format!("unknown command `{}`", command.display())),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn help() -> ExitCode {
    print!("{HELP}");
    ExitCode::SUCCESS
}

fn usage(message: &str) -> ExitCode {
    eprintln!("error: {message}\nhint: `cargo xtask help` lists the commands");
    ExitCode::from(2)
}

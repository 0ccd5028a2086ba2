//! `wasi:cli/run` over an engine: continues a prompt and streams to stdout, as `gust run` does.
//!
//! `options` reads the command line; `run` loads, feeds and generates; `printer` writes.
//!
//! Compiled for `wasm32-wasip2` it is a component that imports its engine. Compiled for `wasm32-wasip1`, for hosts that know
//! core modules alone, it is `gust-core.wasm`, the same program with the engine linked in (`gust_front_end::engine`);
//! compiled natively it is what tests run.

mod options;
mod printer;
mod run;

fn main() -> std::process::ExitCode {
    run::main()
}

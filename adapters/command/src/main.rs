//! `wasi:cli/run` over an engine: continues a prompt and streams to stdout, like `gust run`.
//!
//! `options` reads the command line; `run` loads, feeds and generates; `printer` writes.
//!
//! Compiled for `wasm32-wasip2`, it is a component that imports its engine. Compiled for `wasm32-wasip1`, for hosts
//! that only support core modules, it is `gust-core.wasm`, the same program with the engine linked in
//! (`gust_front_end::engine`). The native build is for tests.

mod options;
mod printer;
mod run;

fn main() -> std::process::ExitCode {
    run::main()
}

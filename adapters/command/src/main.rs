//! `wasi:cli/run` over an engine: continues a prompt and streams to stdout, as `gust run` does.
//!
//! `options` reads the command line; `run` loads, feeds and prints.

#[cfg(any(target_arch = "wasm32", test))]
mod options;
#[cfg(target_arch = "wasm32")]
mod run;

#[cfg(target_arch = "wasm32")]
fn main() -> std::process::ExitCode {
    run::main()
}

/// The workspace is built natively too, where there is no engine to import.
#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!(
        "error: this program is a WebAssembly component; `cargo xtask compose` makes gust.wasm of it"
    );
}

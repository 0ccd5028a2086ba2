//! Runs the unit tests of the engine inside Wasmtime: cargo's runner for `wasm32-wasip2`.
//!
//! The first argument is the test component, the rest goes to its harness. The tests see the folder that holds the
//! checkout, under its own path and for reading only: there lie the test data.

use std::path::Path;
use std::process::ExitCode;

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Result, Store, bail};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxView, WasiView};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let Some(path) = args.first() else {
        bail!("expected the path of a test component, found no argument");
    };
    let engine = Engine::new(&Config::new())?;
    let component = Component::from_file(&engine, path)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    // A test component imports all that the engine does, and unit tests call none of it.
    linker.define_unknown_imports_as_traps(&component)?;

    let mut wasi = WasiCtx::builder();
    wasi.inherit_stdio().inherit_env().args(args);
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(folder) = xtask.ancestors().nth(2) {
        wasi.preopened_dir(folder, folder.to_string_lossy(), FsPerms::ReadOnly)?;
    }
    let state = State {
        wasi: wasi.build(),
        table: ResourceTable::new(),
    };

    let mut store = Store::new(&engine, state);
    let command = Command::instantiate(&mut store, &component, &linker)?;
    match command.wasi_cli_run().call_run(&mut store) {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(())) => Ok(ExitCode::FAILURE),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(u8::try_from(exit.0).map_or(ExitCode::FAILURE, ExitCode::from)),
            None => Err(error),
        },
    }
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

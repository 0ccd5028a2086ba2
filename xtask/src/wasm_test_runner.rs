//! Runs the unit tests of the engine inside Wasmtime: cargo's runner for `wasm32-wasip2`.
//!
//! The first argument is the test component, the rest goes to its harness. A panic ends a WebAssembly program, so each
//! test has an instance of its own, and several run at a time. The tests see the folder that holds the checkout, under
//! its own path and for reading only: there lie the test data. The last line is like that of Rust's own harness.
//!
//! `GUST_ISA` names the instructions that the tests are compiled for, as in `gust bench --isa`. Where the processor lacks
//! them, no test runs.

mod isa;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable, ResourceType};
use wasmtime::{Config, Engine, Result, Store, bail};
use wasmtime_wasi::p2::bindings::sync::CommandPre;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxView, WasiView};

use isa::{Isa, restrict};

/// Bytes of output kept of one test.
const OUTPUT: usize = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run_all(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(args: &[String]) -> Result<ExitCode> {
    let Some((path, args)) = args.split_first() else {
        bail!("expected the path of a test component, found no argument");
    };
    let start = Instant::now();
    let isa = isa()?;
    if let Err(lacking) = isa.check() {
        println!(
            "skipped: {isa} needs {}, and this is {}",
            lacking.expected, lacking.found
        );
        return Ok(ExitCode::SUCCESS);
    }
    let harness = Harness::compile(path, isa)?;
    let names = harness.list(args)?;
    println!("\nrunning {} tests in WebAssembly", names.len());

    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = harness.run(&["--exact", name, "--nocapture"]);
            match outcome {
                Ok(Outcome { success: true, .. }) => println!("test {name} ... ok"),
                Ok(Outcome { output, .. }) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    println!("test {name} ... FAILED\n{output}");
                }
                Err(error) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    println!("test {name} ... FAILED\n{error:?}");
                }
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });

    let failed = failed.into_inner();
    println!(
        "\ntest result: {}. {} passed; {failed} failed; finished in {:.2}s",
        if failed == 0 { "ok" } else { "FAILED" },
        names.len() - failed,
        start.elapsed().as_secs_f64()
    );
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What `GUST_ISA` names.
fn isa() -> Result<Isa> {
    match std::env::var("GUST_ISA") {
        Err(_) => Ok(Isa::Native),
        Ok(name) => match Isa::named(&name) {
            Some(isa) => Ok(isa),
            None => bail!("GUST_ISA: expected a name of `gust bench --isa`, found `{name}`"),
        },
    }
}

/// A test component, compiled.
struct Harness {
    engine: Engine,
    command: CommandPre<State>,
}

/// How a run of the harness ended.
struct Outcome {
    success: bool,
    /// Standard output and standard error, the one behind the other, and the trap, if that was the end.
    output: String,
}

impl Harness {
    fn compile(path: &str, isa: Isa) -> Result<Self> {
        let mut config = Config::new();
        // A panic says where it was; the addresses of the trap behind it say nothing more.
        config.wasm_backtrace_max_frames(None);
        restrict(&mut config, isa);
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, path)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        stub_engine_imports(&mut linker, &component)?;
        let command = CommandPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, command })
    }

    /// The names of the tests that the arguments choose.
    fn list(&self, args: &[String]) -> Result<Vec<String>> {
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["--list", "--format=terse"]);
        let Outcome { success, output } = self.run(&args)?;
        if !success {
            bail!("the tests cannot be listed: {output}");
        }
        let names = output
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Runs the harness in a new instance.
    fn run(&self, args: &[&str]) -> Result<Outcome> {
        let (stdout, stderr) = (MemoryOutputPipe::new(OUTPUT), MemoryOutputPipe::new(OUTPUT));
        let mut wasi = WasiCtx::builder();
        wasi.inherit_env().arg("tests").args(args);
        wasi.stdout(stdout.clone()).stderr(stderr.clone());
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        if let Some(folder) = xtask.ancestors().nth(2) {
            wasi.preopened_dir(folder, folder.to_string_lossy(), FsPerms::ReadOnly)?;
        }
        let state = State {
            wasi: wasi.build(),
            table: ResourceTable::new(),
        };

        let mut store = Store::new(&self.engine, state);
        let command = self.command.instantiate(&mut store)?;
        let ended = command.wasi_cli_run().call_run(&mut store);
        let text = |pipe: MemoryOutputPipe| String::from_utf8_lossy(&pipe.contents()).into_owned();
        let mut output = text(stdout) + &text(stderr);
        let success = match ended {
            Ok(result) => result.is_ok(),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => exit.0 == 0,
                None => {
                    output += &format!("{error:?}\n");
                    false
                }
            },
        };
        Ok(Outcome { success, output })
    }
}

/// A test component imports what the engine does, `weights` and `collective`, and unit tests call none of it. (The
/// linker's own stubs for unknown imports would shadow WASI where the component asks for a newer patch release.)
fn stub_engine_imports(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let engine = component.engine();
    for (interface, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(items) = import.ty else {
            continue;
        };
        if !interface.starts_with("gust:llm/") {
            continue;
        }
        let mut stubs = linker.instance(interface)?;
        for (name, item) in items.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    stubs.func_new(name, |_, _, _, _| bail!("unit tests have no host to call"))?
                }
                ComponentItem::Resource(_) => {
                    stubs.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
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

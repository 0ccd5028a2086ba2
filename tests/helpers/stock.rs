//! A stock Wasmtime: its own WASI linker, and nothing of gust's host.

use gust_compose::{Part, plug};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::workspace::workspace;

/// The maximum output of a test, in bytes.
const OUTPUT: usize = 1 << 20;

/// A part that `cargo xtask build` has built, such as `adapters/filter.wasm`.
///
/// # Panics
///
/// If it has not been built.
pub(crate) fn built(path: &str) -> Vec<u8> {
    let path = workspace().join("target").join(path);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask test` builds it first",
            path.display()
        )
    })
}

/// The engine with its providers, wrapped in these middlewares, innermost first, behind a front end: see `adapters/`.
///
/// # Panics
///
/// If they do not fit together.
pub(crate) fn composed(middlewares: &[&str], front_end: Option<&str>) -> Vec<u8> {
    let mut component = built("components/gust-solo.wasm");
    for name in middlewares.iter().copied().chain(front_end) {
        let bytes = built(&format!("adapters/{name}.wasm"));
        let engine = Part {
            name: "engine",
            bytes: &component,
        };
        let around = Part {
            name,
            bytes: &bytes,
        };
        component = plug(around, &[engine]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    component
}

/// What a stock host keeps for an instance.
pub(crate) struct Stock {
    wasi: WasiCtx,
    /// What handles stand for.
    pub(crate) table: ResourceTable,
    /// What it wrote to stdout and to stderr.
    pub(crate) output: [MemoryOutputPipe; 2],
}

impl Stock {
    /// A host with the folder of models as `models`, that of chat templates as `templates`, and nothing on stdin.
    ///
    /// # Panics
    ///
    /// If a folder is missing.
    pub(crate) fn new(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let output = [OUTPUT, OUTPUT].map(MemoryOutputPipe::new);
        let models = workspace().join("models");
        let templates = workspace().join("tests/data/templates");
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(args)
            .envs(variables)
            .stdin(MemoryInputPipe::new(""))
            .stdout(output[0].clone())
            .stderr(output[1].clone())
            .preopened_dir(&models, "models", FsPerms::ReadOnly)
            .unwrap_or_else(|error| panic!("{}: {error}", models.display()))
            .preopened_dir(&templates, "templates", FsPerms::ReadOnly)
            .unwrap_or_else(|error| panic!("{}: {error}", templates.display()))
            .preopened_dir(std::env::temp_dir(), "temporary", FsPerms::ReadOnly)
            .unwrap_or_else(|error| panic!("temporary files: {error}"));
        Stock {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            output,
        }
    }

    /// What it wrote to stdout (0) or to stderr (1) so far.
    pub(crate) fn written(&self, stream: usize) -> String {
        String::from_utf8_lossy(&self.output[stream].contents()).into_owned()
    }
}

impl WasiView for Stock {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// A component, compiled with default settings, and WASI for it.
///
/// # Panics
///
/// If it cannot be compiled.
pub(crate) fn compiled<T: WasiView + 'static>(bytes: &[u8]) -> (Component, Linker<T>) {
    let engine = Engine::default();
    let component = Component::from_binary(&engine, bytes)
        .unwrap_or_else(|error| panic!("the component: {error:#}"));
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)
        .unwrap_or_else(|error| panic!("WASI: {error:#}"));
    (component, linker)
}

/// The model that ships, as a component sees it.
pub(crate) const MODEL: &str = "models/gust-stories-q8_0.gguf";

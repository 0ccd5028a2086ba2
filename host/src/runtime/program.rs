//! A component made ready to run: checked, compiled, and linked to what the host offers.

use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::Arc;

use wasmtime::component::InstancePre;
use wasmtime::{Config, OptLevel, ProfilingStrategy};

use crate::runtime::bindings::LlmIndices;
use crate::runtime::cache;
use crate::runtime::deadline::Ticker;
use crate::runtime::imports;
use crate::runtime::state::{State, Surroundings};
use crate::types::Error;

/// A component that instances can be made of.
pub(crate) struct Program {
    pub(crate) component: InstancePre<State>,
    /// Where its exports are.
    pub(crate) exports: LlmIndices,
    /// Whether instances of it can compute together.
    pub(crate) is_collective: bool,
    /// The surroundings of its instances.
    pub(crate) surroundings: Surroundings,
    /// Present if calls can be ended at loops.
    pub(crate) ticker: Option<Ticker>,
}

/// Where the calls of a program can be ended (see [`deadline`](crate::runtime::deadline)).
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Interruption {
    /// When the program calls an import.
    AtImports,
    /// At every iteration of every loop.
    AtLoops,
}

/// Which profiler is told where compiled functions are.
#[derive(Clone, Copy, Default)]
pub(crate) enum Profiling {
    #[default]
    Off,
    /// Linux's `perf`, through `/tmp/perf-PID.map`.
    PerfMap,
}

impl Program {
    /// Compiles `component`, or takes it from the cache in `cache_dir`.
    pub(crate) fn new(
        component: &[u8],
        surroundings: &Surroundings,
        interruption: Interruption,
        profiling: Profiling,
        cache_dir: Option<&Path>,
        on_compile: impl FnOnce(),
    ) -> Result<Program, Error> {
        let unusable = |error: wasmtime::Error| Error::Component(format!("{error:#}"));
        check_kind(component)?;
        let engine = wasmtime::Engine::new(&config(interruption, profiling)).map_err(unusable)?;
        let compiled =
            cache::compiled(&engine, component, cache_dir, on_compile).map_err(unusable)?;
        let component_type = compiled.component_type();
        let is_collective = component_type
            .imports(&engine)
            .any(|(name, _)| name.starts_with("gust:llm/collective@"));
        let component = imports::linker(&engine, surroundings)
            .and_then(|linker| linker.instantiate_pre(&compiled));
        let component = component.map_err(unusable)?;
        let exports = LlmIndices::new(&component).map_err(unusable)?;
        let ticker = match interruption {
            Interruption::AtImports => None,
            Interruption::AtLoops => {
                let ticker = Ticker::new(&engine);
                Some(ticker.map_err(|error| Error::Io(format!("starting a thread: {error}")))?)
            }
        };
        Ok(Program {
            component,
            exports,
            is_collective,
            surroundings: surroundings.clone(),
            ticker,
        })
    }
}

/// Rejects bytes that are not a component, by the first of them, with a message in words rather than offsets.
fn check_kind(component: &[u8]) -> Result<(), Error> {
    let found = match component.first_chunk() {
        Some(b"\0asm\x0d\0\x01\0") => return Ok(()),
        Some(b"\0asm\x01\0\0\0") => "a core module",
        _ => "something else",
    };
    Err(Error::Component(format!(
        "expected a WebAssembly component, found {found}"
    )))
}

fn config(interruption: Interruption, profiling: Profiling) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_relaxed_simd(true)
        // This does not affect the compiled code: the profiler is also told of code from the cache.
        .profiler(match profiling {
            Profiling::Off => ProfilingStrategy::None,
            Profiling::PerfMap => ProfilingStrategy::PerfMap,
        })
        .epoch_interruption(interruption == Interruption::AtLoops)
        // A trap's message is for people; addresses in a component without names mean nothing to them.
        .wasm_backtrace_max_frames(None);
    #[cfg(target_os = "linux")]
    config
        .with_host_memory(Arc::new(crate::runtime::memory::Creator))
        // Wasmtime's copy-on-write initialisation needs Wasmtime's own memories.
        .memory_init_cow(false);
    config
}

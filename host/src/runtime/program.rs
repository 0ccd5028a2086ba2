//! A component made ready to run: checked, compiled, and linked to what the host offers.

use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::Arc;

use wasmtime::component::InstancePre;
use wasmtime::{Config, OptLevel, ProfilingStrategy};

use crate::runtime::bindings::LlmIndices;
use crate::runtime::cache::{self, Listeners, TooLittleSpace};
use crate::runtime::deadline::Ticker;
use crate::runtime::imports;
use crate::runtime::memory;
use crate::runtime::state::{State, Surroundings};
use crate::types::{Error, Isa, Mismatch};

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

/// How a component is compiled.
#[derive(Clone, Copy)]
pub(crate) struct Compilation {
    pub(crate) interruption: Interruption,
    pub(crate) profiling: Profiling,
    pub(crate) isa: Isa,
    pub(crate) reservation: Reservation,
}

/// How much address space each linear memory takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reservation {
    /// All that 32-bit addresses reach, so that compiled code has no addresses to check.
    Whole,
    /// As much as the memory has bytes. Compiled code checks every address, which is slower.
    AsNeeded,
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
        compilation: Compilation,
        cache_dir: Option<&Path>,
        listeners: &Listeners<'_>,
    ) -> Result<Program, Error> {
        let unusable = |error: wasmtime::Error| Error::Component(format!("{error:#}"));
        check_kind(component)?;
        check_processor(compilation.isa)?;
        let engine = wasmtime::Engine::new(&config(compilation)).map_err(unusable)?;
        let compiled = cache::compiled(&engine, component, cache_dir, listeners);
        let compiled = compiled.map_err(|error| match error.is::<TooLittleSpace>() {
            true => Error::AddressSpace {
                limit: memory::address_limit(),
            },
            false => unusable(error),
        })?;
        let component_type = compiled.component_type();
        let is_collective = component_type
            .imports(&engine)
            .any(|(name, _)| name.starts_with("gust:llm/collective@"));
        let component = imports::linker(&engine, surroundings)
            .and_then(|linker| linker.instantiate_pre(&compiled));
        let component = component.map_err(unusable)?;
        let exports = LlmIndices::new(&component).map_err(unusable)?;
        let ticker = match compilation.interruption {
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

/// Rejects an ISA that this processor does not have.
fn check_processor(isa: Isa) -> Result<(), Error> {
    isa.check().map_err(|lacking| {
        Error::InvalidArgument(Mismatch {
            subject: format!("isa {isa}"),
            expected: lacking.expected,
            found: lacking.found,
        })
    })
}

fn config(compilation: Compilation) -> Config {
    let Compilation {
        interruption,
        profiling,
        isa,
        reservation,
    } = compilation;
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
        .with_host_memory(Arc::new(memory::Creator))
        // Wasmtime's copy-on-write initialisation needs Wasmtime's own memories.
        .memory_init_cow(false);
    #[cfg(target_os = "linux")]
    if reservation == Reservation::AsNeeded {
        config
            .memory_reservation(memory::AS_NEEDED)
            .memory_guard_size(memory::WASM_PAGE)
            .memory_may_move(false);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = reservation;
    restrict(&mut config, isa);
    config
}

/// Leaves the code no more instructions than `isa` has. The cache keeps such code apart: Cranelift's flags are a part of
/// Wasmtime's compatibility hash.
#[expect(unsafe_code, reason = "Cranelift's flags are set by name")]
fn restrict(config: &mut Config, isa: Isa) {
    for flag in isa.flags_off() {
        // SAFETY: `cranelift_flag_set` is unsafe because flags can change what compiled code relies on. These say which
        // instructions the processor has, and they are only switched off: what Cranelift emits without an instruction
        // runs on processors with it, too. An unknown flag is an error of `Engine::new`.
        unsafe { config.cranelift_flag_set(flag, "false") };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instruction that each ISA of x86-64 and of arm64 has its own way for, if any: 8-bit products, added in 32 bits.
    const DOT: &str = r#"(component (core module
        (func (export "dot") (param v128 v128 v128) (result v128)
            (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 0) (local.get 1) (local.get 2)))))"#;

    /// The names of the cache's entries show that Wasmtime's hash covers the flags.
    #[test]
    fn code_of_another_isa_is_another_entry_of_the_cache() {
        let component = wat::parse_str(DOT).expect("valid text");
        let dir = tempfile::tempdir().expect("a folder");
        let mut sets: Vec<Vec<&str>> = Vec::new();
        for &isa in Isa::known() {
            let compilation = Compilation {
                interruption: Interruption::AtImports,
                profiling: Profiling::Off,
                isa,
                reservation: Reservation::Whole,
            };
            if check_processor(isa).is_err() {
                continue;
            }
            let engine = wasmtime::Engine::new(&config(compilation)).expect("known flags");
            for _ in 0..2 {
                let listeners = Listeners {
                    on_compile: &|| (),
                    on_distrust: &|reason| panic!("{reason}"),
                };
                let compiled = cache::compiled(&engine, &component, Some(dir.path()), &listeners);
                compiled.expect("it compiles");
            }
            sets.push(isa.features());
        }
        sets.dedup();
        let entries = std::fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(entries, sets.len(), "{sets:?}");
    }
}

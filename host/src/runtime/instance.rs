//! One running instance of the engine, and how a call goes into it.
//!
//! [`Instance::call`] sets the deadline, runs the call, and determines how it ended: with the engine's answer, or with
//! the end of the instance, which must not be called again after that.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Store, Trap};

use crate::runtime::bindings::exports::gust::llm::engine as wit;
use crate::runtime::blob::Blob;
use crate::runtime::deadline;
use crate::runtime::exports::Exports;
use crate::runtime::meeting::{Meeting, Member};
use crate::runtime::memory;
use crate::runtime::program::Program;
use crate::runtime::progress::LoadProgress;
use crate::runtime::state::{MemoryBudget, State};
use crate::types::{CancelHandle, Error, Limits};

/// What Rust writes after a panic's message, and what is not possible in here.
const BACKTRACE_NOTE: &str =
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";

/// One running instance of the engine.
pub(crate) struct Instance {
    // Before the program, so that it is dropped first.
    store: Store<State>,
    exports: Exports,
    program: Arc<Program>,
    limits: Limits,
}

impl Instance {
    /// Makes an instance.
    pub(crate) fn new(
        program: Arc<Program>,
        state: State,
        limits: Limits,
    ) -> Result<Instance, Error> {
        let mut store = Store::new(program.component.engine(), state);
        store.limiter(|state| &mut state.memory);
        if program.ticker.is_some() {
            deadline::enforce(&mut store);
        }
        let (instance, regions) = memory::observe(|| {
            run(&mut store, &program, limits, |store| {
                program.component.instantiate(store)
            })
        });
        let instance = instance.map_err(|error| match memory::was_refused() {
            true => Error::AddressSpace {
                limit: memory::address_limit(),
            },
            false => error,
        })?;
        let exports = Exports::of(&mut store, &instance, &program.exports);
        let exports = exports.map_err(|error| Error::Component(format!("{error:#}")))?;
        store.data_mut().regions = regions;
        Ok(Instance {
            store,
            exports,
            program,
            limits,
        })
    }

    /// Makes an instance that computes alone.
    pub(crate) fn alone(
        program: &Arc<Program>,
        model: Blob,
        limits: Limits,
    ) -> Result<Instance, Error> {
        let member = Member {
            meeting: Meeting::new(1),
            rank: 0,
        };
        let memory = MemoryBudget::new(limits.memory, 1);
        let progress = LoadProgress::new(None).of(0);
        let state = State::new(model, None, progress, memory, member, &program.surroundings);
        Instance::new(program.clone(), state, limits)
    }

    /// Calls the engine; the call can be cancelled. The inner result is the engine's answer or error; the outer error
    /// is why the instance ended.
    pub(crate) fn call<T>(
        &mut self,
        cancel: Option<&CancelHandle>,
        call: impl FnOnce(&Exports, &mut Store<State>) -> wasmtime::Result<Result<T, wit::Error>>,
    ) -> Result<Result<T, Error>, Error> {
        let Instance {
            store,
            exports,
            program,
            limits,
        } = self;
        let state = store.data_mut();
        state.cancel = cancel.cloned();
        state.was_cancelled = false;
        let answer = run(store, program, *limits, |store| call(exports, store))?;
        Ok(answer.map_err(|error| match error {
            wit::Error::OutOfMemory(shortage) => memory_breach(store.data(), *limits)
                .unwrap_or_else(|| wit::Error::OutOfMemory(shortage).into()),
            wit::Error::Aborted(_) if store.data().was_cancelled => Error::Cancelled,
            // Where there was no memory for its part of a gather.
            aborted @ wit::Error::Aborted(_) => {
                memory_breach(store.data(), *limits).unwrap_or_else(|| aborted.into())
            }
            other => other.into(),
        }))
    }
}

/// Runs `call` within the limits. An error is the end of the instance.
fn run<T>(
    store: &mut Store<State>,
    program: &Program,
    limits: Limits,
    call: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T>,
) -> Result<T, Error> {
    let state = store.data_mut();
    state.memory.refused = false;
    state.memory.exhausted = false;
    state.has_read = false;
    // A limit too far in the future for the clock to represent is no limit.
    state.deadline = limits
        .call_time
        .and_then(|time| Instant::now().checked_add(time));
    let ticking = program.ticker.as_ref().map(|ticker| ticker.during_call());
    let answer = call(store);
    drop(ticking);
    if store.data().file_has_changed() {
        // The engine has read zeros or other bytes: neither its answer nor its trap means anything.
        return Err(Error::FileChanged);
    }
    answer.map_err(|error| why(&error, store.data(), limits))
}

/// Why a call failed.
fn why(error: &wasmtime::Error, state: &State, limits: Limits) -> Error {
    if let (Some(limit), Some(Trap::Interrupt)) = (limits.call_time, error.downcast_ref::<Trap>()) {
        return Error::CallTime { limit };
    }
    if let Some(breach) = memory_breach(state, limits) {
        return breach;
    }
    // The innermost cause is the trap itself; the outer ones are addresses.
    let trap = error.root_cause().to_string();
    let last_words = state.last_words.take();
    let last_words = last_words.trim_end_matches(BACKTRACE_NOTE).trim();
    Error::Trap(if last_words.is_empty() {
        trap
    } else {
        format!("{last_words} ({trap})")
    })
}

/// The error for the memory limit, if one was set and memory was refused in this call, or for the system's limit. Without a
/// limit, the memory refused is more than WebAssembly can address.
fn memory_breach(state: &State, limits: Limits) -> Option<Error> {
    let limit = memory::address_limit().filter(|_| state.memory.exhausted);
    if limit.is_some() {
        return Some(Error::AddressSpace { limit });
    }
    let limit = limits.memory.filter(|_| state.memory.refused)?;
    Some(Error::MemoryLimit { limit })
}

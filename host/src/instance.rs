//! One running instance of the engine, and how calls go into it.
//!
//! Models and sessions share their instance behind a lock. Every call goes through [`Instance::call`], which sets
//! the deadline, lets the call run, and sorts out how it ended: with the engine's answer, or with the end of the
//! instance. An instance that has ended answers everything with the reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use wasmtime::component::ResourceAny;
use wasmtime::{Store, Trap};

use crate::bindings::Llm;
use crate::bindings::exports::gust::llm::engine::{self as wit, Guest};
use crate::program::Program;
use crate::state::State;
use crate::trace::Trace;
use crate::weights::{Blob, LoadProgress};
use crate::{Error, LoadOptions, Source, deadline, memory};

/// What Rust writes after a panic's message, and what cannot be done in here.
const BACKTRACE_NOTE: &str =
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";

/// One running instance of the engine.
pub(crate) struct Instance {
    running: Mutex<Running>,
    /// Resources of models and sessions that were dropped while another thread was inside.
    dropped: Mutex<Vec<ResourceAny>>,
}

struct Running {
    // Before the program: what runs goes before what it is made of.
    store: Store<State>,
    exports: Llm,
    program: Arc<Program>,
    limits: Limits,
    /// Why it cannot be called any more.
    ended: Option<Error>,
}

#[derive(Clone, Copy)]
struct Limits {
    call_time: Option<Duration>,
    memory: Option<u64>,
}

impl Instance {
    /// Makes an instance that can load the model at `source`.
    pub(crate) fn new(
        program: Arc<Program>,
        source: Source,
        options: &LoadOptions,
    ) -> Result<Arc<Instance>, Error> {
        let progress = LoadProgress::new(options.progress.clone());
        let state = State::new(Blob::open(source)?, progress, options.limits.memory);
        let limits = Limits {
            call_time: options.limits.call_time,
            memory: options.limits.memory,
        };
        let mut store = Store::new(program.component.engine(), state);
        store.limiter(|state| &mut state.memory);
        if program.ticker.is_some() {
            deadline::enforce(&mut store);
        }
        let (instance, mut regions) = memory::observe(|| {
            run(&mut store, &program, limits, |store| {
                program.component.instantiate(store)
            })
        });
        let instance = instance?;
        store.data_mut().trace = Trace::of(&mut store, &instance);
        let exports = program.exports.load(&mut store, &instance);
        let exports = exports.map_err(|error| Error::Component(format!("{error:#}")))?;
        // With more than one memory there is no telling which one an address is in.
        if let (Some(region), true) = (regions.pop(), regions.is_empty()) {
            store.data_mut().region = region;
        }
        let running = Running {
            store,
            exports,
            program,
            limits,
            ended: None,
        };
        Ok(Arc::new(Instance {
            running: Mutex::new(running),
            dropped: Mutex::default(),
        }))
    }

    /// Calls the engine. The answer's own error becomes an [`Error`]; anything else that goes wrong ends the instance.
    pub(crate) fn call<T>(
        &self,
        call: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<Result<T, wit::Error>>,
    ) -> Result<T, Error> {
        self.call_locked(&mut self.lock(), call)
    }

    fn call_locked<T>(
        &self,
        running: &mut Running,
        call: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<Result<T, wit::Error>>,
    ) -> Result<T, Error> {
        let Running {
            store,
            exports,
            program,
            limits,
            ended,
        } = running;
        if let Some(reason) = ended {
            return Err(reason.clone());
        }
        let answer = run(store, program, *limits, |store| {
            for resource in std::mem::take(&mut *lock(&self.dropped)) {
                resource.resource_drop(&mut *store)?;
            }
            call(exports.gust_llm_engine(), store)
        });
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(wit::Error::OutOfMemory(shortage))) => {
                let breach = memory_breach(store.data(), *limits);
                Err(breach.unwrap_or_else(|| wit::Error::OutOfMemory(shortage).into()))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(reason) => Err(ended.insert(reason).clone()),
        }
    }

    /// Like [`call`](Self::call), for functions whose answer is never an error.
    pub(crate) fn ask<T>(
        &self,
        call: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Error> {
        self.call(|guest, store| call(guest, store).map(Ok))
    }

    /// Ends the telling of progress: the model is loaded.
    pub(crate) fn loaded(&self) {
        self.lock().store.data_mut().progress = LoadProgress::default();
    }

    /// Bytes of its linear memory.
    pub(crate) fn memory_used(&self) -> u64 {
        self.lock().store.data().memory.used
    }

    /// Gives a resource back to the engine: now if nobody is inside, else when the next call begins. Never waits.
    pub(crate) fn drop_resource(&self, resource: ResourceAny) {
        lock(&self.dropped).push(resource);
        let mut running = match self.running.try_lock() {
            Ok(running) => running,
            Err(TryLockError::Poisoned(running)) => running.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // An instance that has ended keeps its resources; they go with it.
        let _ = self.call_locked(&mut running, |_, _| Ok(Ok(())));
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        lock(&self.running)
    }
}

/// Locks, also after a panic (of a caller's function): Wasmtime refuses by itself to enter what was left half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    // A limit so far in the future that the clock cannot say it is none.
    state.deadline = limits
        .call_time
        .and_then(|time| Instant::now().checked_add(time));
    let ticking = program.ticker.as_ref().map(|ticker| ticker.during_call());
    let answer = call(store);
    drop(ticking);
    if store.data().file_was_cut() {
        // The engine has read zeros: neither its answer nor its trap means anything.
        return Err(Error::FileChanged);
    }
    answer.map_err(|error| why(&error, store.data(), limits))
}

/// Why a call broke off.
fn why(error: &wasmtime::Error, state: &State, limits: Limits) -> Error {
    if let (Some(limit), Some(Trap::Interrupt)) = (limits.call_time, error.downcast_ref::<Trap>()) {
        return Error::CallTime { limit };
    }
    if let Some(breach) = memory_breach(state, limits) {
        return breach;
    }
    // The innermost cause is the trap itself; what is around it are addresses.
    let trap = error.root_cause().to_string();
    let last_words = state.last_words.take();
    let last_words = last_words.trim_end_matches(BACKTRACE_NOTE).trim();
    Error::Trap(if last_words.is_empty() {
        trap
    } else {
        format!("{last_words} ({trap})")
    })
}

/// The breach of a limit that was set, if memory was refused in this call. Without one, what was refused is more than
/// WebAssembly can address.
fn memory_breach(state: &State, limits: Limits) -> Option<Error> {
    let limit = limits.memory.filter(|_| state.memory.refused)?;
    Some(Error::MemoryLimit { limit })
}

//! Ends calls that take too long.
//!
//! Compiled code looks at a counter (Wasmtime's *epoch*) at every turn of every loop, and asks the host when it has
//! moved; the host compares the clock with the call's deadline. A [`Ticker`] moves the counter while a call with a
//! deadline is under way, and sleeps otherwise.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use crate::state::State;

/// How late the end of a call may be noticed.
const TICK: Duration = Duration::from_millis(5);

/// Moves an engine's epoch while calls are under way. Its thread ends when it is dropped.
pub(crate) struct Ticker(Arc<Shared>);

#[derive(Default)]
struct Shared {
    calls: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Default)]
struct Calls {
    under_way: usize,
    over: bool,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn new(engine: &wasmtime::Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.clone(), shared.clone());
        thread::Builder::new()
            .name("gust-ticker".into())
            .spawn(move || {
                let mut calls = seen.lock();
                while !calls.over {
                    if calls.under_way == 0 {
                        calls = seen
                            .changed
                            .wait(calls)
                            .unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                    drop(calls);
                    thread::sleep(TICK);
                    engine.increment_epoch();
                    calls = seen.lock();
                }
            })?;
        Ok(Ticker(shared))
    }

    /// Ticks until the guard is dropped.
    pub(crate) fn during_call(&self) -> impl Drop + use<> {
        let mut calls = self.0.lock();
        calls.under_way += 1;
        if calls.under_way == 1 {
            self.0.changed.notify_one();
        }
        Call(self.0.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Call(Arc<Shared>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

/// Makes calls of `store` end with [`wasmtime::Trap::Interrupt`] once [`State::deadline`] has passed.
pub(crate) fn enforce(store: &mut Store<State>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        let passed = store
            .data()
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        Ok(if passed {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        })
    });
}

//! Ends calls that take too long.
//!
//! If a limit is set, each call has a deadline, [`State::deadline`]. There are two ways to enforce it:
//!
//! - *At imports.* The embedded engine calls an import at every read of a file and several times in every layer of a
//!   model. Those calls look at the clock ([`State::in_time`]) and end a call that is late. That costs tens of
//!   nanoseconds per layer, and what the engine does in between is bounded.
//! - *Anywhere.* A third-party component may never call an import. It is compiled so that it looks at a counter
//!   (Wasmtime's *epoch*) at every iteration of every loop and asks the host when the counter has moved. A [`Ticker`]
//!   moves it while a call is in progress, and sleeps otherwise. Measured, this costs the engine 6 % in the inner loops
//!   of large matrices and 25 % with the smallest models, where the other way costs under 1 %.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::{Store, Trap, UpdateDeadline};

use crate::runtime::state::State;

/// How late the end of a call may be noticed.
const TICK: Duration = Duration::from_millis(5);

/// Moves an engine's epoch while calls are in progress. Its thread ends when it is dropped.
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

impl State {
    /// Ends the call if it is late, with an error that an import passes on.
    pub(crate) fn in_time(&self) -> wasmtime::Result<()> {
        if self.is_late() {
            Err(Trap::Interrupt.into())
        } else {
            Ok(())
        }
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Makes late calls of an interruptible `store` end with [`Trap::Interrupt`], wherever they are.
pub(crate) fn enforce(store: &mut Store<State>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        Ok(if store.data().is_late() {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        })
    });
}

//! The small part of `wasi:*` that a component's standard library needs, with nothing behind it.
//!
//! No folder is opened, there are no arguments and no environment, input is empty and output is discarded, except for
//! the last words on standard error: the message of a panic. Sockets are not even defined, so a component that imports
//! them is refused. Clocks and random numbers are the system's, but there is no waiting: a call ends when it is done,
//! or when its time is up.
//!
//! [Middleware](crate::Middleware) gets a little more: the environment variables that it was given, a standard error
//! that is passed on, and it may wait, though no longer than the call may take.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{self, sync};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiView};

use crate::middleware::Surroundings;
use crate::state::State;

/// How many bytes of standard error are kept: enough for a message and a backtrace.
const LAST_WORDS: usize = 8 * 1024;

/// Defines what a component may import of WASI.
pub(crate) fn add_to_linker(
    linker: &mut Linker<State>,
    surroundings: &Surroundings,
) -> wasmtime::Result<()> {
    bindings::io::error::add_to_linker::<_, Io>(linker, |state| state.ctx().table)?;
    sync::io::poll::add_to_linker::<_, Io>(linker, |state| state.ctx().table)?;
    sync::io::streams::add_to_linker::<_, Io>(linker, |state| state.ctx().table)?;
    bindings::cli::environment::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::exit::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::stdin::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::stdout::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::stderr::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::terminal_input::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::terminal_output::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    bindings::clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, State::clocks)?;
    add_clock(linker, surroundings.for_middleware)?;
    bindings::random::random::add_to_linker::<_, WasiRandom>(linker, |state| {
        state.ctx().ctx.random()
    })?;
    bindings::random::insecure::add_to_linker::<_, WasiRandom>(linker, |state| {
        state.ctx().ctx.random()
    })?;
    bindings::random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, |state| {
        state.ctx().ctx.random()
    })?;
    bindings::filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, State::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, State::filesystem)
}

/// `wasi:clocks/monotonic-clock`. An engine may not use the functions that wait: a host that sleeps cannot end a call.
/// For middleware, they wait until the call's deadline at the latest.
fn add_clock(linker: &mut Linker<State>, may_wait: bool) -> wasmtime::Result<()> {
    type Answer = wasmtime::Result<(Resource<DynPollable>,)>;
    let start = Instant::now();
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    clock.func_wrap("now", move |_, ()| {
        Ok((u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),))
    })?;
    clock.func_wrap("resolution", |_, ()| Ok((1_u64,)))?;
    for (name, origin) in [
        ("subscribe-instant", Some(start)),
        ("subscribe-duration", None),
    ] {
        clock.func_wrap(
            name,
            move |mut store: StoreContextMut<'_, State>, (nanoseconds,): (u64,)| -> Answer {
                if !may_wait {
                    return Err(wasmtime::format_err!("an engine has nothing to wait for"));
                }
                let state = store.data_mut();
                let origin = origin.unwrap_or_else(Instant::now);
                let due = origin.checked_add(Duration::from_nanos(nanoseconds));
                let wait = Wait(due.into_iter().chain(state.deadline).min());
                let wait = state.table.push(wait)?;
                Ok((subscribe(&mut state.table, wait)?,))
            },
        )?;
    }
    Ok(())
}

/// Ready at this time, or never if there is none.
struct Wait(Option<Instant>);

#[wasmtime_wasi::async_trait]
impl Pollable for Wait {
    async fn ready(&mut self) {
        match self.0 {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// What `wasi:io` works on.
struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// A separate WASI context for one instance, whose standard error goes to `stderr`.
pub(crate) fn context(stderr: &LastWords, surroundings: &Surroundings) -> WasiCtx {
    WasiCtx::builder()
        .stderr(stderr.clone())
        .envs(&surroundings.variables)
        .build()
}

/// The end of what a component wrote to standard error. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct LastWords {
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// Whether it is passed on to this program's own.
    passed_on: bool,
}

impl LastWords {
    /// Empty at first. `passed_on` says whether what is written is passed on as well.
    pub(crate) fn new(passed_on: bool) -> Self {
        LastWords {
            kept: Arc::default(),
            passed_on,
        }
    }

    /// Takes what has been kept.
    pub(crate) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&Vec::from(bytes)).trim().to_owned()
    }
}

impl IsTerminal for LastWords {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LastWords {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Later versions of WASI use this; none of them is offered.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LastWords {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.passed_on {
            // Whether anyone reads it is no concern of the component.
            let _ = std::io::stderr().write_all(&bytes);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = (kept.len() + bytes.len())
            .saturating_sub(LAST_WORDS)
            .min(kept.len());
        kept.drain(..excess);
        kept.extend(&bytes[bytes.len().saturating_sub(LAST_WORDS)..]);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LAST_WORDS)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LastWords {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_standard_error_is_kept() {
        let words = LastWords::default();
        let mut stream = words.clone();
        for line in 0..2000 {
            stream
                .write(Bytes::from(format!("line {line}\n")))
                .expect("never refused");
        }
        let text = words.take();
        assert!(text.ends_with("line 1998\nline 1999"), "{text}");
        assert!(
            text.len() <= LAST_WORDS && text.len() > LAST_WORDS - 16,
            "{}",
            text.len()
        );
        assert_eq!(words.take(), "");

        stream
            .write(Bytes::from(vec![b'x'; 3 * LAST_WORDS]))
            .expect("never refused");
        assert_eq!(words.take().len(), LAST_WORDS);
    }
}

//! The small part of `wasi:*` that a component's standard library needs, with nothing behind it.
//!
//! No folder is opened, there are no arguments and no environment, input is empty and output is discarded, except for
//! the last words on standard error: the message of a panic. Sockets are not even defined, so a component that imports
//! them is refused. Clocks and random numbers are the system's, but there is no waiting: a call ends when it is done,
//! or when its time is up.
//!
//! Middleware gets a little more: the environment variables that it was given, a standard error that is passed on, and
//! it may wait, though no longer than the call may take.

use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{self, sync};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::random::WasiRandom;

use crate::runtime::state::{State, Surroundings};

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

//! Ctrl-C: cancels the running session, or ends the program if no session is running.

use std::sync::{Mutex, PoisonError};

use gust::CancelHandle;

use super::failure::INTERRUPTED;
use super::output::note;

/// The session that is running.
static WORKING: Mutex<Option<Working>> = Mutex::new(None);

struct Working {
    handle: CancelHandle,
    /// Whether something would be lost with the program, so that ending it takes one more Ctrl-C.
    warns: bool,
}

/// Installs the handler for Ctrl-C.
pub(super) fn install() {
    // Without the handler, Ctrl-C ends the program at once: worse, but no reason not to run.
    if let Err(error) = ctrlc::set_handler(interrupted) {
        note(&format!(
            "warning: cannot install the Ctrl-C handler: {error}"
        ));
    }
}

/// Until the guard is dropped, Ctrl-C cancels this session instead of ending the program. A second Ctrl-C still ends
/// the program.
pub(super) fn cancels(handle: &CancelHandle) -> Guard {
    guard(handle, false)
}

/// The same for one answer of a conversation, which would be lost with the program: a second Ctrl-C only warns, and the
/// third one ends the program.
pub(super) fn stops(handle: &CancelHandle) -> Guard {
    guard(handle, true)
}

fn guard(handle: &CancelHandle, warns: bool) -> Guard {
    handle.reset();
    let handle = handle.clone();
    set(Some(Working { handle, warns }));
    Guard(())
}

/// See [`cancels`].
pub(super) struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        set(None);
    }
}

/// Runs on a thread of its own, not inside the signal handler.
fn interrupted() {
    let mut working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
    match working.as_mut() {
        Some(Working { handle, .. }) if !handle.is_cancelled() => handle.cancel(),
        Some(Working { warns, .. }) if *warns => {
            *warns = false;
            note("note: stopping; press Ctrl-C again to end gust, and the conversation with it");
        }
        _ => std::process::exit(i32::from(INTERRUPTED)),
    }
}

fn set(working: Option<Working>) {
    *WORKING.lock().unwrap_or_else(PoisonError::into_inner) = working;
}

//! Ctrl-C: cancels the running session, or ends the program if no session is running.

use std::sync::{Mutex, PoisonError};

use gust::CancelHandle;

use super::failure::INTERRUPTED;
use super::output::note;

/// The session that is running.
static WORKING: Mutex<Option<CancelHandle>> = Mutex::new(None);

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
    handle.reset();
    set(Some(handle.clone()));
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
    let working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
    match working.as_ref() {
        Some(handle) if !handle.is_cancelled() => handle.cancel(),
        _ => std::process::exit(i32::from(INTERRUPTED)),
    }
}

fn set(handle: Option<CancelHandle>) {
    *WORKING.lock().unwrap_or_else(PoisonError::into_inner) = handle;
}

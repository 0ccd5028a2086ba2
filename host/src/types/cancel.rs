//! Stopping a session from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;

/// Stops what a session is doing, from any thread or a signal handler's thread.
///
/// Work in progress ends with [`Error::Cancelled`], within a fraction of a layer of the model, and so does all work
/// that is started before [`reset`](Self::reset). The session stays usable: it keeps what it has taken, and a chunk of
/// a prompt is taken as a whole or not at all. Third-party components may stop only at the next chunk or token.
#[derive(Debug, Clone, Default)]
pub struct CancelHandle(Arc<AtomicBool>);

impl CancelHandle {
    /// Stops the session.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Lets the session work again.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the session is stopped.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }
}

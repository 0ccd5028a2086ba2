//! How much of a model its instances have loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::types::{Progress, ProgressFn};

/// Counts the bytes that the instances of a model have taken while they load, and reports to the caller. Clones share
/// one count.
#[derive(Clone)]
pub(crate) struct LoadProgress {
    count: Arc<Count>,
    /// Whether this one reports. Only one does, so that the caller is called on the thread that loads.
    tells: bool,
}

struct Count {
    listener: Option<ProgressFn>,
    done: AtomicU64,
    over: AtomicBool,
}

impl LoadProgress {
    pub(crate) fn new(listener: Option<ProgressFn>) -> Self {
        let count = Arc::new(Count {
            listener,
            done: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        LoadProgress {
            count,
            tells: false,
        }
    }

    /// The progress of instance `rank`.
    pub(crate) fn of(&self, rank: usize) -> Self {
        LoadProgress {
            count: self.count.clone(),
            tells: rank == 0,
        }
    }

    /// Stops reporting.
    pub(crate) fn end(&self) {
        self.count.over.store(true, Ordering::Relaxed);
    }

    /// Adds `bytes` of the `total` bytes of all models.
    pub(crate) fn add(&self, bytes: u64, total: u64) {
        let Count {
            listener,
            done,
            over,
        } = &*self.count;
        let done = done
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        if let (Some(listener), true, false) = (listener, self.tells, over.load(Ordering::Relaxed))
        {
            let done = done.min(total);
            listener(Progress::Loading { done, total });
        }
    }
}

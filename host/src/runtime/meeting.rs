//! Where the instances of a group meet, each on its own thread: what is behind the `collective` import.
//!
//! [`Meeting::all_gather`] is a barrier. A member that arrives spins for a moment, because the others usually arrive
//! within that time, and then sleeps. It cannot hang: a member that ends a call, well or not, [leaves](Meeting::leave),
//! and a member that waits for one that has left is told to leave too. Whether a call is cancelled is decided by the
//! parts of a gather, so that all members are told at the same gather and are in the same state afterwards.

use std::hint::spin_loop;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a waiting member stays awake: longer than members with the same work are usually apart, and longer than a
/// caller takes between two tokens. A sleeping thread takes about half as long to wake.
const PATIENCE: Duration = Duration::from_micros(100);

/// Where instances that compute together meet.
pub(crate) struct Meeting {
    seats: Box<[Seat]>,
    /// Zero if there are more members than processors: the members that are behind need the processor that would spin.
    patience: Duration,
    /// The first member of this call that failed, and why.
    failed: Mutex<Option<(usize, String)>>,
    /// Members that sleep or are about to.
    sleepers: AtomicUsize,
    asleep: Mutex<()>,
    news: Condvar,
}

/// What a member shows the others. It has its own cache lines, because all members read it while they spin.
#[derive(Default)]
#[repr(align(128))]
struct Seat {
    /// The number of gathers of this call at which the member has arrived.
    arrived: AtomicU64,
    /// Whether it has left the call.
    gone: AtomicBool,
    /// Its parts of the last two gathers. Two are enough: a member that brings the next part has read all parts of the
    /// gather before, and so has every member that lets that gather end.
    parts: [RwLock<Part>; 2],
}

#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    /// Whether the member had seen that the call is cancelled.
    cancelled: bool,
}

/// Why a member has to leave a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Leave {
    Cancelled,
    /// Another member is gone. Carries why.
    Aborted(String),
}

impl Meeting {
    /// A meeting of `size` members, at least one.
    pub(crate) fn new(size: usize) -> Arc<Meeting> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Meeting {
            seats: (0..size).map(|_| Seat::default()).collect(),
            patience: if size <= processors {
                PATIENCE
            } else {
                Duration::ZERO
            },
            failed: Mutex::default(),
            sleepers: AtomicUsize::new(0),
            asleep: Mutex::default(),
            news: Condvar::new(),
        })
    }

    pub(crate) fn size(&self) -> usize {
        self.seats.len()
    }

    /// How long it pays to stay awake for another member.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Begins a call of the first `called` members. No member may be in a call.
    pub(crate) fn begin(&self, called: usize) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for (rank, seat) in self.seats.iter().enumerate() {
            seat.arrived.store(0, SeqCst);
            seat.gone.store(rank >= called, SeqCst);
        }
    }

    /// Ends the call of one member, which may have failed. Has no effect if the member has already left.
    pub(crate) fn leave(&self, rank: usize, failure: Option<String>) {
        if self.seats[rank].gone.load(SeqCst) {
            return;
        }
        if let Some(reason) = failure {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert((rank, reason));
        }
        self.seats[rank].gone.store(true, SeqCst);
        self.wake();
    }

    /// The member of this call that failed first. If the others failed because of it, it is the cause.
    pub(crate) fn first_failed(&self) -> Option<usize> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().map(|(rank, _)| *rank)
    }

    /// Brings a part, waits for the others' parts, and returns all of them concatenated.
    pub(crate) fn all_gather(
        &self,
        rank: usize,
        part: Vec<u8>,
        cancelled: bool,
    ) -> Result<Vec<u8>, Leave> {
        let seat = &self.seats[rank];
        if seat.gone.load(SeqCst) {
            return Err(Leave::Aborted("this member has left the call".into()));
        }
        let turn = seat.arrived.load(SeqCst) + 1;
        let place = (turn % 2) as usize;
        *seat.parts[place]
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Part {
            bytes: part,
            cancelled,
        };
        seat.arrived.store(turn, SeqCst);
        self.wake();

        let has_come = |seat: &Seat| seat.arrived.load(SeqCst) >= turn;
        self.wait(|| {
            let mut seats = self.seats.iter();
            let missing = seats.find(|seat| !has_come(seat));
            missing.is_none_or(|seat| seat.gone.load(SeqCst))
        });
        if !self.seats.iter().all(has_come) {
            // The missing member will not arrive any more, and this one must not continue without it.
            let reason = self.reason();
            self.leave(rank, Some(reason.clone()));
            return Err(Leave::Aborted(reason));
        }
        let parts: Vec<_> = self
            .seats
            .iter()
            .map(|seat| {
                seat.parts[place]
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
            })
            .collect();
        if parts.iter().any(|part| part.cancelled) {
            return Err(Leave::Cancelled);
        }
        let mut all = Vec::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
        parts.iter().for_each(|part| all.extend(&part.bytes));
        Ok(all)
    }

    fn reason(&self) -> String {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match &*failed {
            Some((rank, reason)) => format!("instance {rank} of the group failed: {reason}"),
            None => "another instance of the group has left the call".to_owned(),
        }
    }

    /// Waits until `over` holds. Others make it true and then call [`wake`](Self::wake).
    fn wait(&self, over: impl Fn() -> bool) {
        if stay_awake(self.patience, &over) {
            return;
        }
        // In this order, and in the opposite order for `wake`: either the waker sees the sleeper, or the sleeper sees
        // what the waker has done.
        self.sleepers.fetch_add(1, SeqCst);
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        while !over() {
            asleep = self
                .news
                .wait(asleep)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    fn wake(&self) {
        if self.sleepers.load(SeqCst) > 0 {
            drop(self.asleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.news.notify_all();
        }
    }
}

/// Spins until `over` holds, at most for `patience`. Returns whether it holds.
pub(crate) fn stay_awake(patience: Duration, mut over: impl FnMut() -> bool) -> bool {
    /// The number of checks between two looks at the clock.
    const LOOKS: usize = 64;
    let mut start = None;
    loop {
        for _ in 0..LOOKS {
            if over() {
                return true;
            }
            spin_loop();
        }
        let start = start.get_or_insert_with(Instant::now);
        if start.elapsed() >= patience {
            return over();
        }
    }
}

/// An instance's place in a group.
pub(crate) struct Member {
    pub(crate) meeting: Arc<Meeting>,
    pub(crate) rank: usize,
}

#[cfg(test)]
mod tests;

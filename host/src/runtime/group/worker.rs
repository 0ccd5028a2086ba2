//! The threads of a group: each has one instance, and waits for the next call into it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use wasmtime::Store;

use super::Answer;
use crate::runtime::exports::Exports;
use crate::runtime::instance::Instance;
use crate::runtime::meeting::{Meeting, stay_awake};
use crate::runtime::state::State;
use crate::types::{CancelHandle, Error};

/// The outcome of a call, as [`Instance::call`] returns it.
pub(super) type Outcome<T> = Result<Result<T, Error>, Error>;

type Job = Box<dyn FnOnce(&mut Instance) + Send>;

/// A thread and the instance that runs on it. Dropping it waits for both to end.
pub(super) struct Worker {
    rank: usize,
    /// Absent while the worker is being dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread. It stays awake for a while after each job.
    pub(super) fn new(
        rank: usize,
        mut instance: Instance,
        patience: Duration,
    ) -> Result<Worker, Error> {
        let (sender, jobs) = channel::<Job>();
        let work = move || {
            while let Ok(job) = receive(&jobs, patience) {
                job(&mut instance);
            }
        };
        let thread = Builder::new().name(format!("gust-{rank}")).spawn(work);
        let thread = thread.map_err(|error| Error::Io(format!("starting a thread: {error}")))?;
        Ok(Worker {
            rank,
            jobs: Some(sender),
            thread: Some(thread),
        })
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The thread catches the panics of its jobs.
            let _ = thread.join();
        }
    }
}

/// The calls into all members but the lead. If it is dropped early, because the lead's call panics, it makes the others
/// leave and waits for them, so that no member is inside a call when the next one begins.
pub(super) struct Others<'a, T> {
    meeting: &'a Arc<Meeting>,
    outcomes: Receiver<(usize, Outcome<T>)>,
    sender: Option<Sender<(usize, Outcome<T>)>>,
}

impl<'a, T: Send + 'static> Others<'a, T> {
    pub(super) fn new(meeting: &'a Arc<Meeting>) -> Self {
        let (sender, outcomes) = channel();
        Self {
            meeting,
            outcomes,
            sender: Some(sender),
        }
    }

    /// Starts the call into one of them.
    pub(super) fn give(
        &mut self,
        worker: &Worker,
        cancel: Option<&CancelHandle>,
        call: impl Fn(&Exports, &mut Store<State>) -> Answer<T> + Send + 'static,
    ) {
        let (rank, cancel) = (worker.rank, cancel.cloned());
        let (meeting, sender) = (self.meeting.clone(), self.sender.clone());
        let job = move |instance: &mut Instance| {
            let outcome = catch_unwind(AssertUnwindSafe(|| instance.call(cancel.as_ref(), call)));
            let outcome = outcome.unwrap_or_else(|_| Err(Error::Trap("the host panicked".into())));
            leave(&meeting, rank, &outcome);
            // No one receives this after the lead has panicked.
            let _ = sender.map(|sender| sender.send((rank, outcome)));
        };
        let given = worker
            .jobs
            .as_ref()
            .map(|jobs| jobs.send(Box::new(job)).is_ok());
        if given != Some(true) {
            self.meeting
                .leave(rank, Some("its thread is gone".to_owned()));
        }
    }

    /// Waits until all have ended, and returns the outcomes of all members in order.
    pub(super) fn join(mut self, lead: Outcome<T>) -> Vec<Outcome<T>> {
        leave(self.meeting, 0, &lead);
        drop(self.sender.take());
        let gone = || Err(Error::Trap("a thread of the group is gone".into()));
        let mut all: Vec<_> = (0..self.meeting.size()).map(|_| gone()).collect();
        all[0] = lead;
        while let Ok((rank, outcome)) = receive(&self.outcomes, self.meeting.patience()) {
            all[rank] = outcome;
        }
        all
    }
}

impl<T> Drop for Others<'_, T> {
    fn drop(&mut self) {
        drop(self.sender.take());
        // Has no effect if the lead has already left.
        self.meeting
            .leave(0, Some("the caller panicked".to_owned()));
        while self.outcomes.recv().is_ok() {}
    }
}

fn leave<T>(meeting: &Meeting, rank: usize, outcome: &Outcome<T>) {
    let failure = match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(error)) | Err(error) => Some(error.to_string()),
    };
    meeting.leave(rank, failure);
}

/// Waits for the next message, first awake for a while and then asleep.
fn receive<T>(from: &Receiver<T>, patience: Duration) -> Result<T, RecvError> {
    let mut received = Err(RecvError);
    let over = stay_awake(patience, || match from.try_recv() {
        Ok(next) => {
            received = Ok(next);
            true
        }
        Err(TryRecvError::Empty) => false,
        Err(TryRecvError::Disconnected) => true,
    });
    if over { received } else { from.recv() }
}

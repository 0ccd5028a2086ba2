//! A group: the instances of the engine that compute one model together, and how calls go into them.
//!
//! All members run the same program on the same input, each on its own thread, and meet in `collective`. The first one,
//! the *lead*, runs on the caller's thread; the others have [`Worker`]s. A group of one has no workers, and a call
//! into it is just a call.
//!
//! Models and sessions share their group through a lock. A group that has ended answers every call with the
//! reason.

mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::runtime::bindings::exports::gust::llm::engine::{self as wit, Guest};
use crate::runtime::blob::Blob;
use crate::runtime::exports::Exports;
use crate::runtime::instance::Instance;
use crate::runtime::meeting::{Meeting, Member};
use crate::runtime::program::Program;
use crate::runtime::progress::LoadProgress;
use crate::runtime::state::{MemoryBudget, State};
use crate::types::{CancelHandle, Error, LoadOptions};
use worker::{Others, Outcome, Worker};

/// Instances that compute one model together.
pub(crate) struct Group {
    stage: Mutex<Stage>,
    /// For each member, the resources that are no longer used. The next call drops them, so that dropping a session
    /// never waits.
    dropped: Mutex<Vec<Vec<ResourceAny>>>,
    memory: MemoryBudget,
    progress: LoadProgress,
}

struct Stage {
    lead: Instance,
    workers: Vec<Worker>,
    meeting: Arc<Meeting>,
    /// Why it can no longer be called.
    ended: Option<Error>,
}

/// A model, a session or an adapter: a resource in each member.
#[derive(Clone)]
pub(crate) struct Handle(Arc<[ResourceAny]>);

/// What a call into an instance returns.
pub(crate) type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

impl Group {
    /// Creates `size` instances that can load `model`, and the draft model of `options`.
    ///
    /// # Errors
    /// If the draft model's file cannot be opened, or an instance cannot be created.
    pub(crate) fn new(
        program: &Arc<Program>,
        model: &Blob,
        options: &LoadOptions,
        size: usize,
    ) -> Result<Arc<Group>, Error> {
        let draft = options.draft.clone().map(Blob::open).transpose()?;
        let meeting = Meeting::new(size);
        let memory = MemoryBudget::new(options.limits.memory, size);
        let progress = LoadProgress::new(options.progress.clone());
        let instance = |rank| {
            let member = Member {
                meeting: meeting.clone(),
                rank,
            };
            let (model, draft) = (model.clone(), draft.clone());
            let progress = progress.of(rank);
            let surroundings = &program.surroundings;
            let state = State::new(model, draft, progress, memory.clone(), member, surroundings);
            Instance::new(program.clone(), state, options.limits)
        };
        let stage = Stage {
            lead: instance(0)?,
            workers: (1..size)
                .map(|rank| Worker::new(rank, instance(rank)?, meeting.patience()))
                .collect::<Result<_, Error>>()?,
            meeting: meeting.clone(),
            ended: None,
        };
        Ok(Arc::new(Group {
            stage: Mutex::new(stage),
            dropped: Mutex::new(vec![Vec::new(); size]),
            memory,
            progress,
        }))
    }

    /// Calls the lead alone, for calls that need no other member and change nothing.
    pub(crate) fn ask<T>(
        &self,
        of: &Handle,
        call: impl FnOnce(&Exports, &mut Store<State>, ResourceAny) -> Answer<T>,
    ) -> Result<T, Error> {
        let mut stage = self.enter()?;
        stage.meeting.begin(1);
        let answer = stage
            .lead
            .call(None, |exports, store| call(exports, store, of.0[0]));
        answer.unwrap_or_else(|reason| Err(stage.end(reason)))
    }

    /// Calls all members, and returns the lead's answer.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        on: &Handle,
        cancel: Option<&CancelHandle>,
        call: impl Fn(&Guest, &mut Store<State>, ResourceAny) -> Answer<T> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        Ok(self.call_each(on, cancel, call)?.swap_remove(0))
    }

    /// Calls all members, and returns their answers, the lead's first.
    pub(crate) fn call_each<T: Send + 'static>(
        &self,
        on: &Handle,
        cancel: Option<&CancelHandle>,
        call: impl Fn(&Guest, &mut Store<State>, ResourceAny) -> Answer<T> + Send + Sync + 'static,
    ) -> Result<Vec<T>, Error> {
        let on = on.clone();
        self.call_ranked(cancel, move |rank, exports, store| {
            call(exports.engine(), store, on.0[rank])
        })
    }

    /// Calls a function of an optional interface in all members, and returns the lead's answer.
    pub(crate) fn call_optional<T: Send + 'static>(
        &self,
        on: &Handle,
        cancel: Option<&CancelHandle>,
        call: impl Fn(&Exports, &mut Store<State>, ResourceAny) -> Answer<T> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let on = on.clone();
        let mut answers = self.call_ranked(cancel, move |rank, exports, store| {
            call(exports, store, on.0[rank])
        })?;
        Ok(answers.swap_remove(0))
    }

    /// The same with further resources of each member.
    pub(crate) fn call_optional_with<T: Send + 'static>(
        &self,
        on: &Handle,
        with: Vec<Handle>,
        call: impl Fn(&Exports, &mut Store<State>, ResourceAny, Vec<ResourceAny>) -> Answer<T>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, Error> {
        let on = on.clone();
        let mut answers = self.call_ranked(None, move |rank, exports, store| {
            let with = with.iter().map(|handle| handle.0[rank]).collect();
            call(exports, store, on.0[rank], with)
        })?;
        Ok(answers.swap_remove(0))
    }

    /// Calls all members with two of their resources.
    pub(crate) fn call_with(
        &self,
        on: &Handle,
        with: &Handle,
        call: impl Fn(&Guest, &mut Store<State>, ResourceAny, ResourceAny) -> Answer<()>
        + Send
        + Sync
        + 'static,
    ) -> Result<(), Error> {
        let (on, with) = (on.clone(), with.clone());
        let answers = self.call_ranked(None, move |rank, exports, store| {
            call(exports.engine(), store, on.0[rank], with.0[rank])
        });
        answers.map(|_| ())
    }

    fn call_ranked<T: Send + 'static>(
        &self,
        cancel: Option<&CancelHandle>,
        call: impl Fn(usize, &Exports, &mut Store<State>) -> Answer<T> + Send + Sync + 'static,
    ) -> Result<Vec<T>, Error> {
        let mut stage = self.enter()?;
        let answers = self.perform(&mut stage, cancel, call)?;
        agreed(answers, &stage.meeting).map_err(|refusal| match refusal.done.is_empty() {
            true => refusal.error,
            // Some members succeeded and others did not: they cannot continue together.
            false => stage.end(refusal.error),
        })
    }

    /// Creates a resource in all members.
    pub(crate) fn make(
        &self,
        call: impl Fn(usize, &Guest, &mut Store<State>) -> Answer<ResourceAny> + Send + Sync + 'static,
    ) -> Result<Handle, Error> {
        self.make_ranked(move |rank, exports, store| call(rank, exports.engine(), store))
    }

    /// Creates a resource with all that the members export.
    pub(crate) fn make_anew(
        &self,
        call: impl Fn(&Exports, &mut Store<State>) -> Answer<ResourceAny> + Send + Sync + 'static,
    ) -> Result<Handle, Error> {
        self.make_ranked(move |_, exports, store| call(exports, store))
    }

    /// Creates a resource of an optional interface in all members, from one that they have.
    pub(crate) fn make_optional(
        &self,
        of: &Handle,
        call: impl Fn(&Exports, &mut Store<State>, ResourceAny) -> Answer<ResourceAny>
        + Send
        + Sync
        + 'static,
    ) -> Result<Handle, Error> {
        let of = of.clone();
        self.make_ranked(move |rank, exports, store| call(exports, store, of.0[rank]))
    }

    fn make_ranked(
        &self,
        call: impl Fn(usize, &Exports, &mut Store<State>) -> Answer<ResourceAny> + Send + Sync + 'static,
    ) -> Result<Handle, Error> {
        let mut stage = self.enter()?;
        let answers = self.perform(&mut stage, None, call)?;
        agreed(answers, &stage.meeting)
            .map(|resources| Handle(resources.into()))
            .map_err(|refusal| {
                let mut dropped = lock(&self.dropped);
                for (rank, resource) in refusal.done {
                    dropped[rank].push(resource);
                }
                refusal.error
            })
    }

    /// Creates a resource in all members from one that they have.
    pub(crate) fn make_of(
        &self,
        of: &Handle,
        call: impl Fn(&Guest, &mut Store<State>, ResourceAny) -> Answer<ResourceAny>
        + Send
        + Sync
        + 'static,
    ) -> Result<Handle, Error> {
        let of = of.clone();
        self.make(move |rank, engine, store| call(engine, store, of.0[rank]))
    }

    /// Releases a model, a session or an adapter. Never waits.
    pub(crate) fn discard(&self, handle: &Handle) {
        for (dropped, resource) in lock(&self.dropped).iter_mut().zip(&*handle.0) {
            dropped.push(*resource);
        }
    }

    /// Stops reporting progress: the model is loaded.
    pub(crate) fn loaded(&self) {
        self.progress.end();
    }

    /// Bytes of the members' linear memories.
    pub(crate) fn memory_used(&self) -> u64 {
        self.memory.used()
    }

    fn enter(&self) -> Result<MutexGuard<'_, Stage>, Error> {
        let stage = lock(&self.stage);
        match &stage.ended {
            Some(reason) => Err(reason.clone()),
            None => Ok(stage),
        }
    }

    /// Runs the same call in all members. An error is the end of the group.
    fn perform<T: Send + 'static>(
        &self,
        stage: &mut Stage,
        cancel: Option<&CancelHandle>,
        call: impl Fn(usize, &Exports, &mut Store<State>) -> Answer<T> + Send + Sync + 'static,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        let dropped: Vec<_> = lock(&self.dropped).iter_mut().map(std::mem::take).collect();
        let outcomes = stage.run(cancel, move |rank, exports, store| {
            for resource in &dropped[rank] {
                resource.resource_drop(&mut *store)?;
            }
            call(rank, exports, store)
        });
        let mut lost = None;
        let mut answers = Vec::with_capacity(outcomes.len());
        let cause = stage.meeting.first_failed();
        for (rank, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(answer) => answers.push(answer),
                Err(reason) if cause == Some(rank) => lost = Some(reason),
                Err(reason) => {
                    lost.get_or_insert(reason);
                }
            }
        }
        match lost {
            Some(reason) => Err(stage.end(reason)),
            None => Ok(answers),
        }
    }
}

impl Stage {
    /// Runs `call` in all members at the same time.
    fn run<T: Send + 'static>(
        &mut self,
        cancel: Option<&CancelHandle>,
        call: impl Fn(usize, &Exports, &mut Store<State>) -> Answer<T> + Send + Sync + 'static,
    ) -> Vec<Outcome<T>> {
        let Stage {
            lead,
            workers,
            meeting,
            ..
        } = self;
        meeting.begin(1 + workers.len());
        if workers.is_empty() {
            return vec![lead.call(cancel, |exports, store| call(0, exports, store))];
        }
        let call = Arc::new(call);
        let mut others = Others::new(meeting);
        for worker in workers {
            let (call, rank) = (call.clone(), worker.rank());
            others.give(worker, cancel, move |exports, store| {
                call(rank, exports, store)
            });
        }
        let outcome = lead.call(cancel, |exports, store| call(0, exports, store));
        others.join(outcome)
    }

    fn end(&mut self, reason: Error) -> Error {
        self.ended.insert(reason).clone()
    }
}

/// Why a call failed although no member has ended.
struct Refusal<T> {
    error: Error,
    /// The results of the members that succeeded nevertheless, and their ranks.
    done: Vec<(usize, T)>,
}

/// The answers of all members, if they all succeeded; if one fails, the whole call fails.
fn agreed<T>(answers: Vec<Result<T, Error>>, meeting: &Meeting) -> Result<Vec<T>, Refusal<T>> {
    let cause = meeting.first_failed();
    let (mut done, mut error) = (Vec::with_capacity(answers.len()), None);
    for (rank, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(answer) => done.push((rank, answer)),
            Err(reason) if cause == Some(rank) => error = Some(reason),
            Err(reason) => {
                error.get_or_insert(reason);
            }
        }
    }
    match error {
        Some(error) => Err(Refusal { error, done }),
        None => Ok(done.into_iter().map(|(_, answer)| answer).collect()),
    }
}

/// Locks, even after a panic (of a caller's function): Wasmtime itself refuses to enter an instance that was left
/// halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

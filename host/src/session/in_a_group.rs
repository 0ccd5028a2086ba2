//! Sessions in a group of instances, one of which fails: nothing hangs, the caller learns why, and what can continue
//! does.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{Engine, LoadOptions, SHIPPED_MODEL, SessionOptions};

const PROMPT: [u32; 40] = [7; 40];

fn model(threads: u32) -> Model {
    let options = LoadOptions {
        threads: Some(threads),
        ..Default::default()
    };
    let engine = Engine::new().expect("the embedded engine");
    engine.load(SHIPPED_MODEL, &options).expect("it fits")
}

fn session(model: &Model) -> Session {
    model.session(&SessionOptions::default()).expect("it fits")
}

/// Feeds the prompt to all members but `rank`, which does `instead`.
fn feed_but(
    session: &Session,
    rank: usize,
    instead: impl Fn() -> Answer<u32> + Send + Sync + 'static,
) -> Result<u32, Error> {
    let prompt: Arc<[u32]> = PROMPT.into();
    session.compute(move |engine, store, session| {
        if store.data().member.rank == rank {
            return instead();
        }
        engine.call_feed(store, session, &prompt)
    })
}

fn out_of_memory() -> wit::Error {
    let (needed, available) = (2, 1);
    wit::Error::OutOfMemory(wit::Shortage { needed, available })
}

/// The logits of an undisturbed session after the prompt.
fn expected() -> Vec<f32> {
    let mut session = session(&model(1));
    session.feed(&PROMPT).expect("room");
    session.logits().expect("a session with tokens")
}

#[test]
fn one_that_refuses_is_the_answer_of_all_and_nothing_has_changed() {
    let model = model(3);
    for rank in 0..3 {
        let mut session = session(&model);
        let refused = feed_but(&session, rank, || Ok(Err(out_of_memory())));
        let error = Error::OutOfMemory {
            needed: 2,
            available: 1,
        };
        assert_eq!(refused, Err(error));
        assert_eq!(session.usage().expect("it continues").context_used, 0);
        session.feed(&PROMPT).expect("it continues");
        assert_eq!(session.logits(), Ok(expected()));
    }
}

#[test]
fn one_that_traps_ends_all_with_its_reason() {
    for rank in 0..3 {
        let model = model(3);
        let mut session = session(&model);
        let other = model.session(&SessionOptions::default()).expect("it fits");
        let burnt = feed_but(&session, rank, || Err(wasmtime::format_err!("it burnt")));
        assert_eq!(burnt, Err(Error::Trap("it burnt".to_owned())));
        assert_eq!(
            session.feed(&PROMPT),
            Err(Error::Trap("it burnt".to_owned()))
        );
        assert_eq!(other.logits(), Err(Error::Trap("it burnt".to_owned())));
    }
}

#[test]
fn one_that_panics_ends_all() {
    let model = model(3);
    let session = session(&model);
    let ended = feed_but(&session, 1, || panic!("intended by a test"));
    assert!(matches!(ended, Err(Error::Trap(_))), "{ended:?}");
    assert!(session.usage().is_err());
}

#[test]
fn a_caller_that_panics_leaves_nobody_waiting() {
    let model = model(3);
    let session = session(&model);
    let panicking = || feed_but(&session, 0, || panic!("intended by a test"));
    catch_unwind(AssertUnwindSafe(panicking)).expect_err("it panics");
    // The others were told to leave, so the session is unchanged.
    assert_eq!(session.usage().expect("it continues").context_used, 0);
}

#[test]
fn members_that_go_apart_cannot_go_on() {
    let model = model(2);
    let session = session(&model);
    let ended = feed_but(&session, 1, || Ok(Ok(32)));
    assert!(matches!(ended, Err(Error::Aborted(_))), "{ended:?}");
    assert_eq!(session.usage().map(drop), ended.map(drop));
}

#[test]
fn a_session_that_one_member_cannot_make_is_no_session() {
    let model = model(3);
    let group = model.group();
    for rank in 0..3 {
        let handle = &session(&model).handle;
        let made = group.make_of(handle, move |engine, store, session| {
            match store.data().member.rank == rank {
                true => Ok(Err(out_of_memory())),
                false => engine.session().call_fork(store, session),
            }
        });
        assert!(matches!(made.map(drop), Err(Error::OutOfMemory { .. })));
    }
    let mut session = session(&model);
    session.feed(&PROMPT).expect("it continues");
    assert_eq!(session.logits(), Ok(expected()));
}

#[test]
fn cancelling_in_the_middle_of_a_call_undoes_it_in_all_members() {
    for threads in 1..=3 {
        let model = model(threads);
        let mut session = session(&model);
        session.feed(&PROMPT[..3]).expect("room");
        for rank in 0..threads as usize {
            let (prompt, cancel): (Arc<[u32]>, _) = (PROMPT.into(), session.cancel_handle());
            let cancelled = session.compute(move |engine, store, session| {
                if store.data().member.rank == rank {
                    cancel.cancel();
                }
                engine.call_feed(store, session, &prompt)
            });
            assert_eq!(cancelled, Err(Error::Cancelled));
            session.cancel_handle().reset();
            assert_eq!(session.usage().expect("it continues").context_used, 3);
        }
        session.feed(&PROMPT[3..]).expect("room");
        assert_eq!(session.logits(), Ok(expected()));
    }
}

/// Wasmtime allows 128 MiB in an answer, which is little for the state of a large model that an engine saves at once. Here it
/// allows less.
#[test]
fn a_state_that_is_larger_than_other_answers_may_be_is_saved() {
    let model = model(2);
    let mut saved = session(&model);
    saved.feed(&PROMPT).expect("room");
    let few = saved.call(|_, store, _| {
        store.set_hostcall_fuel(1_000);
        Ok(Ok(()))
    });
    few.expect("nothing is computed");
    let state = saved.save_at_once();
    let state = state.expect("the memory limit is what counts");
    assert!(state.len() > 1_000, "{}", state.len());
    saved.logits().expect_err("other answers are still limited");

    let mut restored = session(&self::model(3));
    restored.restore(&state).expect("a saved state");
    assert_eq!(restored.logits(), Ok(expected()));
    assert!(
        restored.save() == Ok(state),
        "in pieces, and in another group"
    );
}

/// Parts of gathers stay with the host. They count like memory of the instances.
#[test]
fn what_the_host_keeps_for_a_group_is_limited() {
    let model = model(3);
    let mut session = session(&model);
    let empty = model.linear_memory_bytes();
    session.feed(&PROMPT).expect("room");
    let gathered: u64 = session
        .compute(|_, store, _| Ok(Ok(store.data().gathered)))
        .expect("a number");
    assert!(gathered > 0);
    assert!(model.linear_memory_bytes() >= empty + 3 * gathered);

    // One more byte than there is.
    let limit = session
        .compute(|_, store, _| Ok(Ok(store.data().memory.limit())))
        .expect("a number");
    let exhausted = session.compute(move |_, store, _| {
        let state = store.data_mut();
        if state.member.rank == 1 {
            let rest = limit - state.memory.used();
            state.gathered = 0;
            assert!(state.memory.take(rest));
        }
        Ok(Ok(()))
    });
    assert_eq!(exhausted, Ok(()));
    let before = session.usage();
    let Err(Error::Aborted(reason)) = session.feed(&PROMPT) else {
        panic!("the limit was exceeded")
    };
    assert!(reason.contains("memory limit"), "{reason}");
    assert_eq!(session.usage(), before, "all have left the call");
}

/// As many instances as want to map more than the process may: the rest is copied, and the answer is the same.
#[cfg(target_os = "linux")]
#[test]
fn instances_that_may_map_no_more_copy() {
    use std::io::Write as _;

    use crate::Mapping;
    use crate::runtime::with_mappings;

    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(SHIPPED_MODEL).expect("room for it");
    let options = LoadOptions {
        threads: Some(12),
        mmap: Mapping::Allowed,
        ..Default::default()
    };
    let engine = Engine::new().expect("the embedded engine");
    let load = || engine.load(file.path(), &options).expect("a valid model");
    let (mapped, _) = with_mappings(10_000, || load().info().mapped_bytes);
    let (few, left) = with_mappings(16, || {
        let model = load();
        let mut session = session(&model);
        session.feed(&PROMPT).expect("room");
        assert_eq!(session.logits(), Ok(expected()));
        model.info().mapped_bytes
    });
    assert!(
        (1..mapped).contains(&few),
        "{few} of {mapped} bytes are mapped"
    );
    assert_eq!(left, 0);
}

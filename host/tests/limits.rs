//! Limits on the real engine: exceeding them is an error, and staying within them changes nothing.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use gust::{
    Engine, Error, GenerationOptions, Limits, LoadOptions, Model, SHIPPED_MODEL, Scope,
    SessionOptions, TokenizeOptions,
};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the embedded engine"));

fn load(limits: Limits) -> Result<Model, Error> {
    ENGINE.load(
        SHIPPED_MODEL,
        &LoadOptions {
            limits,
            ..Default::default()
        },
    )
}

fn answer(model: &Model) -> Result<String, Error> {
    let mut session = model.session(&SessionOptions::default())?;
    let options = GenerationOptions {
        seed: Some(7),
        max_tokens: Some(16),
        ..Default::default()
    };
    session.configure(&options)?;
    session.feed(&model.tokenize("Once", &TokenizeOptions::default())?)?;
    session.text().collect()
}

#[test]
fn limits_that_are_kept_change_nothing() {
    let limits = Limits {
        memory: Some(1 << 31),
        call_time: Some(Duration::from_secs(600)),
    };
    let limited = load(limits).and_then(|model| answer(&model));
    assert_eq!(
        limited,
        answer(&load(Limits::default()).expect("a valid model"))
    );
}

#[test]
fn a_model_that_does_not_fit_is_an_error() {
    for memory in [0, 65_536, 2 << 20] {
        let limits = Limits {
            memory: Some(memory),
            ..Default::default()
        };
        let Err(error) = load(limits) else {
            panic!("the model fits into {memory} bytes")
        };
        assert_eq!(error, Error::MemoryLimit { limit: memory });
        assert!(error.hint().is_some());
    }
}

/// However little memory is left after loading, running out of it is a memory error and not a trap.
#[test]
fn a_session_that_does_not_fit_is_an_error() {
    let needed = {
        let model = load(Limits::default()).expect("a valid model");
        answer(&model).expect("an answer");
        model.linear_memory_bytes()
    };
    let mut refused = 0;
    for steps in 0..32 {
        let memory = needed * steps / 32;
        let limits = Limits {
            memory: Some(memory),
            ..Default::default()
        };
        match load(limits).and_then(|model| answer(&model)) {
            Ok(_) => {}
            Err(Error::MemoryLimit { limit }) => {
                assert_eq!(limit, memory);
                refused += 1;
            }
            Err(error) => panic!("{memory} bytes: {error:?}"),
        }
    }
    assert!(refused > 16, "{refused}");
    let limits = Limits {
        memory: Some(needed),
        ..Default::default()
    };
    load(limits)
        .and_then(|model| answer(&model))
        .expect("it fits into what it used");
}

/// However much memory is left beside a model, saving and restoring its state succeeds or is an error, and the session goes on with
/// the same tokens. With several instances, each of which needs room, and the host for what they exchange.
#[test]
fn a_state_that_does_not_fit_is_an_error_and_nothing_is_lost() {
    for threads in [1, 3] {
        let filled = |memory| {
            let options = LoadOptions {
                limits: Limits {
                    memory,
                    ..Default::default()
                },
                threads: Some(threads),
                ..Default::default()
            };
            let model = ENGINE.load(SHIPPED_MODEL, &options).expect("a valid model");
            let small = SessionOptions {
                context_length: Some(320),
                ..Default::default()
            };
            let mut session = model.session(&small).expect("room");
            let greedy = GenerationOptions {
                temperature: Some(0.0),
                max_tokens: Some(4),
                ..Default::default()
            };
            session.configure(&greedy).expect("valid options");
            session.feed(&[5; 300]).expect("room");
            session.logits().expect("computed");
            (model.linear_memory_bytes(), session)
        };
        let answer = |mut session: gust::Session| session.text().collect::<Result<String, _>>();
        let (needed, session) = filled(None);
        let state = session.save().expect("no limit");
        let size = state.len() as u64;
        let expected = answer(session).expect("no limit");
        let (mut saved, mut refused) = (0, 0);
        for step in 0..10 {
            let memory = needed + step * u64::from(threads) * size / 3;
            let (_, mut session) = filled(Some(memory));
            let is_shortage = |error: &Error| {
                matches!(error, Error::MemoryLimit { .. } | Error::OutOfMemory { .. })
            };
            match session.save() {
                Ok(bytes) => {
                    assert!(bytes == state, "{threads} threads, {memory} bytes");
                    saved += 1;
                }
                Err(error) if is_shortage(&error) => refused += 1,
                Err(error) => panic!("{threads} threads, {memory} bytes: {error:?}"),
            }
            // It is the state that the session has.
            if let Err(error) = session.restore(&state) {
                assert!(
                    is_shortage(&error),
                    "{threads} threads, {memory} bytes: {error:?}"
                );
            }
            let found = answer(session);
            assert_eq!(
                found.as_ref(),
                Ok(&expected),
                "{threads} threads, {memory} bytes"
            );
        }
        assert!(saved > 0 && refused > 0, "{saved} saved, {refused} refused");
    }
}

#[test]
fn a_load_that_takes_too_long_is_an_error() {
    let limit = Duration::ZERO;
    let limits = Limits {
        call_time: Some(limit),
        ..Default::default()
    };
    let error = load(limits).map(drop).expect_err("it takes some time");
    assert_eq!(error, Error::CallTime { limit });
}

/// Work that reads nothing and computes no layer is held to the time too. How long it takes is measured first.
#[test]
fn a_text_that_takes_too_long_is_an_error() {
    let text = "once upon a time ".repeat(240_000);
    let tokenize = |model: &Model| model.tokenize(&text, &TokenizeOptions::default());
    let load = |call_time| {
        let options = LoadOptions {
            scope: Scope::Vocabulary,
            limits: Limits {
                call_time,
                ..Default::default()
            },
            ..Default::default()
        };
        ENGINE.load(SHIPPED_MODEL, &options).expect("a vocabulary")
    };
    let unlimited = load(None);
    let start = Instant::now();
    tokenize(&unlimited).expect("no limit");
    let limit = start.elapsed() / 3;
    let late = tokenize(&load(Some(limit)));
    assert_eq!(late, Err(Error::CallTime { limit }));
}

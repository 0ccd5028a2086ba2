//! Several threads through the public interface: the same bits as with one, and the same behaviour.

use std::sync::LazyLock;
use std::time::Duration;

use gust::{
    Engine, Error, GenerationOptions, Limits, LoadOptions, Model, SHIPPED_MODEL, Scope, Session,
    SessionOptions, TokenizeOptions,
};

/// One of them is more than the number of heads in the shipped model.
const THREADS: [u32; 5] = [1, 2, 3, 4, 13];

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the embedded engine"));

fn options(threads: u32) -> LoadOptions {
    LoadOptions {
        threads: Some(threads),
        ..Default::default()
    }
}

fn model(threads: u32) -> Model {
    let model = ENGINE.load(SHIPPED_MODEL, &options(threads));
    model.expect("the model that ships")
}

fn prompt(model: &Model) -> Vec<u32> {
    let text = "Once upon a time there was a little girl named Lily. She had a red ball and a friend, \
                and one day they went to the park to play with it until it was dark.";
    let tokens = model.tokenize(text, &TokenizeOptions::default());
    tokens.expect("it has a tokenizer")
}

/// A session that has taken the prompt and continues with a seed.
fn begun(model: &Model) -> Session {
    let mut session = model.session(&SessionOptions::default()).expect("it fits");
    let options = GenerationOptions {
        max_tokens: Some(24),
        seed: Some(11),
        logprobs: Some(3),
        ..Default::default()
    };
    session.configure(&options).expect("valid options");
    session.feed(&prompt(model)).expect("room");
    session
}

fn answer(session: &mut Session) -> Vec<gust::Token> {
    let tokens: Result<_, _> = session.tokens().collect();
    tokens.expect("room")
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let reference = model(1);
    let mut session = begun(&reference);
    let (logits, tokens) = (session.logits(), answer(&mut session));
    let scores = session.score(&prompt(&reference));
    for threads in THREADS {
        let model = model(threads);
        assert_eq!(model.threads(), threads as usize);
        let mut session = begun(&model);
        assert_eq!(session.logits(), logits, "{threads} threads");
        assert_eq!(answer(&mut session), tokens, "{threads} threads");
        assert_eq!(session.score(&prompt(&model)), scores, "{threads} threads");
    }
}

#[test]
fn what_one_group_saves_any_other_goes_on_from() {
    let states: Vec<_> = THREADS
        .iter()
        .map(|&threads| begun(&model(threads)).save().expect("it fits"))
        .collect();
    let tokens = answer(&mut begun(&model(1)));
    for (threads, state) in THREADS.iter().zip(&states) {
        assert_eq!(state, &states[0], "{threads} threads");
    }
    for threads in THREADS {
        let model = model(threads);
        let mut session = begun(&model);
        session.truncate(2).expect("there are more");
        session.restore(&states[0]).expect("it was saved");
        assert_eq!(answer(&mut session), tokens, "{threads} threads");
        session
            .restore(&states[0][1..])
            .expect_err("this is not a saved state");
    }
}

#[test]
fn copies_go_their_own_way_and_outlive_everything() {
    let tokens = answer(&mut begun(&model(1)));
    let mut copy = {
        let model = model(3);
        let mut session = begun(&model);
        let copy = session.fork().expect("it fits");
        session.truncate(1).expect("there are more");
        session.feed(&[5, 6, 7]).expect("room");
        answer(&mut session);
        copy
    };
    assert_eq!(answer(&mut copy), tokens);
    copy.truncate(0).expect("all of it");
    copy.feed(&prompt(copy.model())).expect("room");
    assert_eq!(copy.logits(), begun(&model(1)).logits());
}

#[test]
fn a_session_can_move_between_threads() {
    let model = model(2);
    let expected = answer(&mut begun(&model));
    let sessions: Vec<_> = (0..3).map(|_| begun(&model)).collect();
    std::thread::scope(|scope| {
        for mut session in sessions {
            let expected = &expected;
            scope.spawn(move || assert_eq!(&answer(&mut session), expected));
        }
    });
}

#[test]
fn a_limit_of_memory_is_for_all_instances_together() {
    let needed = {
        let model = model(3);
        answer(&mut begun(&model));
        model.linear_memory_bytes()
    };
    let load = |memory| {
        let limits = Limits {
            memory: Some(memory),
            ..Default::default()
        };
        let options = LoadOptions {
            limits,
            ..options(3)
        };
        ENGINE.load(SHIPPED_MODEL, &options)
    };
    answer(&mut begun(&load(needed).expect("it is what it used")));
    for share in [8, 4, 2] {
        let memory = needed / share;
        let session = load(memory).and_then(|model| model.session(&SessionOptions::default()));
        let error = session.map(drop).expect_err("it does not fit");
        assert_eq!(error, Error::MemoryLimit { limit: memory });
    }
}

#[test]
fn a_limit_of_time_ends_all_instances() {
    let limit = Duration::ZERO;
    let limits = Limits {
        call_time: Some(limit),
        ..Default::default()
    };
    let options = LoadOptions {
        limits,
        ..options(3)
    };
    let loaded = ENGINE.load(SHIPPED_MODEL, &options);
    assert_eq!(loaded.map(drop), Err(Error::CallTime { limit }));
}

#[test]
fn a_broken_file_is_the_error_that_it_is_for_one() {
    let broken = &SHIPPED_MODEL[..SHIPPED_MODEL.len() / 2];
    let load = |threads| ENGINE.load(broken, &options(threads)).map(drop);
    let error = load(1).expect_err("half of it is missing");
    assert_eq!(load(3), Err(error));
}

#[test]
fn a_number_of_threads_is_checked() {
    let error = ENGINE.load(SHIPPED_MODEL, &options(0)).map(drop);
    assert!(matches!(error, Err(Error::InvalidArgument(_))), "{error:?}");
    let options = LoadOptions {
        scope: Scope::Vocabulary,
        ..options(3)
    };
    let model = ENGINE.load(SHIPPED_MODEL, &options).expect("valid");
    assert_eq!(model.threads(), 3);
    model.tokenize("a", &TokenizeOptions::default()).expect("a");
}

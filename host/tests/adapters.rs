//! Adapters: attached to sessions, scaled and detached without loading the model again.

use gust::{
    Adapter, Engine, Error, GenerationOptions, LoadOptions, Model, SHIPPED_MODEL, Session,
    SessionOptions,
};
use gust_engine::gguf::TensorType;
use gust_engine::tiny_models::RandomAdapter;

const PROMPT: [u32; 5] = [1, 403, 407, 261, 378];

/// An adapter of the shipped model with random numbers, as a file.
fn file(seed: u64) -> Vec<u8> {
    let random = RandomAdapter {
        rank: 4,
        alpha: 8.0,
        seed,
        ty: TensorType::F16,
    };
    random.file(SHIPPED_MODEL, |_| true)
}

fn model(engine: &Engine, threads: u32) -> Model {
    let options = LoadOptions {
        threads: Some(threads),
        ..Default::default()
    };
    engine.load(SHIPPED_MODEL, &options).expect("it fits")
}

fn session(model: &Model) -> Session {
    let mut session = model.session(&SessionOptions::default()).expect("it fits");
    let options = GenerationOptions {
        max_tokens: Some(8),
        ignore_end: Some(true),
        ..Default::default()
    };
    session.configure(&options).expect("options in range");
    session
}

fn answer(session: &mut Session) -> Vec<Option<u32>> {
    let tokens = session.tokens().map(|token| token.expect("a token").id);
    tokens.collect()
}

#[test]
fn a_session_changes_its_adapters_without_loading_the_model_again() {
    let engine = Engine::new().expect("the embedded engine");
    let files = [file(1), file(2)];
    for threads in [1, 3] {
        let model = model(&engine, threads);
        let load = |i: usize| model.load_adapter(files[i].clone()).expect("an adapter");
        // What each session has: an adapter's number and its scale.
        let sets: [&[(usize, f32)]; 4] = [&[], &[(0, 1.0)], &[(0, -0.5)], &[(0, 1.0), (1, 2.0)]];
        let expected = sets.map(|set| {
            let loaded: Vec<Adapter> = set.iter().map(|(i, _)| load(*i)).collect();
            let scales = set.iter().map(|(_, scale)| *scale);
            let list: Vec<_> = loaded.iter().zip(scales).collect();
            let mut session = session(&model);
            session.set_adapters(&list).expect("adapters of this model");
            // The session keeps them.
            drop(loaded);
            session.feed(&PROMPT).expect("room");
            let logits = session.logits().expect("a session with tokens");
            (logits, answer(&mut session))
        });
        for i in 1..4 {
            assert!(
                expected[..i]
                    .iter()
                    .all(|(other, _)| *other != expected[i].0)
            );
        }
        let loaded = [load(0), load(1)];
        let mut session = session(&model);
        session.feed(&PROMPT).expect("room");
        for i in [3, 0, 2, 1, 0] {
            let list = sets[i].iter().map(|(i, scale)| (&loaded[*i], *scale));
            let list: Vec<_> = list.collect();
            session.set_adapters(&list).expect("adapters of this model");
            assert_eq!(session.finish_reason(), None, "a new answer begins");
            assert!(session.logits().expect("tokens") == expected[i].0, "{i}");
            assert_eq!(answer(&mut session).len(), 8);
            session.truncate(PROMPT.len() as u32).expect("a prompt");
        }
    }
}

#[test]
fn a_state_restores_under_the_same_adapters_in_any_group() {
    let engine = Engine::new().expect("the embedded engine");
    let (one, other) = (model(&engine, 1), model(&engine, 2));
    let [adapter, same] = [&one, &other].map(|model| model.load_adapter(file(1)));
    let (adapter, same) = (adapter.expect("an adapter"), same.expect("an adapter"));
    let mut original = session(&one);
    original
        .set_adapters(&[(&adapter, 0.5)])
        .expect("its adapter");
    original.feed(&PROMPT).expect("room");
    let state = original.save().expect("a state");
    let mut restored = session(&other);
    let is_refused = |restored: Result<(), Error>| match restored {
        Err(Error::InvalidArgument(mismatch)) => mismatch.found.contains("other adapters"),
        _ => false,
    };
    assert!(is_refused(restored.restore(&state)), "without an adapter");
    restored.set_adapters(&[(&same, 1.0)]).expect("its adapter");
    assert!(is_refused(restored.restore(&state)), "another scale");
    restored.set_adapters(&[(&same, 0.5)]).expect("its adapter");
    restored
        .restore(&state)
        .expect("the same adapter and scale");
    assert_eq!(restored.logits(), original.logits());
    let copy = restored.fork().expect("it fits");
    assert_eq!(copy.logits(), original.logits());
    // An adapter belongs to the model that it was loaded for, although the files are the same.
    let foreign = restored.set_adapters(&[(&adapter, 0.5)]);
    assert!(
        matches!(foreign, Err(Error::InvalidArgument(_))),
        "{foreign:?}"
    );
    assert_eq!(restored.logits(), original.logits());
}

/// In a group, where only one instance needs the numbers that are wrong.
#[test]
fn a_refused_adapter_changes_nothing() {
    let engine = Engine::new().expect("the embedded engine");
    let model = model(&engine, 3);
    let mut session = session(&model);
    session.feed(&PROMPT).expect("room");
    let expected = session.logits();
    let good = file(1);
    let mut wrong = good.clone();
    // The end of the last row of the last matrix.
    let end = wrong.len() - 32;
    wrong[end..].fill(0xff);
    for (file, what) in [
        (wrong, "finite numbers"),
        (good[..good.len() - 64].to_vec(), "it is cut short"),
        (b"GGUF".to_vec(), "before the end of the file"),
        (SHIPPED_MODEL.to_vec(), "general.type"),
    ] {
        let error = model.load_adapter(file).map(drop);
        let error = error.expect_err("a broken file").to_string();
        assert!(error.contains(what), "{error}");
        assert_eq!(session.logits(), expected);
    }
    let missing = model.load_adapter("none.gguf").map(drop);
    assert_eq!(missing, Err(Error::NotFound("none.gguf".to_owned())));
    let adapter = model.load_adapter(good).expect("an adapter");
    for scale in [f32::NAN, f32::INFINITY] {
        let refused = session.set_adapters(&[(&adapter, scale)]);
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{refused:?}"
        );
        assert_eq!(session.logits(), expected);
    }
    session
        .set_adapters(&[(&adapter, 0.0)])
        .expect("it adds nothing");
    assert_eq!(session.logits(), expected);
    session
        .set_adapters(&[(&adapter, 1.0)])
        .expect("it continues");
    assert_ne!(session.logits(), expected);
}

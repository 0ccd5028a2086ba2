//! Middleware around the engine: it is composed when the engine is built, and the weights stay mapped.

use std::io::Write;
use std::time::{Duration, Instant};

use gust::{
    Engine, EngineBuilder, Error, GenerationOptions, Limits, LoadOptions, Mapping, Middleware,
    Model, SHIPPED_MODEL, SessionOptions, TokenizeOptions,
};
use tempfile::NamedTempFile;

/// The model's greedy answer.
fn answer(model: &Model) -> Result<String, Error> {
    let mut session = model.session(&SessionOptions::default())?;
    let options = GenerationOptions {
        temperature: Some(0.0),
        max_tokens: Some(24),
        ..Default::default()
    };
    session.configure(&options)?;
    session.feed(&model.tokenize("Once upon a time", &TokenizeOptions::default())?)?;
    session.text().collect()
}

fn load(builder: EngineBuilder, limits: Limits) -> Result<Model, Error> {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(SHIPPED_MODEL).expect("room for it");
    let options = LoadOptions {
        limits,
        mmap: Mapping::Allowed,
        ..Default::default()
    };
    builder.build()?.load(file.path(), &options)
}

#[test]
fn a_chain_filters_and_its_weights_are_mapped() {
    let alone = load(Engine::builder(), Limits::default()).expect("a model");
    let text = answer(&alone).expect("an answer");
    assert!(text.contains('e'), "{text}");
    let builder = Engine::builder()
        .with(Middleware::Filter)
        .with(Middleware::Jitter)
        .variable("GUST_FILTER", " e \n")
        .variable("GUST_FILTER_ACTION", "mask")
        .variable("GUST_JITTER_MS", "1");
    let chain = load(builder, Limits::default()).expect("a model");
    // Phrases are trimmed.
    let masked = text.replace(['e', 'E'], "[...]");
    assert_eq!(answer(&chain).expect("an answer"), masked);
    // There are three memories, and the pages are in the engine's.
    assert_eq!(chain.info().mapped_bytes, alone.info().mapped_bytes);
    if cfg!(target_os = "linux") {
        assert!(chain.info().mapped_bytes > 0);
    }
}

#[test]
fn a_middleware_without_its_settings_loads_nothing() {
    let loaded = load(
        Engine::builder().with(Middleware::Filter),
        Limits::default(),
    );
    let error = loaded.expect_err("there is no list");
    assert!(
        matches!(&error, Error::InvalidArgument(what) if what.subject == "GUST_FILTER"),
        "{error:?}"
    );
}

/// A middleware may wait, but no longer than a call may take.
#[test]
fn waiting_ends_with_the_time_of_the_call() {
    let load_within = |limit| {
        let builder = Engine::builder()
            .with(Middleware::Jitter)
            .variable("GUST_JITTER_MS", "60000");
        let limits = Limits {
            call_time: Some(limit),
            ..Default::default()
        };
        load(builder, limits).expect("a model")
    };
    // Compiling counts, too, and may take longer where other tests run. The cache keeps the result.
    drop(load_within(Duration::from_secs(300)));
    let limit = Duration::from_secs(2);
    let model = load_within(limit);
    let begin = Instant::now();
    assert_eq!(
        answer(&model).expect_err("too late"),
        Error::CallTime { limit }
    );
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_is_no_middleware_is_refused() {
    let file = NamedTempFile::new().expect("a temporary file");
    let names = [file.path().to_owned(), "none.wasm".into()];
    for path in names {
        let engine = Engine::builder().with(Middleware::File(path)).build();
        assert!(matches!(engine, Err(Error::Component(_))));
    }
    for text in ["Filter", "nothing", ""] {
        assert!(text.parse::<Middleware>().is_err(), "{text}");
    }
}

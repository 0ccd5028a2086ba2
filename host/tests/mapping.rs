//! Models in files: mapped, copied, missing, and changed while in use.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use gust::{
    Engine, Error, GenerationOptions, LoadOptions, Mapping, Model, Progress, SHIPPED_MODEL, Scope,
    SessionOptions, TokenizeOptions,
};
use tempfile::NamedTempFile;

fn engine() -> Engine {
    Engine::new().expect("the embedded engine")
}

/// The model that ships, in a file.
fn file() -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(SHIPPED_MODEL)
        .expect("room for a temporary file");
    file
}

fn load(path: &Path, mmap: Mapping) -> Model {
    engine()
        .load(
            path,
            &LoadOptions {
                mmap,
                ..Default::default()
            },
        )
        .expect("a valid model")
}

/// The model's greedy answer.
fn answer(model: &Model) -> Result<String, Error> {
    let mut session = model.session(&SessionOptions::default())?;
    let options = GenerationOptions {
        temperature: Some(0.0),
        max_tokens: Some(16),
        ..Default::default()
    };
    session.configure(&options)?;
    session.feed(&model.tokenize("Once", &TokenizeOptions::default())?)?;
    session.text().collect()
}

#[test]
fn mapped_and_copied_weights_give_the_same_answer() {
    let file = file();
    let mapped = load(file.path(), Mapping::Allowed);
    let copied = load(file.path(), Mapping::Copy);
    let embedded = engine()
        .load(SHIPPED_MODEL, &LoadOptions::default())
        .expect("valid");
    if cfg!(target_os = "linux") {
        assert!(mapped.info().mapped_bytes > 0);
    }
    assert_eq!(copied.info().mapped_bytes, 0);
    assert_eq!(embedded.info().mapped_bytes, 0);
    let answers = [&mapped, &copied, &embedded].map(|model| answer(model).expect("an answer"));
    assert!(!answers[0].is_empty());
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

#[test]
fn bytes_from_anywhere_are_a_model() {
    let shared: Arc<[u8]> = SHIPPED_MODEL.into();
    let kept = Arc::downgrade(&shared);
    let model = engine()
        .load(shared, &LoadOptions::default())
        .expect("a valid model");
    let expected = answer(&load(file().path(), Mapping::Allowed));
    assert_eq!(answer(&model), expected);
    drop(model);
    assert!(kept.upgrade().is_none(), "the bytes go with the model");
}

#[test]
fn a_file_can_be_removed_while_its_model_is_in_use() {
    let file = file();
    let model = load(file.path(), Mapping::Allowed);
    let expected = answer(&model);
    fs::remove_file(file.path()).expect("it is ours");
    assert_eq!(answer(&model), expected);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_cut_short_ends_its_model_and_no_other() {
    let file = file();
    let model = load(file.path(), Mapping::Allowed);
    let other = load(self::file().path(), Mapping::Allowed);
    let expected = answer(&other);
    assert_eq!(answer(&model), expected);
    let mut session = model
        .session(&SessionOptions::default())
        .expect("room for a session");
    file.as_file().set_len(4096).expect("it is ours");
    let fed = session.feed(
        &model
            .tokenize("Once", &TokenizeOptions::default())
            .unwrap_or(vec![1]),
    );
    assert_eq!(fed, Err(Error::FileChanged));
    // It stays that way, even for calls that would not need the weights.
    assert_eq!(session.next_event(), Err(Error::FileChanged));
    assert_eq!(model.metadata(), Err(Error::FileChanged));
    drop(session);
    assert_eq!(answer(&other), expected);
    let loaded = engine().load(file.path(), &LoadOptions::default());
    assert!(matches!(loaded, Err(Error::InvalidModel(_))), "{loaded:?}");
}

#[test]
fn what_is_no_model_file_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = engine().load(folder.path().join("no.gguf"), &LoadOptions::default());
    let Err(Error::NotFound(path)) = missing else {
        panic!("{missing:?}")
    };
    assert!(path.ends_with("no.gguf"), "{path}");
    let loaded = engine().load(folder.path(), &LoadOptions::default());
    let Err(Error::Io(reason)) = loaded else {
        panic!("{loaded:?}")
    };
    assert!(
        reason.ends_with("expected a file, found a folder"),
        "{reason}"
    );
    for bytes in [
        &b""[..],
        b"GGUF",
        b"nothing of the kind",
        &SHIPPED_MODEL[..5000],
    ] {
        for mmap in [Mapping::Allowed, Mapping::Copy] {
            let mut file = NamedTempFile::new().expect("a temporary file");
            file.write_all(bytes).expect("room for a temporary file");
            let options = LoadOptions {
                mmap,
                ..Default::default()
            };
            let loaded = engine().load(file.path(), &options);
            assert!(matches!(loaded, Err(Error::InvalidModel(_))), "{loaded:?}");
        }
    }
}

#[test]
fn progress_goes_forward_to_the_end() {
    let file = file();
    let size = SHIPPED_MODEL.len() as u64;
    for mmap in [Mapping::Allowed, Mapping::Copy] {
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let listener = told.clone();
        let progress = move |progress| {
            let Progress::Loading { done, total } = progress else {
                panic!("{progress:?}")
            };
            assert_eq!(total, size);
            listener.lock().expect("no panic").push(done);
        };
        let progress: Option<gust::ProgressFn> = Some(Arc::new(progress));
        let options = LoadOptions {
            mmap,
            progress,
            ..Default::default()
        };
        let model = engine().load(file.path(), &options).expect("a valid model");
        let count = told.lock().expect("no panic").len();
        answer(&model).expect("an answer");
        let told = told.lock().expect("no panic");
        assert_eq!(told.len(), count, "only loading is reported");
        assert!(
            told.is_sorted() && told.iter().all(|&done| done <= size),
            "{told:?}"
        );
        // The tables at the beginning of the file are read, then the weights.
        assert!(
            *told.last().expect("something was read") > size / 2,
            "{told:?}"
        );
    }
}

#[test]
fn less_is_loaded_where_less_is_asked_for() {
    let load = |scope| {
        let options = LoadOptions {
            scope,
            ..Default::default()
        };
        engine()
            .load(SHIPPED_MODEL, &options)
            .expect("a valid model")
    };
    let (metadata, vocabulary) = (load(Scope::Metadata), load(Scope::Vocabulary));
    let full = load(Scope::Full);
    assert_eq!(metadata.metadata(), full.metadata());
    assert_eq!(vocabulary.tensors(), full.tensors());
    let entry = full.metadata().expect("no trap").into_iter();
    let name = entry
        .filter(|entry| entry.key == "general.architecture")
        .map(|entry| entry.value);
    assert_eq!(name.collect::<Vec<_>>(), [full.info().architecture.clone()]);
    let options = TokenizeOptions::default();
    assert_eq!(
        vocabulary.tokenize("a cat", &options),
        full.tokenize("a cat", &options)
    );
    metadata
        .tokenize("a cat", &options)
        .expect_err("the tokenizer was not loaded");
    metadata
        .session(&SessionOptions::default())
        .map(drop)
        .expect_err("nor were the weights");
    vocabulary
        .session(&SessionOptions::default())
        .map(drop)
        .expect_err("nor were the weights");
}

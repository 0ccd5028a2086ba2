//! Hostile components: each does one thing that no engine should. The host answers with the right error, and then loads and
//! runs the next model as if nothing had been.
//!
//! A case is the text of a core module's function, and what must come of it. It is put in place of the code of the real
//! engine, whose component remains around it: so the types are right, and every import is really there.

mod hostile {
    pub(crate) mod cases;
    pub(crate) mod guest;
}

use std::io::Write;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gust::{
    Engine, Error, GenerationOptions, Limits, LoadOptions, Mapping, SHIPPED_MODEL, SessionOptions,
};
use hostile::cases::{Case, Expected, cases};

/// What a case may take, if it says nothing else.
const MEMORY: u64 = 256 << 20;
/// When a case that does not end by itself is ended, and how late that may be noticed on a busy machine.
const TIME: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_secs(20);

static GOOD: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the embedded engine"));

/// What the shipped model answers, which is in this file.
fn answer(model: &Path) -> String {
    let options = LoadOptions {
        mmap: Mapping::Allowed,
        threads: Some(1),
        ..Default::default()
    };
    let model = GOOD.load(model, &options).expect("the next model loads");
    let session = model.session(&SessionOptions::default());
    let mut session = session.expect("room");
    let options = GenerationOptions {
        temperature: Some(0.0),
        max_tokens: Some(2),
        ..Default::default()
    };
    session.configure(&options).expect("valid options");
    session.feed(&[5, 6, 7]).expect("room");
    let text: Result<String, Error> = session.text().collect();
    text.expect("an answer")
}

#[test]
fn no_component_does_harm() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(SHIPPED_MODEL).expect("room for it");
    let expected = answer(file.path());
    assert!(!expected.is_empty());
    // Four at a time: some of them wait for their end.
    let rest = Mutex::new(cases(SHIPPED_MODEL.len() as u64).into_iter());
    let next = || rest.lock().expect("no panic").next();
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let work = || {
            while let Some(case) = next() {
                let start = Instant::now();
                let outcome = run(&case, file.path());
                if !case.expected.is_met_by(&outcome) {
                    let (name, expected) = (case.name, &case.expected);
                    let line = format!("{name}: expected {expected:?}, found {outcome:?}");
                    wrong.lock().expect("no panic").push(line);
                }
                let time = start.elapsed();
                assert!(time < LATE, "{}: took {time:?}", case.name);
                assert_eq!(answer(file.path()), expected, "after {}", case.name);
            }
        };
        (0..4).for_each(|_| drop(scope.spawn(work)));
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Loads the model with the component of this case, and asks for its metadata.
fn run(case: &Case, model: &Path) -> Result<(), Error> {
    let engine = Engine::builder()
        .component_bytes(hostile::guest::component(case))
        .cache_dir(None)
        .build()?;
    let options = LoadOptions {
        mmap: Mapping::Allowed,
        threads: Some(case.threads),
        limits: Limits {
            memory: Some(case.memory.unwrap_or(MEMORY)),
            call_time: Some(match case.expected {
                Expected::Late => TIME,
                _ => LATE,
            }),
        },
        ..Default::default()
    };
    let model = engine.load(model, &options)?;
    model.metadata().map(drop)
}

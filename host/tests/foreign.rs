//! Third-party components: what they cannot do, and how that ends.

use std::time::Duration;

use gust::{Engine, Error, Limits, LoadOptions, SHIPPED_MODEL};

/// A component with the exports of an engine, in name only, that runs `start` when it is instantiated.
fn component(start: &str) -> Vec<u8> {
    component_with("", start)
}

/// The same, whose code also has `items`.
fn component_with(items: &str, start: &str) -> Vec<u8> {
    let methods = [
        (
            "model",
            "info metadata tensors tokenize detokenize render-chat new-session",
        ),
        (
            "session",
            "configure set-draft-model feed next-token score truncate logits fork save restore usage",
        ),
    ];
    let mut text = format!(
        r#"(component
            (core module $code
                (memory 1)
                {items}
                (func $start {start})
                (start $start)
                (func (export "method") (param i32))
                (func (export "load")))
            (core instance $code (instantiate $code))
            (type $model (resource (rep i32)))
            (type $session (resource (rep i32)))
            (func $load (canon lift (core func $code "load")))"#
    );
    let mut parts = String::new();
    let mut given = String::new();
    for (resource, names) in methods {
        text += &format!(
            r#"(type ${resource}-method (func (param "self" (borrow ${resource}))))
            (func ${resource}-method (type ${resource}-method)
                (canon lift (core func $code "method")))"#
        );
        given += &format!(r#"(with "{resource}" (type ${resource}))"#);
        given += &format!(r#"(with "{resource}-method" (func ${resource}-method))"#);
        parts += &format!(
            r#"(import "{resource}" (type ${resource} (sub resource)))
            (import "{resource}-method" (func ${resource}-method (param "self" (borrow ${resource}))))
            (export ${resource}-out "{resource}" (type ${resource}))"#,
        );
        // Resources are exported under a name that differs from the one inside, so the exports are given its type.
        for name in names.split(' ') {
            parts += &format!(
                r#"(export "[method]{resource}.{name}" (func ${resource}-method)
                    (func (param "self" (borrow ${resource}-out))))"#
            );
        }
    }
    text += &format!(
        r#"(component $exports
            (import "load" (func $load))
            {parts}
            (export "load-model" (func $load)))
        (instance $exports (instantiate $exports (with "load" (func $load)) {given}))
        (export "gust:llm/engine@0.1.0" (instance $exports)))"#
    );
    wat::parse_str(text).expect("valid text")
}

fn load(start: &str, limits: Limits) -> Error {
    load_with("", start, limits)
}

fn load_with(items: &str, start: &str, limits: Limits) -> Error {
    let engine = Engine::builder()
        .component_bytes(component_with(items, start))
        .cache_dir(None)
        .build();
    let engine = engine.expect("it has the exports");
    let options = LoadOptions {
        limits,
        ..Default::default()
    };
    engine
        .load(SHIPPED_MODEL, &options)
        .expect_err("it is no engine")
}

#[test]
fn an_endless_loop_is_ended() {
    // It is also enough to compile it.
    let limit = Duration::from_millis(300);
    let limits = Limits {
        call_time: Some(limit),
        ..Default::default()
    };
    assert_eq!(
        load("(loop $again (br $again))", limits),
        Error::CallTime { limit }
    );
    let recursion = "(loop $again (drop (i32.load (i32.const 8))) (br $again))";
    assert_eq!(load(recursion, limits), Error::CallTime { limit });
}

#[test]
fn a_trap_is_an_error() {
    let Error::Trap(reason) = load("unreachable", Limits::default()) else {
        panic!("no trap")
    };
    assert!(reason.contains("unreachable"), "{reason}");
    let Error::Trap(reason) = load("(call $start)", Limits::default()) else {
        panic!("no trap")
    };
    assert!(reason.contains("stack"), "{reason}");
    let outside = "(drop (i32.load (i32.const -4)))";
    let Error::Trap(reason) = load(outside, Limits::default()) else {
        panic!("no trap")
    };
    assert!(reason.contains("out of bounds"), "{reason}");
}

#[test]
fn more_memory_than_allowed_is_an_error() {
    let limits = Limits {
        memory: Some(10 << 16),
        ..Default::default()
    };
    let greedy = "(if (i32.eq (memory.grow (i32.const 10)) (i32.const -1)) (then unreachable))";
    assert_eq!(load(greedy, limits), Error::MemoryLimit { limit: 10 << 16 });
    let modest = "(if (i32.eq (memory.grow (i32.const 9)) (i32.const -1)) (then unreachable))";
    assert!(
        matches!(load(modest, limits), Error::Component(_)),
        "the memory should have been granted"
    );
}

/// Tables are memory of the host: they are charged to the same budget.
#[test]
fn a_table_takes_memory() {
    let memory = 32 << 16;
    let limits = Limits {
        memory: Some(memory),
        ..Default::default()
    };
    let refused = Error::MemoryLimit { limit: memory };
    let table = |elements: u64| format!("(table $table {elements} funcref)");
    assert_eq!(load_with(&table(memory), "nop", limits), refused);
    let grow = |elements: u64| {
        format!(
            "(if (i32.eq (table.grow $table (ref.null func) (i32.const {elements})) (i32.const -1))
                 (then unreachable))"
        )
    };
    assert_eq!(load_with(&table(1), &grow(memory), limits), refused);
    let modest = load_with(&table(1000), &grow(1000), limits);
    assert!(
        matches!(modest, Error::Component(_)),
        "the table should have been granted: {modest}"
    );
    // Many tables are as large as one.
    let many = table(0).replace("$table ", "").repeat(40)
        + &format!("(table {} funcref)", memory / 128).repeat(40);
    assert_eq!(load_with(&many, "nop", limits), refused);
}

#[test]
fn composing_and_compiling_have_an_end() {
    let build = |limit| {
        Engine::builder()
            .component_bytes(component("nop"))
            .cache_dir(None)
            .build_time(Some(limit))
            .build()
            .map(drop)
    };
    let limit = Duration::ZERO;
    assert_eq!(build(limit), Err(Error::CallTime { limit }));
    assert_eq!(build(Duration::from_secs(600)), Ok(()));
    // The engine that is a part of this library is trusted, and may take its time on the first run.
    let own = Engine::builder().build_time(Some(limit));
    own.build().expect("the embedded engine");
    // The second program, for calls that have a time limit.
    let limits = Limits {
        call_time: Some(limit),
        ..Default::default()
    };
    assert_eq!(load("nop", limits), Error::CallTime { limit });
}

#[test]
fn a_component_is_a_regular_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let built = Engine::builder().component_file(dir.path()).build();
    let Err(Error::Component(reason)) = built else {
        panic!("a folder was accepted")
    };
    assert!(reason.contains("found a folder"), "{reason}");
    #[cfg(unix)]
    {
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        let built = Engine::builder().component_file(&pipe).build();
        let Err(Error::Component(reason)) = built else {
            panic!("a pipe was accepted")
        };
        assert!(reason.contains("not a regular file"), "{reason}");
    }
}

#[test]
fn a_component_without_a_group_computes_on_one_thread() {
    let engine = Engine::builder()
        .component_bytes(component("nop"))
        .cache_dir(None)
        .build();
    let options = LoadOptions {
        threads: Some(2),
        ..Default::default()
    };
    let loaded = engine
        .expect("it has the exports")
        .load(SHIPPED_MODEL, &options);
    let Err(Error::InvalidArgument(mismatch)) = loaded else {
        panic!("the component was loaded on several threads")
    };
    assert_eq!(
        (&*mismatch.subject, &*mismatch.found),
        ("threads", "2"),
        "{mismatch}"
    );
}

#[test]
fn functions_of_other_types_are_an_error() {
    let Error::Component(reason) = load("nop", Limits::default()) else {
        panic!("the component was accepted")
    };
    assert!(reason.contains("type"), "{reason}");
}

#[test]
fn what_is_no_engine_is_an_error() {
    let cases: [(&[u8], &str); 4] = [
        (b"", "found something else"),
        (b"GGUF", "found something else"),
        (b"\0asm\x01\0\0\0", "found a core module"),
        (b"\0asm\x0d\0\x01\0", "gust:llm/engine@0.1.0"),
    ];
    for (bytes, expected) in cases {
        let built = Engine::builder()
            .component_bytes(bytes)
            .cache_dir(None)
            .build();
        let Err(Error::Component(reason)) = built else {
            panic!("{bytes:?} was accepted")
        };
        assert!(reason.contains(expected), "{reason}");
    }
    let built = Engine::builder().component_file("no/such.wasm").build();
    let Err(Error::Component(reason)) = built else {
        panic!("a missing file was accepted")
    };
    assert!(reason.contains("no/such.wasm"), "{reason}");
}

#[test]
fn imports_beyond_an_engines_are_refused() {
    for import in [
        "wasi:sockets/network@0.2.0",
        "wasi:http/types@0.2.0",
        "my:own/thing",
    ] {
        let text = format!(r#"(component (import "{import}" (instance (export "f" (func)))))"#);
        let bytes = wat::parse_str(text).expect("valid text");
        let built = Engine::builder()
            .component_bytes(bytes)
            .cache_dir(None)
            .build();
        let Err(Error::Component(reason)) = built else {
            panic!("{import} was provided")
        };
        assert!(reason.contains(import), "{reason}");
    }
}

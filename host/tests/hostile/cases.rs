//! What the components do, and what must come of it.

use gust::Error;

/// A component.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The body of a function without parameters that gives a number (see `guest.rs` for what it can call).
    pub(crate) code: String,
    pub(crate) expected: Expected,
    /// Further items of the module.
    pub(crate) items: &'static str,
    /// The bodies of other functions.
    pub(crate) post_return: &'static str,
    pub(crate) realloc: Option<&'static str>,
    pub(crate) info: &'static str,
    pub(crate) metadata: &'static str,
    pub(crate) threads: u32,
    /// The limit on memory, if it is another one.
    pub(crate) memory: Option<u64>,
}

/// How a component ends.
#[derive(Debug)]
pub(crate) enum Expected {
    /// With this number as its answer.
    Number(u32),
    /// As an engine that has done what was asked.
    Success,
    /// The instance, because of this.
    Trap(&'static str),
    /// At the limit on time.
    Late,
    /// At the limit on memory.
    Memory,
}

impl Expected {
    pub(crate) fn is_met_by(&self, outcome: &Result<(), Error>) -> bool {
        match (self, outcome) {
            (Self::Number(number), Err(Error::ContextFull { limit })) => number == limit,
            (Self::Success, Ok(()))
            | (Self::Late, Err(Error::CallTime { .. }))
            | (Self::Memory, Err(Error::MemoryLimit { .. })) => true,
            (Self::Trap(reason), Err(Error::Trap(found))) => found.contains(reason),
            _ => false,
        }
    }
}

/// What `$kind` gives.
const DONE: Expected = Expected::Number(0);
const NOT_FOUND: Expected = Expected::Number(1);
const OUT_OF_RANGE: Expected = Expected::Number(3);
const IO: Expected = Expected::Number(5);

/// All of them, for a model of this many bytes.
pub(crate) fn cases(size: u64) -> Vec<Case> {
    [
        opening(),
        reading(size),
        mapping(size),
        handles(),
        answers(),
        memory(),
        time(),
        groups(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn case(name: &'static str, code: impl Into<String>, expected: Expected) -> Case {
    Case {
        name,
        code: code.into(),
        expected,
        items: "",
        post_return: "",
        realloc: None,
        info: "(i32.const 0x8000)",
        metadata: "(i32.const 0x8000)",
        threads: 1,
        memory: None,
    }
}

fn opening() -> Vec<Case> {
    let open = |start: u32, length: u32| {
        format!("(call $open-at (i32.const {start}) (i32.const {length}))")
    };
    vec![
        case("opens the model", open(1024, 5), DONE),
        case("opens nothing", open(1024, 0), NOT_FOUND),
        case(
            "opens a megabyte of zeros",
            open(1 << 21, 1 << 20),
            NOT_FOUND,
        ),
        case(
            "opens a part that there is not",
            "(i64.store (i32.const 1029) (i64.const 0x30302d3230303030))
             (call $open-at (i32.const 1024) (i32.const 13))",
            NOT_FOUND,
        ),
        case(
            "opens a name past the end of memory",
            open((64 << 16) - 4, 8),
            Expected::Trap("out of bounds"),
        ),
        case(
            "opens a name whose end wraps",
            open(u32::MAX, u32::MAX),
            Expected::Trap("out of bounds"),
        ),
        case(
            "opens a name that is no text",
            "(i32.store (i32.const 1024) (i32.const -1)) (call $open-at (i32.const 1024) (i32.const 5))",
            Expected::Trap("utf-8"),
        ),
        case(
            "answers into a place past the end of memory",
            "(call $open (i32.const 1024) (i32.const 5) (i32.const 0x3ffff8)) (i32.const 0)",
            Expected::Trap("out of bounds"),
        ),
        case(
            "answers into a place that is not aligned",
            "(call $open (i32.const 1024) (i32.const 5) (i32.const 2049)) (i32.const 0)",
            Expected::Trap("not aligned"),
        ),
        case(
            "opens without an end",
            "(local $kind i32)
             (loop $again
                (local.set $kind (call $open-at (i32.const 1024) (i32.const 5)))
                (br_if $again (i32.eqz (local.get $kind))))
             (local.get $kind)",
            IO,
        ),
    ]
}

fn reading(size: u64) -> Vec<Case> {
    let read = |offset: u64, length: u32| {
        format!(
            "(call $read-at (i64.const {}) (i32.const {}))",
            offset as i64, length as i32
        )
    };
    vec![
        case("reads the last byte", read(size - 1, 1), DONE),
        case("reads nothing at the end", read(size, 0), DONE),
        case(
            "reads nothing past the end",
            read(size + 1, 0),
            OUT_OF_RANGE,
        ),
        case("reads past the end", read(size - 1, 2), OUT_OF_RANGE),
        case("reads at the end", read(size, 1), OUT_OF_RANGE),
        case("reads where the end wraps", read(u64::MAX, 2), OUT_OF_RANGE),
        case("reads at 2^63", read(1 << 63, 1), OUT_OF_RANGE),
        case("reads more than there is", read(0, 64 << 20), OUT_OF_RANGE),
        case("reads 4 GiB", read(0, u32::MAX), IO),
        case(
            "reads 4 GiB where the end wraps",
            read(u64::MAX, u32::MAX),
            IO,
        ),
        Case {
            realloc: Some("(i32.const -16)"),
            ..case(
                "reads to a place past the end of memory",
                read(0, 32),
                Expected::Trap("beyond end of memory"),
            )
        },
        Case {
            realloc: Some("unreachable"),
            ..case(
                "traps where it is asked for memory",
                read(0, 32),
                Expected::Trap("unreachable"),
            )
        },
        Case {
            realloc: Some("(call $checkpoint (i32.const 2048)) (i32.const 0x100000)"),
            ..case(
                "calls the host where it is asked for memory",
                read(0, 32),
                Expected::Trap("cannot leave"),
            )
        },
        Case {
            realloc: Some("(loop $again (br $again)) (i32.const 0)"),
            ..case(
                "never returns where it is asked for memory",
                read(0, 32),
                Expected::Late,
            )
        },
        case(
            "reads over its own code's data",
            "(call $read (call $model) (i64.const 0) (i32.const 1024) (i32.const 1024)) (i32.const 0)",
            DONE,
        ),
    ]
}

fn mapping(size: u64) -> Vec<Case> {
    let map = |offset: u64, length: u64, address: u64| {
        format!(
            "(call $map-at (i64.const {}) (i64.const {}) (i64.const {}))",
            offset as i64, length as i64, address as i64
        )
    };
    let page = 1 << 16;
    let last = 63 * page;
    let out = |name, code| case(name, code, OUT_OF_RANGE);
    let mut all = vec![
        case("maps a page", map(0, page, last), DONE),
        case("maps nothing", map(0, 0, last), DONE),
        out("maps from an odd place", map(1, page, last)),
        out("maps to an odd place", map(0, page, last + 1)),
        out(
            "maps to a place of the system's pages only",
            map(0, page, last + 4096),
        ),
        out("maps past the end of memory", map(0, page + 1, last)),
        out("maps at the end of memory", map(0, page, 64 * page)),
        out("maps at 4 GiB", map(0, page, 1 << 32)),
        out(
            "maps into the guard in front",
            map(0, page, 0u64.wrapping_sub(page)),
        ),
        out("maps past the end of the file", map(0, size + 1, page)),
        out("maps at 2^63", map(1 << 63, page, last)),
        out(
            "maps where the end wraps",
            map(0u64.wrapping_sub(page), 2 * page, last),
        ),
        out("maps all that there is", map(0, u64::MAX, 0)),
        out(
            "maps to where the end wraps",
            map(0, page + 1, 0u64.wrapping_sub(page)),
        ),
        out(
            "maps a length that cannot be rounded up",
            map(0, u64::MAX - 1, last),
        ),
    ];
    all.extend([
        // Its stack, its data, and the place where the answer is written.
        case(
            "maps over what it uses",
            format!(
                "(drop {}) (i32.load (i32.const 0))",
                map(0, page, 0)
            ),
            // `GGUF`
            Expected::Number(0x4655_4747),
        ),
        case(
            "maps over and over",
            format!(
                "(local $n i32)
                 (loop $again
                    (if {} (then (return (i32.const 99))))
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $n) (i32.const 2000))))
                 (i32.load (i32.const {last}))",
                map(0, page, last)
            ),
            Expected::Number(0x4655_4747),
        ),
        case(
            "grows between mappings",
            format!(
                "(drop {}) (drop (memory.grow (i32.const 16))) (drop {})
                 (i32.sub (i32.load (i32.const {last})) (i32.load (i32.const {})))",
                map(0, page, last),
                map(0, page, 79 * page),
                79 * page,
            ),
            DONE,
        ),
        case(
            "writes to what it has mapped",
            format!(
                "(drop {}) (i32.store (i32.const {last}) (i32.const 7)) (i32.load (i32.const {last}))",
                map(0, page, last)
            ),
            Expected::Number(7),
        ),
    ]);
    all
}

fn handles() -> Vec<Case> {
    let unknown = || Expected::Trap("unknown handle");
    let read = |handle: &str| {
        format!("(call $read {handle} (i64.const 0) (i32.const 1) (i32.const 2048)) (i32.const 0)")
    };
    vec![
        case(
            "reads a handle that there is not",
            read("(i32.const 12345)"),
            unknown(),
        ),
        case("reads the handle 0", read("(i32.const 0)"), unknown()),
        case("reads the handle -1", read("(i32.const -1)"), unknown()),
        case(
            "reads what it has dropped",
            format!(
                "(local $blob i32) (local.set $blob (call $model)) (call $drop (local.get $blob)) {}",
                read("(local.get $blob)")
            ),
            unknown(),
        ),
        case(
            "drops twice",
            "(local $blob i32) (local.set $blob (call $model))
             (call $drop (local.get $blob)) (call $drop (local.get $blob)) (i32.const 0)",
            unknown(),
        ),
        case(
            "takes its own model for a blob",
            read("(call $new-model (i32.const 1))"),
            Expected::Trap("handle index"),
        ),
        case(
            "takes standard error for a blob",
            read("(call $stderr)"),
            Expected::Trap("handle index"),
        ),
        case(
            "answers with a model that there is not",
            "(call $accept (i32.const 7))",
            unknown(),
        ),
        case(
            "answers with a blob as the model",
            "(call $accept (call $model))",
            Expected::Trap("handle index"),
        ),
        case(
            "answers with a model that it has dropped",
            "(local $it i32) (local.set $it (call $new-model (i32.const 1)))
             (call $drop-model (local.get $it)) (call $accept (local.get $it))",
            unknown(),
        ),
        case(
            "is an engine as far as anybody has asked",
            "(call $accept (call $new-model (i32.const 1)))",
            Expected::Success,
        ),
        case(
            "leaves everything open",
            "(drop (call $model)) (drop (call $stderr))
             (drop (call $new-model (i32.const 1))) (call $accept (call $new-model (i32.const 1)))",
            Expected::Success,
        ),
    ]
}

/// Lies about what it answers.
fn answers() -> Vec<Case> {
    let model = "(call $accept (call $new-model (i32.const 1)))";
    let refuse = |number: u32, text: u32, length: u32| {
        format!(
            "(call $refuse (i32.const {number}) (i32.const {}) (i32.const {}))",
            text as i32, length as i32
        )
    };
    let bounds = || Expected::Trap("out of bounds");
    let two_gib = "(drop (memory.grow (i32.const 0x8010)))";
    vec![
        case(
            "answers with a text past the end of memory",
            refuse(0, (64 << 16) - 4, 8),
            bounds(),
        ),
        case(
            "answers with a text whose end wraps",
            refuse(0, u32::MAX - 8, 64),
            bounds(),
        ),
        case(
            "answers with a text of 4 GiB",
            refuse(0, 0, u32::MAX),
            bounds(),
        ),
        Case {
            memory: Some(3 << 30),
            ..case(
                "answers with a text of 2 GiB",
                format!("{two_gib} {}", refuse(0, 0x10_0000, 1 << 31)),
                Expected::Trap("fuel"),
            )
        },
        case(
            "answers with what is no text",
            format!(
                "(i32.store (i32.const 8192) (i32.const -1)) {}",
                refuse(0, 8192, 4)
            ),
            Expected::Trap("utf-8"),
        ),
        case(
            "answers with an error that there is not",
            refuse(200, 0, 0),
            Expected::Trap("discriminant"),
        ),
        case(
            "answers with neither success nor failure",
            "(i32.store8 (i32.const 4096) (i32.const 7)) (i32.const -1)",
            Expected::Trap("discriminant"),
        ),
        Case {
            info: "(i32.const -16)",
            ..case("answers at the end of memory", model, bounds())
        },
        Case {
            info: "(i32.const 0x8001)",
            ..case(
                "answers at an odd place",
                model,
                Expected::Trap("not aligned"),
            )
        },
        Case {
            info: "(memory.fill (i32.const 0x8000) (i32.const 255) (i32.const 4096)) (i32.const 0x8000)",
            ..case("answers with ones", model, Expected::Trap(""))
        },
        Case {
            metadata: "(i32.store (i32.const 0x8004) (i32.const 0x1000000)) (i32.const 0x8000)",
            ..case(
                "answers with more entries than fit into memory",
                model,
                bounds(),
            )
        },
        Case {
            memory: Some(3 << 30),
            metadata: "(drop (memory.grow (i32.const 0x8010)))
                (i32.store (i32.const 0x8004) (i32.const 0x4000000)) (i32.const 0x8000)",
            ..case(
                "answers with 2 GiB of empty entries",
                model,
                Expected::Trap("fuel"),
            )
        },
        Case {
            post_return: "(call $checkpoint (i32.const 2048))",
            ..case(
                "calls the host from post-return",
                "(i32.const 1)",
                Expected::Trap("cannot leave"),
            )
        },
        Case {
            post_return: "(drop (call $model))",
            ..case(
                "opens from post-return",
                "(i32.const 1)",
                Expected::Trap("cannot leave"),
            )
        },
        Case {
            post_return: "unreachable",
            ..case(
                "traps in post-return",
                "(i32.const 1)",
                Expected::Trap("unreachable"),
            )
        },
        Case {
            post_return: "(loop $again (br $again))",
            ..case(
                "never returns from post-return",
                "(i32.const 1)",
                Expected::Late,
            )
        },
        case(
            "exits",
            "(call $exit (i32.const 0)) (i32.const 1)",
            Expected::Trap("xit"),
        ),
        case(
            "calls itself without an end",
            "(call $case)",
            Expected::Trap("stack"),
        ),
    ]
}

fn memory() -> Vec<Case> {
    let grow_until_refused = "
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    vec![
        case(
            "grows until it is refused",
            format!("{grow_until_refused} (i32.const 3)"),
            Expected::Number(3),
        ),
        case(
            "traps when it is refused",
            format!("{grow_until_refused} unreachable"),
            Expected::Memory,
        ),
        Case {
            items: "(table $table 1 funcref)",
            ..case(
                "grows a table until it is refused",
                "(loop $again (br_if $again
                    (i32.ne (table.grow $table (ref.null func) (i32.const 4096)) (i32.const -1))))
                 (i32.const 3)",
                Expected::Number(3),
            )
        },
        Case {
            items: "(table $table 1 funcref)",
            ..case(
                "grows a table to 2^32 elements",
                "(i32.eq (table.grow $table (ref.null func) (i32.const -2)) (i32.const -1))",
                Expected::Number(1),
            )
        },
        Case {
            items: "(table 0x7fffffff funcref)",
            ..case(
                "has a table of 2^31 elements",
                "(i32.const 0)",
                Expected::Memory,
            )
        },
        Case {
            items: "(memory $more 0x8000)",
            ..case(
                "has a second memory of 2 GiB",
                "(i32.const 0)",
                Expected::Memory,
            )
        },
        case(
            "gathers what is not in memory",
            "(call $gather-of (i32.const 0x100000) (i32.const -1))",
            Expected::Trap("out of bounds"),
        ),
        case(
            "gathers more than it has room for",
            "(drop (memory.grow (i32.const 0x600))) (call $gather-of (i32.const 0) (i32.const 0x6000000))",
            Expected::Number(1),
        ),
        Case {
            memory: Some(4 << 30),
            ..case(
                "gathers 512 MiB",
                "(drop (memory.grow (i32.const 0x2000))) (call $gather-of (i32.const 0) (i32.const 0x20000000))",
                Expected::Trap("fuel"),
            )
        },
    ]
}

fn time() -> Vec<Case> {
    let forever = |what: &str| format!("(loop $again {what} (br $again)) (i32.const 0)");
    vec![
        case("never returns", forever(""), Expected::Late),
        case(
            "asks whether to go on without an end",
            forever("(call $checkpoint (i32.const 2048))"),
            Expected::Late,
        ),
        case("reads without an end", forever("(drop (call $read-at (i64.const 0) (i32.const 0)))
            (call $drop (i32.load (i32.const 3000)))"), Expected::Trap("unknown handle")),
        case(
            "reads one blob without an end",
            "(local $blob i32) (local.set $blob (call $model))
             (loop $again (call $read (local.get $blob) (i64.const 0) (i32.const 0) (i32.const 2048)) (br $again))
             (i32.const 0)",
            Expected::Late,
        ),
        case(
            "gathers without an end",
            forever("(drop (call $gather-of (i32.const 0) (i32.const 64)))"),
            Expected::Late,
        ),
        Case {
            info: "(loop $again (br $again)) (i32.const 0)",
            ..case(
                "never says what it is",
                "(call $accept (call $new-model (i32.const 1)))",
                Expected::Late,
            )
        },
    ]
}

/// Two instances, each of which runs this.
fn groups() -> Vec<Case> {
    let pair = |name, code: &str, expected| Case {
        threads: 2,
        ..case(name, code, expected)
    };
    let second = |then: &str, otherwise: &str| {
        format!("(if (result i32) (call $rank) (then {then}) (else {otherwise}))")
    };
    let gather = "(call $gather-of (i32.const 0) (i32.const 8))";
    let spin = "(local $n i32)
        (if (call $rank) (then (loop $again
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 30000000))))))";
    vec![
        pair("gathers", gather, Expected::Number(0)),
        pair(
            "comes late",
            &format!("{spin} {gather}"),
            Expected::Number(0),
        ),
        pair(
            "never comes, and returns",
            &second("(i32.const 9)", gather),
            Expected::Number(9),
        ),
        pair(
            "never comes, and never returns",
            &second("(loop $again (br $again)) (i32.const 0)", gather),
            Expected::Late,
        ),
        pair(
            "traps instead",
            &second("unreachable", gather),
            Expected::Trap("unreachable"),
        ),
        pair(
            "gathers once more than the other",
            &second(gather, &format!("(i32.add {gather} {gather})")),
            Expected::Number(0),
        ),
        pair(
            "goes on after it was told to leave",
            &second(
                "(i32.const 9)",
                &format!("(drop {gather}) (drop {gather}) (drop {gather}) (i32.const 4)"),
            ),
            Expected::Number(9),
        ),
        pair(
            "has a model where the other has none",
            &second(
                "(i32.const 9)",
                "(call $accept (call $new-model (i32.const 1)))",
            ),
            Expected::Number(9),
        ),
        pair(
            "brings parts of other lengths",
            "(call $gather-of (i32.const 0) (i32.mul (call $rank) (i32.const 1000)))",
            Expected::Number(0),
        ),
        pair(
            "brings a part that is not in memory",
            &second("(call $gather-of (i32.const 0) (i32.const -1))", gather),
            Expected::Trap("out of bounds"),
        ),
    ]
}

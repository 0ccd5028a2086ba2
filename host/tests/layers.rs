//! The layers of the host, from the bottom: `types`, `runtime`, the library, `command`. Each knows only those below it,
//! and within `runtime`, each module knows only those before it.
//!
//! Read from the source: the compiler would accept any direction. Comments do not count, because links in the
//! documentation may lead upwards.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `runtime`, in the order in which they are built on each other. `memory_copied` is `memory` on systems
/// other than Linux.
const RUNTIME: [&str; 18] = [
    "files",
    "terminal",
    "memory",
    "memory_copied",
    "cache",
    "meeting",
    "last_words",
    "blob",
    "progress",
    "bindings",
    "convert",
    "state",
    "deadline",
    "imports",
    "exports",
    "program",
    "instance",
    "group",
];

/// Says what a line of the file `file` (relative to `src`) may not know, if it mentions such a thing.
fn offence(file: &Path, line: &str) -> Option<String> {
    let own = module(file);
    let code = line.split("//").next().unwrap_or_default();
    let layer = own.first().map(String::as_str);
    if layer != Some("command") && words(code).any(|word| word == "command") {
        return Some("the library may not know `command`".to_owned());
    }
    let Some(layer @ ("types" | "runtime")) = layer else {
        return None;
    };
    paths(&own, code).find_map(|path| {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        match (layer, &path[..]) {
            // A glob in a file of the layer is `use super::*` in a module of tests.
            (_, [first, "*", ..]) if *first == layer => None,
            (_, ["types", ..]) => None,
            ("runtime", ["runtime", known, ..]) => {
                let place = |name: &str| RUNTIME.iter().position(|module| *module == name);
                let Some(at) = place(known) else {
                    return Some(format!("`runtime` has no module `{known}`: name one"));
                };
                match own.get(1) {
                    // `runtime/mod.rs`
                    None => None,
                    Some(name) if place(name.as_str()).is_some_and(|place| at <= place) => None,
                    Some(name) => Some(format!(
                        "`{name}` may not know `{known}`, which is after it"
                    )),
                }
            }
            _ => Some(format!("`{layer}` may not know `{}`", path.join("::"))),
        }
    })
}

/// The path of the module that a file has.
fn module(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let mut path: Vec<_> = file
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if path
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&&**last))
    {
        path.pop();
    }
    path
}

/// The paths in `code` that begin with `crate` or `super`, from the root of the crate. One that ends in `::` before a
/// brace has `{` as its last part.
fn paths<'a>(own: &'a [String], code: &'a str) -> impl Iterator<Item = Vec<String>> + 'a {
    code.split(|c: char| !(c.is_alphanumeric() || "_:*{".contains(c)))
        .filter_map(move |path| {
            let path = path.trim_start_matches([':', '*', '{']);
            let mut parts = path.split("::").peekable();
            let mut from = match parts.next_if(|part| ["crate", "super"].contains(part))? {
                "crate" => Vec::new(),
                _ => own[..own.len().saturating_sub(1)].to_vec(),
            };
            // `crate` alone is a visibility.
            parts.peek()?;
            while parts.next_if_eq(&"super").is_some() {
                from.pop();
            }
            from.extend(parts.map(|part| part.chars().take_while(|c| *c != ':').collect()));
            Some(from)
        })
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// All `.rs` files below `dir`.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("readable").flatten();
    let (folders, files): (Vec<_>, Vec<_>) = entries
        .map(|entry| entry.path())
        .partition(|path| path.is_dir());
    let mut all: Vec<_> = folders.iter().flat_map(|folder| sources(folder)).collect();
    all.extend(
        files
            .into_iter()
            .filter(|file| file.extension().is_some_and(|it| it == "rs")),
    );
    all
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn each_layer_knows_only_those_below_it() {
    let mut offences = Vec::new();
    for path in sources(&src()) {
        let file = path.strip_prefix(src()).expect("below it");
        if file == Path::new("main.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8");
        offences.extend(text.lines().zip(1..).filter_map(|(line, number)| {
            let offence = offence(file, line)?;
            Some(format!(
                "{}:{number}: {offence}\n    {line}",
                path.display()
            ))
        }));
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn each_module_of_the_runtime_has_its_place() {
    let mut found: Vec<_> = sources(&src())
        .iter()
        .map(|path| module(path.strip_prefix(src()).expect("below it")))
        .filter(|module| module.len() > 1 && module[0] == "runtime")
        .map(|module| module[1].clone())
        .collect();
    found.sort();
    found.dedup();
    let mut listed = RUNTIME.to_vec();
    listed.sort_unstable();
    assert_eq!(found, listed, "the order is in this file");
}

#[test]
fn lines_that_know_too_much_are_found() {
    for (file, line) in [
        ("types/error.rs", "use crate::runtime::State;"),
        ("types/error.rs", "use super::super::Engine;"),
        ("types/error.rs", "use crate::Session;"),
        ("runtime/group.rs", "use crate::engine::EMBEDDED;"),
        (
            "runtime/group.rs",
            "    let model: Option<crate::Model> = None;",
        ),
        ("runtime/group.rs", "use crate::{"),
        ("runtime/group.rs", "use crate::runtime::{"),
        ("runtime/group.rs", "use crate::runtime::State;"),
        ("runtime/mod.rs", "pub(crate) use super::session::Session;"),
        ("runtime/group/worker.rs", "use super::super::super::Model;"),
        ("runtime/state.rs", "use super::imports::weights;"),
        (
            "runtime/imports/wasi.rs",
            "use super::super::program::Program;",
        ),
        (
            "runtime/memory/sigbus.rs",
            "use crate::runtime::blob::Blob;",
        ),
        ("engine.rs", "use crate::command::args;"),
        ("lib.rs", "mod command;"),
    ] {
        assert!(offence(Path::new(file), line).is_some(), "{file}: {line}");
    }
}

#[test]
fn lines_that_know_what_is_below_are_not() {
    for (file, line) in [
        ("types/error.rs", "    /// See [`Limits`](crate::Limits)."),
        ("types/options.rs", "use super::Source;"),
        ("runtime/mod.rs", "pub(crate) use blob::Blob;"),
        ("runtime/mod.rs", "pub(crate) mod memory;"),
        (
            "runtime/group.rs",
            "pub(crate) fn new() {} // not `crate::Model`",
        ),
        (
            "runtime/group.rs",
            "use crate::types::{CancelHandle, Error};",
        ),
        (
            "runtime/group.rs",
            "use crate::runtime::meeting::{Meeting, Member};",
        ),
        ("runtime/group/worker.rs", "use super::Answer;"),
        ("runtime/group/worker.rs", "pub(super) struct Worker {"),
        ("runtime/last_words.rs", "    use super::*;"),
        (
            "runtime/memory/sigbus.rs",
            "use super::{host_page, zero_pages};",
        ),
        ("runtime/imports/wasi.rs", "use super::super::state::State;"),
        ("engine.rs", "use crate::runtime::Group;"),
        ("command/run.rs", "use crate::command::args::Args;"),
    ] {
        let offence = offence(Path::new(file), line);
        assert_eq!(offence, None, "{file}: {line}");
    }
}

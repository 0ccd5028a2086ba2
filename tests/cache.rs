//! The cache of compiled engines: its problems must never be visible.

use std::path::{Path, PathBuf};
use std::thread;

use crate::helpers::{Gust, Parrot, ParrotFile, gust};

#[test]
fn an_entry_is_made_once_and_used_again() {
    let (parrot, cache) = (parrot(), folder());
    run(&parrot, cache.path());
    let first = entries(cache.path());
    assert_eq!(first.len(), 1, "{first:?}");
    let written = modified(&first[0]);
    run(&parrot, cache.path());
    assert_eq!(entries(cache.path()), first);
    assert_eq!(modified(&first[0]), written);
}

/// The cache runs machine code from a file, so it must not run a file that has changed since it was written.
#[test]
fn an_entry_that_is_broken_is_replaced() {
    let (parrot, cache) = (parrot(), folder());
    run(&parrot, cache.path());
    let entry = entries(cache.path()).remove(0);
    let sound = read(&entry);
    let middle = sound.len() / 2;
    let mut flipped = sound.clone();
    flipped[middle] ^= 1;
    let mut swapped = sound.clone();
    swapped[sound.len() - 1] ^= 0x80;
    for broken in [&[][..], &sound[..middle], &flipped, &swapped] {
        std::fs::write(&entry, broken).unwrap_or_else(|error| panic!("{error}"));
        run(&parrot, cache.path());
        assert!(read(&entry) != broken, "the broken entry is still there");
    }
}

#[test]
fn many_programs_may_start_at_once() {
    let (parrot, cache) = (parrot(), folder());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| run(&parrot, cache.path()));
        }
    });
    assert_eq!(entries(cache.path()).len(), 1);
}

#[test]
fn without_a_place_for_the_cache_it_runs_all_the_same() {
    let (parrot, cache) = (parrot(), folder());
    // There is a file where the folder should be.
    let file = cache.path().join("file");
    std::fs::write(&file, "").unwrap_or_else(|error| panic!("{error}"));
    run(&parrot, &file.join("below"));
    run(&parrot, Path::new(""));
}

/// Anybody could have put code into such a folder. The program says what to do, once, and compiles.
#[cfg(unix)]
#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let (parrot, cache) = (parrot(), folder());
    run(&parrot, cache.path());
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(cache.path(), open).unwrap_or_else(|error| panic!("{error}"));
    let warned = |gust: Gust| {
        let ended = gust.env("GUST_CACHE_DIR", cache.path()).run();
        let warnings = ended.stderr.matches("warning: the cache folder").count();
        assert_eq!(warnings, 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("GUST_CACHE_DIR"), "{}", ended.stderr);
        ended
    };
    let run = gust(["run", "-t", "0", "-n", "3", "--no-echo", "x"]).model(&parrot);
    assert_eq!(warned(run).success(), "abc\n");
    // It loads what is no model of any kind twice: once more for the metadata.
    warned(gust(["inspect"]).model(Path::new("Cargo.toml"))).fails(3, &["GGUF"]);
}

fn run(parrot: &ParrotFile, cache: &Path) {
    let gust: Gust = gust(["run", "-t", "0", "-n", "3", "--no-echo", "x"]).model(parrot);
    assert_eq!(gust.env("GUST_CACHE_DIR", cache).run().success(), "abc\n");
}

fn parrot() -> ParrotFile {
    Parrot::new("abc").file()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"))
}

/// The files in the folder, without those that are being written.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{error}"));
    let paths = entries.map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).path());
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gust-engine")
        })
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{error}"))
}

fn modified(path: &Path) -> std::time::SystemTime {
    let metadata = path.metadata().unwrap_or_else(|error| panic!("{error}"));
    metadata
        .modified()
        .unwrap_or_else(|error| panic!("{error}"))
}

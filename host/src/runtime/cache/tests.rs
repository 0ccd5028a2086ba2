//! The cache, when things happen to its files.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::Config;

use super::*;

/// The smallest component: its code does not matter here.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

fn engine() -> Engine {
    Engine::new(&Config::new()).expect("a valid configuration")
}

/// Whether the component had to be compiled.
fn compiles(engine: &Engine, component: &[u8], dir: &Path) -> bool {
    let (compiled_now, told) = outcome(engine, component, dir);
    assert_eq!(told, [""; 0], "nothing is wrong");
    compiled_now
}

/// Whether the component had to be compiled, and what was said about the cache.
fn outcome(engine: &Engine, component: &[u8], dir: &Path) -> (bool, Vec<String>) {
    let (compiled_now, told) = (Cell::new(false), RefCell::new(Vec::new()));
    let listeners = Listeners {
        on_compile: &|| compiled_now.set(true),
        on_distrust: &|text| told.borrow_mut().push(text.to_owned()),
    };
    compiled(engine, component, Some(dir), &listeners).expect("a valid component");
    (compiled_now.get(), told.into_inner())
}

/// The one file in a folder.
fn only_file(dir: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(dir).expect("readable").flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].path()
}

#[test]
fn the_second_time_it_is_there() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    assert!(compiles(&engine, EMPTY, dir.path()));
    assert!(!compiles(&engine, EMPTY, dir.path()));
    assert!(
        !compiles(&self::engine(), EMPTY, dir.path()),
        "another engine with the same settings"
    );
}

#[test]
fn other_components_and_settings_have_other_entries() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    assert!(compiles(&engine, EMPTY, dir.path()));
    let other = [EMPTY, b"\0\x02\x01x"].concat(); // the same with a custom section
    assert!(compiles(&engine, &other, dir.path()));
    let interruptible = Engine::new(Config::new().epoch_interruption(true)).expect("valid");
    assert!(compiles(&interruptible, EMPTY, dir.path()));
    assert!(!compiles(&engine, EMPTY, dir.path()));
}

#[test]
fn a_damaged_entry_is_replaced() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    compiles(&engine, EMPTY, dir.path());
    let entry = only_file(dir.path());
    let sound = fs::read(&entry).expect("readable");
    let flipped = |place: usize| {
        let mut bytes = sound.clone();
        bytes[place] ^= 1;
        bytes
    };
    let damaged = [
        Vec::new(),
        sound[..MAGIC.len()].to_vec(),
        sound[..sound.len() / 2].to_vec(),
        sound[..sound.len() - 1].to_vec(),
        [&sound[..], b"more"].concat(),
        flipped(0),
        flipped(MAGIC.len()),
        flipped(MAGIC.len() + 32),
        flipped(sound.len() - 1),
    ];
    for bytes in damaged {
        fs::write(&entry, &bytes).expect("writable");
        assert!(
            compiles(&engine, EMPTY, dir.path()),
            "{} bytes were accepted",
            bytes.len()
        );
        assert!(
            !compiles(&engine, EMPTY, dir.path()),
            "the entry was not replaced"
        );
    }
}

/// An entry with a valid checksum that Wasmtime still does not load, for example one written by another version.
#[test]
fn a_stale_entry_is_replaced() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    compiles(&engine, EMPTY, dir.path());
    let entry = only_file(dir.path());
    write(&entry, b"not what Wasmtime has written").expect("writable");
    assert!(compiles(&engine, EMPTY, dir.path()));
    assert!(!compiles(&engine, EMPTY, dir.path()));
}

#[test]
fn starting_at_the_same_time_is_safe() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    let compilations = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let listeners = Listeners {
                        on_compile: &|| _ = compilations.fetch_add(1, Ordering::Relaxed),
                        on_distrust: &|text| panic!("{text}"),
                    };
                    let compiled = compiled(&engine, EMPTY, Some(dir.path()), &listeners);
                    compiled.expect("a valid component");
                }
            });
        }
    });
    assert!(
        (1..=8).contains(&compilations.into_inner()),
        "each thread compiles once at most"
    );
    only_file(dir.path());
    assert!(!compiles(&engine, EMPTY, dir.path()));
}

#[test]
fn a_folder_that_cannot_be_used_is_no_error() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    let file = dir.path().join("file");
    fs::write(&file, b"").expect("writable");
    for _ in 0..2 {
        assert!(compiles(&engine, EMPTY, &file), "a file is no folder");
        assert!(
            compiles(&engine, EMPTY, &file.join("below")),
            "a file contains no folder"
        );
        assert!(
            compiles(&engine, EMPTY, Path::new("/proc/gust")),
            "no folder can be created there"
        );
    }
}

#[cfg(unix)]
mod of_others {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::process::Command;

    use super::*;

    /// Compiles into `dir`, spoils the cache, and returns what is said about it. What is said once must be the reason,
    /// and the code must not come from the cache.
    fn told_after(spoil: impl FnOnce(&Path)) -> String {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
        assert!(compiles(&engine, EMPTY, dir.path()));
        spoil(dir.path());
        let (compiled, told) = outcome(&engine, EMPTY, dir.path());
        assert!(
            compiled,
            "code from a cache that is not ours alone was used"
        );
        let [told] = &told[..] else {
            panic!("expected one sentence, found {told:?}")
        };
        told.clone()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        for mode in [0o777, 0o770, 0o702] {
            let told = told_after(|dir| set_mode(dir, mode));
            assert!(told.contains(&format!("{mode:03o}")), "{told}");
            assert!(told.contains("GUST_CACHE_DIR"), "{told}");
        }
        let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
        compiles(&engine, EMPTY, dir.path());
        set_mode(dir.path(), 0o500);
        assert!(!compiles(&engine, EMPTY, dir.path()), "reading is enough");
    }

    /// Root can make a folder of somebody else's. For others, root's own is one.
    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let given_away = chown(dir.path(), Some(12_345), None).is_ok();
        let theirs = if given_away {
            dir.path()
        } else {
            Path::new("/")
        };
        for _ in 0..2 {
            let (compiled, told) = outcome(&engine(), EMPTY, theirs);
            assert!(compiled);
            assert!(told.concat().contains("belongs to user"), "{told:?}");
        }
        if given_away {
            let files = fs::read_dir(theirs).expect("readable").count();
            assert_eq!(files, 0, "something was written there");
        }
    }

    #[test]
    fn an_entry_of_somebody_else_is_replaced() {
        let told = told_after(|dir| set_mode(&only_file(dir), 0o666));
        assert!(told.contains("666"), "{told}");
        let told = told_after(|dir| {
            fs::hard_link(only_file(dir), dir.join("second name")).expect("a link");
        });
        assert!(told.contains("hard links"), "{told}");
    }

    #[test]
    fn links_and_pipes_are_not_followed() {
        let told = told_after(|dir| {
            let entry = only_file(dir);
            let moved = dir.join("elsewhere");
            fs::rename(&entry, &moved).expect("it is ours");
            symlink(&moved, &entry).expect("a link");
        });
        assert!(told.contains("symbolic link"), "{told}");
        let told = told_after(|dir| {
            let entry = only_file(dir);
            fs::remove_file(&entry).expect("it is ours");
            let made = Command::new("mkfifo").arg(&entry).status();
            assert!(made.expect("mkfifo").success());
        });
        assert!(told.contains("not a regular file"), "{told}");

        let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        assert!(compiles(&engine, EMPTY, &real));
        symlink(&real, &link).expect("a link");
        let (compiled, told) = outcome(&engine, EMPTY, &link);
        assert!(
            compiled && told.concat().contains("symbolic link"),
            "{told:?}"
        );
    }
}

#[test]
fn missing_folders_are_made_for_the_user_alone() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    let below = dir.path().join("a/b");
    assert!(compiles(&engine, EMPTY, &below));
    assert!(!compiles(&engine, EMPTY, &below));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(below.metadata().expect("it was made").mode() & 0o777, 0o700);
    }
}

#[test]
fn the_oldest_entries_are_removed() {
    let (engine, dir) = (engine(), tempfile::tempdir().expect("a folder"));
    let component = |number: u8| [EMPTY, &[0, 2, 1, number]].concat();
    for number in 0..=KEPT as u8 {
        assert!(compiles(&engine, &component(number), dir.path()));
        // File times may not be finer than this.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!compiles(&engine, &component(1), dir.path()));
    assert!(
        compiles(&engine, &component(0), dir.path()),
        "it was the oldest"
    );
}

//! The promises of mapping, tested on regions and under running WebAssembly.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;

use tempfile::NamedTempFile;
use wasmtime::{Config, Engine, Instance, MemoryType, Module, Store, TypedFunc};

use super::*;

const PAGE: u64 = WASM_PAGE;

/// A call into the system that a test can make fail.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Call {
    MapFile,
    Restore,
}

thread_local! {
    /// The calls of this thread that fail, with the number of the error.
    static FAILING: Cell<&'static [(Call, i32)]> = const { Cell::new(&[]) };
    /// What the mappings of regions made on this thread belong to, instead of the process.
    pub(super) static LIMITED: Cell<Option<&'static Mappings>> = const { Cell::new(None) };
}

/// The error that `call` fails with.
pub(super) fn injected(call: Call) -> Option<io::Error> {
    let failing = FAILING.get().iter().find(|(failing, _)| *failing == call);
    failing.map(|(_, number)| io::Error::from_raw_os_error(*number))
}

/// Runs `work` with room for `limit` mappings in the memories that it makes on this thread. Returns its result, and how
/// many of them are left.
pub(crate) fn with_mappings<T>(limit: usize, work: impl FnOnce() -> T) -> (T, usize) {
    let limited: &Mappings = Box::leak(Box::new(Mappings::new(limit)));
    let before = LIMITED.replace(Some(limited));
    let result = work();
    LIMITED.set(before);
    (result, limited.used())
}

/// A memory of four pages, and its region.
fn memory() -> (Box<dyn LinearMemory>, Arc<Region>) {
    let (memory, regions) = observe(new_memory);
    let [region] = &regions[..] else {
        panic!("expected one region, found {}", regions.len())
    };
    let region = region.upgrade().expect("the memory is alive");
    (memory, region)
}

fn new_memory() -> Box<dyn LinearMemory> {
    let minimum = 4 * PAGE as usize;
    let memory = Creator.new_memory(
        MemoryType::new(4, None),
        minimum,
        None,
        Some(1 << 32),
        1 << 25,
    );
    memory.expect("address space")
}

/// A file of `length` bytes, none of them zero, each of which depends on its offset.
fn file(length: u64) -> (NamedTempFile, File) {
    let mut file = NamedTempFile::new().expect("a temporary file");
    let bytes: Vec<u8> = (0..length).map(byte_at).collect();
    file.write_all(&bytes).expect("space for a temporary file");
    let opened = file.reopen().expect("the file was just made");
    (file, opened)
}

fn byte_at(offset: u64) -> u8 {
    (offset / PAGE * 31 + offset % 251 % 200) as u8 | 1
}

fn read(memory: &dyn LinearMemory, address: u64) -> u8 {
    assert!(address < memory.byte_size() as u64);
    // SAFETY: within the accessible part of a memory that is alive.
    unsafe { memory.as_ptr().add(address as usize).read_volatile() }
}

fn write(memory: &dyn LinearMemory, address: u64, byte: u8) {
    assert!(address < memory.byte_size() as u64);
    // SAFETY: within the accessible part of a memory that is alive.
    unsafe { memory.as_ptr().add(address as usize).write_volatile(byte) }
}

#[test]
fn a_file_is_mapped_where_it_was_asked_for_and_nowhere_else() {
    let (memory, region) = memory();
    let (_path, file) = file(2 * PAGE + 100);
    for address in 0..4 * PAGE {
        write(&*memory, address, 255);
    }
    region
        .map_file(&file, 2 * PAGE + 100, PAGE, PAGE + 100, PAGE)
        .expect("a valid mapping");
    for address in (0..PAGE).chain(3 * PAGE..4 * PAGE) {
        assert_eq!(read(&*memory, address), 255, "{address}");
    }
    for place in 0..PAGE + 100 {
        assert_eq!(
            read(&*memory, PAGE + place),
            byte_at(PAGE + place),
            "{place}"
        );
    }
    // Everything up to the next multiple of 65,536 can be touched: zeros to the end of the system's page, then the old
    // bytes.
    assert_eq!(read(&*memory, 2 * PAGE + 100), 0);
    assert_eq!(read(&*memory, 3 * PAGE - 1), 255);
}

#[test]
fn what_is_written_stays_in_the_memory() {
    let (memory, region) = memory();
    let (path, file) = file(PAGE);
    region
        .map_file(&file, PAGE, 0, PAGE, 0)
        .expect("a valid mapping");
    write(&*memory, 7, 77);
    assert_eq!(read(&*memory, 7), 77);
    assert_eq!(std::fs::read(path.path()).expect("readable")[7], byte_at(7));
}

/// A guest that maps every other page: each splits the memory once more. Its memory is larger than what it may map.
#[test]
fn there_are_only_so_many_mappings() {
    let (_path, file) = file(PAGE);
    let ((), left) = with_mappings(100, || {
        let (mut memory, region) = memory();
        memory.grow_to(400 * PAGE as usize).expect("address space");
        let map = |place: u64| region.map_file(&file, PAGE, 0, PAGE, place * PAGE);
        let outcomes: Vec<_> = (0..200).map(|i| map(2 * i)).collect();
        let mapped = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!((40..50).contains(&mapped), "{mapped}");
        let refused = |outcome: &Result<(), MapError>| *outcome == Err(MapError::Unsupported);
        assert!(outcomes[mapped..].iter().all(refused));
        assert_eq!(read(&*memory, 0), byte_at(0));
        // What it has is its own: it can be mapped again, and written to.
        write(&*memory, 399 * PAGE, 7);
    });
    assert_eq!(left, 0, "a memory that is gone gives back its mappings");
}

/// Neighbours of one file are one mapping, for the kernel and for the count.
#[test]
fn a_file_that_is_mapped_in_pieces_counts_once() {
    let (_path, file) = file(200 * PAGE);
    with_mappings(8, || {
        let (mut memory, region) = memory();
        memory.grow_to(200 * PAGE as usize).expect("address space");
        let start = memory.as_ptr().addr();
        for place in (0..200).map(|i| i * PAGE) {
            let mapped = region.map_file(&file, 200 * PAGE, place, PAGE, place);
            mapped.expect("it continues the one before it");
        }
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        let within = maps.lines().filter(|line| {
            let address = line.split('-').next().expect("a range");
            let address = usize::from_str_radix(address, 16).expect("an address");
            (start..start + 200 * PAGE as usize).contains(&address)
        });
        assert_eq!(within.count(), 1, "the kernel has merged them");
    });
}

#[test]
fn a_mapping_that_fails_leaves_zeros() {
    let (memory, region) = memory();
    let (_path, file) = file(PAGE);
    for (number, expected) in [
        (libc::ENODEV, MapError::Unsupported),
        (libc::ENOMEM, MapError::Unsupported),
        (
            libc::EIO,
            MapError::Io(io::Error::from_raw_os_error(libc::EIO).to_string()),
        ),
    ] {
        write(&*memory, PAGE, 7);
        FAILING.set(Box::leak(Box::new([(Call::MapFile, number)])));
        let failed = region.map_file(&file, PAGE, 0, PAGE, PAGE);
        FAILING.set(&[]);
        assert_eq!(failed, Err(expected));
        assert_eq!(read(&*memory, PAGE), 0);
    }
    region
        .map_file(&file, PAGE, 0, PAGE, PAGE)
        .expect("nothing is lost");
}

/// The process goes on when not even the way back works. The memory is not used any more, and the addresses that may
/// belong to somebody else are left alone.
#[test]
fn a_mapping_that_cannot_be_undone_ends_the_memory_and_not_the_process() {
    let (memory, region) = memory();
    let (_path, file) = file(PAGE);
    let start = memory.as_ptr().addr();
    FAILING.set(&[(Call::MapFile, libc::EIO), (Call::Restore, libc::ENOMEM)]);
    let failed = region.map_file(&file, PAGE, 0, PAGE, PAGE);
    FAILING.set(&[]);
    assert!(matches!(failed, Err(MapError::Lost(_))), "{failed:?}");
    for address in [0, PAGE] {
        let again = region.map_file(&file, PAGE, 0, PAGE, address);
        assert!(matches!(again, Err(MapError::Lost(_))), "{again:?}");
    }
    drop((memory, region));
    let hole = start + PAGE as usize..start + 2 * PAGE as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    let is_kept = maps.lines().any(|line| {
        let (range, _) = line.split_once(' ').expect("a range");
        let (from, to) = range.split_once('-').expect("two addresses");
        let address = |hex| usize::from_str_radix(hex, 16).expect("an address");
        address(from) <= hole.start && hole.end <= address(to)
    });
    assert!(is_kept, "the hole was given back to the system");
}

#[test]
fn ranges_outside_the_file_are_refused() {
    let (_memory, region) = memory();
    let (_path, file) = file(2 * PAGE);
    let size = 2 * PAGE;
    for (offset, length) in [
        (0, size + 1),
        (PAGE, PAGE + 1),
        (size, 1),
        (3 * PAGE, 0),
        (u64::MAX - PAGE + 1, PAGE),
        (PAGE, u64::MAX),
    ] {
        let refused = region.map_file(&file, size, offset, length, 0);
        assert_eq!(
            refused,
            Err(MapError::OutOfRange(size)),
            "{offset} {length}"
        );
    }
}

#[test]
fn ranges_outside_the_memory_are_refused() {
    let (_memory, region) = memory();
    let (_path, file) = file(5 * PAGE);
    for (length, address) in [
        (PAGE, 4 * PAGE),
        (3 * PAGE + 1, PAGE), // the rest of its last page is not within the memory
        (5 * PAGE, 0),
        (1, u64::MAX - PAGE + 1),
        (PAGE, 1 << 32),
        (0, 5 * PAGE),
    ] {
        let refused = region.map_file(&file, 5 * PAGE, 0, length, address);
        assert_eq!(
            refused,
            Err(MapError::OutOfRange(4 * PAGE)),
            "{length} {address}"
        );
    }
}

#[test]
fn what_is_not_aligned_is_refused() {
    let (_memory, region) = memory();
    let (_path, file) = file(2 * PAGE);
    for (offset, address) in [(1, 0), (4096, 0), (0, 1), (0, 4096), (PAGE - 1, PAGE + 1)] {
        let refused = region.map_file(&file, 2 * PAGE, offset, 10, address);
        assert!(
            matches!(refused, Err(MapError::OutOfRange(_))),
            "{offset} {address}"
        );
    }
}

#[test]
fn nothing_can_be_mapped_anywhere_and_changes_nothing() {
    let (memory, region) = memory();
    let (_path, file) = file(PAGE);
    write(&*memory, 0, 9);
    region
        .map_file(&file, PAGE, 0, 0, 0)
        .expect("an empty range");
    region
        .map_file(&file, PAGE, PAGE, 0, 4 * PAGE)
        .expect("an empty range at both ends");
    assert_eq!(read(&*memory, 0), 9);
}

#[test]
fn of_two_mappings_that_overlap_the_later_one_counts() {
    let (memory, region) = memory();
    let (_path, file) = file(3 * PAGE);
    region
        .map_file(&file, 3 * PAGE, 0, 2 * PAGE, 0)
        .expect("a valid mapping");
    region
        .map_file(&file, 3 * PAGE, 2 * PAGE, PAGE, PAGE)
        .expect("a valid mapping");
    assert_eq!(read(&*memory, 5), byte_at(5));
    assert_eq!(read(&*memory, PAGE + 5), byte_at(2 * PAGE + 5));
}

#[test]
fn a_memory_grows_after_a_mapping() {
    let (mut memory, region) = memory();
    let (_path, file) = file(PAGE);
    region
        .map_file(&file, PAGE, 0, PAGE, 3 * PAGE)
        .expect("a valid mapping");
    let base = memory.as_ptr();
    memory.grow_to(6 * PAGE as usize).expect("room to grow");
    assert_eq!(memory.as_ptr(), base);
    assert_eq!(region.size(), 6 * PAGE);
    assert_eq!(read(&*memory, 3 * PAGE + 9), byte_at(9));
    assert_eq!(read(&*memory, 6 * PAGE - 1), 0);
    region
        .map_file(&file, PAGE, 0, PAGE, 5 * PAGE)
        .expect("within the new size");
    assert_eq!(read(&*memory, 5 * PAGE + 9), byte_at(9));
    memory
        .grow_to((1 << 32) + 1)
        .expect_err("more than 32 bits can address");
}

#[test]
fn a_region_goes_with_its_memory() {
    let (path, file) = file(PAGE);
    let (memory, regions) = observe(new_memory);
    let region = regions[0].upgrade().expect("the memory is alive");
    region
        .map_file(&file, PAGE, 0, PAGE, 0)
        .expect("a valid mapping");
    let start = region.start;
    assert!(is_mapped(start));
    drop(region);
    assert!(is_mapped(start), "the memory keeps the region alive");
    drop(memory);
    assert!(regions[0].upgrade().is_none());
    // A thread of another test may have been given these addresses since; then they no longer belong to the file.
    let lines = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    let path = path.path().display().to_string();
    assert!(
        !lines.lines().any(|line| line.ends_with(&path)),
        "the file is still mapped"
    );
}

/// The guard in front is as large as the one behind.
#[test]
fn nothing_in_front_of_a_memory_can_be_touched() {
    let (memory, _region) = memory();
    let start = memory.as_ptr().addr();
    let guard = start - (1 << 25)..start;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    let is_guarded = maps.lines().any(|line| {
        let mut words = line.split(' ');
        let (from, to) = words
            .next()
            .and_then(|range| range.split_once('-'))
            .expect("a range");
        let address = |hex| usize::from_str_radix(hex, 16).expect("an address");
        address(from) <= guard.start && guard.end <= address(to) && words.next() == Some("---p")
    });
    assert!(is_guarded, "{guard:x?}\n{maps}");
}

fn is_mapped(address: usize) -> bool {
    let lines = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    lines.lines().any(|line| {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let (start, end) = range.expect("a range at the beginning of each line");
        let number = |text| usize::from_str_radix(text, 16).expect("a hexadecimal number");
        (number(start)..number(end)).contains(&address)
    })
}

#[test]
fn memories_made_elsewhere_are_not_observed() {
    let ((), regions) = observe(|| {
        std::thread::spawn(|| drop(new_memory()))
            .join()
            .expect("no panic");
    });
    assert!(regions.is_empty());
    let (memories, regions) = observe(|| (new_memory(), new_memory()));
    assert_eq!(regions.len(), 2);
    drop(memories);
}

#[test]
fn the_end_of_a_file_that_was_cut_reads_as_zeros_and_is_noticed() {
    let (memory, region) = memory();
    let (path, file) = file(4 * PAGE);
    region
        .map_file(&file, 4 * PAGE, 0, 4 * PAGE, 0)
        .expect("a valid mapping");
    assert_eq!(read(&*memory, 3 * PAGE), byte_at(3 * PAGE));
    path.as_file()
        .set_len(2 * PAGE)
        .expect("a file can be truncated");
    assert!(!region.file_was_cut(), "nothing has been read yet");
    assert_eq!(read(&*memory, 2 * PAGE - 1), byte_at(2 * PAGE - 1));
    assert!(!region.file_was_cut(), "this part is still there");
    assert_eq!(read(&*memory, 3 * PAGE + 5), 0);
    assert!(region.file_was_cut());
    assert!(matches!(
        region.map_file(&file, 4 * PAGE, 2 * PAGE, PAGE, 0),
        Err(MapError::Io(reason)) if reason.contains("truncated to 131072 bytes")
    ));
    // Another memory, at the same addresses or elsewhere, starts without the mark.
    drop((memory, region));
    let (_memory, region) = self::memory();
    assert!(!region.file_was_cut());
}

/// A module that reads, writes, grows, copies, and has its own data, in memories of ours.
const MODULE: &str = r#"(module
    (memory (export "memory") 2)
    (data (i32.const 65536) "data")
    (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "copy") (param i32 i32 i32)
        (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "sum") (param $from i32) (param $to i32) (result i32)
        (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $from))))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $from) (local.get $to))))
        (local.get $sum)))"#;

struct Wasm {
    store: Store<()>,
    instance: Instance,
    region: Weak<Region>,
}

impl Wasm {
    fn new() -> Wasm {
        Self::with(&mut Config::new())
    }

    fn with(config: &mut Config) -> Wasm {
        config
            .with_host_memory(Arc::new(Creator))
            .memory_init_cow(false);
        let engine = Engine::new(config).expect("a valid configuration");
        let binary = wat::parse_str(MODULE).expect("valid text");
        let module = Module::new(&engine, binary).expect("a valid module");
        let mut store = Store::new(&engine, ());
        let (instance, mut regions) = observe(|| Instance::new(&mut store, &module, &[]));
        assert_eq!(regions.len(), 1);
        let region = regions.remove(0);
        Wasm {
            store,
            instance: instance.expect("no imports"),
            region,
        }
    }

    fn call(&mut self, name: &str, argument: i32) -> wasmtime::Result<i32> {
        let function: TypedFunc<i32, i32> = self.instance.get_typed_func(&mut self.store, name)?;
        function.call(&mut self.store, argument)
    }
}

#[test]
fn webassembly_sees_its_data_the_file_and_its_limits() {
    let mut wasm = Wasm::new();
    let (_path, file) = file(PAGE + 9);
    assert_eq!(
        wasm.call("read", PAGE as i32 + 1).expect("in range"),
        i32::from(b'a')
    );
    assert_eq!(wasm.call("grow", 2).expect("no trap"), 2);
    let region = wasm.region.upgrade().expect("alive");
    assert_eq!(region.size(), 4 * PAGE);
    region
        .map_file(&file, PAGE + 9, 0, PAGE + 9, 2 * PAGE)
        .expect("a valid mapping");
    let address = (3 * PAGE + 8) as i32;
    assert_eq!(
        wasm.call("read", address).expect("in range"),
        i32::from(byte_at(PAGE + 8))
    );
    let trap = wasm
        .call("read", 4 * PAGE as i32)
        .expect_err("out of range");
    assert_eq!(
        trap.downcast_ref(),
        Some(&wasmtime::Trap::MemoryOutOfBounds)
    );
    assert_eq!(
        wasm.call("read", -1)
            .expect_err("out of range")
            .downcast_ref(),
        Some(&wasmtime::Trap::MemoryOutOfBounds)
    );
    assert_eq!(
        wasm.call("grow", 1 << 16).expect("no trap"),
        -1,
        "4 GiB is the limit"
    );
    drop(region);
    drop(wasm.store);
    assert!(wasm.region.upgrade().is_none());
}

/// What is reserved as needed works the same, except that nothing is mapped into it.
#[test]
fn a_memory_without_a_reservation_grows_in_its_place() {
    let small = || {
        let mut config = Config::new();
        config
            .memory_reservation(AS_NEEDED)
            .memory_guard_size(PAGE)
            .memory_may_move(false);
        Wasm::with(&mut config)
    };
    let (mut wasm, mut other) = (small(), small());
    let region = wasm.region.upgrade().expect("alive");
    let reserved = || region.reserved.load(Ordering::Relaxed) as u64;
    assert_eq!((region.size(), reserved()), (2 * PAGE, 3 * PAGE));
    for (pages, before) in [(2, 2), (1000, 4), (1, 1004)] {
        assert_eq!(wasm.call("grow", pages).expect("no trap"), before);
        other.call("grow", 1).expect("no trap");
    }
    assert_eq!((region.size(), reserved()), (1005 * PAGE, 1006 * PAGE));
    assert_eq!(
        other.region.upgrade().map(|region| region.size()),
        Some(5 * PAGE)
    );
    let data = wasm.call("read", PAGE as i32).expect("in range");
    assert_eq!(data, i32::from(b'd'));
    let last = (1005 * PAGE - 1) as i32;
    assert_eq!(wasm.call("read", last).expect("in range"), 0);
    for outside in [last + 1, last + 1 + PAGE as i32, i32::MAX, -1] {
        let trap = wasm.call("read", outside).expect_err("out of range");
        let expected = wasmtime::Trap::MemoryOutOfBounds;
        assert_eq!(trap.downcast_ref(), Some(&expected), "{outside}");
    }
    assert_eq!(wasm.call("grow", 1 << 16).expect("no trap"), -1);
    let (_path, file) = file(PAGE);
    let mapped = region.map_file(&file, PAGE, 0, PAGE, 0);
    assert_eq!(mapped, Err(MapError::Unsupported));
}

#[test]
fn webassembly_survives_a_file_that_was_cut() {
    let mut wasm = Wasm::new();
    let (path, file) = file(2 * PAGE);
    let region = wasm.region.upgrade().expect("alive");
    region
        .map_file(&file, 2 * PAGE, 0, 2 * PAGE, 0)
        .expect("a valid mapping");
    let copy: TypedFunc<(i32, i32, i32), ()> = wasm
        .instance
        .get_typed_func(&mut wasm.store, "copy")
        .expect("it is exported");
    let sum: TypedFunc<(i32, i32), i32> = wasm
        .instance
        .get_typed_func(&mut wasm.store, "sum")
        .expect("it is exported");
    path.as_file().set_len(0).expect("a file can be truncated");
    assert_eq!(
        sum.call(&mut wasm.store, (0, 2 * PAGE as i32))
            .expect("no trap"),
        0
    );
    assert!(region.file_was_cut());

    // The copy runs in Wasmtime's own code, which also faults.
    region
        .map_file(&self::file(2 * PAGE).1, 2 * PAGE, 0, PAGE, 0)
        .expect("another file");
    let (path, file) = self::file(2 * PAGE);
    region
        .map_file(&file, 2 * PAGE, PAGE, PAGE, PAGE)
        .expect("a valid mapping");
    path.as_file()
        .set_len(PAGE)
        .expect("a file can be truncated");
    copy.call(&mut wasm.store, (0, PAGE as i32, 100))
        .expect("no trap");
    assert_eq!(wasm.call("read", 50).expect("in range"), 0);
}

/// Faults that are not ours are passed on: a fault elsewhere ends the process, as it would without our handler.
#[test]
fn a_fault_elsewhere_still_ends_the_process() {
    const ROLE: &str = "GUST_TEST_FAULTS";
    if std::env::var_os(ROLE).is_none() {
        let child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "runtime::memory::tests::a_fault_elsewhere_still_ends_the_process",
            ])
            .env(ROLE, "1")
            .output()
            .expect("this program can be started");
        let signal = std::os::unix::process::ExitStatusExt::signal(&child.status);
        assert_eq!(signal, Some(libc::SIGBUS), "{child:?}");
        return;
    }
    let (_memory, region) = memory();
    let (_path, file) = file(PAGE);
    region
        .map_file(&file, PAGE, 0, PAGE, 0)
        .expect("the handler is installed");
    let empty = tempfile::tempfile().expect("a temporary file");
    // SAFETY: a new mapping, which is accessed past the end of its file: that is the fault.
    unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            host_page(),
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            empty.as_raw_fd(),
            0,
        );
        assert_ne!(page, libc::MAP_FAILED);
        page.cast::<u8>().read_volatile();
    }
    panic!("expected the fault to end the process");
}

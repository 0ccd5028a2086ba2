//! Linear memories that the host owns, so that it can map files into them.
//!
//! Wasmtime asks a [`MemoryCreator`](wasmtime::MemoryCreator) for each linear memory. Ours reserves address space,
//! hands it out as the memory grows, and keeps a [`Region`] for it, through which [`Region::map_file`] can put a file's
//! pages where the engine wants its weights. [`observe`] links the memories created while it runs to the instance being
//! made.
//!
//! All `unsafe` code for mapping is in here and in [`sigbus`]. Why it is sound, once for the whole module:
//!
//! - *Who owns the addresses.* A `Region` owns its reservation from its `mmap` to the `munmap` in its `Drop`. Every
//!   other call (`mprotect`, `mmap` with `MAP_FIXED`) stays within it, which is checked where the call is made.
//!   Wasmtime holds the only `Arc` of a region; everything else holds a `Weak`, so that the region is dropped when
//!   Wasmtime drops the memory.
//! - *What compiled code relies on.* The base never moves, `size` bytes from it can be read and written, and everything
//!   else up to the end of the guard faults. So does as much in front of it, on which nothing relies: should a compiler
//!   ever get the sign of an offset wrong, there is nothing to find. Growing only adds pages. Mapping a file replaces pages below `size` with
//!   pages that can be read and written too.
//! - *What is lost.* If a file's pages cannot be mapped, and empty ones cannot be put back in place of those that were
//!   there, there may be a hole in the memory, into which the system may put pages of somebody else's. The region
//!   remembers it ([`MapError::Lost`]): nothing is mapped into such a memory any more, the call ends with a trap, which
//!   is the end of the instance, and dropping the region leaves the hole alone.
//! - *Who else has access.* A file is mapped only inside a call that the engine makes to the host. The thread that runs
//!   the store is the one that maps, Wasmtime has handed out no reference into the memory (the arguments are numbers),
//!   and the engine itself asked for the change.
//! - *The file.* `MAP_PRIVATE`: what the engine writes stays in its memory. If the file is truncated, pages past its
//!   new end raise `SIGBUS`, which [`sigbus`] turns into zeros and a mark. If it is overwritten in place, the engine
//!   may see other bytes, which it trusts no more than any others, until the end of the call, when the host looks at
//!   the file's times.

#![expect(
    unsafe_code,
    reason = "owns the linear memories, and maps files into them"
)]

mod mappings;
mod sigbus;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use mappings::{Layout, Mapped, Mappings};

/// The size of a page of WebAssembly memory. `map-pages` requires offsets and addresses to be multiples of it.
pub(crate) const WASM_PAGE: u64 = 65_536;

/// What a program asks for, as `Config::memory_reservation`, if memories shall take no more address space than they have
/// bytes. They begin in places that are far from each other, and are extended there as they grow.
pub(crate) const AS_NEEDED: u64 = 0;

/// Why a file could not be mapped.
#[derive(Debug, PartialEq)]
pub(crate) enum MapError {
    /// The range is not within the file, not within the memory, or not aligned. Carries the size of what it exceeds.
    OutOfRange(u64),
    /// Files cannot be mapped here at all, or not one more.
    Unsupported,
    /// The system refused. Carries its reason.
    Io(String),
    /// The system refused, and what was there before may be gone: the instance must not run again. Carries the reason.
    Lost(String),
}

/// Makes the linear memories of every store.
pub(crate) struct Creator;

thread_local! {
    /// The regions created on this thread since [`observe`] began; `None` while it is not running.
    static OBSERVED: RefCell<Option<Vec<Weak<Region>>>> = const { RefCell::new(None) };
    /// Whether the system has refused address space for a memory on this thread.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the system has refused address space for a memory on this thread since this was last asked.
pub(crate) fn was_refused() -> bool {
    REFUSED.take()
}

/// The most bytes of address space that this process may use, if there is a limit.
pub(crate) fn address_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a place for the answer.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    (done == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Runs `instantiate` and returns the regions of the memories that were created on this thread meanwhile.
///
/// Wasmtime creates all memories of an instance during instantiation, on the thread that asked for it.
pub(crate) fn observe<T>(instantiate: impl FnOnce() -> T) -> (T, Vec<Weak<Region>>) {
    let before = OBSERVED.replace(Some(Vec::new()));
    let result = instantiate();
    let made = OBSERVED.replace(before).unwrap_or_default();
    (result, made)
}

// SAFETY: the memories are zero-filled (anonymous pages), never move, and have the reservation and the guard that were
// asked for; see the argument at the top of the module.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _type: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let region = match reserved {
            Some(0) => Region::reserve_as_needed(minimum, guard),
            _ => Region::reserve(reserved.unwrap_or(minimum).max(minimum), guard),
        };
        let region = region
            .and_then(|region| region.grow_to(minimum).map(|()| Arc::new(region)))
            .map_err(|error| {
                REFUSED.set(true);
                format!("cannot reserve address space for a linear memory: {error}")
            })?;
        OBSERVED.with_borrow_mut(|observed| {
            if let Some(regions) = observed {
                regions.push(Arc::downgrade(&region));
            }
        });
        Ok(Box::new(Memory(region)))
    }
}

/// What Wasmtime holds: the one `Arc` of a region that keeps it alive.
struct Memory(Arc<Region>);

// SAFETY: `as_ptr` stays the same, and `byte_size` bytes from it are accessible, until the memory is dropped.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.0.size.load(Ordering::Relaxed)
    }

    fn byte_capacity(&self) -> usize {
        self.0.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        Ok(self.0.grow_to(new_size)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.start as *mut u8
    }
}

/// The address space of one linear memory.
#[derive(Debug)]
pub(crate) struct Region {
    /// Address of its first byte. A number, because only this module turns it into a pointer.
    start: usize,
    /// Bytes in front of it that are reserved, too. A memory that is extended as needed has none: nobody puts anything
    /// near it.
    front: usize,
    /// Bytes that it may grow to.
    capacity: usize,
    /// Bytes behind its end that have to fault.
    guard: usize,
    /// Bytes that are reserved: the capacity and the guard, or what is needed so far.
    reserved: AtomicUsize,
    /// Bytes that are accessible.
    size: AtomicUsize,
    /// Its place among the regions whose `SIGBUS` is handled, from the first mapping on. An inner `None` means that all
    /// places were taken.
    watch: OnceLock<Option<sigbus::Watch>>,
    /// What is mapped into it.
    layout: Mutex<Layout>,
    /// What it may no longer touch: pages that could be neither mapped nor restored.
    hole: OnceLock<Range<usize>>,
}

impl Region {
    fn reserve(capacity: usize, guard: usize) -> io::Result<Region> {
        let capacity = capacity.next_multiple_of(host_page());
        let guard = guard.next_multiple_of(host_page());
        let reserved = capacity.checked_add(guard);
        let reserved = reserved.ok_or(io::ErrorKind::OutOfMemory)?.max(host_page());
        let front = guard;
        let whole = reserved.checked_add(front);
        let whole = whole.ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: without `MAP_FIXED`, no existing mapping is touched.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                whole,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Copied weights fill gigabytes: in large pages, the system has fewer of them to prepare. It is only advice: a
        // kernel without large pages refuses it, and nothing is lost.
        // SAFETY: the whole range was just mapped, and the advice does not change what its pages hold.
        unsafe { libc::madvise(start, whole, libc::MADV_HUGEPAGE) };
        Ok(Region {
            start: start as usize + front,
            front,
            capacity,
            guard,
            reserved: AtomicUsize::new(reserved),
            size: AtomicUsize::new(0),
            watch: OnceLock::new(),
            layout: Mutex::new(Layout::new(mappings())),
            hole: OnceLock::new(),
        })
    }

    /// Reserves only `size` bytes and the guard, in a place where the memory can be extended.
    fn reserve_as_needed(size: usize, guard: usize) -> io::Result<Region> {
        /// Far from where the system puts mappings, and far enough apart for all that 32-bit addresses reach.
        const FIRST: usize = 1 << 45;
        const DISTANCE: usize = 1 << 33;
        const PLACES: usize = 1 << 12;
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let size = size.next_multiple_of(host_page());
        let guard = guard.next_multiple_of(host_page());
        let reserved = size + guard;
        for _ in 0..PLACES {
            let start = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % PLACES * DISTANCE;
            match reserve_at(start, reserved) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                done => done?,
            }
            return Ok(Region {
                start,
                front: 0,
                capacity: 1 << 32,
                guard,
                reserved: AtomicUsize::new(reserved),
                size: AtomicUsize::new(0),
                watch: OnceLock::new(),
                layout: Mutex::new(Layout::new(mappings())),
                hole: OnceLock::new(),
            });
        }
        Err(io::ErrorKind::OutOfMemory.into())
    }

    /// Makes sure that `size` bytes and the guard behind them are reserved.
    fn extend_to(&self, size: usize) -> io::Result<()> {
        let reserved = self.reserved.load(Ordering::Relaxed);
        let needed = size + self.guard;
        if needed > reserved {
            reserve_at(self.start + reserved, needed - reserved)?;
            self.reserved.store(needed, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the bytes up to `new_size` accessible; it never shrinks.
    fn grow_to(&self, new_size: usize) -> io::Result<()> {
        let size = self.size.load(Ordering::Relaxed);
        if new_size <= size {
            return Ok(());
        }
        // Whole pages, because accessible and guarded bytes cannot share one.
        if new_size > self.capacity || !new_size.is_multiple_of(host_page()) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.extend_to(new_size)?;
        // SAFETY: `size..new_size` is within the reservation, whose pages are ours, and above everything accessible.
        let done = unsafe {
            libc::mprotect(
                (self.start + size) as *mut libc::c_void,
                new_size - size,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        self.size.store(new_size, Ordering::Relaxed);
        Ok(())
    }

    /// Whether this byte is in the region.
    pub(crate) fn holds(&self, byte: *const u8) -> bool {
        let offset = byte.addr().checked_sub(self.start);
        offset.is_some_and(|offset| (offset as u64) < self.size())
    }

    /// Bytes that are accessible.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed) as u64
    }

    /// Whether a file has been mapped into it.
    pub(crate) fn has_mapped(&self) -> bool {
        matches!(self.watch.get(), Some(Some(_)))
    }

    /// Whether a mapped file was truncated and the engine has read zeros in its place.
    pub(crate) fn file_was_cut(&self) -> bool {
        matches!(self.watch.get(), Some(Some(watch)) if watch.was_hit())
    }

    /// Maps `length` bytes of `file` from `offset` at `address` of the memory, as `map-pages` in `wit/weights.wit`
    /// says. The file was `size` bytes long when the engine was told its size.
    ///
    /// Only call this while the engine is inside a call to the host (see the argument at the top of the module).
    pub(crate) fn map_file(
        &self,
        file: &File,
        size: u64,
        offset: u64,
        length: u64,
        address: u64,
    ) -> Result<(), MapError> {
        if !WASM_PAGE.is_multiple_of(host_page() as u64) {
            return Err(MapError::Unsupported);
        }
        let target = self.check(size, offset, length, address)?;
        if target.is_empty() {
            return Ok(());
        }
        if self.hole.get().is_some() {
            return Err(MapError::Lost("pages of it are lost".to_owned()));
        }
        let present = file
            .metadata()
            .map_err(|error| MapError::Io(error.to_string()))?
            .len();
        if present < offset + length {
            return Err(MapError::Io(format!(
                "the file was truncated to {present} bytes"
            )));
        }
        let start = self.start as *mut u8;
        let watch = self
            .watch
            .get_or_init(|| sigbus::Watch::new(self.start, self.reserved.load(Ordering::Relaxed)));
        if watch.is_none() {
            return Err(MapError::Unsupported);
        }
        let from = libc::off_t::try_from(offset).map_err(|_| MapError::OutOfRange(size))?;
        let mut layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = layout.place_for_one() else {
            return Err(MapError::Unsupported);
        };
        // SAFETY: `check` has found `target` within the accessible part of this region, which is ours and into which
        // no one holds a reference. The new pages can be read and written like those that they replace.
        let mapped = unsafe { file_pages(start.add(target.start), target.len(), file, from) };
        let Err(error) = mapped else {
            let file = file.as_raw_fd();
            layout.put(place, target, Mapped { file, offset });
            return Ok(());
        };
        drop(place);
        // A failed `MAP_FIXED` may have removed the pages that were there. Compiled code and Wasmtime rely on them, so
        // map empty ones.
        // SAFETY: as above.
        if !unsafe { restored_pages(start.add(target.start), target.len()) } {
            let _ = self.hole.set(target);
            return Err(MapError::Lost(error.to_string()));
        }
        match error.raw_os_error() {
            // The file system does not support mapping, or the process may have no more mappings.
            Some(libc::ENODEV | libc::EACCES | libc::EPERM | libc::ENOMEM) => {
                Err(MapError::Unsupported)
            }
            _ => Err(MapError::Io(error.to_string())),
        }
    }

    /// Checks a mapping and returns the range of the memory that it replaces: whole host pages, the last of which holds
    /// zeros past the end of the file. Pages entirely past it are left as they are, because touching them would fault.
    fn check(
        &self,
        size: u64,
        offset: u64,
        length: u64,
        address: u64,
    ) -> Result<Range<usize>, MapError> {
        if !offset.is_multiple_of(WASM_PAGE)
            || offset.checked_add(length).is_none_or(|end| end > size)
        {
            return Err(MapError::OutOfRange(size));
        }
        let end = length
            .checked_next_multiple_of(WASM_PAGE)
            .and_then(|length| address.checked_add(length));
        if !address.is_multiple_of(WASM_PAGE) || end.is_none_or(|end| end > self.size()) {
            return Err(MapError::OutOfRange(self.size()));
        }
        // Below `self.size`, which is a `usize`.
        let address = address as usize;
        Ok(address..address + (length as usize).next_multiple_of(host_page()))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // First drop the watch: once the addresses are released, a fault there is someone else's.
        drop(self.watch.take());
        let first = self.start - self.front;
        let reserved = self.front + *self.reserved.get_mut();
        let hole = match self.hole.take() {
            Some(hole) => self.front + hole.start..self.front + hole.end,
            None => reserved..reserved,
        };
        for part in [0..hole.start, hole.end..reserved] {
            if part.is_empty() {
                continue;
            }
            // SAFETY: the whole reservation belongs to this region, with everything that was mapped into it, except for
            // a hole, which is left out. Wasmtime has dropped the memory, so nothing points into it any more.
            unsafe {
                libc::munmap((first + part.start) as *mut libc::c_void, part.len());
            }
        }
    }
}

/// Replaces the pages of a range with those of `file` from `offset` on.
///
/// # Safety
/// The range must consist of whole pages within the accessible part of a live region, and nothing may depend on its
/// bytes.
unsafe fn file_pages(
    start: *mut u8,
    length: usize,
    file: &File,
    offset: libc::off_t,
) -> io::Result<()> {
    #[cfg(test)]
    if let Some(error) = tests::injected(tests::Call::MapFile) {
        return Err(error);
    }
    // SAFETY: promised by the caller.
    let mapped = unsafe {
        libc::mmap(
            start.cast(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
            file.as_raw_fd(),
            offset,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// [`zero_pages`] after a failure.
///
/// # Safety
/// As for [`zero_pages`].
unsafe fn restored_pages(start: *mut u8, length: usize) -> bool {
    #[cfg(test)]
    if tests::injected(tests::Call::Restore).is_some() {
        return false;
    }
    // SAFETY: promised by the caller.
    unsafe { zero_pages(start, length) }
}

/// The count that a new region's mappings belong to.
fn mappings() -> &'static Mappings {
    #[cfg(test)]
    if let Some(limited) = tests::LIMITED.get() {
        return limited;
    }
    Mappings::of_the_process()
}

/// Reserves `length` bytes at `start`, unless something is there ([`io::ErrorKind::AlreadyExists`]).
fn reserve_at(start: usize, length: usize) -> io::Result<()> {
    // SAFETY: `MAP_FIXED_NOREPLACE` touches no existing mapping: either the addresses are free, or the call fails.
    let mapped = unsafe {
        libc::mmap(
            ptr::without_provenance_mut(start),
            length,
            libc::PROT_NONE,
            libc::MAP_PRIVATE
                | libc::MAP_ANONYMOUS
                | libc::MAP_NORESERVE
                | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if mapped.addr() == start {
        return Ok(());
    }
    // A kernel before 4.17 takes the address for a mere wish.
    // SAFETY: the mapping was just made, and nothing points into it.
    unsafe { libc::munmap(mapped, length) };
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Replaces the pages of a range with zero pages that can be read and written. Returns whether that worked. May be
/// called in a signal handler.
///
/// # Safety
/// The range must consist of whole pages within the accessible part of a live region, and nothing may depend on its
/// bytes.
unsafe fn zero_pages(start: *mut u8, length: usize) -> bool {
    // The pointer is only compared, as an address.
    let wanted = NonNull::new(start.cast::<libc::c_void>());
    // SAFETY: promised by the caller.
    let mapped = unsafe {
        libc::mmap(
            start.cast(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    NonNull::new(mapped) == wanted
}

/// The size of the system's pages in bytes.
fn host_page() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        // SAFETY: no preconditions.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).unwrap_or(4096)
    })
}

#[cfg(test)]
pub(crate) mod tests;

//! Linear memories that the host owns, so that it can map files into them.
//!
//! Wasmtime asks a [`MemoryCreator`](wasmtime::MemoryCreator) for each linear memory. Ours reserves address space, hands
//! it out as the memory grows, and keeps a [`Region`] for it by which [`Region::map_file`] can put a file's pages where
//! the engine wants its weights. [`observe`] ties the memories made while it runs to the instance that is being made.
//!
//! All `unsafe` of mapping is in here and in [`sigbus`]. The argument, once for the whole module:
//!
//! - *Who owns the addresses.* A `Region` owns its reservation from its `mmap` to the `munmap` in its `Drop`. Every other
//!   call (`mprotect`, `mmap` with `MAP_FIXED`) stays within it, which is checked where the call is made. Wasmtime holds
//!   the only `Arc` of a region; all else hold a `Weak`, so that the region goes when Wasmtime gives the memory up.
//! - *What compiled code relies on.* The base never moves, `size` bytes from it can be read and written, everything
//!   else up to the end of the guard faults. Growing only adds pages. Mapping a file replaces pages below `size` by
//!   pages that can be read and written too.
//! - *Who looks on.* A file is mapped only inside a call that the engine makes to the host. The thread that runs the
//!   store is the one that maps, Wasmtime has handed out no reference into the memory (the arguments are
//!   numbers), and the engine asked for the change itself.
//! - *The file.* `MAP_PRIVATE`: what the engine writes stays in its memory. If the file is cut short, pages behind its
//!   new end raise `SIGBUS`, which [`sigbus`] turns into zeros and a mark. If it is overwritten in place, the engine may
//!   see other bytes: to it they are as untrusted as any.

#![expect(
    unsafe_code,
    reason = "owns the linear memories, and maps files into them"
)]

mod sigbus;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// The size of a page of WebAssembly memory, and what `map-pages` wants its offsets and addresses to be multiples of.
pub(crate) const WASM_PAGE: u64 = 65_536;

/// Why a file could not be mapped.
#[derive(Debug, PartialEq)]
pub(crate) enum MapError {
    /// The range is not within the file, not within the memory, or not aligned. Carries the size that it broke.
    OutOfRange(u64),
    /// This cannot be done here at all.
    Unsupported,
    /// The system would not. Carries its reason.
    Io(String),
}

/// Makes the linear memories of every store.
pub(crate) struct Creator;

thread_local! {
    /// The regions made on this thread since [`observe`] began; none where it does not run.
    static OBSERVED: RefCell<Option<Vec<Weak<Region>>>> = const { RefCell::new(None) };
}

/// Runs `instantiate` and gives the regions of the memories that were made meanwhile on this thread.
///
/// Wasmtime makes all memories of an instance while it instantiates, on the thread that asked for it.
pub(crate) fn observe<T>(instantiate: impl FnOnce() -> T) -> (T, Vec<Weak<Region>>) {
    let before = OBSERVED.replace(Some(Vec::new()));
    let result = instantiate();
    let made = OBSERVED.replace(before).unwrap_or_default();
    (result, made)
}

// SAFETY: the memories are zero filled (anonymous pages), never move, and have the reservation and the guard that were
// asked for; see the module's argument.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _type: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.unwrap_or(minimum).max(minimum);
        let region = Region::reserve(capacity, guard)
            .and_then(|region| region.grow_to(minimum).map(|()| Arc::new(region)))
            .map_err(|error| format!("no address space for a linear memory: {error}"))?;
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
    /// Address of its first byte. A number: this module alone makes it a pointer.
    start: usize,
    /// Bytes that it may grow to.
    capacity: usize,
    /// Bytes that are reserved: the capacity and the guard.
    reserved: usize,
    /// Bytes that are accessible.
    size: AtomicUsize,
    /// Its place among the regions whose `SIGBUS` is handled, from the first mapping on. `None` inside: all were taken.
    watch: OnceLock<Option<sigbus::Watch>>,
}

impl Region {
    fn reserve(capacity: usize, guard: usize) -> io::Result<Region> {
        let capacity = capacity.next_multiple_of(host_page());
        let reserved = capacity.checked_add(guard.next_multiple_of(host_page()));
        let reserved = reserved.ok_or(io::ErrorKind::OutOfMemory)?.max(host_page());
        // SAFETY: without `MAP_FIXED`, so that nothing that exists is touched.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                reserved,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Region {
            start: start as usize,
            capacity,
            reserved,
            size: AtomicUsize::new(0),
            watch: OnceLock::new(),
        })
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
        // SAFETY: `size..new_size` is within the reservation, whose pages are ours, and above all that is accessible.
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

    /// Whether this byte is in it.
    pub(crate) fn holds(&self, byte: *const u8) -> bool {
        let offset = byte.addr().checked_sub(self.start);
        offset.is_some_and(|offset| (offset as u64) < self.size())
    }

    /// Bytes that are accessible.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed) as u64
    }

    /// Whether a file was cut short under a mapping and the engine has read zeros in its place.
    pub(crate) fn file_was_cut(&self) -> bool {
        matches!(self.watch.get(), Some(Some(watch)) if watch.was_hit())
    }

    /// Puts `length` bytes of `file` from `offset` at `address` of the memory, as `map-pages` in `wit/weights.wit` says.
    /// The file was `size` bytes long when the engine was told its size.
    ///
    /// Only call it while the engine is inside a call to the host (see the module's argument).
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
        let present = file
            .metadata()
            .map_err(|error| MapError::Io(error.to_string()))?
            .len();
        if present < offset + length {
            return Err(MapError::Io(format!(
                "the file was cut short to {present} bytes"
            )));
        }
        let start = self.start as *mut u8;
        let watch = self
            .watch
            .get_or_init(|| sigbus::Watch::new(self.start, self.capacity));
        if watch.is_none() {
            return Err(MapError::Unsupported);
        }
        let offset = libc::off_t::try_from(offset).map_err(|_| MapError::OutOfRange(size))?;
        // SAFETY: `check` has found `target` within the accessible part of this region, which is ours and which nobody
        // holds a reference into. The new pages can be read and written like those that they replace.
        let mapped = unsafe {
            libc::mmap(
                start.add(target.start).cast(),
                target.len(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                offset,
            )
        };
        if mapped != libc::MAP_FAILED {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // A failed `MAP_FIXED` may have removed what was there. Compiled code and Wasmtime rely on the pages, so put
        // empty ones there, and give up where even that fails: there is no state to go on from.
        // SAFETY: as above.
        let restored = unsafe { zero_pages(start.add(target.start), target.len()) };
        if !restored {
            std::process::abort();
        }
        match error.raw_os_error() {
            // A file system whose files cannot be mapped.
            Some(libc::ENODEV | libc::EACCES | libc::EPERM) => Err(MapError::Unsupported),
            _ => Err(MapError::Io(error.to_string())),
        }
    }

    /// Checks a mapping and gives the bytes of the memory that it replaces: whole host pages, the last of which holds
    /// zeros behind the file's end. Pages wholly behind it are left as they are, because touching them would fault.
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
        // First the watch: once the addresses are given back, a fault there is someone else's.
        drop(self.watch.take());
        // SAFETY: the reservation is this region's, all of it, with what was mapped into it; Wasmtime has dropped the
        // memory, so that nothing points into it any more.
        unsafe {
            libc::munmap(self.start as *mut libc::c_void, self.reserved);
        }
    }
}

/// Replaces the pages of a range by zeros that can be read and written. Says whether that worked. May be called in a
/// signal handler.
///
/// # Safety
/// The range is whole pages within the accessible part of a live region, and nothing depends on its bytes.
unsafe fn zero_pages(start: *mut u8, length: usize) -> bool {
    // The pointer is compared as it is no more than an address.
    let wanted = NonNull::new(start.cast::<libc::c_void>());
    // SAFETY: the caller's promise.
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
mod tests;

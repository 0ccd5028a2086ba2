//! What happens when a mapped file is truncated.
//!
//! Linux raises `SIGBUS` on access to a page of a mapping that lies past the end of its file, and the default is to end
//! the process. Wasmtime does not handle this signal on Linux. Our handler checks whether the address belongs to a
//! [watched](Watch) region; if so, it puts a page of zeros there, marks the region, and lets the access be retried. The
//! engine continues with zeros for at most one call, after which the host sees the mark and discards the instance. Any
//! other `SIGBUS` goes to the handler that was there before.
//!
//! The table of regions is an array of atomics, because a signal handler may neither lock nor allocate. One entry is a
//! single number, so that no reader can see half of an entry: every watched region has the same length.

#![expect(unsafe_code, reason = "a signal handler")]

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{host_page, zero_pages};

/// Bytes of linear memory that a watch covers: all that 32-bit addresses reach.
const SPAN: usize = 1 << 32;

/// How many regions can be watched at once. Beyond that, `map-pages` answers `unsupported`, and weights are copied.
const SLOTS: usize = 1024;

struct Slot {
    /// Address of the region's first byte; 0 in a free slot.
    start: AtomicUsize,
    /// Whether a page of it has been replaced by zeros.
    hit: AtomicBool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        hit: AtomicBool::new(false),
    }
}; SLOTS];

/// The action that was there before our handler. Set before ours is, and never again.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A region's place in the table, given back on drop.
#[derive(Debug)]
pub(super) struct Watch {
    slot: usize,
}

impl Watch {
    /// Watches the region at `start`. `None` if the table is full, the handler cannot be installed, or the region does
    /// not cover what a slot covers.
    pub(super) fn new(start: usize, capacity: usize) -> Option<Watch> {
        if capacity < SPAN || !install() {
            return None;
        }
        let slot = TABLE.iter().position(|slot| {
            slot.start
                .compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })?;
        TABLE[slot].hit.store(false, Ordering::Release);
        Some(Watch { slot })
    }

    /// Whether a page of the region has been replaced by zeros.
    pub(super) fn was_hit(&self) -> bool {
        TABLE[self.slot].hit.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        TABLE[self.slot].start.store(0, Ordering::Release);
    }
}

/// Installs the handler, once per process. Returns whether it is installed.
fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        // The handler reads this value too, and must not have to compute it.
        host_page();
        let mut previous = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: asks for the current action and changes nothing; `previous` has space for it.
        let asked = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) };
        if asked != 0 {
            return false;
        }
        // SAFETY: the call has succeeded, so `previous` is filled in.
        PREVIOUS.get_or_init(|| unsafe { previous.assume_init() });
        // SAFETY: all zeros is a valid `sigaction`: no flags, no handler.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            on_sigbus;
        action.sa_sigaction = handler as *const () as usize;
        // On the alternate stack, because Wasm's own stack may be nearly used up; Rust gives each thread an alternate
        // one.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: the handler does only what a signal handler may do: atomics, `mmap`, `sigaction`.
        unsafe {
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) == 0
        }
    })
}

extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel gives a valid `info` to a handler with `SA_SIGINFO`, and that of a fault has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code == libc::BUS_ADRERR && heal(address) {
        return;
    }
    pass_on(signal, info, context);
}

/// Puts zeros on the page of `address`, if a watched region contains it.
fn heal(address: usize) -> bool {
    let Some(slot) = TABLE.iter().find(|slot| {
        let start = slot.start.load(Ordering::Acquire);
        start != 0 && address.wrapping_sub(start) < SPAN
    }) else {
        return false;
    };
    let page = address & !(host_page() - 1);
    // SAFETY: the thread that faulted runs in the region (or copies out of it), so the region is alive; `SIGBUS` is
    // raised only where a file is mapped, which is within its accessible part. Nothing can depend on bytes that cannot
    // be read. The call keeps `errno`, which belongs to the interrupted code: `mmap` sets it only on failure, and then
    // the process ends.
    let healed = unsafe { zero_pages(page as *mut u8, host_page()) };
    if healed {
        slot.hit.store(true, Ordering::Release);
    }
    healed
}

/// Does what would have happened without our handler.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(previous) = PREVIOUS.get() else {
        return;
    };
    let handler = previous.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // The access is retried, and the default action ends the process (a fault cannot be ignored).
        // SAFETY: restores the action that was there.
        unsafe {
            libc::sigaction(signal, previous, ptr::null_mut());
        }
    } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with this flag, the number is such a function, by the contract of `sigaction`.
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without the flag, the number is such a function, by the contract of `sigaction`.
        let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

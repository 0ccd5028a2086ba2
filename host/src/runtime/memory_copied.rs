//! Stands in for `memory.rs` on systems other than Linux: Wasmtime's own memories, and no mapping.
//!
//! Mapping needs two things that have been tried only on Linux: pages that replace others at a fixed address, and a
//! handler for the fault of a truncated file that coexists with Wasmtime's. Elsewhere the engine copies.

use std::fs::File;
use std::sync::Weak;

/// Why a file could not be mapped.
#[derive(Debug, PartialEq)]
#[expect(dead_code, reason = "the same type as on Linux")]
pub(crate) enum MapError {
    /// See `memory.rs`.
    OutOfRange(u64),
    /// Files cannot be mapped here at all.
    Unsupported,
    /// See `memory.rs`.
    Io(String),
    /// See `memory.rs`.
    Lost(String),
}

/// A memory that files could be mapped into. There are none.
#[derive(Debug)]
pub(crate) enum Region {}

impl Region {
    pub(crate) fn holds(&self, _: *const u8) -> bool {
        match *self {}
    }

    pub(crate) fn has_mapped(&self) -> bool {
        match *self {}
    }

    pub(crate) fn file_was_cut(&self) -> bool {
        match *self {}
    }

    pub(crate) fn map_file(
        &self,
        _: &File,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> Result<(), MapError> {
        match *self {}
    }
}

/// See `memory.rs`: nothing is known about address space.
pub(crate) fn was_refused() -> bool {
    false
}

/// See `memory.rs`.
pub(crate) fn address_limit() -> Option<u64> {
    None
}

/// Runs `instantiate`; nothing is known about its memories.
pub(crate) fn observe<T>(instantiate: impl FnOnce() -> T) -> (T, Vec<Weak<Region>>) {
    (instantiate(), Vec::new())
}

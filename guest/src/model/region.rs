//! The bytes of a tensor in memory, mapped or copied. The only place in the engine where memory is filled from outside
//! Rust.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use crate::blob::{Blob, PAGE};
use crate::error::{Error, Result};

/// The bytes read at a time if mapping is not possible.
const CHUNK: usize = 1 << 20;

/// Immutable bytes of a blob.
pub(crate) struct Region {
    /// The start of `layout.size()` bytes, all of them initialised; dangling if there are none.
    start: NonNull<u8>,
    layout: Layout,
    /// The position and number of the requested bytes: `offset + length <= layout.size()`.
    offset: usize,
    length: usize,
    /// Whether they were mapped.
    pub(crate) is_mapped: bool,
}

impl Region {
    /// A region without bytes.
    pub(crate) const EMPTY: Self = Self {
        start: NonNull::dangling(),
        layout: Layout::new::<()>(),
        offset: 0,
        length: 0,
        is_mapped: false,
    };

    /// Maps, or if that is not possible copies, `length` bytes from `offset`, which must lie within the blob.
    ///
    /// # Errors
    /// `out-of-memory`, `io`.
    pub(crate) fn map(blob: &dyn Blob, offset: u64, length: usize) -> Result<Self> {
        let lead = (offset % PAGE as u64) as usize;
        let mut region = Self::allocate(lead, length)?;
        let mapped = blob.map(
            offset - lead as u64,
            lead + length,
            region.start.as_ptr() as usize,
        )?;
        if !mapped {
            region.fill(blob, offset)?;
        }
        region.is_mapped = mapped;
        Ok(region)
    }

    /// Copies `length` bytes from `offset`, which must lie within the blob.
    ///
    /// # Errors
    /// `out-of-memory`, `io`.
    pub(crate) fn copy(blob: &dyn Blob, offset: u64, length: usize) -> Result<Self> {
        let mut region = Self::allocate(0, length)?;
        region.fill(blob, offset)?;
        Ok(region)
    }

    /// The bytes.
    #[expect(
        unsafe_code,
        reason = "the bytes lie outside any typed Rust allocation"
    )]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `offset + length <= layout.size()` bytes as long as `self` lives. They are
        // initialised: `map` and `copy` return a region only after the host has mapped a file's pages there or `fill`
        // has written all of them. Nothing writes to them afterwards: `self` has no method that does, and mapped pages
        // are private to this memory.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(self.offset), self.length) }
    }

    /// Allocates uninitialised memory; `map` and `copy` initialise it before they return it. It is not zeroed here,
    /// because that would touch every page that a mapping is about to replace.
    #[expect(unsafe_code, reason = "an aligned allocation that is not zeroed")]
    fn allocate(offset: usize, length: usize) -> Result<Self> {
        let out_of_memory = || Error::OutOfMemory {
            needed: length as u64,
            available: 0,
        };
        let layout = offset
            .checked_add(length.max(1))
            .and_then(|size| size.checked_next_multiple_of(PAGE))
            .and_then(|size| Layout::from_size_align(size, PAGE).ok())
            .ok_or_else(out_of_memory)?;
        // SAFETY: the size of the layout is not zero.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or_else(out_of_memory)?;
        Ok(Self {
            start,
            layout,
            offset,
            length,
            is_mapped: false,
        })
    }

    fn fill(&mut self, blob: &dyn Blob, offset: u64) -> Result<()> {
        let mut done = 0;
        while done < self.length {
            let bytes = blob.read(offset + done as u64, CHUNK.min(self.length - done))?;
            self.write(done, &bytes)?;
            done += bytes.len();
        }
        Ok(())
    }

    #[expect(
        unsafe_code,
        reason = "the memory is not initialised yet, so no slice of it may exist"
    )]
    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() || bytes.len() > self.length - at {
            let found = format!(
                "the provider returned {} bytes: none, or more than requested",
                bytes.len()
            );
            return Err(Error::Io(found));
        }
        // SAFETY: `at + bytes.len() <= length`, so the target lies in the allocation, which `bytes`, borrowed from
        // elsewhere, does not overlap.
        unsafe {
            let target = self.start.as_ptr().add(self.offset + at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(())
    }
}

impl Drop for Region {
    #[expect(unsafe_code, reason = "the counterpart of `allocate`")]
    fn drop(&mut self) {
        if self.layout.size() == 0 {
            return;
        }
        // SAFETY: `start` came from `alloc` with this layout, whose size is not zero, and is freed once. Mapped pages
        // stay mapped: to the allocator they are ordinary memory, and its writes to them are private.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_exactly_what_was_asked_for() {
        let blob: Vec<u8> = (0..3 * CHUNK).map(|i| (i % 251) as u8).collect();
        for (offset, length) in [(0, 10), (7, 2 * CHUNK + 3), (3 * CHUNK - 1, 1), (5, 0)] {
            let copied = Region::copy(&blob, offset as u64, length).unwrap();
            assert_eq!(copied.bytes(), &blob[offset..offset + length]);
            let mapped = Region::map(&blob, offset as u64, length).unwrap();
            assert_eq!(mapped.bytes(), &blob[offset..offset + length]);
            assert!(!mapped.is_mapped, "a vector cannot be mapped");
        }
    }

    #[test]
    fn a_range_behind_the_end_is_an_error() {
        assert!(Region::copy(&vec![0; 10], 5, 6).is_err());
        assert!(Region::map(&vec![0; 10], u64::from(u32::MAX), 1).is_err());
    }

    #[test]
    fn sizes_at_the_end_of_the_address_space_do_not_wrap() {
        for length in [usize::MAX, usize::MAX - PAGE + 1, isize::MAX as usize] {
            let mapped = Region::map(&vec![0; 10], 65_535, length);
            assert!(matches!(mapped, Err(Error::OutOfMemory { .. })), "{length}");
            let copied = Region::copy(&vec![0; 10], 0, length);
            assert!(matches!(copied, Err(Error::OutOfMemory { .. })), "{length}");
        }
    }

    #[test]
    fn a_provider_that_gives_too_little_or_too_much_is_an_error() {
        struct Odd(usize);
        impl Blob for Odd {
            fn size(&self) -> u64 {
                100
            }
            fn read(&self, _: u64, _: usize) -> Result<Vec<u8>> {
                Ok(vec![0; self.0])
            }
        }
        assert!(Region::copy(&Odd(0), 0, 10).is_err());
        assert!(Region::copy(&Odd(11), 0, 10).is_err());
    }
}

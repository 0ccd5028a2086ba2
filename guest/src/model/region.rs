//! The bytes of a tensor in memory, mapped or copied. The only place in the engine where memory is filled from outside
//! Rust.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use crate::blob::{Blob, PAGE};
use crate::error::{Error, Result, reserve};
use crate::gguf::TensorType;
use crate::kernels;

/// The bytes read at a time (of packed rows, at least a group) if mapping is not possible.
const CHUNK: usize = 1 << 20;

/// How the rows of a copied matrix are packed (see [`kernels::pack`]).
#[derive(Clone, Copy)]
pub(crate) struct Packing {
    pub(crate) to: TensorType,
    pub(crate) cols: usize,
    /// The bytes of one group of interleaved rows.
    pub(crate) group: usize,
}

/// What was done to get the bytes of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Mapped,
    Copied,
    /// Copied, and rows interleaved.
    Packed,
}

/// Immutable bytes of a blob.
pub(crate) struct Region {
    /// The start of `layout.size()` bytes, all of them initialised; dangling if there are none.
    start: NonNull<u8>,
    layout: Layout,
    /// The position and number of the requested bytes: `offset + length <= layout.size()`.
    offset: usize,
    length: usize,
    pub(crate) origin: Origin,
}

impl Region {
    /// A region without bytes.
    pub(crate) const EMPTY: Self = Self {
        start: NonNull::dangling(),
        layout: Layout::new::<()>(),
        offset: 0,
        length: 0,
        origin: Origin::Copied,
    };

    /// Maps, or if that is not possible copies, `length` bytes from `offset`, which must lie within the blob. Only what
    /// is copied can be packed.
    ///
    /// # Errors
    /// `out-of-memory`, `io`.
    pub(crate) fn map(
        blob: &dyn Blob,
        offset: u64,
        length: usize,
        packing: Option<Packing>,
    ) -> Result<Self> {
        let lead = (offset % PAGE as u64) as usize;
        let mut region = Self::allocate(lead, length)?;
        let mapped = blob.map(
            offset - lead as u64,
            lead + length,
            region.start.as_ptr() as usize,
        )?;
        if mapped {
            region.origin = Origin::Mapped;
        } else {
            region.fill(blob, offset, packing)?;
        }
        Ok(region)
    }

    /// Copies `length` bytes from `offset`, which must lie within the blob.
    ///
    /// # Errors
    /// `out-of-memory`, `io`.
    pub(crate) fn copy(
        blob: &dyn Blob,
        offset: u64,
        length: usize,
        packing: Option<Packing>,
    ) -> Result<Self> {
        let mut region = Self::allocate(0, length)?;
        region.fill(blob, offset, packing)?;
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
            origin: Origin::Copied,
        })
    }

    fn fill(&mut self, blob: &dyn Blob, offset: u64, packing: Option<Packing>) -> Result<()> {
        if let Some(packing) = packing
            && self.fill_packed(blob, offset, packing)?
        {
            self.origin = Origin::Packed;
            return Ok(());
        }
        let mut done = 0;
        while done < self.length {
            let bytes = blob.read(offset + done as u64, CHUNK.min(self.length - done))?;
            self.write(done, &bytes)?;
            done += bytes.len();
        }
        Ok(())
    }

    /// Fills the region with packed rows. Returns whether all of them can be packed.
    fn fill_packed(&mut self, blob: &dyn Blob, offset: u64, packing: Packing) -> Result<bool> {
        let chunk = (CHUNK / packing.group).max(1) * packing.group;
        let (mut rows, mut packed) = (Vec::new(), Vec::new());
        reserve(&mut rows, chunk)?;
        reserve(&mut packed, chunk)?;
        for start in (0..self.length).step_by(chunk) {
            let length = chunk.min(self.length - start);
            rows.clear();
            while rows.len() < length {
                let left = length - rows.len();
                let bytes = blob.read(offset + (start + rows.len()) as u64, left)?;
                check_read(&bytes, left)?;
                rows.extend_from_slice(&bytes);
            }
            packed.resize(length, 0);
            if !kernels::pack(packing.to, packing.cols, &rows, &mut packed) {
                return Ok(false);
            }
            self.write(start, &packed)?;
        }
        Ok(true)
    }

    #[expect(
        unsafe_code,
        reason = "the memory is not initialised yet, so no slice of it may exist"
    )]
    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        check_read(bytes, self.length - at)?;
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

/// Checks what a provider returned for a request of `wanted` bytes.
fn check_read(bytes: &[u8], wanted: usize) -> Result<()> {
    if (1..=wanted).contains(&bytes.len()) {
        return Ok(());
    }
    Err(Error::Io(format!(
        "the provider returned {} bytes: none, or more than requested",
        bytes.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_exactly_what_was_asked_for() {
        let blob: Vec<u8> = (0..3 * CHUNK).map(|i| (i % 251) as u8).collect();
        for (offset, length) in [(0, 10), (7, 2 * CHUNK + 3), (3 * CHUNK - 1, 1), (5, 0)] {
            let copied = Region::copy(&blob, offset as u64, length, None).unwrap();
            assert_eq!(copied.bytes(), &blob[offset..offset + length]);
            let mapped = Region::map(&blob, offset as u64, length, None).unwrap();
            assert_eq!(mapped.bytes(), &blob[offset..offset + length]);
            assert_eq!(mapped.origin, Origin::Copied, "a vector cannot be mapped");
        }
    }

    #[test]
    fn rows_are_packed_unless_a_scale_is_not_finite() {
        // Two groups of four rows of Q4_0, each of one block, whose scale is 1.
        let mut rows: Vec<u8> = (0..8 * 18).map(|i| (i * 7) as u8).collect();
        for block in rows.chunks_exact_mut(18) {
            block[..2].copy_from_slice(&[0x00, 0x3c]);
        }
        let packing = Some(Packing {
            to: TensorType::Q4_0_X4,
            cols: 32,
            group: 4 * 18,
        });
        let mut packed = vec![0; rows.len()];
        assert!(kernels::pack(TensorType::Q4_0_X4, 32, &rows, &mut packed));
        let region = Region::copy(&rows, 0, rows.len(), packing).unwrap();
        assert_eq!((region.origin, region.bytes()), (Origin::Packed, &*packed));

        // Infinity, in the last row of all: what has been packed before it is copied again.
        rows[7 * 18 + 1] = 0x7c;
        let region = Region::map(&rows, 0, rows.len(), packing).unwrap();
        assert_eq!((region.origin, region.bytes()), (Origin::Copied, &*rows));
    }

    #[test]
    fn a_range_behind_the_end_is_an_error() {
        assert!(Region::copy(&vec![0; 10], 5, 6, None).is_err());
        assert!(Region::map(&vec![0; 10], u64::from(u32::MAX), 1, None).is_err());
    }

    #[test]
    fn sizes_at_the_end_of_the_address_space_do_not_wrap() {
        for length in [usize::MAX, usize::MAX - PAGE + 1, isize::MAX as usize] {
            let mapped = Region::map(&vec![0; 10], 65_535, length, None);
            assert!(matches!(mapped, Err(Error::OutOfMemory { .. })), "{length}");
            let copied = Region::copy(&vec![0; 10], 0, length, None);
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
        assert!(Region::copy(&Odd(0), 0, 10, None).is_err());
        assert!(Region::copy(&Odd(11), 0, 10, None).is_err());
    }
}

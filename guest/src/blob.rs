//! Where a model's bytes come from: the engine's side of `wit/weights.wit`.

use crate::error::{Error, Result};

/// Some bytes of a fixed size with random access.
pub trait Blob {
    /// Bytes.
    fn size(&self) -> u64;

    /// Exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`Error::Io`] when the range is not within the blob or reading fails.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Puts `length` bytes from `offset` at `address` of linear memory without a copy. `offset` and `address` are
    /// multiples of [`PAGE`], and the memory up to the next multiple behind `address + length` is the caller's.
    /// `Ok(false)` says that this cannot be done and that nothing has changed.
    ///
    /// # Errors
    /// [`Error::Io`] when it could be done in principle and failed.
    fn map(&self, _offset: u64, _length: usize, _address: usize) -> Result<bool> {
        Ok(false)
    }
}

/// The unit of mapping in bytes: a page of linear memory.
pub const PAGE: usize = 65_536;

impl Blob for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(length)?))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| Error::Io(format!("{length} bytes at {offset} lie behind the end")))
    }
}

impl Blob for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.as_slice().read(offset, length)
    }
}

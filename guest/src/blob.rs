//! Where a model's bytes come from: the engine's side of `wit/weights.wit`.

use crate::error::{Error, Result};

/// Bytes of a fixed size with random access.
pub trait Blob {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// Reads exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`Error::Io`] if the range is not within the blob or reading fails.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Maps `length` bytes from `offset` to `address` in linear memory without copying them. `offset` and `address` are
    /// multiples of [`PAGE`], and the caller owns the memory up to the next multiple after `address + length`.
    /// `Ok(false)` means that mapping is not possible and that nothing has changed.
    ///
    /// # Errors
    /// [`Error::Io`] if mapping is supported but failed.
    fn map(&self, _offset: u64, _length: usize, _address: usize) -> Result<bool> {
        Ok(false)
    }
}

/// The name of a blob that is alone.
pub const ONLY: &str = "model";

/// A weights provider that has `blob`, under the name [`ONLY`], and nothing else.
pub fn only<'a, B: Blob + ?Sized>(blob: &'a B) -> impl Fn(&str) -> Result<&'a B> {
    move |name| match name {
        ONLY => Ok(blob),
        _ => Err(Error::NotFound(name.to_owned())),
    }
}

/// The unit of mapping in bytes: a page of linear memory.
pub const PAGE: usize = 65_536;

impl<B: Blob + ?Sized> Blob for &B {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        (**self).read(offset, length)
    }

    fn map(&self, offset: u64, length: usize, address: usize) -> Result<bool> {
        (**self).map(offset, length, address)
    }
}

impl Blob for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(length)?))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| Error::Io(format!("{length} bytes at {offset} are past the end")))
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

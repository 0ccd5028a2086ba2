//! The bytes of a model.
//!
//! Files are read at an offset (`pread`), so that blobs share no state, or mapped (see
//! [`memory`](crate::runtime::memory)).

use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use crate::runtime::memory::{MapError, Region};
use crate::types::{Error, Source};

/// A source that was found and opened: the bytes behind a `blob` handle.
#[derive(Clone)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it as `pub`, in a private module"
)]
pub struct Blob {
    data: Data,
    size: u64,
    /// The memory that it is mapped into: the opener's. Dangling if that is not known, or not possible.
    region: Weak<Region>,
}

/// Why bytes could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The range is not within the blob. Carries the blob's size.
    OutOfRange(u64),
    /// The system refused. Carries its reason.
    Io(String),
}

#[derive(Clone)]
enum Data {
    File(Arc<File>),
    Static(&'static [u8]),
    Bytes(Arc<[u8]>),
}

impl Blob {
    /// Opens `source`, or says why it cannot be opened.
    pub(crate) fn open(source: Source) -> Result<Blob, Error> {
        let path = match source {
            Source::File(path) => path,
            Source::Static(bytes) => {
                return Ok(Blob {
                    size: bytes.len() as u64,
                    data: Data::Static(bytes),
                    region: Weak::new(),
                });
            }
            Source::Bytes(bytes) => {
                return Ok(Blob {
                    size: bytes.len() as u64,
                    data: Data::Bytes(bytes),
                    region: Weak::new(),
                });
            }
        };
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound(path.display().to_string()),
            _ => Error::Io(format!("{}: {error}", path.display())),
        };
        // Checked before opening, because opening a pipe waits for its writer.
        let metadata = path.metadata().map_err(fail)?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() {
                "a folder"
            } else {
                "something that is not a regular file"
            };
            return Err(Error::Io(format!(
                "{}: expected a file, found {found}",
                path.display()
            )));
        }
        let file = File::open(&path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        Ok(Blob {
            data: Data::File(Arc::new(file)),
            size,
            region: Weak::new(),
        })
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The same bytes for an opener whose memory is `region`.
    pub(crate) fn opened_from(self, region: Weak<Region>) -> Blob {
        Blob { region, ..self }
    }

    /// Returns `length` bytes from `offset`.
    pub(crate) fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, ReadError> {
        let end = offset.checked_add(u64::from(length));
        let Some(end) = end.filter(|&end| end <= self.size) else {
            return Err(ReadError::OutOfRange(self.size));
        };
        let bytes = match &self.data {
            Data::File(file) => return read_file(file, offset, length),
            Data::Static(bytes) => bytes,
            Data::Bytes(bytes) => &bytes[..],
        };
        // `end` is at most the length of a slice, so both fit a `usize`.
        Ok(bytes[offset as usize..end as usize].to_vec())
    }

    /// Maps `length` bytes from `offset` at `address` of the opener's memory.
    ///
    /// Only call this while the engine is inside a call to the host (see [`Region::map_file`]).
    pub(crate) fn map_pages(&self, offset: u64, length: u64, address: u64) -> Result<(), MapError> {
        let (Data::File(file), Some(region)) = (&self.data, self.region.upgrade()) else {
            return Err(MapError::Unsupported);
        };
        region.map_file(file, self.size, offset, length, address)
    }
}

/// Reads exactly `length` bytes.
fn read_file(file: &File, offset: u64, length: u32) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; length as usize];
    #[cfg(unix)]
    let read = std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, offset);
    #[cfg(windows)]
    let read = {
        use io::{Read, Seek, SeekFrom};
        let mut file = file;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
    };
    match read {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(ReadError::Io("the file was truncated while in use".into()))
        }
        Err(error) => Err(ReadError::Io(error.to_string())),
    }
}

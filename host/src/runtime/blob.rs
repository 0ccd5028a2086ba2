//! The bytes of a model.
//!
//! Files are read at an offset (`pread`), so that blobs share no state, or mapped (see
//! [`memory`](crate::runtime::memory)).

mod stamp;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::runtime::files;
use crate::runtime::memory::{MapError, Region};
use crate::types::{Error, Source};
use stamp::Stamp;

/// A source that was found and opened: the bytes behind a `blob` handle.
#[derive(Clone)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it as `pub`, in a private module"
)]
pub struct Blob {
    data: Data,
    size: u64,
    /// How much of that there can be besides holes.
    filled: u64,
    /// What the file was like when it was opened, if it is one.
    stamp: Option<Arc<Stamp>>,
    /// The files after this one, if its name says that it is the first of several.
    others: Arc<[Result<Blob, Error>]>,
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
        let (data, size) = match source {
            Source::File(path) => {
                let others = others(&path).into_iter();
                let others = others.map(|other| Self::open_file(&other)).collect();
                let first = Self::open_file(&path)?;
                return Ok(Blob { others, ..first });
            }
            Source::Static(bytes) => (Data::Static(bytes), bytes.len()),
            Source::Bytes(bytes) => {
                let size = bytes.len();
                (Data::Bytes(bytes), size)
            }
        };
        Ok(Self::of(data, size as u64))
    }

    fn of(data: Data, size: u64) -> Blob {
        Blob {
            data,
            size,
            filled: size,
            stamp: None,
            others: Arc::new([]),
            region: Weak::new(),
        }
    }

    fn open_file(path: &Path) -> Result<Blob, Error> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound(path.display().to_string()),
            _ => Error::Io(format!("{}: {error}", path.display())),
        };
        let file = files::open_regular(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let stamp = Some(Arc::new(Stamp::new(path, &metadata)));
        let blob = Self::of(Data::File(Arc::new(file)), metadata.len());
        let filled = filled(&metadata);
        Ok(Blob {
            filled,
            stamp,
            ..blob
        })
    }

    /// Whether the file, or one of those after it, has been written to since it was opened.
    pub(crate) fn has_changed(&self) -> bool {
        let changed = match (&self.data, &self.stamp) {
            (Data::File(file), Some(stamp)) => stamp.has_changed(file),
            _ => false,
        };
        changed || self.others.iter().flatten().any(Blob::has_changed)
    }

    /// The file that `suffix`, such as `-00002-of-00003`, refers to. `None` if there is none of that number.
    pub(crate) fn other(&self, suffix: &str) -> Option<Result<Blob, Error>> {
        let (number, count) = numbers(suffix)?;
        let number = number.checked_sub(2)?;
        (count == self.others.len() + 1).then_some(())?;
        self.others.get(number).cloned()
    }

    /// Size in bytes, with that of the files after this one.
    pub(crate) fn total_size(&self) -> u64 {
        let others = self.others.iter().flatten();
        others.fold(self.size, |sum, other| sum.saturating_add(other.size))
    }

    /// How many bytes of all files can be something else than holes.
    pub(crate) fn total_filled(&self) -> u64 {
        let others = self.others.iter().flatten();
        others.fold(self.filled, |sum, other| sum.saturating_add(other.filled))
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

/// How many bytes of a file can be something else than holes, which cost its author nothing. A file system that
/// compresses stores weights in no less than a quarter of their size; one that does not say how much it stores is
/// believed.
fn filled(metadata: &std::fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        let stored = std::os::unix::fs::MetadataExt::blocks(metadata).saturating_mul(512);
        match stored {
            0 => metadata.len(),
            stored => metadata.len().min(stored.saturating_mul(4)),
        }
    }
    #[cfg(not(unix))]
    metadata.len()
}

/// The length of `-00001-of-00003`.
const SUFFIX_LEN: usize = 15;
/// More files than this are no model.
const MAX_FILES: usize = 999;

/// The number and the count in `-00001-of-00003`.
fn numbers(suffix: &str) -> Option<(usize, usize)> {
    let (number, count) = suffix.strip_prefix('-')?.split_once("-of-")?;
    let parse = |digits: &str| {
        let are_digits = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        are_digits.then(|| digits.parse().ok())?
    };
    Some((parse(number)?, parse(count)?))
}

/// The paths of the files after `first`, if its name, without the extension, ends like `-00001-of-00003`.
fn others(first: &Path) -> Vec<PathBuf> {
    let named = || {
        let stem = first.file_stem()?.to_str()?;
        let (name, suffix) = stem.split_at_checked(stem.len().checked_sub(SUFFIX_LEN)?)?;
        let (number, count) = numbers(suffix)?;
        let extension = match first.extension() {
            Some(extension) => format!(".{}", extension.to_str()?),
            None => String::new(),
        };
        let path =
            |number| first.with_file_name(format!("{name}-{number:05}-of-{count:05}{extension}"));
        (number == 1 && count <= MAX_FILES).then(|| (2..=count).map(path).collect())
    };
    named().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of threads depends on it.
    #[cfg(unix)]
    #[test]
    fn holes_do_not_make_a_model_large() {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&[7; 100_000]).expect("room");
        file.as_file().sync_all().expect("written");
        let blob = Blob::open_file(file.path()).expect("a file");
        assert_eq!(blob.total_filled(), 100_000);
        file.as_file().set_len(1 << 40).expect("a sparse file");
        let blob = Blob::open_file(file.path()).expect("a file");
        assert_eq!(blob.total_size(), 1 << 40);
        assert!(blob.total_filled() < 1 << 20, "{}", blob.total_filled());
    }

    #[test]
    fn the_first_of_several_names_the_others() {
        let names = |first: &str| -> Vec<String> {
            let others = others(Path::new(first)).into_iter();
            others.map(|path| path.display().to_string()).collect()
        };
        assert_eq!(
            names("/models/x-00001-of-00003.gguf"),
            [
                "/models/x-00002-of-00003.gguf",
                "/models/x-00003-of-00003.gguf"
            ]
        );
        assert_eq!(names("-00001-of-00002"), ["-00002-of-00002"]);
        for none in [
            "x.gguf",
            "x-00002-of-00003.gguf",
            "x-00001-of-00001.gguf",
            "x-00001-of-99999.gguf",
            "x-00001-of-0003.gguf",
            "x-+0001-of-00003.gguf",
            "of-00003.gguf",
            "ä-0001-of-00003.gguf",
            "",
        ] {
            assert!(names(none).is_empty(), "{none}");
        }
    }
}

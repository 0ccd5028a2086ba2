//! A file as bytes of a fixed size.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};

/// A file that was opened for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// Its position is irrelevant between calls.
    file: RefCell<File>,
    size: u64,
}

impl OpenFile {
    /// Opens the file at this path.
    ///
    /// # Errors
    /// `NotFound`, also for paths outside the folders that the host has opened; `InvalidInput` if it is not a file.
    pub fn open(path: &str) -> Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let found = "expected a file, found something else";
            return Err(Error::new(ErrorKind::InvalidInput, found));
        }
        Ok(OpenFile {
            size: metadata.len(),
            file: RefCell::new(file),
        })
    }

    /// The size in bytes when the file was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer: the file may be truncated while it is in use.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_where_it_is_asked_for() {
        let file = OpenFile::open("Cargo.toml").expect("the package's own");
        let text = std::fs::read("Cargo.toml").expect("the same");
        assert_eq!(file.size(), text.len() as u64);
        for (offset, length) in [(9, 4), (0, text.len()), (text.len(), 0)] {
            let read = file.read(offset as u64, length).expect("within it");
            assert_eq!(read, &text[offset..][..length]);
        }
        let behind = file.read(file.size(), 1).expect_err("nothing there");
        assert_eq!(behind.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        for (path, kind) in [
            ("none", ErrorKind::NotFound),
            ("src", ErrorKind::InvalidInput),
        ] {
            assert_eq!(OpenFile::open(path).expect_err(path).kind(), kind);
        }
    }
}

//! `gust:llm/weights` over `wasi:filesystem`: a name is a path in a folder that the host has opened (a *preopen*).
//!
//! A component cannot reach into the memory of another, so `map-pages` answers `unsupported` and the engine copies.
//!
//! Natively this crate is empty: there is nothing in it but the component.

#![cfg(target_arch = "wasm32")]

#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from documented WIT"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "weights-provider",
    });
    use super::Folders;
    export!(Folders);
}

use std::cell::RefCell;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};

use bindings::exports::gust::llm::weights::{Blob, Guest, GuestBlob, WeightsError};

struct Folders;

impl Guest for Folders {
    type Blob = OpenFile;

    fn open(name: String) -> Result<Blob, WeightsError> {
        let failed = |error: Error| {
            let reason = format!("{name}: {error}");
            match error.kind() {
                // What lies outside of the folders does not exist for a component.
                ErrorKind::NotFound => WeightsError::NotFound(name.clone()),
                ErrorKind::PermissionDenied => WeightsError::Denied(reason),
                _ => WeightsError::Io(reason),
            }
        };
        let file = File::open(&name).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            let reason = format!("{name}: expected a file, found something else");
            return Err(WeightsError::Io(reason));
        }
        Ok(Blob::new(OpenFile {
            size: metadata.len(),
            file: RefCell::new(file),
        }))
    }
}

struct OpenFile {
    /// Its position means nothing between calls.
    file: RefCell<File>,
    /// Bytes, when it was opened.
    size: u64,
}

impl GuestBlob for OpenFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, WeightsError> {
        let end = offset.checked_add(u64::from(length));
        if end.is_none_or(|end| end > self.size) {
            return Err(WeightsError::OutOfRange(self.size));
        }
        let mut bytes = vec![0; length as usize];
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    WeightsError::Io("the file was cut short while in use".to_owned())
                }
                _ => WeightsError::Io(error.to_string()),
            })?;
        Ok(bytes)
    }

    fn map_pages(&self, _offset: u64, _length: u64, _address: u64) -> Result<(), WeightsError> {
        Err(WeightsError::Unsupported)
    }
}

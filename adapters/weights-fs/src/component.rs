//! The component. It cannot access another component's memory, so `map-pages` fails with `unsupported` and the engine
//! copies.

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

use std::io::{Error, ErrorKind};

use crate::OpenFile;
use bindings::exports::gust::llm::weights::{Blob, Guest, GuestBlob, WeightsError};

struct Folders;

impl Guest for Folders {
    type Blob = OpenFile;

    fn open(name: String) -> Result<Blob, WeightsError> {
        let failed = |error: Error| {
            let reason = format!("{name}: {error}");
            match error.kind() {
                ErrorKind::NotFound => WeightsError::NotFound(name.clone()),
                ErrorKind::PermissionDenied => WeightsError::Denied(reason),
                _ => WeightsError::Io(reason),
            }
        };
        OpenFile::open(&name).map(Blob::new).map_err(failed)
    }
}

impl GuestBlob for OpenFile {
    fn size(&self) -> u64 {
        OpenFile::size(self)
    }

    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, WeightsError> {
        let end = offset.checked_add(u64::from(length));
        if end.is_none_or(|end| end > OpenFile::size(self)) {
            return Err(WeightsError::OutOfRange(OpenFile::size(self)));
        }
        OpenFile::read(self, offset, length as usize).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                WeightsError::Io("the file was cut short while in use".to_owned())
            }
            _ => WeightsError::Io(error.to_string()),
        })
    }

    fn map_pages(&self, _offset: u64, _length: u64, _address: u64) -> Result<(), WeightsError> {
        Err(WeightsError::Unsupported)
    }
}

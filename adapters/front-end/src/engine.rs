//! gust's engine, linked in, with models from files.

use std::io::{self, ErrorKind};

use gust_engine::blob::Blob;
use gust_engine::error;
pub use gust_engine::linked::*;
use gust_weights_fs::OpenFile;

/// Opens the file `name` and loads it.
///
/// # Errors
/// `not-found`, `io`, and any problem with the model.
pub fn load_model(name: &str, options: LoadOptions) -> Result<Model, Error> {
    let file = OpenFile::open(name).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::NotFound(name.to_owned()),
        _ => Error::Io(format!("{name}: {error}")),
    })?;
    Model::load(&Bytes(file), options)
}

/// The bytes of a file; the engine copies them.
struct Bytes(OpenFile);

impl Blob for Bytes {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, offset: u64, length: usize) -> error::Result<Vec<u8>> {
        let failed = |error: io::Error| error::Error::Io(error.to_string());
        self.0.read(offset, length).map_err(failed)
    }
}

//! Packed model files.

use std::sync::Arc;

use wasmtime::component::ResourceAny;

use crate::runtime::{Blob, Exports, Instance, Packing, Program, weights, wit};
use crate::{Error, Limits};

/// A model file as it would be packed: the matrices for which the engine has a faster layout are in that layout, and
/// everything else is unchanged. Made by [`Engine::pack`](crate::Engine::pack).
///
/// None of it is stored: every read makes the bytes from the file, inside the sandbox.
pub struct Packed {
    instance: Instance,
    file: ResourceAny,
    size: u64,
    changed_tensors: u32,
}

impl Packed {
    pub(crate) fn open(
        program: &Arc<Program>,
        model: Blob,
        limits: Limits,
    ) -> Result<Packed, Error> {
        let mut instance = Instance::alone(program, model, limits)?;
        let (file, size, changed_tensors) = instance.call(None, |exports, store| {
            let Some(packing) = exports.packing else {
                return Ok(Err(unsupported()));
            };
            let file = match packing.open(&mut *store, weights::NAME)? {
                Ok(file) => file,
                Err(error) => return Ok(Err(error)),
            };
            let size = packing.size(&mut *store, file)?;
            let changed = packing.changed_tensors(&mut *store, file)?;
            Ok(Ok((file, size, changed)))
        })??;
        Ok(Packed {
            instance,
            file,
            size,
            changed_tensors,
        })
    }

    /// Size in bytes, which is that of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many tensors change their layout. If there are none, packing is of no use.
    pub fn changed_tensors(&self) -> u32 {
        self.changed_tensors
    }

    /// Returns `length` bytes from `offset`, at most 16 MiB; fewer at the end of the file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::InvalidArgument`] for a length above the limit, and errors
    /// that end an instance.
    pub fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        let file = self.file;
        self.instance.call(None, |exports: &Exports, store| {
            let Some(packing) = exports.packing else {
                return Ok(Err(unsupported()));
            };
            packing.read(store, file, offset, length)
        })?
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("size", &self.size)
            .field("changed_tensors", &self.changed_tensors)
            .finish_non_exhaustive()
    }
}

fn unsupported() -> wit::Error {
    wit::Error::Unsupported(wit::Mismatch {
        subject: "the engine".to_owned(),
        expected: format!("one that exports `{}`", Packing::INTERFACE),
        found: "one without a layout of its own; leave out --component and --with".to_owned(),
    })
}

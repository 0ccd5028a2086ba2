//! Packed model files: the engine's side of `wit/packing.wit`, if it has one.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Instance as Component, ResourceAny, TypedFunc};

use crate::Error;
use crate::bindings::exports::gust::llm::engine::{Error as WitError, Guest, Mismatch};
use crate::collective::{Group, Member};
use crate::instance::Instance;
use crate::options::Limits;
use crate::program::Program;
use crate::state::{MemoryBudget, State};
use crate::weights::{self, Blob, LoadProgress};

/// An optional export of an engine.
const INTERFACE: &str = "gust:llm/packing@0.1.0";

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
    pub(crate) fn open(program: &Arc<Program>, model: Blob) -> Result<Packed, Error> {
        let member = Member {
            group: Group::new(1),
            rank: 0,
        };
        let memory = MemoryBudget::new(None, 1);
        let progress = LoadProgress::new(None).of(0);
        let state = State::new(model, None, progress, memory, member, &program.surroundings);
        let mut instance = Instance::new(program.clone(), state, Limits::default())?;
        let (file, size, changed_tensors) = instance.call(None, |_, store| {
            let Some(functions) = store.data().packing else {
                return Ok(Err(unsupported()));
            };
            let file = match functions.open.call(&mut *store, (weights::NAME,))? {
                (Ok(file),) => file,
                (Err(error),) => return Ok(Err(error)),
            };
            let (size,) = functions.size.call(&mut *store, (file,))?;
            let (changed,) = functions.changed_tensors.call(&mut *store, (file,))?;
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
        self.instance.call(None, |_: &Guest, store| {
            let Some(functions) = store.data().packing else {
                return Ok(Err(unsupported()));
            };
            let (bytes,) = functions.read.call(store, (file, offset, length))?;
            Ok(bytes)
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

/// The result type of the engine's functions.
type Answer<T> = (Result<T, WitError>,);

/// The functions of an engine that supports packing. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    open: TypedFunc<(&'static str,), Answer<ResourceAny>>,
    size: TypedFunc<(ResourceAny,), (u64,)>,
    changed_tensors: TypedFunc<(ResourceAny,), (u32,)>,
    read: TypedFunc<(ResourceAny, u64, u32), Answer<Vec<u8>>>,
}

impl Functions {
    pub(crate) fn of(store: &mut Store<State>, instance: &Component) -> Option<Functions> {
        let interface = instance.get_export_index(&mut *store, None, INTERFACE)?;
        let mut function =
            |name: &str| instance.get_export_index(&mut *store, Some(&interface), name);
        let open = function("open")?;
        let size = function("[method]packed-file.size")?;
        let changed_tensors = function("[method]packed-file.changed-tensors")?;
        let read = function("[method]packed-file.read")?;
        Some(Functions {
            open: instance.get_typed_func(&mut *store, open).ok()?,
            size: instance.get_typed_func(&mut *store, size).ok()?,
            changed_tensors: instance.get_typed_func(&mut *store, changed_tensors).ok()?,
            read: instance.get_typed_func(&mut *store, read).ok()?,
        })
    }
}

fn unsupported() -> WitError {
    WitError::Unsupported(Mismatch {
        subject: "the engine".to_owned(),
        expected: format!("one that exports `{INTERFACE}`"),
        found: "one without a layout of its own; leave out --component and --with".to_owned(),
    })
}

//! What makes packed model files: the engine's side of `wit/packing.wit`, if it has one.

use wasmtime::component::{Instance, ResourceAny, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::runtime::bindings::exports::gust::llm::engine::Error;
use crate::runtime::state::State;

/// The result type of the engine's functions.
type Answer<T> = (Result<T, Error>,);

/// The functions of an engine that supports packing. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct Packing {
    open: TypedFunc<(&'static str,), Answer<ResourceAny>>,
    size: TypedFunc<(ResourceAny,), (u64,)>,
    changed_tensors: TypedFunc<(ResourceAny,), (u32,)>,
    read: TypedFunc<(ResourceAny, u64, u32), Answer<Vec<u8>>>,
}

impl Packing {
    /// An optional export of an engine.
    pub(crate) const INTERFACE: &str = "gust:llm/packing@0.1.0";

    pub(super) fn of(store: &mut Store<State>, instance: &Instance) -> Option<Packing> {
        let interface = instance.get_export_index(&mut *store, None, Self::INTERFACE)?;
        let mut function =
            |name: &str| instance.get_export_index(&mut *store, Some(&interface), name);
        let open = function("open")?;
        let size = function("[method]packed-file.size")?;
        let changed_tensors = function("[method]packed-file.changed-tensors")?;
        let read = function("[method]packed-file.read")?;
        Some(Packing {
            open: instance.get_typed_func(&mut *store, open).ok()?,
            size: instance.get_typed_func(&mut *store, size).ok()?,
            changed_tensors: instance.get_typed_func(&mut *store, changed_tensors).ok()?,
            read: instance.get_typed_func(&mut *store, read).ok()?,
        })
    }

    pub(crate) fn open(
        self,
        store: impl AsContextMut,
        name: &'static str,
    ) -> wasmtime::Result<Result<ResourceAny, Error>> {
        let (file,) = self.open.call(store, (name,))?;
        Ok(file)
    }

    pub(crate) fn size(self, store: impl AsContextMut, file: ResourceAny) -> wasmtime::Result<u64> {
        let (size,) = self.size.call(store, (file,))?;
        Ok(size)
    }

    pub(crate) fn changed_tensors(
        self,
        store: impl AsContextMut,
        file: ResourceAny,
    ) -> wasmtime::Result<u32> {
        let (changed,) = self.changed_tensors.call(store, (file,))?;
        Ok(changed)
    }

    pub(crate) fn read(
        self,
        store: impl AsContextMut,
        file: ResourceAny,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let (bytes,) = self.read.call(store, (file, offset, length))?;
        Ok(bytes)
    }
}

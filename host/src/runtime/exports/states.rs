//! Saved states in pieces: the engine's side of `wit/states.wit`, if it has one.

use wasmtime::component::{Instance, ResourceAny, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::runtime::bindings::exports::gust::llm::engine::Error;
use crate::runtime::state::State;

/// An optional export of an engine.
const INTERFACE: &str = "gust:llm/states@0.1.0";

/// The result type of the engine's functions.
type Answer<T> = (Result<T, Error>,);

/// The functions of an engine that saves and restores in pieces. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct States {
    piece: TypedFunc<(ResourceAny, u64), Answer<Vec<u8>>>,
    restore: TypedFunc<(ResourceAny, String), Answer<()>>,
}

impl States {
    pub(super) fn of(store: &mut Store<State>, instance: &Instance) -> Option<States> {
        let interface = instance.get_export_index(&mut *store, None, INTERFACE)?;
        let mut function =
            |name: &str| instance.get_export_index(&mut *store, Some(&interface), name);
        let piece = function("piece")?;
        let restore = function("restore")?;
        Some(States {
            piece: instance.get_typed_func(&mut *store, piece).ok()?,
            restore: instance.get_typed_func(&mut *store, restore).ok()?,
        })
    }

    pub(crate) fn piece(
        self,
        store: impl AsContextMut,
        session: ResourceAny,
        offset: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let (piece,) = self.piece.call(store, (session, offset))?;
        Ok(piece)
    }

    pub(crate) fn restore(
        self,
        store: impl AsContextMut,
        session: ResourceAny,
        name: &str,
    ) -> wasmtime::Result<Result<(), Error>> {
        let (restored,) = self.restore.call(store, (session, name.to_owned()))?;
        Ok(restored)
    }
}

//! What changes a model for a session: the engine's side of `wit/adapters.wit`, if it has one.

use wasmtime::component::{Instance, ResourceAny, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::runtime::bindings::exports::gust::llm::engine::Error;
use crate::runtime::state::State;

/// An optional export of an engine.
const INTERFACE: &str = "gust:llm/adapters@0.1.0";

/// The result type of the engine's functions.
type Answer<T> = (Result<T, Error>,);

/// Adapters and their scales.
type Scaled = Vec<(ResourceAny, f32)>;

/// The functions of an engine that computes with adapters. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct Adapters {
    load: TypedFunc<(String, ResourceAny), Answer<ResourceAny>>,
    /// Added later than the others.
    left_out: Option<TypedFunc<(ResourceAny,), (Vec<String>,)>>,
    attach: TypedFunc<(ResourceAny, Scaled), Answer<()>>,
}

impl Adapters {
    pub(super) fn of(store: &mut Store<State>, instance: &Instance) -> Option<Adapters> {
        let interface = instance.get_export_index(&mut *store, None, INTERFACE)?;
        let mut function =
            |name: &str| instance.get_export_index(&mut *store, Some(&interface), name);
        let load = function("load")?;
        let left_out = function("left-out");
        let attach = function("attach")?;
        Some(Adapters {
            load: instance.get_typed_func(&mut *store, load).ok()?,
            left_out: left_out
                .and_then(|left_out| instance.get_typed_func(&mut *store, left_out).ok()),
            attach: instance.get_typed_func(&mut *store, attach).ok()?,
        })
    }

    pub(crate) fn load(
        self,
        store: impl AsContextMut,
        name: &str,
        model: ResourceAny,
    ) -> wasmtime::Result<Result<ResourceAny, Error>> {
        let (adapter,) = self.load.call(store, (name.to_owned(), model))?;
        Ok(adapter)
    }

    pub(crate) fn left_out(
        self,
        store: impl AsContextMut,
        adapter: ResourceAny,
    ) -> wasmtime::Result<Vec<String>> {
        let Some(left_out) = self.left_out else {
            return Ok(Vec::new());
        };
        let (names,) = left_out.call(store, (adapter,))?;
        Ok(names)
    }

    pub(crate) fn attach(
        self,
        store: impl AsContextMut,
        session: ResourceAny,
        adapters: Scaled,
    ) -> wasmtime::Result<Result<(), Error>> {
        let (attached,) = self.attach.call(store, (session, adapters))?;
        Ok(attached)
    }
}

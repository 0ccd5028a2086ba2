//! What an engine spends its time on: its side of `wit/trace.wit`, if it has one.

use std::time::Duration;

use wasmtime::component::{ComponentType, Instance, Lift, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::runtime::state::State;
use crate::types::OperatorTime;

/// An optional export of an engine.
const INTERFACE: &str = "gust:llm/trace@0.1.0";

/// The functions of an engine that supports tracing. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct Trace {
    start: TypedFunc<(), ()>,
    stop: TypedFunc<(), (Vec<Lap>,)>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Lap {
    operator: String,
    calls: u64,
    nanoseconds: u64,
}

impl Trace {
    pub(super) fn of(store: &mut Store<State>, instance: &Instance) -> Option<Trace> {
        let interface = instance.get_export_index(&mut *store, None, INTERFACE)?;
        let mut function = |name| instance.get_export_index(&mut *store, Some(&interface), name);
        let (start, stop) = (function("start")?, function("stop")?);
        Some(Trace {
            start: instance.get_typed_func(&mut *store, start).ok()?,
            stop: instance.get_typed_func(&mut *store, stop).ok()?,
        })
    }

    pub(crate) fn start(self, store: impl AsContextMut) -> wasmtime::Result<()> {
        self.start.call(store, ())
    }

    pub(crate) fn stop(self, store: impl AsContextMut) -> wasmtime::Result<Vec<OperatorTime>> {
        let (laps,) = self.stop.call(store, ())?;
        let laps = laps.into_iter().map(|lap| OperatorTime {
            operator: lap.operator,
            calls: lap.calls,
            time: Duration::from_nanos(lap.nanoseconds),
        });
        Ok(laps.collect())
    }
}

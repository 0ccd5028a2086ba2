//! What a component may import, and what the host gives it there.

mod collective;
mod wasi;
pub(crate) mod weights;

use wasmtime::component::{HasSelf, Linker};

use crate::runtime::bindings::gust::llm;
use crate::runtime::state::{State, Surroundings};

/// What a component may import.
pub(crate) fn linker(
    engine: &wasmtime::Engine,
    surroundings: &Surroundings,
) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker, surroundings)?;
    llm::weights::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    weights::add_open(&mut linker)?;
    llm::collective::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

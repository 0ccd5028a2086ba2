//! Models with the vocabularies of other files: the engine's side of `wit/tokenizers.wit`, if it has one.

use wasmtime::component::{Instance, ResourceAny, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::runtime::bindings::exports::gust::llm::engine::{Error, LoadOptions};
use crate::runtime::state::State;

/// An optional export of an engine.
const INTERFACE: &str = "gust:llm/tokenizers@0.1.0";

/// The result type of the engine's function.
type Answer = (Result<ResourceAny, Error>,);

/// The function of an engine that runs tokenizers from files. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct Tokenizers {
    load_model: TypedFunc<(String, String, LoadOptions), Answer>,
}

impl Tokenizers {
    pub(super) fn of(store: &mut Store<State>, instance: &Instance) -> Option<Tokenizers> {
        let interface = instance.get_export_index(&mut *store, None, INTERFACE)?;
        let load_model = instance.get_export_index(&mut *store, Some(&interface), "load-model")?;
        Some(Tokenizers {
            load_model: instance.get_typed_func(&mut *store, load_model).ok()?,
        })
    }

    /// Loads the model `name` with the tokenizer `tokenizer`.
    pub(crate) fn load_model(
        self,
        store: impl AsContextMut,
        [name, tokenizer]: [&str; 2],
        options: LoadOptions,
    ) -> wasmtime::Result<Result<ResourceAny, Error>> {
        let names = (name.to_owned(), tokenizer.to_owned());
        let (model,) = self.load_model.call(store, (names.0, names.1, options))?;
        Ok(model)
    }
}

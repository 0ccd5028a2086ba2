//! An adapter: a small change of a model.

use std::fmt;

use crate::runtime::{Blob, Handle, weights};
use crate::{Error, Mismatch, Model, Source};

/// A low-rank change of a model's matrices (LoRA), from a GGUF file as llama.cpp's `convert_lora_to_gguf` writes it.
/// Sessions of the model take any number of them with [`Session::set_adapters`](crate::Session::set_adapters), and keep
/// what they need when this is dropped.
pub struct Adapter {
    model: Model,
    handle: Handle,
    left_out: Vec<String>,
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.model.group().discard(&self.handle);
    }
}

impl Adapter {
    pub(crate) fn load(model: &Model, source: Source) -> Result<Adapter, Error> {
        let blob = Blob::open(source)?;
        let group = model.group();
        let exported = group.ask(model.handle(), |exports, _, _| {
            Ok(Ok(exports.adapters.is_some()))
        });
        if !exported? {
            return Err(adapts_nothing());
        }
        let handle = group.make_optional(model.handle(), move |exports, store, model| {
            let Some(adapters) = exports.adapters else {
                return Err(wasmtime::format_err!("{}", adapts_nothing()));
            };
            // It has a name only as long as it is being loaded.
            store.data_mut().adapter = Some(blob.clone());
            let adapter = adapters.load(&mut *store, weights::ADAPTER, model);
            store.data_mut().adapter = None;
            adapter
        })?;
        let mut adapter = Adapter {
            model: model.clone(),
            handle,
            left_out: Vec::new(),
        };
        adapter.left_out = group.ask(&adapter.handle, |exports, store, adapter| {
            let adapters = exports.adapters;
            let left_out = adapters.map(|adapters| adapters.left_out(store, adapter));
            Ok(Ok(left_out.transpose()?.unwrap_or_default()))
        })?;
        Ok(adapter)
    }

    /// The names of the tensors of its file that are not used, in the file's order: the weights of norms, if these were
    /// trained too. llama.cpp does not use them either.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The adapter in each instance of `model`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it was loaded for another model.
    pub(crate) fn handle_in(&self, model: &Model) -> Result<Handle, Error> {
        if self.model.is_same(model) {
            return Ok(self.handle.clone());
        }
        Err(Error::InvalidArgument(Mismatch {
            subject: "adapter".to_owned(),
            expected: "one that was loaded for the session's model".to_owned(),
            found: "one of another model".to_owned(),
        }))
    }
}

pub(crate) fn adapts_nothing() -> Error {
    let found = "expected an engine that exports gust:llm/adapters, found one that does not";
    Error::Component(found.into())
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

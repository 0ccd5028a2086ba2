//! The `weights` import: gives the engine the bytes of the models that its instance was made for.
//!
//! The engine is told the name [`NAME`], [`DRAFT`] if there is a draft model, [`TOKENIZER`] while a model is loaded with the
//! tokenizer of another file, [`ADAPTER`] while an adapter is loaded, and [`SAVED`] while a state is restored, whatever the
//! files are called. The further files of a model that is split have its name with a suffix, such as
//! `model-00002-of-00003`, and nothing else has a name. Every range is checked before it is used: the engine is not trusted.

use std::sync::Weak;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, WasmStr};

use crate::runtime::bindings::gust::llm::weights::{Host, HostBlob, WeightsError};
use crate::runtime::blob::{Blob, ReadError};
use crate::runtime::memory::{MapError, Region};
use crate::runtime::state::{HANDLES, State};
use crate::types::Error;

/// What the engine calls the model.
pub(crate) const NAME: &str = "model";
/// What the engine calls the model that proposes tokens.
pub(crate) const DRAFT: &str = "draft";
/// What the engine calls the tokenizer of the model that is being loaded.
pub(crate) const TOKENIZER: &str = "tokenizer";
/// What the engine calls the adapter that is being loaded.
pub(crate) const ADAPTER: &str = "adapter";
/// What the engine calls the state that is being restored.
pub(crate) const SAVED: &str = "state";

/// The most that the engine can read at a time, in bytes: the host holds a copy meanwhile.
const MAX_READ: u32 = 64 << 20;

/// Defines `open` so that the blob knows whose it is.
///
/// A composed component has a memory for each of its parts, and `map-pages` takes an address in the caller's memory. A
/// call does not say who the caller is, but its string does: it lies in the caller's memory. A part that passes its
/// blob to another also lends it its own memory, and nothing else.
pub(crate) fn add_open(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let open = |mut store: StoreContextMut<'_, State>, (name,): (WasmStr,)| {
        let name = name.to_str(&store)?;
        let state = store.data();
        let holds = |region: &&Weak<Region>| {
            let region = region.upgrade();
            !name.is_empty() && region.is_some_and(|region| region.holds(name.as_ptr()))
        };
        let region = state.regions.iter().find(holds).cloned();
        let name = name.into_owned();
        let state = store.data_mut();
        state.opener = region.unwrap_or_default();
        Ok((Host::open(state, name)?,))
    };
    linker.allow_shadowing(true);
    let mut weights = linker.instance("gust:llm/weights@0.1.0")?;
    weights.func_wrap("open", open)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Host for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Blob>, WeightsError>> {
        let blob = match self.find(&name) {
            Some(Ok(blob)) => blob,
            Some(Err(Error::NotFound(path))) => return Ok(Err(WeightsError::NotFound(path))),
            Some(Err(error)) => return Ok(Err(WeightsError::Io(error.to_string()))),
            None => return Ok(Err(WeightsError::NotFound(name))),
        };
        let opener = std::mem::take(&mut self.opener);
        let opened = self.table.push(blob.opened_from(opener));
        Ok(opened.map_err(|_| {
            WeightsError::Io(format!(
                "expected at most {HANDLES} things to be open at once, found one more"
            ))
        }))
    }
}

impl State {
    /// What the engine calls `name`.
    fn find(&self, name: &str) -> Option<Result<Blob, Error>> {
        let named = |prefix: &str, blob: &Blob| match name.strip_prefix(prefix)? {
            "" => Some(Ok(blob.clone())),
            suffix => blob.other(suffix),
        };
        let draft = || named(DRAFT, self.draft.as_ref()?);
        let adapter = || named(ADAPTER, self.adapter.as_ref()?);
        let tokenizer = || named(TOKENIZER, self.tokenizer.as_ref()?);
        let saved = || named(SAVED, self.saved.as_ref()?);
        let model = named(NAME, &self.model).or_else(draft);
        model.or_else(tokenizer).or_else(adapter).or_else(saved)
    }

    /// Bytes of all models.
    fn total(&self) -> u64 {
        let draft = self.draft.as_ref().map_or(0, Blob::total_size);
        self.model.total_size().saturating_add(draft)
    }
}

impl HostBlob for State {
    fn size(&mut self, blob: Resource<Blob>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&blob)?.size())
    }

    fn read(
        &mut self,
        blob: Resource<Blob>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, WeightsError>> {
        self.in_time()?;
        if length > MAX_READ {
            let reason =
                format!("expected to read at most {MAX_READ} bytes at a time, found {length}");
            return Ok(Err(WeightsError::Io(reason)));
        }
        let blob = self.table.get(&blob)?;
        let bytes = blob.read(offset, length);
        self.has_read = true;
        if bytes.is_ok() {
            self.progress.add(u64::from(length), self.total());
        }
        Ok(bytes.map_err(|error| match error {
            ReadError::OutOfRange(size) => WeightsError::OutOfRange(size),
            ReadError::Io(reason) => WeightsError::Io(reason),
        }))
    }

    fn map_pages(
        &mut self,
        blob: Resource<Blob>,
        offset: u64,
        length: u64,
        address: u64,
    ) -> wasmtime::Result<Result<(), WeightsError>> {
        self.in_time()?;
        let blob = self.table.get(&blob)?;
        let mapped = blob.map_pages(offset, length, address);
        if mapped.is_ok() {
            self.progress.add(length, self.total());
        }
        let Err(error) = mapped else {
            return Ok(Ok(()));
        };
        Ok(Err(match error {
            MapError::OutOfRange(size) => WeightsError::OutOfRange(size),
            MapError::Unsupported => WeightsError::Unsupported,
            MapError::Io(reason) => WeightsError::Io(reason),
            // The engine must not run again: see `memory`.
            MapError::Lost(reason) => {
                return Err(wasmtime::format_err!(
                    "mapping failed and could not be undone: {reason}"
                ));
            }
        }))
    }

    fn drop(&mut self, blob: Resource<Blob>) -> wasmtime::Result<()> {
        self.table.delete(blob)?;
        Ok(())
    }
}

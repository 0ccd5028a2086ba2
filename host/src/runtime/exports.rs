//! What an instance exports: the engine's functions, and those of the optional interfaces.

mod adapters;
mod chat;
mod embedding;
mod packing;
mod states;
mod tokenizers;
mod trace;

use wasmtime::Store;
use wasmtime::component::Instance;

use crate::runtime::bindings::exports::gust::llm::engine::Guest;
use crate::runtime::bindings::{Llm, LlmIndices};
use crate::runtime::state::State;
use adapters::Adapters;
pub(crate) use chat::{Chat, unix_time};
use embedding::Embedding;
pub(crate) use packing::Packing;
use states::States;
use tokenizers::Tokenizers;
pub(crate) use trace::Trace;

/// The exports of one instance.
pub(crate) struct Exports {
    llm: Llm,
    /// The engine's functions for conversations, if it has them.
    pub(crate) chat: Option<Chat>,
    /// The engine's functions for adapters, if it has them.
    pub(crate) adapters: Option<Adapters>,
    /// The engine's functions for states in pieces, if it has them.
    pub(crate) states: Option<States>,
    /// The engine's function for tokenizers from files, if it has it.
    pub(crate) tokenizers: Option<Tokenizers>,
    /// The engine's functions for embedding texts, if it has them.
    pub(crate) embedding: Option<Embedding>,
    /// The engine's functions for tracing, if it has them.
    pub(crate) trace: Option<Trace>,
    /// The engine's functions for packing, if it has them.
    pub(crate) packing: Option<Packing>,
}

impl Exports {
    /// Finds the exports of `instance`. `indices` says where they are.
    pub(crate) fn of(
        store: &mut Store<State>,
        instance: &Instance,
        indices: &LlmIndices,
    ) -> wasmtime::Result<Exports> {
        Ok(Exports {
            chat: Chat::of(store, instance),
            adapters: Adapters::of(store, instance),
            states: States::of(store, instance),
            tokenizers: Tokenizers::of(store, instance),
            embedding: Embedding::of(store, instance),
            trace: Trace::of(store, instance),
            packing: Packing::of(store, instance),
            llm: indices.load(store, instance)?,
        })
    }

    /// The functions of `gust:llm/engine`.
    pub(crate) fn engine(&self) -> &Guest {
        self.llm.gust_llm_engine()
    }
}

//! What makes vectors of texts: the engine's side of `wit/embedding.wit`, if it has one.

use wasmtime::component::{ComponentType, Instance, Lift, Lower, ResourceAny, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::runtime::bindings::exports::gust::llm::engine::Error;
use crate::runtime::state::State;
use crate::types;

/// An optional export of an engine.
const INTERFACE: &str = "gust:llm/embedding@0.1.0";

/// The result type of the engine's functions.
type Answer<T> = (Result<T, Error>,);

/// The functions of an engine that embeds texts. `None` in an instance of one that does not.
#[derive(Clone, Copy)]
pub(crate) struct Embedding {
    info: TypedFunc<(ResourceAny,), Answer<Info>>,
    embed: TypedFunc<(ResourceAny, Vec<u32>, Options), Answer<Vec<f32>>>,
    tokenize: TypedFunc<(ResourceAny, String), Answer<Vec<u32>>>,
    tokenize_pair: TypedFunc<(ResourceAny, String, String), Answer<Vec<u32>>>,
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
enum Pooling {
    #[component(name = "none")]
    None,
    #[component(name = "mean")]
    Mean,
    #[component(name = "cls")]
    Cls,
    #[component(name = "last")]
    Last,
    #[component(name = "rank")]
    Rank,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Info {
    pooling: Pooling,
    #[component(name = "embeds-only")]
    embeds_only: bool,
    labels: Vec<String>,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Options {
    pooling: Option<Pooling>,
}

impl Embedding {
    pub(super) fn of(store: &mut Store<State>, instance: &Instance) -> Option<Embedding> {
        let interface = instance.get_export_index(&mut *store, None, INTERFACE)?;
        let mut function =
            |name: &str| instance.get_export_index(&mut *store, Some(&interface), name);
        let info = function("info")?;
        let embed = function("embed")?;
        let tokenize = function("tokenize")?;
        let tokenize_pair = function("tokenize-pair")?;
        Some(Embedding {
            info: instance.get_typed_func(&mut *store, info).ok()?,
            embed: instance.get_typed_func(&mut *store, embed).ok()?,
            tokenize: instance.get_typed_func(&mut *store, tokenize).ok()?,
            tokenize_pair: instance.get_typed_func(&mut *store, tokenize_pair).ok()?,
        })
    }

    pub(crate) fn info(
        self,
        store: impl AsContextMut,
        model: ResourceAny,
    ) -> wasmtime::Result<Result<types::EmbeddingInfo, Error>> {
        let (info,) = self.info.call(store, (model,))?;
        Ok(info.map(|info| types::EmbeddingInfo {
            pooling: info.pooling.into(),
            embeds_only: info.embeds_only,
            labels: info.labels,
        }))
    }

    pub(crate) fn embed(
        self,
        store: impl AsContextMut,
        model: ResourceAny,
        tokens: Vec<u32>,
        pooling: Option<types::Pooling>,
    ) -> wasmtime::Result<Result<Vec<f32>, Error>> {
        let options = Options {
            pooling: pooling.map(Pooling::from),
        };
        let (vectors,) = self.embed.call(store, (model, tokens, options))?;
        Ok(vectors)
    }

    pub(crate) fn tokenize(
        self,
        store: impl AsContextMut,
        model: ResourceAny,
        text: &str,
    ) -> wasmtime::Result<Result<Vec<u32>, Error>> {
        let (tokens,) = self.tokenize.call(store, (model, text.to_owned()))?;
        Ok(tokens)
    }

    pub(crate) fn tokenize_pair(
        self,
        store: impl AsContextMut,
        model: ResourceAny,
        query: &str,
        document: &str,
    ) -> wasmtime::Result<Result<Vec<u32>, Error>> {
        let texts = (model, query.to_owned(), document.to_owned());
        let (tokens,) = self.tokenize_pair.call(store, texts)?;
        Ok(tokens)
    }
}

impl From<Pooling> for types::Pooling {
    fn from(pooling: Pooling) -> Self {
        match pooling {
            Pooling::None => Self::None,
            Pooling::Mean => Self::Mean,
            Pooling::Cls => Self::Cls,
            Pooling::Last => Self::Last,
            Pooling::Rank => Self::Rank,
        }
    }
}

impl From<types::Pooling> for Pooling {
    fn from(pooling: types::Pooling) -> Self {
        match pooling {
            types::Pooling::None => Self::None,
            types::Pooling::Mean => Self::Mean,
            types::Pooling::Cls => Self::Cls,
            types::Pooling::Last => Self::Last,
            types::Pooling::Rank => Self::Rank,
        }
    }
}

//! A model. Its shape is data: a [`Plan`] (`plan`), which a file of `arch` makes of the metadata. The layers of a plan
//! are loaded and computed in `layer`; `forward` runs them over a batch. The rest in the order of the data: `weights` and
//! `region`; `state`, what the layers keep of a sequence, with `kv_cache` in the layout of `kv_block` and
//! `recurrent_state`; rotary positions
//! (`rope`), `attention`, `pooling` of hidden states to one vector, adapters (`lora`), and the group of instances that
//! share the work (`group`, `memory_check`).

mod arch;
mod attention;
mod forward;
mod group;
mod kv_block;
mod kv_cache;
mod layer;
mod lora;
mod memory_check;
mod plan;
mod pooling;
mod recurrent_state;
mod region;
mod rope;
mod state;
mod weights;

#[cfg(feature = "tokenizer-json")]
pub(crate) use arch::embedding_rows;
pub(crate) use forward::embeds_only;
pub use forward::{BATCH, Hidden, Span, Transformer};
pub use group::{Group, Solo};
pub use kv_block::KvType;
pub use lora::Adapter;
pub(crate) use lora::Adapters;
pub use plan::{
    AttentionSpec, ExpertsSpec, Ffn, LayerSpec, Mixer, Pairing, Plan, Pooling, RopeScaling,
    RopeSpec, SharedGate, SharedSpec,
};
pub(crate) use state::PIECE;
pub use state::State;
pub use weights::Mapping;

/// Whether a file has all tensors that its plan wants. The error names the first that it lacks.
#[cfg(any(test, feature = "tiny-models"))]
pub(crate) fn wanted_tensor(gguf: &crate::gguf::Gguf) -> crate::error::Result<()> {
    let plan = Plan::from_gguf(gguf)?;
    let place = group::Place { rank: 0, size: 1 };
    weights::Weights::weigh(gguf, &plan, place).map(drop)
}

/// The tensors that adapters can change in the model of a file, each with the shapes of A and B of a rank, in GGUF's order.
#[cfg(any(test, feature = "tiny-models"))]
pub(crate) fn adaptable_tensors(
    gguf: &crate::gguf::Gguf,
    rank: usize,
) -> crate::error::Result<Vec<(String, [[usize; 3]; 2])>> {
    let plan = Plan::from_gguf(gguf)?;
    let place = group::Place { rank: 0, size: 1 };
    let parts = weights::Weights::adaptable(gguf, &plan, place)?;
    let mut tensors = Vec::new();
    for part in &*parts {
        let tensor = (gguf.tensors[part.tensor].name.clone(), part.shapes(rank));
        if !tensors.contains(&tensor) {
            tensors.push(tensor);
        }
    }
    Ok(tensors)
}

#[cfg(test)]
pub(crate) mod tests;

//! A model. Its shape is data: a [`Plan`] (`plan`), which a file of `arch` makes of the metadata. The layers of a plan
//! are loaded and computed in `layer`; `forward` runs them over a batch. The rest in the order of the data: `weights` and
//! `region`; `state`, what the layers keep of a sequence, with `kv_cache` in the layout of `kv_block`; rotary positions
//! (`rope`), `attention`, and the group of instances that share the work (`group`, `memory_check`).

mod arch;
mod attention;
mod forward;
mod group;
mod kv_block;
mod kv_cache;
mod layer;
mod memory_check;
mod plan;
mod region;
mod rope;
mod state;
mod weights;

pub use forward::{BATCH, Hidden, Span, Transformer};
pub use group::{Group, Solo};
pub use kv_block::KvType;
pub use plan::{
    AttentionSpec, ExpertsSpec, Ffn, LayerSpec, Mixer, Pairing, Plan, RopeScaling, RopeSpec,
    SharedGate, SharedSpec,
};
pub use state::State;
pub use weights::Mapping;

#[cfg(test)]
pub(crate) mod tests;

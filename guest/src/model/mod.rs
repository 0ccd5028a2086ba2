//! A model: its shape (`config`), its weights (`weights`, `region`), its memory of a sequence (`kv_cache`, in the
//! layout of `kv_block`), and the computation (`forward`), with rotary positions (`rope`), `attention`, and the group
//! of instances that share the work (`group`, `room`, `shared_cache`).

mod attention;
mod config;
mod forward;
mod group;
mod kv_block;
mod kv_cache;
mod region;
mod room;
mod rope;
mod shared_cache;
mod weights;

pub use config::Config;
pub use forward::{BATCH, Transformer};
pub use group::{Group, Solo};
pub use kv_block::KvType;
pub use kv_cache::KvCache;
pub use weights::Mapping;

#[cfg(test)]
pub(crate) mod tests;

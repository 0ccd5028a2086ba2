//! A model: what it looks like (`config`), its weights (`weights`, `region`), what it remembers of a sequence
//! (`kv_cache`), and the computation (`forward`), with rotary positions (`rope`) and the group of instances that
//! share the work (`group`).

mod config;
mod forward;
mod group;
mod kv_cache;
mod region;
mod rope;
mod weights;

pub use config::Config;
pub use forward::{BATCH, Transformer};
pub use group::{Group, Solo};
pub use kv_cache::{KvCache, KvType};
pub use weights::Mapping;

#[cfg(test)]
pub(crate) mod tests;

//! Runs components: compiles them, gives their instances what they import, and calls them.
//!
//! The layer below the public library and above [`types`](crate::types). The library uses what is named here, and
//! nothing here knows the library. Within the layer, each module knows only those before it:
//!
//! 1. parts that know no engine: [`files`], [`terminal`], [`memory`], [`cache`], [`meeting`], [`last_words`], [`blob`], [`progress`];
//! 2. the contract: [`bindings`], and [`convert`] to and from the public types;
//! 3. an instance: its [`state`], the [`deadline`] of its calls, its [`imports`] and its [`exports`], the [`program`]
//!    that it runs, the [`instance`] itself;
//! 4. a [`group`] of instances that compute one model together.
//!
//! `tests/layers.rs` holds the order.

mod bindings;
mod blob;
mod cache;
mod convert;
mod deadline;
mod exports;
pub mod files;
mod group;
mod imports;
mod instance;
mod last_words;
mod meeting;
#[cfg_attr(not(target_os = "linux"), path = "memory_copied.rs")]
mod memory;
mod program;
mod progress;
mod state;
pub mod terminal;

pub(crate) use bindings::exports::gust::llm::engine as wit;
pub(crate) use blob::Blob;
pub(crate) use cache::{Listeners, default_dir as default_cache_dir};
pub(crate) use exports::{Exports, Packing, Trace, unix_time};
pub(crate) use group::{Answer, Group, Handle};
pub(crate) use imports::weights;
pub(crate) use instance::Instance;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use memory::tests::with_mappings;
pub(crate) use program::{Compilation, Interruption, Profiling, Program, Reservation};
pub(crate) use state::{State, Surroundings};

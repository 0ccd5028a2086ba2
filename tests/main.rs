//! End-to-end tests: the built command and the built engine, from outside. They are one program, so that what they share
//! is compiled and linked once.
//!
//! In the order of the data's way through gust: the built engine, files, tokens, generation, the whole command, and the
//! composed components in a host that is not ours.

mod component;
mod cves;
mod files;
mod fuzz;
mod hostile;

mod tokenizers;

mod agreement;
mod embedding;
mod generation;
mod lora;
mod reference;
mod speculation;

mod cache;
#[cfg(target_os = "linux")]
mod faults;
mod limits;
mod packing;

mod chat;
mod commands;
mod errors;
mod measuring;
mod shipped;

mod http;
mod stock;

mod helpers;

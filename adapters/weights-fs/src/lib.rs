//! `gust:llm/weights` over `wasi:filesystem`: a name is a path in a folder that the host has opened (a *preopen*).
//!
//! [`OpenFile`] provides the bytes, `component` the interface. A program that links the engine in only uses the bytes.

#[cfg(target_env = "p2")]
mod component;
mod file;

pub use file::OpenFile;

//! `gust:llm/weights` over `wasi:filesystem`: a name is a path in a folder that the host has opened (a *preopen*).
//!
//! [`OpenFile`] is the bytes, `component` the border. A program that holds its engine itself takes the bytes alone.

#[cfg(target_env = "p2")]
mod component;
mod file;

pub use file::OpenFile;

//! What is attacked. A target takes any bytes, and panics if something is wrong with gust.
//!
//! The ordinary tests include this module, and replay `../../corpus`.

mod files;
mod filter;
mod gguf;
mod http;
mod state;
mod template;
mod values;
mod vocabulary;

/// Tries an input; a panic is a finding.
pub type Target = fn(&[u8]);

/// All targets, with their names.
pub const ALL: [(&str, Target); 7] = [
    ("gguf", gguf::run),
    ("vocabulary", vocabulary::run),
    ("template", template::run),
    ("state", state::run),
    ("filter", filter::run),
    ("files", files::run),
    ("http", http::run),
];

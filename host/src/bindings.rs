//! Rust types and calls made from `wit/`, and how they become the public ones.
//!
//! The generated types stay in here: the public records have defaults, documentation and room to grow.

#![allow(missing_docs, unreachable_pub, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "llm",
    with: { "gust:llm/weights.blob": crate::weights::Blob },
    imports: { default: trappable },
});

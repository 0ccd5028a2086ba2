//! Rust types and calls generated from `wit/`.
//!
//! The generated types stay in here: the public structs have defaults, documentation and room to grow.

#![allow(missing_docs, unreachable_pub, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "llm",
    with: { "gust:llm/weights.blob": crate::runtime::blob::Blob },
    imports: { default: trappable },
});

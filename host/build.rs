//! Finds the files that are embedded: the compiled-to-WebAssembly engine, the middlewares, and the model that ships.
//!
//! All are made before the host is built, by `cargo xtask build` and by the recipe in `models/`. A missing one ends
//! the build with what to do about it.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    // Cargo starts build scripts in the folder of their package.
    let workspace = Path::new("..");
    embed(
        "GUST_ENGINE",
        workspace.join("target/engine/gust-engine.wasm"),
        "the engine component is missing; run `cargo xtask build`, which builds it first",
    );
    for name in ["filter", "jitter", "log"] {
        embed(
            &format!("GUST_{}_COMPONENT", name.to_uppercase()),
            workspace.join(format!("target/adapters/{name}.wasm")),
            "a middleware is missing; run `cargo xtask build`, which builds it first",
        );
    }
    embed(
        "GUST_EMBED_MODEL",
        workspace.join("models/gust-stories-q8_0.gguf"),
        "the model that ships is missing; restore it with `git checkout models`",
    );
}

/// Hands the path in the environment variable `name`, or `default`, to `include_bytes!(env!(name))`.
fn embed(name: &str, default: PathBuf, missing: &str) {
    println!("cargo::rerun-if-env-changed={name}");
    let path = env::var_os(name).map_or(default, PathBuf::from);
    println!("cargo::rerun-if-changed={}", path.display());
    match path.canonicalize() {
        Ok(path) => println!("cargo::rustc-env={name}={}", path.display()),
        Err(error) => println!("cargo::error={}: {missing} ({error})", path.display()),
    }
}

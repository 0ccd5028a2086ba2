//! Finds the files that are embedded: the compiled-to-WebAssembly engine, the middlewares, and the model that ships.
//!
//! All are made before the host is built, by `cargo xtask build` and by the recipe in `models/`. A missing one ends
//! the build with what to do about it.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    // Cargo starts build scripts in the folder of their package.
    let workspace = Path::new("..");
    describe(&workspace.join("Cargo.lock"));
    embed(
        "GUST_ENGINE",
        workspace.join("target/engine/gust-engine.wasm"),
        "the engine component is missing; run `cargo xtask build`, which builds it first",
    );
    tokenizers(workspace.join("target/engine/gust-engine-tokenizers.wasm"));
    if env::var_os("CARGO_FEATURE_MIDDLEWARE").is_some() {
        for name in ["filter", "jitter", "log", "stand-in"] {
            embed(
                &format!("GUST_{}_COMPONENT", name.to_uppercase().replace('-', "_")),
                workspace.join(format!("target/adapters/{name}.wasm")),
                "a middleware is missing; run `cargo xtask build`, which builds it first",
            );
        }
    }
    embed(
        "GUST_EMBED_MODEL",
        workspace.join("models/gust-stories-q8_0.gguf"),
        "the model that ships is missing; restore it with `git checkout models`",
    );
}

/// Embeds the engine with tokenizers, if it is wanted. It takes minutes to build, so a library does without where it is
/// missing, and says so.
fn tokenizers(path: PathBuf) {
    println!("cargo::rustc-check-cfg=cfg(tokenizers_engine)");
    if env::var_os("CARGO_FEATURE_TOKENIZERS").is_none() {
        return;
    }
    let name = "GUST_ENGINE_TOKENIZERS";
    if env::var_os(name).is_none() && !path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
        println!(
            "cargo::warning={} is missing, so `--tokenizer` will not work; run `cargo xtask build`, which builds it first",
            path.display()
        );
        return;
    }
    println!("cargo::rustc-cfg=tokenizers_engine");
    embed(name, path, "the engine with tokenizers is missing");
}

/// Hands on what [`BuildInfo`](src/build_info.rs) says of the build.
fn describe(lock: &Path) {
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = std::fs::read_to_string(lock).unwrap_or_default();
    let version = text
        .split("[[package]]")
        .find_map(|package| package.trim_start().strip_prefix("name = \"wasmtime\"\n"))
        .and_then(|rest| rest.strip_prefix("version = \"")?.split('"').next());
    println!(
        "cargo::rustc-env=GUST_WASMTIME_VERSION={}",
        version.unwrap_or("unknown")
    );
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=GUST_TARGET={target}");
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

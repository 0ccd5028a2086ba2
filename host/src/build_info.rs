//! What this build of gust is made of: for `gust --version --verbose`, and for reports of bugs.

use sha2::{Digest, Sha256};

use crate::engine::{EMBEDDED, WITH_TOKENIZERS};

/// What a build of gust is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildInfo {
    /// The version of this crate.
    pub version: &'static str,
    /// The version of Wasmtime in the `Cargo.lock` that gust was built with.
    pub wasmtime: &'static str,
    /// The target that gust was compiled for, such as `x86_64-unknown-linux-gnu`.
    pub target: &'static str,
    /// Bytes of the embedded engine, a WebAssembly component.
    pub engine_bytes: usize,
    /// SHA-256 of the embedded engine, in hexadecimal.
    pub engine_sha256: String,
    /// Bytes of the embedded engine with tokenizers from files; none without the feature `tokenizers`.
    pub tokenizers_bytes: Option<usize>,
    /// The middleware that is built in: none without the feature `middleware`.
    pub middleware: &'static [&'static str],
}

impl BuildInfo {
    /// This build.
    pub fn current() -> Self {
        let digest = Sha256::digest(EMBEDDED);
        BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            wasmtime: env!("GUST_WASMTIME_VERSION"),
            target: env!("GUST_TARGET"),
            engine_bytes: EMBEDDED.len(),
            engine_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            tokenizers_bytes: WITH_TOKENIZERS.map(<[u8]>::len),
            middleware: match cfg!(feature = "middleware") {
                true => &["filter", "jitter", "log"],
                false => &[],
            },
        }
    }
}

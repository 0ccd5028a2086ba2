//! Where a model's bytes come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a model's bytes come from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Source {
    /// A file. Its pages are mapped into the engine where possible; it must not change while in use.
    File(PathBuf),
    /// Bytes of the program itself, such as [`SHIPPED_MODEL`](crate::SHIPPED_MODEL). They are copied into the engine.
    Static(&'static [u8]),
    /// Bytes in memory. They are copied into the engine, and released with the model.
    Bytes(Arc<[u8]>),
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Source::File(path)
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        Source::File(path.clone())
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Source::File(path.to_owned())
    }
}

/// A path.
impl From<&str> for Source {
    fn from(path: &str) -> Self {
        Source::File(path.into())
    }
}

impl From<&'static [u8]> for Source {
    fn from(bytes: &'static [u8]) -> Self {
        Source::Static(bytes)
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Source::Bytes(bytes.into())
    }
}

impl From<Arc<[u8]>> for Source {
    fn from(bytes: Arc<[u8]>) -> Self {
        Source::Bytes(bytes)
    }
}

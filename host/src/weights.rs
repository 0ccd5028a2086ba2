//! The `weights` import: gives the engine the bytes of the models that its instance was made for.
//!
//! The engine is told the name [`NAME`], and [`DRAFT`] if there is a draft model, whatever the files are called, and
//! nothing else has a name. Files are read at an offset (`pread`), so that blobs share no state, or mapped (see
//! [`memory`](crate::memory)). Every range is checked here: the engine is not trusted.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, WasmStr};

use crate::bindings::gust::llm::weights::{Host, HostBlob, WeightsError};
use crate::memory::{MapError, Region};
use crate::state::State;
use crate::{Error, Progress, ProgressFn, Source};

/// What the engine calls the model.
pub(crate) const NAME: &str = "model";
/// What the engine calls the model that proposes tokens.
pub(crate) const DRAFT: &str = "draft";

/// A source that was found and opened: the bytes behind a `blob` handle.
#[derive(Clone)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it as `pub`, in a private module"
)]
pub struct Blob {
    data: Data,
    size: u64,
    /// The memory that it is mapped into: the opener's. Dangling if that is not known, or not possible.
    region: Weak<Region>,
}

#[derive(Clone)]
enum Data {
    File(Arc<File>),
    Static(&'static [u8]),
    Bytes(Arc<[u8]>),
}

impl Blob {
    /// Opens `source`, or says why it cannot be opened.
    pub(crate) fn open(source: Source) -> Result<Blob, Error> {
        let path = match source {
            Source::File(path) => path,
            Source::Static(bytes) => {
                return Ok(Blob {
                    size: bytes.len() as u64,
                    data: Data::Static(bytes),
                    region: Weak::new(),
                });
            }
            Source::Bytes(bytes) => {
                return Ok(Blob {
                    size: bytes.len() as u64,
                    data: Data::Bytes(bytes),
                    region: Weak::new(),
                });
            }
        };
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound(path.display().to_string()),
            _ => Error::Io(format!("{}: {error}", path.display())),
        };
        // Checked before opening, because opening a pipe waits for its writer.
        let metadata = path.metadata().map_err(fail)?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() {
                "a folder"
            } else {
                "something that is not a regular file"
            };
            return Err(Error::Io(format!(
                "{}: expected a file, found {found}",
                path.display()
            )));
        }
        let file = File::open(&path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        Ok(Blob {
            data: Data::File(Arc::new(file)),
            size,
            region: Weak::new(),
        })
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, WeightsError> {
        let end = offset.checked_add(u64::from(length));
        let Some(end) = end.filter(|&end| end <= self.size) else {
            return Err(WeightsError::OutOfRange(self.size));
        };
        let bytes = match &self.data {
            Data::File(file) => return read_file(file, offset, length),
            Data::Static(bytes) => bytes,
            Data::Bytes(bytes) => &bytes[..],
        };
        // `end` is at most the length of a slice, so both fit a `usize`.
        Ok(bytes[offset as usize..end as usize].to_vec())
    }
}

/// Reads exactly `length` bytes.
fn read_file(file: &File, offset: u64, length: u32) -> Result<Vec<u8>, WeightsError> {
    let mut bytes = vec![0; length as usize];
    #[cfg(unix)]
    let read = std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, offset);
    #[cfg(windows)]
    let read = {
        use io::{Read, Seek, SeekFrom};
        let mut file = file;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
    };
    match read {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(WeightsError::Io(
            "the file was truncated while in use".into(),
        )),
        Err(error) => Err(WeightsError::Io(error.to_string())),
    }
}

/// Counts the bytes that the instances of a model have taken while they load, and reports to the caller. Clones share
/// one count.
#[derive(Clone)]
pub(crate) struct LoadProgress {
    count: Arc<Count>,
    /// Whether this one reports. Only one does, so that the caller is called on the thread that loads.
    tells: bool,
}

struct Count {
    listener: Option<ProgressFn>,
    done: AtomicU64,
    over: AtomicBool,
}

impl LoadProgress {
    pub(crate) fn new(listener: Option<ProgressFn>) -> Self {
        let count = Arc::new(Count {
            listener,
            done: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        LoadProgress {
            count,
            tells: false,
        }
    }

    /// The progress of instance `rank`.
    pub(crate) fn of(&self, rank: usize) -> Self {
        LoadProgress {
            count: self.count.clone(),
            tells: rank == 0,
        }
    }

    /// Stops reporting.
    pub(crate) fn end(&self) {
        self.count.over.store(true, Ordering::Relaxed);
    }

    fn add(&self, bytes: u64, total: u64) {
        let Count {
            listener,
            done,
            over,
        } = &*self.count;
        let done = done
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        if let (Some(listener), true, false) = (listener, self.tells, over.load(Ordering::Relaxed))
        {
            let done = done.min(total);
            listener(Progress::Loading { done, total });
        }
    }
}

/// Defines `open` so that the blob knows whose it is.
///
/// A composed component has a memory for each of its parts, and `map-pages` takes an address in the caller's memory. A
/// call does not say who the caller is, but its string does: it lies in the caller's memory. A part that passes its
/// blob to another also lends it its own memory, and nothing else.
pub(crate) fn add_open(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let open = |mut store: StoreContextMut<'_, State>, (name,): (WasmStr,)| {
        let name = name.to_str(&store)?;
        let state = store.data();
        let holds = |region: &&Weak<Region>| {
            let region = region.upgrade();
            !name.is_empty() && region.is_some_and(|region| region.holds(name.as_ptr()))
        };
        let region = state.regions.iter().find(holds).cloned();
        let name = name.into_owned();
        let state = store.data_mut();
        state.opener = region.unwrap_or_default();
        Ok((Host::open(state, name)?,))
    };
    linker.allow_shadowing(true);
    let mut weights = linker.instance("gust:llm/weights@0.1.0")?;
    weights.func_wrap("open", open)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Host for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Blob>, WeightsError>> {
        let blob = match (&*name, &self.draft) {
            (NAME, _) => self.model.clone(),
            (DRAFT, Some(draft)) => draft.clone(),
            _ => return Ok(Err(WeightsError::NotFound(name))),
        };
        let blob = Blob {
            region: std::mem::take(&mut self.opener),
            ..blob
        };
        Ok(Ok(self.table.push(blob)?))
    }
}

impl State {
    /// Bytes of all models.
    fn total(&self) -> u64 {
        self.model.size + self.draft.as_ref().map_or(0, |draft| draft.size)
    }
}

impl HostBlob for State {
    fn size(&mut self, blob: Resource<Blob>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&blob)?.size)
    }

    fn read(
        &mut self,
        blob: Resource<Blob>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, WeightsError>> {
        self.in_time()?;
        let blob = self.table.get(&blob)?;
        let bytes = blob.read(offset, length);
        if bytes.is_ok() {
            self.progress.add(u64::from(length), self.total());
        }
        Ok(bytes)
    }

    fn map_pages(
        &mut self,
        blob: Resource<Blob>,
        offset: u64,
        length: u64,
        address: u64,
    ) -> wasmtime::Result<Result<(), WeightsError>> {
        self.in_time()?;
        let blob = self.table.get(&blob)?;
        let (Data::File(file), Some(region)) = (&blob.data, blob.region.upgrade()) else {
            return Ok(Err(WeightsError::Unsupported));
        };
        let mapped = region.map_file(file, blob.size, offset, length, address);
        if mapped.is_ok() {
            self.progress.add(length, self.total());
        }
        Ok(mapped.map_err(|error| match error {
            MapError::OutOfRange(size) => WeightsError::OutOfRange(size),
            MapError::Unsupported => WeightsError::Unsupported,
            MapError::Io(reason) => WeightsError::Io(reason),
        }))
    }

    fn drop(&mut self, blob: Resource<Blob>) -> wasmtime::Result<()> {
        self.table.delete(blob)?;
        Ok(())
    }
}

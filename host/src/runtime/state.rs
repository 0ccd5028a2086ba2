//! What the host keeps for one instance: the data of its store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::runtime::blob::Blob;
use crate::runtime::last_words::LastWords;
use crate::runtime::meeting::Member;
use crate::runtime::memory::Region;
use crate::runtime::progress::LoadProgress;
use crate::types::CancelHandle;

/// Bytes that 32-bit addresses reach: the limit of a memory if none is set.
const ADDRESSABLE: u64 = 1 << 32;

/// What one element of a table takes in the host, in bytes: at most two words.
const TABLE_ELEMENT: u64 = 16;
/// Memories of a component. A composed one has one for each of its parts; each takes address space, whatever its size.
const MEMORIES: usize = 64;
/// Tables, and core instances, of a component: a few for each of its parts.
const PARTS: usize = 1024;

/// What a component can have open at once, in the host's table and in its own: streams, blobs, models, sessions. Each takes
/// some hundred bytes of the host.
pub(crate) const HANDLES: usize = 1 << 16;

/// The data of an instance's store.
pub(crate) struct State {
    /// What the engine's handles stand for.
    pub(crate) table: ResourceTable,
    /// The model's bytes, which `weights` provides.
    pub(crate) model: Blob,
    /// The draft model's bytes, if there is one.
    pub(crate) draft: Option<Blob>,
    /// The bytes of a tokenizer, while a model is loaded with it.
    pub(crate) tokenizer: Option<Blob>,
    /// The bytes of an adapter, while it is loaded.
    pub(crate) adapter: Option<Blob>,
    /// The bytes of a saved session, while it is restored.
    pub(crate) saved: Option<Blob>,
    /// Whether the current call has read some of them.
    pub(crate) has_read: bool,
    /// Counts how much of the models was taken.
    pub(crate) progress: LoadProgress,
    /// The memories of the instance that files can be mapped into. A composed component has one for each of its parts.
    pub(crate) regions: Vec<Weak<Region>>,
    /// The one of them whose owner is opening a blob.
    pub(crate) opener: Weak<Region>,
    /// The memory that it may use, and has asked for.
    pub(crate) memory: MemoryBudget,
    /// Its place among the instances that compute together.
    pub(crate) member: Member,
    /// When the current call has to be over.
    pub(crate) deadline: Option<Instant>,
    /// What cancels the current call.
    pub(crate) cancel: Option<CancelHandle>,
    /// Whether the engine was told that the call is cancelled.
    pub(crate) was_cancelled: bool,
    /// Standard error of the component.
    pub(crate) last_words: LastWords,
    /// The bytes of the budget that are taken for its parts of gathers.
    pub(crate) gathered: u64,
    /// A separate WASI context for this instance.
    wasi: WasiCtx,
}

impl State {
    pub(crate) fn new(
        model: Blob,
        draft: Option<Blob>,
        progress: LoadProgress,
        memory: MemoryBudget,
        member: Member,
        surroundings: &Surroundings,
    ) -> Self {
        // The members of a group write the same output; only one of them is passed on.
        let last_words = LastWords::new(surroundings.for_middleware && member.rank == 0);
        let wasi = WasiCtx::builder()
            .stderr(last_words.clone())
            .envs(&surroundings.variables)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        State {
            table,
            model,
            draft,
            tokenizer: None,
            adapter: None,
            saved: None,
            has_read: false,
            progress,
            regions: Vec::new(),
            opener: Weak::new(),
            memory,
            member,
            deadline: None,
            cancel: None,
            was_cancelled: false,
            wasi,
            last_words,
            gathered: 0,
        }
    }

    /// Whether the engine has used a model file that was truncated, so that it may have read zeros in place of its end, or
    /// overwritten. What was copied before does not depend on the file any more.
    pub(crate) fn file_has_changed(&self) -> bool {
        let regions = || self.regions.iter().filter_map(Weak::upgrade);
        let is_used = self.has_read || regions().any(|region| region.has_mapped());
        let mut blobs = [Some(&self.model), self.draft.as_ref()]
            .into_iter()
            .flatten();
        regions().any(|region| region.file_was_cut()) || is_used && blobs.any(Blob::has_changed)
    }
}

/// What a component has around it besides the model: nothing for an engine alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Environment variables.
    pub(crate) variables: Vec<(String, String)>,
    /// Whether what it writes to stderr is passed on, and it may wait.
    pub(crate) for_middleware: bool,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The memory that the instances that compute together take, in bytes: their linear memories and tables, and what the
/// host keeps for them. Clones share one budget.
#[derive(Clone)]
pub(crate) struct MemoryBudget {
    /// What they may use.
    limit: u64,
    /// What they use.
    used: Arc<AtomicU64>,
    /// Whether this instance was refused memory since this was last set to `false`.
    pub(crate) refused: bool,
    /// Whether the system had no memory for it since then.
    pub(crate) exhausted: bool,
}

impl MemoryBudget {
    /// What `instances` may use, at most `limit` in all.
    pub(crate) fn new(limit: Option<u64>, instances: usize) -> Self {
        let all = ADDRESSABLE.saturating_mul(instances as u64);
        MemoryBudget {
            limit: limit.unwrap_or(all).min(all),
            used: Arc::default(),
            refused: false,
            exhausted: false,
        }
    }

    /// What they use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// What they may use.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes `more` bytes. Returns whether there are as many left; if not, that is noted as [`refused`](Self::refused).
    pub(crate) fn take(&mut self, more: u64) -> bool {
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more).filter(|&used| used <= self.limit)
            });
        self.refused |= taken.is_err();
        taken.is_ok()
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // If growing fails after this because the system has no memory, it stays counted: the budget errs on the small
        // side.
        Ok(self.take(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.exhausted = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        Ok(self.take(more.saturating_mul(TABLE_ELEMENT)))
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn instances(&self) -> usize {
        PARTS
    }
}

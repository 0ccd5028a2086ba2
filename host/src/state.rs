//! What the host keeps for one instance: the data of its store.

use std::sync::Weak;
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::memory::Region;
use crate::trace::Trace;
use crate::wasi::{self, LastWords};
use crate::weights::{Blob, LoadProgress};

/// Bytes that 32-bit addresses reach: the limit of a memory where none is set.
const ADDRESSABLE: u64 = 1 << 32;

/// Elements of tables; an engine's one table holds its functions.
const TABLE_ELEMENTS: usize = 1 << 20;

/// The data of an instance's store.
pub(crate) struct State {
    /// What the engine's handles stand for.
    pub(crate) table: ResourceTable,
    /// The bytes that `weights` gives out.
    pub(crate) model: Blob,
    /// Told what of them was taken.
    pub(crate) progress: LoadProgress,
    /// The instance's one memory. Dangling where there is not exactly one, or files cannot be mapped into it.
    pub(crate) region: Weak<Region>,
    /// Its way to say what it spends its time on, where it has one.
    pub(crate) trace: Option<Trace>,
    /// The memory that it may use, and has asked for.
    pub(crate) memory: MemoryBudget,
    /// When the present call has to be over.
    pub(crate) deadline: Option<Instant>,
    /// Standard error of the component.
    pub(crate) last_words: LastWords,
    wasi: WasiCtx,
}

impl State {
    pub(crate) fn new(model: Blob, progress: LoadProgress, memory: Option<u64>) -> Self {
        let last_words = LastWords::default();
        State {
            table: ResourceTable::new(),
            model,
            progress,
            region: Weak::new(),
            trace: None,
            memory: MemoryBudget {
                limit: memory.unwrap_or(ADDRESSABLE).min(ADDRESSABLE),
                used: 0,
                refused: false,
            },
            deadline: None,
            wasi: wasi::context(&last_words),
            last_words,
        }
    }

    /// Whether the model's file was cut short and the engine has read zeros in place of its end.
    pub(crate) fn file_was_cut(&self) -> bool {
        self.region
            .upgrade()
            .is_some_and(|region| region.file_was_cut())
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The linear memory of an instance: all of its memories together, in bytes.
pub(crate) struct MemoryBudget {
    /// What it may use.
    pub(crate) limit: u64,
    /// What it uses.
    pub(crate) used: u64,
    /// Whether it was refused more since this was last set to `false`.
    pub(crate) refused: bool,
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // What fails after this, for want of the system's memory, stays counted: the budget errs on the small side.
        let used = self.used + desired.saturating_sub(current) as u64;
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

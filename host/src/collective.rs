//! The `collective` import: a group of one.

use crate::bindings::gust::llm::collective::{CollectiveError, Host};
use crate::state::State;

impl Host for State {
    fn rank(&mut self) -> wasmtime::Result<u32> {
        Ok(0)
    }

    fn size(&mut self) -> wasmtime::Result<u32> {
        Ok(1)
    }

    fn all_gather(&mut self, part: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, CollectiveError>> {
        Ok(Ok(part))
    }
}

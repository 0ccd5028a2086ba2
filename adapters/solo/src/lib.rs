//! `gust:llm/collective` for a group of one: the member's part is the whole.
//!
//! In a native build this crate is empty, because it only contains the component.

#![cfg(target_arch = "wasm32")]

#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from documented WIT"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "collective-provider",
    });
    use super::Solo;
    export!(Solo);
}

use bindings::exports::gust::llm::collective::{CollectiveError, Guest};

struct Solo;

impl Guest for Solo {
    fn rank() -> u32 {
        0
    }

    fn size() -> u32 {
        1
    }

    fn all_gather(part: Vec<u8>) -> Result<Vec<u8>, CollectiveError> {
        Ok(part)
    }

    fn checkpoint() -> Result<(), CollectiveError> {
        Ok(())
    }
}

//! The host's list of what processors have, for the tools that compile as gust's host does.

use wasmtime::Config;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the host, which has another part of it in its interface"
)]
#[path = "../../host/src/types/isa.rs"]
mod host;

pub(crate) use host::*;

/// Leaves compiled code no more of this processor's instructions than `isa` has, as gust's host does.
#[allow(dead_code, reason = "not every tool compiles")]
#[expect(unsafe_code, reason = "Cranelift's flags are set by name")]
pub(crate) fn restrict(config: &mut Config, isa: Isa) {
    for flag in isa.flags_off() {
        // SAFETY: the flags say which instructions the processor has, and are only switched off.
        unsafe { config.cranelift_flag_set(flag, "false") };
    }
}

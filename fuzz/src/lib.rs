//! What the fuzzer runs: the [`targets`], each within bounds on time and memory.

mod allocator;
pub mod targets;

use std::time::{Duration, Instant};

/// The most bytes that a target may have allocated at once, besides [`PER_BYTE`].
const ALLOWED: usize = 64 << 20;
/// And for each byte of the input.
const PER_BYTE: usize = 64;
/// The longest time, besides ten seconds for each megabyte of the input. The fuzzer's instrumentation slows all down.
const TIME: Duration = Duration::from_secs(10);

/// Runs the target `name` with `data`.
///
/// # Panics
/// If there is no such target, if what the target checks does not hold, or if it exceeds the bounds.
pub fn run(name: &str, data: &[u8]) {
    let target = targets::ALL.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("a known target");
    let allowed = (
        ALLOWED + PER_BYTE * data.len(),
        TIME + TIME * (data.len() as u32 >> 20),
    );
    let measured = || {
        let start = Instant::now();
        let peak = allocator::peak(|| target(data));
        (peak, start.elapsed())
    };
    let is_fine = |(peak, time): (usize, Duration)| peak <= allowed.0 && time <= allowed.1;
    if is_fine(measured()) {
        return;
    }
    // The first time may have made what all later ones share, such as a tiny model.
    let again = measured();
    assert!(
        is_fine(again),
        "bytes at once and time: {again:?}, allowed are {allowed:?}"
    );
}

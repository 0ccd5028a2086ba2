//! Where the time goes: the forward pass reports laps, as on a running track.
//!
//! [`begin`] starts a round, and each [`lap`] assigns the time since the last one to an operator, so no time is left
//! out. While tracing is off, each call only checks a flag: a few dozen checks for a token of millions of operations.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// An operator's time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lap {
    /// What it computes.
    pub(crate) operator: &'static str,
    pub(crate) calls: u64,
    pub(crate) time: Duration,
}

thread_local! {
    /// The time of the last lap; `None` while tracing is off.
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Few enough for a linear search.
    static LAPS: RefCell<Vec<Lap>> = const { RefCell::new(Vec::new()) };
}

/// Starts tracing, from zero.
#[cfg_attr(
    not(any(
        all(target_arch = "wasm32", feature = "component", not(feature = "bench")),
        test
    )),
    expect(dead_code, reason = "only the component traces")
)]
pub(crate) fn start() {
    LAPS.take();
    LAST.set(Some(Instant::now()));
}

/// Stops tracing and returns the times.
#[cfg_attr(
    not(any(
        all(target_arch = "wasm32", feature = "component", not(feature = "bench")),
        test
    )),
    expect(dead_code, reason = "only the component traces")
)]
pub(crate) fn stop() -> Vec<Lap> {
    LAST.set(None);
    LAPS.take()
}

/// The time before this belongs to no operator.
#[inline]
pub(crate) fn begin() {
    if LAST.get().is_some() {
        LAST.set(Some(Instant::now()));
    }
}

/// The time since the last lap belongs to `operator`.
#[inline]
pub(crate) fn lap(operator: &'static str) {
    if let Some(last) = LAST.get() {
        record(operator, last);
    }
}

/// A separate cold function, so that only the check is inlined into the forward pass.
#[cold]
#[inline(never)]
fn record(operator: &'static str, last: Instant) {
    let now = Instant::now();
    LAPS.with_borrow_mut(|laps| {
        let at = laps.iter().position(|lap| lap.operator == operator);
        let at = at.unwrap_or_else(|| {
            laps.push(Lap {
                operator,
                calls: 0,
                time: Duration::ZERO,
            });
            laps.len() - 1
        });
        laps[at].calls += 1;
        laps[at].time += now - last;
    });
    LAST.set(Some(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_are_summed_by_operator_while_somebody_asks() {
        lap("before");
        start();
        let first = Instant::now();
        begin();
        for operator in ["attn_q", "attn_k", "attn_q"] {
            lap(operator);
        }
        let elapsed = first.elapsed();
        let laps = stop();
        lap("after");
        let calls: Vec<_> = laps.iter().map(|lap| (lap.operator, lap.calls)).collect();
        assert_eq!(calls, [("attn_q", 2), ("attn_k", 1)]);
        assert!(laps.iter().map(|lap| lap.time).sum::<Duration>() <= elapsed);
        assert_eq!(stop(), []);
    }
}

//! What the time is spent on: the forward pass says where it is, as on a running track.
//!
//! [`begin`] is the start of a round, and each [`lap`] gives the time since the last one to an operator, so that nothing
//! is left out. While nobody asks, each is a look at one flag: a few dozen for a token of millions of operations.

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
    /// When the last lap was; `None` while nobody asks.
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Few enough to be searched one by one.
    static LAPS: RefCell<Vec<Lap>> = const { RefCell::new(Vec::new()) };
}

/// Asks for times, from zero.
#[cfg_attr(
    not(any(
        all(target_arch = "wasm32", feature = "component", not(feature = "bench")),
        test
    )),
    expect(dead_code, reason = "only the component asks")
)]
pub(crate) fn start() {
    LAPS.take();
    LAST.set(Some(Instant::now()));
}

/// Asks no more, and gives the times.
#[cfg_attr(
    not(any(
        all(target_arch = "wasm32", feature = "component", not(feature = "bench")),
        test
    )),
    expect(dead_code, reason = "only the component asks")
)]
pub(crate) fn stop() -> Vec<Lap> {
    LAST.set(None);
    LAPS.take()
}

/// What was before belongs to no operator.
#[inline]
pub(crate) fn begin() {
    if LAST.get().is_some() {
        LAST.set(Some(Instant::now()));
    }
}

/// What was since the last lap belongs to `operator`.
#[inline]
pub(crate) fn lap(operator: &'static str) {
    if let Some(last) = LAST.get() {
        record(operator, last);
    }
}

/// Apart, so that the passes hold no more of it than the question.
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

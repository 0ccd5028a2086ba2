//! The pulse of work that reads nothing and computes no layer: a vocabulary is indexed, a text tokenized, a template
//! rendered.
//!
//! The host can end a call that takes too long only where the engine calls the host, and such work does not. So its
//! loops count their steps here, and every so many steps the host is called. Tests read the same count, to hold how the
//! work grows with its input.

use std::cell::Cell;

/// Steps between two calls of the host: well below a millisecond.
const BEAT: u32 = 1 << 14;

thread_local! {
    /// Steps since the last call of the host.
    static STEPS: Cell<u32> = const { Cell::new(0) };
}

/// Counts steps of work.
pub(crate) fn work(steps: usize) {
    #[cfg(test)]
    tests::TOTAL.set(tests::TOTAL.get() + steps as u64);
    let done = STEPS
        .get()
        .saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
    if done < BEAT {
        STEPS.set(done);
        return;
    }
    STEPS.set(0);
    #[cfg(not(feature = "bench"))]
    crate::component::beat();
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    thread_local! {
        /// All steps of this thread.
        pub(super) static TOTAL: Cell<u64> = const { Cell::new(0) };
    }

    /// The result of some work, and its steps.
    pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let before = TOTAL.get();
        let result = work();
        (result, TOTAL.get() - before)
    }

    #[test]
    fn the_steps_of_a_template_are_counted() {
        use crate::chat::{ChatOptions, Clock, Origin, render};
        let options = ChatOptions {
            origin: Origin::Caller,
            add_generation_prompt: true,
            bos_token: None,
            eos_token: None,
            tools: None,
            variables: None,
            clock: Clock::None,
        };
        let steps = |n: u64| {
            let template = format!("{{% for i in range({n}) %}}{{% set x = [i] %}}{{% endfor %}}");
            counted(|| render(&template, &[], &options).unwrap()).1
        };
        let (once, twice) = (steps(500), steps(1_000));
        assert!(once >= 500, "{once}");
        assert!(twice <= 2 * once, "{once} and {twice}");
    }
}

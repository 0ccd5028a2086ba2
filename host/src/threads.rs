//! How many threads compute a model by default.

use crate::{Error, Mismatch};

/// Bytes of a model per thread. With fewer, the threads lose more time waiting for each other than they save.
const PER_THREAD: u64 = 1 << 20;
/// Bytes of a model file that an instance holds: less than the 4 GiB that it can address, because all instances have
/// some weights in common, and because a context takes memory too.
const PER_INSTANCE: u64 = 3 << 30;

/// The number asked for, or the default for a file of `bytes` bytes.
pub(crate) fn choose(asked: Option<u32>, bytes: u64, is_collective: bool) -> Result<usize, Error> {
    let wrong = |expected: &str, found: u32| {
        Err(Error::InvalidArgument(Mismatch {
            subject: "threads".into(),
            expected: expected.into(),
            found: found.to_string(),
        }))
    };
    match asked {
        Some(0) => wrong("at least 1", 0),
        Some(many @ 2..) if !is_collective => wrong(
            "1, because the component does not import `gust:llm/collective`",
            many,
        ),
        Some(many) if many as usize > MOST => wrong("at most 256", many),
        Some(threads) => Ok(threads as usize),
        None if !is_collective => Ok(1),
        None => Ok(default(bytes, cores())),
    }
}

/// More instances than this have no smaller shares of any model.
const MOST: usize = 256;

fn default(bytes: u64, cores: usize) -> usize {
    let worthwhile = usize::try_from(bytes / PER_THREAD).unwrap_or(usize::MAX);
    let needed = usize::try_from(bytes.div_ceil(PER_INSTANCE)).unwrap_or(usize::MAX);
    cores.min(worthwhile).max(needed.min(MOST)).max(1)
}

/// The physical cores that the process may use. Two threads on one core share its execution units.
fn cores() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    allowed.min(num_cpus::get_physical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_models_have_few_threads_and_large_ones_enough() {
        assert_eq!(default(0, 8), 1);
        assert_eq!(default(2 * PER_THREAD - 1, 8), 1);
        assert_eq!(default(3 * PER_THREAD, 8), 3);
        assert_eq!(default(1 << 30, 8), 8);
        assert_eq!(default(PER_INSTANCE, 1), 1);
        assert_eq!(default(PER_INSTANCE + 1, 1), 2);
        assert_eq!(default(10 * PER_INSTANCE, 4), 10);
        assert_eq!(default(u64::MAX, 4), MOST, "the size may be a lie");
    }

    #[test]
    fn a_component_that_cannot_be_grouped_has_one_thread() {
        assert_eq!(choose(None, u64::MAX, false), Ok(1));
        assert_eq!(choose(Some(1), 0, false), Ok(1));
        assert_eq!(choose(Some(3), 0, true), Ok(3));
        assert_eq!(choose(Some(256), 0, true), Ok(MOST));
        for (threads, is_collective) in [(2, false), (0, true), (0, false), (257, true)] {
            let refused = choose(Some(threads), 0, is_collective);
            assert!(matches!(refused, Err(Error::InvalidArgument(_))));
        }
    }
}

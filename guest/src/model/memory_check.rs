//! Checks whether an instance can hold its share of a model's weights, and if not, how many instances are needed.
//!
//! A WebAssembly memory is limited to 4 GiB. Each instance of a group has its own, so a larger model needs a larger
//! group.

use super::group::Place;
use super::plan::Plan;
use super::weights::Weights;
use crate::error::{Result, invalid_argument, unsupported};
use crate::gguf::Gguf;
use crate::pulse::work;

/// The size of the address space, in bytes.
const ADDRESSABLE: u64 = 1 << (if usize::BITS < 64 { usize::BITS } else { 47 });
/// Reserved for everything but the weights: the vocabulary, buffers, and a session with a short context. In bytes.
const FOR_THE_REST: u64 = 128 << 20;
/// Beyond this many instances, the shares do not get smaller for any model.
const MAX_SIZE: usize = 256;

/// Checks that instance `rank` of `size` has enough memory for its weights.
///
/// # Errors
/// `invalid-argument` if a larger group would have enough memory, with the size that it needs; `unsupported` if no
/// group would; `invalid-model` and `unsupported` for tensors, as when they are loaded.
pub(super) fn check(gguf: &Gguf, plan: &Plan, rank: usize, size: usize) -> Result<()> {
    check_in(gguf, plan, rank, size, ADDRESSABLE - FOR_THE_REST)
}

fn check_in(gguf: &Gguf, plan: &Plan, rank: usize, size: usize, room: u64) -> Result<()> {
    let fits = |rank: usize, size: usize| {
        work(gguf.tensors.len());
        let weight = Weights::weigh(gguf, plan, Place { rank, size })?;
        // Rust limits one allocation to less than half of the address space.
        Ok(weight.bytes <= room && weight.largest <= room / 2)
    };
    if fits(rank, size)? {
        return Ok(());
    }
    // The last rank first: it has the larger share of whatever cannot be divided evenly.
    let all_fit = |size: usize| -> Result<bool> {
        for rank in (0..size).rev() {
            if !fits(rank, size)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if size < MAX_SIZE && all_fit(MAX_SIZE)? {
        // Shares get smaller with every instance more, so the smallest number that is enough is found by halving.
        let (mut too_few, mut more) = (size, MAX_SIZE);
        while more - too_few > 1 {
            let middle = too_few.midpoint(more);
            match all_fit(middle)? {
                true => more = middle,
                false => too_few = middle,
            }
        }
        let expected = format!(
            "at least {more}, because the weights take {:.2} GiB and each instance can hold {:.2} GiB",
            gib(gguf.tensors.iter().map(|tensor| tensor.size).sum()),
            gib(room)
        );
        return Err(invalid_argument("instances", expected, size));
    }
    let expected = format!("at most {:.2} GiB in each instance", gib(room));
    let found = "more, with any number of instances";
    Err(unsupported("size of the weights", expected, found))
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::pulse::tests::counted;
    use crate::test_model::{self, Shape};

    /// The number of instances that the error asks for; `None` if the weights fit.
    fn needed(file: &[u8], size: usize, room: u64) -> Option<usize> {
        let gguf = Gguf::read(&file).unwrap();
        let plan = Plan::from_gguf(&gguf).unwrap();
        let checks = (0..size).map(|rank| check_in(&gguf, &plan, rank, size, room));
        match checks.filter_map(Result::err).next()? {
            Error::InvalidArgument(mismatch) => {
                assert_eq!(mismatch.found, size.to_string());
                let words = mismatch.expected.split([' ', ',']);
                Some(words.filter_map(|word| word.parse().ok()).next().unwrap())
            }
            Error::Unsupported(_) => Some(0),
            other => panic!("{other}"),
        }
    }

    fn heaviest(file: &[u8], size: usize) -> u64 {
        let gguf = Gguf::read(&file).unwrap();
        let plan = Plan::from_gguf(&gguf).unwrap();
        let weigh = |rank| Weights::weigh(&gguf, &plan, Place { rank, size }).unwrap();
        (0..size).map(|rank| weigh(rank).bytes).max().unwrap()
    }

    #[test]
    fn as_many_instances_are_asked_for_as_it_takes() {
        for is_tied in [false, true] {
            // Large enough that rounding to pages does not hide the difference.
            let file = test_model::model(&Shape {
                head_dim: 16 << 10,
                is_tied,
                ..Shape::default()
            });
            for enough in 2..6 {
                let (room, more) = (heaviest(&file, enough), heaviest(&file, enough - 1));
                assert_eq!(needed(&file, enough, room), None);
                if more > room {
                    assert_eq!(needed(&file, 1, room), Some(enough));
                    assert_eq!(needed(&file, enough - 1, room), Some(enough));
                }
            }
            assert!(heaviest(&file, 1) > heaviest(&file, 2));
            assert_eq!(needed(&file, 1, 0), Some(0), "nothing helps");
        }
    }

    /// Whatever the room, a model is weighed for a few sizes, and not for each of them with all ranks (32,640 times).
    #[test]
    fn the_number_is_found_with_few_weighings() {
        let file = test_model::model(&Shape {
            head_dim: 16 << 10,
            ..Shape::default()
        });
        let tensors = Gguf::read(&file).unwrap().tensors.len() as u64;
        let most = heaviest(&file, 1);
        let mut largest = 0;
        for share in 0..64 {
            let (_, steps) = counted(|| needed(&file, 1, most * share / 64));
            largest = largest.max(steps / tensors);
        }
        // Eight halvings, in each of which every rank may be weighed.
        assert!(largest <= 9 * MAX_SIZE as u64, "{largest} weighings");
    }
}

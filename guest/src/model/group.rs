//! The group of instances that compute one model together: the engine's side of `wit/collective.wit`.
//!
//! Each instance has some rows of every matrix. It computes whole dot products and gets the other instances' results
//! with `all_gather`, so the results have the same bits for every group size.

use std::ops::Range;

use crate::error::{Error, Result};

/// This instance's place in a group, and its connection to the others.
pub trait Group {
    /// This instance's number, below [`Group::size`].
    fn rank(&self) -> usize;

    /// The number of instances in the group.
    fn size(&self) -> usize;

    /// The parts of all instances, concatenated in order of rank.
    ///
    /// # Errors
    /// `aborted` if the call is cancelled or another instance is gone.
    fn all_gather(&self, part: &[u8]) -> Result<Vec<u8>>;

    /// Passes a point where the current call can be ended. For a group of one; in larger groups, gathers are such
    /// points.
    ///
    /// # Errors
    /// `aborted` if the call is cancelled.
    fn checkpoint(&self) -> Result<()>;
}

/// A group of one.
#[derive(Debug, Clone, Copy)]
pub struct Solo;

impl Group for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_gather(&self, part: &[u8]) -> Result<Vec<u8>> {
        Ok(part.to_vec())
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }
}

/// An instance's place in a group, and with it its rows of every matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) rank: usize,
    pub(crate) size: usize,
}

impl Place {
    pub(crate) fn of(group: &dyn Group) -> Self {
        Self {
            rank: group.rank(),
            size: group.size(),
        }
    }

    /// This instance's part of `n` things.
    pub(crate) fn units(self, n: usize) -> Range<usize> {
        let at = |rank: usize| (n as u64 * rank as u64 / self.size as u64) as usize;
        at(self.rank)..at(self.rank + 1)
    }

    /// This instance's part of `n` rows: groups of four if their number is a multiple of four, because packed rows are
    /// interleaved in fours.
    pub(crate) fn rows(self, n: usize) -> Range<usize> {
        let together = if n.is_multiple_of(4) { 4 } else { 1 };
        let groups = self.units(n / together);
        together * groups.start..together * groups.end
    }
}

/// Called between long products: asks whether to continue where no gather will soon do so. Does nothing in a larger
/// group, whose members have less to compute and must all leave at the same point.
pub(crate) fn pause(group: &dyn Group) -> Result<()> {
    match group.size() {
        1 => group.checkpoint(),
        _ => Ok(()),
    }
}

/// Completes rows of which this instance has computed its own columns. `part` is `[tokens, own columns]`, `out` becomes
/// `[tokens, n]`, and `share` returns the columns of each place. In a group of one nothing is copied: `part` and `out`
/// are swapped.
pub(crate) fn gather_columns(
    group: &dyn Group,
    part: &mut Vec<f32>,
    n: usize,
    share: impl Fn(Place) -> Range<usize>,
    out: &mut Vec<f32>,
) -> Result<()> {
    if group.size() == 1 {
        std::mem::swap(part, out);
        return group.checkpoint();
    }
    let tokens = out.len() / n;
    let mut bytes = vec![0; 4 * part.len()];
    for (raw, x) in bytes.as_chunks_mut().0.iter_mut().zip(&*part) {
        *raw = x.to_le_bytes();
    }
    let gathered = group.all_gather(&bytes)?;
    if gathered.len() != 4 * out.len() {
        let found = format!(
            "gathered {} bytes, expected {}",
            gathered.len(),
            4 * out.len()
        );
        return Err(Error::Aborted(found));
    }
    let (mut raws, _) = gathered.as_chunks();
    let size = group.size();
    for rank in 0..size {
        let columns = share(Place { rank, size });
        for t in 0..tokens {
            // The shares of all ranks together are all columns, so the length matches the one checked above.
            let (own, rest) = raws.split_at(columns.len());
            for (x, raw) in out[t * n..][columns.clone()].iter_mut().zip(own) {
                *x = f32::from_le_bytes(*raw);
            }
            raws = rest;
        }
    }
    Ok(())
}

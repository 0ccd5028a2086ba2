//! The group of instances that compute one model together: the engine's side of `wit/collective.wit`.
//!
//! Each instance has some rows of every matrix. It computes whole dot products, and gets the others' results by
//! `all_gather`; so the numbers are the same bits for every size of the group.

use std::ops::Range;

use crate::error::{Error, Result};

/// This instance's place in a group, and the way to the others.
pub trait Group {
    /// This instance's number, below [`Group::size`].
    fn rank(&self) -> usize;

    /// Instances in the group.
    fn size(&self) -> usize;

    /// The parts of all instances, in order of their rank, put together.
    ///
    /// # Errors
    /// `aborted` when the call is cancelled or another instance is gone.
    fn all_gather(&self, part: &[u8]) -> Result<Vec<u8>>;

    /// Passes where the call that is under way can be ended. For one that is alone; in a group, gathers are such places.
    ///
    /// # Errors
    /// `aborted` when the call is cancelled.
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

/// Between long products: asks whether to go on where no gathering does so soon. Members of a larger group have less to
/// compute, and all of them have to leave at the same place.
pub(crate) fn pause(group: &dyn Group) -> Result<()> {
    match group.size() {
        1 => group.checkpoint(),
        _ => Ok(()),
    }
}

/// Completes rows of which this instance has computed the columns `own`, given as `[tokens, own]`: gives `[tokens, n]`.
/// `share` says which columns each rank has. In a group of one nothing is copied: `part` and `out` trade places.
pub(crate) fn gather_columns(
    group: &dyn Group,
    part: &mut Vec<f32>,
    n: usize,
    share: impl Fn(usize) -> Range<usize>,
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
            "{} bytes were gathered, not {}",
            gathered.len(),
            4 * out.len()
        );
        return Err(Error::Aborted(found));
    }
    let (mut raws, _) = gathered.as_chunks();
    for rank in 0..group.size() {
        let columns = share(rank);
        for t in 0..tokens {
            // The shares of all ranks are all columns, so there are as many as were counted.
            let (own, rest) = raws.split_at(columns.len());
            for (x, raw) in out[t * n..][columns.clone()].iter_mut().zip(own) {
                *x = f32::from_le_bytes(*raw);
            }
            raws = rest;
        }
    }
    Ok(())
}

//! What a recurrent part keeps of one sequence: numbers of a fixed size, whatever the length.
//!
//! They cannot be taken back token by token. So copies of them are kept for a few earlier positions, and a sequence that
//! is rewound continues from the last one before.

use super::group::{Group, Place};
use crate::error::{Error, Result, reserve};
use crate::quant::{Element, F32};

/// The copies that are kept.
const SNAPSHOTS: usize = 2;
/// The most tokens after a copy before the next one, if they come one by one. Batches make a copy each: what is computed
/// ahead may be rejected.
const INTERVAL: usize = 32;

/// The sizes of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecurrentShape {
    pub(crate) parts: Vec<Part>,
}

/// Numbers of one kind: for each of some units, such as channels or heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The number of units.
    pub(crate) n: usize,
    /// Whether each instance of a group keeps its own units only, by [`Place::units`] of so many blocks; otherwise each
    /// keeps all.
    pub(crate) blocks: Option<usize>,
    /// Numbers per unit.
    pub(crate) width: usize,
}

impl Part {
    /// The units of a place.
    fn own(&self, place: Place) -> std::ops::Range<usize> {
        match self.blocks {
            None => 0..self.n,
            Some(blocks) => {
                let (own, per_block) = (place.units(blocks), self.n / blocks);
                own.start * per_block..own.end * per_block
            }
        }
    }

    /// The numbers that a place keeps.
    pub(crate) fn own_len(&self, place: Place) -> usize {
        self.own(place).len() * self.width
    }
}

impl RecurrentShape {
    /// The numbers that a place keeps.
    pub(crate) fn own_len(&self, place: Place) -> usize {
        self.parts.iter().map(|part| part.own_len(place)).sum()
    }

    /// The saved size in bytes.
    pub(crate) fn saved_bytes(&self) -> u64 {
        let numbers = self.parts.iter().map(|part| (part.n * part.width) as u64);
        4 * numbers.sum::<u64>()
    }
}

/// The numbers of one sequence, for this instance.
pub(crate) struct RecurrentState {
    /// The number of tokens that have gone into `numbers`.
    position: usize,
    numbers: Vec<f32>,
    /// Earlier ones with their positions, the latest last.
    snapshots: Vec<(usize, Vec<f32>)>,
    /// Buffers of dropped snapshots.
    spare: Vec<Vec<f32>>,
}

impl RecurrentState {
    /// The state before the first token, with memory for snapshots.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn new(len: usize) -> Result<Self> {
        let zeros = || {
            let mut numbers = Vec::new();
            let reserved = numbers.try_reserve_exact(len);
            reserved.map_err(|_| Error::OutOfMemory {
                needed: Self::bytes(len),
                available: 0,
            })?;
            numbers.resize(len, 0.0);
            Ok(numbers)
        };
        Ok(Self {
            position: 0,
            numbers: zeros()?,
            snapshots: Vec::with_capacity(SNAPSHOTS),
            spare: (0..SNAPSHOTS).map(|_| zeros()).collect::<Result<_>>()?,
        })
    }

    /// The reserved bytes of a state of `len` numbers.
    fn bytes(len: usize) -> u64 {
        4 * len as u64 * (1 + SNAPSHOTS as u64)
    }

    /// The number of reserved bytes.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        Self::bytes(self.numbers.len())
    }

    /// The numbers, which now get `n_tokens` tokens from `position` on.
    pub(crate) fn advance(&mut self, position: usize, n_tokens: usize) -> &mut [f32] {
        debug_assert_eq!(self.position, position);
        let last = self.snapshots.last().map_or(0, |(at, _)| *at);
        let is_due = n_tokens > 1 || position - last >= INTERVAL;
        if is_due && position > last {
            self.keep();
        }
        self.position = position + n_tokens;
        &mut self.numbers
    }

    /// The numbers of the position that it has advanced to.
    pub(crate) fn numbers(&mut self) -> &mut [f32] {
        &mut self.numbers
    }

    fn keep(&mut self) {
        let mut copy = match self.spare.pop() {
            Some(copy) => copy,
            None => self.snapshots.remove(0).1,
        };
        copy.copy_from_slice(&self.numbers);
        self.snapshots.push((self.position, copy));
    }

    /// Whether it can be at this position again.
    pub(crate) fn can_be_at(&self, position: usize) -> bool {
        let mut kept = self.snapshots.iter().map(|(at, _)| *at);
        position == 0 || position == self.position || kept.any(|at| at == position)
    }

    /// The last position up to `length` that it can be at.
    pub(crate) fn last_before(&self, length: usize) -> usize {
        let kept = self.snapshots.iter().map(|(at, _)| *at);
        let all = kept.chain([self.position]);
        all.filter(|at| *at <= length).max().unwrap_or(0)
    }

    /// Goes back to a position that it can be at.
    pub(crate) fn rewind(&mut self, position: usize) {
        if position == self.position {
            return;
        }
        while let Some((_, later)) = self.snapshots.pop_if(|(at, _)| *at > position) {
            self.spare.push(later);
        }
        match self.snapshots.last() {
            Some((at, numbers)) if *at == position => self.numbers.copy_from_slice(numbers),
            _ => self.numbers.fill(0.0),
        }
        self.position = position;
    }

    /// An independent copy.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn fork(&self) -> Result<Self> {
        let mut copy = Self::new(self.numbers.len())?;
        copy.numbers.copy_from_slice(&self.numbers);
        copy.position = self.position;
        for (at, numbers) in &self.snapshots {
            if let Some(mut buffer) = copy.spare.pop() {
                buffer.copy_from_slice(numbers);
                copy.snapshots.push((*at, buffer));
            }
        }
        Ok(copy)
    }

    /// Appends what all instances keep, whichever group that is: the units of each part in their order.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub(crate) fn save(
        &self,
        shape: &RecurrentShape,
        group: &dyn Group,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut rest = &*self.numbers;
        for part in &shape.parts {
            let (own, after) = rest.split_at(part.own_len(Place::of(group)));
            rest = after;
            match part.blocks {
                Some(_) if group.size() > 1 => {
                    let mut bytes = Vec::new();
                    reserve(&mut bytes, 4 * own.len())?;
                    bytes.extend(own.iter().flat_map(|x| x.to_le_bytes()));
                    out.extend(group.all_gather(&bytes)?);
                }
                _ => out.extend(own.iter().flat_map(|x| x.to_le_bytes())),
            }
        }
        Ok(())
    }

    /// Whether saved numbers are finite.
    pub(crate) fn is_finite(bytes: &[u8]) -> bool {
        F32::raws(bytes)
            .iter()
            .all(|raw| F32::to_f32(*raw).is_finite())
    }

    /// Loads this instance's part of saved numbers, of [`RecurrentShape::saved_bytes`], for a sequence of `tokens`
    /// tokens.
    pub(crate) fn load(
        &mut self,
        shape: &RecurrentShape,
        place: Place,
        tokens: usize,
        bytes: &[u8],
    ) {
        self.spare
            .extend(self.snapshots.drain(..).map(|(_, buffer)| buffer));
        let mut rest = F32::raws(bytes);
        let mut numbers = self.numbers.iter_mut();
        for part in &shape.parts {
            let (all, after) = rest.split_at(part.n * part.width);
            rest = after;
            let own = part.own(place);
            let own = &all[own.start * part.width..own.end * part.width];
            for (raw, x) in own.iter().zip(numbers.by_ref()) {
                *x = F32::to_f32(*raw);
            }
        }
        self.position = tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up the tokens `position..position + n`, each as its number plus 1.
    fn advance(state: &mut RecurrentState, position: usize, n: usize) {
        let numbers = state.advance(position, n);
        for at in position..position + n {
            numbers[0] += at as f32 + 1.0;
        }
    }

    fn expected(tokens: usize) -> f32 {
        (tokens * (tokens + 1) / 2) as f32
    }

    #[test]
    fn it_goes_back_to_what_it_was() {
        let mut state = RecurrentState::new(1).unwrap();
        advance(&mut state, 0, 10);
        advance(&mut state, 10, 5);
        advance(&mut state, 15, 7);
        for (length, reached) in [(22, 22), (21, 15), (15, 15), (14, 10), (9, 0)] {
            assert_eq!(state.last_before(length), reached);
            assert!(state.can_be_at(reached));
            let mut copy = state.fork().unwrap();
            copy.rewind(reached);
            assert_eq!(copy.numbers[0], expected(reached));
            // What comes after does not depend on what was dropped.
            advance(&mut copy, reached, 3);
            assert_eq!(copy.numbers[0], expected(reached + 3));
            copy.rewind(reached);
            assert_eq!(copy.numbers[0], expected(reached));
        }
        assert!(!state.can_be_at(12));
    }

    #[test]
    fn tokens_one_by_one_are_copied_now_and_then() {
        let mut state = RecurrentState::new(1).unwrap();
        for at in 0..200 {
            advance(&mut state, at, 1);
        }
        let reached = state.last_before(199);
        assert!((200 - INTERVAL..200).contains(&reached), "{reached}");
        state.rewind(reached);
        assert_eq!(state.numbers[0], expected(reached));
    }

    /// The shares of any group, saved one after the other, are loaded by any other group.
    #[test]
    fn units_are_saved_in_their_order() {
        let shape = RecurrentShape {
            parts: vec![
                Part {
                    n: 6,
                    blocks: Some(3),
                    width: 2,
                },
                Part {
                    n: 2,
                    blocks: None,
                    width: 1,
                },
            ],
        };
        let bytes: Vec<u8> = (0..14u8).flat_map(|x| f32::from(x).to_le_bytes()).collect();
        assert_eq!(bytes.len() as u64, shape.saved_bytes());
        let mut all = Vec::new();
        for rank in 0..2 {
            let place = Place { rank, size: 2 };
            let mut state = RecurrentState::new(shape.own_len(place)).unwrap();
            state.load(&shape, place, 5, &bytes);
            assert_eq!(&state.numbers[state.numbers.len() - 2..], [12.0, 13.0]);
            all.extend_from_slice(&state.numbers[..state.numbers.len() - 2]);
        }
        let expected: Vec<f32> = (0..12u8).map(f32::from).collect();
        assert_eq!(all, expected);
    }
}

//! What a model keeps of one sequence: for each layer, what the layer needs of earlier tokens.
//!
//! It can be saved as bytes, whichever instance of a group keeps them, so that a group of any other size can continue
//! from what one group has saved: for each layer, the keys and then the values of all tokens of each of its heads, or
//! what a recurrent part keeps.

use std::ops::Range;
use std::rc::Rc;

use super::forward::Transformer;
use super::group::Place;
use super::kv_block::KvType;
use super::kv_cache::KvCache;
use super::lora::Adapters;
use super::plan::{Mixer, Plan};
use super::recurrent_state::RecurrentState;
use crate::blob::Blob;
use crate::error::{Error, Result, reserve};

/// The most bytes of a saved sequence that are given, and read, at once. A multiple of what any number takes; small in
/// tests, so that they have several.
pub(crate) const PIECE: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// What the layers of a model keep of one sequence. Memory for the whole context is reserved on creation and becomes
/// resident as it is used; nothing is allocated later.
pub struct State {
    /// The capacity in tokens.
    capacity: usize,
    layers: Vec<LayerState>,
    /// What the model's matrices are changed by for this sequence.
    adapters: Option<Rc<Adapters>>,
}

enum LayerState {
    /// The keys and values of all tokens, or of those that a window sees, for this instance's heads.
    Kv(KvCache),
    /// What a recurrent part keeps.
    Recurrent(RecurrentState),
    /// Nothing: the part sees what another one keeps.
    Nothing,
}

impl State {
    /// The state of an empty sequence.
    ///
    /// # Errors
    /// `out-of-memory`; `invalid-argument` for Q8_0 if a head width is not a multiple of 32.
    pub(super) fn new(plan: &Plan, place: Place, kv_type: KvType, capacity: usize) -> Result<Self> {
        let mut state = Self {
            capacity,
            layers: Vec::new(),
            adapters: None,
        };
        // The layers of an encoder take turns with one cache.
        let n = if plan.is_encoder() {
            1
        } else {
            plan.mixers().count()
        };
        for mixer in plan.mixers().take(n) {
            let made = match mixer.kv_shape() {
                _ if mixer.keeps_nothing() => Ok(LayerState::Nothing),
                Some(shape) => {
                    let (layout, kv_heads) = (shape.layout(kv_type), shape.own_kv_heads(place));
                    KvCache::new(layout, capacity, shape.window, kv_heads.len()).map(LayerState::Kv)
                }
                None => {
                    let len = mixer.recurrent_shape().own_len(place);
                    RecurrentState::new(len).map(LayerState::Recurrent)
                }
            };
            state.layers.push(made.map_err(|error| match error {
                // What all layers need, and what they got.
                Error::OutOfMemory { needed, available } => {
                    let before = state.reserved_bytes();
                    let rest = (n - state.layers.len()) as u64;
                    Error::OutOfMemory {
                        needed: before + needed * rest,
                        available: before + available,
                    }
                }
                other => other,
            })?);
        }
        Ok(state)
    }

    /// An independent copy with the same capacity.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn fork(&self) -> Result<Self> {
        let fork = |layer: &LayerState| match layer {
            LayerState::Kv(cache) => cache.fork().map(LayerState::Kv),
            LayerState::Recurrent(state) => state.fork().map(LayerState::Recurrent),
            LayerState::Nothing => Ok(LayerState::Nothing),
        };
        Ok(Self {
            capacity: self.capacity,
            layers: self.layers.iter().map(fork).collect::<Result<_>>()?,
            adapters: self.adapters.clone(),
        })
    }

    /// What the model's matrices are changed by for this sequence.
    pub(crate) fn adapters(&self) -> Option<&Rc<Adapters>> {
        self.adapters.as_ref()
    }

    /// Changes the model's matrices by `adapters` for this sequence from now on. Drops all tokens: they were computed
    /// with other matrices. The caller has reserved buffers for `adapters`.
    pub(crate) fn set_adapters(&mut self, adapters: Option<Rc<Adapters>>) {
        self.rewind(0);
        self.adapters = adapters;
    }

    /// The capacity in tokens.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of reserved bytes.
    pub fn reserved_bytes(&self) -> u64 {
        let bytes = self.layers.iter().map(|layer| match layer {
            LayerState::Kv(cache) => cache.reserved_bytes(),
            LayerState::Recurrent(state) => state.reserved_bytes(),
            LayerState::Nothing => 0,
        });
        bytes.sum()
    }

    /// Drops all tokens from position `length` on. Returns the position that it reached: where the sequence has to be
    /// computed again from. It is never more than `length`. Keys and values reach just there, unless a window has lost
    /// tokens that it would see; recurrent parts reach the last position that all of them have a copy of.
    pub fn rewind(&mut self, length: usize) -> usize {
        let recurrent = || {
            self.layers.iter().filter_map(|layer| match layer {
                LayerState::Recurrent(state) => Some(state),
                LayerState::Kv(_) | LayerState::Nothing => None,
            })
        };
        let mut reached = length;
        // All can be at the start.
        while let Some(state) = recurrent().find(|state| !state.can_be_at(reached)) {
            reached = state.last_before(reached);
        }
        let can_be_there = |layer: &LayerState| match layer {
            LayerState::Kv(cache) => cache.can_be_at(reached),
            LayerState::Recurrent(_) | LayerState::Nothing => true,
        };
        if !self.layers.iter().all(can_be_there) {
            reached = 0;
        }
        for layer in &mut self.layers {
            match layer {
                LayerState::Kv(cache) => cache.truncate(reached),
                LayerState::Recurrent(state) => state.rewind(reached),
                LayerState::Nothing => {}
            }
        }
        reached
    }

    /// The keys and values that the part with this number, one of attention, keeps.
    pub(super) fn kv(&mut self, slot: usize) -> &mut KvCache {
        match &mut self.layers[slot] {
            LayerState::Kv(cache) => cache,
            _ => unreachable!("the plan has attention there"),
        }
    }

    /// What the part with this number, a recurrent one, keeps.
    pub(super) fn recurrent(&mut self, slot: usize) -> &mut RecurrentState {
        match &mut self.layers[slot] {
            LayerState::Recurrent(state) => state,
            _ => unreachable!("the plan has a recurrent part there"),
        }
    }
}

impl Transformer {
    /// The saved size of `tokens` tokens, over all heads and layers, in bytes.
    pub fn saved_bytes(&self, state: &State, tokens: usize) -> u64 {
        self.saved_layers(state, tokens).sum()
    }

    /// The same for each layer.
    fn saved_layers(&self, state: &State, tokens: usize) -> impl Iterator<Item = u64> {
        let layers = self.plan().mixers().zip(&state.layers);
        layers.map(move |(mixer, state)| match (mixer.kv_shape(), state) {
            (Some(shape), LayerState::Kv(cache)) => {
                cache.head_bytes(tokens) * shape.n_kv_heads as u64
            }
            (_, LayerState::Nothing) => 0,
            _ => mixer.recurrent_shape().saved_bytes(),
        })
    }

    /// The bytes of a saved sequence of `tokens` tokens from `offset` on, whichever instances keep them: at most a
    /// mebibyte, and none at the end. All instances of the group succeed, or none.
    ///
    /// # Errors
    /// `out-of-memory`; `aborted` if another instance of the group is gone.
    pub fn save_piece(&self, state: &State, tokens: usize, offset: u64) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        // Besides the piece: this instance's part of it, and what all have gathered.
        let parts = 2 * self.largest_part(state, tokens);
        let left = self.saved_bytes(state, tokens).saturating_sub(offset);
        let room = reserve(&mut out, left.min(PIECE as u64) as usize);
        let room = room.and_then(|()| reserve(&mut Vec::<u8>::new(), parts));
        self.agree(room)?;
        let sizes = self.saved_layers(state, tokens);
        let layers = self.plan().mixers().zip(&state.layers).zip(sizes);
        let mut start = 0;
        for ((mixer, layer), size) in layers {
            // What is wanted of this layer.
            let from = (offset + out.len() as u64).clamp(start, start + size) - start;
            let room = (PIECE - out.len()) as u64;
            let range = from..size.min(from + room);
            start += size;
            if !range.is_empty() {
                self.save_layer(mixer, layer, tokens, range, &mut out)?;
            }
        }
        Ok(out)
    }

    /// Appends the bytes in `range` of a saved layer.
    fn save_layer(
        &self,
        mixer: &Mixer,
        layer: &LayerState,
        tokens: usize,
        range: Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        match layer {
            LayerState::Kv(cache) => {
                let Some(shape) = mixer.kv_shape() else {
                    unreachable!("the state is of this plan");
                };
                // The heads of all instances follow each other, so what each has of the range does too.
                let head = cache.head_bytes(tokens);
                let heads = shape.own_kv_heads(Place::of(self.group()));
                let own = heads.start as u64 * head..heads.end as u64 * head;
                // This instance keeps them, so they fit into its memory.
                let within = |at: u64| (at.clamp(own.start, own.end) - own.start) as usize;
                let range = within(range.start)..within(range.end);
                if self.group().size() == 1 || shape.is_shared {
                    cache.save(range, out);
                    return Ok(());
                }
                let mut part = Vec::new();
                reserve(&mut part, range.len())?;
                cache.save(range, &mut part);
                out.extend(self.group().all_gather(&part)?);
            }
            LayerState::Recurrent(state) => {
                let shape = mixer.recurrent_shape();
                let mut whole = Vec::new();
                reserve(&mut whole, shape.saved_bytes() as usize)?;
                state.save(&shape, self.group(), &mut whole)?;
                out.extend(&whole[range.start as usize..range.end as usize]);
            }
            LayerState::Nothing => {}
        }
        Ok(())
    }

    /// The most bytes that an instance needs to exchange what it keeps of a piece.
    fn largest_part(&self, state: &State, tokens: usize) -> usize {
        let sizes = self.saved_layers(state, tokens).zip(&state.layers);
        let parts = sizes.map(|(size, layer)| match layer {
            LayerState::Kv(_) => size.min(PIECE as u64),
            LayerState::Recurrent(_) => size,
            LayerState::Nothing => 0,
        });
        parts.max().unwrap_or(0) as usize
    }

    /// The outcome of a step that all instances of the group have to take, or none: an error if it is one in any of them.
    ///
    /// # Errors
    /// That of the step; `out-of-memory` if another instance has one; `aborted` if another is gone.
    pub(crate) fn agree<T>(&self, done: Result<T>) -> Result<T> {
        if self.group().size() == 1 {
            return done;
        }
        let answers = self.group().all_gather(&[u8::from(done.is_ok())])?;
        match done {
            Ok(_) if answers.contains(&0) => Err(Error::OutOfMemory {
                needed: PIECE as u64,
                available: 0,
            }),
            done => done,
        }
    }

    /// Whether a sequence of `tokens` tokens, which is saved from `offset` to the end of `saved`, fits, has the right length,
    /// and contains finite numbers only. Reads pieces of the size that [`load_state`](Self::load_state) does, so there is
    /// memory for it afterwards.
    ///
    /// # Errors
    /// `out-of-memory`, `io`; `aborted` if another instance of the group is gone.
    pub fn check_state(
        &self,
        state: &State,
        tokens: usize,
        saved: &dyn Blob,
        offset: u64,
    ) -> Result<bool> {
        let expected = self.saved_bytes(state, tokens);
        if tokens > state.capacity() || offset.checked_add(expected) != Some(saved.size()) {
            return Ok(false);
        }
        self.agree(self.is_finite(state, tokens, saved, offset))
    }

    /// Loads this instance's part of such a sequence, which has been checked.
    ///
    /// # Errors
    /// `out-of-memory`, `io`; then the state is of no use until it is rewound to its start.
    pub fn load_state(
        &self,
        state: &mut State,
        tokens: usize,
        saved: &dyn Blob,
        offset: u64,
    ) -> Result<()> {
        let place = Place::of(self.group());
        let sizes: Vec<u64> = self.saved_layers(state, tokens).collect();
        let mut start = offset;
        for ((mixer, layer), size) in self.plan().mixers().zip(&mut state.layers).zip(sizes) {
            let mut at = start;
            start += size;
            match layer {
                LayerState::Kv(cache) => {
                    let Some(shape) = mixer.kv_shape() else {
                        unreachable!("the state is of this plan");
                    };
                    at += shape.own_kv_heads(place).start as u64 * cache.head_bytes(tokens);
                    cache.load(tokens, PIECE, |length| {
                        let rows = saved.read(at, length)?;
                        at += length as u64;
                        Ok(rows)
                    })?;
                }
                LayerState::Nothing => {}
                LayerState::Recurrent(state) => {
                    let numbers = saved.read(at, size as usize)?;
                    state.load(&mixer.recurrent_shape(), place, tokens, &numbers);
                }
            }
        }
        Ok(())
    }

    /// Whether all numbers of a saved sequence of `tokens` tokens are finite.
    fn is_finite(
        &self,
        state: &State,
        tokens: usize,
        saved: &dyn Blob,
        offset: u64,
    ) -> Result<bool> {
        let sizes = self.saved_layers(state, tokens);
        let mut at = offset;
        for (layer, size) in state.layers.iter().zip(sizes) {
            let end = at + size;
            while at < end {
                // Of recurrent parts all, because they are loaded at once.
                let piece = match layer {
                    LayerState::Recurrent(_) => size,
                    _ => (end - at).min(PIECE as u64),
                };
                let bytes = saved.read(at, piece as usize)?;
                at += piece;
                let is_finite = match layer {
                    LayerState::Kv(cache) => cache.is_finite(&bytes),
                    LayerState::Recurrent(_) => RecurrentState::is_finite(&bytes),
                    LayerState::Nothing => true,
                };
                if !is_finite {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

//! What a model keeps of one sequence: for each layer, what the layer needs of earlier tokens.
//!
//! It can be saved as bytes, whichever instance of a group keeps them, so that a group of any other size can continue
//! from what one group has saved: for each layer, the keys and then the values of all tokens of each of its heads, or
//! what a recurrent part keeps.

use std::rc::Rc;

use super::forward::Transformer;
use super::group::Place;
use super::kv_block::KvType;
use super::kv_cache::KvCache;
use super::lora::Adapters;
use super::plan::Plan;
use super::recurrent_state::RecurrentState;
use crate::error::{Error, Result, reserve};

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

    /// Reserves what [`save_state`](Self::save_state) and `more` bytes need, in `out` and beside it. Either all instances
    /// of the group have enough memory, or it is an error in all of them.
    ///
    /// # Errors
    /// `out-of-memory`; `aborted` if another instance of the group is gone.
    pub fn reserve_for_state(
        &self,
        state: &State,
        tokens: usize,
        more: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let needed = more + self.saved_bytes(state, tokens);
        let needed = usize::try_from(needed).unwrap_or(usize::MAX);
        // One layer at a time is gathered: this instance's part, and that of all.
        let largest = self.saved_layers(state, tokens).max().unwrap_or(0);
        let largest = usize::try_from(2 * largest).unwrap_or(usize::MAX);
        let reserved = reserve(out, needed).and_then(|()| reserve(&mut Vec::<u8>::new(), largest));
        if self.group().size() > 1 {
            let answers = self.group().all_gather(&[u8::from(reserved.is_ok())])?;
            if answers.contains(&0) {
                return Err(Error::OutOfMemory {
                    needed: needed as u64,
                    available: 0,
                });
            }
        }
        reserved
    }

    /// Appends what all instances keep of a sequence to `out`.
    ///
    /// # Errors
    /// `out-of-memory`; `aborted` if another instance of the group is gone.
    pub fn save_state(&self, state: &State, out: &mut Vec<u8>) -> Result<()> {
        // One layer at a time, so that no gather is larger than a host accepts.
        let mut own = Vec::new();
        for (mixer, layer) in self.plan().mixers().zip(&state.layers) {
            let is_shared = mixer.kv_shape().is_some_and(|shape| shape.is_shared);
            match layer {
                LayerState::Kv(cache) if self.group().size() == 1 || is_shared => {
                    cache.save(out);
                }
                LayerState::Kv(cache) => {
                    own.clear();
                    reserve(&mut own, cache.saved_len())?;
                    cache.save(&mut own);
                    out.extend(self.group().all_gather(&own)?);
                }
                LayerState::Nothing => {}
                LayerState::Recurrent(state) => {
                    state.save(&mixer.recurrent_shape(), self.group(), out)?;
                }
            }
        }
        Ok(())
    }

    /// Loads this instance's part of a saved sequence of `tokens` tokens. Returns `false` and changes nothing if
    /// `bytes` has the wrong length or contains numbers that are not finite, or if the tokens do not fit.
    #[must_use]
    pub fn load_state(&self, state: &mut State, tokens: usize, bytes: &[u8]) -> bool {
        let expected = self.saved_bytes(state, tokens);
        if tokens > state.capacity() || bytes.len() as u64 != expected {
            return false;
        }
        let place = Place::of(self.group());
        // All are checked before any is loaded.
        for load in [false, true] {
            let mut rest = bytes;
            for (mixer, layer) in self.plan().mixers().zip(&mut state.layers) {
                // At most the number of bytes, so it fits into `usize`.
                match layer {
                    LayerState::Kv(cache) => {
                        let Some(shape) = mixer.kv_shape() else {
                            unreachable!("the state is of this plan");
                        };
                        let (n, own) = (shape.n_kv_heads, shape.own_kv_heads(place));
                        let head = cache.head_bytes(tokens) as usize;
                        let (saved, after) = rest.split_at(n * head);
                        rest = after;
                        if load {
                            cache.load(tokens, &saved[own.start * head..own.end * head]);
                        } else if !cache.is_finite(saved) {
                            return false;
                        }
                    }
                    LayerState::Nothing => {}
                    LayerState::Recurrent(state) => {
                        let shape = mixer.recurrent_shape();
                        let (saved, after) = rest.split_at(shape.saved_bytes() as usize);
                        rest = after;
                        if load {
                            state.load(&shape, place, tokens, saved);
                        } else if !RecurrentState::is_finite(saved) {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }
}

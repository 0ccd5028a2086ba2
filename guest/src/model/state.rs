//! What a model keeps of one sequence: for each layer, what the layer needs of earlier tokens.
//!
//! It can be saved as bytes, whichever instance of a group keeps them, so that a group of any other size can continue
//! from what one group has saved: for each layer, the keys and then the values of all tokens of each of its heads.

use super::forward::Transformer;
use super::group::Place;
use super::kv_block::KvType;
use super::kv_cache::KvCache;
use super::plan::{Mixer, Plan};
use crate::error::{Error, Result};

/// What the layers of a model keep of one sequence. Memory for the whole context is reserved on creation and becomes
/// resident as it is used; nothing is allocated later.
pub struct State {
    /// The capacity in tokens.
    capacity: usize,
    layers: Vec<LayerState>,
}

enum LayerState {
    /// The keys and values of all tokens, for this instance's heads.
    Kv(KvCache),
}

impl State {
    /// The state of an empty sequence.
    ///
    /// # Errors
    /// `out-of-memory`; `invalid-argument` for Q8_0 if a head width is not a multiple of 32.
    pub(super) fn new(plan: &Plan, place: Place, kv_type: KvType, capacity: usize) -> Result<Self> {
        let mut state = Self {
            capacity,
            layers: Vec::with_capacity(plan.layers.len()),
        };
        for layer in &plan.layers {
            let made = match &layer.mixer {
                Mixer::Attention(spec) => {
                    let kv_heads = spec.own_kv_heads(place).len();
                    KvCache::new(kv_type, capacity, kv_heads, spec.head_dim).map(LayerState::Kv)
                }
            };
            state.layers.push(made.map_err(|error| match error {
                // What all layers need, and what they got.
                Error::OutOfMemory { needed, available } => {
                    let before = state.reserved_bytes();
                    let rest = (plan.layers.len() - state.layers.len()) as u64;
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
        };
        Ok(Self {
            capacity: self.capacity,
            layers: self.layers.iter().map(fork).collect::<Result<_>>()?,
        })
    }

    /// The capacity in tokens.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of reserved bytes.
    pub fn reserved_bytes(&self) -> u64 {
        let bytes = self.layers.iter().map(|layer| match layer {
            LayerState::Kv(cache) => cache.reserved_bytes(),
        });
        bytes.sum()
    }

    /// Drops all tokens from position `length` on. Returns the position that it reached: where the sequence has to be
    /// computed again from. It is never more than `length`, and keys and values reach just there.
    pub fn rewind(&mut self, length: usize) -> usize {
        let reached = self.layers.iter_mut().map(|layer| match layer {
            LayerState::Kv(cache) => {
                cache.truncate(length);
                length
            }
        });
        reached.min().unwrap_or(length)
    }

    /// The keys and values that layer `l`, one of attention, keeps.
    pub(super) fn kv(&mut self, l: usize) -> &mut KvCache {
        match &mut self.layers[l] {
            LayerState::Kv(cache) => cache,
        }
    }
}

impl Transformer {
    /// The saved size of one token, over all heads and layers, in bytes.
    pub fn saved_bytes_per_token(&self, state: &State) -> u64 {
        let layers = self.plan().layers.iter().zip(&state.layers);
        let bytes = layers.map(|(spec, state)| match (&spec.mixer, state) {
            (Mixer::Attention(spec), LayerState::Kv(cache)) => {
                cache.head_bytes(1) * spec.n_kv_heads as u64
            }
        });
        bytes.sum()
    }

    /// Appends what all instances keep of a sequence to `out`.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub fn save_state(&self, state: &State, out: &mut Vec<u8>) -> Result<()> {
        // One layer at a time, so that no gather is larger than a host accepts.
        let mut own = Vec::new();
        for layer in &state.layers {
            let LayerState::Kv(cache) = layer;
            if self.group().size() == 1 {
                cache.save(out);
                continue;
            }
            own.clear();
            cache.save(&mut own);
            out.extend(self.group().all_gather(&own)?);
        }
        Ok(())
    }

    /// Loads this instance's part of a saved sequence of `tokens` tokens. Returns `false` and changes nothing if
    /// `bytes` has the wrong length or contains numbers that are not finite, or if the tokens do not fit.
    #[must_use]
    pub fn load_state(&self, state: &mut State, tokens: usize, bytes: &[u8]) -> bool {
        let expected = u128::from(self.saved_bytes_per_token(state)) * tokens as u128;
        if tokens > state.capacity() || bytes.len() as u128 != expected {
            return false;
        }
        let place = Place::of(self.group());
        // All are checked before any is loaded.
        for load in [false, true] {
            let mut rest = bytes;
            for (spec, layer) in self.plan().layers.iter().zip(&mut state.layers) {
                let (Mixer::Attention(spec), LayerState::Kv(cache)) = (&spec.mixer, layer);
                // At most the number of bytes, so it fits into `usize`.
                let head = cache.head_bytes(tokens) as usize;
                let (saved, after) = rest.split_at(spec.n_kv_heads * head);
                rest = after;
                if load {
                    let own = spec.own_kv_heads(place);
                    cache.load(tokens, &saved[own.start * head..own.end * head]);
                } else if !cache.is_finite(saved) {
                    return false;
                }
            }
        }
        true
    }
}

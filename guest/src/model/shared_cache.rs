//! The keys and values of all heads as bytes, whichever instance has them, so that a group of any other size can
//! continue from what one group has saved. The bytes are `[layers, kv_heads]`, each with the keys and then the values
//! of all tokens.

use super::forward::Transformer;
use super::kv_cache::KvCache;
use crate::error::Result;

impl Transformer {
    /// Appends the keys and values of all heads to `out`.
    ///
    /// # Errors
    /// `aborted` if another instance of the group is gone.
    pub fn save_cache(&self, cache: &KvCache, out: &mut Vec<u8>) -> Result<()> {
        // One layer at a time, so that no gather is larger than a host accepts.
        let mut own = Vec::new();
        for l in 0..self.config().n_layers {
            if self.group().size() == 1 {
                cache.save_layer(l, out);
                continue;
            }
            own.clear();
            cache.save_layer(l, &mut own);
            out.extend(self.group().all_gather(&own)?);
        }
        Ok(())
    }

    /// Loads this instance's part of the saved keys and values of `tokens` tokens into `cache`. Returns `false` and
    /// changes nothing if `bytes` has the wrong length or contains numbers that are not finite, or if the tokens do not
    /// fit.
    #[must_use]
    pub fn load_cache(&self, cache: &mut KvCache, tokens: usize, bytes: &[u8]) -> bool {
        let (n_layers, n_kv_heads) = (self.config().n_layers, self.config().n_kv_heads);
        let head = cache.head_bytes(tokens);
        let expected = head * (n_layers * n_kv_heads) as u64;
        let fits = tokens <= cache.capacity() && bytes.len() as u64 == expected;
        if !fits || !cache.is_finite(bytes) {
            return false;
        }
        // At most the number of bytes, so it fits into `usize`.
        let head = head as usize;
        let own = self.share().kv_heads.clone();
        for l in 0..n_layers {
            let layer = &bytes[l * n_kv_heads * head..][..n_kv_heads * head];
            cache.load_layer(l, tokens, &layer[own.start * head..own.end * head]);
        }
        true
    }
}

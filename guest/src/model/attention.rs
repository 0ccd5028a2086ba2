//! Scaled dot-product attention over the cache. Source: Vaswani et al., 2017; block by block: Dao et al., 2022.
//!
//! All queries that attend to one head of keys and values (those of a batch's tokens, and of the heads that share it)
//! process its blocks together: a block is converted to f32 once, and every tile of queries uses it while it is in the
//! processor's cache. A query's result does not depend on the other queries: blocks start at fixed positions, and each
//! sum has one order.
//!
//! An output differs from the exact result for the cached keys and values by at most
//! `(2 * (D + 5) * 2^-24 * s + (2 * n + 20) * 2^-23) * v`: `n` is the number of keys, `s` the largest
//! `scale * sum(|query| * |key|)` among them, and `v` the largest magnitude of a value. Q8_0 uses queries in 16 bits,
//! which adds `2^-15 * s` to the sum, with each number of the query replaced by the largest magnitude in its group of
//! 32.

use std::ops::Range;

use super::kv_block::{KvType, Layout};
use super::kv_cache::Head;
use super::plan::Window;
use crate::error::{Result, reserve};
use crate::kernels;
use crate::kernels::attention::{KEYS, LANES, Running, Splat, rescale};
use crate::quant::GROUP;

/// The queries of one head of keys and values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queries {
    /// The position of the first token.
    pub(crate) position: usize,
    /// The number of keys, if a token sees those after its own, too.
    pub(crate) all_keys: Option<usize>,
    pub(crate) n_tokens: usize,
    /// The number of heads that share the keys and values; their queries are adjacent.
    pub(crate) n_heads: usize,
    /// The distance from one token's queries to the next token's, in numbers, and the same of outputs.
    pub(crate) stride: usize,
    pub(crate) out_stride: usize,
    /// The factor of the scores.
    pub(crate) scale: f32,
    /// `c * tanh(score / c)` of each score.
    pub(crate) softcap: Option<f32>,
    /// The keys that a token sees; `None` for all up to its own, or all.
    pub(crate) window: Option<Window>,
}

/// What the heads that share keys and values have each: `[heads]`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PerHead<'a> {
    /// What a score loses for each token between the key and the query, if it loses anything.
    pub(crate) slopes: Option<&'a [f32]>,
    /// The score of a key without a value (attention sink), if there is one.
    pub(crate) sinks: Option<&'a [f32]>,
}

impl Queries {
    fn count(self) -> usize {
        self.n_tokens * self.n_heads
    }

    /// Where query `i` starts.
    fn at(self, i: usize, head_dim: usize) -> usize {
        i / self.n_heads * self.stride + i % self.n_heads * head_dim
    }

    /// Where output `i` starts.
    fn out_at(self, i: usize, value_dim: usize) -> usize {
        i / self.n_heads * self.out_stride + i % self.n_heads * value_dim
    }

    /// The position of query `i`.
    fn position_of(self, i: usize) -> usize {
        self.position + i / self.n_heads
    }

    /// Where the keys that query `i` sees end.
    fn keys(self, i: usize) -> usize {
        let own = self.position_of(i);
        match (self.all_keys, self.window) {
            (None, _) => own + 1,
            (Some(all), Some(Window::Symmetric(n))) => all.min(own + n / 2 + 1),
            (Some(all), _) => all,
        }
    }

    /// The first key that query `i` sees.
    fn first_key(self, i: usize) -> usize {
        match self.window {
            None => 0,
            Some(Window::Sliding(n)) => (self.position_of(i) + 1).saturating_sub(n),
            Some(Window::Chunked(n)) => self.position_of(i) / n * n,
            Some(Window::Symmetric(n)) => self.position_of(i).saturating_sub(n / 2),
        }
    }
}

/// The buffers that attention is computed in, reserved before the first token.
#[derive(Default)]
pub(crate) struct Attention {
    /// `[tiles, D, M]`: queries times the factor of the scores.
    queries: Vec<Splat<f32>>,
    /// `[KEYS / LANES, D, LANES]`: a block's keys.
    keys: Vec<f32>,
    /// `[D / LANES, KEYS, LANES]`: a block's values.
    values: Vec<[f32; LANES]>,
    /// `[tiles, D / LANES, M, LANES]`: the weighted sums of values.
    outputs: Vec<[f32; LANES]>,
    /// `[tiles, M]` each: see [`Running`].
    largest: Vec<f32>,
    sums: Vec<f32>,
    quantized: Quantized,
}

/// Queries and keys if the keys are in Q8_0.
#[derive(Default)]
struct Quantized {
    /// `[tiles, D / 2, M]`: pairs of numbers in 16 bits, and `[tiles, D / 32, M]`: their scales.
    queries: Vec<Splat<i32>>,
    query_scales: Vec<f32>,
    /// `[KEYS / LANES, D / 2, LANES]`, and `[KEYS / LANES, D / 32, LANES]`.
    keys: Vec<i32>,
    key_scales: Vec<f32>,
}

impl Attention {
    /// Reserves capacity for `n_queries` queries at once.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn reserve(&mut self, layout: Layout, n_queries: usize) -> Result<()> {
        let n_queries = n_queries.next_multiple_of(4);
        let head_dim = layout.head_dim;
        let panels = layout.value_panels();
        reserve(&mut self.queries, n_queries * head_dim)?;
        reserve(&mut self.values, panels * KEYS)?;
        reserve(&mut self.outputs, panels * n_queries)?;
        reserve(&mut self.largest, n_queries)?;
        reserve(&mut self.sums, n_queries)?;
        if layout.kv_type != KvType::Q8_0 {
            return reserve(&mut self.keys, KEYS * head_dim);
        }
        let quantized = &mut self.quantized;
        reserve(&mut quantized.queries, n_queries * head_dim / 2)?;
        reserve(&mut quantized.query_scales, n_queries * head_dim / GROUP)?;
        reserve(&mut quantized.keys, KEYS * head_dim / 2)?;
        reserve(&mut quantized.key_scales, KEYS * head_dim / GROUP)
    }

    /// Computes the attention of `queries` over the keys and values of `head`. `out` has the same layout as `q`.
    pub(crate) fn attend(
        &mut self,
        layout: Layout,
        head: &Head,
        queries: Queries,
        per_head: PerHead<'_>,
        q: &[f32],
        out: &mut [f32],
    ) {
        match queries.count() {
            0 => {}
            1 => self.attend_in_tiles::<1>(layout, head, queries, per_head, q, out),
            2 => self.attend_in_tiles::<2>(layout, head, queries, per_head, q, out),
            _ => self.attend_in_tiles::<4>(layout, head, queries, per_head, q, out),
        }
    }

    fn attend_in_tiles<const M: usize>(
        &mut self,
        layout: Layout,
        head: &Head,
        queries: Queries,
        per_head: PerHead<'_>,
        q: &[f32],
        out: &mut [f32],
    ) {
        let n_tiles = queries.count().div_ceil(M);
        self.begin::<M>(layout, queries, per_head, q);
        let n_keys = queries.keys(queries.count() - 1);
        for i in queries.first_key(0) / KEYS..n_keys.div_ceil(KEYS) {
            let start = i * KEYS;
            let n = KEYS.min(n_keys - start);
            self.load_block(layout, head.block(layout, i), n);
            for tile in 0..n_tiles {
                self.add_block::<M>(layout, queries, per_head, tile, start);
            }
        }
        let value_dim = layout.value_dim;
        let tile_rows = layout.value_panels() * M;
        for i in 0..queries.count() {
            let (tile, m) = (i / M, i % M);
            let panels = self.outputs[tile * tile_rows..][..tile_rows].iter();
            let out = &mut out[queries.out_at(i, value_dim)..][..value_dim];
            for (out, sums) in out.chunks_mut(LANES).zip(panels.skip(m).step_by(M)) {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum / self.sums[i];
                }
            }
        }
    }

    /// Arranges the queries in tiles. If they do not fill the last tile, the last query is repeated.
    fn begin<const M: usize>(
        &mut self,
        layout: Layout,
        queries: Queries,
        per_head: PerHead<'_>,
        q: &[f32],
    ) {
        let head_dim = layout.head_dim;
        let padded = queries.count().next_multiple_of(M);
        self.queries.resize(padded * head_dim, [0.0; 4]);
        let tiles = self.queries.chunks_exact_mut(M * head_dim);
        for (tile, numbers) in tiles.enumerate() {
            for m in 0..M {
                let i = (tile * M + m).min(queries.count() - 1);
                let query = &q[queries.at(i, head_dim)..][..head_dim];
                for (d, x) in query.iter().enumerate() {
                    numbers[d * M + m] = [x * queries.scale; 4];
                }
            }
        }
        if layout.kv_type == KvType::Q8_0 {
            self.quantized.load_queries::<M>(head_dim, &self.queries);
        }
        let start = Running::<M>::START;
        self.largest.clear();
        self.largest.resize(padded, start.largest[0]);
        self.sums.clear();
        self.sums.resize(padded, start.sum[0]);
        if let Some(sinks) = per_head.sinks {
            for (i, largest) in self.largest[..queries.count()].iter_mut().enumerate() {
                *largest = sinks[i % queries.n_heads];
            }
            self.sums[..queries.count()].fill(1.0);
        }
        self.outputs.clear();
        self.outputs
            .resize(padded * layout.value_panels(), [0.0; LANES]);
    }

    /// Converts the first `n` keys and values of a block to the layout and types of the kernels.
    fn load_block(&mut self, layout: Layout, [keys, values]: [&[u8]; 2], n: usize) {
        let n_panels = n.div_ceil(LANES);
        if layout.kv_type == KvType::Q8_0 {
            self.quantized.load_keys(layout, keys, n_panels);
        } else {
            self.keys.resize(KEYS * layout.head_dim, 0.0);
            layout.float_keys(keys, n_panels, &mut self.keys);
        }
        self.values
            .resize(layout.value_panels() * KEYS, [0.0; LANES]);
        layout.values(values, n, &mut self.values);
    }

    /// Adds the loaded block, whose first key is number `start`, to the sums of a tile.
    fn add_block<const M: usize>(
        &mut self,
        layout: Layout,
        queries: Queries,
        per_head: PerHead<'_>,
        tile: usize,
        start: usize,
    ) {
        // The keys of the block that each query sees.
        let seen: [Range<usize>; M] = std::array::from_fn(|m| {
            let i = (tile * M + m).min(queries.count() - 1);
            let at = |key: usize| key.saturating_sub(start).min(KEYS);
            at(queries.first_key(i))..at(queries.keys(i))
        });
        // The last query of a tile sees the latest keys, and the first one the earliest.
        let n = seen[M - 1].end;
        if n == 0 || seen[0].start == KEYS {
            return;
        }
        let mut scores = [[0.0; M]; KEYS];
        let panels = scores.as_chunks_mut::<LANES>().0;
        let panels = &mut panels[..n.div_ceil(LANES)];
        for (panel, scores) in panels.iter_mut().enumerate() {
            let products = self.scores::<M>(layout, tile, panel);
            for (n, scores) in scores.iter_mut().enumerate() {
                *scores = std::array::from_fn(|m| products[m][n]);
            }
        }
        let padded = panels.as_flattened_mut();
        if let Some(cap) = queries.softcap {
            for score in padded.as_flattened_mut() {
                *score = cap * (*score / cap).tanh();
            }
        }
        if let Some(slopes) = per_head.slopes {
            for m in 0..M {
                let i = (tile * M + m).min(queries.count() - 1);
                let (slope, own) = (slopes[i % queries.n_heads], queries.position_of(i));
                for (n, scores) in padded.iter_mut().enumerate() {
                    scores[m] -= slope * own.abs_diff(start + n) as f32;
                }
            }
        }
        for (m, seen) in seen.into_iter().enumerate() {
            let (before, rest) = padded.split_at_mut(seen.start.min(n));
            let after = rest.iter_mut().skip(seen.len());
            for scores in before.iter_mut().chain(after) {
                scores[m] = f32::NEG_INFINITY;
            }
        }

        let largest = &mut self.largest.as_chunks_mut().0[tile];
        let sum = &mut self.sums.as_chunks_mut().0[tile];
        let mut running = Running {
            largest: *largest,
            sum: *sum,
        };
        let factor = kernels::softmax_step::<M>(padded, &mut running);
        (*largest, *sum) = (running.largest, running.sum);

        let weights = scores.map(|row| row.map(|x| [x; 4]));
        let n_panels = layout.value_panels();
        let outputs = &mut self.outputs.as_chunks_mut().0[tile * n_panels..][..n_panels];
        for (values, outputs) in self.values.chunks_exact(KEYS).zip(outputs) {
            if let Some(factor) = factor {
                rescale(factor, outputs);
            }
            kernels::multiply(&weights[..n], &values[..n], outputs);
        }
    }

    /// The scores of a tile of queries and a panel of keys.
    fn scores<const M: usize>(
        &self,
        layout: Layout,
        tile: usize,
        panel: usize,
    ) -> [[f32; LANES]; M] {
        let mut scores = [[0.0; LANES]; M];
        if layout.kv_type == KvType::Q8_0 {
            self.quantized
                .scores(layout.head_dim, tile, panel, &mut scores);
        } else {
            let queries = part(&self.queries, tile, layout.head_dim);
            let keys = part(&self.keys, panel, layout.head_dim);
            kernels::multiply(queries, keys, &mut scores);
        }
        scores
    }
}

impl Quantized {
    /// Quantises `queries`, `[tiles, D, M]`.
    fn load_queries<const M: usize>(&mut self, head_dim: usize, queries: &[Splat<f32>]) {
        self.queries.clear();
        self.query_scales.clear();
        for tile in queries.as_chunks::<M>().0.chunks_exact(head_dim) {
            for group in tile.as_chunks::<GROUP>().0 {
                let mut inverses = [0.0; M];
                for (m, inverse) in inverses.iter_mut().enumerate() {
                    let largest = group.iter().fold(0f32, |max, x| max.max(x[m][0].abs()));
                    let step = largest / 32767.0;
                    *inverse = (1.0 / step).min(f32::MAX);
                    self.query_scales.push(step);
                }
                for [first, second] in group.as_chunks::<2>().0 {
                    self.queries.extend((0..M).map(|m| {
                        let quant =
                            |x: &[Splat<f32>; M]| (x[m][0] * inverses[m]).round_ties_even() as i16;
                        [i32::from(quant(second)) << 16 | i32::from(quant(first)) & 0xffff; 4]
                    }));
                }
            }
        }
    }

    fn load_keys(&mut self, layout: Layout, block: &[u8], n_panels: usize) {
        self.keys.resize(KEYS * layout.head_dim / 2, 0);
        self.key_scales.resize(KEYS * layout.head_dim / GROUP, 0.0);
        layout.quantized_keys(block, n_panels, &mut self.keys, &mut self.key_scales);
    }

    fn scores<const M: usize>(
        &self,
        head_dim: usize,
        tile: usize,
        panel: usize,
        scores: &mut [[f32; LANES]; M],
    ) {
        kernels::multiply_groups(
            part(&self.queries, tile, head_dim / 2),
            part(&self.query_scales, tile, head_dim / GROUP),
            part(&self.keys, panel, head_dim / 2),
            part(&self.key_scales, panel, head_dim / GROUP),
            scores,
        );
    }
}

/// Part `i` of `[parts, len, N]`.
fn part<T, const N: usize>(all: &[T], i: usize, len: usize) -> &[[T; N]] {
    &all.as_chunks().0[i * len..(i + 1) * len]
}

#[cfg(test)]
mod tests;

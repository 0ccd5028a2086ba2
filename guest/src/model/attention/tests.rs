//! Tests attention over a real cache: against f64, and against itself in other batches. Native builds use the scalar
//! kernels, WebAssembly the SIMD kernels.

use super::*;
use crate::model::kv_cache::KvCache;
use crate::quant::{Element, F16, F32};

const TYPES: [KvType; 3] = [KvType::F16, KvType::F32, KvType::Q8_0];

/// Numbers from -2 to 2.
fn numbers(seed: usize, len: usize) -> Vec<f32> {
    let mut state = seed as u64 + 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) as f32 / (1u64 << 29) as f32 - 2.0
        })
        .collect()
}

/// Keys and values of the same width.
fn layout(kv_type: KvType, head_dim: usize) -> Layout {
    Layout {
        kv_type,
        head_dim,
        value_dim: head_dim,
    }
}

/// A cache of one head with `n` tokens.
fn cache(kv_type: KvType, head_dim: usize, n: usize) -> KvCache {
    let mut cache = KvCache::new(layout(kv_type, head_dim), n + 3, None, 1).unwrap();
    for t in 0..n {
        let (key, value) = (numbers(t, head_dim), numbers(t + 1000, head_dim));
        cache.set(0, t, &key, &value);
    }
    cache
}

/// The outputs of the last `n_tokens` tokens' queries, in batches of `batch` tokens.
fn attend(cache: &KvCache, queries: Queries, q: &[f32], batch: usize) -> Vec<f32> {
    let (layout, head) = cache.head(0);
    let mut attention = Attention::default();
    attention.reserve(layout, queries.count()).unwrap();
    let mut out = vec![f32::NAN; q.len()];
    for first in (0..queries.n_tokens).step_by(batch) {
        let part = Queries {
            position: queries.position + first,
            n_tokens: batch.min(queries.n_tokens - first),
            ..queries
        };
        let at = first * queries.stride;
        let per_head = PerHead::default();
        attention.attend(layout, head, part, per_head, &q[at..], &mut out[at..]);
    }
    out
}

/// All that is saved of a cache.
fn saved(cache: &KvCache) -> Vec<u8> {
    let mut bytes = Vec::new();
    cache.save(0..usize::MAX, &mut bytes);
    bytes
}

/// Loads what was saved of `n` tokens, a few rows at a time.
fn load(cache: &mut KvCache, n: usize, mut bytes: &[u8]) {
    let read = |length| Ok(bytes.split_off(..length).expect("enough").to_vec());
    cache.load(n, 300, read).expect("room");
    assert!(bytes.is_empty());
}

/// The contents of the cache: keys and values, `[tokens, D]` each.
fn cached(cache: &KvCache, kv_type: KvType, head_dim: usize) -> [Vec<Vec<f64>>; 2] {
    let bytes = saved(cache);
    let rows: Vec<Vec<f64>> = bytes
        .chunks_exact(kv_type.row_bytes(head_dim))
        .map(|row| match kv_type {
            KvType::F16 => F16::raws(row).iter().map(|raw| F16::to_f32(*raw)).collect(),
            KvType::F32 => F32::raws(row).iter().map(|raw| F32::to_f32(*raw)).collect(),
            KvType::Q8_0 => {
                let mut out = vec![0.0; head_dim];
                crate::quant::dequantize(crate::gguf::TensorType::Q8_0, row, &mut out);
                out
            }
        })
        .map(|row: Vec<f32>| row.into_iter().map(f64::from).collect())
        .collect();
    let (keys, values) = rows.split_at(rows.len() / 2);
    [keys.to_vec(), values.to_vec()]
}

/// The exact attention of one query, and the error bound from the module's documentation.
fn exact(
    keys: &[Vec<f64>],
    values: &[Vec<f64>],
    query: &[f32],
    kv_type: KvType,
    scale: f32,
    softcap: Option<f32>,
) -> (Vec<f64>, f64) {
    let (dim, scale) = (query.len() as f64, f64::from(scale));
    let (mut scores, mut s, mut s_group) = (Vec::new(), 0f64, 0f64);
    for key in keys {
        let pairs = || query.iter().map(|q| f64::from(*q)).zip(key);
        scores.push(pairs().map(|(q, k)| q * k).sum::<f64>() * scale);
        s = s.max(pairs().map(|(q, k)| (q * k).abs()).sum::<f64>() * scale);
        let groups = query.chunks(32).zip(key.chunks(32)).map(|(query, key)| {
            let largest = query.iter().fold(0f32, |max, q| max.max(q.abs()));
            f64::from(largest) * key.iter().map(|k| k.abs()).sum::<f64>()
        });
        s_group = s_group.max(groups.sum::<f64>() * scale);
    }
    if let Some(cap) = softcap.map(f64::from) {
        scores.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh());
    }
    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let out = (0..query.len()).map(|d| {
        let products = weights.iter().zip(values).map(|(w, value)| w * value[d]);
        products.sum::<f64>() / sum
    });
    let unit = f64::from(f32::EPSILON) / 2.0;
    let mut error = 2.0 * (dim + 5.0) * unit * s + (2.0 * keys.len() as f64 + 20.0) * 2.0 * unit;
    // The capped score is rounded, too; the cap makes no error larger.
    error += 16.0 * unit * f64::from(softcap.unwrap_or(0.0));
    if kv_type == KvType::Q8_0 {
        error += s_group / 32768.0;
    }
    let v = values
        .iter()
        .flatten()
        .fold(0f64, |max, v| max.max(v.abs()));
    (out.collect(), error * v)
}

/// The query of one token in one head.
fn plain(head_dim: usize) -> Queries {
    Queries {
        position: 0,
        all_keys: None,
        n_tokens: 1,
        n_heads: 1,
        stride: head_dim,
        out_stride: head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap: None,
        window: None,
    }
}

fn check(kv_type: KvType, head_dim: usize, n_heads: usize, n: usize, n_tokens: usize) {
    let queries = Queries {
        position: n - n_tokens,
        n_tokens,
        n_heads,
        stride: n_heads * head_dim,
        out_stride: n_heads * head_dim,
        ..plain(head_dim)
    };
    check_queries(kv_type, head_dim, n, queries);
}

fn check_queries(kv_type: KvType, head_dim: usize, n: usize, queries: Queries) {
    let Queries {
        n_tokens, n_heads, ..
    } = queries;
    let cache = cache(kv_type, head_dim, n);
    let stride = queries.stride;
    let q = numbers(7, n_tokens * stride);
    let found = attend(&cache, queries, &q, n_tokens);
    let [keys, values] = cached(&cache, kv_type, head_dim);
    let what = format!("{kv_type:?}, {n_heads} heads of {head_dim}, {n_tokens} of {n} tokens");
    for (i, query) in q.chunks_exact(head_dim).enumerate() {
        let seen = queries.first_key(i)..queries.keys(i);
        let (keys, values) = (&keys[seen.clone()], &values[seen]);
        let (expected, bound) = exact(keys, values, query, kv_type, queries.scale, queries.softcap);
        for (found, expected) in found[i * head_dim..].iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error <= bound, "{what}: query {i}: {error:e} > {bound:e}");
        }
    }
    for batch in [1, 3] {
        let again = attend(&cache, queries, &q, batch);
        let same = again
            .iter()
            .zip(&found)
            .all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{what}: in batches of {batch}");
    }
}

fn types_of(head_dim: usize) -> impl Iterator<Item = KvType> {
    let quantized = head_dim.is_multiple_of(GROUP);
    TYPES
        .into_iter()
        .filter(move |ty| quantized || *ty != KvType::Q8_0)
}

#[test]
fn outputs_are_exact_within_their_bound_for_every_width() {
    for head_dim in [1, 7, 8, 20, 32, 64, 80, 96, 128] {
        for kv_type in types_of(head_dim) {
            for n_heads in [1, 2, 3, 8] {
                check(kv_type, head_dim, n_heads, 41, 5);
            }
        }
    }
}

#[test]
fn outputs_are_exact_within_their_bound_for_every_length() {
    for n in [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 257] {
        for kv_type in TYPES {
            check(kv_type, 32, 1, n, 1);
            check(kv_type, 32, 1, n, n.min(32));
            check(kv_type, 32, 2, n, n.min(7));
        }
    }
}

/// Windows that begin within a block, at its beginning, and before the first key.
#[test]
fn windows_and_caps_are_exact_within_their_bounds() {
    for kv_type in TYPES {
        for (n, n_tokens) in [(1, 1), (31, 5), (64, 9), (97, 40), (130, 64)] {
            for (window, softcap) in [
                (Some(1), None),
                (Some(32), Some(5.0)),
                (Some(45), None),
                (Some(1000), None),
                (None, Some(0.5)),
            ] {
                for n_heads in [1, 3] {
                    let queries = Queries {
                        position: n - n_tokens,
                        all_keys: None,
                        n_tokens,
                        n_heads,
                        stride: n_heads * 32,
                        out_stride: n_heads * 32,
                        scale: 0.3,
                        softcap,
                        window: window.map(Window::Sliding),
                    };
                    check_queries(kv_type, 32, n, queries);
                    // Tokens in the middle that see those after them.
                    let queries = Queries {
                        position: (n - n_tokens) / 2,
                        all_keys: Some(n),
                        ..queries
                    };
                    check_queries(kv_type, 32, n, queries);
                    let window = window.map(Window::Symmetric);
                    check_queries(kv_type, 32, n, Queries { window, ..queries });
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_harms_no_other_token() {
    for kv_type in TYPES {
        for special in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE] {
            let queries = Queries {
                position: 38,
                n_tokens: 2,
                n_heads: 2,
                stride: 64,
                out_stride: 64,
                ..plain(32)
            };
            let mut q = numbers(1, 128);
            let mut cache = cache(kv_type, 32, 40);
            let clean = attend(&cache, queries, &q, 2);
            // The second token's key, value and first query are broken; the first token does not see them.
            q[64] = special;
            let mut lost = numbers(2, 32);
            lost[9] = special;
            cache.set(0, 39, &lost, &lost);
            let found = attend(&cache, queries, &q, 2);
            assert_eq!(found[..64], clean[..64], "{kv_type:?} {special}");
        }
    }
}

#[test]
fn caches_are_saved_loaded_copied_and_cut() {
    for head_dim in [20, 32, 64] {
        for kv_type in types_of(head_dim) {
            let full = cache(kv_type, head_dim, 70);
            let bytes = saved(&full);
            assert_eq!(bytes.len() as u64, full.head_bytes(70));
            for piece in [1, 7, 100, 4096] {
                let mut pieces = Vec::new();
                while pieces.len() < bytes.len() {
                    full.save(pieces.len()..pieces.len() + piece, &mut pieces);
                }
                assert!(pieces == bytes, "pieces of {piece} bytes");
            }
            assert_eq!(full.head_bytes(1), 2 * kv_type.row_bytes(head_dim) as u64);
            let mut loaded = cache(kv_type, head_dim, 72);
            assert!(loaded.is_finite(&bytes));
            load(&mut loaded, 70, &bytes);
            assert_eq!(saved(&loaded), bytes);
            assert_eq!(saved(&full.fork().unwrap()), bytes);
            // A cache that is truncated within a block and refilled is as if it had never been longer.
            let mut cut = full.fork().unwrap();
            cut.truncate(35);
            assert_eq!(saved(&cut), saved(&cache(kv_type, head_dim, 35)));
            let queries = Queries {
                position: 34,
                ..plain(head_dim)
            };
            let q = numbers(3, head_dim);
            let short = cache(kv_type, head_dim, 35);
            assert_eq!(attend(&cut, queries, &q, 1), attend(&short, queries, &q, 1));
            for t in 35..70 {
                let (key, value) = (numbers(t, head_dim), numbers(t + 1000, head_dim));
                cut.set(0, t, &key, &value);
            }
            assert_eq!(saved(&cut), bytes);
        }
    }
    let floats = KvCache::new(layout(KvType::F32, 1), 1, None, 1).unwrap();
    let state = [1f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
    assert!(!floats.is_finite(&state), "not a number");
}

#[test]
fn q8_0_is_for_heads_of_whole_groups() {
    let error = KvCache::new(layout(KvType::Q8_0, 80), 1, None, 1)
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(text.contains("kv-type") && text.contains("80"), "{text}");
}

#[test]
fn cached_numbers_are_the_nearest_of_their_type() {
    for scale in [0.0, 1e-7, 1e-4, 1.0, 1000.0] {
        let x: Vec<f32> = numbers(5, 64).iter().map(|x| x * scale).collect();
        for kv_type in TYPES {
            let mut cache = KvCache::new(layout(kv_type, 64), 1, None, 1).unwrap();
            cache.set(0, 0, &x, &x);
            for found in cached(&cache, kv_type, 64) {
                for (group, x) in found[0].chunks(GROUP).zip(x.chunks(GROUP)) {
                    let largest = x.iter().fold(0f32, |max, x| max.max(x.abs()));
                    for (found, x) in group.iter().zip(x) {
                        let bound = match kv_type {
                            KvType::F32 => 0.0,
                            KvType::F16 => (x.abs() / 2048.0).max(2f32.powi(-25)),
                            KvType::Q8_0 => (0.501 * largest / 126.9).max(2f32.powi(-18)),
                        };
                        let error = (*found as f32 - x).abs();
                        assert!(error <= bound, "{kv_type:?}: {x} became {found}");
                    }
                }
            }
        }
    }
}

/// A cache of a window keeps less, and gives the same bits: in any batch, after a truncation, from a copy, and from saved
/// bytes.
#[test]
fn a_ring_gives_the_bits_of_a_cache_of_all_tokens() {
    const WINDOW: usize = 45;
    for kv_type in TYPES {
        let made = |window| KvCache::new(layout(kv_type, 32), 1000, window, 1).unwrap();
        let (mut all, mut ring) = (made(None), made(Some(WINDOW)));
        assert!(2 * ring.reserved_bytes() < all.reserved_bytes());
        let fill = |cache: &mut KvCache, tokens: Range<usize>| {
            cache.advance(tokens.end);
            for t in tokens {
                cache.set(0, t, &numbers(t, 32), &numbers(t + 1000, 32));
            }
        };
        let outputs = |cache: &KvCache, tokens: Range<usize>| {
            let queries = Queries {
                position: tokens.start,
                n_tokens: tokens.len(),
                window: Some(Window::Sliding(WINDOW)),
                ..plain(32)
            };
            attend(cache, queries, &numbers(5, tokens.len() * 32), tokens.len())
        };
        let mut n = 0;
        for batch in [64, 1, 64, 64, 31, 64, 64, 2, 64, 64, 64, 64, 64, 64, 64, 64] {
            fill(&mut all, n..n + batch);
            fill(&mut ring, n..n + batch);
            let expected = outputs(&all, n..n + batch);
            assert_eq!(
                outputs(&ring, n..n + batch),
                expected,
                "{kv_type:?}, after {n}"
            );
            n += batch;
        }
        // What the next token sees is saved, and enough to go on.
        let bytes = saved(&ring);
        assert_eq!(bytes.len() as u64, ring.head_bytes(n));
        let mut loaded = made(Some(WINDOW));
        load(&mut loaded, n, &bytes);
        let mut cut = ring.fork().unwrap();
        cut.truncate(n - 200);
        fill(&mut cut, n - 200..n);
        for mut cache in [loaded, cut, ring.fork().unwrap()] {
            fill(&mut cache, n..n + 10);
            fill(&mut all, n..n + 10);
            assert_eq!(
                outputs(&cache, n..n + 10),
                outputs(&all, n..n + 10),
                "{kv_type:?}"
            );
        }
        assert!(ring.can_be_at(n - 256) && !ring.can_be_at(n - 400));
        assert!(ring.can_be_at(0) && !ring.can_be_at(1));
        // An instance without heads goes back to where the others do.
        let mut empty = KvCache::new(layout(kv_type, 32), 1000, Some(WINDOW), 0).unwrap();
        empty.advance(n + 10);
        for length in 0..n {
            assert_eq!(empty.can_be_at(length), ring.can_be_at(length), "{length}");
        }
        ring.truncate(0);
        assert!(ring.can_be_at(1));
    }
}

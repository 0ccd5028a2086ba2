//! A forward pass in float64 for one architecture, Qwen3 without experts, whose weights are numbers of F32: what the
//! logits are if nothing is rounded on the way. It follows the definitions (Qwen3's technical report; RMSNorm, rotary
//! positions, grouped-query attention, SwiGLU), token by token, and shares no code with the engine.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use gust_engine::blob::Blob;
use gust_engine::gguf::{Gguf, TensorType};

/// Shapes: E the residual stream, H heads and K heads of keys and values, all of width D.
pub(crate) struct Model {
    /// Matrices are `[rows, columns]`.
    tensors: HashMap<String, Vec<f64>>,
    n_layers: u32,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    n_embd: usize,
    epsilon: f64,
    rope_base: f64,
}

impl Model {
    /// Reads a file.
    pub(crate) fn read(file: &[u8]) -> Result<Self> {
        let gguf = Gguf::read(&file)?;
        gguf.check_data(file.len() as u64)?;
        let key = |name: &str| format!("qwen3.{name}");
        let number = |name: &str| gguf.metadata.u32(&key(name));
        let wanted = |name: &str| number(name)?.with_context(|| format!("no {name}"));
        let real = |name: &str| gguf.metadata.f32(&key(name));
        let mut tensors: HashMap<String, Vec<f64>> = HashMap::new();
        for tensor in &gguf.tensors {
            if tensor.ty != TensorType::F32 {
                bail!("{}: expected F32, found {:?}", tensor.name, tensor.ty);
            }
            let raw = file.read(tensor.offset, tensor.size as usize)?;
            let numbers = raw.as_chunks().0.iter();
            let numbers = numbers.map(|raw| f64::from(f32::from_le_bytes(*raw)));
            tensors.insert(tensor.name.clone(), numbers.collect());
        }
        let norm = tensors.get("blk.0.attn_q_norm.weight");
        Ok(Self {
            n_layers: wanted("block_count")?,
            n_heads: wanted("attention.head_count")? as usize,
            n_kv_heads: wanted("attention.head_count_kv")? as usize,
            head_dim: norm.context("no norm of heads")?.len(),
            n_embd: wanted("embedding_length")? as usize,
            epsilon: real("attention.layer_norm_rms_epsilon")?
                .context("no epsilon")?
                .into(),
            rope_base: real("rope.freq_base")?.unwrap_or(10_000.0).into(),
            tensors,
        })
    }

    /// The logits after the first `length` tokens, for each of the ascending `lengths`.
    pub(crate) fn logits(&self, tokens: &[u32], lengths: &[usize]) -> Result<Vec<Vec<f64>>> {
        let embedding = self.tensor("token_embd.weight")?;
        let output = self.tensor("output.weight").unwrap_or(embedding);
        // The keys and the values of all tokens so far, for each layer.
        let mut caches = vec![[const { Vec::new() }; 2]; self.n_layers as usize];
        let mut logits = Vec::new();
        for (position, &token) in tokens.iter().enumerate() {
            let mut x = embedding[token as usize * self.n_embd..][..self.n_embd].to_vec();
            for (l, cache) in caches.iter_mut().enumerate() {
                let attended = self.attention(l, position, &x, cache)?;
                add(&mut x, &attended);
                let through = self.feed_forward(l, &x)?;
                add(&mut x, &through);
            }
            if lengths.contains(&(position + 1)) {
                let x = self.norm(&x, self.tensor("output_norm.weight")?);
                logits.push(product(output, &x));
            }
        }
        Ok(logits)
    }

    fn attention(
        &self,
        l: usize,
        position: usize,
        x: &[f64],
        [keys, values]: &mut [Vec<f64>; 2],
    ) -> Result<Vec<f64>> {
        let of = |name: &str| self.tensor(&format!("blk.{l}.{name}.weight"));
        let x = self.norm(x, of("attn_norm")?);
        let heads = |matrix: &str, norm: &str| {
            let mut heads = self.linear(l, matrix, &x)?;
            for head in heads.chunks_exact_mut(self.head_dim) {
                let normed = self.norm(head, of(norm)?);
                head.copy_from_slice(&normed);
                self.rotate(head, position);
            }
            anyhow::Ok(heads)
        };
        let queries = heads("attn_q", "attn_q_norm")?;
        keys.extend(heads("attn_k", "attn_k_norm")?);
        values.extend(self.linear(l, "attn_v", &x)?);
        let width = self.n_kv_heads * self.head_dim;
        let mut mixed = Vec::new();
        for (h, query) in queries.chunks_exact(self.head_dim).enumerate() {
            let start = h / (self.n_heads / self.n_kv_heads) * self.head_dim;
            let own = start..start + self.head_dim;
            let scale = (self.head_dim as f64).sqrt();
            let scores = keys.chunks_exact(width);
            let scores = scores.map(|key| dot(query, &key[own.clone()]) / scale);
            let mut weights: Vec<f64> = scores.collect();
            let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            weights.iter_mut().for_each(|w| *w = (*w - largest).exp());
            let total: f64 = weights.iter().sum();
            let mut out = vec![0.0; self.head_dim];
            for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
                let parts = out.iter_mut().zip(&value[own.clone()]);
                parts.for_each(|(out, v)| *out += weight / total * v);
            }
            mixed.extend(out);
        }
        self.linear(l, "attn_output", &mixed)
    }

    fn feed_forward(&self, l: usize, x: &[f64]) -> Result<Vec<f64>> {
        let x = self.norm(x, self.tensor(&format!("blk.{l}.ffn_norm.weight"))?);
        let gate = self.linear(l, "ffn_gate", &x)?;
        let up = self.linear(l, "ffn_up", &x)?;
        let silu = |x: f64| x / (1.0 + (-x).exp());
        let hidden = gate.iter().zip(&up).map(|(gate, up)| silu(*gate) * up);
        self.linear(l, "ffn_down", &hidden.collect::<Vec<_>>())
    }

    /// A matrix with the factor of its products and the bias that a file may have.
    fn linear(&self, l: usize, name: &str, x: &[f64]) -> Result<Vec<f64>> {
        let of = |what: &str| self.tensor(&format!("blk.{l}.{name}.{what}"));
        let mut out = product(of("weight")?, x);
        if let Ok(scale) = of("scale") {
            out.iter_mut().for_each(|x| *x *= scale[0]);
        }
        if let Ok(bias) = of("bias") {
            add(&mut out, bias);
        }
        Ok(out)
    }

    fn tensor(&self, name: &str) -> Result<&[f64]> {
        let tensor = self.tensors.get(name).map(Vec::as_slice);
        tensor.with_context(|| format!("no tensor {name}"))
    }

    fn norm(&self, x: &[f64], weight: &[f64]) -> Vec<f64> {
        let mean = dot(x, x) / x.len() as f64;
        let scale = 1.0 / (mean + self.epsilon).sqrt();
        x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
    }

    /// Turns dimensions i and i + D / 2 of a head together.
    fn rotate(&self, head: &mut [f64], position: usize) {
        let (first, second) = head.split_at_mut(self.head_dim / 2);
        for (i, (a, b)) in first.iter_mut().zip(second).enumerate() {
            let exponent = -2.0 * i as f64 / self.head_dim as f64;
            let (sin, cos) = (position as f64 * self.rope_base.powf(exponent)).sin_cos();
            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn product(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix
        .chunks_exact(x.len())
        .map(|row| dot(row, x))
        .collect()
}

fn add(x: &mut [f64], more: &[f64]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
}

#[cfg(test)]
mod tests {
    use gust_engine::tiny_models::{Matrices, named};
    use serde::Deserialize;

    use super::*;
    use crate::root;
    use crate::table::relative_rmse;

    /// What llama.cpp computed of the same model, in F32.
    #[test]
    fn it_is_what_llama_cpp_computes_but_for_rounding() {
        #[derive(Deserialize)]
        struct Reference {
            tokens: Vec<u32>,
            logits: HashMap<String, Vec<f32>>,
        }
        let path = root().join("tests/data/architectures/llama-cpp.json");
        let reference = std::fs::read(path).unwrap();
        let reference: Reference = serde_json::from_slice(&reference).unwrap();
        let (name, case) = named()
            .into_iter()
            .find(|(name, _)| name == "qwen3")
            .unwrap();
        let model = Model::read(&case.file(Matrices::F32)).unwrap();
        let tokens = reference.tokens;
        let logits = model.logits(&tokens, &[3, tokens.len()]).unwrap();
        assert_eq!(logits.len(), 2);
        let error = relative_rmse(&reference.logits[&name], &logits[1]);
        assert!(error < 1e-6, "{error:e}");
    }
}

//! Measures candle's quantised Llama: candle-driver MODEL THREADS CONTEXT. See ../README.md.
//!
//! The number of threads is rayon's: whoever starts this sets `RAYON_NUM_THREADS`. candle grows its cache of keys and
//! values as it goes, so the context's length is not used.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file::Content;
use candle_core::{D, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("expected a model")?;
    let start = Instant::now();
    let mut session = Session::load(&path)?;
    let load_ms = 1000.0 * start.elapsed().as_secs_f64();
    println!("{{\"ready\":true,\"version\":\"candle 0.11.1\",\"load_ms\":{load_ms}}}");
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let seconds = match words[..] {
            ["prefill", tokens] => session.prefill(tokens.parse()?)?,
            ["decode", tokens, depth] => session.decode(tokens.parse()?, depth.parse()?)?,
            _ => bail!("expected prefill or decode, found `{line}`"),
        };
        println!("{{\"seconds\":{seconds}}}");
    }
    Ok(())
}

struct Session {
    model: ModelWeights,
    /// The model with some tokens behind it, and how many. A copy shares the weights.
    filled: Option<(usize, ModelWeights)>,
}

impl Session {
    fn load(path: &str) -> Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let content = Content::read(&mut file)?;
        let model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
        let filled = None;
        Ok(Self { model, filled })
    }

    fn prefill(&mut self, tokens: usize) -> Result<f64> {
        let prompt = prompt(tokens)?;
        // At position 0 it forgets what was before.
        let start = Instant::now();
        self.model.forward(&prompt, 0)?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn decode(&mut self, tokens: usize, depth: usize) -> Result<f64> {
        let depth = depth.max(1);
        if !matches!(self.filled, Some((there, _)) if there == depth) {
            self.model.forward(&prompt(depth)?, 0)?;
            self.filled = Some((depth, self.model.clone()));
        }
        let Some((_, filled)) = &self.filled else {
            bail!("the context is not filled");
        };
        let mut model = filled.clone();
        let mut token = 1;
        let start = Instant::now();
        for index in 0..tokens {
            let input = Tensor::new(&[[token]], &Device::Cpu)?;
            let logits = model.forward(&input, depth + index)?;
            token = logits.argmax(D::Minus1)?.flatten_all()?.to_vec1::<u32>()?[0];
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// `[1, tokens]`
fn prompt(tokens: usize) -> Result<Tensor> {
    let ids: Vec<u32> = (0..tokens as u32).map(|i| i * 7919 % 32_000).collect();
    Ok(Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?)
}

//! All types of weights: how far both programs are from the exact logits.

use std::path::Path;

use anyhow::{Context, Result};
use gust::Engine;

use crate::exact;
use crate::gust::{load, session};
use crate::oracle::Oracle;
use crate::table::{Distance, relative_rmse};
use crate::{CONTEXT, LENGTHS, folder, tokens};

/// F32, and all types in blocks and of short numbers, by ggml's names.
const TYPES: [&str; 28] = [
    "f32", "f16", "bf16", "q8_0", "q6_K", "q5_K", "q5_1", "q5_0", "q4_K", "q4_1", "q4_0", "q3_K",
    "q2_K", "q2_0", "q1_0", "iq4_nl", "iq4_xs", "iq3_s", "iq3_xxs", "iq2_s", "iq2_xs", "iq2_xxs",
    "iq1_m", "iq1_s", "tq2_0", "tq1_0", "mxfp4", "nvfp4",
];

/// For each type: one of the models, its matrices in that type, against float64 with the numbers that these stand for.
pub(crate) fn types(
    oracle: &Oracle,
    engine: &Engine,
    models: &Path,
    seed: u64,
) -> Result<Vec<Distance>> {
    let folder = folder()?;
    let model = folder.join("long.gguf");
    let short = std::fs::read(models.join("qwen3-dense.gguf"))?;
    std::fs::write(&model, crate::longer::longer(&short, CONTEXT)?)?;
    let (quantized, exact) = (folder.join("quantized.gguf"), folder.join("exact.gguf"));
    let tokens = tokens(seed, 128, LENGTHS[LENGTHS.len() - 1]);
    let distances = TYPES.iter().map(|ty| {
        let [quantized, exact] = match *ty {
            "f32" => [&model, &model],
            _ => {
                oracle.quantize(&model, ty, &quantized, &exact)?;
                [&quantized, &exact]
            }
        };
        let exact = exact::Model::read(&std::fs::read(exact)?)?;
        let exact = exact.logits(&tokens, &LENGTHS)?.concat();
        let theirs = oracle.logits(quantized, &[], &tokens, 0)?;
        let theirs = LENGTHS.map(|length| theirs.after(length)).concat();
        let ours = gust_logits(engine, quantized, &tokens);
        let ours = ours.with_context(|| format!("gust refuses {ty}"))?;
        let distance = Distance {
            ty,
            gust: relative_rmse(&ours, &exact),
            llama_cpp: relative_rmse(&theirs, &exact),
        };
        eprintln!(
            "{ty}: {:.1e}, llama.cpp {:.1e}",
            distance.gust, distance.llama_cpp
        );
        Ok(distance)
    });
    distances.collect()
}

fn gust_logits(engine: &Engine, model: &Path, tokens: &[u32]) -> Result<Vec<f32>, gust::Error> {
    let mut session = session(&load(engine, model, Some(1))?)?;
    let mut logits = Vec::new();
    let mut fed = 0;
    for length in LENGTHS {
        session.feed(&tokens[fed..length])?;
        logits.extend(session.logits()?);
        fed = length;
    }
    Ok(logits)
}

//! Tests the forward pass against the float64 reference in `tests/data/models/ref`, and against itself in a group.

use std::rc::Rc;

use serde_json::Value;

use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::test_data::data;
use crate::test_model::{self, Shape};
use crate::tiny_models::{Case, Matrices, encoders, named};

pub(super) fn load(file: &[u8], group: Rc<dyn Group>) -> Transformer {
    let gguf = Gguf::read(&file).unwrap();
    gguf.check_data(file.len() as u64).unwrap();
    Transformer::load(&gguf, &file, Mapping::Allowed, group).unwrap()
}

/// The logits after each of the tokens, computed in batches of `batch`.
fn logits(model: &mut Transformer, kv_type: KvType, tokens: &[u32], batch: usize) -> Vec<Vec<f32>> {
    let mut state = model.new_state(kv_type, tokens.len()).unwrap();
    let mut all = Vec::new();
    for (i, tokens) in tokens.chunks(batch).enumerate() {
        let n_vocab = model.plan().n_vocab;
        let span = Span {
            tokens,
            position: i * batch,
            state: &mut state,
            wanted: 0..tokens.len(),
        };
        let mut out = Vec::new();
        let mut hidden = model.forward(&mut [span]).unwrap();
        hidden.logits(0..tokens.len(), &mut out).unwrap();
        all.extend(out.chunks_exact(n_vocab).map(<[f32]>::to_vec));
    }
    all
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn tokens(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|v| v as u32).collect()
}

fn largest_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f64::from(*f) - e).abs())
        .fold(0.0, f64::max)
}

fn mean_nll(logits: &[Vec<f32>], tokens: &[u32]) -> f64 {
    let nll = |(logits, token): (&Vec<f32>, &u32)| {
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        sum.ln() - f64::from(logits[*token as usize])
    };
    logits.iter().zip(&tokens[1..]).map(nll).sum::<f64>() / (tokens.len() - 1) as f64
}

#[test]
fn stories260k_in_f32_matches_the_reference() {
    let file = data("models/stories260K-f32.gguf");
    let reference: Value = serde_json::from_slice(&data("models/ref/stories260K.json")).unwrap();
    let mut model = load(&file, Rc::new(Solo));
    for case in reference["cases"].as_array().unwrap() {
        let prompt = tokens(&case["prompt_tokens"]);
        let found = logits(&mut model, KvType::F32, &prompt, BATCH);
        let error = largest_error(
            found.last().unwrap(),
            &numbers(&case["logits_after_prompt"]),
        );
        assert!(error < 1e-4, "prompt {}: {error}", case["prompt"]);
    }
    let eval = tokens(&reference["eval"]["tokens"]);
    let nll = mean_nll(&logits(&mut model, KvType::F32, &eval, BATCH), &eval);
    let expected = reference["eval"]["mean_nll"].as_f64().unwrap();
    assert!(
        (nll - expected).abs() < 1e-4,
        "expected {expected}, found {nll}"
    );
}

#[test]
fn stories260k_in_fewer_bits_is_as_close_as_llama_cpp() {
    for name in ["f16", "q8_0", "q4_0"] {
        let file = data(&format!("models/stories260K-{name}.gguf"));
        let reference = data(&format!("models/ref/stories260K-{name}.json"));
        let reference: Value = serde_json::from_slice(&reference).unwrap();
        let mut model = load(&file, Rc::new(Solo));
        let (mut worst, mut allowed) = (0f64, 0f64);
        for case in reference["cases"].as_array().unwrap() {
            let exact = numbers(&case["exact_logits_after_prompt"]);
            let llama_cpp: Vec<f32> = numbers(&case["llamacpp_logits_after_prompt"])
                .into_iter()
                .map(|l| l as f32)
                .collect();
            let prompt = tokens(&case["prompt_tokens"]);
            let found = logits(&mut model, KvType::F32, &prompt, BATCH);
            worst = worst.max(largest_error(found.last().unwrap(), &exact));
            allowed = allowed.max(largest_error(&llama_cpp, &exact));
        }
        assert!(
            worst <= allowed,
            "{name}: {worst} from exact, llama.cpp is {allowed}"
        );
        let eval = tokens(&reference["eval"]["tokens"]);
        let nll = mean_nll(&logits(&mut model, KvType::F16, &eval, BATCH), &eval);
        let expected = reference["eval"]["exact_mean_nll"].as_f64().unwrap();
        assert!(
            (nll - expected).abs() < 0.01,
            "{name}: expected {expected}, found {nll}"
        );
    }
}

/// Models of random weights in F32, and a prompt longer than their windows: `tests/data/architectures/reference.py`.
#[test]
fn architectures_match_their_definitions_in_float64() {
    for name in [
        "gemma",
        "gemma2",
        "gemma3",
        "granite",
        "granitemoe",
        "mixtral",
        "qwen2moe",
        "qwen3moe",
        "smollm3",
    ] {
        let reference = data(&format!("architectures/{name}.json"));
        let reference: Value = serde_json::from_slice(&reference).unwrap();
        let file = data(&format!("architectures/{name}.gguf"));
        let mut model = load(&file, Rc::new(Solo));
        let found = logits(
            &mut model,
            KvType::F32,
            &tokens(&reference["tokens"]),
            BATCH,
        );
        let expected = numbers(&reference["logits"]);
        let error = relative_rmse(found.last().unwrap(), &expected);
        assert!(error < 1e-5, "{name}: relative RMSE {error:e}");
    }
}

/// A model of each architecture.
fn models() -> impl Iterator<Item = (String, Vec<u8>)> {
    let file = |(name, case): (String, Case)| (name, case.file(Matrices::Q8_0));
    named().into_iter().map(file)
}

/// The KV types that the heads of a model support.
fn kv_types(model: &mut Transformer) -> Vec<KvType> {
    let all = [KvType::F16, KvType::F32, KvType::Q8_0];
    all.into_iter()
        .filter(|ty| model.new_state(*ty, 1).is_ok())
        .collect()
}

#[test]
fn every_architecture_has_a_model_to_test() {
    let all = [named(), encoders()].concat();
    let mut tested: Vec<&str> = all.iter().map(|(_, case)| case.architecture).collect();
    tested.sort_unstable();
    tested.dedup();
    assert_eq!(tested, Plan::architectures().collect::<Vec<_>>());
}

/// The logits of llama.cpp, by `cargo xtask parity --update`.
#[test]
fn architectures_match_llama_cpp() {
    let reference = data("architectures/llama-cpp.json");
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let tokens = tokens(&reference["tokens"]);
    let mut n = 0;
    for (name, case) in named() {
        let expected = &reference["logits"][&name];
        // llama.cpp has a fixed number of outputs for the first, and its kernel for the second reads past heads that are
        // narrower than 64.
        if ["qwen3tts", "rwkv7-2"].contains(&&*name) {
            continue;
        }
        let expected = numbers(expected);
        let mut model = load(&case.file(Matrices::F32), Rc::new(Solo));
        let found = logits(&mut model, KvType::F32, &tokens, BATCH);
        let error = relative_rmse(found.last().unwrap(), &expected);
        assert!(error < 1e-3, "{name}: relative RMSE {error:e}");
        n += 1;
    }
    assert_eq!(n, reference["logits"].as_object().unwrap().len());
}

/// The root of the mean square of the differences, divided by that of the expected numbers.
pub(super) fn relative_rmse(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let found = found.iter().map(|x| f64::from(*x));
    let differences: f64 = found.zip(expected).map(|(f, e)| (f - e).powi(2)).sum();
    let squares: f64 = expected.iter().map(|e| e.powi(2)).sum();
    (differences / squares).sqrt()
}

#[test]
fn a_batch_computes_the_same_bits_as_single_tokens() {
    for (name, file) in models() {
        let mut model = load(&file, Rc::new(Solo));
        let tokens: Vec<u32> = (0..45).map(|i| i * 7 % 64).collect();
        for kv_type in kv_types(&mut model) {
            let single = logits(&mut model, kv_type, &tokens, 1);
            let is_finite = single.iter().flatten().all(|l| l.is_finite());
            assert!(is_finite, "{name}");
            assert!(single[44] != single[43], "the token matters: {name}");
            for batch in [2, 5, BATCH] {
                assert_eq!(
                    logits(&mut model, kv_type, &tokens, batch),
                    single,
                    "{kv_type:?} {name}"
                );
            }
        }
    }
}

/// Several sequences at different positions, each in spans of its own lengths, in one batch after the other.
#[test]
fn a_mix_of_sequences_computes_the_same_bits_as_each_alone() {
    for (name, file) in models() {
        let mut model = load(&file, Rc::new(Solo));
        let kv_type = *kv_types(&mut model).last().unwrap_or(&KvType::F16);
        let sequences: [Vec<u32>; 3] =
            [45, 70, 23].map(|n| (0..n).map(|i| (i * 7 + n) % 64).collect());
        let alone = sequences
            .each_ref()
            .map(|tokens| logits(&mut model, kv_type, tokens, BATCH));
        // How many tokens of each sequence each batch has.
        let mixes = [[1, 40, 2], [5, 1, 1], [30, 0, 20], [1, 29, 0], [8, 0, 0]];
        let mut states = [45, 70, 23].map(|n| model.new_state(kv_type, n).unwrap());
        let mut done = [0; 3];
        let mut found = [const { Vec::new() }; 3];
        for mix in mixes {
            let mut batch = Vec::new();
            for (i, state) in states.iter_mut().enumerate().filter(|(i, _)| mix[*i] > 0) {
                batch.push(Span {
                    tokens: &sequences[i][done[i]..done[i] + mix[i]],
                    position: done[i],
                    state,
                    // All but the first, to see that rows are counted right.
                    wanted: 1..mix[i],
                });
            }
            let n_wanted = mix.iter().map(|n: &usize| n.saturating_sub(1)).sum();
            let mut out = Vec::new();
            let mut hidden = model.forward(&mut batch).unwrap();
            hidden.logits(0..n_wanted, &mut out).unwrap();
            let mut rows = out.chunks_exact(out.len() / n_wanted);
            for i in 0..3 {
                for t in 1..mix[i] {
                    let row = rows.next().unwrap().to_vec();
                    found[i].push((done[i] + t, row));
                }
                done[i] += mix[i];
            }
        }
        assert_eq!(done, [45, 70, 23]);
        for (found, alone) in found.iter().zip(&alone) {
            assert!(found.len() > 15);
            for (t, row) in found {
                assert!(row == &alone[*t], "token {t}, {name}");
            }
        }
    }
}

/// A tensor that no plan reads would change the numbers.
#[test]
fn a_tensor_that_is_not_read_is_named() {
    let mut builder = test_model::Builder::of(&Shape::default());
    builder.tensor("blk.1.attn_output.gain", TensorType::F32, &[64]);
    let file = builder.finish();
    let gguf = Gguf::read(&file).unwrap();
    let error = Transformer::load(&gguf, &file, Mapping::Allowed, Rc::new(Solo));
    let message = error.err().unwrap().to_string();
    assert!(message.contains("`blk.1.attn_output.gain`"), "{message}");
}

// WebAssembly has no threads.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod threads {
    use std::sync::{Arc, Barrier, Mutex};

    use super::*;
    use crate::error::Result;

    /// A group of threads.
    struct Threads {
        rank: usize,
        barrier: Arc<Barrier>,
        parts: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Group for Threads {
        fn rank(&self) -> usize {
            self.rank
        }

        fn size(&self) -> usize {
            self.parts.lock().unwrap().len()
        }

        fn all_gather(&self, part: &[u8]) -> Result<Vec<u8>> {
            self.parts.lock().unwrap()[self.rank] = part.to_vec();
            self.barrier.wait();
            let all = self.parts.lock().unwrap().concat();
            self.barrier.wait();
            Ok(all)
        }

        fn checkpoint(&self) -> Result<()> {
            Ok(())
        }
    }

    /// Runs `member` once for each place in a group.
    pub(crate) fn in_group(size: usize, member: impl Fn(Rc<dyn Group>) + Sync) {
        let barrier = Arc::new(Barrier::new(size));
        let parts = Arc::new(Mutex::new(vec![Vec::new(); size]));
        std::thread::scope(|scope| {
            for rank in 0..size {
                let group = Threads {
                    rank,
                    barrier: barrier.clone(),
                    parts: parts.clone(),
                };
                let member = &member;
                scope.spawn(move || member(Rc::new(group)));
            }
        });
    }

    #[test]
    fn a_group_of_any_size_computes_the_same_bits() {
        for (name, file) in models() {
            let tokens: Vec<u32> = (0..40).map(|i| i * 11 % 64).collect();
            let mut model = load(&file, Rc::new(Solo));
            let kv_type = *kv_types(&mut model).last().unwrap_or(&KvType::F16);
            let alone = logits(&mut model, kv_type, &tokens, BATCH);
            // Three divides neither the heads nor the rows evenly, and eight leaves some members without a head.
            for size in [2, 3, 8] {
                in_group(size, |group| {
                    let mut model = load(&file, group);
                    let found = logits(&mut model, kv_type, &tokens, BATCH);
                    assert!(found == alone, "{name}");
                });
            }
        }
    }
}

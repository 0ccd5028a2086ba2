//! Tests adapters against models that have the same changes in their matrices, and against themselves.

use super::*;
use crate::gguf::Writer;
use crate::model::tests::{load, relative_rmse};
use crate::model::{KvType, Solo, State, Transformer, adaptable_tensors};
use crate::test_model::{self, Shape};
use crate::tiny_models::{Matrices, RandomAdapter, named};

const TOKENS: usize = 40;

fn tokens(first: u32, n: usize) -> Vec<u32> {
    let n = u32::try_from(n).unwrap();
    (0..n).map(|i| (i * 11 + first) % 64).collect()
}

fn random(seed: u64) -> RandomAdapter {
    RandomAdapter {
        rank: 3,
        alpha: 5.0,
        seed,
        ty: TensorType::F32,
    }
}

/// Loads adapters of the model `file`.
fn adapters(
    model: &mut Transformer,
    file: &[u8],
    adapters: &[(&[u8], f32)],
) -> Result<Option<Rc<Adapters>>> {
    let gguf = Gguf::read(&file)?;
    let load = |&(adapter, scale): &(&[u8], f32)| {
        let header = Gguf::read(&adapter)?;
        header.check_data(adapter.len() as u64)?;
        let adapter = model.load_adapter(&gguf, &header, &adapter)?;
        Ok((Rc::new(adapter), scale))
    };
    let list: Vec<_> = adapters.iter().map(load).collect::<Result<_>>()?;
    let adapters = Adapters::new(&list)?;
    if let Some(adapters) = &adapters {
        model.reserve_adapters(adapters)?;
    }
    Ok(adapters)
}

fn state(model: &mut Transformer, adapters: Option<&Rc<Adapters>>) -> State {
    let mut state = model.new_state(KvType::F32, 2 * TOKENS).unwrap();
    state.set_adapters(adapters.cloned());
    state
}

/// The logits after each of the tokens, computed in batches of `batch`.
fn logits(
    model: &mut Transformer,
    adapters: Option<&Rc<Adapters>>,
    tokens: &[u32],
    batch: usize,
) -> Vec<Vec<f32>> {
    let mut state = state(model, adapters);
    let mut all = Vec::new();
    for (i, tokens) in tokens.chunks(batch).enumerate() {
        let span = Span {
            tokens,
            position: i * batch,
            state: &mut state,
            wanted: 0..tokens.len(),
        };
        let mut out = Vec::new();
        let mut hidden = model.forward(&mut [span]).unwrap();
        hidden.logits(0..tokens.len(), &mut out).unwrap();
        let n_vocab = out.len() / tokens.len();
        all.extend(out.chunks_exact(n_vocab).map(<[f32]>::to_vec));
    }
    all
}

fn numbers(file: &[u8], tensor: &TensorInfo) -> Vec<f32> {
    let bytes = file.read(tensor.offset, tensor.size as usize).unwrap();
    let mut numbers = vec![0.0; tensor.shape.iter().product::<u64>() as usize];
    quant::dequantize(tensor.ty, &bytes, &mut numbers);
    numbers
}

/// A model in F32 whose matrices have the changes of adapters in them.
fn merged(file: &[u8], adapters: &[(&[u8], f32)]) -> Vec<u8> {
    let gguf = Gguf::read(&file).unwrap();
    let mut writer = Writer::default();
    for (key, value) in gguf.metadata.iter() {
        writer.metadata(key, value.clone());
    }
    let mut data = Vec::new();
    // A change of embeddings does not change the logits that are computed with the same matrix.
    if gguf.tensor("output.weight").is_none() {
        let output = gguf.tensor("token_embd.weight").unwrap();
        writer.tensor("output.weight", output.ty, &output.shape);
        data.extend(file.read(output.offset, output.size as usize).unwrap());
        data.resize(data.len().next_multiple_of(Writer::ALIGNMENT as usize), 0);
    }
    for tensor in &gguf.tensors {
        writer.tensor(&tensor.name, tensor.ty, &tensor.shape);
        let mut bytes = file.read(tensor.offset, tensor.size as usize).unwrap();
        for &(adapter, scale) in adapters {
            let header = Gguf::read(&adapter).unwrap();
            let part = |end: &str| header.tensor(&format!("{}{end}", tensor.name));
            let (Some(a), Some(b)) = (part(".lora_a"), part(".lora_b")) else {
                continue;
            };
            assert_eq!(tensor.ty, TensorType::F32);
            let is_lookup = tensor.name == "token_embd.weight";
            let rank = b.shape[0] as usize;
            let alpha = header.metadata.f32("adapter.lora.alpha").unwrap().unwrap();
            let factor = match alpha {
                0.0 => f64::from(scale),
                alpha => f64::from(scale) * f64::from(alpha) / rank as f64,
            };
            // What adapters add is not multiplied by the scale of a matrix's products.
            // A router has none: where a file has such a tensor, it is of what the router sees.
            let own_scale = match tensor.name.contains("ffn_gate_inp") {
                true => String::new(),
                false => tensor.name.replace(".weight", ".scale"),
            };
            let own_scales = gguf.tensor(&own_scale).map(|scale| numbers(file, scale));
            let (a, b) = (numbers(adapter, a), numbers(adapter, b));
            let (cols, rows) = (tensor.shape[0] as usize, tensor.shape[1] as usize);
            for (i, raw) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let (matrix, row, col) = (i / cols / rows, i / cols % rows, i % cols);
                let own_scale = own_scales.as_ref().map_or(1.0, |scales| scales[matrix]);
                let factor = factor / f64::from(own_scale);
                // A embeds where rows are looked up, and B does elsewhere.
                let product = |k: usize| match is_lookup {
                    true => f64::from(a[row * rank + k]) * f64::from(b[col * rank + k]),
                    false => {
                        let a = a[(matrix * rank + k) * cols + col];
                        f64::from(a) * f64::from(b[(matrix * rows + row) * rank + k])
                    }
                };
                let sum = (0..rank).map(product).sum::<f64>();
                let weight = f64::from(f32::from_le_bytes(*raw)) + factor * sum;
                *raw = (weight as f32).to_le_bytes();
            }
        }
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(Writer::ALIGNMENT as usize), 0);
    }
    [writer.header(), data].concat()
}

fn exact(logits: &[Vec<f32>]) -> Vec<f64> {
    logits.iter().flatten().copied().map(f64::from).collect()
}

/// Of every architecture, whether each kind of tensor is changed alone or all together, and with one adapter or two.
#[test]
fn adapters_are_as_if_the_model_had_their_changes() {
    for (name, case) in named() {
        let file = case.file(Matrices::F32);
        let gguf = Gguf::read(&file).unwrap();
        let tensors = adaptable_tensors(&gguf, 1).unwrap();
        let kinds = tensors.iter().filter_map(|(tensor, _)| {
            let rest = tensor.strip_prefix("blk.").unwrap_or(tensor);
            // One layer each.
            (rest == tensor || tensor.starts_with("blk.1.")).then_some(tensor.as_str())
        });
        let mut model = load(&file, Rc::new(Solo));
        let mut check = |files: &[(&[u8], f32)], what: &str, n: usize| {
            let tokens = tokens(5, n);
            let own = adapters(&mut model, &file, files).unwrap();
            let found = logits(&mut model, own.as_ref(), &tokens, BATCH).concat();
            let plain = logits(&mut model, None, &tokens, BATCH);
            let mut merged = load(&merged(&file, files), Rc::new(Solo));
            let expected = logits(&mut merged, None, &tokens, BATCH);
            let error = relative_rmse(&found, &exact(&expected));
            let change = relative_rmse(&found, &exact(&plain));
            assert!(
                change > 10.0 * error && error < 1e-4,
                "{what} {name}: changed by {change:e}, error {error:e}"
            );
        };
        for kind in kinds {
            let one = random(3).file(&file, |tensor| tensor == kind);
            check(&[(&one, 1.0)], kind, 8);
        }
        let of_all = random(2).file(&file, |_| true);
        check(&[(&of_all, 0.75)], "all", TOKENS);
        let without_alpha = RandomAdapter {
            alpha: 0.0,
            rank: 1,
            ..random(4)
        };
        let other = without_alpha.file(&file, |tensor| !tensor.contains("attn_k"));
        check(&[(&of_all, -0.5), (&other, 1.5)], "two", TOKENS);
    }
}

#[test]
fn adapters_in_other_types_are_their_numbers() {
    let file = test_model::model(&Shape {
        ty: TensorType::F32,
        ..Shape::default()
    });
    for ty in [TensorType::F16, TensorType::Q8_0, TensorType::Q4_0] {
        let random = RandomAdapter {
            rank: 32,
            ty,
            ..random(9)
        };
        let adapter = random.file(&file, |_| true);
        let files = [(&*adapter, 1.0)];
        let mut model = load(&file, Rc::new(Solo));
        let own = adapters(&mut model, &file, &files).unwrap();
        let found = logits(&mut model, own.as_ref(), &tokens(5, TOKENS), BATCH);
        let mut merged = load(&merged(&file, &files), Rc::new(Solo));
        let expected = logits(&mut merged, None, &tokens(5, TOKENS), BATCH);
        let error = relative_rmse(&found.concat(), &exact(&expected));
        assert!(error < 1e-4, "{}: {error:e}", ty.name());
    }
}

/// Sequences with no adapter, with one, and with two, in one batch after the other.
#[test]
fn a_token_has_the_same_bits_in_any_company() {
    for (name, case) in named() {
        let file = case.file(Matrices::Q8_0);
        let mut model = load(&file, Rc::new(Solo));
        let [one, two] = [2, 3].map(|seed| random(seed).file(&file, |_| true));
        let sets: [&[(&[u8], f32)]; 3] = [&[], &[(&one, 1.0)], &[(&two, -0.5), (&one, 0.25)]];
        let sets = sets.map(|set| adapters(&mut model, &file, set).unwrap());
        let sequences = [5, 8, 13].map(|first| tokens(first, TOKENS));
        let mut alone = Vec::new();
        for (set, tokens) in sets.iter().zip(&sequences) {
            let single = logits(&mut model, set.as_ref(), tokens, 1);
            for batch in [3, BATCH] {
                let found = logits(&mut model, set.as_ref(), tokens, batch);
                assert!(found == single, "batches of {batch}, {name}");
            }
            alone.push(single);
        }
        assert!(
            alone[1] != logits(&mut model, None, &sequences[1], 1),
            "{name}"
        );
        let mut states = sets.each_ref().map(|set| state(&mut model, set.as_ref()));
        let mut done = [0; 3];
        for mix in [[1, 30, 2], [30, 1, 1], [9, 9, 30]] {
            let mut batch = Vec::new();
            for (i, state) in states.iter_mut().enumerate() {
                batch.push(Span {
                    tokens: &sequences[i][done[i]..done[i] + mix[i]],
                    position: done[i],
                    state,
                    wanted: 0..mix[i],
                });
            }
            let n = mix.iter().sum();
            let mut out = Vec::new();
            let mut hidden = model.forward(&mut batch).unwrap();
            hidden.logits(0..n, &mut out).unwrap();
            let mut rows = out.chunks_exact(out.len() / n);
            for i in 0..3 {
                for (t, alone) in alone[i].iter().enumerate().skip(done[i]).take(mix[i]) {
                    assert!(rows.next().unwrap() == alone, "token {t}, {name}");
                }
                done[i] += mix[i];
            }
        }
        assert_eq!(done, [TOKENS, TOKENS, 33]);
    }
}

#[test]
#[cfg(not(target_arch = "wasm32"))]
fn a_group_of_any_size_computes_the_same_bits() {
    for (name, case) in named() {
        let file = case.file(Matrices::Q8_0);
        let [one, two] = [2, 3].map(|seed| random(seed).file(&file, |_| true));
        let files: [(&[u8], f32); 2] = [(&one, 1.0), (&two, -0.5)];
        let computed = |group: Rc<dyn crate::model::Group>| {
            let mut model = load(&file, group);
            let own = adapters(&mut model, &file, &files).unwrap();
            logits(&mut model, own.as_ref(), &tokens(5, TOKENS), BATCH)
        };
        let alone = computed(Rc::new(Solo));
        for size in [2, 3, 8] {
            crate::model::tests::threads::in_group(size, |group| {
                assert!(computed(group) == alone, "{size} {name}");
            });
        }
    }
}

/// Each instance has other numbers, but all have the same fingerprint: a state saved by one group restores in another.
#[test]
#[cfg(not(target_arch = "wasm32"))]
fn a_fingerprint_is_of_the_file_and_not_of_the_share() {
    let file = test_model::model(&Shape::default());
    let fingerprint = |group: Rc<dyn crate::model::Group>, files: &[(&[u8], f32)]| {
        let own = adapters(&mut load(&file, group), &file, files).unwrap();
        own.map(|adapters| adapters.fingerprint())
    };
    let alone = |files: &[(&[u8], f32)]| fingerprint(Rc::new(Solo), files);
    let [one, other] = [2, 3].map(|seed| random(seed).file(&file, |_| true));
    let expected = alone(&[(&one, 1.0)]);
    crate::model::tests::threads::in_group(3, |group| {
        assert_eq!(fingerprint(group, &[(&one, 1.0)]), expected);
    });
    let few = random(2).file(&file, |tensor| tensor.contains("attn_q"));
    let mut weaker = random(2);
    weaker.alpha = 4.0;
    let weaker = weaker.file(&file, |_| true);
    let all: [&[(&[u8], f32)]; 8] = [
        &[],
        &[(&one, 1.0)],
        &[(&one, -1.0)],
        &[(&other, 1.0)],
        &[(&few, 1.0)],
        &[(&weaker, 1.0)],
        &[(&one, 1.0), (&other, 1.0)],
        &[(&other, 1.0), (&one, 1.0)],
    ];
    let mut all = all.map(alone).to_vec();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8);
    assert_eq!(alone(&[(&other, 0.0), (&one, 1.0), (&few, -0.0)]), expected);
    assert_eq!(alone(&[(&other, 0.0)]), None);
}

/// A file with tensors of zeros, or with what `fill` puts into each.
struct Forged {
    writer: Writer,
    data: Vec<u8>,
}

impl Forged {
    fn new() -> Self {
        let mut writer = Writer::default();
        writer
            .metadata("general.architecture", "llama")
            .metadata("general.type", "adapter")
            .metadata("adapter.type", "lora");
        Self {
            writer,
            data: Vec::new(),
        }
    }

    fn tensor(mut self, name: &str, ty: TensorType, shape: &[u64]) -> Self {
        let size = self.writer.tensor(name, ty, shape).next_multiple_of(32);
        self.data.resize(self.data.len() + size as usize, 0);
        self
    }

    /// A and B of `blk.0.attn_q.weight`, of these shapes.
    fn query(self, a: &[u64], b: &[u64]) -> Self {
        self.tensor("blk.0.attn_q.weight.lora_a", TensorType::F32, a)
            .tensor("blk.0.attn_q.weight.lora_b", TensorType::F32, b)
    }

    fn finish(self) -> Vec<u8> {
        [self.writer.header(), self.data].concat()
    }
}

/// Why an adapter of the default tiny model is refused: nothing if it is not.
fn refusals() -> impl FnMut(&[u8]) -> String {
    let file = test_model::model(&Shape::default());
    let mut model = load(&file, Rc::new(Solo));
    move |adapter| {
        let loaded = adapters(&mut model, &file, &[(adapter, 1.0)]);
        loaded
            .err()
            .map_or(String::new(), |error| error.to_string())
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut refusal = refusals();
    // The matrix has 64 columns and 64 rows.
    assert_eq!(
        refusal(&Forged::new().query(&[64, 2], &[2, 64]).finish()),
        ""
    );
    assert_eq!(refusal(&Forged::new().query(&[64], &[1, 64]).finish()), "");
    let whole: (&[u64], &[u64]) = (&[64, 2, 1, 1], &[2, 64, 1]);
    assert_eq!(refusal(&Forged::new().query(whole.0, whole.1).finish()), "");
    let wrong: [(&[u64], &[u64], &str); 10] = [
        (&[32, 2], &[2, 64], "lora_a"),
        (&[65, 2], &[2, 64], "lora_a"),
        (&[64, 0], &[0, 64], "lora_a"),
        (&[64, 2, 2], &[2, 64], "lora_a"),
        (&[64, 2], &[3, 64], "lora_b"),
        (&[64, 2], &[1, 64], "lora_b"),
        (&[64, 2], &[2, 63], "lora_b"),
        (&[64, 2], &[2, 128], "lora_b"),
        (&[64, 2], &[64, 2], "lora_b"),
        (&[64, 2], &[2, 64, 1, 2], "lora_b"),
    ];
    for (a, b, named) in wrong {
        let message = refusal(&Forged::new().query(a, b).finish());
        let says = format!("tensor `blk.0.attn_q.weight.{named}` of the adapter: expected shape [");
        assert!(message.contains(&says), "{a:?} {b:?}: {message}");
    }
}

#[test]
fn counts_that_the_file_does_not_have_are_refused() {
    let mut refusal = refusals();
    let mut forged = Forged::new();
    let writer = &mut forged.writer;
    writer.tensor(
        "blk.0.attn_q.weight.lora_a",
        TensorType::F32,
        &[64, 1 << 40],
    );
    let message = refusal(&forged.finish());
    assert!(message.contains("it is cut short"), "{message}");
    let mut file = Forged::new().query(&[64], &[1, 64]).finish();
    // The first dimension of A: after its name and the number of its dimensions.
    let name = b"blk.0.attn_q.weight.lora_a";
    let at = file.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4;
    file[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let message = refusal(&file);
    assert!(message.contains("blk.0.attn_q.weight.lora_a"), "{message}");
}

#[test]
fn a_cut_or_changed_file_is_refused_or_harmless() {
    let mut refusal = refusals();
    let file = test_model::model(&Shape::default());
    let adapter = random(2).file(&file, |tensor| tensor.contains("attn_q"));
    for cut in (0..adapter.len()).step_by(61) {
        assert!(!refusal(&adapter[..cut]).is_empty(), "cut at {cut}");
    }
    let header = Gguf::read(&adapter).unwrap().data_offset as usize;
    for at in 0..header {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut changed = adapter.clone();
            changed[at] = byte;
            // Whatever it says, it is an answer.
            let _ = refusal(&changed);
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut refusal = refusals();
    let good = Forged::new().query(&[64, 2], &[2, 64]).finish();
    let data = Gguf::read(&good).unwrap().data_offset as usize;
    for (at, says) in [
        (0, "lora_a` of the adapter: expected finite numbers, found"),
        (
            4 * 127,
            "lora_a` of the adapter: expected finite numbers, found",
        ),
        (
            4 * 128,
            "lora_b` of the adapter: expected finite numbers, found",
        ),
        (4 * 255, "in row 63"),
    ] {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut file = good.clone();
            file[data + at..data + at + 4].copy_from_slice(&wrong.to_le_bytes());
            let message = refusal(&file);
            assert!(message.contains(says), "{at}: {message}");
        }
    }
    let mut forged = Forged::new();
    forged.writer.metadata("adapter.lora.alpha", f32::NAN);
    let message = refusal(&forged.query(&[64, 2], &[2, 64]).finish());
    assert!(message.contains("adapter.lora.alpha"), "{message}");
}

#[test]
fn scales_that_are_not_finite_are_refused() {
    let file = test_model::model(&Shape::default());
    let adapter = random(2).file(&file, |_| true);
    let mut model = load(&file, Rc::new(Solo));
    for scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let error = adapters(&mut model, &file, &[(&adapter, scale)]).err();
        assert!(matches!(error, Some(Error::InvalidArgument(_))), "{scale}");
    }
}

#[test]
fn what_is_not_changed_here_is_named() {
    let mut refusal = refusals();
    let shape = Shape {
        architecture: "qwen3moe",
        experts: Some([4, 2]),
        has_head_norms: true,
        ..Shape::default()
    };
    let file = test_model::model(&shape);
    let mut model = load(&file, Rc::new(Solo));
    let f32 = TensorType::F32;
    let mut of = |tensor: &str, a: &[u64], b: &[u64]| {
        let mut forged = Forged::new();
        forged.writer = Writer::default();
        forged
            .writer
            .metadata("general.architecture", "qwen3moe")
            .metadata("general.type", "adapter")
            .metadata("adapter.type", "lora");
        let adapter = forged
            .tensor(&format!("{tensor}.lora_a"), f32, a)
            .tensor(&format!("{tensor}.lora_b"), f32, b)
            .finish();
        let error = adapters(&mut model, &file, &[(&adapter, 1.0)]).err();
        error.map_or(String::new(), |error| error.to_string())
    };
    for norm in ["attn_norm", "attn_q_norm"] {
        let tensor = format!("blk.1.{norm}.weight");
        let message = of(&tensor, &[64, 2], &[2, 1]);
        assert!(
            message.starts_with("unsupported: tensor") && message.contains(&format!("`{tensor}`")),
            "{message}"
        );
    }
    // Four experts of 96 rows, and a vocabulary whose embeddings are looked up.
    let (up, embd) = ("blk.1.ffn_up_exps.weight", "token_embd.weight");
    let n_vocab = Gguf::read(&file).unwrap().tensor(embd).unwrap().shape[1];
    let right: [(&str, &[u64], &[u64]); 3] = [
        (up, &[64, 2, 4], &[2, 96, 4]),
        (embd, &[2, n_vocab], &[2, 64]),
        ("blk.1.ffn_gate_inp.weight", &[64, 2], &[2, 4]),
    ];
    for (tensor, a, b) in right {
        assert_eq!(of(tensor, a, b), "", "{tensor}");
    }
    let wrong: [(&str, &[u64], &[u64], &str); 6] = [
        (up, &[64, 2], &[2, 96], "lora_a"),
        (up, &[64, 2, 3], &[2, 96, 4], "lora_a"),
        (up, &[64, 2, 4], &[2, 96, 1], "lora_b"),
        (up, &[64, 2, 4], &[2, 96 * 4], "lora_b"),
        (embd, &[64, 2], &[2, n_vocab], "lora_a"),
        (embd, &[2, n_vocab], &[64, 2], "lora_b"),
    ];
    for (tensor, a, b, named) in wrong {
        let message = of(tensor, a, b);
        let says = format!("tensor `{tensor}.{named}` of the adapter: expected shape [");
        assert!(message.contains(&says), "{message}");
    }
    for (tensor, says) in [
        ("blk.0.attn_q.bias", "not of a LoRA"),
        ("blk.7.attn_q.weight.lora_a", "another model"),
        (
            "blk.0.attn_q.weight.lora_a",
            "no `blk.0.attn_q.weight.lora_b`",
        ),
        (
            "blk.0.attn_q.weight.lora_b",
            "no `blk.0.attn_q.weight.lora_a`",
        ),
    ] {
        let message = refusal(&Forged::new().tensor(tensor, f32, &[64]).finish());
        assert!(message.contains(says), "{message}");
        assert!(message.contains(tensor), "{message}");
    }
    let packed = Forged::new()
        .tensor("blk.0.attn_q.weight.lora_a", TensorType::Q8_0_X4, &[64, 32])
        .tensor("blk.0.attn_q.weight.lora_b", f32, &[32, 64]);
    assert!(refusal(&packed.finish()).contains("Q8_0_X4"));
}

/// The converter writes them if they were trained, and llama.cpp loads the file without them.
#[test]
fn weights_of_norms_are_left_out_and_named() {
    let file = test_model::model(&Shape::default());
    let model = load(&file, Rc::new(Solo));
    let of = |norms: &[&str]| {
        let mut forged = Forged::new().query(&[64, 2], &[2, 64]);
        for norm in norms {
            forged = forged.tensor(norm, TensorType::F32, &[64]);
        }
        let bytes = forged.finish();
        let header = Gguf::read(&bytes.as_slice()).unwrap();
        let gguf = Gguf::read(&file.as_slice()).unwrap();
        let adapter = model.load_adapter(&gguf, &header, &bytes.as_slice());
        let adapter = adapter.unwrap();
        assert_eq!(adapter.left_out(), norms);
        adapter.fingerprint.0
    };
    let norms = ["output_norm.weight", "blk.0.attn_norm.weight"];
    assert_eq!(of(&norms), of(&[]), "they compute the same");
}

#[test]
fn files_that_are_no_adapter_of_the_model_say_what_they_are() {
    let mut refusal = refusals();
    let mut of = |entries: &[(&str, &str)]| {
        let mut writer = Writer::default();
        for (key, value) in entries {
            writer.metadata(key, *value);
        }
        refusal(&writer.header())
    };
    let (kind, lora) = (("general.type", "adapter"), ("adapter.type", "lora"));
    let architecture = ("general.architecture", "llama");
    assert_eq!(of(&[kind, lora, architecture]), "");
    let cases: [(&[(&str, &str)], &str); 5] = [
        (
            &[lora, architecture],
            "unsupported: general.type: expected adapter, found none",
        ),
        (
            &[("general.type", "model"), lora, architecture],
            "unsupported: general.type: expected adapter, found model",
        ),
        (
            &[kind, ("adapter.type", "cvec"), architecture],
            "unsupported: adapter.type: expected lora, found cvec",
        ),
        (
            &[kind, lora, ("general.architecture", "qwen2")],
            "invalid argument: general.architecture of the adapter: expected llama, as the model's, found qwen2",
        ),
        (
            &[
                kind,
                lora,
                architecture,
                ("adapter.alora.invocation_tokens", "1"),
            ],
            "unsupported: adapter.alora.invocation_tokens: expected none, found an aLoRA, which is active only after these \
             tokens",
        ),
    ];
    for (entries, says) in cases {
        assert_eq!(of(entries), says);
    }
    assert!(refusal(&test_model::model(&Shape::default())).contains("general.type"));
    assert!(refusal(b"not a file").contains("GGUF"));
}

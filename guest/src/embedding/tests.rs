//! Tests embeddings on tiny models with random weights, of every architecture that has them.

use std::rc::Rc;

use serde_json::Value;

use super::*;
use crate::loaded::Scope;
use crate::model::{Group, Mapping, Solo};
use crate::session::{Session, SessionOptions};
use crate::test_data::data;
use crate::tiny_models::{Case, Matrices, encoders, named};

fn load(file: &Vec<u8>, group: Rc<dyn Group>) -> Model {
    Model::load(file, Scope::Full, Mapping::Allowed, group).unwrap()
}

/// More than two batches, and more than the windows.
fn text() -> Vec<u32> {
    (0..150).map(|i| (i * i + 5 * i) % 64).collect()
}

/// Models that embed, and some that generate: of each kind of state one.
fn models() -> impl Iterator<Item = (String, Case)> {
    const DECODERS: [&str; 5] = ["gemma3n", "llama", "mamba", "qwen35", "rwkv7"];
    let decoders = named().into_iter();
    let decoders = decoders.filter(|(name, _)| DECODERS.contains(&&**name));
    decoders.chain(encoders())
}

fn file(case: Case) -> Vec<u8> {
    case.with_context(200).file(Matrices::Q8_0)
}

/// By `cargo xtask parity --update`.
#[test]
fn embeddings_match_llama_cpp() {
    let reference = data("architectures/llama-cpp.json");
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let numbers = |value: &Value| {
        let numbers = value.as_array().unwrap().iter();
        numbers.map(|x| x.as_f64().unwrap()).collect::<Vec<_>>()
    };
    let tokens: Vec<u32> = numbers(&reference["tokens"])
        .iter()
        .map(|x| *x as u32)
        .collect();
    let mut n = 0;
    for (name, case) in encoders() {
        let model = load(&case.file(Matrices::F32), Rc::new(Solo));
        let found = embed(&model, &tokens, None).unwrap();
        let expected = numbers(&reference["embeddings"][&name]);
        assert_eq!(found.len(), expected.len(), "{name}");
        let (mut error, mut size) = (0.0, 0.0);
        for (found, expected) in found.iter().zip(expected) {
            error += (f64::from(*found) - expected).powi(2);
            size += expected.powi(2);
        }
        let error = (error / size).sqrt();
        assert!(error < 1e-3, "{name}: relative RMSE {error:e}");
        n += 1;
    }
    assert_eq!(n, reference["embeddings"].as_object().unwrap().len());
}

#[test]
fn pooling_takes_what_it_says_of_all_vectors() {
    for (name, case) in models() {
        let has_dense = name == "gemma-embedding";
        let model = load(&file(case), Rc::new(Solo));
        let pooled = |pooling| embed(&model, &text(), Some(pooling)).unwrap();
        let all = pooled(Pooling::None);
        let n_embd = all.len() / text().len();
        assert_eq!(pooled(Pooling::Cls), all[..n_embd], "{name}");
        assert_eq!(pooled(Pooling::Last), all[all.len() - n_embd..], "{name}");
        if has_dense {
            continue;
        }
        let mean = pooled(Pooling::Mean);
        for (i, mean) in mean.iter().enumerate() {
            let column = all.iter().skip(i).step_by(n_embd);
            let exact: f64 = column.map(|x| f64::from(*x)).sum::<f64>() / 150.0;
            assert!((f64::from(*mean) - exact).abs() < 1e-5, "{name}");
        }
    }
}

/// A token of an encoder sees those after it, one of a decoder does not.
#[test]
fn the_last_token_matters_to_the_first_one_in_an_encoder_only() {
    for (name, case) in models() {
        let model = load(&file(case), Rc::new(Solo));
        let is_encoder = model.plan().unwrap().is_encoder();
        let mut other = text();
        other[149] = 63 - other[149];
        // Windows hide it from the first token of all, but there are layers without.
        let first = |tokens: &[u32]| embed(&model, tokens, Some(Pooling::Cls)).unwrap();
        assert_eq!(first(&text()) != first(&other), is_encoder, "{name}");
    }
}

#[test]
fn only_an_encoder_refuses_to_generate() {
    for (name, case) in models() {
        let model = Rc::new(load(&file(case), Rc::new(Solo)));
        let info = info(&model).unwrap();
        let session = Session::new(model.clone(), SessionOptions::default());
        assert_eq!(session.is_err(), info.embeds_only, "{name}");
        if let Err(error) = session {
            assert!(error.to_string().contains("gust embed"), "{error}");
        }
    }
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let (_, bert) = encoders().swap_remove(0);
    let model = load(&file(bert), Rc::new(Solo));
    let message = |tokens: &[u32], pooling| embed(&model, tokens, pooling).unwrap_err().to_string();
    assert!(message(&[], None).contains("at least one"));
    assert!(message(&[64], None).contains("below 64"));
    assert!(message(&[1], Some(Pooling::Rank)).contains("no classifier"));
    let long = vec![1; 201];
    let error = embed(&model, &long, None).unwrap_err();
    assert!(matches!(
        error,
        Error::PromptTooLong {
            tokens: 201,
            limit: 200
        }
    ));
    assert!(embed(&model, &long[..200], None).is_ok());
}

#[test]
fn templates_are_cut_at_their_places() {
    assert_eq!(parts("none", "q", "d"), [("none", true)]);
    let found = parts("a{query}b{document}c{query}", "{document}", "{query}");
    let expected = [
        ("a", true),
        ("{document}", false),
        ("b", true),
        ("{query}", false),
        ("c", true),
        ("{document}", false),
        ("", true),
    ];
    assert_eq!(found, expected);
}

// WebAssembly has no threads.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn a_group_of_any_size_computes_the_same_bits() {
    use crate::model::tests::threads::in_group;
    for (name, case) in encoders() {
        let file = file(case);
        let alone = embed(&load(&file, Rc::new(Solo)), &text(), None);
        let alone = alone.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(alone.iter().all(|x| x.is_finite()), "{name}");
        for size in [2, 3, 8] {
            in_group(size, |group| {
                let found = embed(&load(&file, group), &text(), None).unwrap();
                assert!(found == alone, "{name}");
            });
        }
    }
}

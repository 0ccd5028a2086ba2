//! Tests the chain against llama.cpp's own cases (`tests/data/sampler`), and what must hold for any logits.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::test_data::data;

fn numbers(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn equals_llama_cpp() {
    let file = data("sampler/llamacpp_cases.json");
    let file: Value = serde_json::from_slice(&file).unwrap();
    let mut checked = 0;
    for case in file["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap() as f32;
        let mut candidates = Candidates::default();
        if let Some(probabilities) = case.get("probs") {
            let logits: Vec<f32> = numbers(probabilities).into_iter().map(f32::ln).collect();
            candidates.reset(&logits);
        }
        match case["sampler"].as_str().unwrap() {
            "temp" => candidates.temperature(number("temp")),
            "top_k" => candidates.top_k(number("k") as usize),
            "top_p" => candidates.top_p(number("p")),
            "min_p" => candidates.min_p(number("p")),
            "typical" => candidates.typical(number("p")),
            "penalties" => {
                let recent: Vec<u32> = numbers(&case["last_tokens"])
                    .into_iter()
                    .map(|t| t as u32)
                    .collect();
                let (frequency, presence) = (number("alpha_frequency"), number("alpha_presence"));
                candidates.penalize(&recent, number("repeat_penalty"), frequency, presence);
                // The cases expect the most probable first.
                candidates.top_k(candidates.items().len());
                let mut expected = numbers(&case["expected"]);
                expected.sort_by(|a, b| b.total_cmp(a));
                assert_probabilities(&mut candidates, &expected, case);
                checked += 1;
                continue;
            }
            "queue" => {
                check_queue(case);
                checked += 1;
                continue;
            }
            // Stages that gust does not have.
            "temp_ext" | "xtc" | "dry" | "top_n_sigma" => continue,
            other => panic!("unknown stage {other}"),
        }
        assert_probabilities(&mut candidates, &numbers(&case["expected"]), case);
        checked += 1;
    }
    assert_eq!(checked, 2 + 4 + 4 + 9 + 2 + 6 + 24);
}

fn assert_probabilities(candidates: &mut Candidates, expected: &[f32], case: &Value) {
    let found = candidates.softmax();
    // The cases of `typical` list the kept probabilities without renormalising them.
    let sum: f32 = expected.iter().sum();
    let expected: Vec<f32> = expected.iter().map(|p| p / sum).collect();
    let close = |(f, e): (&f32, &f32)| (f - e).abs() < 1e-5;
    assert_eq!(found.len(), expected.len(), "{case}");
    assert!(found.iter().zip(&expected).all(close), "{case}: {found:?}");
}

/// Logits `ln(i)`, so that token `i` has a probability proportional to `i` and integer arithmetic gives what each stage
/// keeps: always the tokens from some `first` on.
fn check_queue(case: &Value) {
    let number = |key: &str| case[key].as_f64().unwrap();
    let n_vocab = number("n_vocab") as u64;
    let mut candidates = Candidates::default();
    candidates.reset(&(0..n_vocab).map(|i| (i as f32).ln()).collect::<Vec<_>>());
    let mut first = 0;
    for stage in case["sequence"].as_str().unwrap().chars() {
        match stage {
            'k' => {
                candidates.top_k(number("top_k") as usize);
                first = first.max(n_vocab - (number("top_k") as u64).min(n_vocab));
            }
            'p' => {
                candidates.top_p(number("top_p") as f32);
                if number("top_p") < 1.0 {
                    let total: u64 = (first..n_vocab).sum();
                    let mut mass = 0;
                    first = (first..n_vocab)
                        .rev()
                        .find(|i| {
                            mass += i;
                            mass as f64 >= number("top_p") * total as f64
                        })
                        .unwrap_or(first);
                }
            }
            'm' => {
                candidates.min_p(number("min_p") as f32);
                first = first.max((number("min_p") * (n_vocab - 1) as f64).ceil() as u64);
            }
            other => panic!("stage {other}"),
        }
        let least = candidates
            .items()
            .iter()
            .map(|c| u64::from(c.id))
            .min()
            .unwrap();
        assert!(
            least.abs_diff(first) <= 1,
            "{case}: {stage} keeps from {least}, not {first}"
        );
        assert_eq!(candidates.items().len() as u64, n_vocab - least, "{case}");
    }
}

fn greedy() -> SamplerOptions {
    SamplerOptions {
        temperature: 0.0,
        ..SamplerOptions::default()
    }
}

#[test]
fn greedy_takes_the_first_of_the_best() {
    let mut sampler = Sampler::new(greedy()).unwrap();
    assert_eq!(sampler.sample(&[1.0, 3.0, 3.0, 2.0], &[]), 1);
    assert_eq!(sampler.sample(&[f32::NAN, -1.0, f32::NAN], &[]), 1);
    assert_eq!(sampler.sample(&[-0.0, 0.0], &[]), 0);
}

#[test]
fn greedy_minds_the_penalties_within_the_window() {
    let options = SamplerOptions {
        repeat_penalty: 2.0,
        penalty_window: 2,
        ..greedy()
    };
    let mut sampler = Sampler::new(options).unwrap();
    assert_eq!(sampler.sample(&[3.0, 2.0], &[0]), 1);
    assert_eq!(
        sampler.sample(&[3.0, 2.0], &[0, 1, 1]),
        0,
        "the first token is not recent"
    );
}

#[test]
fn draws_follow_the_probabilities() {
    let options = SamplerOptions {
        temperature: 1.0,
        min_p: 0.0,
        top_p: 1.0,
        ..SamplerOptions::default()
    };
    let mut sampler = Sampler::new(options).unwrap();
    let logits = [0.1f32, 0.2, 0.7].map(f32::ln);
    let mut counts = [0; 3];
    for _ in 0..10_000 {
        counts[sampler.sample(&logits, &[]) as usize] += 1;
    }
    // Four standard deviations of a binomial distribution.
    for (count, p) in counts.into_iter().zip([0.1f64, 0.2, 0.7]) {
        let sigma = (10_000.0 * p * (1.0 - p)).sqrt();
        assert!(
            (f64::from(count) - 10_000.0 * p).abs() < 4.0 * sigma,
            "{counts:?}"
        );
    }
}

#[test]
fn a_seed_makes_a_run_repeatable() {
    let run = |seed| {
        let options = SamplerOptions {
            seed,
            ..SamplerOptions::default()
        };
        let mut sampler = Sampler::new(options).unwrap();
        (0..50)
            .map(|_| sampler.sample(&[1.0; 30], &[]))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn options_out_of_range_are_named() {
    let check = |options: SamplerOptions| Sampler::new(options).err().unwrap().to_string();
    let default = SamplerOptions::default;
    assert!(
        check(SamplerOptions {
            temperature: -0.1,
            ..default()
        })
        .contains("temperature")
    );
    assert!(
        check(SamplerOptions {
            temperature: f32::NAN,
            ..default()
        })
        .contains("temperature")
    );
    assert!(
        check(SamplerOptions {
            top_p: 1.5,
            ..default()
        })
        .contains("top-p")
    );
    assert!(
        check(SamplerOptions {
            min_p: -1.0,
            ..default()
        })
        .contains("min-p")
    );
    assert!(
        check(SamplerOptions {
            typical_p: 2.0,
            ..default()
        })
        .contains("typical-p")
    );
    assert!(
        check(SamplerOptions {
            repeat_penalty: 0.0,
            ..default()
        })
        .contains("repeat-penalty")
    );
    assert!(
        check(SamplerOptions {
            presence_penalty: 3.0,
            ..default()
        })
        .contains("presence")
    );
    assert!(
        check(SamplerOptions {
            frequency_penalty: -3.0,
            ..default()
        })
        .contains("frequency")
    );
}

fn logit() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -30f32..30.0,
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NEG_INFINITY),
        1 => Just(f32::MAX),
    ]
}

proptest! {
    #[test]
    fn always_chooses_a_token_of_the_vocabulary(
        logits in prop::collection::vec(logit(), 1..50),
        history in prop::collection::vec(0u32..60, 0..20),
        temperature in 0f32..5.0, top_k in 0u32..60, top_p in 0f32..=1.0, min_p in 0f32..=1.0,
        typical_p in 0f32..=1.0, repeat_penalty in 0.1f32..3.0, frequency_penalty in -2f32..=2.0,
        seed: u64,
    ) {
        let mut sampler = Sampler::new(SamplerOptions {
            temperature, top_k, top_p, min_p, typical_p, repeat_penalty, frequency_penalty, seed,
            presence_penalty: -frequency_penalty, penalty_window: 8,
        }).unwrap();
        for _ in 0..5 {
            prop_assert!((sampler.sample(&logits, &history) as usize) < logits.len());
        }
    }
}

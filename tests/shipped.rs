//! The model that ships: its text, to the letter, and what the commands say about it.

use crate::helpers::{golden, gust};

/// Greedy: the bits are the same on every machine.
#[test]
fn greedy_stories_are_the_golden_ones() {
    for (name, prompt) in [
        ("once.txt", "Once upon a time"),
        ("dragon.txt", "The little dragon"),
        ("beginning.txt", ""),
    ] {
        let story = gust(["run", "-n", "200", "--temperature", "0", prompt])
            .run()
            .success();
        golden(name, &story);
    }
}

/// Sampled: the sampler chain and its random numbers are also the same everywhere.
#[test]
fn sampled_stories_are_the_golden_ones() {
    for seed in ["1", "2"] {
        let story = gust(["run", "-n", "200", "--seed", seed, "Once upon a time"])
            .run()
            .success();
        golden(&format!("seed-{seed}.txt"), &story);
    }
}

/// A story for people: it continues in words.
#[test]
fn a_story_is_made_of_words() {
    let story = gust(["run", "-n", "120", "--seed", "11", "Once upon a time"])
        .run()
        .success();
    assert!(story.starts_with("Once upon a time"), "{story}");
    let letters = story
        .chars()
        .filter(|c| c.is_ascii_alphabetic() || c.is_ascii_whitespace())
        .count();
    assert!(letters * 10 > story.chars().count() * 9, "{story}");
    assert!(story.split_whitespace().count() > 40, "{story}");
}

#[test]
fn it_is_what_the_commands_take_without_m() {
    let report = gust(["inspect", "--json"]).run().json();
    assert_eq!(report["types"][0]["type"], "Q8_0", "{}", report["types"]);
    let context = report["model"]["context_length"].as_u64().unwrap_or(0);
    assert!(context >= 256, "{}", report["model"]);
    let tensors = report["tensors"].as_array().map_or(0, Vec::len);
    assert!(tensors > 10, "{tensors} tensors");
    let text = gust(["inspect"]).run().success();
    assert!(
        text.contains("general.architecture") && text.contains("token_embd.weight"),
        "{text}"
    );

    let report = gust(["perplexity", "--json"])
        .stdin("Once upon a time there was a little dog.")
        .run()
        .json();
    // Far below the size of the vocabulary, which is what guessing gives.
    let perplexity = report["perplexity"].as_f64().unwrap_or(f64::NAN);
    assert!(perplexity > 1.0 && perplexity < 200.0, "{report}");
}

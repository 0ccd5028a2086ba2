//! Differences that must not matter: mapped or copied weights, relaxed or plain SIMD, another run, a prompt at once or
//! from stdin. Everything is compared to the last bit.

use std::path::PathBuf;

use crate::helpers::{Gust, data, engine_component, gust};

const TYPES: [&str; 4] = ["f32", "f16", "q8_0", "q4_0"];
const TOKENS: &str = "1,403,407,261,378,432,383,286,261,376,298,315";

/// Mapped and copied weights give the same logits and the same tokens, even with the model inside the program.
#[test]
fn mapped_and_copied_weights_agree() {
    for ty in TYPES {
        let model = stories(ty);
        agree(&model, &["--mmap"], &["--no-mmap"]);
    }
}

/// Any number of threads gives what one gives, even more threads than a model has heads.
#[test]
fn any_number_of_threads_agrees() {
    for ty in TYPES {
        let model = stories(ty);
        for threads in ["2", "3", "4", "11"] {
            agree(&model, &["--threads", "1"], &["--threads", threads]);
        }
    }
}

/// Code for fewer instructions than the processor has gives the same logits and the same tokens. An ISA that this
/// processor lacks is an error that says what it has.
#[test]
fn every_isa_agrees() {
    // Not the tests' usual cache, which holds few entries.
    let cache = crate::helpers::workspace().join("target/tmp/gust-cache-isa");
    let with = |isa: &str, args: &[&str]| {
        let gust = gust(args).args(["--isa", isa]);
        gust.env("GUST_CACHE_DIR", &cache).run()
    };
    let (some, others): (Vec<&str>, Vec<&str>) = isas().iter().partition(|isa| has(isa));
    for isa in others {
        let refused = with(isa, &["logits", "--tokens", "1"]);
        refused.fails(2, &["expected a processor with", "found one with"]);
    }
    let models = TYPES.map(|ty| stories(ty).to_string_lossy().into_owned());
    let models = models.iter().map(|model| vec!["--model", model.as_str()]);
    for model in models.chain([Vec::new()]) {
        let story = ["run", "--quiet", "-n", "40", "--seed", "5", "One day"];
        for command in [&["logits", "--json", "--tokens", TOKENS] as &[&str], &story] {
            let args = [command, &model].concat();
            let expected = gust(&args).run().success();
            for isa in &some {
                assert_eq!(with(isa, &args).success(), expected, "{isa}, {args:?}");
            }
        }
    }
    for isa in some {
        let bench = ["bench", "--json", "-p", "4", "-n", "2", "-r", "1"];
        let report = with(isa, &bench).json();
        assert_eq!(report["isa"], isa);
        assert!(report["processor"].is_string(), "{report}");
        let features = report["features"].to_string();
        assert_eq!(features.contains("avx512"), isa == "avx512", "{report}");
    }
    with("avx1024", &["bench"]).fails(2, &["avx1024"]);
}

/// The names on this architecture besides `native`.
fn isas() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["avx512", "avx2"],
        "aarch64" => &["dotprod", "neon"],
        _ => &[],
    }
}

#[cfg(target_arch = "x86_64")]
fn has(isa: &str) -> bool {
    match isa {
        "avx512" => std::is_x86_feature_detected!("avx512vl"),
        _ => std::is_x86_feature_detected!("avx2"),
    }
}

#[cfg(target_arch = "aarch64")]
fn has(isa: &str) -> bool {
    isa == "neon" || std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has(_: &str) -> bool {
    false
}

/// The engine for hosts without relaxed SIMD gives what the embedded one gives.
#[test]
fn relaxed_and_plain_simd_agree() {
    let baseline = engine_component("gust-engine-baseline.wasm");
    let relaxed = engine_component("gust-engine.wasm");
    let (baseline, relaxed) = (baseline.to_string_lossy(), relaxed.to_string_lossy());
    for ty in TYPES {
        let model = stories(ty);
        agree(
            &model,
            &["--component", &relaxed],
            &["--component", &baseline],
        );
        agree(&model, &[], &["--component", &baseline]);
    }
}

/// All architectures: copied weights, other numbers of threads, and the other engine change nothing.
#[test]
fn architectures_agree() {
    let baseline = engine_component("gust-engine-baseline.wasm");
    let baseline = baseline.to_string_lossy();
    let mut seen = 0;
    for entry in std::fs::read_dir(data("architectures")).expect("the folder") {
        let model = entry.expect("an entry").path();
        if model
            .extension()
            .is_none_or(|extension| extension != "gguf")
        {
            continue;
        }
        seen += 1;
        let tokens = |more: &[&str]| {
            let run = gust(["run", "--json", "--quiet", "-n", "70", "--seed", "5"]);
            let run = run.args(["--ignore-eos", "--logprobs", "2", "One day"]);
            let mut lines = run.args(more).model(&model).run().json_lines();
            lines.pop();
            assert_eq!(lines.len(), 70, "{}", model.display());
            lines
        };
        let expected = tokens(&["--threads", "1", "--mmap"]);
        for other in [
            &["--no-mmap"] as &[&str],
            &["--threads", "2", "--mmap"],
            &["--threads", "3"],
            &["--component", &baseline],
        ] {
            assert_eq!(tokens(other), expected, "{}, {other:?}", model.display());
        }
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_shipped_model_is_the_same_in_both_engines() {
    let baseline = engine_component("gust-engine-baseline.wasm");
    let story = |args: &[&str]| {
        let run = gust(["run", "-n", "100", "--seed", "7", "Once upon a time"]);
        run.args(args).run().success()
    };
    let plain = story(&["--component", &baseline.to_string_lossy()]);
    assert_eq!(story(&[]), plain);
}

/// The file of the shipped model and the one inside the program are the same model.
#[test]
fn the_shipped_model_is_the_file_in_models() {
    let file = crate::helpers::workspace().join("models/gust-stories-q8_0.gguf");
    let story = || gust(["run", "-n", "100", "--seed", "7", "Once upon a time"]);
    assert_eq!(story().model(file).run().success(), story().run().success());
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let story = |seed: &str| {
        gust(["run", "-n", "60", "--seed", seed, "Once"])
            .run()
            .success()
    };
    assert_eq!(story("1"), story("1"));
    let stories: Vec<String> = ["1", "2", "3", "18446744073709551615"].map(story).to_vec();
    for (index, story) in stories.iter().enumerate() {
        assert!(!stories[..index].contains(story), "two seeds gave {story}");
    }
}

/// A randomly chosen seed is shown, and gives the same text when it is passed again.
#[test]
fn a_drawn_seed_can_be_used_again() {
    let run = || gust(["run", "-n", "40", "Once"]);
    let first = run().run();
    let (_, seed) = first.stderr.trim().rsplit_once("seed ").unwrap_or_default();
    let again = run().args(["--seed", seed]).run();
    assert_eq!(first.success(), again.success());
}

/// A long prompt is read in chunks; the result does not depend on where they end.
#[test]
fn logits_do_not_depend_on_how_the_prompt_is_read() {
    let model = stories("q8_0");
    let long: Vec<String> = (0..300)
        .map(|index| (3 + index * 7 % 500).to_string())
        .collect();
    let tokens = long.join(",");
    let fed = gust(["logits", "--json", "--tokens", &tokens])
        .model(&model)
        .run()
        .success();
    let copied = gust(["logits", "--json", "--no-mmap", "--tokens", &tokens]).model(&model);
    assert_eq!(fed, copied.run().success());
}

/// The same logits after some tokens, and the same sampled text with log-probabilities.
fn agree(model: &PathBuf, one: &[&str], other: &[&str]) {
    let run = [
        "run",
        "--json",
        "--quiet",
        "-n",
        "80",
        "--seed",
        "5",
        "--logprobs",
        "2",
        "One day",
    ];
    let tokens = |gust: Gust| {
        let mut lines = gust.run().json_lines();
        lines.pop();
        assert!(lines.len() > 10, "{lines:?}");
        lines
    };
    let with = |command: &[&str], more: &[&str]| gust(command).args(more).model(model);
    assert_eq!(tokens(with(&run, one)), tokens(with(&run, other)));
    let logits = ["logits", "--json", "--tokens", TOKENS];
    assert_eq!(
        with(&logits, one).run().success(),
        with(&logits, other).run().success()
    );
}

fn stories(ty: &str) -> PathBuf {
    data(&format!("models/stories260K-{ty}.gguf"))
}

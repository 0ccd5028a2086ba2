//! Adapters: `--lora`, with random adapters of tiny models.

use std::path::{Path, PathBuf};

use gust_engine::gguf::{Gguf, TensorType, Writer};
use gust_engine::tiny_models::{Matrices, RandomAdapter, named};
use serde_json::Value;
use tempfile::TempDir;

use crate::helpers::{Gust, engine_component, gust, workspace};

/// A tiny model and two of its adapters, as files.
struct Files {
    folder: TempDir,
    model: PathBuf,
    adapters: [String; 2],
}

fn files(name: &str) -> Files {
    let (_, case) = named()
        .into_iter()
        .find(|(other, _)| other == name)
        .expect("a tiny model");
    let bytes = case.file(Matrices::Q8_0);
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    };
    let model = write("tiny.gguf", &bytes);
    let adapters = [1, 2].map(|seed| {
        let random = RandomAdapter {
            rank: 2,
            alpha: 4.0,
            seed,
            ty: TensorType::F32,
        };
        let path = write(&format!("{seed}.gguf"), &random.file(&bytes, |_| true));
        path.display().to_string()
    });
    Files {
        folder,
        model,
        adapters,
    }
}

const TOKENS: &str = "5,9,13,40,41,7,22,3";

fn logits(model: &Path, adapters: &[&str]) -> Gust {
    let adapters = adapters.iter().flat_map(|adapter| ["--lora", adapter]);
    gust(["logits", "--json", "--tokens", TOKENS])
        .args(adapters)
        .model(model)
}

/// Mapped and copied weights, any number of threads, both engines: the same numbers, to the last digit.
#[test]
fn whatever_computes_with_an_adapter_it_has_the_same_bits() {
    let baseline = engine_component("gust-engine-baseline.wasm");
    let baseline = baseline.to_string_lossy();
    for name in ["llama", "gemma3", "phi3", "qwen3moe", "mamba2", "deepseek2"] {
        let files = files(name);
        let [one, two] = &files.adapters;
        let two = format!("{two}:-0.5");
        let computed = |args: &[&str]| {
            let computed = logits(&files.model, &[one, &two]).args(args).run();
            computed.json()["logits"].clone()
        };
        let expected = computed(&["--threads", "1", "--mmap"]);
        for other in [
            &["--no-mmap"] as &[&str],
            &["--threads", "2"],
            &["--threads", "3", "--mmap"],
            &["--component", &baseline],
            &["--with", "log"],
        ] {
            assert_eq!(computed(other), expected, "{name}, {other:?}");
        }
        let plain = logits(&files.model, &[]).run().json()["logits"].clone();
        assert_ne!(plain, expected, "{name}");
        let off = [format!("{one}:0"), format!("{two}:0")];
        let off = logits(&files.model, &[&off[0], &off[1][..]]).run();
        // A second scale is a part of the file's name.
        off.fails(3, &["2.gguf:-0.5"]);
        let off = format!("{one}:0");
        let off = logits(&files.model, &[&off]).run().json()["logits"].clone();
        assert_eq!(off, plain, "{name}");
    }
}

#[test]
fn every_command_that_generates_takes_adapters() {
    let files = files("llama");
    let [one, _] = &files.adapters;
    let run = |args: &[&str]| {
        let run = gust(
            [
                &["run", "--json", "-n", "12", "-t", "0", "--ignore-eos"],
                args,
            ]
            .concat(),
        );
        let lines = run
            .args(["some words"])
            .model(&files.model)
            .run()
            .json_lines();
        let tokens = lines.iter().filter_map(|line| line["id"].as_u64());
        tokens.collect::<Vec<_>>()
    };
    assert_eq!(run(&[]).len(), 12);
    let strong = format!("{one}:4");
    assert_ne!(run(&["--lora", &strong]), run(&[]));
    let perplexity = |args: &[&str]| {
        let perplexity = gust([&["perplexity", "--json", "--tokens", TOKENS], args].concat());
        let report = perplexity.model(&files.model).run().json();
        report["perplexity"].as_f64().expect("a number")
    };
    assert!(perplexity(&["--lora", one]) != perplexity(&[]));
    let bench = gust([
        "bench", "--json", "-p", "8", "-n", "2", "-r", "1", "--lora", one,
    ]);
    let report = bench.model(&files.model).run().json();
    assert!(report["decode_tokens_per_second"].as_f64().is_some());
}

/// A conversation takes, scales and leaves adapters, and goes on as if it had had them all along.
#[test]
fn a_conversation_changes_its_adapters() {
    let files = files("llama");
    let [one, two] = &files.adapters;
    let template = files.folder.path().join("template.txt");
    let text = "{% for m in messages %}{{ m.role }} {{ m.content }}\n{% endfor %}";
    std::fs::write(&template, text).expect("writable");
    let chat = |args: &[&str], lines: &[&str]| {
        let options = ["chat", "-t", "0", "-n", "10", "--template"];
        let chat = gust(options)
            .args([&template])
            .args(args)
            .model(&files.model);
        chat.stdin(lines.join("\n") + "\n").run()
    };
    let answers = |args: &[&str], lines: &[&str]| {
        let lines = chat(args, lines).success();
        lines.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (strong, weak) = (format!("{one}:4"), format!("{one}:-1.5"));
    let other = format!("{two}:6");
    let sets: [&[&str]; 4] = [
        &[],
        &["--lora", &strong],
        &["--lora", &weak],
        &["--lora", &weak, "--lora", &other],
    ];
    let expected = sets.map(|set| answers(set, &["Hello"]).concat());
    for i in 1..sets.len() {
        assert!(!expected[..i].contains(&expected[i]), "{expected:?}");
    }
    let [plain, with_strong, with_weak, with_both] = &expected;
    let found = answers(
        &[],
        &[
            "Hello",
            "/reset",
            &format!("/lora {strong}"),
            "Hello",
            "/reset",
            &format!("/lora {weak}"),
            "Hello",
            "/reset",
            &format!("/lora {other}"),
            "Hello",
            "/reset",
            &format!("/lora off {two}"),
            "Hello",
            "/reset",
            "/lora off",
            "Hello",
        ],
    );
    let all = [plain, with_strong, with_weak, with_both, with_weak, plain];
    assert_eq!(found.iter().collect::<Vec<_>>(), all);

    // What was said before is computed again.
    let saved = files.folder.path().join("saved.json");
    let save = format!("/save {}", saved.display());
    let attach = format!("/lora {strong}");
    let found = answers(&[], &["Hello", &save, &attach, "Again"]);
    let load = format!("/load {}", saved.display());
    let again = answers(&["--lora", &strong], &[&load, "Again"]);
    assert_eq!(found, [plain.clone(), again[0].clone()]);

    // What is wrong is told, and changes nothing.
    let info = chat(
        &["--lora", &strong],
        &[
            "/lora none.gguf",
            &format!("/lora off {two}"),
            &format!("/lora {two}:nan"),
            &format!("/lora {}", files.model.display()),
            "/lora",
            "Hello",
        ],
    );
    for words in [
        "none.gguf",
        "one of the adapters that /lora lists",
        "finite",
        "general.type",
        &format!("adapter {one}, scale 4"),
    ] {
        assert!(info.stderr.contains(words), "{words}: {info:#?}");
    }
    assert_eq!(info.code, Some(3), "the first failure: {info:#?}");
    assert_eq!(info.stdout, format!("{with_strong}\n").as_bytes());
    let none = chat(&[], &["/lora", "/lora off", "/info"]);
    assert!(none.stderr.contains("no adapters"), "{none:#?}");
    assert_eq!(none.code, Some(0), "{none:#?}");
}

/// Norms that were trained too are left out, as in llama.cpp, with a note.
#[test]
fn an_adapter_with_norms_is_used_without_them() {
    let files = files("llama");
    let [one, _] = &files.adapters;
    let bytes = std::fs::read(one).expect("an adapter");
    let gguf = Gguf::read(&bytes.as_slice()).expect("an adapter");
    let mut writer = Writer::default();
    for (key, value) in gguf.metadata.iter() {
        writer.metadata(key, value.clone());
    }
    for tensor in &gguf.tensors {
        writer.tensor(&tensor.name, tensor.ty, &tensor.shape);
    }
    writer.tensor("blk.0.attn_norm.weight", TensorType::F32, &[64]);
    let data = &bytes[gguf.data_offset as usize..];
    let more = [writer.header(), data.to_vec(), vec![0; 256]].concat();
    let path = files.folder.path().join("norms.gguf");
    std::fs::write(&path, more).expect("writable");
    let with = logits(&files.model, &[&path.display().to_string()]).run();
    assert!(
        with.stderr.contains("`blk.0.attn_norm.weight`"),
        "{with:#?}"
    );
    let without = logits(&files.model, &[one]).run();
    assert_eq!(without.stderr, "");
    assert_eq!(with.json()["logits"], without.json()["logits"]);
}

#[test]
fn what_is_no_adapter_of_the_model_is_told() {
    let (llama, gemma) = (files("llama"), files("gemma3"));
    let foreign = logits(&llama.model, &[&gemma.adapters[0]]).run();
    foreign.fails(2, &["--lora", "1.gguf", "general.architecture", "gemma3"]);
    let model = llama.model.display().to_string();
    let model = logits(&llama.model, &[&model]).run();
    model.fails(3, &["--lora", "general.type", "adapter"]);
    let missing = llama.folder.path().join("none.gguf").display().to_string();
    logits(&llama.model, &[&missing])
        .run()
        .fails(3, &["none.gguf"]);
    let nan = format!("{}:nan", llama.adapters[0]);
    logits(&llama.model, &[&nan]).run().fails(2, &["finite"]);
    // The other way round.
    let adapter = logits(Path::new(&llama.adapters[0]), &[]).run();
    adapter.fails(3, &["general.type", "LoRA", "--lora"]);
    let inspected = gust(["inspect", "--json"]).model(&llama.adapters[0]).run();
    let report = inspected.json();
    assert_eq!(report["runs"], Value::Bool(false));
    let tensors = report["tensors"].as_array().expect("a list");
    assert!(
        tensors
            .iter()
            .any(|tensor| tensor["name"] == "blk.0.attn_q.weight.lora_a")
    );
    // An engine without this interface.
    let mock = workspace().join("target/adapters/example-mock.wasm");
    for with in [&[] as &[&str], &["--with", "log"]] {
        let run = gust(["logits", "--tokens", "1", "--lora", &llama.adapters[0]]);
        let run = run.args(["--component".as_ref(), mock.as_os_str()]);
        let run = run.args(with).run();
        let words = "event=load-adapter adapter=\"adapter\" error=unsupported";
        assert_eq!(run.stderr.contains(words), !with.is_empty(), "{run:#?}");
        run.fails(3, &["gust:llm/adapters"]);
    }
}

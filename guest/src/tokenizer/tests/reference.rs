//! Every text and every token of the reference files.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::super::*;
use crate::gguf::{Gguf, Metadata};
use crate::test_data::{data, shared};

pub(super) fn metadata(path: &str) -> Option<Metadata> {
    let bytes = shared(path)?;
    Some(Gguf::read(&bytes).expect("a sound file").metadata)
}

fn vocabulary(name: &str) -> Option<Tokenizer> {
    let metadata = metadata(&format!("vocab/ggml-vocab-{name}.gguf"))?;
    Some(Tokenizer::from_metadata(&metadata).expect("a tokenizer"))
}

/// A file of llama.cpp's folder `models`. `None`, after saying so, where `GUST_LLAMA_CPP` does not name its source tree.
fn of_llama_cpp(name: &str) -> Option<Vec<u8>> {
    let Some(tree) = std::env::var_os("GUST_LLAMA_CPP") else {
        eprintln!("skipped: GUST_LLAMA_CPP does not name llama.cpp's source tree");
        return None;
    };
    let path = std::path::Path::new(&tree).join("models").join(name);
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn stories() -> Tokenizer {
    let model = Gguf::read(&data("models/stories260K-f32.gguf")).expect("a sound file");
    Tokenizer::from_metadata(&model.metadata).expect("a tokenizer")
}

const PRE: &str = "tokenizer.ggml.pre";
const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
const NAMES: [&str; 6] = [
    "gpt-2",
    "qwen2",
    "phi-3",
    "falcon",
    "llama-bpe",
    "llama-spm",
];

/// The others that llama.cpp has texts for.
const MORE_NAMES: [&str; 9] = [
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "gemma-4",
    "mpt",
    "qwen35",
    "refact",
    "starcoder",
];

#[test]
fn all_texts_of_llama_cpp_give_its_tokens() {
    for name in NAMES {
        compare_with_texts(name, |file| shared(&format!("vocab/{file}")));
    }
}

#[test]
fn all_texts_of_its_other_vocabularies_give_its_tokens() {
    for name in MORE_NAMES {
        compare_with_texts(name, of_llama_cpp);
    }
}

fn compare_with_texts(name: &str, read: impl Fn(&str) -> Option<Vec<u8>>) {
    let file = format!("ggml-vocab-{name}.gguf");
    let Some(bytes) = read(&file) else {
        return;
    };
    let metadata = Gguf::read(&bytes).expect("a sound file").metadata;
    let tokenizer = Tokenizer::from_metadata(&metadata).expect("a tokenizer");
    let text = |suffix| {
        let bytes = read(&format!("{file}.{suffix}")).expect("the file beside");
        String::from_utf8(bytes).expect("UTF-8")
    };
    let (input, output) = (text("inp"), text("out"));
    // Most files have a separator at the end too.
    let separator = "\n__ggml_vocab_test__\n";
    let texts = input.strip_suffix(separator).unwrap_or(&input);
    let texts: Vec<_> = texts.split(separator).collect();
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(texts.len(), lines.len(), "{name}");
    assert!(lines.len() > 40, "{name}");
    for (text, line) in texts.iter().zip(lines) {
        let expected: Vec<u32> = line
            .split_whitespace()
            .map(|id| id.parse().expect("a number"))
            .collect();
        let found = tokenizer.encode(text, PLAIN).expect("tokens");
        assert_eq!(found, expected, "{name}: {text:?}");
    }
}

/// The vocabularies that say how they were made, without saying so.
#[test]
fn families_are_told_by_their_tokens() {
    let shared_ones = ["gpt-2", "qwen2", "falcon", "llama-bpe"].map(|name| (name, name));
    for (name, family) in shared_ones {
        compare_assumption(name, family, |file| shared(&format!("vocab/{file}")));
    }
    let others = [
        ("command-r", "command-r"),
        ("deepseek-coder", "deepseek-coder"),
        ("deepseek-llm", "deepseek-llm"),
        ("mpt", "mpt"),
        ("gpt-neox", "mpt"),
        ("refact", "starcoder"),
        ("starcoder", "starcoder"),
        ("aquila", "default"),
    ];
    for (name, family) in others {
        compare_assumption(name, family, of_llama_cpp);
    }
}

fn compare_assumption(name: &str, family: &str, read: impl Fn(&str) -> Option<Vec<u8>>) {
    let Some(bytes) = read(&format!("ggml-vocab-{name}.gguf")) else {
        return;
    };
    let named = Gguf::read(&bytes).expect("a sound file").metadata;
    let mut unnamed = Metadata::default();
    for (key, value) in named.iter() {
        assert!(key == PRE || unnamed.insert(key.to_owned(), value.clone()));
    }
    let has_name = named.str(PRE).expect("a name").is_some();
    let named = Tokenizer::from_metadata(&named).expect("a tokenizer");
    let unnamed = Tokenizer::from_metadata(&unnamed).expect("a tokenizer");
    assert_eq!(unnamed.assumption(), Some(family), "{name}");
    assert_eq!(named.assumption().is_none(), has_name, "{name}");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..500 {
        let text = any_text().new_tree(&mut runner).expect("a text").current();
        let options = EncodeOptions::default();
        let expected = named.encode(&text, options);
        assert_eq!(unnamed.encode(&text, options), expected, "{name}: {text:?}");
    }
}

#[test]
fn the_model_of_stories_gets_its_prompts() {
    let tokenizer = stories();
    let reference = data("models/ref/stories260K.json");
    let reference: serde_json::Value = serde_json::from_slice(&reference).expect("JSON");
    let ids = |value: &serde_json::Value| -> Vec<u32> {
        let ids = value.as_array().expect("a list").iter();
        ids.map(|id| id.as_u64().expect("a number") as u32)
            .collect()
    };
    let cases = reference["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let prompt = case["prompt"].as_str().expect("a prompt");
        let found = tokenizer
            .encode(prompt, EncodeOptions::default())
            .expect("tokens");
        assert_eq!(found, ids(&case["prompt_tokens"]), "{prompt:?}");
        let text = tokenizer.decode(&ids(&case["greedy_tokens"]), SpecialTokens::Hide);
        let hex = |bytes: Vec<u8>| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        if let Some(expected) = case["greedy_bytes_hex"].as_str() {
            assert_eq!(hex(text.expect("text")), expected, "{prompt:?}");
        }
    }
    let text = reference["eval"]["text"].as_str().expect("a text");
    let found = tokenizer
        .encode(text, EncodeOptions::default())
        .expect("tokens");
    assert_eq!(found, ids(&reference["eval"]["tokens"]));
}

/// llama.cpp's BOS, EOS and EOG for these files, except for Qwen's plain token `</s>`.
#[test]
fn the_parts_to_play_are_those_of_llama_cpp() {
    type Parts = (
        &'static str,
        Option<u32>,
        Option<u32>,
        &'static [u32],
        bool,
        bool,
    );
    let expected: [Parts; 6] = [
        ("gpt-2", Some(50256), Some(50256), &[50256], false, false),
        (
            "qwen2",
            Some(151643),
            Some(151643),
            &[151643, 151645],
            false,
            false,
        ),
        (
            "phi-3",
            Some(1),
            Some(32000),
            &[2, 32000, 32007],
            true,
            true,
        ),
        ("falcon", Some(11), Some(11), &[11], false, false),
        (
            "llama-bpe",
            Some(128000),
            Some(128001),
            &[128001, 128009],
            true,
            false,
        ),
        ("llama-spm", Some(1), Some(2), &[2], true, true),
    ];
    for (name, bos, eos, ends, adds_bos, adds_space) in expected {
        let Some(tokenizer) = vocabulary(name) else {
            return;
        };
        assert_eq!(tokenizer.bos(), bos, "{name}");
        assert_eq!(tokenizer.eos(), eos, "{name}");
        assert_eq!(tokenizer.end_of_generation(), ends, "{name}");
        assert_eq!(tokenizer.adds_bos(), adds_bos, "{name}");
        assert_eq!(tokenizer.adds_space(), adds_space, "{name}");
        assert!(ends.iter().all(|id| tokenizer.is_end_of_generation(*id)));
        assert!(!tokenizer.is_end_of_generation(300));
        let empty = tokenizer
            .encode("", EncodeOptions::default())
            .expect("tokens");
        assert_eq!(
            empty,
            bos.filter(|_| adds_bos).into_iter().collect::<Vec<_>>()
        );
    }
}

#[test]
fn names_of_control_tokens_count_only_where_asked() {
    let Some(tokenizer) = vocabulary("qwen2") else {
        return;
    };
    let text = "<|im_start|>user\nhi<|im_end|>";
    let plain = tokenizer.encode(text, PLAIN).expect("tokens");
    assert!(
        plain
            .iter()
            .all(|id| tokenizer.token_type(*id) == TokenType::Normal)
    );
    let parse = EncodeOptions {
        parse_special: true,
        ..PLAIN
    };
    let parsed = tokenizer.encode(text, parse).expect("tokens");
    assert_eq!(parsed, [151644, 872, 198, 6023, 151645]);
    let hidden = tokenizer
        .decode(&parsed, SpecialTokens::Hide)
        .expect("text");
    assert_eq!(hidden, b"user\nhi");
    let rendered = tokenizer
        .decode(&parsed, SpecialTokens::Render)
        .expect("text");
    assert_eq!(rendered, text.as_bytes());
    // User-defined tokens are text and always count.
    assert_eq!(tokenizer.encode("[PAD151650]", PLAIN), Ok(vec![151650]));
    assert_eq!(tokenizer.token_bytes(151650), Some(&b"[PAD151650]"[..]));
}

/// Phi-3's control tokens swallow the white space after them (llama.cpp's `rstrip`), except three of them.
#[test]
fn markers_of_phi_3_swallow_white_space() {
    let Some(tokenizer) = vocabulary("phi-3") else {
        return;
    };
    let parse = EncodeOptions {
        parse_special: true,
        ..PLAIN
    };
    let tokens = |text| tokenizer.encode(text, parse).expect("tokens");
    assert_eq!(
        tokens("<|user|>\n Hi<|end|>\n<|assistant|>"),
        tokens("<|user|>Hi<|end|><|assistant|>")
    );
    assert_ne!(tokens("<s> Hi"), tokens("<s>Hi"));
    assert_eq!(tokens("<|end|> \n"), [32007]);
}

#[test]
fn a_token_outside_the_vocabulary_is_an_error() {
    let tokenizer = stories();
    assert_eq!(tokenizer.vocab_size(), 512);
    assert_eq!(tokenizer.token_bytes(512), None);
    assert_eq!(tokenizer.name(u32::MAX), None);
    let error = tokenizer
        .decode(&[1, 512], SpecialTokens::Hide)
        .expect_err("no such token");
    assert_eq!(
        error.to_string(),
        "invalid argument: token: expected a number below 512, found 512"
    );
}

/// Encoding word by word gives the same tokens as encoding the whole text.
#[test]
fn words_may_be_taken_apart() {
    let Some(mut tokenizer) = vocabulary("llama-spm") else {
        return;
    };
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<String> = (0..2_000)
        .map(|_| any_text().new_tree(&mut runner).expect("a text").current())
        .collect();
    let all = |tokenizer: &Tokenizer| -> Vec<_> {
        texts
            .iter()
            .map(|text| tokenizer.encode(text, PLAIN))
            .collect()
    };
    let apart = all(&tokenizer);
    let Method::File(_, Model::Spm(spm)) = &mut tokenizer.method else {
        panic!("SentencePiece")
    };
    assert!(std::mem::replace(&mut spm.words_apart, false));
    assert!(all(&tokenizer) == apart);
}

/// Texts without a boundary. The test is that encoding finishes at all; `merge` and `rules` count the work.
#[test]
fn a_megabyte_of_anything_becomes_tokens() {
    for name in ["llama-bpe", "llama-spm"] {
        let Some(tokenizer) = vocabulary(name) else {
            return;
        };
        for unit in ["a", " ", "ab", "\n ", "!", "é", "1", "漢", "\u{301}", "'"] {
            let text = unit.repeat((1 << 20) / unit.len());
            let tokens = tokenizer.encode(&text, PLAIN).expect("tokens");
            let bytes = tokenizer
                .decode(&tokens, SpecialTokens::Hide)
                .expect("text");
            let own = &bytes[usize::from(tokenizer.adds_space())..];
            assert!(own == text.as_bytes(), "{name}: {unit:?}");
        }
    }
    let Some(tokenizer) = vocabulary("gpt-2") else {
        return;
    };
    let error = tokenizer
        .encode(&"a".repeat(MAX_TEXT_LEN + 1), PLAIN)
        .expect_err("too long");
    assert!(
        matches!(error, crate::error::Error::InvalidArgument(_)),
        "{error}"
    );
}

fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[ -~]{0,12}",
        2 => any::<String>(),
        1 => "[ \t\r\n\u{a0}\u{3000}]{0,6}",
        1 => "[A-Za-zÀ-ÿ'’]{0,8}",
        1 => "[一-龥ぁ-んက-႟\u{300}-\u{36f}]{0,6}",
        1 => "[0-9½²٣]{0,7}",
        1 => prop::sample::select(vec!["<|im_end|>", "</s>", "<0x0A>", "[PAD151700]", "🚀", "😶‍🌫️"])
            .prop_map(str::to_string),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn text_comes_back(texts in prop::collection::vec(any_text(), 8)) {
        for name in NAMES {
            let Some(tokenizer) = cached(name) else { return Ok(()) };
            for text in &texts {
                // SentencePiece's own symbol for a space cannot be distinguished from a space.
                let text = text.replace('\u{2581}', "_");
                let tokens = tokenizer.encode(&text, PLAIN).expect("tokens");
                let control = |id: &u32| tokenizer.token_type(*id) == TokenType::Control;
                prop_assert!(!tokens.iter().any(control), "{}: {:?}", name, text);
                let bytes = tokenizer.decode(&tokens, SpecialTokens::Hide).expect("text");
                let space = tokenizer.adds_space() && tokenizer.markers_at_start(&text).is_none();
                let own = if space && !text.is_empty() { format!(" {text}") } else { text.clone() };
                prop_assert_eq!(String::from_utf8_lossy(&bytes), own, "{}", name);
            }
        }
    }
}

fn cached(name: &'static str) -> Option<&'static Tokenizer> {
    use std::sync::OnceLock;
    static ALL: OnceLock<Vec<Option<Tokenizer>>> = OnceLock::new();
    let all = ALL.get_or_init(|| NAMES.iter().map(|name| vocabulary(name)).collect());
    all[NAMES.iter().position(|other| *other == name)?].as_ref()
}

impl Tokenizer {
    fn markers_at_start(&self, text: &str) -> Option<u32> {
        let markers = match &self.method {
            Method::File(markers, _) => markers,
            #[cfg(feature = "tokenizer-json")]
            Method::Json(_) => return None,
        };
        match markers.split(&self.vocab, text, false).first() {
            Some(Part::Token(id)) => Some(*id),
            _ => None,
        }
    }
}

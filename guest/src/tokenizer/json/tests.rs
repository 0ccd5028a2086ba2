//! Small tokenizers of each kind, with what Python's `tokenizers` makes of texts with them
//! (`tests/data/tokenizers/generate.py`); files that are broken, hostile or too large; and properties.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{EncodeOptions, SpecialTokens, TokenType, Tokenizer};
use super::MAX_TEXT;
use crate::error::{Error, Result};
use crate::gguf::Metadata;
use crate::pulse::tests::counted;
use crate::test_data::data;

pub(crate) const KINDS: [&str; 7] = [
    "byte-level",
    "gpt2",
    "fallback",
    "wordpiece",
    "unigram",
    "wordlevel",
    "stories",
];

/// The rows of a model for these.
const ROWS: u32 = 512;

fn file(kind: &str) -> Vec<u8> {
    data(&format!("tokenizers/{kind}.json"))
}

/// The tokenizer of a test file.
pub(crate) fn tokenizer(kind: &str) -> Tokenizer {
    Tokenizer::from_json(&file(kind), &Metadata::default(), Some(ROWS)).expect("a tokenizer")
}

fn expected() -> Value {
    serde_json::from_slice(&data("tokenizers/expected.json")).expect("JSON")
}

fn texts(expected: &Value) -> Vec<&str> {
    let texts = expected["texts"].as_array().expect("a list").iter();
    texts.map(|text| text.as_str().expect("a text")).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("numbers")
}

const PARSED: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};
const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};

#[test]
fn the_tokens_are_pythons() {
    let expected = expected();
    let texts = texts(&expected);
    for kind in KINDS {
        let tokenizer = tokenizer(kind);
        assert_eq!(tokenizer.vocab_size(), ROWS);
        for (text, wanted) in texts.iter().zip(expected["ids"][kind].as_array().unwrap()) {
            let mut found = tokenizer.special.prefix.clone();
            found.extend(tokenizer.encode(text, PARSED).expect("tokens"));
            found.extend(&tokenizer.special.suffix);
            assert_eq!(found, ids(wanted), "{kind}: {text:?}");
        }
        for (nth, wanted) in expected["pairs"][kind]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let (query, document) = (texts[nth], texts[nth + 5]);
            let found = tokenizer.encode_pair(query, document).expect("tokens");
            assert_eq!(found, ids(wanted), "{kind}: {query:?} and {document:?}");
        }
    }
}

/// A text's tokens, one by one, stand for what Python makes of all of them, but for a space at the beginning.
#[test]
fn the_bytes_of_the_tokens_are_pythons_text() {
    let expected = expected();
    for kind in KINDS {
        let tokenizer = tokenizer(kind);
        let lists = expected["ids"][kind].as_array().unwrap().iter();
        for (list, wanted) in lists.zip(expected["decoded"][kind].as_array().unwrap()) {
            let ids = ids(list);
            let mut bytes = Vec::new();
            for id in &ids {
                bytes.extend_from_slice(tokenizer.token_bytes(*id).expect("a token"));
            }
            assert_eq!(bytes, tokenizer.decode(&ids, SpecialTokens::Hide).unwrap());
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let mut wanted = wanted.as_str().expect("a text").to_owned();
            let mut text = match tokenizer.adds_space() {
                true => text.strip_prefix(' ').unwrap_or(&text).to_owned(),
                false => text,
            };
            match kind {
                // The space of a prefix is left in Python, too.
                "gpt2" => wanted = wanted.strip_prefix(' ').unwrap_or(&wanted).to_owned(),
                // Python cleans up spaces before punctuation.
                "wordpiece" => {
                    for text in [&mut text, &mut wanted] {
                        text.retain(|c| c != ' ');
                    }
                }
                _ => {}
            }
            assert_eq!(text, wanted, "{kind}: {ids:?}");
        }
    }
}

#[test]
fn names_of_control_tokens_are_text_unless_they_are_parsed() {
    let expected = expected();
    for kind in KINDS {
        let tokenizer = tokenizer(kind);
        for text in texts(&expected) {
            for id in tokenizer.encode(text, PLAIN).expect("tokens") {
                let ty = tokenizer.token_type(id);
                assert_ne!(ty, TokenType::Control, "{kind}: {id} in {text:?}");
            }
        }
    }
    // What is in the vocabulary of the model itself, too: this file's model knows `</s>`, and takes it for a word.
    let unigram = tokenizer("unigram");
    let (end, name) = (1, "</s>");
    assert_eq!(unigram.name(end), Some(name));
    assert_eq!(unigram.encode(name, PARSED).unwrap(), [end]);
    let text = unigram.encode(name, PLAIN).expect("tokens");
    let spelled = unigram.decode(&text, SpecialTokens::Hide).unwrap();
    assert!(!text.contains(&end) && !spelled.is_empty(), "{text:?}");
}

#[test]
fn in_a_prompt_only_the_template_writes_control_tokens() {
    let tokenizer = tokenizer("byte-level");
    let id = |name: &str| tokenizer.token_named(name).expect("a token");
    let [start, end] = ["<|im_start|>", "<|im_end|>"].map(id);
    let text = "<|im_start|>user\n<|im_end|> \u{e9}<|im_end|>\n";
    let user = text.find("<|im_end|>").expect("a name");
    let tail = text.rfind("<|im_end|>").expect("a name");
    let prompt = tokenizer.encode_prompt(text, &[0..user, tail..text.len()]);
    let prompt = prompt.expect("tokens");
    assert_eq!(prompt[0], start);
    assert_eq!(prompt.iter().filter(|id| **id == end).count(), 1);
    let bytes = tokenizer.decode(&prompt, SpecialTokens::Render).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
    // White space after a token with `rstrip` goes with it, in a template as well.
    let user = tokenizer
        .encode_prompt("<|user|>  a", std::slice::from_ref(&(0..8)))
        .unwrap();
    assert_eq!(user, tokenizer.encode("<|user|>  a", PARSED).unwrap());
    assert_eq!(user[0], id("<|user|>"));
    // A begin-of-sequence is there once, whether or not the template writes it.
    let fallback = self::tokenizer("fallback");
    let written = fallback.encode_prompt("<s>a", std::slice::from_ref(&(0..3)));
    let added = fallback.encode_prompt("a", &[]).unwrap();
    assert_eq!((written.unwrap()[0], added[0]), (1, 1));
    let forged = fallback.encode_prompt("<s>a", &[]).unwrap();
    assert_eq!(forged.iter().filter(|id| **id == 1).count(), 1);
}

#[test]
fn the_models_file_names_tokens_with_a_role_by_number() {
    let mut metadata = Metadata::default();
    for (key, id) in [("bos", 5_u32), ("eos", 7)] {
        assert!(metadata.insert(format!("tokenizer.ggml.{key}_token_id"), id.into()));
    }
    let with = Tokenizer::from_json(&file("byte-level"), &metadata, Some(ROWS)).unwrap();
    assert_eq!((with.bos(), with.eos()), (Some(5), Some(7)));
    assert!(with.is_end_of_generation(7) && with.is_end_of_generation(482));
    assert!(!with.adds_bos());
    let without = tokenizer("fallback");
    assert_eq!((without.bos(), without.eos()), (Some(1), Some(2)));
    assert!(without.adds_bos());
}

#[test]
fn tokens_and_rows_need_not_be_as_many() {
    let load = |rows| Tokenizer::from_json(&file("byte-level"), &Metadata::default(), rows);
    let all = load(None).expect("a tokenizer");
    assert_eq!(all.vocab_size(), 488);
    let padded = load(Some(1_000)).expect("a tokenizer");
    assert_eq!(padded.vocab_size(), 1_000);
    assert_eq!(padded.token_bytes(999), Some(&[][..]));
    assert_eq!(padded.name(999), Some("[PAD999]"));
    let error = load(Some(487))
        .expect_err("a token without a row")
        .to_string();
    assert!(
        error.contains("at most 487") && error.contains("`word`"),
        "{error}"
    );
}

/// A small file with a change.
fn changed(kind: &str, change: impl FnOnce(&mut Value)) -> Result<Tokenizer> {
    let mut value: Value = serde_json::from_slice(&file(kind)).expect("JSON");
    change(&mut value);
    let text = serde_json::to_vec(&value).expect("JSON");
    Tokenizer::from_json(&text, &Metadata::default(), Some(ROWS))
}

#[track_caller]
fn refused(kind: &str, words: &str, change: impl FnOnce(&mut Value)) {
    let error = changed(kind, change).map(drop).expect_err(words);
    assert!(
        matches!(error, Error::InvalidModel(_) | Error::Unsupported(_)),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(words), "expected `{words}` in: {text}");
}

#[test]
fn what_is_no_such_file_says_so() {
    for (text, words) in [
        ("", "EOF"),
        ("GGUF", "expected value"),
        ("[]", "invalid length"),
        ("{}", "missing field `model`"),
        ("{\"model\":{}}", "vocab"),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}"#,
            "-1",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}}"#,
            "1.5",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":4294967296},"merges":[]}}"#,
            "4294967296",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":4294967295},"merges":[]}}"#,
            "numbers below",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}"#,
            "`a` and `b` with 0",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}}"#,
            "`a` with 0 and 1",
        ),
        (r#"{"model":{"type":"BPE","vocab":{"a":0}}}"#, "merges"),
        (
            r#"{"model":{"type":"BPE","vocab":{},"merges":[]}}"#,
            "found none",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}"#,
            "`b`",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["ab"]}}"#,
            "one space",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}"#,
            "two tokens",
        ),
        (
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a","a"]]}}"#,
            "two tokens",
        ),
        (
            r#"{"model":{"type":"Unigram","vocab":[["a",0,1]]}}"#,
            "trailing",
        ),
        (r#"{"model":{"type":"Unigram","vocab":[["",0]]}}"#, "1 to"),
        (
            r#"{"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":1}}"#,
            "below 1",
        ),
        (
            r#"{"model":{"type":"WordLevel","vocab":{"a":0}}}"#,
            "unk_token",
        ),
        (r#"{"model":{"type":"Magic","vocab":{"a":0}}}"#, "`Magic`"),
        (
            r#"{"version":"2.0","model":{"type":"WordLevel","vocab":{"<unk>":0}}}"#,
            "`2.0`",
        ),
    ] {
        let loaded = Tokenizer::from_json(text.as_bytes(), &Metadata::default(), Some(ROWS));
        let error = loaded.map(drop).expect_err(text).to_string();
        assert!(
            error.contains(words),
            "{text}: expected `{words}` in: {error}"
        );
    }
}

#[test]
fn broken_and_hostile_parts_are_refused() {
    let deep = |name: &str, field: &str, depth: usize| {
        let mut value = json!({"type": "Lowercase"});
        for _ in 0..depth {
            value = json!({"type": "Sequence", field: [value]});
        }
        let name = name.to_owned();
        move |file: &mut Value| file[name.as_str()] = value
    };
    refused("gpt2", "nested", deep("normalizer", "normalizers", 20));
    refused("gpt2", "nested", deep("pre_tokenizer", "pretokenizers", 20));
    refused("gpt2", "nested", deep("decoder", "decoders", 20));
    refused("gpt2", "nested", deep("post_processor", "processors", 20));
    refused("gpt2", "values", |file| {
        file["normalizer"] = vec![0; 1 << 15].into()
    });
    for part in ["normalizer", "pre_tokenizer", "decoder", "post_processor"] {
        refused("gpt2", part, |file| file[part] = json!(5));
        refused("gpt2", part, |file| file[part] = json!({"no": "type"}));
        refused("gpt2", "`Magic`", |file| {
            file[part] = json!({"type": "Magic"})
        });
        refused("gpt2", part, |file| {
            file[part] = json!({"type": "Sequence"})
        });
    }
    let split = |pattern: Value| {
        move |file: &mut Value| {
            file["pre_tokenizer"] = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
        }
    };
    refused("gpt2", "regular expression", split(json!({"Regex": "("})));
    refused(
        "gpt2",
        "regular expression",
        split(json!({"Regex": r"(?:\p{L}{1,999}){1,999}"})),
    );
    refused(
        "gpt2",
        "expressions of at most",
        split(json!({"Regex": "a".repeat(1 << 15)})),
    );
    refused("gpt2", "`pattern`", split(json!("a")));
    refused("gpt2", "behavior", |file| {
        file["pre_tokenizer"] =
            json!({"type": "Split", "pattern": {"String": "a"}, "behavior": "Odd"});
    });
    refused("gpt2", "at least 1", |file| {
        file["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0});
    });
    refused("gpt2", "at most 16 bytes", |file| {
        file["normalizer"] = json!({"type": "Prepend", "prepend": "x".repeat(17)});
    });
    refused("gpt2", "at most 64 bytes", |file| {
        file["decoder"] =
            json!({"type": "Replace", "pattern": {"String": "a"}, "content": "x".repeat(65)});
    });
    refused("gpt2", "bytes for a token", |file| {
        let twice = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        file["decoder"] = json!({"type": "Sequence", "decoders": vec![twice; 30]});
    });
    refused("wordpiece", "max_input_chars_per_word", |file| {
        file["model"]["max_input_chars_per_word"] = 1_000_000.into();
    });
    refused("fallback", "dropout", |file| {
        file["model"]["dropout"] = 0.1.into()
    });
    refused("fallback", "unk_token", |file| {
        file["model"]["unk_token"] = "none".into()
    });
    refused("fallback", "second tokens that start", |file| {
        file["model"]["continuing_subword_prefix"] = "#".repeat(20).into();
    });
    refused("fallback", "tokens below 512", |file| {
        file["post_processor"]["special_tokens"]["<s>"]["ids"] = json!([600]);
    });
    refused("fallback", "`single`", |file| {
        file["post_processor"]["special_tokens"] = json!({});
    });
    refused("fallback", "in this order", |file| {
        file["post_processor"]["single"] = json!([{"Sequence": {"id": "B", "type_id": 0}}]);
    });
    refused("fallback", "in this order", |file| {
        file["post_processor"]["pair"] = json!([])
    });
    refused("byte-level", "number of the added token", |file| {
        file["added_tokens"][0]["id"] = 490.into();
    });
    refused("byte-level", "twice", |file| {
        let first = file["added_tokens"][0].clone();
        file["added_tokens"]
            .as_array_mut()
            .unwrap()
            .insert(0, first);
    });
    refused("byte-level", "-3", |file| {
        file["added_tokens"][0]["id"] = (-3).into()
    });
    refused("byte-level", "tokens of 0 to", |file| {
        file["model"]["vocab"]["x".repeat(5_000)] = 500.into();
    });
}

#[test]
fn a_normalisation_that_leads_out_of_its_lists_is_refused() {
    let charsmap = |change: &dyn Fn(&mut Vec<u8>)| {
        let field = |file: &mut Value| -> Vec<u8> {
            let map = &file["normalizer"]["normalizers"][0]["precompiled_charsmap"];
            base64::decode(map.as_str().expect("a text")).expect("base64")
        };
        changed("unigram", |file| {
            let mut bytes = field(file);
            change(&mut bytes);
            let text = base64::encode(bytes);
            file["normalizer"]["normalizers"][0]["precompiled_charsmap"] = text.into();
        })
    };
    assert!(charsmap(&|_| ()).is_ok());
    for cut in [0, 3, 4, 100, 1_024] {
        assert!(charsmap(&|bytes| bytes.truncate(cut)).is_err(), "{cut}");
    }
    // Every byte of the array, turned around: a text of every character must be normalised or the file refused.
    let all: String = (' '..'\u{3000}').collect();
    let whole = file("unigram").len();
    for at in (4..whole / 2).step_by(97) {
        let broken = charsmap(&|bytes| {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = !*byte;
            }
        });
        if let Ok(tokenizer) = broken {
            tokenizer.encode(&all, PLAIN).expect("tokens");
        }
    }
}

/// The crate gives up on an expression without a word, and makes one word of the rest: whatever happens here, nothing is lost
/// without an error.
#[test]
fn an_expression_that_gives_up_is_an_error() {
    for kind in ["byte-level", "gpt2"] {
        let tokenizer = tokenizer(kind);
        for spaces in [100_000, 1_100_000, 4_000_000] {
            let text = format!("a{}b", " ".repeat(spaces));
            match tokenizer.encode(&text, PLAIN) {
                Ok(tokens) => {
                    let bytes = tokenizer.decode(&tokens, SpecialTokens::Hide).unwrap();
                    assert!(String::from_utf8(bytes).unwrap().ends_with(&text));
                }
                Err(error) => {
                    assert!(spaces > 1_000_000, "{spaces}: {error}");
                    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
                    assert!(error.to_string().contains("run of spaces"), "{error}");
                }
            }
        }
    }
    // One that takes a time that doubles with each character.
    let hostile = changed("gpt2", |file| {
        file["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": r"(a(?!c)|a(?!d))*b"},
            "behavior": "Isolated", "invert": false});
    });
    let hostile = hostile.expect("a tokenizer");
    let error = hostile
        .encode(&"a".repeat(1_000), PLAIN)
        .expect_err("too many steps");
    assert!(error.to_string().contains("expressions"), "{error}");
}

#[test]
fn a_text_that_becomes_too_long_is_an_error() {
    let longer = changed("gpt2", |file| {
        let more = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        file["normalizer"] = json!({"type": "Sequence", "normalizers": vec![more; 12]});
    });
    let longer = longer.expect("a tokenizer");
    let error = longer.encode(&"a".repeat(8_000), PLAIN).expect_err("32 MB");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    assert!(longer.encode(&"a".repeat(8), PLAIN).is_ok());
    let text = "x".repeat(MAX_TEXT + 1);
    assert!(longer.encode(&text, PLAIN).is_err());
}

/// The work is linear in the text, counted in steps, for words of one letter, for no spaces at all, and for the names of
/// control tokens.
#[test]
fn the_work_grows_with_the_text() {
    for kind in KINDS {
        let tokenizer = tokenizer(kind);
        for part in [
            "a b ",
            "ab",
            "</s>",
            "<|im_end|>",
            "\u{1f600}",
            "    ",
            "世界",
        ] {
            let steps = |n: usize| {
                let text = part.repeat(n);
                counted(|| tokenizer.encode(&text, PLAIN).expect("tokens")).1
            };
            let (once, twice) = (steps(1_000), steps(2_000));
            assert!(
                twice <= 2 * once + 10,
                "{kind}, {part:?}: {once} and {twice}"
            );
            assert!(once >= 500, "{kind}, {part:?}: {once}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Those that lose nothing give the text back, also a character at a time and in pieces of tokens.
    #[test]
    fn what_loses_nothing_comes_back(text in "\\PC{0,40}|[ -~\\n\\t]{0,60}|(<\\|im_end\\|>| |a|é|世|😀|</s>){0,20}") {
        for kind in ["gpt2", "fallback", "stories"] {
            let tokenizer = tokenizer(kind);
            let tokens = tokenizer.encode(&text, PLAIN).expect("tokens");
            let bytes = tokenizer.decode(&tokens, SpecialTokens::Hide).unwrap();
            // `▁` is a space to such tokenizers.
            let text = match kind {
                "gpt2" => text.clone(),
                _ => text.replace('▁', " "),
            };
            // One of them puts a space before a text that begins with one, too.
            let bytes = match tokenizer.adds_space() && (kind == "stories" || !text.starts_with(' ')) {
                true => bytes.strip_prefix(b" ").unwrap_or(&bytes),
                false => &bytes[..],
            };
            prop_assert_eq!(String::from_utf8_lossy(bytes), text.as_str(), "{}", kind);
        }
    }

    /// No text becomes a control token, and none makes the engine panic.
    #[test]
    fn no_text_becomes_a_control_token(text in "(<|\\||>|/|s|im|_|end|start|user|\\[|\\]|SEP|CLS|MASK|UNK|mask|pad|eos| ){0,30}|\\PC{0,30}") {
        for kind in KINDS {
            let tokenizer = tokenizer(kind);
            for id in tokenizer.encode(&text, PLAIN).expect("tokens") {
                prop_assert_ne!(tokenizer.token_type(id), TokenType::Control, "{}", kind);
            }
            let prompt = tokenizer.encode_prompt(&text, &[]).expect("tokens");
            let prompt = prompt.iter().filter(|id| tokenizer.token_type(**id) == TokenType::Control);
            prop_assert!(prompt.count() <= tokenizer.special.prefix.len(), "{}", kind);
        }
    }

    /// A file with a byte changed is refused, or works.
    #[test]
    fn a_broken_file_never_panics(kind in 0..KINDS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = file(KINDS[kind]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(tokenizer) = Tokenizer::from_json(&bytes, &Metadata::default(), Some(ROWS)) {
            let _ = tokenizer.encode("Hello, 世界 \u{1f600}!  </s><|im_end|>", PARSED);
        }
    }
}

//! One test per class of broken or hostile vocabulary: each gives an error that names the key, or what the
//! documentation promises. None panics.

use super::super::vocab::{MAX_TOKEN_LEN, MAX_TOKENS};
use super::super::*;
use crate::error::Error;
use crate::gguf::{Array, Value};

type Entries = Vec<(String, Value)>;

/// A small valid vocabulary, modified by `change`.
pub(super) fn load(kind: &str, change: impl FnOnce(&mut Entries)) -> Result<Tokenizer> {
    let mut entries = Entries::new();
    set(&mut entries, "model", kind.into());
    match kind {
        "llama" => {
            let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
            let texts = ["<unk>", "<s>", "</s>"]
                .map(str::to_string)
                .into_iter()
                .chain(bytes);
            let texts = texts.chain(["▁", "a", "b", "▁a", "ab", "▁ab"].map(str::to_string));
            let texts: Vec<_> = texts.collect();
            let scores = Array::f32s((0..texts.len()).map(|i| -(i as f32)));
            set(&mut entries, "scores", scores.into());
            let types = (0..texts.len()).map(|i| {
                [2, 3, 3]
                    .get(i)
                    .copied()
                    .unwrap_or(if i < 259 { 6 } else { 1 })
            });
            set(&mut entries, "token_type", Array::i32s(types).into());
            set(&mut entries, "tokens", Array::strings(texts).into());
        }
        "bert" => {
            let texts = ["[UNK]", "[CLS]", "[SEP]", "▁a", "b", "▁ab", "▁!", "▁漢"];
            set(&mut entries, "tokens", Array::strings(texts).into());
            let types = Array::i32s([3, 3, 3, 1, 1, 1, 1, 1]);
            set(&mut entries, "token_type", types.into());
            set(&mut entries, "unknown_token_id", 0.into());
            set(&mut entries, "bos_token_id", 1.into());
            set(&mut entries, "seperator_token_id", 2.into());
        }
        "t5" => {
            let texts = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "ab", "▁a"];
            set(&mut entries, "tokens", Array::strings(texts).into());
            let scores = [0.0, 0.0, 0.0, -2.0, -2.5, -3.0, -4.0, -3.5];
            set(&mut entries, "scores", Array::f32s(scores).into());
            let types = Array::i32s([3, 3, 2, 1, 1, 1, 1, 1]);
            set(&mut entries, "token_type", types.into());
        }
        "rwkv" => {
            let texts = ["<s>", "a", "b", "ab", r"\n", r"\xc3", r"\xa9", r"\xa9a"];
            set(&mut entries, "tokens", Array::strings(texts).into());
            let types = Array::i32s([3, 1, 1, 1, 1, 1, 1, 1]);
            set(&mut entries, "token_type", types.into());
        }
        "plamo2" => {
            let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
            let named = ["<unk>", "<s>", "</s>", "a", "ab"].map(String::from);
            let texts: Vec<_> = named.into_iter().chain(bytes).collect();
            let scores = (0..texts.len()).map(|id| if id < 5 { -(id as f32) } else { 0.0 });
            set(&mut entries, "scores", Array::f32s(scores).into());
            let types = (0..texts.len()).map(|id| *[2, 3, 3, 1, 1].get(id).unwrap_or(&6));
            set(&mut entries, "token_type", Array::i32s(types).into());
            set(&mut entries, "tokens", Array::strings(texts).into());
        }
        _ => {
            set(&mut entries, "pre", "gpt-2".into());
            let texts = ["a", "b", "ab", "Ġ", "Ġab", "<|im_end|>"];
            set(&mut entries, "tokens", Array::strings(texts).into());
            let types = Array::i32s([1, 1, 1, 1, 1, 3]);
            set(&mut entries, "token_type", types.into());
            let merges = Array::strings(["a b", "Ġ ab"]);
            set(&mut entries, "merges", merges.into());
        }
    }
    change(&mut entries);
    let mut metadata = Metadata::default();
    for (key, value) in entries {
        assert!(metadata.insert(key, value));
    }
    Tokenizer::from_metadata(&metadata)
}

pub(super) fn set(entries: &mut Entries, key: &str, value: Value) {
    let key = format!("tokenizer.ggml.{key}");
    entries.retain(|(other, _)| *other != key);
    entries.push((key, value));
}

fn remove(entries: &mut Entries, key: &str) {
    entries.retain(|(other, _)| *other != format!("tokenizer.ggml.{key}"));
}

#[track_caller]
fn fails(kind: &str, expected: &str, change: impl FnOnce(&mut Entries)) {
    let error = load(kind, change).expect_err(expected);
    assert!(
        matches!(error, Error::InvalidModel(_) | Error::Unsupported(_)),
        "{error:?}"
    );
    assert_eq!(error.to_string(), expected);
}

pub(super) fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let options = EncodeOptions {
        add_special: false,
        parse_special: false,
    };
    tokenizer.encode(text, options).expect("tokens")
}

#[test]
fn the_small_vocabularies_work() {
    let bpe = load("gpt2", |_| {}).expect("a tokenizer");
    assert_eq!(ids(&bpe, "ab ab"), [2, 4]);
    assert_eq!(bpe.end_of_generation(), [5]);
    let spm = load("llama", |_| {}).expect("a tokenizer");
    assert_eq!(ids(&spm, "ab\nb"), [264, 13, 261]);
    assert_eq!(
        spm.decode(&[1, 264, 13, 2], SpecialTokens::Hide),
        Ok(b" ab\n".to_vec())
    );
    let wpm = load("bert", |_| {}).expect("a tokenizer");
    assert_eq!(ids(&wpm, "Äb!漢aba ac"), [5, 6, 7, 0, 0]);
    let ugm = load("t5", |_| {}).expect("a tokenizer");
    assert_eq!(ids(&ugm, "ab aé\u{301}b"), [6, 7, 2, 5]);
    let rwkv = load("rwkv", |_| {}).expect("a tokenizer");
    assert_eq!(ids(&rwkv, "aba\néa?"), [3, 1, 4, 5, 7]);
    let back = rwkv.decode(&[0, 3, 4, 5, 7], SpecialTokens::Hide);
    assert_eq!(back, Ok("ab\néa".into()));
    let plamo2 = load("plamo2", |_| {}).expect("a tokenizer");
    let tokens = [4, 3, 5 + 0xc3, 5 + 0xa9];
    assert_eq!(ids(&plamo2, "\u{feff}abaé"), tokens);
    let back = plamo2.decode(&tokens, SpecialTokens::Hide);
    assert_eq!(back, Ok("abaé".into()));
}

#[test]
fn another_kind_of_tokenizer_is_unsupported() {
    let expected = "unsupported: tokenizer.ggml.model: expected `llama` (SentencePiece), `gpt2` or `gemma4` \
                    (byte-pair encoding), `bert` (WordPiece), `t5` (unigram), `rwkv` or `plamo2`, found ";
    fails("llama", &format!("{expected}`bart`"), |e| {
        set(e, "model", "bart".into())
    });
    fails("llama", &format!("{expected}none"), |e| remove(e, "model"));
    fails(
        "llama",
        "invalid model: tokenizer.ggml.model: expected a valid UTF-8 string, found U32(1)",
        |e| {
            set(e, "model", 1.into());
        },
    );
}

#[test]
fn an_unknown_pre_tokenizer_is_unsupported() {
    let expected = "unsupported: tokenizer.ggml.pre: expected a pre-tokenizer that this engine supports, such as \
                    llama-bpe, qwen2, smollm or gpt-2, found `new-one`";
    fails("gpt2", expected, |e| set(e, "pre", "new-one".into()));
    // Without a name it is llama.cpp's default.
    load("gpt2", |e| remove(e, "pre")).expect("a tokenizer");
}

#[test]
fn a_missing_pre_tokenizer_is_assumed() {
    let assumed = |tokens: &[(usize, &str)]| {
        let last = tokens.iter().map(|(id, _)| *id).max().unwrap_or(0);
        let mut texts: Vec<_> = (0..=last).map(|id| format!("t{id}")).collect();
        for (id, text) in tokens {
            texts[*id] = (*text).to_owned();
        }
        let tokenizer = load("gpt2", |e| {
            remove(e, "pre");
            remove(e, "token_type");
            set(e, "bos_token_id", Value::U32(0));
            set(e, "tokens", Array::strings(texts).into());
        });
        let tokenizer = tokenizer.expect("a tokenizer");
        (
            tokenizer.assumption().map(str::to_owned),
            tokenizer.adds_bos(),
        )
    };
    let llama = [(128000, "<|begin_of_text|>"), (128001, "<|end_of_text|>")];
    assert_eq!(assumed(&llama), (Some("llama-bpe".into()), true));
    let deepseek = [(0, "<｜begin▁of▁sentence｜>"), (1, "<｜end▁of▁sentence｜>")];
    assert_eq!(assumed(&deepseek), (Some("deepseek-v3".into()), false));
    let smollm = [(0, "<|endoftext|>"), (1, "<|im_start|>")];
    assert_eq!(assumed(&smollm), (Some("smollm".into()), false));
    // Elsewhere the tokens say nothing.
    let moved = [(128001, "<|begin_of_text|>"), (128002, "<|end_of_text|>")];
    assert_eq!(assumed(&moved), (Some("default".into()), false));
    let named = load("gpt2", |_| {}).expect("a tokenizer");
    assert_eq!(named.assumption(), None);
    let spm = load("llama", |_| {}).expect("a tokenizer");
    assert_eq!(spm.assumption(), None);
}

#[test]
fn an_empty_vocabulary_is_invalid() {
    let expected = "invalid model: tokenizer.ggml.tokens: expected a vocabulary, found no tokens";
    for kind in ["llama", "gpt2", "bert", "t5", "rwkv", "plamo2"] {
        fails(kind, expected, |e| remove(e, "tokens"));
        fails(kind, expected, |e| {
            set(e, "tokens", Array::strings([""; 0]).into())
        });
    }
}

#[test]
fn lists_of_another_element_type_are_invalid() {
    fails(
        "llama",
        "invalid model: tokenizer.ggml.tokens: expected an array of strings, found an array of 2 i32",
        |e| {
            set(e, "tokens", Array::i32s([1, 2]).into());
        },
    );
    fails(
        "llama",
        "invalid model: tokenizer.ggml.scores: expected an array of f32, found an array of 1 i32",
        |e| {
            set(e, "scores", Array::i32s([1]).into());
        },
    );
    fails(
        "llama",
        "invalid model: tokenizer.ggml.token_type: expected an array of i32, found an array of 1 f32",
        |e| {
            set(e, "token_type", Array::f32s([1.0]).into());
        },
    );
    fails(
        "gpt2",
        "invalid model: tokenizer.ggml.merges: expected an array of strings, found U32(3)",
        |e| {
            set(e, "merges", 3.into());
        },
    );
}

#[test]
fn lists_of_another_length_are_invalid() {
    fails(
        "llama",
        "invalid model: tokenizer.ggml.scores: expected one for each of 265 tokens, found 264",
        |e| {
            set(e, "scores", Array::f32s([0.0; 264]).into());
        },
    );
    fails(
        "llama",
        "invalid model: tokenizer.ggml.token_type: expected one for each of 265 tokens, found 266",
        |e| {
            set(e, "token_type", Array::i32s([1; 266]).into());
        },
    );
}

#[test]
fn scores_must_be_numbers_and_may_be_infinite() {
    let scores = |last: f32| Array::f32s((0..265).map(|i| if i == 264 { last } else { 0.0 }));
    fails(
        "llama",
        "invalid model: tokenizer.ggml.scores: expected numbers, found NaN for token 264",
        |e| {
            set(e, "scores", scores(f32::NAN).into());
        },
    );
    for last in [f32::INFINITY, f32::NEG_INFINITY] {
        let tokenizer = load("llama", |e| set(e, "scores", scores(last).into()));
        assert!(!ids(&tokenizer.expect("a tokenizer"), "ab ab").is_empty());
        let tokenizer = load("t5", |e| {
            let scores = [0.0, 0.0, 0.0, -1.0, last, f32::MAX, -last, f32::MIN];
            set(e, "scores", Array::f32s(scores).into());
        });
        assert!(!ids(&tokenizer.expect("a tokenizer"), "ab aé b").is_empty());
    }
}

#[test]
fn types_out_of_range_are_undefined() {
    let tokenizer = load("gpt2", |e| {
        set(
            e,
            "token_type",
            Array::i32s([1, 1, -5, 1, i32::MAX, 3]).into(),
        );
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    assert_eq!(tokenizer.token_type(2), TokenType::Undefined);
    assert_eq!(tokenizer.token_bytes(4), Some(&b""[..]));
}

#[test]
fn numbers_outside_the_vocabulary_count_as_absent() {
    for id in [6, u32::MAX] {
        let tokenizer = load("gpt2", |e| {
            set(e, "bos_token_id", id.into());
            set(e, "eos_token_id", id.into());
            set(e, "eot_token_id", id.into());
        });
        let tokenizer = tokenizer.expect("a tokenizer");
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (None, None));
        assert_eq!(tokenizer.end_of_generation(), [5]);
    }
    fails(
        "gpt2",
        "invalid model: tokenizer.ggml.eos_token_id: expected an integer from 0 to 4294967295, found I32(-1)",
        |e| {
            set(e, "eos_token_id", Value::I32(-1));
        },
    );
    fails(
        "gpt2",
        "invalid model: tokenizer.ggml.add_bos_token: expected false, or a tokenizer.ggml.bos_token_id \
        within the vocabulary, found true without such a token",
        |e| {
            set(e, "bos_token_id", u32::MAX.into());
            set(e, "add_bos_token", true.into());
        },
    );
}

#[test]
fn names_of_bytes_are_read_strictly() {
    for name in [
        "<0x-1>", "<0xZZ>", "<0x+1>", "<0x1>", "<0x100>", "<0x>", "<0x 1>", "byte", "<0xé>",
    ] {
        let expected = format!(
            "invalid model: tokenizer.ggml.tokens: expected a byte's name, `<0x00>` to `<0xFF>`, found `{}` for token 1",
            name.escape_default()
        );
        fails("gpt2", &expected, |e| {
            set(
                e,
                "tokens",
                Array::strings(["a", name, "ab", "Ġ", "Ġab", "b"]).into(),
            );
            set(e, "token_type", Array::i32s([1, 6, 1, 1, 1, 1]).into());
        });
    }
}

/// Gemma 4's vocabulary: spaces come back, a character without a token is its bytes, and a text starts with the
/// begin-of-sequence token even if the file says otherwise.
#[test]
fn byte_pairs_of_characters_come_back() {
    let tokenizer = load("gemma4", |e| {
        let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
        let texts = ["<bos>", "▁", "a", "▁a", "\n", "\n\n"].map(String::from);
        let texts: Vec<String> = texts.into_iter().chain(bytes).collect();
        let types = texts.iter().map(|text| match text.as_str() {
            "<bos>" => 3,
            text if text.starts_with("<0x") => 6,
            _ => 1,
        });
        let types: Vec<i32> = types.collect();
        set(e, "token_type", Array::i32s(types).into());
        set(e, "tokens", Array::strings(texts).into());
        set(e, "merges", Array::strings(["▁ a"]).into());
        set(e, "bos_token_id", Value::U32(0));
        set(e, "add_bos_token", false.into());
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    let byte = |byte: u32| 6 + byte;
    // Three newlines are no token, so that they are single ones.
    let expected = vec![0, 3, 1, 3, 4, 4, 4, byte(0xc3), byte(0xa9), 2];
    let text = " a  a\n\n\néa";
    let found = tokenizer.encode(text, EncodeOptions::default());
    assert_eq!(found, Ok(expected.clone()));
    let back = tokenizer.decode(&expected, SpecialTokens::Hide);
    assert_eq!(back, Ok(text.as_bytes().to_vec()));
    assert_eq!(ids(&tokenizer, "\n\n"), [5]);
}

#[test]
fn a_text_twice_belongs_to_its_first_token() {
    let tokenizer = load("gpt2", |e| {
        set(
            e,
            "tokens",
            Array::strings(["a", "b", "ab", "Ġ", "ab", "x"]).into(),
        );
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    let options = EncodeOptions::default();
    assert_eq!(tokenizer.encode("ab", options).ok(), Some(vec![2]));
    assert_eq!(tokenizer.name(4), Some("ab"));
    // Empty ones are named after their numbers.
    let tokenizer = load("gpt2", |e| {
        set(
            e,
            "tokens",
            Array::strings(["a", "b", "", "Ġ", "", "x"]).into(),
        );
    });
    assert_eq!(tokenizer.expect("a tokenizer").name(4), Some("[EMPTY_4]"));
}

#[test]
fn texts_must_be_utf_8() {
    for broken in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80"] {
        fails(
            "gpt2",
            "invalid model: tokenizer.ggml.tokens: expected tokens in UTF-8, found invalid UTF-8 in token 2",
            |e| {
                set(
                    e,
                    "tokens",
                    Array::strings([&b"a"[..], b"b", broken, b"c", b"d", b"e"]).into(),
                );
            },
        );
    }
    // A character may not be split between two texts.
    fails(
        "gpt2",
        "invalid model: tokenizer.ggml.tokens: expected tokens in UTF-8, found invalid UTF-8 in token 1",
        |e| {
            set(
                e,
                "tokens",
                Array::strings([&b"a"[..], b"\xc3", b"\xa9", b"c", b"d", b"e"]).into(),
            );
        },
    );
}

#[test]
fn absurd_sizes_are_unsupported() {
    let long = "x".repeat(MAX_TOKEN_LEN + 1);
    fails(
        "gpt2",
        "unsupported: tokenizer.ggml.tokens: expected tokens of at most 2048 bytes, found token 5 of 2049 bytes",
        |e| {
            set(
                e,
                "tokens",
                Array::strings(["a", "b", "ab", "Ġ", "Ġab", &long]).into(),
            );
        },
    );
    fails(
        "gpt2",
        "unsupported: tokenizer.ggml.tokens: expected at most 1048576 tokens, found 1048577 tokens",
        |e| {
            let texts = (0..=MAX_TOKENS).map(|i| i.to_string());
            set(e, "tokens", Array::strings(texts).into());
        },
    );
    fails(
        "gpt2",
        "unsupported: tokenizer.ggml.merges: expected at most 2097152, found 2097153 merges",
        |e| {
            set(
                e,
                "merges",
                Array::strings(std::iter::repeat_n("a b", (1 << 21) + 1)).into(),
            );
        },
    );
}

#[test]
fn merges_must_be_pairs() {
    for merge in ["ab", "", " ", "a", " ab"] {
        let expected = format!(
            "invalid model: tokenizer.ggml.merges: expected two tokens separated by a space, found `{merge}` as merge 1"
        );
        fails("gpt2", &expected, |e| {
            set(e, "merges", Array::strings(["a b", merge]).into())
        });
    }
    fails(
        "gpt2",
        "invalid model: tokenizer.ggml.merges: expected an array of strings, found nothing",
        |e| {
            remove(e, "merges");
        },
    );
}

#[test]
fn merges_of_missing_tokens_and_repeated_ones_are_left_out() {
    let merges = [
        "a x",
        "x b",
        "b a",
        "a b",
        "Ġ ab",
        "a b",
        "a ",
        "\u{fffd} \u{fffd}",
    ];
    let tokenizer = load("gpt2", |e| set(e, "merges", Array::strings(merges).into()));
    assert_eq!(
        ids(&tokenizer.expect("a tokenizer"), "ab ab ba"),
        [2, 4, 3, 1, 0]
    );
}

#[test]
fn no_merge_makes_a_control_token() {
    let tokenizer = load("gpt2", |e| {
        set(e, "token_type", Array::i32s([1, 1, 3, 1, 1, 3]).into());
        set(e, "pre", "llama-bpe".into());
        set(e, "add_bos_token", false.into());
    });
    assert_eq!(ids(&tokenizer.expect("a tokenizer"), "ab"), [0, 1]);
    let types = (0..265).map(|i| if i == 263 || i == 264 { 3 } else { 1 });
    let tokenizer = load("llama", |e| set(e, "token_type", Array::i32s(types).into()));
    assert_eq!(ids(&tokenizer.expect("a tokenizer"), "ab"), [262, 261]);
}

#[test]
fn missing_bytes_are_unknown_or_left_out() {
    // Byte-level: skipped, as in llama.cpp.
    assert_eq!(
        ids(&load("gpt2", |_| {}).expect("a tokenizer"), "aéb"),
        [0, 1]
    );
    let texts = ["x", "y", "▁", "a", "?"];
    let few = |e: &mut Entries| {
        set(e, "tokens", Array::strings(texts).into());
        set(e, "scores", Array::f32s([0.0; 5]).into());
        set(e, "token_type", Array::i32s([1; 5]).into());
        set(e, "add_bos_token", false.into());
    };
    let tokenizer = load("llama", |e| {
        few(e);
        set(e, "unknown_token_id", 4.into());
    });
    assert_eq!(ids(&tokenizer.expect("a tokenizer"), "aé"), [2, 3, 4, 4]);
    // If the file names none, token 0 is llama.cpp's default for unknown text.
    let tokenizer = load("llama", few).expect("a tokenizer");
    assert_eq!(ids(&tokenizer, "é"), [2, 0, 0]);
}

#[test]
fn markers_that_begin_alike_are_told_apart() {
    let texts = ["<a", "<ab>", "<abc", "<", "b", "c", "<|im_end|>"];
    let tokenizer = load("gpt2", |e| {
        set(e, "tokens", Array::strings(texts).into());
        set(e, "token_type", Array::i32s([4, 4, 4, 1, 1, 1, 3]).into());
        set(e, "merges", Array::strings([""; 0]).into());
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    assert_eq!(ids(&tokenizer, "<ab><abc<ab<a<b"), [1, 2, 0, 4, 0, 3, 4]);
    assert_eq!(ids(&tokenizer, "<|im_end|>b"), [3, 4]);
    let parse = EncodeOptions {
        add_special: false,
        parse_special: true,
    };
    assert_eq!(
        tokenizer.encode("<|im_end|>b<|im_end", parse),
        Ok(vec![6, 4, 3])
    );
}

/// Many markers that share a beginning, and a text that consists of it.
#[test]
fn many_markers_do_not_make_a_text_slow() {
    let n = 200_000;
    let tokenizer = load("gpt2", |e| {
        let texts = (0..n).map(|i| format!("{}{i}", "a".repeat(20)));
        set(e, "tokens", Array::strings(texts).into());
        set(
            e,
            "token_type",
            Array::i32s(std::iter::repeat_n(4, n)).into(),
        );
        set(e, "merges", Array::strings([""; 0]).into());
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    assert!(ids(&tokenizer, &"a".repeat(200_000)).is_empty());
    assert_eq!(ids(&tokenizer, &format!("{}17", "a".repeat(23))), [17]);
}

#[test]
fn tokens_that_a_kind_cannot_do_without_must_exist() {
    for (kind, key) in [
        ("bert", "unknown"),
        ("bert", "bos"),
        ("bert", "seperator"),
        ("t5", "unknown"),
    ] {
        let expected = format!(
            "invalid model: tokenizer.ggml.{key}_token_id: expected a token within the vocabulary, \
             found none, and the vocabulary is too small for the default"
        );
        fails(kind, &expected, |e| {
            remove(e, &format!("{key}_token_id"));
            if kind == "t5" {
                set(e, "tokens", Array::strings(["a", "b"]).into());
                remove(e, "scores");
                remove(e, "token_type");
            }
        });
    }
}

#[test]
fn plamo2_needs_a_token_for_each_byte() {
    let expected = "invalid model: tokenizer.ggml.tokens: expected a token for each byte, found none for <0xFF>";
    fails("plamo2", expected, |e| {
        // Its token is text.
        let types = (0..261).map(|id| *[2, 3, 3, 1, 1].get(id).unwrap_or(&6));
        let types = types.take(260).chain([1]);
        set(e, "token_type", Array::i32s(types).into());
    });
    // Scores outside any integer are safe.
    let tokenizer = load("plamo2", |e| {
        let odd = [f32::MAX, f32::MIN, f32::INFINITY, 1e9, -1e9];
        let scores = (0..261).map(|id| odd[id % odd.len()]);
        set(e, "scores", Array::f32s(scores).into());
    });
    assert!(!ids(&tokenizer.expect("a tokenizer"), &"aba".repeat(10_000)).is_empty());
}

/// Tokens that begin alike, each longer than the one before, and a text without an end to them: the time is that of the
/// text's length times the longest token's.
#[test]
fn tokens_within_tokens_do_not_make_a_text_slow() {
    for kind in ["bert", "t5", "rwkv"] {
        let tokenizer = load(kind, |e| {
            let texts = ["<unk>", "<x>", "<y>", "▁a"].map(String::from).into_iter();
            let texts = texts.chain((1..=500).map(|n| "a".repeat(n)));
            remove(e, "token_type");
            remove(e, "scores");
            set(e, "tokens", Array::strings(texts).into());
        });
        let tokens = ids(&tokenizer.expect("a tokenizer"), &"a".repeat(100_000));
        assert!(tokens.len() <= 201, "{kind}: {}", tokens.len());
    }
}

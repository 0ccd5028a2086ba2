//! Tokenizers of arbitrary vocabularies, and arbitrary texts.

use arbitrary::{Result, Unstructured};
use gust_engine::gguf::{Array, Metadata, Value};
use gust_engine::tokenizer::{EncodeOptions, SpecialTokens, Tokenizer};

use super::values::{float, integer, text};

const KINDS: [&str; 8] = [
    "llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "gemma4", "test",
];
const PRE: [&str; 24] = [
    "default",
    "llama-bpe",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "falcon",
    "mpt",
    "starcoder",
    "gpt-2",
    "command-r",
    "qwen2",
    "stablelm2",
    "olmo",
    "dbrx",
    "smollm",
    "codeshell",
    "bloom",
    "gpt-4o",
    "superbpe",
    "kimi-k2",
    "tekken",
    "chameleon",
    "youtu",
    "minicpm5",
];
const PIECES: [&str; 40] = [
    "a",
    "b",
    "ab",
    "ba",
    "aa",
    "aaaa",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u{2581}",
    "\u{2581}a",
    "\u{120}",
    "\u{120}a",
    "\u{10a}",
    "<s>",
    "</s>",
    "<unk>",
    "<0x61>",
    "<0xFF>",
    "<|im_start|>",
    "<|",
    "##a",
    "##b",
    "[UNK]",
    "[CLS]",
    "\u{e9}",
    "e\u{301}",
    "\u{4e2d}",
    "\u{ac00}",
    "\u{1f600}",
    "\u{200d}",
    "'s",
    "12",
    "345",
    "A",
    "\\x61",
    "b'a'",
    "'a'",
];

/// A vocabulary of pieces, with everything else about it at random.
pub fn run(data: &[u8]) {
    let _ = attack(&mut Unstructured::new(data));
}

fn attack(input: &mut Unstructured<'_>) -> Result<()> {
    let mut metadata = Metadata::default();
    let mut put = |key: &str, value: Value| {
        metadata.insert(format!("tokenizer.ggml.{key}"), value);
    };
    put("model", (*input.choose(&KINDS)?).into());
    if input.ratio(7, 8)? {
        put("pre", (*input.choose(&PRE)?).into());
    }
    let count = input.int_in_range(0..=48)?;
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    if input.arbitrary()? {
        // All bytes, in the way of byte-level vocabularies, or as names.
        let named = input.arbitrary()?;
        tokens.extend((0..=255u32).map(|byte| {
            match named {
                true => format!("<0x{byte:02X}>").into_bytes(),
                false => char::from_u32(byte + 0x100)
                    .expect("a letter")
                    .to_string()
                    .into_bytes(),
            }
        }));
    }
    for _ in 0..count {
        tokens.push(match input.ratio(15, 16)? {
            true => text(input, &PIECES, 3)?.into_bytes(),
            false => input.arbitrary()?,
        });
    }
    let n = tokens.len();
    put("tokens", Value::Array(Array::strings(&tokens)));
    let length = |input: &mut Unstructured<'_>| {
        Ok(match input.ratio(15, 16)? {
            true => n,
            false => input.int_in_range(0..=n + 1)?,
        })
    };
    if input.ratio(3, 4)? {
        let scores: Result<Vec<_>> = (0..length(input)?).map(|_| float(input)).collect();
        put("scores", Value::Array(Array::f32s(scores?)));
    }
    if input.ratio(3, 4)? {
        let types = (0..length(input)?).map(|_| input.int_in_range(0..=7));
        let types: Result<Vec<i32>> = types.collect();
        put("token_type", Value::Array(Array::i32s(types?)));
    }
    if input.ratio(3, 4)? {
        let mut merges = Vec::new();
        for _ in 0..input.int_in_range(0..=24)? {
            let left = text(input, &PIECES, 2)?;
            let right = text(input, &PIECES, 2)?;
            merges.push(format!("{left} {right}"));
        }
        put("merges", Value::Array(Array::strings(merges)));
    }
    if input.ratio(1, 2)? {
        let bytes: Vec<u8> = input.arbitrary()?;
        put("precompiled_charsmap", Value::Array(Array::bytes(bytes)));
    }
    for key in [
        "bos_token_id",
        "eos_token_id",
        "unknown_token_id",
        "seperator_token_id",
        "padding_token_id",
        "cls_token_id",
        "mask_token_id",
        "eot_token_id",
    ] {
        if input.ratio(1, 2)? {
            let id = match input.ratio(7, 8)? {
                true => input.choose_index(n.max(1))? as u64,
                false => integer(input)?,
            };
            put(key, Value::U32(id as u32));
        }
    }
    for key in [
        "add_bos_token",
        "add_eos_token",
        "add_sep_token",
        "add_space_prefix",
        "remove_extra_whitespaces",
    ] {
        if input.ratio(1, 2)? {
            put(key, Value::Bool(input.arbitrary()?));
        }
    }
    let Ok(tokenizer) = Tokenizer::from_metadata(&metadata) else {
        return Ok(());
    };
    let most = input.int_in_range(0..=64)?;
    let text = text(input, &PIECES, most)?.repeat(input.int_in_range(1..=8)?);
    let check = |ids: gust_engine::error::Result<Vec<u32>>| {
        let ids = ids.unwrap_or_default();
        assert!(ids.iter().all(|id| *id < tokenizer.vocab_size()), "{ids:?}");
        for special in [SpecialTokens::Hide, SpecialTokens::Render] {
            let bytes = tokenizer.decode(&ids, special);
            bytes.expect("its own tokens");
        }
    };
    for (add_special, parse_special) in [(true, false), (false, true)] {
        check(tokenizer.encode(
            &text,
            EncodeOptions {
                add_special,
                parse_special,
            },
        ));
    }
    check(tokenizer.encode_whole(&text));
    check(tokenizer.encode_pair(&text, "ab"));
    let third = (0..=text.len() / 3)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    check(tokenizer.encode_prompt(&text, std::slice::from_ref(&(0..third))));
    let _ = tokenizer.decode(&[integer(input)? as u32], SpecialTokens::Render);
    Ok(())
}

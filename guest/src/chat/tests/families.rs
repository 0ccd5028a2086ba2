//! Templates by name: what they write is what llama.cpp writes (`families.py`), and files without a template get theirs.

use super::super::*;
use super::cases::{get, items};
use super::prompts::vocabulary_of;
use crate::gguf::{Gguf, Metadata};
use crate::test_data::shared;
use crate::tokenizer::Tokenizer;

#[test]
fn templates_by_name_write_what_llama_cpp_writes() {
    let file: Value = serde_json::from_str(include_str!("families.json")).expect("JSON");
    let message = |item: Value| {
        let [role, content] = items(&item).try_into().expect("a pair");
        Message::new(role.to_string(), content.to_string())
    };
    let conversations = items(&get(&file, "conversations")).into_iter();
    let conversations: Vec<Vec<Message>> = conversations
        .map(|turns| items(&turns).into_iter().map(message).collect())
        .collect();
    let expected = get(&file, "expected");
    let names = items(&expected);
    assert!(names.len() > 50 && conversations.len() > 8);
    for name in names {
        let texts = items(&expected.get_item(&name).expect("there")).into_iter();
        let name = name.to_string();
        let template = families::template(&name).unwrap_or_else(|| panic!("no template `{name}`"));
        let cases = conversations
            .iter()
            .flat_map(|turns| [(turns, false), (turns, true)]);
        assert_eq!(texts.len(), 2 * conversations.len());
        for ((turns, add_generation_prompt), expected) in cases.zip(texts) {
            let options = ChatOptions {
                origin: Origin::Model,
                add_generation_prompt,
                bos_token: None,
                eos_token: None,
                tools: None,
                variables: None,
                clock: Clock::None,
            };
            let found = render(template, turns, &options).map(|rendered| rendered.text);
            assert_eq!(
                found.as_deref(),
                Ok(expected.as_str().expect("a text")),
                "{name}: {turns:?}"
            );
        }
    }
}

#[test]
fn the_family_is_told_by_tokens_and_by_the_architecture() {
    let assumed = |metadata: &Metadata| {
        let tokenizer = Tokenizer::from_metadata(metadata).expect("a tokenizer");
        families::assumed(&tokenizer, metadata)
    };
    let named = |tokens: &[&str], architecture: &str| {
        let tokens = [&["<s>", "</s>"], tokens].concat();
        let mut metadata = vocabulary_of(&tokens, &[]);
        assert!(metadata.insert("general.architecture".to_owned(), architecture.into()));
        assumed(&metadata).map(|family| (family.name, family.reason))
    };
    let by_token = |name, token: &str| Some((name, format!("the vocabulary has `{token}`")));
    let gemma = ["<start_of_turn>", "<end_of_turn>"];
    assert_eq!(named(&gemma, "gemma3"), by_token("gemma", gemma[0]));
    assert_eq!(named(&gemma[..1], "gemma3"), None);
    let chatml = ["<|im_start|>", "<|im_end|>"];
    assert_eq!(named(&chatml, "qwen2"), by_token("chatml", chatml[0]));
    let phi4 = ["<|im_start|>", "<|im_end|>", "<|im_sep|>"];
    assert_eq!(named(&phi4, "phi3"), by_token("phi4", chatml[0]));
    let exaone = ["[|assistant|]", "[|endofturn|]"];
    assert_eq!(named(&exaone, "exaone"), by_token("exaone3", exaone[0]));
    assert_eq!(named(&exaone, "exaone4"), by_token("exaone4", exaone[0]));
    let mistral = ["[INST]", "[/INST]", "[AVAILABLE_TOOLS]"];
    assert_eq!(named(&mistral, "llama"), by_token("mistral-v3", mistral[2]));
    let reason = "`general.architecture` is `rwkv7`".to_owned();
    assert_eq!(named(&[], "rwkv7"), Some(("rwkv-world", reason)));
    assert_eq!(named(&[], "llama"), None);

    // Published vocabularies, where they are there.
    let published = [
        ("qwen2", Some("chatml")),
        ("llama-bpe", Some("llama3")),
        ("phi-3", Some("phi3")),
        ("llama-spm", None),
        ("gpt-2", None),
    ];
    for (name, expected) in published {
        let Some(bytes) = shared(&format!("vocab/ggml-vocab-{name}.gguf")) else {
            break;
        };
        let metadata = Gguf::read(&bytes).expect("a sound file").metadata;
        let found = assumed(&metadata).map(|family| family.name);
        assert_eq!(found, expected, "{name}");
    }
}

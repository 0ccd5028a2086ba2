//! Files that do not name their pre-tokenizer (`tokenizer.ggml.pre`), such as those from before May 2024. Some families
//! of models can be told by where their vocabularies have control tokens.

use super::vocab::Vocab;

/// The name of a pre-tokenizer, and two tokens with their numbers that only its family has there. A model that was
/// trained further keeps them.
type Family = (&'static str, [(u32, &'static str); 2]);

const FAMILIES: &[Family] = &[
    (
        "llama-bpe",
        [(128000, "<|begin_of_text|>"), (128001, "<|end_of_text|>")],
    ),
    (
        "llama4",
        [(200000, "<|begin_of_text|>"), (200001, "<|end_of_text|>")],
    ),
    (
        "qwen2",
        [(151643, "<|endoftext|>"), (151644, "<|im_start|>")],
    ),
    (
        "deepseek-coder",
        [
            (32013, "<｜begin▁of▁sentence｜>"),
            (32014, "<｜end▁of▁sentence｜>"),
        ],
    ),
    (
        "deepseek-llm",
        [
            (100000, "<｜begin▁of▁sentence｜>"),
            (100001, "<｜end▁of▁sentence｜>"),
        ],
    ),
    (
        "deepseek-v3",
        [(0, "<｜begin▁of▁sentence｜>"), (1, "<｜end▁of▁sentence｜>")],
    ),
    (
        "gpt-4o",
        [(199999, "<|endoftext|>"), (200018, "<|endofprompt|>")],
    ),
    ("tekken", [(1, "<s>"), (3, "[INST]")]),
    (
        "command-r",
        [(5, "<BOS_TOKEN>"), (255000, "<|START_OF_TURN_TOKEN|>")],
    ),
    ("falcon", [(0, ">>TITLE<<"), (11, "<|endoftext|>")]),
    ("starcoder", [(0, "<|endoftext|>"), (1, "<fim_prefix>")]),
    ("smollm", [(0, "<|endoftext|>"), (1, "<|im_start|>")]),
    // GPT-NeoX's vocabulary, with which many others were trained.
    ("mpt", [(0, "<|endoftext|>"), (1, "<|padding|>")]),
    // Phi 1 to 2 have it too.
    ("gpt-2", [(0, "!"), (50256, "<|endoftext|>")]),
];

/// The name of the pre-tokenizer that the vocabulary was probably made with. If that cannot be told it is `default`, as
/// in llama.cpp.
pub(super) fn assumed(vocab: &Vocab) -> &'static str {
    let has = |(id, text): &(u32, &str)| vocab.is_named(*id, text.as_bytes());
    let family = FAMILIES.iter().find(|(_, tokens)| tokens.iter().all(has));
    family.map_or("default", |(name, _)| name)
}

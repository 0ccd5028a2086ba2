//! The tokens with a special role: begin and end of a text, unknown text, and what ends an answer.
//!
//! Files identify some of them by number and others only by their text. The rules and the lists are llama.cpp's,
//! because files are made to work there: a token with a known text is a control token, whatever type the file gives it,
//! and a number outside the vocabulary (files write 4294967295 for "none") counts as absent. Two rules differ: `</s>`
//! (see below), and byte-level vocabularies without these keys have no begin and end, where llama.cpp uses token 11.

use super::vocab::{TokenType, Vocab};
use crate::error::{Result, invalid_model};
use crate::gguf::Metadata;

/// Texts that end an answer.
const END_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
];

/// Also ends an answer, but only if the file does not mark it as text: it is also HTML, and a plain token in Qwen.
const END_OR_HTML: &str = "</s>";

/// Keys of code-completion tokens that end an answer, and the texts to look for if the key is absent.
const END_KEYS_AND_TEXTS: &[(&str, &[&str])] = &[
    (
        "tokenizer.ggml.fim_pad_token_id",
        &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    ),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &[
            "<|fim_repo|>",
            "<|repo_name|>",
            "<fim-repo>",
            "<REPO>",
            "<reponame>",
        ],
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

/// Other keys of tokens that end an answer.
const END_KEYS: &[&str] = &[
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];

/// What a kind of tokenizer uses if the file does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    separator: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    around: Around,
}

/// Which tokens are added around a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Begin and end of a sequence, each if the file's flag says so.
    Flagged,
    /// As `Flagged`, but begin-of-sequence whatever the file's flag says.
    NeedsBos,
    /// Begin-of-sequence and the separator, whatever the file's flags say.
    BosAndSeparator,
    /// Nothing, whatever the file's flags say.
    Nothing,
}

impl Defaults {
    const NONE: Self = Self {
        bos: None,
        eos: None,
        unknown: None,
        separator: None,
        add_bos: false,
        add_eos: false,
        around: Around::Flagged,
    };

    pub(super) const SPM: Self = Self {
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        add_bos: true,
        ..Self::NONE
    };

    /// `[CLS]`, `[UNK]` and `[SEP]` of BERT's vocabularies.
    pub(super) const WPM: Self = Self {
        bos: Some(101),
        unknown: Some(100),
        separator: Some(102),
        around: Around::BosAndSeparator,
        ..Self::NONE
    };

    pub(super) const UGM: Self = Self {
        eos: Some(1),
        unknown: Some(2),
        add_eos: true,
        ..Self::NONE
    };

    pub(super) const RWKV: Self = Self {
        around: Around::Nothing,
        ..Self::NONE
    };

    pub(super) const PLAMO2: Self = Self {
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        around: Around::Nothing,
        ..Self::NONE
    };

    /// What is added is not said by keys.
    #[cfg(feature = "tokenizer-json")]
    pub(super) const JSON: Self = Self {
        around: Around::Nothing,
        ..Self::NONE
    };

    pub(super) fn bpe(add_bos: bool) -> Self {
        Self {
            add_bos,
            ..Self::NONE
        }
    }

    /// With the begin-of-sequence token before a text even if the file says otherwise.
    pub(super) fn needing_bos(self) -> Self {
        let around = Around::NeedsBos;
        Self { around, ..self }
    }
}

/// The tokens with a special role.
#[derive(Debug)]
pub(super) struct Special {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unknown: Option<u32>,
    /// The tokens added before a text.
    pub(super) prefix: Vec<u32>,
    /// The tokens added after a text.
    pub(super) suffix: Vec<u32>,
    /// The tokens added before, between and after two texts.
    pub(super) pair: [Vec<u32>; 3],
    /// The tokens that end an answer, in ascending order.
    pub(super) ends: Vec<u32>,
}

impl Special {
    /// Finds these tokens, and sets the types of those that are known by their text.
    ///
    /// # Errors
    /// `invalid-model` for a key of the wrong type, and for a token that should be added but does not exist.
    pub(super) fn find(vocab: &mut Vocab, metadata: &Metadata, defaults: Defaults) -> Result<Self> {
        let id = |key: &str, default: Option<u32>| -> Result<Option<u32>> {
            let ids = [metadata.u32(key)?, default];
            Ok(ids.into_iter().flatten().find(|id| *id < vocab.len()))
        };
        let bos = id("tokenizer.ggml.bos_token_id", defaults.bos)?;
        let eos = id("tokenizer.ggml.eos_token_id", defaults.eos)?;
        let unknown = id("tokenizer.ggml.unknown_token_id", defaults.unknown)?;
        // GGUF's spelling.
        let separator = id("tokenizer.ggml.seperator_token_id", defaults.separator)?;
        let add_bos = metadata.bool("tokenizer.ggml.add_bos_token")?;
        let add_eos = metadata.bool("tokenizer.ggml.add_eos_token")?;
        let add_bos = add_bos.unwrap_or(defaults.add_bos);
        let add_eos = add_eos.unwrap_or(defaults.add_eos);
        let add_separator = metadata.bool("tokenizer.ggml.add_sep_token")?;
        let add_separator =
            add_separator.unwrap_or(matches!(defaults.around, Around::BosAndSeparator));
        let (prefix, suffix) = match defaults.around {
            Around::Flagged => (added("bos", add_bos, bos)?, added("eos", add_eos, eos)?),
            Around::NeedsBos => (added("bos", true, bos)?, added("eos", add_eos, eos)?),
            Around::BosAndSeparator => (
                Some(needed("tokenizer.ggml.bos_token_id", bos)?),
                Some(needed("tokenizer.ggml.seperator_token_id", separator)?),
            ),
            Around::Nothing => (None, None),
        };
        // As llama.cpp's server does it: without an end of sequence, a separator ends each text of a pair.
        let end = eos.or(separator).filter(|_| add_eos);
        let separator = separator.filter(|_| add_separator);
        let pair = [
            prefix.into_iter().collect(),
            end.into_iter().chain(separator).collect(),
            end.into_iter().collect(),
        ];
        let mut ends = eos.into_iter().collect::<Vec<_>>();
        for key in END_KEYS {
            ends.extend(id(key, None)?);
        }
        for (key, texts) in END_KEYS_AND_TEXTS {
            let by_text = || texts.iter().find_map(|text| vocab.find(text.as_bytes()));
            ends.extend(id(key, None)?.or_else(by_text));
        }
        ends.extend(
            END_TEXTS
                .iter()
                .filter_map(|text| vocab.find(text.as_bytes())),
        );
        let html = vocab.find(END_OR_HTML.as_bytes());
        let html = html.filter(|id| vocab.token_type(*id) != TokenType::Normal);
        ends.extend(html);
        ends.sort_unstable();
        ends.dedup();
        name_types(vocab, html);
        keep_harmony_going(vocab, &mut ends);
        Ok(Self {
            bos,
            eos,
            unknown,
            prefix: prefix.into_iter().collect(),
            suffix: suffix.into_iter().collect(),
            pair,
            ends,
        })
    }
}

fn added(name: &str, wanted: bool, id: Option<u32>) -> Result<Option<u32>> {
    match (wanted, id) {
        (false, _) => Ok(None),
        (true, Some(id)) => Ok(Some(id)),
        (true, None) => Err(invalid_model(
            format!("tokenizer.ggml.add_{name}_token"),
            format!("false, or a tokenizer.ggml.{name}_token_id within the vocabulary"),
            "true without such a token",
        )),
    }
}

/// The token `id`, which this kind of tokenizer cannot do without.
///
/// # Errors
/// `invalid-model` if there is none.
pub(super) fn needed(key: &str, id: Option<u32>) -> Result<u32> {
    id.ok_or_else(|| {
        let found = "none, and the vocabulary is too small for the default";
        invalid_model(key, "a token within the vocabulary", found)
    })
}

/// Makes each token with a known text a control token.
fn name_types(vocab: &mut Vocab, html: Option<u32>) {
    let completion = END_KEYS_AND_TEXTS
        .iter()
        .flat_map(|(_, texts)| texts.iter());
    let texts = END_TEXTS.iter().chain(completion);
    let ids: Vec<_> = texts
        .filter_map(|text| vocab.find(text.as_bytes()))
        .chain(html)
        .collect();
    for id in ids {
        vocab.set_type(id, TokenType::Control);
    }
}

/// If `<|return|>` or `<|flush|>` ends an answer and `<|call|>` a call, then `<|end|>` only ends a part of the answer.
fn keep_harmony_going(vocab: &mut Vocab, ends: &mut Vec<u32>) {
    let has = |text: &str| vocab.find(text.as_bytes()).is_some();
    let calls = has("<|call|>") || has("<|calls|>");
    if !(calls && (has("<|return|>") || has("<|flush|>"))) {
        return;
    }
    if let Some(end) = vocab.find(b"<|end|>") {
        ends.retain(|id| *id != end);
        vocab.set_type(end, TokenType::UserDefined);
    }
}

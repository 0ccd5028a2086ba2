//! Pre-tokenizers: how a text is split into words before byte-pair encoding, which never merges across a split.
//!
//! Models publish them as regular expressions. Here each is a list of rules, one per alternative of the expression, in
//! the same order: the first rule that matches at a position makes the word. No rule looks at a character more than a
//! few times, so the time is linear, which backtracking engines do not guarantee (`\s*[\r\n]+` on a million spaces).
//! The expressions are documented next to the lists; tests compare both on random texts.

use super::classes::*;
use super::rules::*;
use crate::error::{Result, unsupported};

/// The rules in order; text that none of them matches becomes a separate word up to the next match.
type Stage = &'static [Rule];

/// What the symbols are that merges start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// Bytes, each written as a character (GPT-2).
    Bytes,
    /// Characters, with `▁` for a space; those without a token are spelled in bytes (Gemma 4).
    Characters,
}

/// A pre-tokenizer: stages, each of which splits the previous one's words, and related settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pre {
    stages: &'static [Stage],
    pub(super) alphabet: Alphabet,
    /// A word that is itself a token is not built by merges.
    pub(super) ignore_merges: bool,
    /// A text starts with the begin-of-sequence token unless the file says otherwise.
    pub(super) add_bos: bool,
}

impl Pre {
    /// The pre-tokenizer that llama.cpp's converter calls `name`. A file without a name uses llama.cpp's `default`.
    ///
    /// # Errors
    /// `unsupported` for an unknown name: a different pre-tokenizer would give different tokens than the model was
    /// trained on.
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        let plain = |stages| Self {
            stages,
            alphabet: Alphabet::Bytes,
            ignore_merges: false,
            add_bos: false,
        };
        Ok(match name.unwrap_or("default") {
            "default" => plain(DEFAULT),
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "gigachat" | "a.x-4.0" | "mellum"
            | "modern-bert" | "exaone4" | "trillion" | "granite-docling" => plain(&[GPT2]),
            "falcon" => plain(FALCON),
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone"
            | "minerva-7b" | "mellum2" => plain(DIGITS_THEN_GPT2),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral"
            | "midm-2.0" | "lfm2" => Self {
                ignore_merges: true,
                add_bos: true,
                ..plain(&[LLAMA3])
            },
            "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => plain(&[LLAMA3]),
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2"
            | "hunyuan" | "solar-open" | "grok-2" => plain(&[QWEN2]),
            "qwen35" => plain(&[QWEN35]),
            "tekken" => Self {
                ignore_merges: true,
                add_bos: true,
                ..plain(&[TEKKEN])
            },
            "gpt-4o" | "llama4" | "kanana2" => plain(&[GPT4O]),
            "gemma4" => Self {
                alphabet: Alphabet::Characters,
                add_bos: true,
                ..plain(&[LINES])
            },
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" => plain(DEEPSEEK3),
            other => {
                return Err(unsupported(
                    "tokenizer.ggml.pre",
                    "a pre-tokenizer that this engine supports, such as llama-bpe, qwen2, smollm or gpt-2",
                    format!("`{}`", other.escape_default()),
                ));
            }
        })
    }

    /// Calls `word` with each word of `text` in order. No word is empty, and concatenated they are the text.
    pub(super) fn split<'t>(&self, text: &'t str, mut word: impl FnMut(&'t str)) {
        let mut text = Text::new(text);
        let mut ends = vec![text.len()];
        for stage in self.stages {
            ends = text.cut(&ends, stage);
        }
        let mut start = 0;
        for end in ends {
            word(text.between(start, end));
            start = end;
        }
    }
}

// Native only, as the test that asks is.
#[cfg(all(test, not(target_arch = "wasm32")))]
impl Pre {
    /// How many times the rules look at characters of `text`.
    pub(super) fn looks(&self, text: &str) -> usize {
        let mut text = Text::new(text);
        let mut ends = vec![text.len()];
        for stage in self.stages {
            ends = text.cut(&ends, stage);
        }
        text.looks.get()
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const GPT2: Stage = &[
    |t, at| contraction(t, at, Case::Lower),
    |t, at| spaced_run(t, at, LETTER),
    |t, at| spaced_run(t, at, NUMBER),
    |t, at| spaced_run(t, at, !(SPACE | LETTER | NUMBER)),
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `[\p{P}\$\+<=>\^~\|]+`, GPT-2, `\p{N}+`, `[0-9][0-9][0-9]`
const DEFAULT: &[Stage] = &[
    &[|t, at| run_where(t, at, |c| c.is(PUNCTUATION) || "$+<=>^~|".contains(c.char))],
    GPT2,
    &[|t, at| run(t, at, NUMBER)],
    &[three_digits],
];

/// ``[\p{P}\$\+<=>\^~\|`]+``, GPT-2, `[0-9][0-9][0-9]`
const FALCON: &[Stage] = &[
    &[|t, at| run_where(t, at, |c| c.is(PUNCTUATION) || "$+<=>^~|`".contains(c.char))],
    GPT2,
    &[three_digits],
];

/// `\p{N}`, GPT-2
const DIGITS_THEN_GPT2: &[Stage] = &[&[|t, at| up_to(t, at, NUMBER, 1)], GPT2];

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const LLAMA3: Stage = &[
    |t, at| contraction(t, at, Case::Any),
    |t, at| led_run(t, at, LETTER | NUMBER, LETTER),
    |t, at| up_to(t, at, NUMBER, 3),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// Like Llama 3, with `\p{N}`
const QWEN2: Stage = &[
    |t, at| contraction(t, at, Case::Any),
    |t, at| led_run(t, at, LETTER | NUMBER, LETTER),
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `[^\n]+|[\n]+`
const LINES: Stage = &[
    |t, at| run_where(t, at, |c| c.char != '\n'),
    |t, at| run_where(t, at, |c| c.char == '\n'),
];

/// Like Qwen 2, with marks as letters: `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+`, ` ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*`
const QWEN35: Stage = &[
    |t, at| contraction(t, at, Case::Any),
    |t, at| led_run(t, at, LETTER | NUMBER, LETTER | MARK),
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| signs(t, at, !(SPACE | LETTER | MARK | NUMBER), "\r\n"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
/// `|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}`
/// `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`: the model's own expression. (llama.cpp's differs for marks
/// and for letters beyond ASCII, where its regular expressions have no notion of case.)
const TEKKEN: Stage = &[
    |t, at| cased_word(t, at, Tail::None),
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n/"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// Like Tekken, with `(?i:'s|'t|'re|'ve|'m|'ll|'d)?` after each word, and `\p{N}{1,3}`
const GPT4O: Stage = &[
    |t, at| cased_word(t, at, Tail::Contraction),
    |t, at| up_to(t, at, NUMBER, 3),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n/"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+``
/// `| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const DEEPSEEK3: &[Stage] = &[
    &[|t, at| up_to(t, at, NUMBER, 3)],
    &[|t, at| {
        run_where(
            t,
            at,
            |c| matches!(c.char, '\u{4e00}'..='\u{9fa5}' | '\u{3040}'..='\u{30ff}'),
        )
    }],
    &[
        ascii_sign_and_letters,
        |t, at| led_run(t, at, LETTER | PUNCTUATION | SYMBOL, LETTER | MARK),
        |t, at| signs(t, at, PUNCTUATION | SYMBOL, "\r\n"),
        spaces_and_newlines,
        spaces_but_the_last,
        |t, at| run(t, at, SPACE),
    ],
];

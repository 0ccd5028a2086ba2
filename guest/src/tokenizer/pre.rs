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

/// Which words become one token, without merges, where the vocabulary has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    None,
    /// Runs of newlines, of which not all are merges.
    Newlines,
    All,
}

/// Whether a text starts with the begin-of-sequence token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddBos {
    /// If the file says so.
    IfSaid,
    /// Unless the file denies it.
    UnlessDenied,
    /// Whatever the file says.
    Always,
}

/// A pre-tokenizer: stages, each of which splits the previous one's words, and related settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pre {
    stages: &'static [Stage],
    pub(super) alphabet: Alphabet,
    pub(super) whole: Whole,
    pub(super) add_bos: AddBos,
}

impl Pre {
    /// The pre-tokenizer that llama.cpp's converter calls `name`.
    ///
    /// # Errors
    /// `unsupported` for an unknown name: a different pre-tokenizer would give different tokens than the model was
    /// trained on.
    pub(super) fn named(name: &str) -> Result<Self> {
        let plain = |stages| Self {
            stages,
            alphabet: Alphabet::Bytes,
            whole: Whole::None,
            add_bos: AddBos::IfSaid,
        };
        let whole = |stages| Self {
            whole: Whole::All,
            ..plain(stages)
        };
        let with_bos = |pre| Self {
            add_bos: AddBos::UnlessDenied,
            ..pre
        };
        let characters = |stages| Self {
            alphabet: Alphabet::Characters,
            ..plain(stages)
        };
        Ok(match name {
            "default" => plain(DEFAULT),
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "gigachat" | "a.x-4.0" | "mellum"
            | "modern-bert" | "exaone4" | "trillion" | "granite-docling" | "jina-es"
            | "jina-de" | "jina-v1-en" | "jina-v2-es" | "jina-v2-de" | "jina-v2-code"
            | "roberta-bpe" => plain(&[GPT2]),
            "falcon" => plain(FALCON),
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone"
            | "minerva-7b" | "mellum2" => plain(DIGITS_THEN_GPT2),
            "chameleon" => with_bos(plain(CHAMELEON)),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral"
            | "midm-2.0" | "lfm2" | "jina-v5-nano" => with_bos(whole(&[LLAMA3])),
            "glm4" | "glm5" => whole(&[LLAMA3]),
            "dbrx" | "smaug-bpe" | "chatglm-bpe" => plain(&[LLAMA3]),
            "jais-2" => plain(&[JAIS2]),
            "minicpm5" => whole(MINICPM5),
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2"
            | "hunyuan" | "solar-open" | "grok-2" | "bailingmoe" | "bailingmoe2" | "llada-moe" => {
                plain(&[QWEN2])
            }
            "laguna" => plain(LAGUNA),
            "ufakzeka" => plain(&[UFAKZEKA]),
            "seed-coder" => plain(&[SEED_CODER]),
            "exaone-moe" => plain(&[EXAONE_MOE]),
            "qwen35" => plain(&[QWEN35]),
            "tekken" => with_bos(whole(&[TEKKEN])),
            "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => plain(&[GPT4O]),
            "granite-embed-multi-97m" => whole(&[GPT4O]),
            "tiny_aya" | "cohere2moe" => plain(TINY_AYA),
            "youtu" => whole(YOUTU),
            "kimi-k2" => plain(&[KIMI_K2]),
            "gemma4" | "granite-embed-multi-311m" => Self {
                whole: Whole::Newlines,
                add_bos: AddBos::Always,
                ..characters(&[LINES])
            },
            "sarvam-moe" => characters(&[LINES]),
            "deepseek-llm" => plain(DEEPSEEK),
            "deepseek-coder" => plain(DEEPSEEK_CODER),
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => plain(DEEPSEEK3),
            "spark2_5" => plain(SPARK),
            "afmoe" => plain(AFMOE),
            "poro-chat" | "bloom" | "gpt3-finnish" => plain(&[BLOOM]),
            "viking" => plain(VIKING),
            "superbpe" => plain(SUPERBPE),
            other => {
                return Err(unsupported(
                    "tokenizer.ggml.pre",
                    "a pre-tokenizer that this engine supports, such as llama-bpe, qwen2, smollm or gpt-2",
                    format!("`{}`", other.escape_default()),
                ));
            }
        })
    }

    /// Whether `word` becomes one token if the vocabulary has it.
    pub(super) fn keeps_whole(&self, word: &str) -> bool {
        match self.whole {
            Whole::None => false,
            Whole::Newlines => word.starts_with('\n'),
            Whole::All => true,
        }
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

/// `\p{N}`
const SINGLE_NUMBERS: Stage = &[|t, at| up_to(t, at, NUMBER, 1)];

/// `\p{N}{1,3}`
const UP_TO_THREE_NUMBERS: Stage = &[|t, at| up_to(t, at, NUMBER, 3)];

/// `\p{N}`, GPT-2
const DIGITS_THEN_GPT2: &[Stage] = &[SINGLE_NUMBERS, GPT2];

/// `<sentinel:[0-9]+>`, `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, `([\t\n]|    |  )`, `\p{N}`,
/// ``[\p{P}!-/:-@\[-`{-~]``, GPT-2
const CHAMELEON: &[Stage] = &[
    &[sentinel],
    &[image],
    &[
        |t, at| one_where(t, at, |c| matches!(c.char, '\t' | '\n')),
        |t, at| literal(t, at, "    "),
        |t, at| literal(t, at, "  "),
    ],
    SINGLE_NUMBERS,
    &[|t, at| {
        one_where(t, at, |c| {
            c.is(PUNCTUATION) || c.char.is_ascii_punctuation()
        })
    }],
    GPT2,
];

/// ` ?[^(\s|.,!?…。，、।۔،)]+`
const BLOOM: Stage = &[|t, at| {
    spaced_run_where(t, at, |c| {
        !c.is(SPACE) && !"(|.,!?…。，、।۔،)".contains(c.char)
    })
}];

/// Bloom, `\p{N}`
const VIKING: &[Stage] = &[BLOOM, SINGLE_NUMBERS];

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

/// Like Llama 3, with `\s{512}(?!\S)|\s{256}(?!\S)|` and so on, and `\s{1}` at last, for white space
const JAIS2: Stage = &[
    |t, at| contraction(t, at, Case::Any),
    |t, at| led_run(t, at, LETTER | NUMBER, LETTER),
    |t, at| up_to(t, at, NUMBER, 3),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n"),
    spaces_and_newlines,
    spaces_by_powers_of_two,
];

/// `\p{N}{1,3}`, and like Llama 3 with `\p{N}+`
const MINICPM5: &[Stage] = &[
    UP_TO_THREE_NUMBERS,
    &[
        |t, at| contraction(t, at, Case::Any),
        |t, at| led_run(t, at, LETTER | NUMBER, LETTER),
        |t, at| run(t, at, NUMBER),
        |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n"),
        spaces_and_newlines,
        spaces_but_the_last,
        |t, at| run(t, at, SPACE),
    ],
];

/// Like Llama 3, with `\p{N}`. (Ling's expression has `\s*[\r\n]`, which matches the same as `\s*[\r\n]+`.)
const QWEN2: Stage = &[
    |t, at| contraction(t, at, Case::Any),
    |t, at| led_run(t, at, LETTER | NUMBER, LETTER),
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `(?:\r?\n)+(?!\r?\n)`, each merged with the text up to the next; Qwen 2: the model's own expressions. (llama.cpp takes
/// [`LINES`] for the first, and so cuts `\r\n` in two.)
const LAGUNA: &[Stage] = &[&[line_with_breaks_before], QWEN2];

/// Like Qwen 2, without contractions
const UFAKZEKA: Stage = &[
    |t, at| led_run(t, at, LETTER | NUMBER, LETTER),
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// Like Qwen 2, with ` ?[^\s\p{L}\p{N}\r\n]+`
const SEED_CODER: Stage = &[
    |t, at| contraction(t, at, Case::Any),
    |t, at| led_run(t, at, LETTER | NUMBER, LETTER),
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| spaced_run(t, at, !(SPACE | LETTER | NUMBER)),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// Like Qwen 2, with `[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`, ` ?[^\s\p{L}\p{N}]+[\r\n/]?`
const EXAONE_MOE: Stage = &[
    |t, at| contraction(t, at, Case::Any),
    led_phrase,
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| {
        let end = spaced_run(t, at, !(SPACE | LETTER | NUMBER))?;
        one_where(t, end, |c| "\r\n/".contains(c.char)).or(Some(end))
    },
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
    |t, at| cased_word(t, at, Script::Any, Tail::None),
    |t, at| up_to(t, at, NUMBER, 1),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n/"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// Like Tekken, with `(?i:'s|'t|'re|'ve|'m|'ll|'d)?` after each word, and `\p{N}{1,3}`
const GPT4O: Stage = &[
    |t, at| cased_word(t, at, Script::Any, Tail::Contraction),
    |t, at| up_to(t, at, NUMBER, 3),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n/"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `\d{1,3}(?=(?:\d{3})*\b)`, GPT-4o: the model's own expressions. (llama.cpp's group digits before a letter too.)
const TINY_AYA: &[Stage] = &[&[three_from_the_end_of_a_word], GPT4O];

/// `[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+`, and like GPT-4o with `\p{N}`
const YOUTU: &[Stage] = &[
    &[
        |t, at| run_where(t, at, |c| matches!(c.char, '가'..='힣' | 'ㄱ'..='ㆎ')),
        |t, at| {
            run_where(t, at, |c| {
                matches!(c.char, '\u{3001}'..='\u{303f}' | '\u{fe30}'..='\u{fe4f}')
                    || "！…“”‘’—：；，".contains(c.char)
            })
        },
        |t, at| run_where(t, at, |c| matches!(c.char, 'ㄅ'..='ㄯ')),
        |t, at| run_where(t, at, is_chinese_or_kana),
    ],
    &[
        |t, at| cased_word(t, at, Script::Any, Tail::Contraction),
        |t, at| up_to(t, at, NUMBER, 1),
        |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n/"),
        spaces_and_newlines,
        spaces_but_the_last,
        |t, at| run(t, at, SPACE),
    ],
];

/// `[\p{Han}]+`, and like GPT-4o with `&&[^\p{Han}]` for letters and marks, and ` ?[^\s\p{L}\p{N}]+[\r\n]*`: the model's own
/// expression. (llama.cpp's code has no notion of case or marks, and does not count the signs of Chinese script.)
const KIMI_K2: Stage = &[
    |t, at| run_where(t, at, |c| is_han(c.char)),
    |t, at| cased_word(t, at, Script::NotHan, Tail::Contraction),
    |t, at| up_to(t, at, NUMBER, 3),
    |t, at| signs(t, at, !(SPACE | LETTER | NUMBER), "\r\n"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `[\r\n]`
const SINGLE_NEWLINES: Stage = &[|t, at| one_where(t, at, |c| matches!(c.char, '\r' | '\n'))];

/// `[一-龥ࠀ-一가-퟿]+`
const EAST_ASIAN: Stage = &[|t, at| {
    run_where(
        t,
        at,
        |c| matches!(c.char, '\u{800}'..='\u{9fa5}' | '\u{ac00}'..='\u{d7ff}'),
    )
}];

/// `[\r\n]`, `\s?[A-Za-zµÀ-ÖØ-ö...]+` (letters with case), `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}+`
const DEEPSEEK: &[Stage] = &[
    SINGLE_NEWLINES,
    &[|t, at| led_by_space(t, at, |c| is_deepseek_letter(c.char))],
    &[|t, at| {
        led_by_space(t, at, |c| {
            matches!(c.char, '!'..='/' | ':'..='~' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff5e}'
                | '\u{2018}'..='\u{201f}' | '\u{3000}'..='\u{3002}')
        })
    }],
    &[last_spaces],
    EAST_ASIAN,
    &[|t, at| run(t, at, NUMBER)],
];

/// `[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}`
const DEEPSEEK_CODER: &[Stage] = &[
    SINGLE_NEWLINES,
    &[|t, at| led_by_space(t, at, |c| c.is(LETTER))],
    &[|t, at| led_by_space(t, at, |c| c.is(PUNCTUATION))],
    EAST_ASIAN,
    SINGLE_NUMBERS,
];

/// `[一-龥぀-ゟ゠-ヿ]`
fn is_chinese_or_kana(c: Char) -> bool {
    matches!(c.char, '\u{4e00}'..='\u{9fa5}' | '\u{3040}'..='\u{30ff}')
}

/// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+``
/// `| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const SIGNS_LEAD: Stage = &[
    ascii_sign_and_letters,
    |t, at| led_run(t, at, LETTER | PUNCTUATION | SYMBOL, LETTER | MARK),
    |t, at| signs(t, at, PUNCTUATION | SYMBOL, "\r\n"),
    spaces_and_newlines,
    spaces_but_the_last,
    |t, at| run(t, at, SPACE),
];

/// `\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, [`SIGNS_LEAD`]
const DEEPSEEK3: &[Stage] = &[
    UP_TO_THREE_NUMBERS,
    &[|t, at| run_where(t, at, is_chinese_or_kana)],
    SIGNS_LEAD,
];

/// Like DeepSeek 3, with ` ?[\p{P}\p{S}]+|[\r\n]`, then `\p{N}`
const SPARK: &[Stage] = &[
    UP_TO_THREE_NUMBERS,
    &[|t, at| run_where(t, at, is_chinese_or_kana)],
    &[
        ascii_sign_and_letters,
        |t, at| led_run(t, at, LETTER | PUNCTUATION | SYMBOL, LETTER | MARK),
        |t, at| spaced_run(t, at, PUNCTUATION | SYMBOL),
        |t, at| one_where(t, at, |c| matches!(c.char, '\r' | '\n')),
        spaces_but_the_last,
        |t, at| run(t, at, SPACE),
    ],
    SINGLE_NUMBERS,
];

/// `\p{Nd}{1,510}(?=(?>\p{Nd}{510})*(?:\P{Nd}|$))|\G\p{Nd}{510}`, `\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)`, `\A\p{Nd}{3}|\G\p{Nd}{3}` (which
/// together are groups of three from the right), `[一-鿿぀-ゟ゠-ヿ㐀-䶿\uf900-\ufaff･-ﾟ⼀-⿟]+|[\u0e00-\u0e7f]+|[\u0e80-\u0eff]+`
/// `|[ក-\u17ff]+|[က-႟ꩠ-ꩿꧠ-\ua9ff]+|[가-\ud7afᄀ-ᇿ]+`, [`SIGNS_LEAD`]: the model's own expressions. (llama.cpp's leave what
/// precedes digits joined to the first of them, and have one class of characters instead of six.)
const AFMOE: &[Stage] = &[
    &[three_from_the_right],
    &[
        |t, at| {
            run_where(t, at, |c| {
                matches!(c.char, '\u{4e00}'..='\u{9fff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
                    | '\u{f900}'..='\u{faff}' | '\u{ff65}'..='\u{ff9f}' | '\u{2f00}'..='\u{2fdf}')
            })
        },
        |t, at| run_where(t, at, |c| matches!(c.char, '\u{e00}'..='\u{e7f}')),
        |t, at| run_where(t, at, |c| matches!(c.char, '\u{e80}'..='\u{eff}')),
        |t, at| run_where(t, at, |c| matches!(c.char, '\u{1780}'..='\u{17ff}')),
        |t, at| {
            run_where(
                t,
                at,
                |c| matches!(c.char, '\u{1000}'..='\u{109f}' | '\u{aa60}'..='\u{aa7f}' | '\u{a9e0}'..='\u{a9ff}'),
            )
        },
        |t, at| {
            run_where(
                t,
                at,
                |c| matches!(c.char, '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}'),
            )
        },
    ],
    SIGNS_LEAD,
];

/// `\p{N}+`, `(?=(\d{3})+(?!\d))`
const SUPERBPE: &[Stage] = &[&[|t, at| run(t, at, NUMBER)], &[up_to_threes]];

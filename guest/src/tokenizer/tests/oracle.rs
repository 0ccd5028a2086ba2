//! Another implementation as the reference: the `tokenizers` crate, with the models' own regular expressions.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    Model as _, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, SplitDelimiterBehavior,
};

use super::super::pre::{AddBos, Alphabet, Pre, Whole};
use super::super::*;
use super::hostile::{ids, load, set};
use super::reference::metadata;
use crate::gguf::{Array, Value};

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
// Not `(?i:...)`: by Unicode's rules the long s would match an s.
const CONTRACTION: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const SPACES: &str = r"\s*[\r\n]+|\s+(?!\S)|\s+";
const UPPERS: &str = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}";
const LOWERS: &str = r"\p{Ll}\p{Lm}\p{Lo}\p{M}";
const LEAD: &str = r"[^\r\n\p{L}\p{N}]?";
const EAST_ASIAN: &str = "[一-龥ࠀ-一가-퟿]+";
const CHINESE_AND_KANA: &str = "[一-龥぀-ゟ゠-ヿ]+";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
/// Starts a word of Laguna's. (What another expression matches is a word.)
const LINE_BREAKS: &str = r"(?:\r?\n)+(?!\r?\n)";
/// As DeepSeek's first models list them.
const DEEPSEEK_LETTERS: &str = "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";

/// Each pre-tokenizer's published expressions.
fn expressions(name: &str) -> Vec<String> {
    let llama = |numbers: &str, spaces: &str| {
        format!(r"{CONTRACTION}|{LEAD}\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{spaces}")
    };
    let qwen =
        |words: &str, signs: &str| format!("{CONTRACTION}|{words}|\\p{{N}}|{signs}|{SPACES}");
    let words = format!(r"{LEAD}\p{{L}}+");
    let signs = r" ?[^\s\p{L}\p{N}]+[\r\n]*";
    let cased = |numbers: &str, signs: &str, tail: &str, but: &str| {
        let (uppers, lowers) = (format!("[{UPPERS}{but}]"), format!("[{LOWERS}{but}]"));
        let words = format!("{LEAD}{uppers}*{lowers}+{tail}|{LEAD}{uppers}+{lowers}*{tail}");
        format!("{words}|{numbers}|{signs}|{SPACES}")
    };
    let cased_signs = r" ?[^\s\p{L}\p{N}]+[\r\n/]*";
    let contraction = format!("{CONTRACTION}?");
    let signs_lead = |signs: &str| {
        let ascii = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##;
        format!(
            r"{ascii}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+{signs}"
        )
    };
    let three = "[0-9][0-9][0-9]".to_string();
    match name {
        "gpt-2" => vec![GPT2.into()],
        "default" => {
            vec![
                r"[\p{P}\$\+<=>\^~\|]+".into(),
                GPT2.into(),
                r"\p{N}+".into(),
                three,
            ]
        }
        "falcon" => vec![r"[\p{P}\$\+<=>\^~\|`]+".into(), GPT2.into(), three],
        "smollm" => vec![r"\p{N}".into(), GPT2.into()],
        "chameleon" => vec![
            "<sentinel:[0-9]+>".into(),
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z".into(),
            r"([\t\n]|    |  )".into(),
            r"\p{N}".into(),
            r"[\p{P}!-/:-@\[-`{-~]".into(),
            GPT2.into(),
        ],
        "llama-bpe" => vec![llama(r"\p{N}{1,3}", SPACES)],
        "jais-2" => {
            let counts = [512, 256, 128, 64, 32, 16, 8, 4];
            let spaces = counts
                .map(|count| format!(r"\s{{{count}}}(?!\S)|"))
                .concat();
            let spaces = format!(r"\s*[\r\n]+|{spaces}\s{{1,2}}(?!\S)|\s{{1}}");
            vec![llama(r"\p{N}{1,3}", &spaces)]
        }
        "minicpm5" => vec![r"\p{N}{1,3}".into(), llama(r"\p{N}+", SPACES)],
        "qwen2" => vec![qwen(&words, signs)],
        "bailingmoe" => vec![qwen(&words, signs).replace(r"[\r\n]+|", r"[\r\n]|")],
        "laguna" => vec![LINE_BREAKS.into(), qwen(&words, signs)],
        "ufakzeka" => vec![format!(r"{words}|\p{{N}}|{signs}|{SPACES}")],
        "seed-coder" => vec![qwen(&words, r" ?[^\s\p{L}\p{N}\r\n]+")],
        "exaone-moe" => vec![
            qwen(
                &format!(r"{LEAD}(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+"),
                r" ?[^\s\p{L}\p{N}]+[\r\n/]?",
            )
            .replace(r"[\r\n]+|", r"[\r\n]|"),
        ],
        "qwen35" => vec![qwen(
            &format!(r"{LEAD}[\p{{L}}\p{{M}}]+"),
            r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        )],
        "gemma4" => vec![r"[^\n]+|[\n]+".into()],
        "tekken" => vec![cased(r"\p{N}", cased_signs, "", "")],
        "gpt-4o" => vec![cased(r"\p{N}{1,3}", cased_signs, &contraction, "")],
        "tiny_aya" => vec![
            // Behind a digit, where `\b` matches is where no `\w` follows. The engine here has another `\w`.
            r"\d{1,3}(?=(?:\d{3})*(?![\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]))".into(),
            cased(r"\p{N}{1,3}", cased_signs, &contraction, ""),
        ],
        "youtu" => vec![
            format!("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|{CHINESE_AND_KANA}"),
            cased(r"\p{N}", cased_signs, &contraction, ""),
        ],
        "kimi-k2" => {
            let rest = cased(r"\p{N}{1,3}", signs, &contraction, r"&&[^\p{Han}]");
            vec![format!(r"[\p{{Han}}]+|{rest}")]
        }
        "deepseek-llm" => vec![
            r"[\r\n]".into(),
            format!(r"\s?[{DEEPSEEK_LETTERS}]+"),
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+".into(),
            r"\s+$".into(),
            EAST_ASIAN.into(),
            r"\p{N}+".into(),
        ],
        "deepseek-coder" => vec![
            r"[\r\n]".into(),
            r"\s?\p{L}+".into(),
            r"\s?\p{P}+".into(),
            EAST_ASIAN.into(),
            r"\p{N}".into(),
        ],
        "deepseek-v3" => vec![
            r"\p{N}{1,3}".into(),
            CHINESE_AND_KANA.into(),
            signs_lead(&format!(r"[\r\n]*|{SPACES}")),
        ],
        "spark2_5" => vec![
            r"\p{N}{1,3}".into(),
            CHINESE_AND_KANA.into(),
            signs_lead(r"|[\r\n]|\s+(?!\S)|\s+"),
            r"\p{N}".into(),
        ],
        "afmoe" => vec![
            // 510 in the model's own; any other multiple of 3 does the same.
            r"\p{Nd}{1,6}(?=(?>\p{Nd}{6})*(?:\P{Nd}|$))|\G\p{Nd}{6}".into(),
            r"\A\p{Nd}{1,2}(?=(?:\p{Nd}{3})+\z)".into(),
            r"\A\p{Nd}{3}|\G\p{Nd}{3}".into(),
            [
                r"[\u4E00-\u9FFF\u3040-\u309F\u30A0-\u30FF\u3400-\u4DBF\uf900-\uFAFF\uFF65-\uFF9F\u2F00-\u2FDF]+",
                r"[\u0E00-\u0E7F]+",
                r"[\u0E80-\u0EFF]+",
                r"[\u1780-\u17FF]+",
                r"[\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF]+",
                r"[\uAC00-\uD7AF\u1100-\u11FF]+",
            ]
            .join("|"),
            signs_lead(&format!(r"[\r\n]*|{SPACES}")),
        ],
        "bloom" => vec![BLOOM.into()],
        "viking" => vec![BLOOM.into(), r"\p{N}".into()],
        "superbpe" => vec![r"\p{N}+".into(), r"(?=(\d{3})+(?!\d))".into()],
        other => panic!("no expressions for {other}"),
    }
}

fn judge(name: &str) -> Sequence {
    let split = |expression: String| {
        let behavior = match expression.as_str() {
            LINE_BREAKS => SplitDelimiterBehavior::MergedWithNext,
            _ => SplitDelimiterBehavior::Isolated,
        };
        let pattern = SplitPattern::Regex(expression);
        Split::new(pattern, behavior, false)
            .expect("an expression")
            .into()
    };
    Sequence::new(expressions(name).into_iter().map(split).collect())
}

fn judged(judge: &Sequence, text: &str) -> Vec<String> {
    let mut words = PreTokenizedString::from(text);
    judge.pre_tokenize(&mut words).expect("words");
    let words = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
    words
        .into_iter()
        .map(|(word, _, _)| word.to_string())
        .collect()
}

fn words(name: &str, text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let pre = Pre::named(name).expect("a known one");
    pre.split(text, |word| words.push(word.to_string()));
    words
}

/// A name for each list of expressions.
const NAMES: [&str; 29] = [
    "gpt-2",
    "default",
    "falcon",
    "smollm",
    "chameleon",
    "bloom",
    "viking",
    "llama-bpe",
    "jais-2",
    "minicpm5",
    "qwen2",
    "bailingmoe",
    "laguna",
    "ufakzeka",
    "seed-coder",
    "exaone-moe",
    "qwen35",
    "gemma4",
    "tekken",
    "gpt-4o",
    "tiny_aya",
    "youtu",
    "kimi-k2",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "spark2_5",
    "afmoe",
    "superbpe",
];

/// llama.cpp's names in its order, without `whitespace`, which is a kind of its own; and its `ignore_merges` and `add_bos`.
#[test]
fn every_name_of_llama_cpp_is_known() {
    const NAMES: &str = "default minicpm5 llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 \
        jina-v5-nano deepseek-llm deepseek-coder deepseek-v3 spark2_5 youtu falcon mpt starcoder gpt-2 phi-2 \
        jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jais-2 gemma4 \
        granite-embed-multi-311m sarvam-moe jina-v1-en jina-v2-code roberta-bpe refact command-r qwen2 \
        deepseek-r1-qwen kormo f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe poro-chat chatglm-bpe glm4 glm5 \
        viking jais tekken smollm codeshell bloom gpt3-finnish exaone exaone4 exaone-moe chameleon minerva-7b \
        megrez gpt-4o llama4 kanana2 talkie granite-embed-multi-97m tiny_aya cohere2moe superbpe trillion \
        granite-docling bailingmoe bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 \
        ufakzeka grok-2 afmoe laguna minimax-m2 solar-open mellum2";
    const LLAMA3: [&str; 9] = [
        "llama3",
        "llama-v3",
        "llama-bpe",
        "falcon3",
        "falcon-h1",
        "pixtral",
        "midm-2.0",
        "lfm2",
        "jina-v5-nano",
    ];
    const WHOLE: [&str; 6] = [
        "minicpm5",
        "youtu",
        "glm4",
        "glm5",
        "tekken",
        "granite-embed-multi-97m",
    ];
    const BOS: [&str; 2] = ["tekken", "chameleon"];
    const GEMMA: [&str; 2] = ["gemma4", "granite-embed-multi-311m"];
    for name in NAMES.split_whitespace() {
        let pre = Pre::named(name).expect(name);
        let llama = LLAMA3.contains(&name);
        let gemma = GEMMA.contains(&name);
        let whole = llama || WHOLE.contains(&name);
        assert_eq!(pre.whole == Whole::All, whole, "{name}");
        assert_eq!(pre.whole == Whole::Newlines, gemma, "{name}");
        let bos = llama || BOS.contains(&name);
        assert_eq!(pre.add_bos == AddBos::UnlessDenied, bos, "{name}");
        assert_eq!(pre.add_bos == AddBos::Always, gemma, "{name}");
        let characters = gemma || name == "sarvam-moe";
        assert_eq!(pre.alphabet == Alphabet::Characters, characters, "{name}");
    }
}

fn awkward_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => "[ \t\r\n\u{a0}\u{85}\u{3000}]{0,5}",
        1 => "(\r?\n){0,3}",
        3 => "[a-zA-ZÀ-ÿǅʰªаЯ漢あᚠ\u{301}\u{93f}]{0,8}",
        2 => "['’](s|S|t|re|VE|m|Ll|d|x)?",
        2 => "[0-9½²٣Ⅷ]{0,8}",
        1 => "[0-9]{0,14}[ _a\u{200d}\u{301}½]?",
        1 => " {0,40}",
        1 => "([a-z漢A] ?){0,5}",
        1 => "[가힣ㄱㅄㄅㄬ々⼀〇豈\u{fad9}ﾟ한ไကꩠຂដមĿꜳƻა！：。、।۔「﹏‘—\u{3000}\u{2003}]{0,6}",
        1 => prop::sample::select(vec!["<sentinel:12>", "<sentinel:>", "IMGIMGABZ", "IMGIMGABCDEZ", "IMGIMGZ"])
            .prop_map(str::to_string),
        2 => "[!-/:-@\\[-`{-~…€©+<=>^~|$]{0,5}",
        1 => "[\u{0}\u{1f}\u{200d}\u{e000}\u{378}🚀/]{0,3}",
        1 => any::<String>(),
    ];
    prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn words_are_those_of_the_regular_expressions(texts in prop::collection::vec(awkward_text(), 24)) {
        for name in NAMES {
            let judge = judge(name);
            for text in &texts {
                prop_assert_eq!(words(name, text), judged(&judge, text), "{}: {:?}", name, text);
            }
        }
    }
}

/// The crate's model, built from the same lists.
fn judge_of_merges(metadata: &Metadata, ignore_merges: bool) -> BPE {
    let strings = |key: &str| -> Vec<String> {
        let array = metadata.strings(key).expect("strings").expect("the key");
        array
            .iter_strings()
            .map(|s| String::from_utf8(s.to_vec()).expect("UTF-8"))
            .collect()
    };
    let vocab: tokenizers::models::bpe::Vocab = strings("tokenizer.ggml.tokens")
        .into_iter()
        .zip(0..)
        .collect();
    let merges = strings("tokenizer.ggml.merges").into_iter().map(|merge| {
        let (left, right) = merge.split_once(' ').expect("a pair");
        (left.to_string(), right.to_string())
    });
    let builder = BPE::builder().vocab_and_merges(vocab, merges.collect());
    builder
        .byte_fallback(true)
        .ignore_merges(ignore_merges)
        .build()
        .expect("a model")
}

#[test]
fn merges_give_the_tokens_of_the_tokenizers_crate() {
    for name in ["qwen2", "llama-bpe", "gpt-2", "falcon"] {
        let Some(metadata) = metadata(&format!("vocab/ggml-vocab-{name}.gguf")) else {
            return;
        };
        compare_with_judge(name, &metadata);
    }
}

#[test]
fn merges_of_a_vocabulary_of_our_own_give_the_tokens_of_the_tokenizers_crate() {
    let characters = ["gemma4", "granite-embed-multi-311m", "sarvam-moe"];
    for name in ["qwen2", "llama-bpe", "gpt-2", "falcon", "superbpe", "glm4"]
        .into_iter()
        .chain(characters)
    {
        compare_with_judge(name, &trained(name, 500));
    }
}

fn compare_with_judge(name: &str, metadata: &Metadata) {
    let pre = Pre::named(name).expect("a known one");
    let judge = judge_of_merges(metadata, pre.whole == Whole::All);
    let ours = Tokenizer::from_metadata(metadata).expect("a tokenizer");
    for text in awkward_texts(2_000) {
        let mut expected = Vec::new();
        pre.split(&text, |word| {
            if pre.whole == Whole::Newlines
                && word.starts_with('\n')
                && let Some(token) = ours.token_named(word)
            {
                return expected.push(token);
            }
            let tokens = judge.tokenize(&spelled(pre, word)).expect("tokens");
            expected.extend(tokens.into_iter().map(|token| token.id));
        });
        let options = EncodeOptions {
            add_special: false,
            parse_special: false,
        };
        assert_eq!(
            ours.encode(&text, options),
            Ok(expected),
            "{name}: {text:?}"
        );
    }
}

/// The same texts in every run.
fn awkward_texts(count: usize) -> impl Iterator<Item = String> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..count).map(move |_| {
        let text = awkward_text().new_tree(&mut runner);
        text.expect("a text").current()
    })
}

fn in_byte_characters(word: impl IntoIterator<Item = u8>) -> String {
    word.into_iter().map(super::super::bpe::char_of).collect()
}

/// A word in the symbols that merges start from.
fn spelled(pre: Pre, word: &str) -> String {
    match pre.alphabet {
        Alphabet::Bytes => in_byte_characters(word.bytes()),
        Alphabet::Characters => word.replace(' ', "▁"),
    }
}

/// The tokens that merges start from, and those that stand for bytes by name.
fn first_tokens(pre: Pre) -> (Vec<String>, usize) {
    if pre.alphabet == Alphabet::Bytes {
        let tokens = (0..=255).map(|byte| in_byte_characters([byte]));
        return (tokens.collect(), 0);
    }
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    // Many characters have no token, and are spelled in bytes.
    let characters = (' '..='~')
        .filter(|c| *c != ' ')
        .chain("▁\n漢éЯ\u{301}".chars());
    let runs = ["\n\n\n".to_owned()];
    let tokens = bytes.chain(characters.map(String::from)).chain(runs);
    (tokens.collect(), 256)
}

/// A vocabulary trained as byte-pair encoding is: the first tokens, and `merges` times the most frequent pair.
fn trained(pre: &str, merges: usize) -> Metadata {
    let cut = Pre::named(pre).expect("a known one");
    let mut words: Vec<Vec<String>> = Vec::new();
    for text in awkward_texts(500) {
        cut.split(&text, |word| {
            let word = spelled(cut, word);
            words.push(word.chars().map(String::from).collect());
        });
    }
    let (mut tokens, n_bytes) = first_tokens(cut);
    words = words
        .into_iter()
        .flat_map(|word| {
            let parts = word.split(|symbol| !tokens.contains(symbol));
            parts.map(<[String]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    let mut lines = Vec::new();
    while lines.len() < merges {
        let mut counts = std::collections::BTreeMap::new();
        for pair in words.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((&pair[0], &pair[1])).or_insert(0) += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let ((left, right), _) = most.expect("a pair");
        let (left, right) = (left.clone(), right.clone());
        let merged = format!("{left}{right}");
        for word in &mut words {
            let mut at = 0;
            while at + 1 < word.len() {
                if word[at] == left && word[at + 1] == right {
                    word[at] = merged.clone();
                    word.remove(at + 1);
                }
                at += 1;
            }
        }
        lines.push(format!("{left} {right}"));
        // Two ways may lead to the same token; it is in the vocabulary once.
        if !tokens.contains(&merged) {
            tokens.push(merged);
        }
    }
    let mut metadata = Metadata::default();
    let mut set = |key: &str, value: Value| {
        assert!(metadata.insert(format!("tokenizer.ggml.{key}"), value));
    };
    // Gemma 4's files have it as a kind of its own.
    set("model", if pre == "gemma4" { pre } else { "gpt2" }.into());
    set("pre", pre.into());
    set("bos_token_id", Value::U32(0));
    set("add_bos_token", false.into());
    let types = (0..tokens.len()).map(|id| if id < n_bytes { 6 } else { 1 });
    set("token_type", Array::i32s(types).into());
    set("tokens", Array::strings(tokens).into());
    set("merges", Array::strings(lines).into());
    metadata
}

/// Texts of a vocabulary, the same in every run: `first`, and 200 that match `text`.
fn drawn<const N: usize>(first: [&str; N], text: &str) -> Vec<String> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut texts = first.map(String::from).to_vec();
    while texts.len() < N + 200 {
        let drawn = text.new_tree(&mut runner).expect("a text").current();
        if !texts.contains(&drawn) {
            texts.push(drawn);
        }
    }
    texts
}

#[test]
fn words_become_the_tokens_of_the_tokenizers_crate() {
    let texts = drawn(
        ["[UNK]", "[CLS]", "[SEP]"],
        "▁?([a-eià漢°,'\\-]|[a-ei]{2,3})",
    );
    let ours = load("bert", |e| {
        set(e, "token_type", Array::i32s(texts.iter().map(|_| 1)).into());
        set(e, "tokens", Array::strings(&texts).into());
    });
    let ours = ours.expect("a tokenizer");
    // The crate marks the tokens that do not begin a word instead of those that do.
    let vocab = (0..)
        .zip(&texts)
        .map(|(id, text)| match text.strip_prefix('▁') {
            Some(text) => (text.to_owned(), id),
            None if id < 3 => (text.clone(), id),
            None => (format!("##{text}"), id),
        });
    let vocab: tokenizers::models::bpe::Vocab = vocab.collect();
    let judge = WordPiece::builder()
        .vocab(vocab)
        .max_input_chars_per_word(1_000);
    let judge = judge.build().expect("a model");
    let normalizer = BertNormalizer::new(true, true, None, true);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..5_000 {
        let text = "([a-eiA-EÀ-Ïàİ漢°,'\\- \t\u{301}\u{ad}\u{fffd}]|[a-e]{2,6}){0,30}";
        let text = text.new_tree(&mut runner).expect("a text").current();
        let mut normalized = NormalizedString::from(text.as_str());
        normalizer.normalize(&mut normalized).expect("a text");
        let mut words = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut words).expect("words");
        let words = words.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        let tokens = words
            .into_iter()
            .flat_map(|(word, _, _)| judge.tokenize(word).expect("tokens"));
        let expected: Vec<u32> = tokens.map(|token| token.id).collect();
        assert_eq!(ids(&ours, &text), expected, "{text:?}");
    }
}

#[test]
fn the_greatest_sum_is_that_of_the_tokenizers_crate() {
    let texts = drawn(["<pad>", "</s>", "<unk>"], "[ab漢é]{1,6}|▁[ab漢é]{0,6}");
    let score = |id: usize| match id {
        0..3 => -1.0,
        // The multiples of an irrational number are spread evenly.
        id => -1.0 - 9.0 * (id as f32 * 1.618_034).fract(),
    };
    let scores: Vec<_> = (0..texts.len()).map(score).collect();
    let ours = load("t5", |e| {
        set(
            e,
            "token_type",
            Array::i32s((0..texts.len()).map(|id| if id == 2 { 2 } else { 1 })).into(),
        );
        set(e, "scores", Array::f32s(scores.iter().copied()).into());
        set(e, "tokens", Array::strings(&texts).into());
    });
    let ours = ours.expect("a tokenizer");
    let vocab = texts
        .into_iter()
        .zip(scores.iter().map(|score| f64::from(*score)));
    let judge = Unigram::from(vocab.collect(), Some(2), false).expect("a model");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..5_000 {
        let text = "[ab漢éx ]{0,60}"
            .new_tree(&mut runner)
            .expect("a text")
            .current();
        let tokens = judge.tokenize(&text.replace(' ', "▁")).expect("tokens");
        let expected: Vec<u32> = tokens.into_iter().map(|token| token.id).collect();
        assert_eq!(ids(&ours, &text), expected, "{text:?}");
    }
}

/// Why the engine does not use the crate's pre-tokenizers: they silently stop on a long run of spaces.
#[test]
fn a_long_run_of_spaces_is_cut_where_the_crate_gives_up() {
    let text = format!("{}x", " ".repeat(1_100_000));
    for name in ["llama-bpe", "qwen2", "tekken"] {
        let words = words(name, &text);
        assert_eq!(words.len(), 2, "{name}");
        assert_eq!(words[1], " x", "{name}");
        assert_eq!(
            judged(&judge(name), &text).len(),
            1,
            "{name}: the crate has been fixed"
        );
    }
}

/// Counts, rather than times, the work of splitting.
#[test]
fn cutting_looks_at_a_character_a_bounded_number_of_times() {
    let units = [
        "a",
        " ",
        "A",
        "\n",
        "\r\n ",
        "!",
        "1",
        "'",
        "aA",
        "漢A",
        "\u{301}",
        " \u{301}",
        "'ll",
        "A漢",
        "漢 ",
        "1a",
        "1½",
        "_1",
        "12 ",
        "<sentinel:",
        "IMGIMG",
        "a b ",
    ];
    for name in NAMES {
        for unit in units {
            let text = unit.repeat(100_000 / unit.len());
            let looks = Pre::named(name).expect("a known one").looks(&text);
            assert!(
                looks <= 40 * text.len(),
                "{name}: {looks} for {} of {unit:?}",
                text.len()
            );
        }
    }
}

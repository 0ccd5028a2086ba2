//! WordPiece, the unigram model and the tokenizers of RWKV and PLaMo 2, each on random vocabularies against a search
//! that tries everything.

use proptest::prelude::*;

use super::super::*;
use super::hostile::{ids, load, set};
use crate::gguf::Array;

/// A vocabulary: three tokens, of which the last is unknown text, and then these, all of them text, or named bytes.
fn tokenizer(kind: &str, texts: &[String], scores: &[f32]) -> Tokenizer {
    let tokenizer = load(kind, |e| {
        let named = ["<x>", "<y>", "<unk>"].map(String::from);
        let all = named.into_iter().chain(texts.iter().cloned());
        set(e, "tokens", Array::strings(all.collect::<Vec<_>>()).into());
        let ty = |text: &String| if text.starts_with("<0x") { 6 } else { 1 };
        let types = [3, 3, 2].into_iter().chain(texts.iter().map(ty));
        set(e, "token_type", Array::i32s(types).into());
        let scores = [0.0; 3].into_iter().chain(scores.iter().copied());
        set(e, "scores", Array::f32s(scores).into());
        set(e, "unknown_token_id", 2.into());
        set(e, "seperator_token_id", 1.into());
    });
    tokenizer.expect("a tokenizer")
}

/// Different texts, each with a score. Sums of these scores are exact.
fn vocabulary(text: &'static str) -> impl Strategy<Value = (Vec<String>, Vec<f32>)> {
    let tokens = prop::collection::btree_map(text, 1..4_000_000u32, 0..40);
    tokens.prop_map(|tokens| {
        let scores = tokens.values().map(|n| -(*n as f32) / 262_144.0).collect();
        (tokens.into_keys().collect(), scores)
    })
}

/// The longest of `texts` that `text` starts with, and its token.
fn longest<'t>(texts: &'t [String], text: &str) -> Option<(u32, &'t str)> {
    let fitting = (3..)
        .zip(texts)
        .filter(|(_, other)| text.starts_with(*other));
    let longest = fitting.max_by_key(|(_, other)| other.len());
    longest.map(|(id, other)| (id, other.as_str()))
}

/// The spelling of `text` with the greatest sum. Of equal ones, the one whose last token is the longest.
fn best_spelling((texts, scores): (&[String], &[f32]), text: &str) -> Vec<u32> {
    let unknown = scores.iter().copied().fold(f32::MAX, f32::min) - 10.0;
    let mut best = vec![(f64::NEG_INFINITY, Vec::<u32>::new()); text.len() + 1];
    best[0].0 = 0.0;
    for end in (1..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        for start in (0..end).filter(|start| text.is_char_boundary(*start)) {
            let token = &text[start..end];
            let (id, score) = match texts.iter().position(|other| other == token) {
                Some(at) => (at as u32 + 3, scores[at]),
                None if token.chars().count() == 1 => (2, unknown),
                None => continue,
            };
            let sum = best[start].0 + f64::from(score);
            if sum > best[end].0 {
                best[end] = (sum, [&best[start].1[..], &[id][..]].concat());
            }
        }
    }
    let mut tokens = best.swap_remove(text.len()).1;
    tokens.dedup_by(|a, b| *a == 2 && *b == 2);
    tokens
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_word_is_its_longest_tokens(
        (texts, scores) in vocabulary("▁?[ab漢!]{1,4}"),
        text in "[abABäÄ漢! \u{0}\u{200b}]{0,24}",
    ) {
        let mut expected = Vec::new();
        let plain = text.to_lowercase().replace('ä', "a").replace(['\u{0}', '\u{200b}'], "");
        let plain = plain.replace('漢', " 漢 ").replace('!', " ! ");
        for word in plain.split_whitespace() {
            let (word, before) = (format!("▁{word}"), expected.len());
            let mut rest = word.as_str();
            while !rest.is_empty() {
                let Some((id, token)) = longest(&texts, rest) else {
                    expected.truncate(before);
                    expected.push(2);
                    break;
                };
                expected.push(id);
                rest = &rest[token.len()..];
            }
        }
        let tokenizer = tokenizer("bert", &texts, &scores);
        prop_assert_eq!(ids(&tokenizer, &text), expected.clone());
        let around = tokenizer.encode_whole(&text);
        // `load` has token 1 as the begin; the separator is the same one here.
        prop_assert_eq!(around, Ok([&[1][..], &expected[..], &[1][..]].concat()));
    }

    #[test]
    fn the_greatest_sum_of_scores_wins(
        (texts, scores) in vocabulary("[ab▁漢]{1,4}"),
        text in "[ab 漢é]{0,24}",
    ) {
        let expected = best_spelling((&texts, &scores), &text.replace(' ', "▁"));
        let tokenizer = tokenizer("t5", &texts, &scores);
        prop_assert_eq!(ids(&tokenizer, &text), expected.clone());
        // A prompt is to be continued, so only a whole text has the end of a sequence behind it.
        let prompt = tokenizer.encode(&text, EncodeOptions::default());
        prop_assert_eq!(prompt, Ok(expected.clone()));
        let whole = tokenizer.encode_whole(&text);
        prop_assert_eq!(whole, Ok([&expected[..], &[1][..]].concat()));
    }

    #[test]
    fn the_greatest_sum_of_rounded_scores_wins(
        (texts, scores) in vocabulary("[ab▁漢]{1,4}"),
        text in "[ab 漢é]{0,24}",
    ) {
        // From the end: the tokens and their sum.
        let mut best = vec![(0_i64, Vec::<u32>::new()); text.len() + 1];
        for (at, c) in text.char_indices().rev() {
            let (behind, rest) = &best[at + c.len_utf8()];
            let bytes = c.to_string().into_bytes().into_iter().map(|byte| 3 + u32::from(byte));
            let mut greatest = (behind - 10_000_000, bytes.chain(rest.iter().copied()).collect());
            let mut tokens: Vec<_> = (259..).zip(&texts).zip(&scores).collect();
            tokens.sort_by_key(|((_, token), _)| token.len());
            for ((id, token), score) in tokens {
                if let Some(rest) = text[at..].strip_prefix(token.as_str()) {
                    let (behind, rest) = &best[text.len() - rest.len()];
                    let sum = behind + (f64::from(*score) * 10_000.0).round() as i64;
                    if sum >= greatest.0 {
                        greatest = (sum, [&[id][..], rest].concat());
                    }
                }
            }
            best[at] = greatest;
        }
        let expected = best.swap_remove(0).1;
        let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
        let all: Vec<_> = bytes.chain(texts).collect();
        let scores: Vec<_> = [0.0; 256].into_iter().chain(scores).collect();
        let tokenizer = tokenizer("plamo2", &all, &scores);
        prop_assert_eq!(tokenizer.encode(&text, EncodeOptions::default()), Ok(expected.clone()));
        let back = tokenizer.decode(&expected, SpecialTokens::Hide);
        prop_assert_eq!(back, Ok(text.into_bytes()));
    }

    #[test]
    fn the_longest_bytes_are_a_token(
        (texts, scores) in vocabulary("[ab漢\n]{1,4}"),
        text in "[ab漢\n?]{0,24}",
    ) {
        let mut expected = Vec::new();
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            let found = longest(&texts, rest);
            // A character without a token is unknown byte by byte.
            let (n, id, len) = found.map_or((c.len_utf8(), 2, c.len_utf8()), |(id, token)| (1, id, token.len()));
            expected.extend(std::iter::repeat_n(id, n));
            rest = &rest[len..];
        }
        let escape = |text: &String| text.replace('\n', r"\n").replace('漢', r"\xe6\xbc\xa2");
        let escaped: Vec<_> = texts.iter().map(escape).collect();
        let tokenizer = tokenizer("rwkv", &escaped, &scores);
        prop_assert_eq!(tokenizer.encode(&text, EncodeOptions::default()), Ok(expected.clone()));
        let back = tokenizer.decode(&expected, SpecialTokens::Hide);
        let known = text.chars().all(|c| texts.contains(&c.to_string()));
        prop_assert!(!known || back == Ok(text.into_bytes()));
    }
}

/// Flags turn lower case and the stripping of accents off, each by itself; without a flag of its own, accents go with
/// the case.
#[test]
fn case_and_accents_are_kept_where_the_file_says_so() {
    let texts = ["a", "A", "ä", "Ä", "\u{301}"].map(|text| format!("▁{text}"));
    let tokens = |flags: &[(&str, bool)], text: &str| {
        let tokenizer = load("bert", |e| {
            let named = ["[UNK]", "[CLS]", "[SEP]"].map(String::from);
            set(
                e,
                "tokens",
                Array::strings(named.iter().chain(&texts)).into(),
            );
            for (key, flag) in flags {
                set(e, &format!("normalizer.{key}"), (*flag).into());
            }
        });
        ids(&tokenizer.expect("a tokenizer"), text)
    };
    let text = "a A ä Ä \u{301}";
    assert_eq!(tokens(&[], text), [3, 3, 3, 3]);
    assert_eq!(tokens(&[("lowercase", false)], text), [3, 4, 5, 6, 7]);
    assert_eq!(tokens(&[("strip_accents", false)], text), [3, 3, 5, 5, 7]);
    let strip = [("lowercase", false), ("strip_accents", true)];
    assert_eq!(tokens(&strip, text), [3, 4, 3, 4]);
}

/// White space before the mask of some models is swallowed (llama.cpp's `lstrip`).
#[test]
fn a_mask_swallows_the_white_space_before_it() {
    let text = "a \n<mask> b";
    let tokens = |architecture: &str| {
        let tokenizer = load("t5", |e| {
            let texts = ["<mask>", "</s>", "<unk>", "▁", "a", "b", "\n", "▁a"];
            set(e, "tokens", Array::strings(texts).into());
            e.push(("general.architecture".into(), architecture.into()));
        });
        let options = EncodeOptions {
            add_special: false,
            parse_special: true,
        };
        tokenizer.expect("a tokenizer").encode(text, options)
    };
    assert_eq!(tokens("bert"), Ok(vec![4, 3, 6, 0, 3, 5]));
    assert_eq!(tokens("nomic-bert-moe"), Ok(vec![4, 0, 3, 5]));
}

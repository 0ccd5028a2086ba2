//! `precompiled_charsmap`: sound ones against a search through their rules, and broken ones.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::super::charsmap::Charsmap;
use super::super::*;
use super::hostile::{ids, load, set};
use crate::gguf::Array;

/// What is replaced by what.
type Rules = Vec<(Vec<u8>, Vec<u8>)>;

/// A trie as the file has it: units, of which 0 is free.
struct Builder<'r> {
    rules: &'r Rules,
    /// Where each rule's replacement starts.
    starts: Vec<u32>,
    units: Vec<u32>,
    /// Where children were put: two nodes with one place would have one another's children.
    places: Vec<usize>,
}

impl Builder<'_> {
    /// Gives the node at `at`, to which `key` leads, its value and its children.
    fn place(&mut self, at: usize, key: &[u8]) {
        let mut bytes: Vec<u8> = Vec::new();
        for (other, _) in self.rules {
            if let Some(rest) = other.strip_prefix(key) {
                bytes.push(rest.first().copied().unwrap_or(0));
            }
        }
        bytes.sort_unstable();
        bytes.dedup();
        let is_free = |at: usize| at != 0 && self.units.get(at).is_none_or(|unit| *unit == 0);
        let fits = |place: &usize| {
            let mut children = bytes.iter().map(|byte| place ^ usize::from(*byte));
            !self.places.contains(place) && children.all(is_free)
        };
        let children = (1..).find(fits).expect("a place");
        self.places.push(children);
        self.units
            .resize(self.units.len().max((children | 0xff) + 1), 0);
        self.units[at] |= ((at ^ children) as u32) << 10;
        for &byte in &bytes {
            let child = children ^ usize::from(byte);
            self.units[child] = u32::from(byte) | 1 << 31;
            if byte == 0 {
                let rule = self.rules.iter().position(|(other, _)| other == key);
                self.units[child] |= self.starts[rule.expect("a rule")];
                self.units[at] |= 1 << 8;
            }
        }
        for byte in bytes.into_iter().filter(|byte| *byte != 0) {
            let child = children ^ usize::from(byte);
            self.units[child] = u32::from(byte);
            self.place(child, &[key, &[byte]].concat());
        }
    }
}

fn compiled(rules: &Rules) -> Vec<u8> {
    let (mut replacements, mut starts) = (Vec::new(), Vec::new());
    for (_, replacement) in rules {
        starts.push(replacements.len() as u32);
        replacements.extend_from_slice(replacement);
        replacements.push(0);
    }
    let mut builder = Builder {
        rules,
        starts,
        units: vec![0],
        places: Vec::new(),
    };
    builder.place(0, &[]);
    blob(&builder.units, &replacements)
}

fn blob(units: &[u32], replacements: &[u8]) -> Vec<u8> {
    let mut blob = (4 * units.len() as u32).to_le_bytes().to_vec();
    blob.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    blob.extend_from_slice(replacements);
    blob
}

fn map(blob: Vec<u8>) -> Result<Option<Charsmap>> {
    let mut metadata = Metadata::default();
    let key = "tokenizer.ggml.precompiled_charsmap".to_owned();
    assert!(metadata.insert(key, Array::bytes(blob).into()));
    Charsmap::from_metadata(&metadata)
}

fn rules() -> impl Strategy<Value = Rules> {
    let byte = || prop_oneof![6 => 97..100u8, 1 => 1..=255u8];
    let bytes = move |least: usize| prop::collection::vec(byte(), least..5);
    let rules = prop::collection::btree_map(bytes(1), bytes(0), 1..40);
    rules.prop_map(|rules| rules.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    /// The reference: looks for the longest rule.
    #[test]
    fn the_longest_rule_is_found((rules, texts) in (rules(), rules())) {
        let map = map(compiled(&rules)).expect("a map").expect("rules");
        for (text, more) in texts {
            let text = [text, more].concat();
            let rule = rules.iter().filter(|(key, _)| text.starts_with(key));
            let rule = rule.max_by_key(|(key, _)| key.len());
            let expected = rule.map(|(key, replacement)| (replacement.as_slice(), key.len()));
            prop_assert_eq!(map.longest(&text), Ok(expected), "{:?}", text);
        }
    }

    /// Whatever the bytes are, the end is an answer or an error.
    #[test]
    fn a_damaged_map_gives_an_answer_or_an_error(
        (rules, texts) in (rules(), rules()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = compiled(&rules);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Some(map)) = map(bytes) {
            for (text, more) in texts {
                if let Ok(Some((replacement, len))) = map.longest(&[text.clone(), more.clone()].concat()) {
                    prop_assert!(replacement.len() <= 256 && (1..=text.len() + more.len()).contains(&len));
                }
            }
        }
    }
}

#[track_caller]
fn fails(blob: Vec<u8>, text: &str, expected: &str) {
    let found = map(blob).and_then(|map| {
        let map = map.expect("units");
        map.longest(text.as_bytes()).map(|_| ())
    });
    assert_eq!(found.expect_err(expected).to_string(), expected);
}

const KEY: &str = "tokenizer.ggml.precompiled_charsmap";

#[test]
fn a_map_must_be_a_trie_and_replacements() {
    for bytes in [
        vec![],
        vec![0; 3],
        vec![0; 4],
        vec![8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        vec![255; 40],
    ] {
        let expected = format!(
            "invalid model: {KEY}: expected the length of a trie, the trie, and replacements, found {} bytes",
            bytes.len()
        );
        fails(bytes, "a", &expected);
    }
    // A trie without units replaces nothing.
    assert!(map(vec![3, 0, 0, 0, 1, 2, 3, 4]).expect("a map").is_none());
    let error = load("t5", |e| {
        set(e, "precompiled_charsmap", Array::i32s([1, 2]).into());
    });
    assert_eq!(
        error.expect_err("integers").to_string(),
        format!("invalid model: {KEY}: expected an array of bytes, found an array of 2 i32")
    );
}

/// A map of which `a` leads to index 2, as a node that is `node`, and its value is at index 3.
fn of_a(node: u32, value: u32, replacements: &[u8]) -> Vec<u8> {
    let mut units = vec![0; 256];
    let a = u32::from(b'a');
    units[0] = (a ^ 2) << 10;
    units[2] = a | node;
    units[3] = value;
    blob(&units, replacements)
}

#[test]
fn what_leads_outside_a_map_is_an_error_when_a_text_goes_there() {
    let value = |base: u32| base << 10 | 1 << 8;
    let map = map(of_a(value(1), 1 << 31 | 2, b"x\0yz\0"))
        .expect("a map")
        .expect("units");
    assert_eq!(map.longest(b"ab"), Ok(Some((&b"yz"[..], 1))));
    let outside =
        |at| format!("invalid model: {KEY}: expected indices below 256 in its trie, found {at}");
    fails(of_a(value(1 << 20), 0, b"\0"), "a", &outside((1 << 20) ^ 2));
    fails(of_a(1 << 9 | value(1), 0, b"\0"), "a", &outside(256 ^ 2));
    fails(of_a(1 << 30, 0, b"\0"), "ab", &outside((1 << 20) ^ 2 ^ 98));
    fails(
        of_a(value(1), 1 << 31 | 5, b"x\0yz\0"),
        "a",
        &format!("invalid model: {KEY}: expected replacements before byte 5, found one at 5"),
    );
    let endless = format!(
        "unsupported: {KEY}: expected replacements of at most 256 bytes and a zero, found another at 1"
    );
    fails(of_a(value(1), 1 << 31 | 1, b"\0xyz"), "a", &endless);
    fails(
        of_a(
            value(1),
            1 << 31 | 1,
            &[b"\0".as_slice(), &[b'x'; 257], b"\0"].concat(),
        ),
        "a",
        &endless,
    );
}

/// The node of `a` is its own child, so a text of it could go round for ever, from each of its bytes.
#[test]
fn a_circle_ends() {
    let circle = of_a(u32::from(b'a') << 10, 0, b"\0");
    let expected =
        format!("unsupported: {KEY}: expected keys of at most 256 bytes, found a longer one");
    fails(circle.clone(), &"a".repeat(1_000), &expected);
    let tokenizer = load("t5", |e| {
        set(e, "precompiled_charsmap", Array::bytes(circle).into())
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    // Shorter runs are no key.
    assert_eq!(ids(&tokenizer, "aab"), [4, 6]);
    let options = EncodeOptions::default();
    let error = tokenizer.encode(&"a".repeat(1_000_000), options);
    assert_eq!(error.expect_err("a circle").to_string(), expected);
}

#[test]
fn a_text_that_normalisation_makes_too_long_is_an_error() {
    let rules = vec![(b"a".to_vec(), vec![b'b'; 256])];
    let tokenizer = load("t5", |e| {
        set(
            e,
            "precompiled_charsmap",
            Array::bytes(compiled(&rules)).into(),
        );
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    assert_eq!(ids(&tokenizer, "a"), [5; 256]);
    let error = tokenizer.encode(&"a".repeat(200_000), EncodeOptions::default());
    assert_eq!(
        error.expect_err("too long").to_string(),
        "invalid argument: text: expected at most 50331648 bytes after normalisation, found more"
    );
}

/// Rules meet user-defined tokens and spaces.
#[test]
fn a_text_is_normalised_in_order() {
    let rules: Rules = [
        ("A", "a"),
        ("\t", " "),
        ("ﬁ", "a b"),
        ("b ", "a"),
        ("é", ""),
    ]
    .map(|(key, replacement)| (key.into(), replacement.into()))
    .into();
    let tokens = |flags: [bool; 2], text: &str| {
        let tokenizer = load("t5", |e| {
            set(
                e,
                "precompiled_charsmap",
                Array::bytes(compiled(&rules)).into(),
            );
            set(e, "add_space_prefix", flags[0].into());
            set(e, "remove_extra_whitespaces", flags[1].into());
        });
        let tokenizer = tokenizer.expect("a tokenizer");
        let bytes = tokenizer.decode(&ids(&tokenizer, text), SpecialTokens::Render);
        String::from_utf8(bytes.expect("text")).expect("UTF-8")
    };
    let text = "\tAéﬁ  \tb b";
    assert_eq!(tokens([false, false], text), " aa b   ab");
    assert_eq!(tokens([true, false], text), "  aa b   ab");
    assert_eq!(tokens([false, true], text), " aa b ab");
    assert_eq!(tokens([true, true], text), " aa b ab");
    assert_eq!(tokens([true, true], "é \t"), "");
    // A text of spaces has no word that the extra space could be put before.
    assert_eq!(tokens([true, false], "  "), "  ");
}

/// The start of a user-defined token is not replaced, even if it is no whole character: so does llama.cpp.
#[test]
fn the_start_of_a_user_defined_token_is_not_replaced() {
    let rules: Rules = vec![("è".into(), "a".into()), ("b".into(), "a".into())];
    let tokenizer = load("t5", |e| {
        set(
            e,
            "tokens",
            Array::strings(["<pad>", "</s>", "<unk>", "é", "a", "b", "bbb", "c"]).into(),
        );
        set(
            e,
            "token_type",
            Array::i32s([3, 3, 2, 4, 1, 1, 4, 1]).into(),
        );
        set(
            e,
            "precompiled_charsmap",
            Array::bytes(compiled(&rules)).into(),
        );
    });
    let tokenizer = tokenizer.expect("a tokenizer");
    assert_eq!(ids(&tokenizer, "bbc"), [5, 5, 7]);
    assert_eq!(ids(&tokenizer, "cèc"), [7, 2, 7]);
    assert_eq!(ids(&tokenizer, "cécbbb"), [7, 3, 7, 6]);
}

/// Encoding word by word gives the same tokens as encoding the whole text.
#[test]
fn words_may_be_taken_apart() {
    let mut tokenizer =
        load("t5", |e| set(e, "add_space_prefix", true.into())).expect("a tokenizer");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<String> = (0..500)
        .map(|_| {
            "[ab ▁é]{0,30}"
                .new_tree(&mut runner)
                .expect("a text")
                .current()
        })
        .collect();
    let all = |tokenizer: &Tokenizer| -> Vec<_> {
        texts.iter().map(|text| ids(tokenizer, text)).collect()
    };
    let apart = all(&tokenizer);
    let Method::File(_, Model::Ugm(ugm)) = &mut tokenizer.method else {
        panic!("unigram")
    };
    assert!(std::mem::replace(&mut ugm.words_apart, false));
    assert!(all(&tokenizer) == apart);
}

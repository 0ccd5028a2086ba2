//! Character classes: the general categories that the pre-tokenizers' patterns use (`\p{L}`, `\p{N}`, `\s`, ...).
//!
//! std has `\p{N}` and `\s` but not `\p{L}`, and a regex engine with its tables would be half the component. The table
//! is a list of runs, `start << 8 | class` in four bytes each, generated from regex-syntax's tables by the test below
//! (`BLESS=1 cargo test -p gust-engine classes` after a Unicode update).

/// A set of classes: one bit each.
pub(super) type Classes = u16;

pub(super) const UPPER: Classes = 1 << 0;
pub(super) const LOWER: Classes = 1 << 1;
pub(super) const TITLE: Classes = 1 << 2;
pub(super) const MODIFIER: Classes = 1 << 3;
pub(super) const OTHER_LETTER: Classes = 1 << 4;
pub(super) const MARK: Classes = 1 << 5;
/// `\d`, that is `\p{Nd}`.
pub(super) const DIGIT: Classes = 1 << 6;
/// Letters and other characters that stand for numbers: `\p{Nl}`, `\p{No}`.
pub(super) const OTHER_NUMBER: Classes = 1 << 7;
pub(super) const PUNCTUATION: Classes = 1 << 8;
pub(super) const SYMBOL: Classes = 1 << 9;
/// `\s`: White_Space, which no other class here contains.
pub(super) const SPACE: Classes = 1 << 10;
/// Control, format, private and unassigned characters.
pub(super) const OTHER: Classes = 1 << 11;

/// `\p{L}`.
pub(super) const LETTER: Classes = UPPER | LOWER | TITLE | MODIFIER | OTHER_LETTER;
/// `\p{N}`.
pub(super) const NUMBER: Classes = DIGIT | OTHER_NUMBER;

static RUNS: &[u8] = include_bytes!("classes.bin");

/// The class of a character; it has exactly one.
pub(super) fn class_of(c: char) -> Classes {
    match c {
        'a'..='z' => LOWER,
        ' ' => SPACE,
        _ => {
            let (runs, _) = RUNS.as_chunks::<4>();
            let behind = runs.partition_point(|run| u32::from_le_bytes(*run) >> 8 <= c.into());
            // The first run starts at 0. If the table were empty, everything would be `OTHER`.
            match behind.checked_sub(1) {
                Some(at) => 1 << runs[at][0],
                None => OTHER,
            }
        }
    }
}

/// `\p{Han}`: the characters of Chinese script, most of them letters.
pub(super) fn is_han(c: char) -> bool {
    matches!(c,
        '\u{2e80}'..='\u{2e99}' | '\u{2e9b}'..='\u{2ef3}' | '\u{2f00}'..='\u{2fd5}' | '\u{3005}' | '\u{3007}'
        | '\u{3021}'..='\u{3029}' | '\u{3038}'..='\u{303b}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{fa6d}' | '\u{fa70}'..='\u{fad9}' | '\u{16fe2}'..='\u{16fe3}'
        | '\u{16ff0}'..='\u{16ff1}' | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2b739}'
        | '\u{2b740}'..='\u{2b81d}' | '\u{2b820}'..='\u{2cea1}' | '\u{2ceb0}'..='\u{2ebe0}'
        | '\u{2ebf0}'..='\u{2ee5d}' | '\u{2f800}'..='\u{2fa1d}' | '\u{30000}'..='\u{3134a}'
        | '\u{31350}'..='\u{323af}')
}

/// `\w` as Oniguruma has it, the engine of the `tokenizers` library: letters and what is used like them, marks, digits,
/// and punctuation that connects, such as `_`.
pub(super) fn is_word(c: char) -> bool {
    let connects = matches!(
        c,
        '_' | '\u{203f}' | '\u{2040}' | '\u{2054}' | '\u{fe33}' | '\u{fe34}' | '\u{fe4d}'
            ..='\u{fe4f}' | '\u{ff3f}'
    );
    let class = class_of(c);
    // std may know more characters than the table.
    let used_like_letters = c.is_alphabetic() && class != OTHER;
    connects || used_like_letters || class & (LETTER | MARK | DIGIT) != 0
}

/// The letters of DeepSeek's first models, which list the ones with case as `[A-Za-zµÀ-ÖØ-ö...]`.
pub(super) fn is_deepseek_letter(c: char) -> bool {
    // Every other bound starts a range, and the next one is behind its end.
    DEEPSEEK_LETTERS.partition_point(|bound| *bound <= c.into()) % 2 == 1
}

const DEEPSEEK_LETTERS: [u32; 168] = [
    0x41, 0x5b, 0x61, 0x7b, 0xb5, 0xb6, 0xc0, 0xd7, 0xd8, 0xf7, 0xf8, 0x1bb, 0x1bc, 0x1c0, 0x1c4,
    0x294, 0x295, 0x2b0, 0x370, 0x374, 0x376, 0x378, 0x37b, 0x37e, 0x37f, 0x380, 0x386, 0x387,
    0x388, 0x38b, 0x38c, 0x38d, 0x38e, 0x3a2, 0x3a3, 0x3f6, 0x3f7, 0x482, 0x48a, 0x530, 0x531,
    0x557, 0x10a0, 0x10c6, 0x13a0, 0x13f6, 0x13f8, 0x13fe, 0x1c90, 0x1cbb, 0x1cbd, 0x1cc0, 0x1d00,
    0x1d2c, 0x1d6b, 0x1d78, 0x1d79, 0x1d9b, 0x1e00, 0x1f16, 0x1f18, 0x1f1e, 0x1f20, 0x1f46, 0x1f48,
    0x1f4e, 0x1f50, 0x1f58, 0x1f59, 0x1f5a, 0x1f5b, 0x1f5c, 0x1f5d, 0x1f5e, 0x1f5f, 0x1f7e, 0x1f80,
    0x1fb5, 0x1fb6, 0x1fbd, 0x1fbe, 0x1fbf, 0x1fc2, 0x1fc5, 0x1fc6, 0x1fcd, 0x1fd0, 0x1fd4, 0x1fd6,
    0x1fdc, 0x1fe0, 0x1fed, 0x1ff2, 0x1ff5, 0x1ff6, 0x1ffd, 0x2102, 0x2103, 0x2107, 0x2108, 0x210a,
    0x2114, 0x2115, 0x2116, 0x2119, 0x211e, 0x2124, 0x2125, 0x2126, 0x2127, 0x2128, 0x2129, 0x212a,
    0x212e, 0x212f, 0x2135, 0x2139, 0x213a, 0x213c, 0x2140, 0x2145, 0x214a, 0x214e, 0x214f, 0x2183,
    0x2185, 0x2c00, 0x2c7c, 0x2c7e, 0x2ce5, 0x2ceb, 0x2cef, 0x2cf2, 0x2cf4, 0xa640, 0xa66e, 0xa680,
    0xa69c, 0xa722, 0xa770, 0xa771, 0xa788, 0xa78b, 0xa78f, 0xab70, 0xabc0, 0xfb00, 0xfb07, 0xfb13,
    0xfb18, 0xff21, 0xff3b, 0xff41, 0xff5b, 0x10400, 0x10450, 0x104b0, 0x104d4, 0x104d8, 0x104fc,
    0x10c80, 0x10cb3, 0x10cc0, 0x10cf3, 0x118a0, 0x118e0, 0x1e900, 0x1e944,
];

#[cfg(all(test, not(target_arch = "wasm32")))]
mod oracle {
    use super::{RUNS, is_han, is_word};

    /// The code points of a class according to regex-syntax.
    fn class(name: &str) -> impl Iterator<Item = std::ops::RangeInclusive<usize>> {
        let hir = regex_syntax::parse(name).expect("a class");
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) = hir.kind()
        else {
            panic!("{name} is a class of characters")
        };
        let ranges = set.ranges().iter();
        let ranges = ranges.map(|range| range.start() as usize..=range.end() as usize);
        ranges.collect::<Vec<_>>().into_iter()
    }

    /// The classes of all code points according to regex-syntax, as runs.
    fn expected() -> Vec<u8> {
        const NAMES: [&str; 11] = [
            r"\p{Lu}",
            r"\p{Ll}",
            r"\p{Lt}",
            r"\p{Lm}",
            r"\p{Lo}",
            r"\p{M}",
            r"\p{Nd}",
            r"[\p{Nl}\p{No}]",
            r"\p{P}",
            r"\p{S}",
            r"\s",
        ];
        const OTHER: u8 = NAMES.len() as u8;
        let mut classes = vec![OTHER; 0x11_0000];
        for (index, name) in NAMES.iter().enumerate() {
            for range in class(name) {
                let free = classes[range.clone()].iter().all(|class| *class == OTHER);
                assert!(free, "{name} overlaps");
                classes[range].fill(index as u8);
            }
        }
        let starts = (0..classes.len()).filter(|&at| at == 0 || classes[at] != classes[at - 1]);
        starts
            .flat_map(|at| ((at as u32) << 8 | u32::from(classes[at])).to_le_bytes())
            .collect()
    }

    #[test]
    fn han_and_word_characters_are_those_of_regex_syntax() {
        let all = |name| {
            let mut all = vec![false; 0x11_0000];
            class(name).for_each(|range| all[range].fill(true));
            all
        };
        let (han, word) = (all(r"\p{Han}"), all(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]"));
        for c in '\0'..=char::MAX {
            assert_eq!(is_han(c), han[c as usize], "{c:?}");
            assert_eq!(is_word(c), word[c as usize], "{c:?}");
        }
    }

    #[test]
    fn the_table_is_that_of_regex_syntax() {
        let expected = expected();
        if std::env::var_os("BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tokenizer/classes.bin");
            std::fs::write(path, &expected).expect("the table can be written");
        } else {
            assert!(
                RUNS == expected,
                "the Unicode version has changed: run this test with BLESS=1"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_have_the_class_that_std_gives_them() {
        for c in '\0'..=char::MAX {
            assert_eq!(class_of(c) == SPACE, c.is_whitespace(), "{c:?}");
            if class_of(c) == UPPER {
                assert!(c.is_alphabetic(), "{c:?}");
            }
        }
        assert_eq!(class_of('ǅ'), TITLE);
        assert_eq!(class_of('漢'), OTHER_LETTER);
        assert_eq!(class_of('\u{301}'), MARK);
        assert_eq!(class_of('½'), OTHER_NUMBER);
        assert_eq!(class_of('٣'), DIGIT);
        assert_eq!(class_of('$'), SYMBOL);
        assert_eq!(class_of('…'), PUNCTUATION);
        assert_eq!(class_of('\u{200d}'), OTHER);
    }
}

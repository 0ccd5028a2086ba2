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
pub(super) const NUMBER: Classes = 1 << 6;
pub(super) const PUNCTUATION: Classes = 1 << 7;
pub(super) const SYMBOL: Classes = 1 << 8;
/// `\s`: White_Space, which no other class here contains.
pub(super) const SPACE: Classes = 1 << 9;
/// Control, format, private and unassigned characters.
pub(super) const OTHER: Classes = 1 << 10;

/// `\p{L}`.
pub(super) const LETTER: Classes = UPPER | LOWER | TITLE | MODIFIER | OTHER_LETTER;

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

#[cfg(all(test, not(target_arch = "wasm32")))]
mod oracle {
    use super::RUNS;

    /// The classes of all code points according to regex-syntax, as runs.
    fn expected() -> Vec<u8> {
        const NAMES: [&str; 10] = [
            r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{M}", r"\p{N}", r"\p{P}",
            r"\p{S}", r"\s",
        ];
        let mut class = vec![10u8; 0x11_0000];
        for (index, name) in NAMES.iter().enumerate() {
            let hir = regex_syntax::parse(name).expect("a class");
            let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) =
                hir.kind()
            else {
                panic!("{name} is a class of characters")
            };
            for range in set.ranges() {
                let range = range.start() as usize..=range.end() as usize;
                assert!(
                    class[range.clone()].iter().all(|class| *class == 10),
                    "{name} overlaps"
                );
                class[range].fill(index as u8);
            }
        }
        let starts = (0..class.len()).filter(|&at| at == 0 || class[at] != class[at - 1]);
        starts
            .flat_map(|at| ((at as u32) << 8 | u32::from(class[at])).to_le_bytes())
            .collect()
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
        assert_eq!(class_of('½'), NUMBER);
        assert_eq!(class_of('$'), SYMBOL);
        assert_eq!(class_of('…'), PUNCTUATION);
        assert_eq!(class_of('\u{200d}'), OTHER);
    }
}

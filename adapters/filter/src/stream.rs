//! Finds phrases in text that arrives in pieces, and passes on what cannot be part of one.
//!
//! The text is compared character by character; the longest suffix of it that is a prefix of a phrase is held back. If
//! phrases overlap, the one that ends first counts. The characters that a phrase comes from are hidden as a whole.

use crate::settings::{Action, Settings, may_begin};

/// The replacement of a masked phrase.
pub const MASK: &str = "[...]";

/// The most characters that are held back: characters that do not count can be repeated without end.
const MOST_HELD: usize = 4096;

/// Text on its way through.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// Characters that may be the start of a phrase.
    held: Vec<char>,
    /// The first bytes of an incomplete character: at most three.
    split: Vec<u8>,
}

/// The result for a piece of text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// The text that may be shown.
    pub bytes: Vec<u8>,
    /// Whether any of the piece was held back or masked.
    pub touched: bool,
    /// Whether a phrase was found that ends the answer. Nothing comes after this.
    pub stopped: bool,
}

impl Stream {
    /// Takes a piece, and returns what may be shown.
    pub fn push(&mut self, settings: &Settings, piece: &[u8]) -> Passed {
        let mut passed = Passed::default();
        let mut bytes = std::mem::take(&mut self.split);
        bytes.extend_from_slice(piece);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let chunk = rest.utf8_chunks().next();
            let (valid, invalid) = chunk.map_or(("", rest), |c| (c.valid(), c.invalid()));
            rest = &rest[valid.len() + invalid.len()..];
            for c in valid.chars() {
                self.character(settings, c, &mut passed);
                if passed.stopped {
                    return passed;
                }
            }
            let incomplete =
                std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if rest.is_empty() && incomplete {
                self.split = invalid.to_vec();
            } else if !invalid.is_empty() {
                // Invalid bytes are not part of any phrase.
                passed.bytes.extend(self.release(self.held.len()));
                passed.bytes.extend_from_slice(invalid);
            }
        }
        passed.touched |= !self.held.is_empty();
        passed
    }

    /// Returns the text that was held back, because nothing follows.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut bytes = self.release(self.held.len());
        bytes.append(&mut self.split);
        bytes
    }

    fn character(&mut self, settings: &Settings, c: char, passed: &mut Passed) {
        self.held.push(c);
        let normal = settings.case.normal(self.held.iter().copied());
        if let Some(before) = first_phrase(&settings.phrases, &normal) {
            passed.bytes.extend(self.release(before));
            self.held.clear();
            passed.touched = true;
            match settings.action {
                Action::Stop => passed.stopped = true,
                Action::Mask => passed.bytes.extend_from_slice(MASK.as_bytes()),
            }
            return;
        }
        let begins = |from: &usize| {
            let end = &normal[*from..];
            settings.phrases.iter().any(|phrase| may_begin(phrase, end))
        };
        let first = (0..normal.len()).find(begins);
        // In sorted marks, a later one may come from an earlier place.
        let place = |from: usize| normal[from..].iter().map(|(place, _)| *place).min();
        let first = first.and_then(place).unwrap_or(self.held.len());
        // A phrase with this much between its characters is none.
        let excess = self.held.len().saturating_sub(MOST_HELD);
        passed.bytes.extend(self.release(first.max(excess)));
    }

    /// Removes and returns the first `count` characters held back.
    fn release(&mut self, count: usize) -> Vec<u8> {
        let text: String = self.held.drain(..count).collect();
        text.into_bytes()
    }
}

/// Where the phrase begins that ends first; if several end there, the longest.
fn first_phrase(phrases: &[Vec<char>], normal: &[(usize, char)]) -> Option<usize> {
    let ending = |end: usize| {
        let text = &normal[..end];
        let ends = |phrase: &&Vec<char>| {
            let from = end.checked_sub(phrase.len());
            from.is_some_and(|from| text[from..].iter().map(|(_, c)| c).eq(phrase.iter()))
        };
        let phrase = phrases
            .iter()
            .filter(ends)
            .max_by_key(|phrase| phrase.len())?;
        let places = text[end - phrase.len()..].iter().map(|(place, _)| *place);
        places.min()
    };
    (1..=normal.len()).find_map(ending)
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;
    use crate::settings::{ACTION, CASE, PHRASES};

    fn settings(phrases: &str, action: &str, case: &str) -> Settings {
        let variable = |name: &str| match name {
            PHRASES => Some(phrases.to_owned()),
            ACTION => Some(action.to_owned()),
            CASE => Some(case.to_owned()),
            _ => None,
        };
        Settings::read(variable, |_| Err(String::new())).expect("settings")
    }

    /// Passes all `pieces` through a filter.
    fn through(settings: &Settings, pieces: &[&[u8]]) -> Vec<u8> {
        let mut stream = Stream::default();
        let mut shown = Vec::new();
        for piece in pieces {
            let passed = stream.push(settings, piece);
            shown.extend(passed.bytes);
            if passed.stopped {
                return shown;
            }
        }
        shown.extend(stream.finish());
        shown
    }

    /// The results equal those of `str::replace` and `str::find`, however the text is split into pieces.
    #[test]
    fn every_cut_gives_what_the_whole_would() {
        for (phrase, text) in [
            ("secret", "a secret is a sec ret, a secsecret"),
            ("aab", "aaab aab aaaab"),
            ("über", "das über über"),
            ("🦀 x", "🦀 🦀 x🦀"),
            ("z", "no such thing"),
        ] {
            let mask = settings(phrase, "mask", "exact");
            let stop = settings(phrase, "stop", "exact");
            let masked = text.replace(phrase, MASK);
            let stopped = &text[..text.find(phrase).unwrap_or(text.len())];
            let bytes = text.as_bytes();
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let cut = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(through(&mask, &cut), masked.as_bytes(), "{first} {second}");
                    assert_eq!(through(&stop, &cut), stopped.as_bytes(), "{first} {second}");
                }
            }
        }
    }

    #[test]
    fn nothing_of_a_phrase_is_shown_before_it_is_whole() {
        let settings = settings("top secret", "stop", "ignore");
        let mut stream = Stream::default();
        let mut shown = String::new();
        for byte in b"It is TOP SECRE" {
            let passed = stream.push(&settings, &[*byte]);
            shown += &String::from_utf8_lossy(&passed.bytes);
        }
        assert_eq!(shown, "It is ");
        let mut other = stream.clone();
        let passed = stream.push(&settings, b"T plan");
        assert_eq!((passed.bytes.as_slice(), passed.stopped), (&b""[..], true));
        let passed = other.push(&settings, b"D plan");
        assert_eq!(passed.bytes, b"TOP SECRED plan");
        assert!(!passed.stopped);
    }

    #[test]
    fn case_is_ignored_in_every_script() {
        let list = settings("Straße\nПРИВЕТ", "mask", "ignore");
        let text = "STRAßE, привет, Привет".as_bytes();
        let expected = format!("{MASK}, {MASK}, {MASK}");
        assert_eq!(through(&list, &[text]), expected.as_bytes());
        let exact = settings("Straße", "mask", "exact");
        assert_eq!(through(&exact, &[text]), text);
    }

    #[test]
    fn forms_that_look_the_same_are_the_same() {
        let list = settings("top  secret", "mask", "ignore");
        for text in [
            "top secret",
            "TOP \u{a0} Secret",
            "top\n\tsecret",
            "t\u{200b}o\u{ad}p sec\u{feff}ret",
            "\u{ff54}\u{ff4f}\u{ff50}\u{3000}\u{ff33}ecret",
            "\u{1d42d}\u{24de}p s\u{212f}cret",
            "t\u{8}op\u{2003}\u{2062}sec\u{e0061}ret",
        ] {
            for cut in 0..=text.len() {
                let (start, end) = text.as_bytes().split_at(cut);
                let shown = through(&list, &[b"<", start, end, b">"]);
                assert_eq!(shown, format!("<{MASK}>").as_bytes(), "{text:?} {cut}");
            }
        }
        // What is no phrase comes out as it went in.
        for text in [
            "top  \u{200b} secreT\u{ad}".replace('T', "d"),
            "\u{ff54}op".to_owned(),
        ] {
            assert_eq!(through(&list, &[text.as_bytes()]), text.as_bytes());
        }
        let exact = settings("top secret", "mask", "exact");
        assert_eq!(through(&exact, &[b"top  secret"]), b"top  secret");
    }

    /// Expected forms are those of Unicode's table: é, ệ and ǆ, each in several ways, and the ligature of f and i.
    #[test]
    fn composed_and_decomposed_letters_are_the_same() {
        for (phrase, texts) in [
            (
                "caf\u{e9}",
                &["CAFE\u{301}", "caf\u{e9}", "cafe\u{200b}\u{301}"][..],
            ),
            ("cafe\u{301}", &["caf\u{c9}"]),
            (
                "\u{1ec7}",
                &[
                    "e\u{302}\u{323}",
                    "e\u{323}\u{302}",
                    "\u{1eb9}\u{302}",
                    "\u{ea}\u{323}",
                ],
            ),
            ("fix", &["\u{fb01}x", "\u{fb01}X"]),
            ("\u{1c6}", &["d\u{17e}", "D\u{17d}", "dz\u{30c}"]),
            (
                "\u{ac00}\u{ac01}",
                &["\u{1100}\u{1161}\u{1100}\u{1161}\u{11a8}"],
            ),
            ("stra\u{df}e", &["STRASSE", "stra\u{1e9e}e"]),
            (
                "\u{3c3}\u{3bf}\u{3c6}\u{3cc}\u{3c2}",
                &["\u{3a3}\u{39f}\u{3a6}\u{38c}\u{3a3}"],
            ),
        ] {
            let list = settings(phrase, "mask", "ignore");
            for text in texts {
                for cut in 0..=text.len() {
                    let (start, end) = text.as_bytes().split_at(cut);
                    let shown = through(&list, &[b"<", start, end, b">"]);
                    assert_eq!(shown, format!("<{MASK}>").as_bytes(), "{text:?} {cut}");
                }
            }
        }
        // Another letter is another word.
        for (phrase, text) in [
            ("f\u{fc}r", "fur"),
            ("fur", "f\u{fc}r"),
            ("fur", "fu\u{308}r"),
        ] {
            let list = settings(phrase, "mask", "ignore");
            assert_eq!(through(&list, &[text.as_bytes()]), text.as_bytes());
        }
        // Marks that follow are hidden with the letter whose marks are sorted, and do not save it.
        let list = settings("\u{1ea1}", "mask", "ignore");
        let shown = through(&list, &["xa\u{301}\u{323}y".as_bytes()]);
        assert_eq!(shown, format!("x{MASK}y").as_bytes());
    }

    /// The form for comparisons of a whole text, with the normalization of whole texts.
    fn form(text: &str) -> String {
        let fold = |c: char| match unicode_normalization::char::canonical_combining_class(c) {
            0 => c
                .to_lowercase()
                .flat_map(char::to_uppercase)
                .flat_map(char::to_lowercase)
                .collect(),
            _ => String::from(c),
        };
        let visible = text.replace(['\u{200b}', '\u{ad}', '\u{7}'], "");
        let folded: String = visible.nfkd().map(fold).collect();
        let folded: String = folded.nfkd().collect();
        let single = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        // The borders keep white space at both ends.
        single(format!("<{folded}>"))
            .trim_start_matches('<')
            .trim_end_matches('>')
            .to_owned()
    }

    /// Whatever the pieces: nothing of the list is shown, and nothing else is lost.
    #[test]
    fn nothing_of_the_list_is_shown_and_nothing_else_is_lost() {
        const LETTERS: [&str; 22] = [
            "a", "b", "A", "e", "E", "\u{e9}", "\u{301}", "\u{323}", "\u{1eb9}", "\u{200b}",
            "\u{ad}", "\u{7}", " ", "\u{3000}", "\n", "\u{fb01}", "f", "i", "\u{ff41}", "\u{1c6}",
            "\u{ac01}", "\u{1161}",
        ];
        let mut state = 42_u64;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % limit
        };
        let mut found = 0;
        for _ in 0..3_000 {
            let mut letters = |most: usize| -> String {
                let count = below(most) + 1;
                (0..count).map(|_| LETTERS[below(LETTERS.len())]).collect()
            };
            let phrases = [letters(4), letters(4)];
            let text = letters(24);
            if phrases
                .iter()
                .all(|phrase| form(phrase.trim()).trim().is_empty())
            {
                continue;
            }
            let lines = phrases.join("\n");
            let (mask, stop) = (
                settings(&lines, "mask", "ignore"),
                settings(&lines, "stop", "ignore"),
            );
            let phrases: Vec<String> = mask
                .phrases
                .iter()
                .map(|phrase| phrase.iter().collect())
                .collect();
            let has = |text: &str| {
                phrases
                    .iter()
                    .any(|phrase| form(text).contains(phrase.as_str()))
            };
            // A mark that follows may undo it, but what was said is known.
            let comes = |text: &str| {
                let mut ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
                ends.any(|end| has(&text[..end]))
            };
            let at = below(text.len() + 1);
            let (start, end) = text.as_bytes().split_at(at);
            let pieces = [start, end];

            let shown = String::from_utf8(through(&stop, &pieces)).expect("UTF-8");
            assert!(text.starts_with(&shown), "{phrases:?} {text:?} {shown:?}");
            assert!(!has(&shown), "{phrases:?} {text:?} {shown:?}");
            assert_eq!(
                shown == text,
                !comes(&text),
                "{phrases:?} {text:?} {shown:?}"
            );
            found += u32::from(comes(&text));

            let shown = String::from_utf8(through(&mask, &pieces)).expect("UTF-8");
            assert_eq!(shown.contains(MASK), comes(&text), "{phrases:?} {text:?}");
            let mut rest = text.as_str();
            for (index, kept) in shown.split(MASK).enumerate() {
                assert!(!has(kept), "{phrases:?} {text:?} {shown:?}");
                // A mask stands for at least one character.
                let hidden = rest.chars().next().filter(|_| index > 0);
                rest = &rest[hidden.map_or(0, char::len_utf8)..];
                let at = rest.find(kept).expect("what is shown was there");
                assert!(index > 0 || at == 0, "{phrases:?} {text:?} {shown:?}");
                rest = &rest[at + kept.len()..];
            }
        }
        assert!(found > 300, "{found}");
    }

    #[test]
    fn what_does_not_count_is_not_held_for_ever() {
        let list = settings("secret", "mask", "ignore");
        let endless = format!("s{}", "\u{200b}".repeat(2 * MOST_HELD));
        let mut stream = Stream::default();
        let passed = stream.push(&list, endless.as_bytes());
        assert!(stream.held.len() <= MOST_HELD);
        let all = [passed.bytes, stream.finish()].concat();
        assert_eq!(all, endless.as_bytes());
    }

    #[test]
    fn of_overlapping_phrases_the_first_to_end_counts() {
        let list = settings("abcd\nbc\nc", "mask", "exact");
        assert_eq!(
            through(&list, &[b"xabcdx"]),
            format!("xa{MASK}dx").as_bytes()
        );
    }

    #[test]
    fn bytes_that_are_no_text_go_through() {
        let list = settings("ab", "mask", "exact");
        for bytes in [
            &b"\xff\xfea\xffb"[..],
            b"a\xf0\x9f",
            b"\xe2\x82",
            b"a\xe2\x82b",
        ] {
            assert_eq!(through(&list, &[bytes]), bytes);
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(through(&list, &single), bytes);
        }
    }
}

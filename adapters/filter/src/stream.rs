//! Finds phrases in text that arrives in pieces, and passes on what cannot be part of one.
//!
//! The text is compared character by character; the longest suffix of it that is a prefix of a phrase is held back. If
//! phrases overlap, the one that ends first counts.

use crate::settings::{Action, Settings};

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
        let text: Vec<char> = normal.iter().map(|(_, c)| *c).collect();
        let phrases = &settings.phrases;
        let found = phrases.iter().filter(|phrase| text.ends_with(phrase));
        if let Some(phrase) = found.max_by_key(|phrase| phrase.len()) {
            let (before, _) = normal[text.len() - phrase.len()];
            passed.bytes.extend(self.release(before));
            self.held.clear();
            passed.touched = true;
            match settings.action {
                Action::Stop => passed.stopped = true,
                Action::Mask => passed.bytes.extend_from_slice(MASK.as_bytes()),
            }
            return;
        }
        let begins = |(from, _): &(usize, &(usize, char))| {
            let end = &text[*from..];
            phrases.iter().any(|phrase| phrase.starts_with(end))
        };
        let first = normal.iter().enumerate().find(begins);
        let first = first.map_or(self.held.len(), |(_, (place, _))| *place);
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

#[cfg(test)]
mod tests {
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

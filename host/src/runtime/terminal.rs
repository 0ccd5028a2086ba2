//! Text that somebody else wrote, on a terminal: a model's, a file's, a component's.
//!
//! A terminal obeys what is printed on it. Control characters move its cursor, rename its window, and in some terminals
//! type for the user; marks that change the direction of text show other words than those that are there. So a terminal
//! gets escapes in their place. Line breaks and tabs stay, and a file or a pipe gets every byte as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal would obey this character instead of showing it.
pub fn steers(character: char) -> bool {
    // Controls of ASCII and of Latin-1, and the characters that change the direction of the text after them.
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text as a terminal may get it: line breaks and tabs stay, all other characters that it would obey are escapes
/// such as `\u{1b}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    let is_kept = |c: char| !steers(c) || matches!(c, '\n' | '\t');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_kept(character) {
            true => shown.push(character),
            false => _ = write!(shown, "{}", character.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_becomes_an_escape() {
        for (text, expected) in [
            ("two\n\tlines, é, 語, 🙂", "two\n\tlines, é, 語, 🙂"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("over\rwritten\u{8}", "over\\u{d}written\\u{8}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("\u{202e}txt.exe\u{2066}", "\\u{202e}txt.exe\\u{2066}"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn no_control_character_is_forgotten() {
        for character in '\0'..=char::MAX {
            let text = shown(character.encode_utf8(&mut [0; 4])).into_owned();
            let is_control = text.chars().any(char::is_control);
            assert_eq!(
                is_control,
                matches!(character, '\n' | '\t'),
                "{character:?}"
            );
        }
    }
}

//! The filter's stream: nothing of the list is shown, and nothing else is lost.

use arbitrary::{Result, Unstructured};
use gust_filter::settings::{ACTION, CASE, PHRASES, Settings, has_no_width};
use gust_filter::stream::{MASK, Stream};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use super::values::text;

const PIECES: [&str; 36] = [
    "a",
    "b",
    "A",
    "e",
    "E",
    "s",
    "t",
    "\u{e9}",
    "\u{301}",
    "\u{302}",
    "\u{323}",
    "\u{345}",
    "\u{1eb9}",
    "\u{1ec7}",
    "\u{200b}",
    "\u{ad}",
    "\u{7}",
    "\u{feff}",
    " ",
    "\u{a0}",
    "\u{3000}",
    "\n",
    "\u{fb01}",
    "f",
    "i",
    "\u{ff41}",
    "\u{1c6}",
    "\u{ac01}",
    "\u{1100}",
    "\u{1161}",
    "\u{df}",
    "\u{1e9e}",
    "\u{130}",
    "\u{3c2}",
    "\u{3a3}",
    "\u{1d400}",
];

/// A list, a text, and how it is cut.
pub fn run(data: &[u8]) {
    let _ = attack(&mut Unstructured::new(data));
}

fn attack(input: &mut Unstructured<'_>) -> Result<()> {
    let mut lines = Vec::new();
    for _ in 0..input.int_in_range(1..=3)? {
        lines.push(text(input, &PIECES, 4)?);
    }
    let exact = input.ratio(1, 4)?;
    let text = text(input, &PIECES, 40)?;
    let mut pieces: Vec<&[u8]> = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(input.int_in_range(1..=8)?.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    let settings = |action: &str| {
        let variable = |name: &str| match name {
            PHRASES => Some(lines.join("\n")),
            ACTION => Some(action.to_owned()),
            CASE => Some(if exact { "exact" } else { "ignore" }.to_owned()),
            _ => None,
        };
        Settings::read(variable, |_| Err(String::new()))
    };
    let (Ok(mask), Ok(stop)) = (settings("mask"), settings("stop")) else {
        return Ok(());
    };
    let form = |text: &str| match exact {
        true => text.to_owned(),
        false => form(text),
    };
    let joined = lines.join("\n");
    let phrases: Vec<String> = joined.lines().map(|line| form(line.trim())).collect();
    let phrases: Vec<_> = phrases.iter().filter(|phrase| !phrase.is_empty()).collect();
    let has = |text: &str| {
        let text = form(text);
        phrases.iter().any(|phrase| text.contains(phrase.as_str()))
    };
    // A mark that follows may undo it, but what was said is known.
    let mut ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let comes = ends.any(|end| has(&text[..end]));

    let shown = through(&stop, &pieces);
    assert!(text.starts_with(&shown), "{phrases:?} {text:?} {shown:?}");
    assert!(!has(&shown), "{phrases:?} {text:?} {shown:?}");
    assert_eq!(shown == text, !comes, "{phrases:?} {text:?} {shown:?}");

    let shown = through(&mask, &pieces);
    assert_eq!(shown == text, !comes, "{phrases:?} {text:?} {shown:?}");
    if text.contains(MASK) {
        return Ok(());
    }
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
    Ok(())
}

fn through(settings: &Settings, pieces: &[&[u8]]) -> String {
    let mut stream = Stream::default();
    let mut shown = Vec::new();
    for piece in pieces {
        let passed = stream.push(settings, piece);
        shown.extend(passed.bytes);
        if passed.stopped {
            return String::from_utf8(shown).expect("whole characters");
        }
    }
    shown.extend(stream.finish());
    String::from_utf8(shown).expect("whole characters")
}

/// The form of a whole text for comparisons, by the normalization of whole texts.
fn form(text: &str) -> String {
    let fold = |c: char| -> String {
        match canonical_combining_class(c) {
            0 => c
                .to_lowercase()
                .flat_map(char::to_uppercase)
                .flat_map(char::to_lowercase)
                .collect(),
            _ => c.into(),
        }
    };
    let is_shown = |c: &char| c.is_whitespace() || !has_no_width(*c);
    let visible: String = text.chars().filter(is_shown).collect();
    let folded: String = visible.nfkd().map(fold).collect();
    let mut single = String::new();
    for c in folded.nfkd() {
        let c = if c.is_whitespace() { ' ' } else { c };
        if c != ' ' || !single.ends_with(' ') {
            single.push(c);
        }
    }
    single
}

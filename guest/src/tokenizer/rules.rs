//! The rules that pre-tokenizers are made of: each is one alternative of a regular expression, tried at one position of
//! a text. A rule returns where its match ends, or `None`. All are greedy, like the expressions.

use super::classes::*;

/// Returns where the match that starts at a position ends.
pub(super) type Rule = fn(&Text<'_>, usize) -> Option<usize>;

/// A character and its class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Char {
    pub(super) char: char,
    class: Classes,
}

impl Char {
    pub(super) fn is(self, classes: Classes) -> bool {
        self.class & classes != 0
    }
}

/// A text as characters. Positions are counted in characters.
#[derive(Debug)]
pub(super) struct Text<'t> {
    text: &'t str,
    chars: Vec<Char>,
    /// The byte offset of each character, and the text's length.
    offsets: Vec<u32>,
    /// The end of the piece that is being split: rules see nothing past it.
    end: usize,
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<usize>,
}

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let chars: Vec<Char> = text
            .chars()
            .map(|char| Char {
                char,
                class: class_of(char),
            })
            .collect();
        let starts = text.char_indices().map(|(start, _)| start as u32);
        Self {
            offsets: starts.chain([text.len() as u32]).collect(),
            end: chars.len(),
            chars,
            text,
            #[cfg(test)]
            looks: Default::default(),
        }
    }

    /// The number of characters.
    pub(super) fn len(&self) -> usize {
        self.chars.len()
    }

    pub(super) fn between(&self, start: usize, end: usize) -> &'t str {
        &self.text[self.offsets[start] as usize..self.offsets[end] as usize]
    }

    /// Splits each piece that ends at one of `ends`, with the first rule that matches at each position.
    pub(super) fn cut(&mut self, ends: &[usize], rules: &[Rule]) -> Vec<usize> {
        let (mut cuts, mut at) = (Vec::with_capacity(ends.len()), 0);
        for &end in ends {
            self.end = end;
            let mut matched = at;
            while at < end {
                let found = rules.iter().find_map(|rule| rule(self, at));
                match found {
                    Some(next) => {
                        if matched < at {
                            cuts.push(at);
                        }
                        cuts.push(next);
                        at = next;
                        matched = next;
                    }
                    None => at += 1,
                }
            }
            if matched < end {
                cuts.push(end);
            }
        }
        cuts
    }

    fn at(&self, at: usize) -> Option<Char> {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        if at < self.end {
            self.chars.get(at).copied()
        } else {
            None
        }
    }

    fn is(&self, at: usize, classes: Classes) -> bool {
        self.at(at).is_some_and(|c| c.is(classes))
    }

    fn char(&self, at: usize) -> Option<char> {
        self.at(at).map(|c| c.char)
    }

    /// The first position from `at` on whose character does not satisfy `holds`.
    fn skip(&self, mut at: usize, holds: impl Fn(Char) -> bool) -> usize {
        while self.at(at).is_some_and(&holds) {
            at += 1;
        }
        at
    }
}

fn longer(start: usize, end: usize) -> Option<usize> {
    (start < end).then_some(end)
}

/// `[...]+` for any condition.
pub(super) fn run_where(t: &Text<'_>, at: usize, holds: impl Fn(Char) -> bool) -> Option<usize> {
    longer(at, t.skip(at, holds))
}

/// `[classes]+`
pub(super) fn run(t: &Text<'_>, at: usize, classes: Classes) -> Option<usize> {
    run_where(t, at, |c| c.is(classes))
}

/// `[classes]{1,most}`
pub(super) fn up_to(t: &Text<'_>, at: usize, classes: Classes, most: usize) -> Option<usize> {
    let count = (0..most).take_while(|i| t.is(at + i, classes)).count();
    longer(at, at + count)
}

/// ` ?[classes]+`, where the classes do not contain the space.
pub(super) fn spaced_run(t: &Text<'_>, at: usize, classes: Classes) -> Option<usize> {
    let start = at + usize::from(t.char(at) == Some(' '));
    run(t, start, classes)
}

/// ` ?[classes]+[tail]*`
pub(super) fn signs(t: &Text<'_>, at: usize, classes: Classes, tail: &str) -> Option<usize> {
    let end = spaced_run(t, at, classes)?;
    Some(t.skip(end, |c| tail.contains(c.char)))
}

/// `[^\r\n not]?[classes]+`
pub(super) fn led_run(t: &Text<'_>, at: usize, not: Classes, classes: Classes) -> Option<usize> {
    let led = lead(t, at, not).and_then(|start| run(t, start, classes));
    led.or_else(|| run(t, at, classes))
}

/// `[^\r\n not]`
fn lead(t: &Text<'_>, at: usize, not: Classes) -> Option<usize> {
    let c = t.at(at)?;
    (!c.is(not) && !matches!(c.char, '\r' | '\n')).then_some(at + 1)
}

/// `\s*[\r\n]+`
pub(super) fn spaces_and_newlines(t: &Text<'_>, at: usize) -> Option<usize> {
    let end = t.skip(at, |c| c.is(SPACE));
    let newline = |i: &usize| matches!(t.char(*i), Some('\r' | '\n'));
    (at..end).rev().find(newline).map(|last| last + 1)
}

/// `\s+(?!\S)`: white space up to the end, or else all of it except its last character.
pub(super) fn spaces_but_the_last(t: &Text<'_>, at: usize) -> Option<usize> {
    let end = t.skip(at, |c| c.is(SPACE));
    match t.at(end) {
        None => longer(at, end),
        Some(_) => longer(at, end.saturating_sub(1)),
    }
}

/// `[0-9][0-9][0-9]`
pub(super) fn three_digits(t: &Text<'_>, at: usize) -> Option<usize> {
    let all = (at..at + 3).all(|i| t.char(i).is_some_and(|c| c.is_ascii_digit()));
    all.then_some(at + 3)
}

/// An ASCII punctuation character or symbol, followed by `[A-Za-z]+`.
pub(super) fn ascii_sign_and_letters(t: &Text<'_>, at: usize) -> Option<usize> {
    t.char(at).filter(char::is_ascii_punctuation)?;
    run_where(t, at + 1, |c| c.char.is_ascii_alphabetic())
}

/// Which letters a contraction may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    Any,
}

/// `'s|'t|'re|'ve|'m|'ll|'d`
pub(super) fn contraction(t: &Text<'_>, at: usize, case: Case) -> Option<usize> {
    t.char(at).filter(|c| *c == '\'')?;
    let letter = |i| {
        let c = t.char(at + i)?;
        Some(if case == Case::Any {
            c.to_ascii_lowercase()
        } else {
            c
        })
    };
    match letter(1)? {
        's' | 't' | 'm' | 'd' => Some(at + 2),
        first => match (first, letter(2)?) {
            ('r' | 'v', 'e') | ('l', 'l') => Some(at + 3),
            _ => None,
        },
    }
}

/// What may follow a cased word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    None,
    Contraction,
}

/// `[^\r\n\p{L}\p{N}]?[upper]*[lower]+tail?|[^\r\n\p{L}\p{N}]?[upper]+[lower]*tail?`, where modifiers, other letters and
/// marks are both upper and lower.
pub(super) fn cased_word(t: &Text<'_>, at: usize, tail: Tail) -> Option<usize> {
    let starts = || {
        [lead(t, at, LETTER | NUMBER), Some(at)]
            .into_iter()
            .flatten()
    };
    let small = starts().find_map(|start| ends_lower(t, start));
    let end = small.or_else(|| starts().find_map(|start| begins_upper(t, start)))?;
    match tail {
        Tail::None => Some(end),
        Tail::Contraction => contraction(t, end, Case::Any).or(Some(end)),
    }
}

const NO_CASE: Classes = MODIFIER | OTHER_LETTER | MARK;
const UPPERS: Classes = UPPER | TITLE | NO_CASE;
const LOWERS: Classes = LOWER | NO_CASE;

/// `[upper]*[lower]+`
fn ends_lower(t: &Text<'_>, at: usize) -> Option<usize> {
    let uppers = t.skip(at, |c| c.is(UPPERS));
    run(t, uppers, LOWERS).or_else(|| {
        // Back off to a character that is also lower; those after it are not.
        let last = (at..uppers).rev().find(|i| t.is(*i, LOWERS))?;
        Some(last + 1)
    })
}

/// `[upper]+[lower]*`
fn begins_upper(t: &Text<'_>, at: usize) -> Option<usize> {
    let uppers = run(t, at, UPPERS)?;
    Some(t.skip(uppers, |c| c.is(LOWERS)))
}

//! The rules that pre-tokenizers are made of: each is one alternative of a regular expression, tried at one position of
//! a text. A rule returns where its match ends, or `None`. All are greedy, like the expressions.

use std::cell::Cell;

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

/// Characters of some classes, one after the other.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    classes: Classes,
    start: usize,
    end: usize,
    /// Behind the last newline, or 0.
    newline_end: usize,
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
    /// The last run that was measured: a rule that cuts it into many words measures it once.
    run: Cell<Run>,
    #[cfg(test)]
    pub(super) looks: Cell<usize>,
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
            run: Cell::default(),
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
            self.run.set(Run::default());
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

    /// The run of `classes` from `at` on. It may start before `at`.
    fn run(&self, at: usize, classes: Classes) -> Run {
        let known = self.run.get();
        if known.classes == classes && (known.start..known.end).contains(&at) {
            return known;
        }
        let mut run = Run {
            classes,
            start: at,
            end: at,
            newline_end: 0,
        };
        while let Some(c) = self.at(run.end).filter(|c| c.is(classes)) {
            run.end += 1;
            if is_newline(c) {
                run.newline_end = run.end;
            }
        }
        self.run.set(run);
        run
    }
}

fn is_newline(c: Char) -> bool {
    matches!(c.char, '\r' | '\n')
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

/// `[...]` for any condition.
pub(super) fn one_where(t: &Text<'_>, at: usize, holds: impl Fn(Char) -> bool) -> Option<usize> {
    t.at(at).is_some_and(holds).then_some(at + 1)
}

/// The text itself.
pub(super) fn literal(t: &Text<'_>, at: usize, text: &str) -> Option<usize> {
    let mut end = at;
    for c in text.chars() {
        end = one_where(t, end, |found| found.char == c)?;
    }
    Some(end)
}

/// `[classes]{1,most}`
pub(super) fn up_to(t: &Text<'_>, at: usize, classes: Classes, most: usize) -> Option<usize> {
    let count = (0..most).take_while(|i| t.is(at + i, classes)).count();
    longer(at, at + count)
}

/// ` ?[classes]+`, where the classes do not contain the space.
pub(super) fn spaced_run(t: &Text<'_>, at: usize, classes: Classes) -> Option<usize> {
    spaced_run_where(t, at, |c| c.is(classes))
}

/// ` ?[...]+` for any condition that does not hold for the space.
pub(super) fn spaced_run_where(
    t: &Text<'_>,
    at: usize,
    holds: impl Fn(Char) -> bool,
) -> Option<usize> {
    let start = at + usize::from(t.char(at) == Some(' '));
    run_where(t, start, holds)
}

/// `\s?[...]+` for any condition.
pub(super) fn led_by_space(t: &Text<'_>, at: usize, holds: impl Fn(Char) -> bool) -> Option<usize> {
    let led = one_where(t, at, |c| c.is(SPACE)).and_then(|start| run_where(t, start, &holds));
    led.or_else(|| run_where(t, at, holds))
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
    one_where(t, at, |c| !c.is(not) && !is_newline(c))
}

/// `[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`: letters, each with its marks, and single spaces between them.
pub(super) fn led_phrase(t: &Text<'_>, at: usize) -> Option<usize> {
    let led = lead(t, at, LETTER | NUMBER).filter(|start| t.is(*start, LETTER));
    let start = led.unwrap_or(at);
    let mut end = start;
    loop {
        let space = start < end && t.char(end) == Some(' ');
        let letter = end + usize::from(space);
        if !t.is(letter, LETTER) {
            return longer(start, end);
        }
        end = t.skip(letter + 1, |c| c.is(MARK));
    }
}

/// `\s*[\r\n]+`, and `\s*[\r\n]`, which ends at the same place.
pub(super) fn spaces_and_newlines(t: &Text<'_>, at: usize) -> Option<usize> {
    longer(at, t.run(at, SPACE).newline_end)
}

/// `\s+(?!\S)`: white space up to the end, or else all of it except its last character.
pub(super) fn spaces_but_the_last(t: &Text<'_>, at: usize) -> Option<usize> {
    longer(at, at + spaces_before_another(t, at))
}

/// `\s{512}(?!\S)|\s{256}(?!\S)|` and so on down to `\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`
pub(super) fn spaces_by_powers_of_two(t: &Text<'_>, at: usize) -> Option<usize> {
    let most = spaces_before_another(t, at);
    let fits = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
        .into_iter()
        .find(|n| *n <= most);
    fits.map(|n| at + n).or_else(|| up_to(t, at, SPACE, 1))
}

/// How many white space characters from `at` on have another one, or the end, behind them.
fn spaces_before_another(t: &Text<'_>, at: usize) -> usize {
    let end = t.run(at, SPACE).end;
    let last = usize::from(end < t.end);
    (end - at).saturating_sub(last)
}

/// `\s+$`
pub(super) fn last_spaces(t: &Text<'_>, at: usize) -> Option<usize> {
    let end = t.run(at, SPACE).end;
    longer(at, end).filter(|end| *end == t.end)
}

/// `(?:\r?\n)*`, and all up to the next `\r?\n`.
pub(super) fn line_with_breaks_before(t: &Text<'_>, at: usize) -> Option<usize> {
    let line_break = |at| literal(t, at, "\n").or_else(|| literal(t, at, "\r\n"));
    let mut end = at;
    while let Some(behind) = line_break(end) {
        end = behind;
    }
    while end < t.end && line_break(end).is_none() {
        end += 1;
    }
    longer(at, end)
}

/// `\d{1,3}(?=(?:\d{3})*(?!\d))`: groups of three, counted from the right.
pub(super) fn three_from_the_right(t: &Text<'_>, at: usize) -> Option<usize> {
    let count = t.run(at, DIGIT).end - at;
    let first = if count > 0 && count.is_multiple_of(3) {
        3
    } else {
        count % 3
    };
    longer(at, at + first)
}

/// `\d{1,3}(?=(?:\d{3})*\b)`: like [`three_from_the_right`], but only where the digits end a word.
pub(super) fn three_from_the_end_of_a_word(t: &Text<'_>, at: usize) -> Option<usize> {
    let end = t.run(at, DIGIT).end;
    if t.char(end).is_some_and(is_word) {
        return None;
    }
    three_from_the_right(t, at)
}

/// All up to the next place where `(?=(\d{3})+(?!\d))` matches, which is a cut without characters.
pub(super) fn up_to_threes(t: &Text<'_>, at: usize) -> Option<usize> {
    let mut start = at;
    loop {
        let end = t.run(start, DIGIT).end;
        let cut = start + (end - start) % 3;
        let cut = if cut == at { cut + 3 } else { cut };
        if cut < end {
            return Some(cut);
        }
        start = t.skip(end, |c| !c.is(DIGIT));
        if start == t.end {
            return Some(start);
        }
    }
}

/// `[0-9][0-9][0-9]`
pub(super) fn three_digits(t: &Text<'_>, at: usize) -> Option<usize> {
    let all = (at..at + 3).all(|i| t.char(i).is_some_and(|c| c.is_ascii_digit()));
    all.then_some(at + 3)
}

/// `<sentinel:[0-9]+>`
pub(super) fn sentinel(t: &Text<'_>, at: usize) -> Option<usize> {
    let digits = literal(t, at, "<sentinel:")?;
    let end = run_where(t, digits, |c| c.char.is_ascii_digit())?;
    literal(t, end, ">")
}

/// `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`
pub(super) fn image(t: &Text<'_>, at: usize) -> Option<usize> {
    let letters = literal(t, at, "IMGIMG")?;
    let is_letter = |i: &usize| {
        t.char(letters + i)
            .is_some_and(|c| ('A'..='I').contains(&c))
    };
    let count = (0..4).take_while(is_letter).count();
    literal(t, longer(letters, letters + count)?, "Z")
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

/// Which letters and marks a cased word has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Any,
    /// `&&[^\p{Han}]`
    NotHan,
}

/// `[^\r\n\p{L}\p{N}]?[upper]*[lower]+tail?|[^\r\n\p{L}\p{N}]?[upper]+[lower]*tail?`, where modifiers, other letters and
/// marks are both upper and lower.
pub(super) fn cased_word(t: &Text<'_>, at: usize, script: Script, tail: Tail) -> Option<usize> {
    let starts = || {
        [lead(t, at, LETTER | NUMBER), Some(at)]
            .into_iter()
            .flatten()
    };
    let small = starts().find_map(|start| ends_lower(t, start, script));
    let end = small.or_else(|| starts().find_map(|start| begins_upper(t, start, script)))?;
    match tail {
        Tail::None => Some(end),
        Tail::Contraction => contraction(t, end, Case::Any).or(Some(end)),
    }
}

const NO_CASE: Classes = MODIFIER | OTHER_LETTER | MARK;
const UPPERS: Classes = UPPER | TITLE | NO_CASE;
const LOWERS: Classes = LOWER | NO_CASE;

impl Script {
    fn has(self, c: Char, classes: Classes) -> bool {
        c.is(classes) && (self == Self::Any || !is_han(c.char))
    }
}

/// `[upper]*[lower]+`
fn ends_lower(t: &Text<'_>, at: usize, script: Script) -> Option<usize> {
    let uppers = t.skip(at, |c| script.has(c, UPPERS));
    run_where(t, uppers, |c| script.has(c, LOWERS)).or_else(|| {
        // Back off to a character that is also lower; those after it are not.
        let last = (at..uppers).rev().find(|i| t.is(*i, LOWERS))?;
        Some(last + 1)
    })
}

/// `[upper]+[lower]*`
fn begins_upper(t: &Text<'_>, at: usize, script: Script) -> Option<usize> {
    let uppers = run_where(t, at, |c| script.has(c, UPPERS))?;
    Some(t.skip(uppers, |c| script.has(c, LOWERS)))
}

//! What to filter and how: from environment variables, which every host can set.

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

/// The phrases, one per line. Spaces around a phrase and empty lines are ignored.
pub const PHRASES: &str = "GUST_FILTER";
/// A file of phrases, in a folder that the host opens.
pub const FILE: &str = "GUST_FILTER_FILE";
/// `stop` or `mask`.
pub const ACTION: &str = "GUST_FILTER_ACTION";
/// `ignore` or `exact`.
pub const CASE: &str = "GUST_FILTER_CASE";

/// What to filter, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The phrases, in the form in which they are compared; none is empty.
    pub(crate) phrases: Vec<Vec<char>>,
    pub(crate) action: Action,
    pub(crate) case: Case,
}

/// What happens to a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The answer ends before it, with the reason `stop`.
    Stop,
    /// It is replaced.
    Mask,
}

/// How letters are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `A` equals `a`, in every script that has both; and so do other forms that look the same.
    Ignore,
    /// Exactly as written.
    Exact,
}

impl Case {
    /// The form of a text for comparisons: characters, each with the place of the one that it comes from.
    ///
    /// Unless the comparison is exact, forms that look the same are the same: letters are decomposed
    /// (Unicode's NFKD: `é` is `e` and an accent, a wide or a mathematical `a` is an `a`, a ligature is its letters) and
    /// small, characters without a width do not count, and any white space is one space. Letters of different scripts
    /// that look the same are different.
    pub(crate) fn normal(self, text: impl Iterator<Item = char>) -> Vec<(usize, char)> {
        let places = text.enumerate();
        if self == Case::Exact {
            return places.collect();
        }
        let mut normal: Vec<(usize, char)> = Vec::new();
        let mut add = |place: usize, c: char| {
            let c = if c.is_whitespace() { ' ' } else { c };
            let again = c == ' ' && normal.last().is_some_and(|(_, last)| *last == ' ');
            if again || has_no_width(c) {
                return;
            }
            // Marks on one letter have one order, whichever they were written in.
            let class = canonical_combining_class(c);
            let larger = |(_, mark): &&(usize, char)| canonical_combining_class(*mark) > class;
            let after = match class {
                0 => 0,
                _ => normal.iter().rev().take_while(larger).count(),
            };
            normal.insert(normal.len() - after, (place, c));
        };
        for (place, c) in places {
            decompose_compatible(c, |c| {
                if is_mark(c) {
                    return add(place, c);
                }
                // Through the large letters, because there are fewer: both forms of a sigma have one.
                let large = c.to_lowercase().flat_map(char::to_uppercase);
                for c in large.flat_map(char::to_lowercase) {
                    decompose_compatible(c, |c| add(place, c));
                }
            });
        }
        normal
    }
}

/// Whether `text`, in its form for comparisons, may become the start of `phrase` when it goes on.
pub(crate) fn may_begin(phrase: &[char], text: &[(usize, char)]) -> bool {
    let marks = text.iter().rev().take_while(|(_, c)| is_mark(*c)).count();
    let (text, marks) = text.split_at(text.len() - marks);
    let begins = text.len() <= phrase.len() && text.iter().zip(phrase).all(|((_, a), b)| a == b);
    // Marks that follow may come to stand before these.
    begins && (marks.is_empty() || phrase.get(text.len()).is_some_and(|c| is_mark(*c)))
}

fn is_mark(c: char) -> bool {
    canonical_combining_class(c) != 0
}

/// Nothing is shown for these: joiners, marks of direction, soft hyphens, selectors of variants, fillers
/// (Unicode's `Default_Ignorable_Code_Point`), and control characters that are not white space.
pub fn has_no_width(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || c.is_control()
}

/// An invalid setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The variable.
    pub subject: &'static str,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl Settings {
    /// Reads the settings with `variable`, and the file that they may refer to with `read`.
    ///
    /// # Errors
    /// If there is no phrase, or a value is unknown. A filter that filters nothing would look as if it worked.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Settings, Wrong> {
        let text = match (variable(PHRASES), variable(FILE)) {
            (Some(phrases), _) => phrases,
            (None, Some(path)) => read(&path).map_err(|error| Wrong {
                subject: FILE,
                expected: "a readable file".to_owned(),
                found: format!("{path}: {error}"),
            })?,
            (None, None) => String::new(),
        };
        let case = choice(
            &variable,
            CASE,
            ["ignore", "exact"],
            [Case::Ignore, Case::Exact],
        )?;
        let action = choice(
            &variable,
            ACTION,
            ["stop", "mask"],
            [Action::Stop, Action::Mask],
        )?;
        let normal = |line: &str| -> Vec<char> {
            let normal = case.normal(line.chars()).into_iter();
            normal.map(|(_, c)| c).collect()
        };
        let phrases = text.lines().map(|line| normal(line.trim()));
        let phrases: Vec<_> = phrases.filter(|phrase| !phrase.is_empty()).collect();
        if phrases.is_empty() {
            return Err(Wrong {
                subject: PHRASES,
                expected: format!("phrases, one per line (or set {FILE} to a file of them)"),
                found: "none".to_owned(),
            });
        }
        Ok(Settings {
            phrases,
            action,
            case,
        })
    }
}

/// The value for a word. The first one is the default.
fn choice<T>(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    words: [&str; 2],
    values: [T; 2],
) -> Result<T, Wrong> {
    let found = variable(name).unwrap_or_else(|| words[0].to_owned());
    let mut known = words.iter().zip(values);
    let value = known
        .find(|&(&word, _)| word == found)
        .map(|(_, value)| value);
    value.ok_or(Wrong {
        subject: name,
        expected: format!("`{}` or `{}`", words[0], words[1]),
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Wrong> {
        let variable = |name: &str| {
            let entry = variables.iter().find(|entry| entry.0 == name)?;
            Some(entry.1.to_owned())
        };
        let file = |path: &str| match path {
            "list" => Ok("one\r\n\r\n two words \n".to_owned()),
            _ => Err("not there".to_owned()),
        };
        Settings::read(variable, file)
    }

    #[test]
    fn the_list_comes_from_a_variable_or_a_file() {
        let list = settings(&[(FILE, "list")]).expect("a list");
        let phrases: Vec<String> = list.phrases.iter().map(|p| p.iter().collect()).collect();
        assert_eq!(phrases, ["one", "two words"]);
        assert_eq!((list.action, list.case), (Action::Stop, Case::Ignore));
        let list = settings(&[(PHRASES, "One"), (CASE, "exact"), (ACTION, "mask")]);
        let list = list.expect("a phrase");
        assert_eq!(list.phrases, [['O', 'n', 'e']]);
        assert_eq!((list.action, list.case), (Action::Mask, Case::Exact));
    }

    #[test]
    fn a_filter_that_would_filter_nothing_is_refused() {
        for (variables, subject) in [
            (&[] as &[(&str, &str)], PHRASES),
            (&[(PHRASES, " \n")], PHRASES),
            (&[(FILE, "elsewhere")], FILE),
            (&[(PHRASES, "a"), (ACTION, "drop")], ACTION),
            (&[(PHRASES, "a"), (CASE, "lower")], CASE),
        ] {
            let wrong = settings(variables).expect_err(subject);
            assert_eq!(wrong.subject, subject);
        }
    }
}

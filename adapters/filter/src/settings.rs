//! What to filter and how: from environment variables, which every host can set.

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
    /// `A` equals `a`, in every script that has both.
    Ignore,
    /// Exactly as written.
    Exact,
}

impl Case {
    /// The form of `c` for comparisons.
    pub(crate) fn fold(self, c: char) -> char {
        match self {
            Case::Exact => c,
            Case::Ignore => c.to_lowercase().next().unwrap_or(c),
        }
    }
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
        let fold = |line: &str| line.chars().map(|c| case.fold(c)).collect::<Vec<_>>();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let phrases: Vec<_> = lines.map(fold).collect();
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

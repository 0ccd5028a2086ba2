//! Comparing answers, and the table of all hosts.

use std::fmt::Write as _;

use serde_json::json;

use crate::list::{Host, PROMPT};
use crate::run::Answer;
use crate::tools::Found;

/// How a host did.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The tokens of the reference, so fast.
    Equal {
        tokens_per_second: f64,
    },
    /// What it said in the place of the reference's answer.
    Different(String),
    Failed(String),
    /// Why it is not there, and how it can be had.
    NotRun(String),
}

/// A line of the table.
pub(crate) struct Row {
    id: &'static str,
    host: &'static str,
    version: String,
    build: String,
    pub(crate) outcome: Outcome,
    notes: String,
}

impl Row {
    /// A host of which no more is known than how it did.
    pub(crate) fn of(host: &Host, outcome: Outcome) -> Self {
        Self {
            id: host.id,
            host: host.name,
            version: String::new(),
            build: host.build.to_owned(),
            outcome,
            notes: host.notes.to_owned(),
        }
    }

    /// A host that is there and has not answered.
    pub(crate) fn failed(host: &Host, found: &Found, error: &anyhow::Error) -> Self {
        Self {
            version: found.version.clone(),
            ..Self::of(host, Outcome::Failed(format!("{error:#}")))
        }
    }

    /// A host that has answered.
    pub(crate) fn compared(host: &Host, found: &Found, answer: Answer, reference: &Answer) -> Self {
        let or = |own: String, known: &str| {
            if own.is_empty() {
                known.to_owned()
            } else {
                own
            }
        };
        Self {
            version: or(answer.version.clone(), &found.version),
            build: or(answer.build.clone(), host.build),
            notes: or(answer.notes.clone(), host.notes),
            ..Self::of(host, compare(&answer, reference))
        }
    }

    /// The notes, which say what was to run, and what came of it.
    fn noted(&self, what: &str) -> String {
        match self.notes.as_str() {
            "" => what.to_owned(),
            notes => format!("{notes}: {what}"),
        }
    }

    /// Whether it is no reason to worry. A host that is not there is none.
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Equal { .. } | Outcome::NotRun(_))
    }
}

/// By the tokens where there are any, or else by the text.
fn compare(answer: &Answer, reference: &Answer) -> Outcome {
    let equal = match &answer.tokens {
        Some(_) => answer.tokens == reference.tokens,
        None => answer.text.is_some() && answer.text == reference.text,
    };
    if equal {
        return Outcome::Equal {
            tokens_per_second: answer.tokens_per_second,
        };
    }
    Outcome::Different(match (&answer.tokens, &answer.text) {
        (Some(tokens), _) => format!("{tokens:?}"),
        (None, text) => format!("{text:?}"),
    })
}

/// The table for people.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| host | version | build | tokens | tokens/s | notes |\n|---|---|---|---|---:|---|\n",
    );
    for row in rows {
        let (tokens, speed, notes) = match &row.outcome {
            Outcome::Equal { tokens_per_second } => {
                ("equal", speed(*tokens_per_second), row.notes.clone())
            }
            Outcome::Different(found) => ("DIFFERENT", String::new(), row.noted(found)),
            Outcome::Failed(why) => ("FAILED", String::new(), row.noted(why)),
            Outcome::NotRun(why) => ("not run", String::new(), row.noted(why)),
        };
        let cells = [row.host, &row.version, &row.build, tokens, &speed, &notes];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn speed(tokens_per_second: f64) -> String {
    match tokens_per_second {
        ..100.0 => format!("{tokens_per_second:.1}"),
        _ => format!("{tokens_per_second:.0}"),
    }
}

/// The table for programs.
pub(crate) fn json(rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let (tokens, speed, reason) = match &row.outcome {
                Outcome::Equal { tokens_per_second } => ("equal", Some(tokens_per_second), None),
                Outcome::Different(found) => ("different", None, Some(found)),
                Outcome::Failed(why) => ("failed", None, Some(why)),
                Outcome::NotRun(why) => ("not run", None, Some(why)),
            };
            json!({
                "id": row.id,
                "host": row.host,
                "version": row.version,
                "build": row.build,
                "tokens": tokens,
                "tokens_per_second": speed,
                "reason": reason,
                "notes": row.notes,
            })
        })
        .collect();
    format!("{:#}\n", json!(rows))
}

/// The page in `docs/`.
pub(crate) fn page(rows: &[Row], machine: &str, gust: &str) -> String {
    format!(
        "# One model, every host\n\n\
         Written by `cargo xtask hosts --save`, which runs the shipped model in each of these hosts: the prompt `{PROMPT}`, \
         seed 42, the default sampling, 64 tokens. `equal` means that the tokens are the same as in the first row (or \
         the text, where a host returns only text).\n\n{}\n\
         Machine: {machine}. Commit: {gust}.\n\n\
         Tokens/s is the speed of decoding one answer of 64 tokens, the median of five; with a 4 MB model that takes \
         a few dozen milliseconds, which shows the overhead of a host, not how fast its code runs on models of practical size \
         (see `benches/`). Node and Chromium generate one answer first, so that V8 has compiled. `relaxed` is the build \
         with relaxed-simd, `baseline` the one with simd128 only.\n",
        markdown(rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::HOSTS;

    fn answer(tokens: Option<Vec<u32>>, text: &str) -> Answer {
        Answer {
            tokens,
            text: Some(text.to_owned()),
            tokens_per_second: 12.34,
            ..Answer::default()
        }
    }

    #[test]
    fn tokens_count_more_than_text() {
        let reference = answer(Some(vec![1, 2]), " a b");
        for (tokens, text, equal) in [
            (Some(vec![1, 2]), "", true),
            (Some(vec![1, 3]), " a b", false),
            (Some(vec![1]), " a b", false),
            (None, " a b", true),
            (None, " a", false),
        ] {
            let outcome = compare(&answer(tokens, text), &reference);
            assert_eq!(
                matches!(outcome, Outcome::Equal { .. }),
                equal,
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn every_host_has_a_line_also_one_that_is_missing() {
        let [first, second, third, ..] = &HOSTS;
        let rows = [
            Row::of(
                first,
                Outcome::Equal {
                    tokens_per_second: 12.34,
                },
            ),
            Row::of(second, Outcome::NotRun("no such | program".into())),
            Row::of(third, Outcome::Different("[1]".into())),
        ];
        let table = markdown(&rows);
        assert!(table.contains("| equal | 12.3 | 1 thread |"), "{table}");
        assert!(
            table.contains("| not run |  | 2 threads: no such \\| program |"),
            "{table}"
        );
        assert_eq!(rows.map(|row| row.is_good()), [true, true, false]);
    }
}

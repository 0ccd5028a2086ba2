//! What is made of the numbers: docs/PARITY.md.

use std::fmt;

use crate::compare::GREEDY;
use crate::machine;
use crate::oracle::PACKAGE;
use crate::real::ANSWER;
use crate::vectors::Vector;
use crate::{LENGTHS, LONG};

/// Relative errors up to this are agreement.
pub(crate) const LIMIT: f64 = 5e-3;
/// Perplexities whose ratio is this close to 1 agree.
const RATIO_LIMIT: f64 = 5e-3;

pub(crate) struct Row {
    /// The file's name, without its ending.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    Compared(Columns),
    /// gust says why it does not run the file.
    Refused(String),
    /// llama.cpp says why it does not.
    NoOracle(String),
}

/// What is compared of a model. Errors are relative, of logits against llama.cpp's.
pub(crate) struct Columns {
    /// The largest after the short prompts.
    pub(crate) short: f64,
    /// After the longest.
    pub(crate) long: f64,
    pub(crate) greedy: Greedy,
    pub(crate) truncated: f64,
    pub(crate) restored: Same,
    pub(crate) grouped: Same,
    pub(crate) mixed: Same,
}

/// The tokens that are equal to llama.cpp's before the first that is not.
pub(crate) struct Greedy {
    pub(crate) equal: usize,
    /// Where they part: how far apart llama.cpp's two best logits are, as a part of the root mean square of all.
    pub(crate) margin: Option<f64>,
}

/// Logits against those of another run of gust.
pub(crate) enum Same {
    Bits,
    /// The relative error.
    Differs(f64),
    Failed(String),
}

/// Relative errors with matrices of a type, against the numbers that these stand for.
pub(crate) struct Distance {
    /// ggml's name of it.
    pub(crate) ty: &'static str,
    pub(crate) gust: f64,
    pub(crate) llama_cpp: f64,
}

/// A real model.
pub(crate) struct Real {
    /// The file's name.
    pub(crate) name: String,
    /// Of the text.
    pub(crate) n_tokens: usize,
    /// Whether llama.cpp makes the same tokens of the text, and scores as many.
    pub(crate) same_tokens: bool,
    /// Perplexities.
    pub(crate) gust: f64,
    pub(crate) llama_cpp: f64,
    /// To each of the prompts.
    pub(crate) answers: Vec<Answer>,
}

/// An answer against llama.cpp's.
pub(crate) enum Answer {
    Equal,
    /// The number of equal tokens, and how far apart the two best logits are after these.
    Parts {
        at: usize,
        gust: f64,
        llama_cpp: f64,
    },
    /// The prompt has other tokens.
    OtherPrompt,
}

impl Outcome {
    /// Whether both run the file and do not agree.
    pub(crate) fn is_wrong(&self) -> bool {
        matches!(self, Self::Compared(columns) if !columns.agree())
    }

    fn agrees(&self) -> bool {
        matches!(self, Self::Compared(columns) if columns.agree())
    }
}

impl Columns {
    fn agree(&self) -> bool {
        // What is not a number is no agreement.
        let errors = [self.short, self.long, self.truncated];
        let runs = [&self.restored, &self.grouped, &self.mixed];
        // Two tokens whose logits are closer than errors may be may change places.
        let parts = self.greedy.margin.unwrap_or(0.0);
        errors.iter().all(|error| *error < LIMIT)
            && runs.iter().all(|run| matches!(run, Same::Bits))
            && parts < LIMIT
    }
}

impl Vector {
    pub(crate) fn agrees(&self) -> bool {
        self.error < LIMIT && matches!(self.grouped, Same::Bits)
    }
}

impl Real {
    pub(crate) fn agrees(&self) -> bool {
        self.same_tokens
            && (self.ratio() - 1.0).abs() < RATIO_LIMIT
            && !self
                .answers
                .iter()
                .any(|answer| matches!(answer, Answer::OtherPrompt))
    }

    fn ratio(&self) -> f64 {
        self.gust / self.llama_cpp
    }

    /// The equal tokens of all answers.
    fn equal(&self) -> usize {
        let equal = |answer: &Answer| match answer {
            Answer::Equal => ANSWER,
            Answer::Parts { at, .. } => *at,
            Answer::OtherPrompt => 0,
        };
        self.answers.iter().map(equal).sum()
    }
}

/// The cells of a row.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compared(columns) => write!(f, "{columns}"),
            Self::Refused(why) => write!(f, "{why}"),
            Self::NoOracle(why) => write!(f, "not run by llama.cpp: {why}"),
        }
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            short,
            long,
            greedy,
            truncated,
            restored,
            grouped,
            mixed,
        } = self;
        write!(
            f,
            "{short:.1e} | {long:.1e} | {greedy} | {truncated:.1e} | {restored} | {grouped} | {mixed}"
        )
    }
}

impl fmt::Display for Greedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.equal)?;
        match self.margin {
            Some(margin) => write!(f, " ({margin:.1e})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Same {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits => write!(f, "same"),
            Self::Differs(error) => write!(f, "{error:.1e}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.same_tokens {
            true => "",
            false => " **other tokens**",
        };
        write!(
            f,
            "{}{mark} | {:.4} | {:.4} | {:.5}",
            thousands(self.n_tokens),
            self.gust,
            self.llama_cpp,
            self.ratio()
        )
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal => write!(f, "{ANSWER}"),
            Self::Parts {
                at,
                gust,
                llama_cpp,
            } => write!(f, "{at} ({gust:.3}, {llama_cpp:.3})"),
            Self::OtherPrompt => write!(f, "**other prompt**"),
        }
    }
}

/// The root of the mean square of the differences, divided by that of the expected numbers. Infinite ones, where both have
/// them, do not count.
pub(crate) fn relative_rmse<T: Copy + Into<f64>>(found: &[f32], expected: &[T]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let (mut differences, mut squares) = (0.0, 0.0);
    for (found, expected) in found.iter().zip(expected) {
        let (found, expected) = (f64::from(*found), (*expected).into());
        if found == expected && found.is_infinite() {
            continue;
        }
        differences += (found - expected).powi(2);
        squares += expected.powi(2);
    }
    (differences / squares).sqrt()
}

/// The root of the mean square, of finite numbers.
pub(crate) fn rms(numbers: &[f32]) -> f64 {
    let finite = numbers.iter().filter(|x| x.is_finite());
    let squares: Vec<f64> = finite.map(|x| f64::from(*x).powi(2)).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// How far the best logit is above the second best.
pub(crate) fn margin(logits: &[f32]) -> f64 {
    let mut sorted = logits.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    f64::from(sorted[0]) - f64::from(sorted[1])
}

/// Where the section of real models begins, which is written by runs of its own.
const REAL: &str = "\n## Real models\n";

/// The page, with the section of real models that the old page has.
pub(crate) fn page(
    rows: &[Row],
    own: &[Row],
    vectors: &[Vector],
    types: &[Distance],
    seed: u64,
    old: &str,
) -> String {
    let agree = rows.iter().filter(|row| row.outcome.agrees()).count();
    let short: Vec<String> = LENGTHS.iter().map(usize::to_string).collect();
    let short = short[..short.len() - 1].join(", ");
    let mut page = format!(
        "# Parity with llama.cpp\n\n\
         Written by `cargo xtask parity --seed {seed}` on {}, with gust {} and the llama.cpp of {PACKAGE}. \
         Do not edit.\n\n\
         **{agree} of {} files agree.** They are models with random weights that llama.cpp's own `test-llama-archs` \
         writes, with windows of 32 tokens. Each is written anew with a context of more than {LONG} tokens, and both \
         programs are given that file. Both compute in F32 with keys and values in F32; gust runs as a component. \
         Errors are relative: the root of the mean square of the differences of logits, divided by that of \
         llama.cpp's logits. The columns:\n\n\
         - **short**: the largest error after the first {short} tokens of a random prompt, and **{LONG}** after \
         {LONG} tokens, which gust is fed in a session that goes on, and llama.cpp as one batch.\n\
         - **greedy**: how many of {GREEDY} tokens after that prompt are equal to llama.cpp's before the first that is \
         not; there, in parentheses, how far apart llama.cpp's two best logits are, as a part of the root mean square \
         of all logits.\n\
         - **truncated**: the error after that session is truncated to a third of the prompt and fed other tokens, \
         against llama.cpp's logits of the resulting sequence, computed anew.\n\
         - **restored**: the session is saved after the prompt, and a new one restored from the bytes and fed the \
         greedy tokens. The logits are compared with those of the first session, which chose these tokens one by one.\n\
         - **two instances**: the same prompt and tokens with `threads: 2`, compared with the same logits.\n\
         - **mixed**: three sequences of 160, 90 and 30 tokens, a few of each in every batch, compared with each \
         alone, all logits. No command has this, so it is the engine as a native library, with its scalar kernels.\n\n\
         The last three say `same` if all bits are equal to gust's own, otherwise the error. A file agrees if they do, \
         errors are below {LIMIT:.0e}, and greedy tokens part only at a margin below that. llama.cpp's GELU is a table \
         of F16, which is why models that use it differ by about 1e-4.\n\n\
         The engine's tests hold the same on tiny models of each architecture (`guest/src/tiny_models.rs`), against \
         llama.cpp's logits of these (`tests/data/architectures/llama-cpp.json`).\n\n{}",
        machine::machine(),
        machine::gust_version(),
        rows.len(),
        table(rows),
    );
    let missing = |row: &&Row| !matches!(row.outcome, Outcome::Compared(_));
    page += "\nNot compared:\n\n| file | what is missing |\n|---|---|\n";
    for Row { name, outcome } in rows.iter().filter(missing) {
        let words = outcome.to_string().replace('|', "\\|");
        page += &format!("| {name} | {words} |\n");
    }
    page += "\n## Other architectures\n\n\
             Those that `test-llama-archs` does not write, in the same way: with gust's own tiny models.\n\n";
    page += &table(own);
    page += "\n## Vectors of texts\n\n\
             Models that embed or rank, which `test-llama-archs` does not write either: the vector of 300 random tokens, \
             pooled as the file says, or a classifier's outputs, with gust's own tiny models. The relative error, and \
             whether two instances give the same bits.\n\n\
             | model | error | two instances |\n|---|---|---|\n";
    for vector in vectors {
        let mark = match vector.agrees() {
            true => "",
            false => " **differs**",
        };
        let Vector {
            name,
            error,
            grouped,
        } = vector;
        page += &format!("| {name}{mark} | {error:.1e} | {grouped} |\n");
    }
    page += &format!(
        "\n## Types of weights\n\n\
         How far both are from the exact answer when matrices have a type: the file `qwen3-dense`, after {short} and \
         {LONG} tokens. The exact answer are the logits in float64 (`xtask/src/parity/exact.rs`) with the numbers \
         that ggml makes of the type's blocks. Both programs round what they multiply such matrices with to 8 bits. \
         Matrices whose rows are no whole number of blocks stay in F32.\n\n\
         | type | gust | llama.cpp | gust / llama.cpp |\n|---|---|---|---|\n"
    );
    for Distance {
        ty,
        gust,
        llama_cpp,
    } in types
    {
        let ratio = gust / llama_cpp;
        page += &format!("| {ty} | {gust:.1e} | {llama_cpp:.1e} | {ratio:.2} |\n");
    }
    if let Some(at) = old.find(REAL) {
        page += &old[at..];
    }
    page
}

/// What is compared, of the rows that are.
fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "| file | short | {LONG} | greedy | truncated | restored | two instances | mixed |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for Row { name, outcome } in rows {
        let mark = match outcome.is_wrong() {
            true => " **differs**",
            false => "",
        };
        if let Outcome::Compared(columns) = outcome {
            table += &format!("| {name}{mark} | {columns} |\n");
        }
    }
    table
}

/// The section of real models, without its headline.
pub(crate) fn real(rows: &[Real], prompts: &[&str], is_own_text: bool) -> String {
    let text = match is_own_text {
        true => "this repository's documents, one after the other",
        false => "a text that was given",
    };
    let mut section = format!(
        "\nWritten by `cargo xtask parity --real FOLDER --update` on {}, with gust {} and the llama.cpp of {PACKAGE}. \
         Do not edit.\n\n\
         Perplexity over {text}: the number of tokens in the model's vocabulary, which both programs make the same, and \
         the perplexity in windows of 512 tokens (gust's by `gust perplexity`). Then the greedy answers to {} prompts \
         (`xtask/src/parity/prompts.txt`), {ANSWER} tokens each: how many tokens are equal before the first that is \
         not. Both programs keep keys and values in F32.\n\n\
         | file | tokens | gust | llama.cpp | gust / llama.cpp | equal tokens |\n|---|---|---|---|---|---|\n",
        machine::machine(),
        machine::gust_version(),
        prompts.len(),
    );
    for row in rows {
        let of = thousands(ANSWER * row.answers.len());
        let equal = thousands(row.equal());
        section += &format!("| {} | {row} | {equal} of {of} |\n", row.name);
    }
    section += "\nEach answer. Where the programs part, the difference of the two best logits is in parentheses, gust's \
                and llama.cpp's: if both are small, two tokens were nearly as good.\n\n| prompt |";
    rows.iter()
        .for_each(|row| section += &format!(" {} |", row.name));
    section += &format!("\n|---|{}\n", "---|".repeat(rows.len()));
    for (i, prompt) in prompts.iter().enumerate() {
        let line = prompt.lines().next().unwrap_or_default();
        section += &format!("| `{}` |", line.replace('|', "\\|").replace('`', "'"));
        for row in rows {
            section += &format!(" {} |", row.answers[i]);
        }
        section += "\n";
    }
    section
}

/// The page with another section of real models.
pub(crate) fn with_real(page: &str, section: &str) -> String {
    let rest = &page[..page.find(REAL).unwrap_or(page.len())];
    format!("{rest}{REAL}{section}")
}

/// With commas between groups of three digits.
fn thousands(n: usize) -> String {
    match n / 1000 {
        0 => n.to_string(),
        more => format!("{},{:03}", thousands(more), n % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns {
            short: 1e-6,
            long: 2e-6,
            greedy: Greedy {
                equal: GREEDY,
                margin: None,
            },
            truncated: 3e-6,
            restored: Same::Bits,
            grouped: Same::Bits,
            mixed: Same::Bits,
        }
    }

    fn row(name: &str, outcome: Outcome) -> Row {
        Row {
            name: name.into(),
            outcome,
        }
    }

    #[test]
    fn errors_are_relative_and_nan_is_wrong() {
        assert_eq!(relative_rmse(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert!((relative_rmse(&[3.0, 5.0], &[3.0, 4.0]) - 0.2).abs() < 1e-9);
        let infinite = f32::NEG_INFINITY;
        assert_eq!(relative_rmse(&[infinite, 1.0], &[infinite, 1.0]), 0.0);
        assert!(relative_rmse(&[1.0], &[1.0, 2.0]).is_nan());
        assert!(relative_rmse(&[f32::NAN], &[1.0]).is_nan());
        assert_eq!(rms(&[3.0, infinite, -3.0]), 3.0);
        assert_eq!(margin(&[1.0, 4.0, -9.0, 3.5]), 0.5);
        assert_eq!(margin(&[4.0, 1.0, 4.0]), 0.0);
    }

    #[test]
    fn every_column_counts() {
        assert!(columns().agree());
        let greedy = |margin| Greedy {
            equal: 5,
            margin: Some(margin),
        };
        for wrong in [
            Columns {
                short: 0.1,
                ..columns()
            },
            Columns {
                long: f64::NAN,
                ..columns()
            },
            Columns {
                truncated: 0.1,
                ..columns()
            },
            Columns {
                greedy: greedy(0.1),
                ..columns()
            },
            Columns {
                restored: Same::Differs(1e-9),
                ..columns()
            },
            Columns {
                grouped: Same::Failed("it fails".into()),
                ..columns()
            },
            Columns {
                mixed: Same::Differs(1e-9),
                ..columns()
            },
        ] {
            assert!(!wrong.agree(), "{wrong}");
        }
        let near_tie = Columns {
            greedy: greedy(1e-5),
            ..columns()
        };
        assert!(near_tie.agree());
    }

    #[test]
    fn the_page_counts_what_agrees() {
        let wrong = Columns {
            long: 0.1,
            ..columns()
        };
        let refused = "unsupported: architecture: expected x, found z";
        let rows = [
            row("a", Outcome::Compared(columns())),
            row("b", Outcome::Compared(wrong)),
            row("c", Outcome::Refused(refused.into())),
        ];
        let types = [Distance {
            ty: "q4_K",
            gust: 2e-3,
            llama_cpp: 4e-3,
        }];
        let old = "# Old\n\n## Real models\n\nmeasured before\n";
        let page = page(&rows, &rows[..1], &[], &types, 7, old);
        for line in [
            "**1 of 3 files agree.**",
            "| a | 1.0e-6 | 2.0e-6 | 64 | 3.0e-6 | same | same | same |",
            "| b **differs** | 1.0e-6 | 1.0e-1 |",
            "| c | unsupported: architecture: expected x, found z |",
            "| q4_K | 2.0e-3 | 4.0e-3 | 0.50 |",
            "\n## Real models\n\nmeasured before\n",
        ] {
            assert!(page.contains(line), "{line}: {page}");
        }
        assert!(!page.contains("# Old"), "{page}");
    }

    #[test]
    fn real_models_have_a_section_of_their_own() {
        let real_row = Real {
            name: "m.gguf".into(),
            n_tokens: 21_034,
            same_tokens: true,
            gust: 10.01,
            llama_cpp: 10.0,
            answers: vec![
                Answer::Equal,
                Answer::Parts {
                    at: 7,
                    gust: 0.02,
                    llama_cpp: 0.01,
                },
            ],
        };
        assert!(real_row.agrees());
        let section = real(&[real_row], &["first\nline", "a | b"], true);
        for line in [
            "| m.gguf | 21,034 | 10.0100 | 10.0000 | 1.00100 | 71 of 128 |",
            "| `first` | 64 |",
            "| `a \\| b` | 7 (0.020, 0.010) |",
        ] {
            assert!(section.contains(line), "{line}: {section}");
        }
        let page = with_real("# Page\n\n## Real models\n\nold\n", &section);
        assert!(page.starts_with("# Page\n\n## Real models\n"), "{page}");
        assert!(page.ends_with(&section), "{page}");
        assert!(!page.contains("old"), "{page}");
        assert!(with_real("# Page\n", &section).starts_with("# Page\n\n## Real models\n"));
    }
}

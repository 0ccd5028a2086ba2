//! What is made of the numbers: docs/PARITY.md.

use std::fmt;

use crate::machine;
use crate::oracle::PACKAGE;

/// Relative errors up to this are agreement.
const LIMIT: f64 = 5e-3;

pub(crate) struct Row {
    /// The file's name, without its ending.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

/// Relative errors with matrices of a type, against the numbers that these stand for.
pub(crate) struct Distance {
    /// ggml's name of it.
    pub(crate) ty: &'static str,
    pub(crate) gust: f64,
    pub(crate) llama_cpp: f64,
}

pub(crate) enum Outcome {
    /// The largest relative error of the logits.
    Compared(f64),
    /// gust says why it does not run the file.
    Refused(String),
    /// llama.cpp says why it does not.
    NoOracle(String),
}

impl Outcome {
    /// Whether both run the file and do not agree.
    pub(crate) fn is_wrong(&self) -> bool {
        // What is not a number is wrong, too.
        matches!(self, Self::Compared(error) if error.is_nan() || *error >= LIMIT)
    }

    fn agrees(&self) -> bool {
        matches!(self, Self::Compared(_)) && !self.is_wrong()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compared(error) => write!(f, "{error:.1e}"),
            Self::Refused(why) => write!(f, "{why}"),
            Self::NoOracle(why) => write!(f, "not run by llama.cpp: {why}"),
        }
    }
}

/// The root of the mean square of the differences, divided by that of the expected numbers. Infinite ones, where both have
/// them, do not count.
pub(crate) fn relative_rmse(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let (mut differences, mut squares) = (0.0, 0.0);
    for (found, expected) in found.iter().zip(expected) {
        if found == expected && found.is_infinite() {
            continue;
        }
        let (found, expected) = (f64::from(*found), f64::from(*expected));
        differences += (found - expected).powi(2);
        squares += expected.powi(2);
    }
    (differences / squares).sqrt()
}

/// The page.
pub(crate) fn page(rows: &[Row], own: &[Row], types: &[Distance], seed: u64) -> String {
    let agree = rows.iter().filter(|row| row.outcome.agrees()).count();
    let mut page = format!(
        "# Parity with llama.cpp\n\n\
         Written by `cargo xtask parity --seed {seed}` on {}. Do not edit.\n\n\
         **{agree} of {} files agree.** They are models with random weights that llama.cpp's own `test-llama-archs` \
         writes ({PACKAGE}). Both programs compute the logits after 1, 80 and 160 random tokens, longer than the files' \
         windows, in F32 with keys and values in F32. The number is the largest relative error of gust's logits \
         (the root of the mean square of the differences, divided by that of llama.cpp's logits); up to {LIMIT:.0e} is \
         agreement. llama.cpp's GELU is a table of F16, which is why models that use it differ by about 1e-4.\n\n\
         That the same architectures give the same bits in any batch, in a mix of sequences, in a group of instances, \
         after a truncation, from a copy and from a saved state is held by the engine's tests, on tiny models of each \
         (`guest/src/tiny_models.rs`), and so are llama.cpp's logits of these \
         (`tests/data/architectures/llama-cpp.json`).\n\n\
         | file | relative error, or what gust lacks |\n|---|---|\n",
        machine::machine(),
        rows.len(),
    );
    page += &lines(rows);
    page += "\n## Other architectures\n\n\
             Those that `test-llama-archs` does not write, in the same way: with gust's own tiny models.\n\n\
             | model | relative error |\n|---|---|\n";
    page += &lines(own);
    page += "\n## Types of weights\n\n\
             How far both are from the exact answer when matrices have a type: the file `qwen3-dense`, whose logits \
             with the numbers that the type stands for, in F32, are the exact answer. Both programs round what they \
             multiply such matrices with to 8 bits. Matrices whose rows are no whole number of blocks stay in F32.\n\n\
             | type | gust | llama.cpp | gust / llama.cpp |\n|---|---|---|---|\n";
    for Distance {
        ty,
        gust,
        llama_cpp,
    } in types
    {
        let ratio = gust / llama_cpp;
        page += &format!("| {ty} | {gust:.1e} | {llama_cpp:.1e} | {ratio:.2} |\n");
    }
    page
}

/// The rows of a table.
fn lines(rows: &[Row]) -> String {
    let line = |Row { name, outcome }: &Row| {
        let mark = match outcome.is_wrong() {
            true => " **differs**",
            false => "",
        };
        let words = outcome.to_string().replace('|', "\\|");
        format!("| {name} | {words}{mark} |\n")
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_and_nan_is_wrong() {
        assert_eq!(relative_rmse(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert!((relative_rmse(&[3.0, 5.0], &[3.0, 4.0]) - 0.2).abs() < 1e-9);
        let infinite = f32::NEG_INFINITY;
        assert_eq!(relative_rmse(&[infinite, 1.0], &[infinite, 1.0]), 0.0);
        assert!(Outcome::Compared(relative_rmse(&[1.0], &[1.0, 2.0])).is_wrong());
        assert!(Outcome::Compared(relative_rmse(&[f32::NAN], &[1.0])).is_wrong());
        assert!(!Outcome::Compared(1e-3).is_wrong());
    }

    #[test]
    fn the_page_counts_what_agrees() {
        let row = |name: &str, outcome| Row {
            name: name.into(),
            outcome,
        };
        let rows = [
            row("a", Outcome::Compared(1e-6)),
            row("b", Outcome::Compared(0.1)),
            row(
                "c",
                Outcome::Refused("unsupported: architecture: expected x, found z".into()),
            ),
        ];
        let types = [Distance {
            ty: "q4_K",
            gust: 2e-3,
            llama_cpp: 4e-3,
        }];
        let page = page(&rows, &rows[..1], &types, 7);
        assert!(page.contains("| q4_K | 2.0e-3 | 4.0e-3 | 0.50 |"), "{page}");
        assert!(page.contains("**1 of 3 files agree.**"), "{page}");
        assert!(page.contains("| b | 1.0e-1 **differs** |"), "{page}");
        assert!(
            page.contains("| c | unsupported: architecture: expected x, found z |"),
            "{page}"
        );
    }
}

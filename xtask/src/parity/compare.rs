//! One model in all columns of the table.

use std::path::Path;

use anyhow::Result;
use gust::Engine;

use crate::gust::{Run, Script, run};
use crate::longer::longer;
use crate::mixed::alone_and_mixed;
use crate::oracle::{Logits, Oracle};
use crate::table::{Columns, Greedy, Outcome, Same, margin, relative_rmse, rms};
use crate::{CONTEXT, LENGTHS, LONG, folder, tokens};

/// Tokens that are chosen greedily after the longest prompt.
pub(crate) const GREEDY: usize = 64;
/// A third of the longest prompt stays after the truncation, and so many other tokens follow.
const CUT: usize = LONG / 3;
const OTHERS: usize = 107;

/// One model, whose tokens are at least `n_vocab`.
pub(crate) fn compare(
    oracle: &Oracle,
    engine: &Engine,
    model: &Path,
    seed: u64,
    n_vocab: u64,
) -> Result<Outcome> {
    let file = match longer(&std::fs::read(model)?, CONTEXT) {
        Ok(file) => file,
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    let model = folder()?.join("long.gguf");
    std::fs::write(&model, &file)?;
    let tokens = tokens(seed, n_vocab, LONG + OTHERS);
    let (prompt, others) = tokens.split_at(LONG);
    let cut = [&prompt[..CUT], others].concat();
    let answers = oracle.logits(&model, &[], prompt, GREEDY);
    let answers = answers.and_then(|expected| Ok([expected, oracle.logits(&model, &[], &cut, 0)?]));
    let [expected, after_cut] = match answers {
        Ok(answers) => answers,
        Err(error) => return Ok(Outcome::NoOracle(error.to_string())),
    };
    let script = Script {
        prompt,
        lengths: &LENGTHS,
        n_greedy: GREEDY,
        cut: CUT,
        others,
    };
    let found = match run(engine, &model, &script) {
        Ok(found) => found,
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    let errors = LENGTHS.iter().zip(&found.prompt);
    let errors = errors.map(|(length, found)| relative_rmse(found, expected.after(*length)));
    let errors: Vec<f64> = errors.collect();
    let (long, short) = errors.split_last().expect("there are lengths");
    let Run { end, .. } = &found;
    Ok(Outcome::Compared(Columns {
        short: worst(short),
        long: *long,
        greedy: greedy(&found.greedy, &expected),
        truncated: relative_rmse(&found.truncated, after_cut.after(cut.len())),
        restored: same(found.restored.as_deref().map(|found| [found, end])),
        grouped: same(found.grouped.as_deref().map(|found| [found, end])),
        mixed: same(
            alone_and_mixed(&file, prompt)
                .as_ref()
                .map(|[alone, mixed]| [&mixed[..], alone]),
        ),
    }))
}

/// The largest, or what is not a number.
fn worst(errors: &[f64]) -> f64 {
    let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
    errors.iter().copied().fold(0.0, larger)
}

fn greedy(found: &[u32], expected: &Logits) -> Greedy {
    let equal = found.iter().zip(&expected.greedy);
    let equal = equal
        .take_while(|(found, expected)| found == expected)
        .count();
    let margin = (equal < GREEDY).then(|| {
        let logits = expected.after(LONG + equal);
        margin(logits) / rms(logits)
    });
    Greedy { equal, margin }
}

/// Whether the bits are the same as in a run of gust's own.
fn same<E: std::fmt::Display>(runs: Result<[&[f32]; 2], E>) -> Same {
    match runs {
        Err(error) => Same::Failed(error.to_string()),
        Ok([found, own]) => {
            let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            match bits(found) == bits(own) {
                true => Same::Bits,
                false => Same::Differs(relative_rmse(found, own)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_is_the_worst() {
        assert_eq!(worst(&[1e-7, 3e-7, 2e-7]), 3e-7);
        assert!(worst(&[1e-7, f64::NAN, 2e-7]).is_nan());
    }

    #[test]
    fn the_same_are_the_same_bits() {
        let runs = |found, own| same(Ok::<_, String>([found, own]));
        let ours: &[f32] = &[0.5, 0.0];
        assert!(matches!(runs(ours, ours), Same::Bits));
        assert!(matches!(runs(&[0.5, -0.0], ours), Same::Differs(_)));
        assert!(matches!(runs(&[0.5], ours), Same::Differs(error) if error.is_nan()));
        let failed = same(Err("gone".to_owned()));
        assert!(matches!(failed, Same::Failed(why) if why == "gone"));
    }
}

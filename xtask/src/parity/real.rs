//! Real models: perplexity over a text, and greedy answers to prompts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gust::{Engine, TokenizeOptions};

use crate::gust::{greedy, load, nll, session};
use crate::oracle::{self, Oracle};
use crate::table::{self, Answer, Real, margin};
use crate::{folder, models, root};

/// Tokens of a window of the text.
const WINDOW: u32 = 512;
/// Tokens of an answer.
pub(crate) const ANSWER: usize = 64;
/// What the repository's own text has at least, in any vocabulary.
const ENOUGH: usize = 20_000;
/// The prompts, with a line of four dashes between them.
const PROMPTS: &str = include_str!("prompts.txt");

/// All files of a folder that have `only` in their name. `report` receives the section of the page after each file, with
/// those before it. Gives whether all agree.
pub(crate) fn real_models(
    oracle: &Oracle,
    engine: &Engine,
    models: &Path,
    only: Option<&str>,
    text: Option<&Path>,
    mut report: impl FnMut(&str) -> Result<()>,
) -> Result<bool> {
    let prompts: Vec<&str> = PROMPTS.split("\n----\n").map(str::trim_end).collect();
    let mut rows = Vec::new();
    for model in models::files(models)? {
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let mut row = perplexity(oracle, engine, &model, text)?;
        eprintln!("{name}: perplexity {row}");
        row.answers = answers(oracle, engine, &model, &prompts)?;
        rows.push(row);
        report(&table::real(&rows, &prompts, text.is_none()))?;
    }
    Ok(rows.iter().all(Real::agrees))
}

/// The row of a file, yet without answers.
fn perplexity(oracle: &Oracle, engine: &Engine, model: &Path, text: Option<&Path>) -> Result<Real> {
    let path = match text {
        Some(text) => text.to_owned(),
        None => own_text()?,
    };
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    eprintln!("{name}: llama.cpp scores the text");
    let expected = oracle.nll(model, &path, WINDOW)?;
    eprintln!("{name}: gust scores the text");
    let (scored, found) = nll(model, &path, WINDOW)?;
    let options = TokenizeOptions {
        add_special: Some(false),
        ..TokenizeOptions::default()
    };
    let tokens = load(engine, model, None)?;
    let tokens = tokens.tokenize(&std::fs::read_to_string(&path)?, &options)?;
    ensure!(
        text.is_some() || tokens.len() >= ENOUGH,
        "the repository's text has {} tokens for {name}, expected at least {ENOUGH}\n\
         hint: add documents to `own_text`",
        tokens.len()
    );
    Ok(Real {
        name: name.into_owned(),
        n_tokens: tokens.len(),
        same_tokens: tokens == expected.tokens && scored == expected.scored,
        gust: found.exp(),
        llama_cpp: expected.nll.exp(),
        answers: Vec::new(),
    })
}

/// What both answer to each prompt.
fn answers(
    oracle: &Oracle,
    engine: &Engine,
    model: &Path,
    prompts: &[&str],
) -> Result<Vec<Answer>> {
    let folder = folder()?;
    let files: Result<Vec<PathBuf>> = (1..)
        .zip(prompts)
        .map(|(i, prompt)| {
            let path = folder.join(format!("prompt-{i}.txt"));
            std::fs::write(&path, prompt)?;
            Ok(path)
        })
        .collect();
    eprintln!("llama.cpp answers {} prompts", prompts.len());
    let expected = oracle.greedy(model, ANSWER, &files?)?;
    ensure!(
        expected.len() == prompts.len(),
        "llama.cpp left prompts out"
    );
    let model = load(engine, model, None)?;
    let mut session = session(&model)?;
    let mut answers = Vec::new();
    for (prompt, expected) in prompts.iter().zip(&expected) {
        let tokens = model.tokenize(prompt, &TokenizeOptions::default())?;
        session.truncate(0)?;
        session.feed(&tokens)?;
        let found = greedy(&mut session, ANSWER)?;
        let answer = match tokens == expected.prompt {
            false => Answer::OtherPrompt,
            true => compared(&mut session, &found, expected)?,
        };
        eprintln!("gust, {} of {}: {answer}", answers.len() + 1, prompts.len());
        answers.push(answer);
    }
    Ok(answers)
}

/// Where the answers part, and how close the two best tokens are there.
fn compared(
    session: &mut gust::Session,
    found: &[u32],
    expected: &oracle::Greedy,
) -> Result<Answer> {
    let equal = found.iter().zip(&expected.tokens);
    let equal = equal
        .take_while(|(found, expected)| found == expected)
        .count();
    if equal == ANSWER {
        return Ok(Answer::Equal);
    }
    session.truncate((expected.prompt.len() + equal) as u32)?;
    Ok(Answer::Parts {
        at: equal,
        gust: margin(&session.logits()?),
        llama_cpp: *expected.margins.get(equal).context("too few margins")?,
    })
}

/// This repository's documents: more than 20,000 tokens.
fn own_text() -> Result<PathBuf> {
    let mut text = String::new();
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "adapters/README.md",
        "web/README.md",
        "models/README.md",
        "docs/SCALING.md",
        "benches/PROFILES.md",
    ] {
        text += &std::fs::read_to_string(root().join(name))?;
    }
    let path = folder()?.join("text.md");
    std::fs::write(&path, text)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twenty_different_prompts() {
        let mut prompts: Vec<&str> = PROMPTS.split("\n----\n").map(str::trim_end).collect();
        assert_eq!(prompts.len(), 20);
        prompts.sort_unstable();
        prompts.dedup();
        assert_eq!(prompts.len(), 20);
        assert!(prompts.iter().all(|prompt| prompt.len() > 10));
    }
}

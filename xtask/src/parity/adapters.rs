//! Adapters: random ones of gust's own tiny models, each kind of tensor alone, and one of a real model.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use gust::{ChatMessage, Engine, RenderOptions, Session, SpecialTokens};
use gust_engine::gguf::{Gguf, TensorType};
use gust_engine::tiny_models::{Matrices, RandomAdapter, named};

use crate::gust::{greedy, load, session};
use crate::oracle::{Adapter, Logits, Oracle, PACKAGE};
use crate::real::ANSWER;
use crate::table::{LIMIT, margin, relative_rmse};
use crate::{folder, machine, tokens};

/// Tokens of a prompt: more than one batch.
const LENGTH: usize = 80;

/// What an adapter does of one kind of tensor, in one architecture.
enum Outcome {
    /// How much the logits change, and how far gust's are from llama.cpp's, relative.
    Compared { change: f64, error: f64 },
    /// llama.cpp's logits are as if there were no adapter.
    Ignored,
    /// llama.cpp ends.
    Failed,
}

impl Outcome {
    fn agrees(&self) -> bool {
        match self {
            Self::Compared { change, error } => *error < LIMIT && *error < change / 10.0,
            Self::Ignored | Self::Failed => true,
        }
    }
}

/// Adapters of gust's own tiny models against llama.cpp: the section of the page, and whether all agree.
pub(crate) fn random_adapters(
    oracle: &Oracle,
    engine: &Engine,
    only: Option<&str>,
    seed: u64,
) -> Result<(String, bool)> {
    let tokens = tokens(seed, 64, LENGTH);
    // By kind of tensor, then by architecture.
    let mut kinds = BTreeMap::<String, Vec<(String, Outcome)>>::new();
    for (name, case) in named() {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let file = case.file(Matrices::F32);
        let model = folder()?.join("tiny.gguf");
        std::fs::write(&model, &file)?;
        let Ok(plain) = oracle.logits(&model, &[], &tokens, 0) else {
            eprintln!("{name}: not run by llama.cpp");
            continue;
        };
        let plain = plain.after(LENGTH);
        let loaded = load(engine, &model, Some(1))?;
        for kind in kinds_of(&file)? {
            let random = RandomAdapter {
                rank: 4,
                alpha: 6.0,
                seed,
                ty: TensorType::F32,
            };
            let path = folder()?.join("adapter.gguf");
            let is_changed = |tensor: &str| kind_of(tensor) == kind;
            std::fs::write(&path, random.file(&file, is_changed))?;
            let adapter = Adapter {
                file: &path,
                scale: 0.75,
            };
            let outcome = match oracle.logits(&model, &[adapter], &tokens, 0) {
                Err(_) => Outcome::Failed,
                Ok(expected) if expected.after(LENGTH) == plain => Outcome::Ignored,
                Ok(expected) => {
                    let mut session = session(&loaded)?;
                    session.set_adapters(&[(&loaded.load_adapter(&path)?, 0.75)])?;
                    session.feed(&tokens)?;
                    Outcome::Compared {
                        change: relative_rmse(expected.after(LENGTH), plain),
                        error: relative_rmse(&session.logits()?, expected.after(LENGTH)),
                    }
                }
            };
            if !outcome.agrees() {
                eprintln!("{name}, {kind}: differs");
            }
            kinds.entry(kind).or_default().push((name.clone(), outcome));
        }
        eprintln!("{name}");
    }
    let agree = kinds
        .values()
        .flatten()
        .all(|(_, outcome)| outcome.agrees());
    Ok((random_section(&kinds, seed), agree))
}

/// A tensor's name without the number of its layer.
fn kind_of(tensor: &str) -> String {
    let name = tensor.strip_suffix(".weight").unwrap_or(tensor);
    let in_layer = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'));
    in_layer.map_or(name, |(_, name)| name).to_owned()
}

/// The kinds of tensors that adapters can change.
fn kinds_of(file: &[u8]) -> Result<Vec<String>> {
    let random = RandomAdapter {
        rank: 1,
        alpha: 1.0,
        seed: 1,
        ty: TensorType::F32,
    };
    let adapter = random.file(file, |_| true);
    let gguf = Gguf::read(&adapter.as_slice()).map_err(|error| anyhow::anyhow!("{error}"))?;
    let names = gguf
        .tensors
        .iter()
        .filter_map(|tensor| tensor.name.strip_suffix(".lora_a"));
    let mut kinds: Vec<String> = names.map(kind_of).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

fn random_section(kinds: &BTreeMap<String, Vec<(String, Outcome)>>, seed: u64) -> String {
    let mut section = format!(
        "\nWritten by `cargo xtask parity --adapters --seed {seed}` on {}, with gust {} and the llama.cpp of {PACKAGE}. \
         Do not edit.\n\n\
         gust's own tiny models of each architecture, in F32, with a random LoRA of rank 4, alpha 6 and scale 0.75 of one kind \
         of tensor in all layers; logits after {LENGTH} tokens, against llama.cpp with the same file. **compared**: of how \
         many models. **change**: the least relative change of llama.cpp's logits by the adapter; **error**: the largest \
         relative error of gust's. They agree if the error is below {LIMIT:.0e} and below a tenth of the change. Where \
         llama.cpp multiplies without looking for adapters, its logits stay as they are; there gust has the engine's tests, \
         which compare all kinds with models that have the change in their matrices.\n\n\
         | tensor | compared | change | error | llama.cpp takes no notice | llama.cpp ends |\n|---|---|---|---|---|---|\n",
        machine::machine(),
        machine::gust_version(),
    );
    for (kind, models) in kinds {
        let (mut n, mut least, mut largest) = (0, f64::INFINITY, 0.0_f64);
        let (mut ignored, mut failed) = (Vec::new(), Vec::new());
        for (name, outcome) in models {
            match outcome {
                Outcome::Compared { change, error } => {
                    n += 1;
                    least = least.min(*change);
                    largest = if error.is_nan() {
                        f64::NAN
                    } else {
                        largest.max(*error)
                    };
                }
                Outcome::Ignored => ignored.push(name.as_str()),
                Outcome::Failed => failed.push(name.as_str()),
            }
        }
        let mark = match models.iter().all(|(_, outcome)| outcome.agrees()) {
            true => "",
            false => " **differs**",
        };
        let numbers = match n {
            0 => "0 | |".to_owned(),
            _ => format!("{n} | {least:.1e} | {largest:.1e}"),
        };
        let names = |names: &[&str]| match names.len() {
            0..=3 => names.join(", "),
            more => format!("{more} models"),
        };
        let (ignored, failed) = (names(&ignored), names(&failed));
        let _ = writeln!(
            section,
            "| {kind}{mark} | {numbers} | {ignored} | {failed} |"
        );
    }
    section
}

/// What a session gives with an adapter of this scale; none with 0.
struct Scaled {
    scale: f32,
    /// Of the logits after each prompt: the largest relative error, and how many most probable tokens are the same.
    error: f64,
    same: usize,
    /// How much the adapter changes llama.cpp's logits: the least, relative.
    change: f64,
    /// The answers: the equal tokens of each before the first that is not, and there how far the two best logits are apart
    /// in gust and in llama.cpp.
    answers: Vec<(usize, Option<[f64; 2]>)>,
}

impl Scaled {
    fn new(scale: f32) -> Self {
        Self {
            scale,
            error: 0.0,
            same: 0,
            change: f64::INFINITY,
            answers: Vec::new(),
        }
    }
}

/// A real model with a real adapter: attached, scaled, and detached again in one session, against llama.cpp with the same
/// files. The section of the page, and whether they agree.
pub(crate) fn real_adapter(
    oracle: &Oracle,
    engine: &Engine,
    model: &Path,
    adapter: &Path,
    prompts: &[&str],
) -> Result<(String, bool)> {
    let loaded = load(engine, model, None)?;
    let lora = loaded.load_adapter(adapter)?;
    let mut session = session(&loaded)?;
    let mut rows = Vec::new();
    // llama.cpp's logits without the adapter.
    let mut plain = Vec::new();
    for scale in [0.0, 1.0, 0.5, 0.0] {
        let attached = [(&lora, scale)];
        session.set_adapters(if scale == 0.0 { &[] } else { &attached })?;
        let with = [Adapter {
            file: adapter,
            scale,
        }];
        let with: &[Adapter<'_>] = if scale == 0.0 { &[] } else { &with };
        let mut row = Scaled::new(scale);
        for (i, question) in prompts.iter().enumerate() {
            let messages = [ChatMessage::new("user", *question)];
            let prompt = loaded.render(&messages, &RenderOptions::default())?.tokens;
            let expected = oracle.logits(model, with, &prompt, ANSWER)?;
            let logits = expected.after(prompt.len());
            if plain.len() <= i {
                plain.push(logits.to_vec());
            }
            session.truncate(0)?;
            session.feed(&prompt)?;
            let found = session.logits()?;
            row.error = row.error.max(relative_rmse(&found, logits));
            row.same += usize::from(best(&found) == best(logits));
            row.change = row.change.min(relative_rmse(&plain[i], logits));
            row.answers
                .push(compared(&mut session, prompt.len(), &expected)?);
            let text = loaded.detokenize(&expected.greedy, SpecialTokens::Render)?;
            eprintln!(
                "scale {scale}, {question}: {}",
                String::from_utf8_lossy(&text)
            );
        }
        eprintln!(
            "scale {scale}: error {:.1e}, answers {:?}",
            row.error, row.answers
        );
        rows.push(row);
    }
    let agree = rows.iter().all(|row| row.error < REAL_LIMIT);
    Ok((real_section(model, adapter, &rows, prompts), agree))
}

/// Both programs round what they multiply quantised matrices with to 8 bits, each in its way. Relative.
const REAL_LIMIT: f64 = 0.05;

fn best(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
}

/// Continues after the prompt of `length` tokens. Gives the number of equal tokens, and the margins where the answers part.
fn compared(
    session: &mut Session,
    length: usize,
    expected: &Logits,
) -> Result<(usize, Option<[f64; 2]>)> {
    let found = greedy(session, ANSWER)?;
    let both = found.iter().zip(&expected.greedy);
    let equal = both
        .take_while(|(found, expected)| found == expected)
        .count();
    if equal == ANSWER {
        return Ok((equal, None));
    }
    session.truncate((length + equal) as u32)?;
    let margins = [session.logits()?, expected.after(length + equal).to_vec()];
    Ok((equal, Some(margins.map(|logits| margin(&logits)))))
}

fn real_section(model: &Path, adapter: &Path, rows: &[Scaled], prompts: &[&str]) -> String {
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut section = format!(
        "\nWritten by `cargo xtask parity --real {} --lora {}` on {}, with gust {} and the llama.cpp of {PACKAGE}. Do not \
         edit.\n\n\
         `tests/real/finetune.py` trains the adapter, with torch and peft, and llama.cpp's `convert_lora_to_gguf.py` writes \
         the file. In one session of gust it is not there, attached, scaled, and detached again; llama.cpp gets the same \
         file with the same scale, anew each time. {} prompts, which are fed anew too. **error**: the largest relative error \
         of the logits after a prompt; **change**: by how much the adapter changes these at least; **same token**: how often \
         the most probable token is the same. Then how many of {ANSWER} greedy tokens are equal before the first that is not; \
         there, in parentheses, how far the two best logits are apart, in gust and in llama.cpp: if both are small, two \
         tokens were nearly as good.\n\n\
         | scale | change | error | same token |",
        name(model),
        name(adapter),
        machine::machine(),
        machine::gust_version(),
        prompts.len(),
    );
    for prompt in prompts {
        let line = prompt
            .lines()
            .find(|line| !line.starts_with("<|"))
            .unwrap_or_default();
        let _ = write!(section, " `{line}` |");
    }
    let _ = writeln!(
        section,
        "\n|---|---|---|---|{}",
        "---|".repeat(prompts.len())
    );
    for Scaled {
        scale,
        error,
        same,
        change,
        answers,
    } in rows
    {
        let scale = if *scale == 0.0 {
            "none".to_owned()
        } else {
            scale.to_string()
        };
        let n = answers.len();
        let _ = write!(
            section,
            "| {scale} | {change:.1e} | {error:.1e} | {same} of {n} |"
        );
        for (equal, margins) in answers {
            let _ = match margins {
                None => write!(section, " {equal} |"),
                Some([gust, llama_cpp]) => {
                    write!(section, " {equal} ({gust:.3}, {llama_cpp:.3}) |")
                }
            };
        }
        section.push('\n');
    }
    section
}

/// The page with another section of this title.
pub(crate) fn with_section(page: &str, title: &str, section: &str) -> String {
    let head = format!("\n## {title}\n");
    let Some(at) = page.find(&head) else {
        return format!("{}\n{head}{section}", page.trim_end());
    };
    let rest = &page[at + head.len()..];
    let end = rest.find("\n## ").unwrap_or(rest.len());
    format!("{}{head}{section}{}", &page[..at], &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_old_one() {
        let page = "# Page\n\n## A\n\nold a\n\n## B\n\nold b\n";
        let found = with_section(page, "A", "\nnew\n");
        assert_eq!(found, "# Page\n\n## A\n\nnew\n\n## B\n\nold b\n");
        let found = with_section(page, "B", "\nnew\n");
        assert_eq!(found, "# Page\n\n## A\n\nold a\n\n## B\n\nnew\n");
        assert_eq!(
            with_section("# Page\n", "A", "\nnew\n"),
            "# Page\n\n## A\n\nnew\n"
        );
    }

    #[test]
    fn kinds_are_names_without_layers() {
        assert_eq!(kind_of("blk.12.attn_q.weight"), "attn_q");
        assert_eq!(kind_of("output.weight"), "output");
    }

    #[test]
    fn what_is_not_compared_is_no_disagreement_and_what_is_must_be_close() {
        let compared = |change, error| Outcome::Compared { change, error };
        assert!(compared(0.1, 1e-6).agrees());
        assert!(!compared(0.1, 0.02).agrees());
        assert!(!compared(1e-6, 1e-6).agrees());
        assert!(!compared(0.1, f64::NAN).agrees());
        let mut kinds = BTreeMap::new();
        let models = vec![
            ("a".to_owned(), compared(0.1, 1e-6)),
            ("b".to_owned(), compared(0.2, 3e-6)),
            ("c".to_owned(), Outcome::Ignored),
            ("d".to_owned(), Outcome::Failed),
        ];
        kinds.insert("attn_q".to_owned(), models);
        kinds.insert(
            "wrong".to_owned(),
            vec![("a".to_owned(), compared(0.1, 0.5))],
        );
        let section = random_section(&kinds, 7);
        assert!(
            section.contains("| attn_q | 2 | 1.0e-1 | 3.0e-6 | c | d |"),
            "{section}"
        );
        assert!(section.contains("| wrong **differs** | 1 |"), "{section}");
    }
}

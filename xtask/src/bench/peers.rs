//! Who is measured, and how each is set up and started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::driver::Driver;
use crate::isa::Isa;
use crate::order::{NO_REPACK, Order};
use crate::plan::{PACKED, REAL, USUAL_CONTEXT};
use crate::{cache, root};

/// How llama.cpp is built: for this processor, with all that it has.
const NATIVE_CMAKE: &str = "-DGGML_NATIVE=ON";

/// The same beside gust with no more than AVX2.
const AVX2_CMAKE: &str =
    "-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON";

/// The instructions for candle.
const CANDLE_RUSTFLAGS: &str = "-Ctarget-feature=+avx2,+fma,+f16c,+bmi2";

/// One of those who are measured, set up.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Gust {
        /// In place of those of the group.
        threads: Option<usize>,
        /// Whether it knows `--threads`.
        has_threads: bool,
        isa: Isa,
    },
    LlamaCpp {
        python: PathBuf,
        /// What its driver is told beyond the model.
        options: &'static [&'static str],
    },
    Wllama,
    Candle {
        program: PathBuf,
    },
}

/// gust, and the peers that could be had.
pub(crate) struct Peers {
    pub(crate) gust: Peer,
    pub(crate) others: Vec<Peer>,
    /// Whether `gust bench` knows `--threads`.
    pub(crate) has_threads: bool,
}

/// Sets up what is asked for. What cannot be had is said, and left out.
pub(crate) fn set_up(order: &Order) -> Result<Peers> {
    let help = output(Command::new(gust_program()).args(["bench", "--help"]))?;
    let has_threads = help.contains("--threads");
    let gust = |threads| Kind::Gust {
        threads,
        has_threads,
        isa: order.isa,
    };
    let llama_cpp =
        |name, options| llama_cpp(order).map(|python| (name, Kind::LlamaCpp { python, options }));
    let mut peers = Peers {
        gust: Peer {
            name: "gust",
            kind: gust(None),
        },
        others: Vec::new(),
        has_threads,
    };
    for name in &order.peers {
        let kind = match name.as_str() {
            "llama.cpp" => llama_cpp("llama.cpp", &[]),
            NO_REPACK => llama_cpp(NO_REPACK, &["no-repack"]),
            "wllama" => wllama().map(|()| ("wllama", Kind::Wllama)),
            "candle" => candle().map(|program| ("candle", Kind::Candle { program })),
            _ => Ok(("gust-1", gust(Some(1)))),
        };
        match kind {
            Ok((name, kind)) => peers.others.push(Peer { name, kind }),
            Err(error) => eprintln!("missing: {name}: {error:#}"),
        }
    }
    Ok(peers)
}

impl Peer {
    /// Whether it is gust, perhaps with other options.
    pub(crate) fn is_gust(&self) -> bool {
        matches!(self.kind, Kind::Gust { .. })
    }

    /// Starts its driver on the first `threads` of this process's processors.
    pub(crate) fn start(&self, model: &Path, threads: usize, context: u32) -> Result<Driver> {
        let cores = self.threads(threads);
        let mut command = match &self.kind {
            Kind::Gust { .. } => {
                let mut command = pinned(cores, &gust_program())?;
                // The room is the sum of the two.
                command.args(["bench", "--serve", "--gen-tokens", "1", "--prompt-tokens"]);
                command.arg((context - 1).to_string());
                self.gust_args(&mut command, model, threads);
                command
            }
            Kind::LlamaCpp { python, options } => {
                let mut command = pinned(cores, python)?;
                command.arg(root().join("benches/peers/llama_cpp/driver.py"));
                command
                    .arg(model)
                    .args([threads.to_string(), context.to_string()])
                    .args(*options);
                command
            }
            // The browser's own processes need a little time, too: they are not pinned.
            Kind::Wllama => {
                let mut command = Command::new("node");
                command
                    .current_dir(wllama_folder())
                    .arg(root().join("benches/peers/wllama/driver.mjs"))
                    .arg(model)
                    .args([threads.to_string(), context.to_string()]);
                command
            }
            Kind::Candle { program } => {
                let mut command = pinned(cores, program)?;
                command
                    .arg(model)
                    .args([threads.to_string(), context.to_string()]);
                command.env("RAYON_NUM_THREADS", threads.to_string());
                command
            }
        };
        command.env("OMP_NUM_THREADS", threads.to_string());
        Driver::start(command).with_context(|| self.name.to_owned())
    }

    /// Seconds from the start of the program to the first token of a short prompt; `None` for those that are not asked.
    pub(crate) fn first_token(&self, model: &Path, threads: usize) -> Result<Option<f64>> {
        let cores = self.threads(threads);
        match &self.kind {
            // All of it, with starting and ending the process.
            Kind::Gust { threads: None, .. } => {
                let mut command = pinned(cores, &gust_program())?;
                command.args(["run", "--quiet", "--no-echo", "--temperature", "0"]);
                command.args(["--max-tokens", "1", "--ignore-eos", "Once upon a time"]);
                self.gust_args(&mut command, model, threads);
                let start = Instant::now();
                output(&mut command)?;
                Ok(Some(start.elapsed().as_secs_f64()))
            }
            // From behind its imports on, so that Python's own start does not count.
            Kind::LlamaCpp { python, options } => {
                #[derive(Deserialize)]
                struct Answer {
                    seconds: f64,
                }
                let mut command = pinned(cores, python)?;
                command.arg(root().join("benches/peers/llama_cpp/driver.py"));
                command.arg(model).arg(threads.to_string());
                command.args([&USUAL_CONTEXT.to_string(), "first-token"]);
                command.args(*options);
                let Answer { seconds } = serde_json::from_str(&output(&mut command)?)?;
                Ok(Some(seconds))
            }
            _ => Ok(None),
        }
    }

    /// Whether it is measured in a group of so many threads.
    pub(crate) fn takes_part(&self, threads: usize) -> bool {
        match self.kind {
            Kind::Gust {
                threads: Some(own), ..
            } => own != threads,
            _ => true,
        }
    }

    /// Whether its first token is measured.
    pub(crate) fn tells_first_token(&self) -> bool {
        matches!(self.kind, Kind::LlamaCpp { .. })
    }

    /// Whether load, first token and memory are compared.
    pub(crate) fn is_another_program(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Gust {
                threads: Some(_),
                ..
            }
        )
    }

    fn threads(&self, threads: usize) -> usize {
        match self.kind {
            Kind::Gust {
                threads: Some(own), ..
            } => own,
            _ => threads,
        }
    }

    fn gust_args(&self, command: &mut Command, model: &Path, threads: usize) {
        command.arg("--model").arg(model);
        let Kind::Gust {
            has_threads, isa, ..
        } = self.kind
        else {
            return;
        };
        if has_threads {
            command.args(["--threads", &self.threads(threads).to_string()]);
        }
        if isa != Isa::Native {
            command.args(["--isa", isa.name()]);
        }
    }
}

/// A program on the first `count` of this process's processors.
fn pinned(count: usize, program: &Path) -> Result<Command> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed = list.map(processors).unwrap_or_default();
    if allowed.len() < count {
        bail!("expected {count} processors, found {}", allowed.len());
    }
    let mut command = Command::new("taskset");
    let chosen: Vec<String> = allowed[..count].iter().map(u32::to_string).collect();
    command.arg("--cpu-list").arg(chosen.join(",")).arg(program);
    Ok(command)
}

/// The numbers of a list like `0-2,5`.
fn processors(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let last: u32 = last.trim().parse().ok()?;
        Some(first.trim().parse().ok()?..=last)
    };
    list.split(',').filter_map(range).flatten().collect()
}

pub(crate) fn gust_program() -> PathBuf {
    root().join("target/release/gust")
}

/// A Python with llama-cpp-python: the one that was named, or one of our own, which is built when first asked for.
fn llama_cpp(order: &Order) -> Result<PathBuf> {
    if let Some(python) = &order.python {
        let features = llama_cpp_features(python)?;
        check_features(&features, order.isa)?;
        return Ok(python.clone());
    }
    let (folder, cmake) = match order.isa {
        Isa::Avx2 => ("llama-cpp-avx2", AVX2_CMAKE),
        _ => ("llama-cpp-native", NATIVE_CMAKE),
    };
    let venv = cache().join(folder);
    let python = venv.join("bin/python");
    if llama_cpp_features(&python).is_err() {
        eprintln!(
            "building llama.cpp with {cmake}: pip install llama-cpp-python (about 10 minutes on two cores)"
        );
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        // pip's cache knows nothing of CMake's options: it would give one build for another.
        run(Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-cache-dir",
                "--no-binary",
                "llama-cpp-python",
            ])
            .args(["llama-cpp-python", "numpy"])
            .env("CMAKE_ARGS", cmake))?;
    }
    let features = llama_cpp_features(&python)?;
    check_features(&features, order.isa)
        .with_context(|| format!("{} is of another build: remove it", venv.display()))?;
    Ok(python)
}

/// What llama.cpp says that it was built with: `CPU : SSE3 = 1 | AVX2 = 1 | ...`.
fn llama_cpp_features(python: &Path) -> Result<String> {
    const SAY: &str =
        "import llama_cpp, numpy; print(llama_cpp.llama_print_system_info().decode())";
    output(Command::new(python).args(["-c", SAY]))
}

/// Rejects a llama.cpp that was not built for this processor, unless gust does without the same instructions.
fn check_features(features: &str, isa: Isa) -> Result<()> {
    let has = |name: &str| {
        let mut parts = features.split('|');
        parts.any(|part| {
            part.rsplit(':')
                .next()
                .is_some_and(|it| it.trim() == format!("{name} = 1"))
        })
    };
    // The largest step of each architecture: with it, the others have been switched on, too.
    let wanted = [("avx512f", "AVX512"), ("dotprod", "DOTPROD")];
    for (ours, theirs) in wanted {
        if isa.features().contains(&ours) && !has(theirs) {
            bail!(
                "expected a llama.cpp with {theirs}, which this processor has, found one with {}\n\
                 hint: leave --python out to build one, or measure with `--isa avx2`",
                features.trim()
            );
        }
    }
    Ok(())
}

fn wllama_folder() -> PathBuf {
    cache().join("wllama")
}

fn wllama() -> Result<()> {
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        bail!(
            "no browser at {}: apt-get install chromium, or set CHROMIUM",
            chromium.display()
        );
    }
    let folder = wllama_folder();
    std::fs::create_dir_all(&folder)?;
    let (from, to) = (
        root().join("benches/peers/wllama/package.json"),
        folder.join("package.json"),
    );
    let wanted = std::fs::read(&from)?;
    if std::fs::read(&to).ok().as_ref() != Some(&wanted) || !folder.join("node_modules").exists() {
        std::fs::write(&to, &wanted)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund"]);
        run(npm.current_dir(&folder))?;
    }
    Ok(())
}

fn candle() -> Result<PathBuf> {
    let folder = root().join("benches/peers/candle");
    let target = cache().join("candle");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--release"])
        .current_dir(folder);
    cargo.env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", CANDLE_RUSTFLAGS);
    run(&mut cargo)?;
    Ok(target.join("release/candle-driver"))
}

/// The file in the folder of real ones, or the model of random weights in these dimensions, made where it is missing.
pub(crate) fn model(name: &str, ty: &str, real: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = real.filter(|_| ty == REAL) {
        return Ok(folder.join(name).with_added_extension("gguf"));
    }
    // TinyLlama was trained on 2,048 tokens, and 4,096 are measured: only the number in the metadata is another.
    let (file, context) = match name {
        "tinyllama-1.1b" => (format!("{name}-ctx8192-{ty}.gguf"), Some("8192")),
        _ => (format!("{name}-{ty}.gguf"), None),
    };
    let path = root().join("target/synth").join(file);
    if path.exists() {
        return Ok(path);
    }
    eprintln!("making {}", path.display());
    if let Some(unpacked) = ty.strip_suffix(PACKED) {
        let mut gust = Command::new(root().join("target/release/gust"));
        gust.arg("pack").arg("-m").arg(model(name, unpacked, real)?);
        run(gust.arg("-o").arg(&path))?;
    } else {
        let mut synth = Command::new(root().join("target/release/synth"));
        synth.args([name, "--type", ty, "--output"]).arg(&path);
        if let Some(context) = context {
            synth.args(["--context", context]);
        }
        run(synth.stdout(Stdio::null()))?;
    }
    Ok(path)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{program}`"))?;
    if !status.success() {
        bail!("`{program}` failed: {status}");
    }
    Ok(())
}

/// What a program that succeeds writes to stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{program}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program}` failed: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_have_numbers_and_ranges() {
        assert_eq!(processors("\t0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(processors("7"), [7]);
        assert!(processors("").is_empty());
    }

    /// Only beside an ISA without AVX-512 may a peer lack it.
    #[test]
    fn a_peer_is_built_for_the_processor() {
        let avx2 = "CPU : SSE3 = 1 | AVX2 = 1 | F16C = 1 | REPACK = 1 |\n";
        let avx512 = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 1 | AVX512_VNNI = 1 |\n";
        for &isa in Isa::known() {
            let needs = isa.features().contains(&"avx512f");
            assert_eq!(check_features(avx2, isa).is_err(), needs, "{isa}");
        }
        if cfg!(target_arch = "x86_64") {
            assert!(check_features(avx512, Isa::Native).is_ok());
            assert!(check_features(avx2, Isa::Avx2).is_ok());
        }
    }
}

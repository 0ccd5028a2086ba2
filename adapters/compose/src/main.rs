//! Composes the built engine and adapters into components that run in any WASI 0.2 host.
//!
//! From the inside out: the engine with its providers plugged in is a library (`gust-solo.wasm`), each middleware
//! around it gives an engine again, and a front end on top turns it into a program.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use gust_compose::{Part, plug, wrap};

const HELP: &str = "\
Composes the engine and adapters into components that import only wasi:* and run in any WASI 0.2 host.

Usage: cargo xtask compose [OPTIONS]

Writes to target/components:
  gust-solo.wasm           the engine as a library: exports gust:llm/engine
  gust.wasm                a program: wasmtime run --dir models gust.wasm -m models/FILE PROMPT
  gust-http.wasm           a server with OpenAI's API: wasmtime serve
  and the same with -baseline, for hosts without relaxed-simd

For hosts without component support, `cargo xtask core` builds the program as a core module.

Options:
  --with NAMES      wrap the engine in these middlewares, innermost first: filter, jitter, log, or files;
                    `--with filter,log` writes gust-solo-filter-log.wasm and so on
  --engine FILE     use this engine instead of gust's two builds; if it imports no weights, none are provided
  --out FOLDER      write to this folder instead of target/components
  -h, --help        print this help
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (mut with, mut engine) = (Vec::new(), None);
    let mut out = target().join("components");
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .with_context(|| format!("`{arg}` needs a value"))
        };
        match arg.as_str() {
            "-h" | "--help" => {
                print!("{HELP}");
                return Ok(());
            }
            "--with" => with.extend(value()?.split(',').map(str::to_owned)),
            "--engine" => engine = Some(PathBuf::from(value()?)),
            "--out" => out = PathBuf::from(value()?),
            _ => bail!("unknown option `{arg}`\nhint: run `cargo xtask compose --help` for a list"),
        }
    }
    let middlewares = with
        .iter()
        .map(|name| Component::middleware(name))
        .collect::<Result<Vec<_>>>()?;
    let engines = match engine {
        Some(path) => vec![("", path)],
        None => [("", "gust-engine"), ("-baseline", "gust-engine-baseline")]
            .map(|(suffix, name)| (suffix, target().join(format!("engine/{name}.wasm"))))
            .into(),
    };
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    for (suffix, engine) in engines {
        compose(&Component::read(&engine)?, &middlewares, &out, suffix)?;
    }
    Ok(())
}

/// Composes the library, the program and the server for one engine.
fn compose(engine: &Component, middlewares: &[Component], out: &Path, suffix: &str) -> Result<()> {
    let providers = [
        Component::adapter("weights-fs")?,
        Component::adapter("solo")?,
    ];
    let providers = providers.each_ref().map(Component::part);
    let mut library = match plug(engine.part(), &providers) {
        // A mock engine needs no providers.
        Err(gust_compose::Error::NoMatch { .. }) => engine.bytes.clone(),
        other => other?,
    };
    let mut chain = String::new();
    let stand_in = Component::adapter("stand-in")?;
    for middleware in middlewares {
        let inner = Part {
            name: "engine",
            bytes: &library,
        };
        library = wrap(middleware.part(), inner, stand_in.part())?;
        chain = format!("{chain}-{}", middleware.name);
    }
    let library = Part {
        name: "engine",
        bytes: &library,
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = out.join(format!("{name}{chain}{suffix}.wasm"));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{} ({} KiB)", path.display(), bytes.len().div_ceil(1024));
        Ok::<_, anyhow::Error>(())
    };
    write("gust-solo", library.bytes)?;
    for (name, front_end) in [("gust", "command"), ("gust-http", "http")] {
        write(
            name,
            &wrap(
                Component::adapter(front_end)?.part(),
                library,
                stand_in.part(),
            )?,
        )?;
    }
    Ok(())
}

/// A built component.
struct Component {
    name: String,
    bytes: Vec<u8>,
}

impl Component {
    fn adapter(name: &str) -> Result<Self> {
        Self::read(&target().join(format!("adapters/{name}.wasm")))
    }

    /// One of gust's middlewares by name, or a file.
    fn middleware(name: &str) -> Result<Self> {
        if name.contains(['/', '.']) {
            return Self::read(Path::new(name));
        }
        let ours = ["filter", "jitter", "log"];
        if !ours.contains(&name) {
            bail!(
                "expected a middleware ({}) or a file, found `{name}`",
                ours.join(", ")
            );
        }
        Self::adapter(name)
    }

    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().unwrap_or(OsStr::new("component"));
        let name = name.to_string_lossy().into_owned();
        Ok(Component { name, bytes })
    }

    fn part(&self) -> Part<'_> {
        Part {
            name: &self.name,
            bytes: &self.bytes,
        }
    }
}

/// The workspace's `target`, where `cargo xtask build` puts everything.
fn target() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).join("target")
}

//! The build: the engine for WebAssembly, then the host with the engine inside. A first story needs no more
//! ([`story`]); the whole ([`all`]) has a second engine, for hosts without relaxed-simd, the adapters, and what they are
//! composed to. The core modules, for hosts without components, are built only when asked for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::debug_info;
use crate::process::{WHOLE, WORKSPACE, binary, both, cargo, root, run, target, with_suffix};
use crate::setup::{self, CORE, WASM};

/// A build of the engine. Both give the same tokens.
pub(crate) struct Flavor {
    /// The name of the file in `target/engine`.
    pub(crate) file: &'static str,
    /// The name of the file in `target/components` that is a core module.
    core: &'static str,
    /// What it may use.
    pub(crate) features: &'static str,
}

/// The engine with relaxed-simd, which the host embeds, and the one for hosts that reject it.
pub(crate) const FLAVORS: [Flavor; 2] = [
    Flavor {
        file: "gust-engine.wasm",
        core: "gust-core.wasm",
        features: "+simd128,+relaxed-simd",
    },
    Flavor {
        file: "gust-engine-baseline.wasm",
        core: "gust-core-baseline.wasm",
        features: "+simd128",
    },
];

/// The engine's feature that runs a `tokenizer.json`. It makes the component much larger, so it is a component of its own.
pub(crate) const TOKENIZERS: &str = "tokenizer-json";

/// The adapters and the examples of such: each is the package `gust-NAME` and becomes `target/adapters/NAME.wasm`.
const ADAPTERS: [&str; 10] = [
    "weights-fs",
    "solo",
    "command",
    "http",
    "filter",
    "jitter",
    "log",
    "stand-in",
    "example-mock",
    "example-shout",
];

/// A file that [`host`] or [`core_modules`] makes.
fn composed(name: &str) -> PathBuf {
    target().join("components").join(name)
}

/// Selects the adapters for a cargo call.
pub(crate) fn adapter_packages() -> impl Iterator<Item = String> {
    let of = |name| ["--package".to_owned(), format!("gust-{name}")];
    ADAPTERS.into_iter().flat_map(of)
}

/// Sets up and builds what a story needs: one engine, and the host without middleware. Where everything has been built
/// before, it is kept up to date instead, so that `target/release/gust` does not lose what it had.
pub(crate) fn story() -> Result<()> {
    if composed("gust.wasm").is_file() {
        return all();
    }
    setup::check()?;
    let [relaxed, ..] = &FLAVORS;
    let build = |program| {
        run(&mut cargo(
            &[&["build"], &WORKSPACE[..], &["--bin", program]].concat(),
        ))
    };
    // The host has the engine inside, which takes one core for a minute or two. Meanwhile the other ones compile Wasmtime, by
    // way of the smallest program that needs it.
    both(
        || engine(relaxed, "", relaxed.file).map(drop),
        || build("gust-example-embed"),
    )?;
    build("gust")?;
    debug_info::split(&binary("gust"))
}

/// Sets up and builds everything that is shipped.
pub(crate) fn all() -> Result<()> {
    components()?;
    host(&[])
}

/// Sets up and builds everything in WebAssembly.
pub(crate) fn components() -> Result<()> {
    setup::check()?;
    engines()?;
    adapters()
}

/// Builds the adapters, for hosts of either flavor: they hold no kernels.
fn adapters() -> Result<()> {
    run(wasm_cargo(&["build"]).args(adapter_packages()))?;
    for name in ADAPTERS {
        let built = target().join(WASM).join("engine");
        // A library's file has the name of a module; a program's that of the program.
        let library = built.join(format!("gust_{}.wasm", name.replace('-', "_")));
        let program = built.join(format!("gust-{name}.wasm"));
        let built = [library, program].into_iter().find(|path| path.is_file());
        let built = built.with_context(|| format!("cargo made no component of `{name}`"))?;
        copy_if_changed(&built, &target().join(format!("adapters/{name}.wasm")))?;
    }
    Ok(())
}

/// Builds the engine in both flavors, and the first one also with tokenizers from files.
pub(crate) fn engines() -> Result<()> {
    for flavor in &FLAVORS {
        engine(flavor, "", flavor.file)?;
    }
    let [relaxed, ..] = &FLAVORS;
    engine(relaxed, TOKENIZERS, "gust-engine-tokenizers.wasm").map(drop)
}

/// Builds the engine with tokenizers from files for hosts without relaxed-simd, which only the npm package has.
pub(crate) fn baseline_tokenizers() -> Result<()> {
    let [.., baseline] = &FLAVORS;
    let file = "gust-engine-tokenizers-baseline.wasm";
    engine(baseline, TOKENIZERS, file).map(drop)
}

/// Builds `command` with the engine linked in, in both flavors.
pub(crate) fn core_modules() -> Result<()> {
    setup::add_target(CORE)?;
    for flavor in &FLAVORS {
        let mut command = cargo(&["build", "--package", "gust-command"]);
        command
            .args(["--profile", "engine", "--target", CORE])
            .env("CARGO_ENCODED_RUSTFLAGS", wasm_flags(flavor.features));
        run(&mut command)?;
        let built = target().join(CORE).join("engine/gust-command.wasm");
        copy_if_changed(&built, &composed(flavor.core))?;
    }
    Ok(())
}

/// Builds the engine's kernels as a component of their own, in the way that the engine is built. Gives the file.
pub(crate) fn kernels() -> Result<PathBuf> {
    let [relaxed, ..] = &FLAVORS;
    engine(relaxed, "bench", "gust-kernels.wasm")
}

/// Builds the host, and what else is asked for of [`WORKSPACE`], such as `["--bin", "synth"]`. Then puts the composed
/// components together, and compiles the engine into the user's cache, so that the first run starts at once.
pub(crate) fn host(more: &[&str]) -> Result<()> {
    let programs = ["--bin", "gust", "--bin", "compose"];
    let selection = [&["build"], &WORKSPACE[..], &WHOLE, &programs, more].concat();
    run(&mut cargo(&selection))?;
    debug_info::split(&binary("gust"))?;
    run(Command::new(binary("compose")).stdout(Stdio::null()))?;
    let warm_up = Command::new(binary("gust"))
        .arg("inspect")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match warm_up {
        Ok(status) if status.success() => {}
        // Only the cache stays cold: whoever runs the program next will see its error.
        _ => eprintln!("warning: `gust inspect` did not succeed: the first run will take longer"),
    }
    Ok(())
}

/// `rustc`, as cargo would start it.
pub(crate) fn rustc() -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(root());
    command
}

/// The folder of the compiler that cargo uses.
pub(crate) fn sysroot() -> Result<String> {
    let output = rustc()
        .args(["--print", "sysroot"])
        .output()
        .context("cannot start rustc")?;
    if !output.status.success() {
        bail!(
            "`rustc --print sysroot` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The flags of rustc for an engine with these target features, in the form of `CARGO_ENCODED_RUSTFLAGS`: it goes
/// before the user's own flags, which are for the native build. With `--target`, build scripts do not get them.
pub(crate) fn wasm_flags(features: &str) -> String {
    let mut flags = format!("-Ctarget-feature={features}");
    // Loop strength reduction turns constant offsets into additions, one instruction a load: 25-30 % of every kernel.
    let no_lsr = "-Cllvm-args=-disable-lsr";
    let accepted = rustc()
        .args(["--target", WASM, "--print", "cfg", no_lsr])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if accepted.is_ok_and(|status| status.success()) {
        flags = format!("{flags}\x1f{no_lsr}");
    }
    flags
}

/// Builds the engine's package with these features of cargo's, as `file` in `target/engine`.
///
/// The dependencies are built once, for the baseline; only the engine itself gets the flavor's features.
pub(crate) fn engine(flavor: &Flavor, features: &str, file: &str) -> Result<PathBuf> {
    let mut command = wasm_cargo(&["rustc", "--package", "gust-engine"]);
    command
        .args(["--features", features, "--lib", "--"])
        .arg(format!("-Ctarget-feature={}", flavor.features))
        // Names that tell `dot::<Q4_0>` from `dot::<Q8_0>`, for profiles and `cargo xtask disasm`.
        .arg("-Csymbol-mangling-version=v0");
    run(&mut command)?;
    let built = target().join(WASM).join("engine/gust_engine.wasm");
    let file = target().join("engine").join(file);
    copy_if_changed(&built, &file)?;
    Ok(file)
}

/// `cargo ARGS` for what is shipped in WebAssembly.
fn wasm_cargo(args: &[&str]) -> Command {
    let [.., baseline] = &FLAVORS;
    let mut command = cargo(args);
    command
        .args(["--profile", "engine", "--target", WASM])
        .env("CARGO_ENCODED_RUSTFLAGS", wasm_flags(baseline.features))
        // Keeps the files of both flavors side by side. Without it they share one name, and each build would begin
        // with building the engine again.
        .env("__CARGO_DEFAULT_LIB_METADATA", "engine");
    command
}

/// Leaves the file alone where the bytes are the same: the host is built again when it changes.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let write = || {
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let part = with_suffix(to, ".part");
        std::fs::write(&part, &bytes)?;
        std::fs::rename(&part, to)
    };
    write().with_context(|| format!("cannot write {}", to.display()))
}

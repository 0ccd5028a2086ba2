//! The hosts' programs: found on the machine, or set up from a registry under `target/hosts`.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{folder, root, wasmedge};

/// The Wasmtime command that is built where that is asked for: the version of the crate that gust uses.
const WASMTIME: &str = "48.0.8";
/// The package of PyPI.
const PYTHON_WASMTIME: &str = "wasmtime==50.0.1";

/// The programs that a browser may be, Debian's package first.
const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const FIREFOX: [&str; 2] = ["firefox-esr", "firefox"];

/// What may be fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Install {
    /// What takes no more than a minute.
    #[default]
    Usual,
    Nothing,
    /// The `wasmtime` command too.
    WasmtimeToo,
}

/// A program that hosts WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Gust,
    /// `examples/embed`.
    Embed,
    Wasmtime,
    Python,
    Node,
    Node24,
    /// A browser, and Node, which starts it.
    Chromium,
    Firefox,
    WasmEdge,
    /// With the core module of this name compiled.
    WasmEdgeAot(&'static str),
}

/// A program that can be started.
pub(crate) struct Found {
    /// The program and its first arguments.
    program: Vec<OsString>,
    /// An environment variable.
    variable: Option<(&'static str, PathBuf)>,
    pub(crate) version: String,
}

impl Found {
    pub(crate) fn new(program: Vec<OsString>, version: impl Into<String>) -> Self {
        Self {
            program,
            variable: None,
            version: version.into(),
        }
    }

    /// The start of its command line, in the workspace's root.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).current_dir(root());
        command.envs(self.variable.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The way to all programs.
pub(crate) struct Tools {
    install: Install,
    /// Whether `web/` has been built, or why it cannot be.
    web: OnceCell<Result<(), String>>,
}

impl Tools {
    pub(crate) fn new(install: Install) -> Self {
        Self {
            install,
            web: OnceCell::new(),
        }
    }

    /// The program, or why there is none and how it can be had.
    pub(crate) fn find(&self, tool: Tool) -> Result<Found, String> {
        let found = match tool {
            Tool::Gust => built("gust").and_then(|gust| {
                let version = version(&gust)?;
                Ok(Found::new(vec![gust.into()], version))
            }),
            Tool::Embed => built("gust-example-embed")
                .and_then(|embed| Ok(Found::new(vec![embed.into()], locked_version("wasmtime")?))),
            Tool::Wasmtime => self.wasmtime(),
            Tool::Python => self.python(),
            Tool::Node => self.node("node".into()),
            Tool::Node24 => self.node_24(),
            Tool::Chromium => self.browser("CHROMIUM", &CHROMIUM),
            Tool::Firefox => self.browser("FIREFOX", &FIREFOX),
            Tool::WasmEdge => wasmedge::find(self.fetches()),
            Tool::WasmEdgeAot(module) => {
                wasmedge::find(self.fetches()).and_then(|found| wasmedge::compiled(found, module))
            }
        };
        found.map_err(|error| format!("{error:#}"))
    }

    fn fetches(&self) -> bool {
        self.install != Install::Nothing
    }

    fn wasmtime(&self) -> Result<Found> {
        let own = folder().join("wasmtime/bin/wasmtime");
        if self.install == Install::WasmtimeToo && !own.is_file() {
            let install = ["install", "wasmtime-cli", "--locked", "--version", WASMTIME];
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            run(cargo
                .args(install)
                .arg("--root")
                .arg(folder().join("wasmtime")))?;
        }
        let places = [
            std::env::var_os("GUST_WASMTIME").map(PathBuf::from),
            Some(own),
        ];
        let places = places.into_iter().flatten().find(|path| path.is_file());
        let wasmtime = places.unwrap_or("wasmtime".into());
        let version = version(&wasmtime).context(
            "no `wasmtime` in GUST_WASMTIME or PATH; `cargo xtask hosts --install-wasmtime` builds one in 10 minutes",
        )?;
        Ok(Found::new(vec![wasmtime.into()], version))
    }

    fn python(&self) -> Result<Found> {
        let environment = folder().join("python");
        let python = environment.join("bin/python");
        let has_package = || {
            let mut command = Command::new(&python);
            quiet(command.args(["-c", "import wasmtime"])).is_ok_and(|status| status.success())
        };
        if self.fetches() && !has_package() {
            run(Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment))
            .context("cannot make a virtual environment; install Python 3 and its module venv")?;
            let pip = ["-m", "pip", "install", "--quiet", PYTHON_WASMTIME];
            run(Command::new(&python).args(pip))?;
        }
        if !has_package() {
            bail!(
                "no Python with wasmtime in {}; run without --no-install",
                environment.display()
            );
        }
        Ok(Found::new(vec![python.into()], ""))
    }

    /// `web/` as the package that drivers import, and the Node of this name.
    fn node(&self, node: OsString) -> Result<Found> {
        let version = version(Path::new(&node))
            .context("no `node` in PATH; install Node 20 or later: https://nodejs.org")?;
        let built = self
            .web
            .get_or_init(|| self.web().map_err(|error| format!("{error:#}")));
        built.clone().map_err(anyhow::Error::msg)?;
        Ok(Found::new(vec![node], version.trim_start_matches('v')))
    }

    fn web(&self) -> Result<()> {
        let web = root().join("web");
        let npm = |args: &[&str]| run(Command::new("npm").args(args).current_dir(&web));
        if self.fetches() && !web.join("node_modules").is_dir() {
            npm(&["ci", "--no-fund", "--no-audit"])?;
        }
        npm(&["run", "--silent", "build"])
    }

    fn node_24(&self) -> Result<Found> {
        let node = root().join("target/node24/node_modules/node/bin/node");
        if self.fetches() && !node.is_file() {
            let script = ["run", "--silent", "node24"];
            run(Command::new("npm")
                .args(script)
                .current_dir(root().join("web")))?;
        }
        if !node.is_file() {
            bail!("no Node 24; `npm run node24` in web/ fetches one from npm");
        }
        self.node(node.into())
    }

    /// The browser that the variable names, or the first of these programs. The driver says its version.
    fn browser(&self, variable: &'static str, names: &[&str]) -> Result<Found> {
        let named = std::env::var_os(variable).map(PathBuf::from);
        let browser = named.or_else(|| names.iter().find_map(|name| in_path(name)));
        let browser = browser.with_context(|| {
            let (names, package) = (names.join(", "), names[0]);
            format!("none of {names} in PATH, nor one in {variable}; apt-get install {package}")
        })?;
        let mut found = self.node("node".into())?;
        found.variable = Some((variable, browser));
        found.version = String::new();
        Ok(found)
    }
}

/// A program of this workspace.
fn built(name: &str) -> Result<PathBuf> {
    let path = root().join("target/release").join(name);
    if !path.is_file() {
        bail!("no {}; `cargo xtask hosts` builds it", path.display());
    }
    Ok(path)
}

/// The first file of this name in the folders of PATH.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file())
}

/// What follows the name in the first line that a program writes when asked for its version.
fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot start `{}`", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().next().unwrap_or_default().split_whitespace();
    let number = words.into_iter().find(|word| word.contains('.'));
    Ok(number.context("it says no version")?.to_owned())
}

/// The version of a crate in `Cargo.lock`.
fn locked_version(name: &str) -> Result<String> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    let (_, behind) = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .with_context(|| format!("no {name} in Cargo.lock"))?;
    let (version, _) = behind.split_once('"').unwrap_or_default();
    Ok(version.to_owned())
}

/// Runs a step of a set-up. What it says goes to stderr.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let args: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .collect();
    let line = format!("`{program} {}`", args.join(" "));
    eprintln!("  {line}");
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status();
    let status = status.with_context(|| format!("cannot start {line}"))?;
    if !status.success() {
        bail!("{line} failed: {status}");
    }
    Ok(())
}

fn quiet(command: &mut Command) -> std::io::Result<std::process::ExitStatus> {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status()
}

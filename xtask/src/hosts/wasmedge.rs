//! WasmEdge: the one of PATH, or that of Debian's `forky`, in a folder of its own.
//!
//! `apt-get` fetches it with all that it needs, its libc too, into a private root with private lists, and `dpkg -x`
//! unpacks it; nothing is installed. It is started through its own loader. So it runs on any Linux of the
//! architectures that Debian has, where apt and dpkg are at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools::{Found, in_path, run};
use crate::{folder, root};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org/debian";

/// The program, which is fetched where that is allowed.
pub(crate) fn find(fetches: bool) -> Result<Found> {
    if let Some(path) = in_path("wasmedge") {
        let program = vec![path.into()];
        return with_version(Found::new(program, ""));
    }
    let unpacked = folder().join("wasmedge/root");
    if fetches && !unpacked.join("usr/bin/wasmedge").is_file() {
        fetch(&unpacked)
            .context("cannot fetch WasmEdge from Debian; install it: https://wasmedge.org/docs")?;
    }
    let Some(loader) = loader(&unpacked) else {
        bail!("no `wasmedge` in PATH; without --no-install it is fetched from Debian forky");
    };
    let libraries = loader.parent().unwrap_or(&loader).to_owned();
    let program = [
        loader.clone().into(),
        "--library-path".into(),
        libraries.into(),
        unpacked.join("usr/bin/wasmedge").into(),
    ];
    with_version(Found::new(program.into(), ""))
}

/// Compiles a core module ahead of time, if it has changed since.
pub(crate) fn compiled(found: Found, module: &str) -> Result<Found> {
    let source = root().join(format!("target/components/{module}.wasm"));
    let machine_code = folder().join(format!("wasmedge/{module}.so"));
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = changed(&source).with_context(|| format!("no {}", source.display()))?;
    if !changed(&machine_code).is_ok_and(|last| last > since) {
        fs::create_dir_all(folder().join("wasmedge"))?;
        run(found
            .command()
            .arg("compile")
            .args([&source, &machine_code]))?;
    }
    Ok(found)
}

fn with_version(mut found: Found) -> Result<Found> {
    let output = found.command().arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let version = line.rsplit(' ').next().filter(|word| word.contains('.'));
    found.version = version.context("WasmEdge says no version")?.to_owned();
    Ok(found)
}

/// The dynamic loader, beside which Debian keeps the libraries.
fn loader(unpacked: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(unpacked.join("usr/lib")).ok()?;
    let files = folders
        .flatten()
        .filter_map(|folder| fs::read_dir(folder.path()).ok());
    files
        .flatten()
        .flatten()
        .map(|file| file.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("ld-linux") && path.is_file()
        })
}

/// Fetches the package and what it depends on, and unpacks all of it.
fn fetch(unpacked: &Path) -> Result<()> {
    let apt = folder().join("wasmedge/apt");
    let folders = [
        "lists/partial",
        "archives/partial",
        "etc/apt.conf.d",
        "etc/preferences.d",
    ];
    for folder in folders {
        fs::create_dir_all(apt.join(folder))?;
    }
    let source = format!("deb [signed-by={KEYRING}] {MIRROR} forky main\n");
    fs::write(apt.join("etc/sources.list"), source)?;
    // Nothing is installed as far as this apt knows, so that it fetches every dependency.
    fs::write(apt.join("status"), "")?;
    let settings = format!(
        "Dir::State \"{apt}\";\nDir::State::status \"{apt}/status\";\nDir::Cache \"{apt}\";\n\
         Dir::Etc \"{apt}/etc\";\nDir::Etc::sourcelist \"{apt}/etc/sources.list\";\n\
         Acquire::Languages \"none\";\n\
         // A mirror that was frozen still is what Debian has signed.\n\
         Acquire::Check-Valid-Until \"false\";\n",
        apt = apt.display()
    );
    let config = apt.join("apt.conf");
    fs::write(&config, settings)?;
    let get = || {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", &config).arg("--quiet=2");
        command
    };
    run(get().arg("update"))?;
    let download = [
        "install",
        "--download-only",
        "--yes",
        "--no-install-recommends",
        "wasmedge",
    ];
    run(get().args(download))?;
    fs::create_dir_all(unpacked)?;
    for package in fs::read_dir(apt.join("archives"))? {
        let package = package?.path();
        if package
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            let mut unpack = Command::new("dpkg");
            unpack.arg("-x").arg(&package).arg(unpacked);
            let status = unpack.status().context("cannot start dpkg")?;
            if !status.success() {
                bail!("cannot unpack {}: {status}", package.display());
            }
        }
    }
    Ok(())
}

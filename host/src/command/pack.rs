//! `gust pack`: writes a model file in the layout with which the engine computes fastest.
//!
//! The file is written to `OUTPUT.part` and renamed to `OUTPUT` once it is complete and on disk. An interrupted run is
//! resumed where it stopped.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use gust::files::{self, Refusal};
use gust::{CancelHandle, Engine, Limits, Packed};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, note, warning};
use super::progress::{Progress, Reporter};
use super::signals;
use super::units::{bytes, parse_bytes, parse_seconds, time};

/// Bytes packed at a time, and bytes compared at the beginning and at the end of a partial file.
const STEP: u32 = 4 << 20;

/// Repack a model file into the engine's own layout, which computes faster
///
/// The rows of matrices are interleaved in groups of four; everything else, including the file's size, stays the same.
/// So do the answers. A packed file computes faster than its original where both are mapped (--mmap). Only gust can run
/// it, so keep the original. An interrupted run leaves OUTPUT.part; run the same command again to resume.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust pack -m model.gguf                    writes model.packed.gguf
  gust pack -m model.gguf -o fast.gguf
  gust run -m model.packed.gguf \"Hello\"")]
pub(super) struct PackArgs {
    /// GGUF file to pack
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    model: PathBuf,
    /// File to write [default: the model's name, ending in .packed.gguf]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Overwrite the output file if it exists
    #[arg(long)]
    force: bool,
    /// Print one JSON object: output, bytes, changed_tensors, resumed_at, seconds
    #[arg(long)]
    json: bool,
    /// Maximum memory for the engine, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_memory: Option<u64>,
    /// Maximum time for one call into the engine (opening the file, packing 4 MiB of it)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    call_timeout: Option<Duration>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    output: &'a Path,
    bytes: u64,
    changed_tensors: u32,
    /// Bytes kept from an interrupted run.
    resumed_at: u64,
    seconds: f64,
}

pub(super) fn pack(args: &PackArgs) -> Result<(), Failure> {
    let output = match &args.output {
        Some(output) => output.clone(),
        None => args.model.with_extension("packed.gguf"),
    };
    let output = target(&args.model, &output, args.force)?;

    let start = Instant::now();
    let progress = Progress::start("loading the engine");
    let reporter = progress.reporter();
    let compiling = progress.reporter();
    let engine = Engine::builder()
        .on_compile(move || compiling.doing("compiling the engine (once)"))
        .on_warning(warning)
        .build()?;
    let limits = Limits {
        memory: args.max_memory,
        call_time: args.call_timeout,
    };
    let mut packed = engine.pack_within(&args.model, limits)?;
    if packed.changed_tensors() == 0 {
        let message = format!("{} has nothing to pack", args.model.display());
        return Err(Failure::model(message)
            .hint("matrices of types Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K and MXFP4 can be packed; `gust inspect` lists the types"));
    }
    reporter.doing("packing");
    let part = Part::open(&args.model, &output, &mut packed)?;
    let resumed_at = part.done;
    part.complete(&mut packed, &reporter)?;
    drop(progress);

    let took = start.elapsed();
    if args.json {
        let mut out = Output::new();
        out.json(&Report {
            output: &output,
            bytes: packed.size(),
            changed_tensors: packed.changed_tensors(),
            resumed_at,
            seconds: took.as_secs_f64(),
        })?;
        return out.flush();
    }
    let resumed = match resumed_at {
        0 => String::new(),
        at => format!(", resumed from {}", bytes(at)),
    };
    note(&format!(
        "packed {} tensors into {}: {} in {}{resumed}",
        packed.changed_tensors(),
        output.display(),
        bytes(packed.size()),
        time(took),
    ));
    Ok(())
}

/// The file that `output` leads to, through links, after making sure that it may be replaced.
fn target(model: &Path, output: &Path, force: bool) -> Result<PathBuf, Failure> {
    let fail = |error| Failure::file("checking", output.display(), &error);
    match output.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(output.to_owned()),
        found => found.map_err(fail)?,
    };
    let target = output.canonicalize().map_err(fail)?;
    check_replaceable(model, &target)?;
    if !force {
        let message = format!("{} already exists", output.display());
        return Err(Failure::usage(message)
            .hint("pass --force to overwrite it, or -o to write another file"));
    }
    Ok(target)
}

/// What to do if the output is something that must not be replaced.
const HINT: &str = "pass -o to write another file";

/// Refuses to write to what is there, unless it is a regular file other than the model. `--force` does not change that.
fn check_replaceable(model: &Path, there: &Path) -> Result<(), Failure> {
    let fail = |error| Failure::file("checking", there.display(), &error);
    let metadata = there.metadata().map_err(fail)?;
    if !metadata.is_file() {
        let found = match metadata.is_dir() {
            true => "a folder",
            false => "something else",
        };
        let expected = "expected a regular file, or none, to write to";
        let message = format!("{}: {expected}, found {found}", there.display());
        return Err(Failure::usage(message).hint(HINT));
    }
    match is_model(model, there) {
        true => Err(model_itself(there)),
        false => Ok(()),
    }
}

fn model_itself(there: &Path) -> Failure {
    let message = format!(
        "{} is the model itself, which would be lost",
        there.display()
    );
    Failure::usage(message).hint(HINT)
}

/// Whether two names lead to one file. A model that is missing is reported later.
fn is_model(model: &Path, there: &Path) -> bool {
    let (Ok(a), Ok(b)) = (model.metadata(), there.metadata()) else {
        return false;
    };
    is_same((model, &a), (there, &b))
}

/// Whether two files are one, perhaps under several names.
#[cfg(unix)]
fn is_same((_, a): (&Path, &Metadata), (_, b): (&Path, &Metadata)) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same((a, _): (&Path, &Metadata), (b, _): (&Path, &Metadata)) -> bool {
    let canonical = [a.canonicalize(), b.canonicalize()];
    matches!(canonical, [Ok(a), Ok(b)] if a == b)
}

/// The file that is being written.
struct Part {
    file: File,
    path: PathBuf,
    output: PathBuf,
    /// Bytes that it holds so far.
    done: u64,
}

impl Part {
    /// Opens the partial file of an interrupted run, if it is a prefix of this output, or else starts a new one.
    fn open(model: &Path, output: &Path, packed: &mut Packed) -> Result<Part, Failure> {
        let mut name = output.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let fail = |doing: &'static str| {
            let path = path.clone();
            move |error| Failure::file(doing, path.display(), &error)
        };
        if is_model(model, &path) {
            return Err(model_itself(&path));
        }
        // It is continued, and its middle is not compared: nobody else may have written it.
        let mut file = files::open_own(&path).map_err(|refusal| match refusal {
            Refusal::Unusable(error) => fail("writing")(error),
            Refusal::Untrusted(found) => Failure::failed(format!("{} {found}", path.display()))
                .hint("remove it, or choose another --output"),
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another gust process is writing {}", path.display());
                return Err(Failure::failed(message)
                    .hint("wait for it to finish, or choose another --output"));
            }
            // A file system that does not support locks.
            Err(TryLockError::Error(_)) => {}
        }
        let length = file.metadata().map_err(fail("checking"))?.len();
        let mut done = length.min(packed.size());
        for at in [0, done.saturating_sub(u64::from(STEP))] {
            let expected = packed.read(at, STEP.min((done - at).min(u64::from(STEP)) as u32))?;
            let mut found = vec![0; expected.len()];
            file.seek(SeekFrom::Start(at)).map_err(fail("reading"))?;
            file.read_exact(&mut found).map_err(fail("reading"))?;
            if found != expected {
                done = 0;
                break;
            }
        }
        file.set_len(done).map_err(fail("writing"))?;
        file.seek(SeekFrom::Start(done)).map_err(fail("writing"))?;
        Ok(Part {
            file,
            path,
            output: output.to_owned(),
            done,
        })
    }

    /// Writes what is missing and renames the file to its final name.
    fn complete(mut self, packed: &mut Packed, progress: &Reporter) -> Result<(), Failure> {
        let stop = CancelHandle::default();
        let guard = signals::cancels(&stop);
        let fail = |error| {
            let failure = Failure::file("writing", self.path.display(), &error);
            failure.hint("what is written is kept; run the same command again to resume")
        };
        while self.done < packed.size() {
            if stop.is_cancelled() {
                let percent = self.done * 100 / packed.size();
                note(&format!(
                    "stopped at {percent} %; run the same command again to resume"
                ));
                return Err(gust::Error::Cancelled.into());
            }
            let bytes = packed.read(self.done, STEP)?;
            self.file.write_all(&bytes).map_err(fail)?;
            self.done += bytes.len() as u64;
            progress.done(self.done, packed.size());
        }
        self.file.sync_all().map_err(fail)?;
        drop(guard);
        fs::rename(&self.path, &self.output).map_err(fail)
    }
}

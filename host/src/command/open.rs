//! From flags to a loaded model.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gust::{Engine, Limits, LoadOptions, Mapping, MetadataEntry, Model, Scope};

use super::args::ModelArgs;
use super::failure::Failure;
use super::output::{note, printable, warning};
use super::progress::Progress;

/// The key of a model's chat template.
pub(super) const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// A loaded model, and how long loading took.
pub(super) struct Opened {
    pub(super) model: Model,
    /// Time until the engine was ready: compiled, or read from the cache.
    pub(super) engine_time: Duration,
    /// Time from then until the model was loaded.
    pub(super) load_time: Duration,
}

/// Loads as much of the model as `scope` says, for a command that does not generate text.
pub(super) fn open(args: &ModelArgs, scope: Scope) -> Result<Opened, Failure> {
    load(args, scope, None, Mapping::Allowed)
}

/// Loads a model that generates about `tokens` tokens, or nobody knows how many, and the draft model, if there is one.
pub(super) fn open_to_generate(
    args: &ModelArgs,
    draft: Option<&PathBuf>,
    tokens: Option<u32>,
) -> Result<Opened, Failure> {
    /// Fewer arrive sooner from a mapped model.
    const WORTH_A_COPY: u32 = 16;
    let suitable = match tokens {
        Some(few) if few < WORTH_A_COPY => Mapping::Allowed,
        _ => Mapping::Auto,
    };
    load(args, Scope::Full, draft, suitable)
}

fn load(
    args: &ModelArgs,
    scope: Scope,
    draft: Option<&PathBuf>,
    suitable: Mapping,
) -> Result<Opened, Failure> {
    let progress = Progress::start("loading the engine");
    let start = Instant::now();
    let reporter = progress.reporter();
    let mut builder = Engine::builder()
        .isa(args.isa)
        .on_compile(move || reporter.doing("compiling the engine (first run only)"))
        .on_warning(warning)
        .build_time(args.call_timeout);
    if let Some(path) = &args.component {
        builder = builder.component_file(path);
    }
    if args.profile {
        builder = builder.perf_map();
        missing_symbols();
    }
    for middleware in &args.with {
        builder = builder.with(middleware.clone());
    }
    for (name, value) in variables(args)? {
        builder = builder.variable(name, value);
    }
    let engine = builder.build()?;
    let engine_time = start.elapsed();

    let reporter = progress.reporter();
    reporter.doing("loading the model");
    let options = LoadOptions {
        scope,
        mmap: args.mapping(suitable),
        threads: args.threads,
        limits: Limits {
            memory: args.max_memory,
            call_time: args.call_timeout,
        },
        draft: draft.map(Into::into),
        tokenizer: args.tokenizer.as_ref().map(Into::into),
        progress: Some(Arc::new(move |progress| {
            if let gust::Progress::Loading { done, total } = progress {
                reporter.done(done, total);
            }
        })),
    };
    let model = match &args.model {
        Some(path) => engine.load(path, &options)?,
        None => engine.load(gust::SHIPPED_MODEL, &options)?,
    };
    let load_time = start.elapsed() - engine_time;
    drop(progress);
    if scope != Scope::Metadata {
        warn_of_assumptions(&model)?;
    }
    Ok(Opened {
        model,
        engine_time,
        load_time,
    })
}

fn warn_of_assumptions(model: &Model) -> Result<(), Failure> {
    // A template is only used in conversations: `gust chat` says which.
    let matters = |entry: &&MetadataEntry| entry.is_assumed() && entry.key != CHAT_TEMPLATE;
    for entry in model.metadata()?.iter().filter(matters) {
        note(&format!(
            "warning: the file does not say `{}`, and `{}` is assumed; if that is wrong, so are the tokens",
            printable(&entry.key),
            printable(&entry.value)
        ));
    }
    Ok(())
}

/// The settings of the middleware: variables from this program's environment, and the list of phrases.
fn variables(args: &ModelArgs) -> Result<Vec<(String, String)>, Failure> {
    const OURS: [&str; 3] = ["GUST_FILTER", "GUST_JITTER", "GUST_LOG"];
    let is_ours = |name: &str| OURS.iter().any(|ours| name.starts_with(ours));
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut variables: Vec<_> = texts.filter(|(name, _)| is_ours(name)).collect();
    if let Some(path) = &args.filter_list {
        let phrases = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "cannot read the list of phrases {}: {error}",
                path.display()
            ))
        })?;
        variables.retain(|(name, _)| name != "GUST_FILTER");
        variables.push(("GUST_FILTER".to_owned(), phrases));
    }
    Ok(variables)
}

/// Prints a note if perf will not find the names of gust's own functions. Those of the engine come from the perf map.
#[cfg(target_os = "linux")]
fn missing_symbols() {
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut debug = program.clone();
    debug.as_mut_os_string().push(".debug");
    if is_stripped(&program) && !debug.is_file() {
        note(&format!(
            "note: {} is missing, so perf will show addresses instead of the names of gust's own functions\n\
             hint: `cargo xtask build` writes it next to the program",
            debug.display()
        ));
    }
}

/// Whether the program refers to a file that has its symbols, as `cargo xtask build` makes it do. A build by cargo alone
/// contains its symbols.
#[cfg(target_os = "linux")]
fn is_stripped(program: &std::path::Path) -> bool {
    // The names of an ELF file's sections are at its end.
    let bytes = std::fs::read(program).unwrap_or_default();
    let end = &bytes[bytes.len().saturating_sub(8192)..];
    end.windows(14).any(|name| name == b".gnu_debuglink")
}

#[cfg(not(target_os = "linux"))]
fn missing_symbols() {}

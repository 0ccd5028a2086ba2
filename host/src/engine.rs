//! The engine: a component that loads models.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crate::middleware::{self, Middleware};
use crate::runtime::{
    self, Blob, Compilation, Group, Interruption, Listeners, Profiling, Program, Reservation,
    Surroundings, files,
};
use crate::{
    Error, Isa, Limits, LoadOptions, Mapping, Model, Packed, Scope, Source, placement, threads,
};

/// The engine that is built with this library.
pub(crate) static EMBEDDED: &[u8] = include_bytes!(env!("GUST_ENGINE"));

/// The same with tokenizers from files.
#[cfg(tokenizers_engine)]
pub(crate) static WITH_TOKENIZERS: Option<&[u8]> =
    Some(include_bytes!(env!("GUST_ENGINE_TOKENIZERS")));
#[cfg(not(tokenizers_engine))]
pub(crate) static WITH_TOKENIZERS: Option<&[u8]> = None;

/// A compiled engine component. Cheap to clone; clones share the compiled code.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    component: Cow<'static, [u8]>,
    compiler: Compiler,
    program: Arc<Program>,
    /// The same component, compiled differently when that is first needed: so that it can be interrupted anywhere, for a
    /// component other than the embedded one and a time limit per call; or so that it takes little address space. And the
    /// embedded engine with tokenizers.
    variants: Mutex<Vec<(Way, Arc<Program>)>>,
}

/// How a program is compiled, besides what the builder says.
type Way = (Flavor, Interruption, Reservation);

/// How the builder compiles it.
const FIRST: Way = (Flavor::Built, Interruption::AtImports, Reservation::Whole);

/// Which component runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flavor {
    /// The one that the engine was built with.
    Built,
    /// The embedded one with tokenizers, in place of the embedded one without.
    Tokenizers,
}

impl Shared {
    /// Whether this is the engine that is built with this library.
    fn is_embedded(&self) -> bool {
        matches!(self.component, Cow::Borrowed(_))
    }
}

impl Engine {
    /// The engine that is built with this library, compiled or from the cache.
    ///
    /// # Errors
    /// [`Error::Component`] if this system cannot run it.
    ///
    /// ```
    /// let engine = gust::Engine::new()?;
    /// # Ok::<(), gust::Error>(())
    /// ```
    pub fn new() -> Result<Engine, Error> {
        Engine::builder().build()
    }

    /// A builder for an engine with other settings: another component, another cache.
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            component: Component::Bytes(Cow::Borrowed(EMBEDDED)),
            middleware: Vec::new(),
            variables: Vec::new(),
            compiler: Compiler {
                surroundings: Surroundings::default(),
                cache_dir: runtime::default_cache_dir(),
                profiling: Profiling::default(),
                isa: Isa::default(),
                on_compile: None,
                on_warning: None,
            },
            build_time: None,
        }
    }

    /// Loads a model into new instances of the engine, one for each [thread](LoadOptions::threads).
    ///
    /// Each instance has its own memory and some of the rows of every matrix. The sessions of a model share its
    /// instances and take turns; to compute at the same time, load the model again (mapped weights share their memory).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`], [`Error::InvalidModel`], [`Error::Unsupported`], [`Error::OutOfMemory`], and
    /// those for the limits of `options`.
    ///
    /// ```
    /// use gust::{Engine, LoadOptions, Scope};
    ///
    /// let engine = Engine::new()?;
    /// let options = LoadOptions { scope: Scope::Metadata, ..Default::default() };
    /// let model = engine.load(gust::SHIPPED_MODEL, &options)?;
    /// assert_eq!(model.info().architecture, "llama");
    /// # Ok::<(), gust::Error>(())
    /// ```
    pub fn load(&self, source: impl Into<Source>, options: &LoadOptions) -> Result<Model, Error> {
        let blob = Blob::open(source.into())?;
        let is_collective = self.0.program.is_collective;
        let threads = threads::choose(options.threads, blob.total_filled(), is_collective)?;
        let size = if options.scope == Scope::Full {
            threads
        } else {
            1
        };
        let options = LoadOptions {
            mmap: match placement::is_mapped(options.mmap, blob.total_size()) {
                true => Mapping::Allowed,
                false => Mapping::Copy,
            },
            ..options.clone()
        };
        let flavor = match options.tokenizer {
            Some(_) if self.0.is_embedded() => Flavor::Tokenizers,
            _ => Flavor::Built,
        };
        let group = self.in_address_space(flavor, options.limits, |program| {
            Group::new(program, &blob, &options, size)
        })?;
        Model::load(group, &options, threads)
    }

    /// Repacks a model file into the engine's own layout, with which it computes faster: write the result to a file,
    /// and load that. `benches/RESULTS.md` says what this does for which types.
    ///
    /// # Errors
    /// The errors of [`load`](Self::load) for a broken file; [`Error::Unsupported`] if the engine has no such layout.
    ///
    /// ```
    /// let mut packed = gust::Engine::new()?.pack(gust::SHIPPED_MODEL)?;
    /// assert_eq!(packed.size(), gust::SHIPPED_MODEL.len() as u64);
    /// assert!(packed.changed_tensors() > 0);
    /// let beginning = packed.read(0, 4)?;
    /// assert_eq!(beginning, b"GGUF");
    /// # Ok::<(), gust::Error>(())
    /// ```
    pub fn pack(&self, source: impl Into<Source>) -> Result<Packed, Error> {
        self.pack_within(source, Limits::default())
    }

    /// Repacks like [`pack`](Self::pack), within limits: on the memory of the instance that does it, and on the time of
    /// opening the file and of each [read](Packed::read).
    ///
    /// # Errors
    /// As [`pack`](Self::pack), and those for the limits.
    pub fn pack_within(&self, source: impl Into<Source>, limits: Limits) -> Result<Packed, Error> {
        let blob = Blob::open(source.into())?;
        self.in_address_space(Flavor::Built, limits, |program| {
            Packed::open(program, blob.clone(), limits)
        })
    }

    /// Makes instances of the component, with memories that take the least time; if the system has no address space for
    /// those, with memories that take the least space.
    fn in_address_space<T>(
        &self,
        flavor: Flavor,
        limits: Limits,
        make: impl Fn(&Arc<Program>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let interruption = match limits.call_time {
            // The tokenizers library calls nothing of the host's while it works.
            Some(_) if !self.0.is_embedded() || flavor == Flavor::Tokenizers => {
                Interruption::AtLoops
            }
            _ => Interruption::AtImports,
        };
        let program = |reservation| self.variant((flavor, interruption, reservation), limits);
        match make(&program(Reservation::Whole)?) {
            Err(Error::AddressSpace { .. }) => make(&program(Reservation::AsNeeded)?),
            made => made,
        }
    }

    /// The program compiled in this way. If it is not there yet, a component that is not part of this library has to be
    /// compiled within the time limit.
    fn variant(&self, way: Way, limits: Limits) -> Result<Arc<Program>, Error> {
        if way == FIRST {
            return Ok(self.0.program.clone());
        }
        let variants = &self.0.variants;
        let mut variants = variants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, program)) = variants.iter().find(|(of, _)| *of == way) {
            return Ok(program.clone());
        }
        let component = match way.0 {
            Flavor::Built => self.0.component.clone(),
            Flavor::Tokenizers => Cow::Borrowed(WITH_TOKENIZERS.ok_or(Error::NoTokenizers)?),
        };
        let compiler = self.0.compiler.clone();
        let compile = move || compiler.program(&component, way);
        let made = match limits.call_time {
            Some(limit) if !self.0.is_embedded() => within(limit, compile)?,
            _ => compile()?,
        };
        let made = Arc::new(made);
        variants.push((way, made.clone()));
        Ok(made)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            component,
            compiler,
            ..
        } = &*self.0;
        f.debug_struct("Engine")
            .field("component_bytes", &component.len())
            .field("cache_dir", &compiler.cache_dir)
            .finish_non_exhaustive()
    }
}

/// Settings for an [`Engine`].
#[must_use]
pub struct EngineBuilder {
    component: Component,
    middleware: Vec<Middleware>,
    variables: Vec<(String, String)>,
    compiler: Compiler,
    build_time: Option<Duration>,
}

/// What is needed to make a component ready to run, besides the component.
#[derive(Clone)]
struct Compiler {
    surroundings: Surroundings,
    cache_dir: Option<PathBuf>,
    profiling: Profiling,
    isa: Isa,
    on_compile: Option<Arc<dyn Fn() + Send + Sync>>,
    on_warning: Option<WarningFn>,
}

type WarningFn = Arc<dyn Fn(&str) + Send + Sync>;

impl Compiler {
    fn program(&self, component: &[u8], way: Way) -> Result<Program, Error> {
        let (_, interruption, reservation) = way;
        Program::new(
            component,
            &self.surroundings,
            Compilation {
                interruption,
                profiling: self.profiling,
                isa: self.isa,
                reservation,
            },
            self.cache_dir.as_deref(),
            &Listeners {
                on_compile: &|| self.on_compile.iter().for_each(|listener| listener()),
                // Further programs are compiled by the same rules: there is nothing new to say.
                on_distrust: &|text| {
                    if way == FIRST {
                        self.on_warning.iter().for_each(|listener| listener(text));
                    }
                },
            },
        )
    }
}

enum Component {
    File(PathBuf),
    Bytes(Cow<'static, [u8]>),
}

impl EngineBuilder {
    /// Uses the component in this file, which exports `gust:llm/engine`. Default: the one built with this library.
    pub fn component_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.component = Component::File(path.into());
        self
    }

    /// Uses this component, in binary form, which exports `gust:llm/engine`. Default: the one built with this library.
    pub fn component_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.component = Component::Bytes(Cow::Owned(bytes.into()));
        self
    }

    /// Wraps the engine in a middleware; the next one wraps this one.
    ///
    /// ```
    /// use gust::{Engine, LoadOptions, Middleware};
    ///
    /// let engine = Engine::builder()
    ///     .with(Middleware::Filter)
    ///     .variable("GUST_FILTER", "a phrase\nanother one")
    ///     .build()?;
    /// let model = engine.load(gust::SHIPPED_MODEL, &LoadOptions::default())?;
    /// # Ok::<(), gust::Error>(())
    /// ```
    pub fn with(mut self, middleware: Middleware) -> Self {
        self.middleware.push(middleware);
        self
    }

    /// Sets an environment variable for the middleware and for what it wraps. An engine alone has none.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Sets where compiled engines are kept; `None` compiles each time. A folder that does not belong to the user that
    /// the program runs as, or that others can write to, is not used ([`on_warning`](Self::on_warning) says so).
    /// Default: the folder in the environment variable `GUST_CACHE_DIR`, otherwise the user's cache directory.
    pub fn cache_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.compiler.cache_dir = dir;
        self
    }

    /// Writes `/tmp/perf-PID.map`, from which Linux's `perf` learns the names of the engine's functions. On systems
    /// without it, [`build`](Self::build) fails.
    pub fn perf_map(mut self) -> Self {
        self.compiler.profiling = Profiling::PerfMap;
        self
    }

    /// Compiles for fewer instructions than the processor has, to measure how fast the engine is on processors that lack
    /// them. The answers are the same. Default: [`Isa::Native`]. [`build`](Self::build) fails if the processor does not
    /// have them.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.compiler.isa = isa;
        self
    }

    /// Sets a function to call when the component has to be compiled, which may take seconds. It is called once, and
    /// again for each way in which the component is needed differently: the first load with a time limit per call compiles
    /// other components than the embedded one again, so that they can be interrupted, and the first load with too little
    /// address space (`ulimit -v`) all of them, so that they take less; the first load with a
    /// [tokenizer](LoadOptions::tokenizer) compiles the larger engine that runs it.
    pub fn on_compile(mut self, listener: impl Fn() + Send + Sync + 'static) -> Self {
        self.compiler.on_compile = Some(Arc::new(listener));
        self
    }

    /// Sets a function to call with what keeps the cache from being used although it is there: somebody else could have
    /// put code into it. The sentence says what to do. Default: nobody is told, and the component is compiled.
    pub fn on_warning(mut self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.compiler.on_warning = Some(Arc::new(listener));
        self
    }

    /// Sets how long [`build`](Self::build) may take to compose and compile a component that is not part of this
    /// library. After that it returns [`Error::CallTime`]; the thread that compiles goes on until it has finished, and
    /// its result is dropped. Default: no limit.
    pub fn build_time(mut self, limit: Option<Duration>) -> Self {
        self.build_time = limit;
        self
    }

    /// Builds the engine.
    ///
    /// # Errors
    /// [`Error::Component`] if the component cannot be read or compiled, exports no `gust:llm/engine`, or imports
    /// something that no engine needs; [`Error::InvalidArgument`] if the processor lacks what [`isa`](Self::isa) asks for.
    pub fn build(self) -> Result<Engine, Error> {
        let EngineBuilder {
            component,
            middleware,
            variables,
            mut compiler,
            build_time,
        } = self;
        let is_foreign = component.is_foreign() || middleware.iter().any(Middleware::is_foreign);
        if !middleware.is_empty() {
            compiler.surroundings = Surroundings {
                variables,
                for_middleware: true,
            };
        }
        let build = move || -> Result<Engine, Error> {
            let component = middleware::around(component.bytes()?, &middleware)?;
            let program = compiler.program(&component, FIRST)?;
            Ok(Engine(Arc::new(Shared {
                component,
                compiler,
                program: Arc::new(program),
                variants: Mutex::default(),
            })))
        };
        match build_time {
            Some(limit) if is_foreign => within(limit, build),
            _ => build(),
        }
    }
}

impl Component {
    /// Whether it is not a part of this library.
    fn is_foreign(&self) -> bool {
        !matches!(self, Component::Bytes(Cow::Borrowed(_)))
    }

    fn bytes(self) -> Result<Cow<'static, [u8]>, Error> {
        match self {
            Component::Bytes(bytes) => Ok(bytes),
            Component::File(path) => read_component(&path).map(Cow::Owned),
        }
    }
}

/// Reads the file of a component.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>, Error> {
    files::read_regular(path)
        .map_err(|error| Error::Component(format!("reading {}: {error}", path.display())))
}

/// Returns what `work` returns, if it takes no longer than `limit`.
///
/// Wasmtime compiles a component in one go, and nothing can stop it. So `work` runs on a thread of its own, which is left
/// to itself when the time is up.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, result) = channel();
    let run = move || {
        // Nobody receives it after the time is up.
        let _ = sender.send(work());
    };
    let thread = Builder::new().name("gust-compiler".to_owned()).spawn(run);
    thread.map_err(|error| Error::Io(format!("starting a thread: {error}")))?;
    result.recv_timeout(limit).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => Error::CallTime { limit },
            RecvTimeoutError::Disconnected => Error::Component("compiling it panicked".to_owned()),
        })
    })
}

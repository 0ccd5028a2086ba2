//! The engine: a component that loads models.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, fs};

use crate::middleware::{self, Middleware};
use crate::runtime::{
    self, Blob, Compilation, Group, Interruption, Profiling, Program, Surroundings,
};
use crate::{Error, Isa, LoadOptions, Mapping, Model, Packed, Scope, Source, placement, threads};

/// The engine that is built with this library.
pub(crate) static EMBEDDED: &[u8] = include_bytes!(env!("GUST_ENGINE"));

/// A compiled engine component. Cheap to clone; clones share the compiled code.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    component: Cow<'static, [u8]>,
    surroundings: Surroundings,
    cache_dir: Option<PathBuf>,
    /// How `program` was compiled.
    compilation: Compilation,
    on_compile: Option<Box<dyn Fn() + Send + Sync>>,
    program: Arc<Program>,
    /// For a component other than the embedded one: the same component, compiled so that it can be interrupted
    /// anywhere. Compiled when a model is first loaded with a time limit per call.
    interruptible: Mutex<Option<Arc<Program>>>,
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
            cache_dir: runtime::default_cache_dir(),
            profiling: Profiling::default(),
            isa: Isa::default(),
            on_compile: None,
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
        let program = match options.limits.call_time {
            Some(_) if !self.0.is_embedded() => self.interruptible()?,
            _ => self.0.program.clone(),
        };
        let blob = Blob::open(source.into())?;
        let threads = threads::choose(options.threads, blob.total_size(), program.is_collective)?;
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
        let group = Group::new(&program, &blob, &options, size)?;
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
        Packed::open(&self.0.program, Blob::open(source.into())?)
    }

    fn interruptible(&self) -> Result<Arc<Program>, Error> {
        let mut program = self
            .0
            .interruptible
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = &*program {
            return Ok(program.clone());
        }
        let made = Program::new(
            &self.0.component,
            &self.0.surroundings,
            Compilation {
                interruption: Interruption::AtLoops,
                ..self.0.compilation
            },
            self.0.cache_dir.as_deref(),
            || self.0.on_compile.iter().for_each(|listener| listener()),
        )?;
        Ok(program.insert(Arc::new(made)).clone())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            component,
            cache_dir,
            ..
        } = &*self.0;
        f.debug_struct("Engine")
            .field("component_bytes", &component.len())
            .field("cache_dir", cache_dir)
            .finish_non_exhaustive()
    }
}

/// Settings for an [`Engine`].
#[must_use]
pub struct EngineBuilder {
    component: Component,
    middleware: Vec<Middleware>,
    variables: Vec<(String, String)>,
    cache_dir: Option<PathBuf>,
    profiling: Profiling,
    isa: Isa,
    on_compile: Option<Box<dyn Fn() + Send + Sync>>,
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

    /// Sets where compiled engines are kept; `None` compiles each time. A folder that other users can write to is not
    /// used. Default: the folder in the environment variable `GUST_CACHE_DIR`, otherwise the user's cache directory.
    pub fn cache_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.cache_dir = dir;
        self
    }

    /// Writes `/tmp/perf-PID.map`, from which Linux's `perf` learns the names of the engine's functions. On systems
    /// without it, [`build`](Self::build) fails.
    pub fn perf_map(mut self) -> Self {
        self.profiling = Profiling::PerfMap;
        self
    }

    /// Compiles for fewer instructions than the processor has, to measure how fast the engine is on processors that lack
    /// them. The answers are the same. Default: [`Isa::Native`]. [`build`](Self::build) fails if the processor does not
    /// have them.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// Sets a function to call when the component has to be compiled, which may take seconds. It is called at most
    /// twice, and once for the embedded engine: the first load with a time limit per call compiles other components
    /// again, so that they can be interrupted.
    pub fn on_compile(mut self, listener: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_compile = Some(Box::new(listener));
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
            cache_dir,
            profiling,
            isa,
            on_compile,
        } = self;
        let component = match component {
            Component::Bytes(bytes) => bytes,
            Component::File(path) => Cow::Owned(fs::read(&path).map_err(|error| {
                Error::Component(format!("reading {}: {error}", path.display()))
            })?),
        };
        let component = middleware::around(component, &middleware)?;
        let surroundings = match middleware.is_empty() {
            true => Surroundings::default(),
            false => Surroundings {
                variables,
                for_middleware: true,
            },
        };
        let compilation = Compilation {
            interruption: Interruption::AtImports,
            profiling,
            isa,
        };
        let program = Program::new(
            &component,
            &surroundings,
            compilation,
            cache_dir.as_deref(),
            || {
                on_compile.iter().for_each(|listener| listener());
            },
        )?;
        Ok(Engine(Arc::new(Shared {
            component,
            surroundings,
            cache_dir,
            compilation,
            on_compile,
            program: Arc::new(program),
            interruptible: Mutex::new(None),
        })))
    }
}

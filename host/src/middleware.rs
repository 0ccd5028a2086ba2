//! Components around the engine: what stands between it and the host, and is an engine itself.

use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// A component that imports `gust:llm/engine` and exports it too.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Middleware {
    /// Keeps phrases out of what is streamed. They are in the [variable](crate::EngineBuilder::variable) `GUST_FILTER`,
    /// one on a line; `adapters/README.md` has its other settings.
    Filter,
    /// Gives tokens out at a constant pace, each `GUST_JITTER_MS` milliseconds.
    Jitter,
    /// Writes a line to stderr for each model, session and answer.
    Log,
    /// The component in a file.
    File(PathBuf),
}

/// By its name, or else by its file, which has a dot or a slash in it.
impl FromStr for Middleware {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "filter" => Ok(Middleware::Filter),
            "jitter" => Ok(Middleware::Jitter),
            "log" => Ok(Middleware::Log),
            _ if text.contains(['.', '/', std::path::MAIN_SEPARATOR]) => {
                Ok(Middleware::File(text.into()))
            }
            _ => Err("expected `filter`, `jitter`, `log` or a component's file".to_owned()),
        }
    }
}

impl Middleware {
    /// Whether it is not a part of this library.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Middleware::File(_))
    }

    fn name(&self) -> Cow<'static, str> {
        match self {
            Middleware::Filter => "filter".into(),
            Middleware::Jitter => "jitter".into(),
            Middleware::Log => "log".into(),
            Middleware::File(path) => path.display().to_string().into(),
        }
    }

    #[cfg(feature = "middleware")]
    fn bytes(&self) -> Result<Cow<'static, [u8]>, Error> {
        Ok(match self {
            Middleware::Filter => include_bytes!(env!("GUST_FILTER_COMPONENT")).into(),
            Middleware::Jitter => include_bytes!(env!("GUST_JITTER_COMPONENT")).into(),
            Middleware::Log => include_bytes!(env!("GUST_LOG_COMPONENT")).into(),
            Middleware::File(path) => crate::engine::read_component(path)?.into(),
        })
    }
}

/// Composes the engine and its middleware, the innermost first, into one component.
pub(crate) fn around(
    engine: Cow<'static, [u8]>,
    middleware: &[Middleware],
) -> Result<Cow<'static, [u8]>, Error> {
    middleware.iter().try_fold(engine, wrap)
}

#[cfg(feature = "middleware")]
fn wrap(inner: Cow<'static, [u8]>, middleware: &Middleware) -> Result<Cow<'static, [u8]>, Error> {
    use gust_compose::Part;

    let around = Part {
        name: &middleware.name(),
        bytes: &middleware.bytes()?,
    };
    let inner = Part {
        name: "engine",
        bytes: &inner,
    };
    let stand_in = Part {
        name: "stand-in",
        bytes: include_bytes!(env!("GUST_STAND_IN_COMPONENT")),
    };
    let composed = gust_compose::wrap(around, inner, stand_in);
    Ok(composed
        .map_err(|error| Error::Component(error.to_string()))?
        .into())
}

#[cfg(not(feature = "middleware"))]
fn wrap(_: Cow<'static, [u8]>, middleware: &Middleware) -> Result<Cow<'static, [u8]>, Error> {
    Err(Error::NoMiddleware(middleware.name().into_owned()))
}

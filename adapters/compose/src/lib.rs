//! Composes components into one: connects the exports of some to the imports of another.
//!
//! [`plug`] is the only step, and [`wrap`] the same around an engine. An engine with its providers plugged in imports only `wasi:*`; plugged into a middleware,
//! it gives an engine again; and that, plugged into a front end, gives a program. The result imports whatever remains
//! unconnected.

use wac_graph::types::{Package, Types};
use wac_graph::{CompositionGraph, EncodeOptions};

/// The interface that not every engine has and most of what surrounds engines needs.
const CHAT: &str = "gust:llm/chat@0.1.0";

/// Why components could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of them is not a component. Carries its name and what is wrong with it.
    #[error("{0} is not a component: {1}")]
    Component(String, String),
    /// The plugs export nothing that the socket imports, or only with a different type.
    #[error("{socket} imports nothing that {plugs} exports")]
    NoMatch {
        /// The name of the socket.
        socket: String,
        /// The names of the plugs.
        plugs: String,
    },
    /// They match, but composing them fails.
    #[error("{0} cannot be composed: {1}")]
    Composition(String, String),
}

/// A component in its binary form, and a name for messages, such as `filter`.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its name in messages.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Returns a component with the exports of `socket`, whose imports are connected to the exports of `plugs`.
///
/// # Errors
/// If one of them is not a component, or a plug exports nothing that the socket imports.
pub fn plug(socket: Part<'_>, plugs: &[Part<'_>]) -> Result<Vec<u8>, Error> {
    let broken = |error: &dyn std::fmt::Display| {
        Error::Composition(socket.name.to_owned(), format!("{error:#}"))
    };
    let mut graph = CompositionGraph::new();
    let mut register = |part: &Part<'_>| {
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::Component(part.name.to_owned(), error.to_string())
        };
        let package = Package::from_bytes(part.name, None, part.bytes, graph.types_mut())
            .map_err(|error| unreadable(&error))?;
        graph
            .register_package(package)
            .map_err(|error| unreadable(&error))
    };
    let mut packages = Vec::new();
    for part in plugs {
        packages.push(register(part)?);
    }
    let target = register(&socket)?;
    wac_graph::plug(&mut graph, packages, target).map_err(|error| match error {
        wac_graph::PlugError::NoPlugHappened => Error::NoMatch {
            socket: socket.name.to_owned(),
            plugs: plugs
                .iter()
                .map(|plug| plug.name)
                .collect::<Vec<_>>()
                .join(", "),
        },
        wac_graph::PlugError::GraphError { source } => broken(&source),
    })?;
    graph
        .encode(EncodeOptions::default())
        .map_err(|error| broken(&error))
}

/// Returns the component `around` with the engine `inner` plugged in. If `around` imports `gust:llm/chat` and `inner`
/// does not export it, `chat` goes between them: middleware that adds it.
///
/// # Errors
/// As [`plug`].
pub fn wrap(around: Part<'_>, inner: Part<'_>, chat: Part<'_>) -> Result<Vec<u8>, Error> {
    let (needs, _) = has_chat(around)?;
    let (_, offers) = has_chat(inner)?;
    if !needs || offers {
        return plug(around, &[inner]);
    }
    let with_chat = Part {
        name: inner.name,
        bytes: &plug(chat, &[inner])?,
    };
    plug(around, &[with_chat])
}

/// Whether a component imports `gust:llm/chat`, and whether it exports it.
fn has_chat(part: Part<'_>) -> Result<(bool, bool), Error> {
    let mut types = Types::new();
    let package = Package::from_bytes(part.name, None, part.bytes, &mut types)
        .map_err(|error| Error::Component(part.name.to_owned(), error.to_string()))?;
    let world = &types[package.ty()];
    Ok((
        world.imports.contains_key(CHAT),
        world.exports.contains_key(CHAT),
    ))
}

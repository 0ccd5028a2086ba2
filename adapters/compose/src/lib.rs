//! Puts components together into one: what some export becomes what another imports.
//!
//! [`plug`] is the one step that everything is made of. An engine with its providers plugged in imports only `wasi:*`;
//! that, plugged into a middleware, is an engine again; and that, plugged into a front end, is a program. What stays
//! unanswered is imported by the result.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};

/// Why components could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of them is no component. Carries its name and what is wrong with it.
    #[error("{0} is no component: {1}")]
    Component(String, String),
    /// None of what the plugs export is what the socket imports, or only under another type.
    #[error("{socket} imports nothing that {plugs} exports")]
    NoMatch {
        /// The name of the socket.
        socket: String,
        /// The names of the plugs.
        plugs: String,
    },
    /// They match, and yet no component comes of it.
    #[error("{0} cannot be composed: {1}")]
    Composition(String, String),
}

/// A component in its binary form, and a name for messages, such as `filter`.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Gives a component that exports what `socket` does, and in which the exports of `plugs` are what it imports.
///
/// # Errors
/// If one of them is no component, or a plug exports nothing that the socket imports.
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

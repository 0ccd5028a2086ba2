//! Composes components into one: connects the exports of some to the imports of another.
//!
//! [`plug`] is the only step, and [`wrap`] the same around an engine, with a stand-in for what that lacks. An engine with its providers plugged in imports only `wasi:*`; plugged into a middleware,
//! it gives an engine again; and that, plugged into a front end, gives a program. The result imports whatever remains
//! unconnected.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

/// The interface that every engine has.
const ENGINE: &str = "gust:llm/engine@0.1.0";
/// Those that not every engine has and that what surrounds engines may import.
const OPTIONAL: [&str; 3] = [
    "gust:llm/adapters@0.1.0",
    "gust:llm/chat@0.1.0",
    "gust:llm/embedding@0.1.0",
];

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
    let mut packages = Vec::new();
    for part in plugs {
        packages.push(register(&mut graph, *part)?);
    }
    let target = register(&mut graph, socket)?;
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

/// Returns the component `around` with the engine `inner` plugged in. Of the optional interfaces that `around` imports,
/// those that `inner` does not export are plugged in from `stand_in`, a component that makes them of any engine.
///
/// # Errors
/// As [`plug`].
pub fn wrap(around: Part<'_>, inner: Part<'_>, stand_in: Part<'_>) -> Result<Vec<u8>, Error> {
    let mut graph = CompositionGraph::new();
    let [socket, engine, other] = [
        register(&mut graph, around)?,
        register(&mut graph, inner)?,
        register(&mut graph, stand_in)?,
    ];
    let lacking = |name: &&str| imports(&graph, socket, name) && !exports(&graph, engine, name);
    let missing: Vec<&str> = OPTIONAL.into_iter().filter(lacking).collect();
    if missing.is_empty() {
        return plug(around, &[inner]);
    }
    connect(&mut graph, [socket, engine, other], &missing)
        .map_err(|error| Error::Composition(around.name.to_owned(), format!("{error:#}")))
}

/// Connects a socket with an engine, and with what a third component makes of that for the interfaces `missing`.
fn connect(
    graph: &mut CompositionGraph,
    packages: [PackageId; 3],
    missing: &[&str],
) -> anyhow::Result<Vec<u8>> {
    let [socket, engine, _] = packages;
    let [around, inner, stand_in] = packages.map(|package| graph.instantiate(package));
    let offered = graph.alias_instance_export(inner, ENGINE)?;
    graph.set_instantiation_argument(stand_in, ENGINE, offered)?;
    let world = &graph.types()[graph[socket].ty()];
    let wanted: Vec<String> = world.imports.keys().cloned().collect();
    let made: Vec<String> = world.exports.keys().cloned().collect();
    for name in wanted {
        let from = match missing.contains(&name.as_str()) {
            true => stand_in,
            false if exports(graph, engine, &name) => inner,
            false => continue,
        };
        let offered = graph.alias_instance_export(from, &name)?;
        graph.set_instantiation_argument(around, &name, offered)?;
    }
    for name in made {
        let made = graph.alias_instance_export(around, &name)?;
        graph.export(made, &name)?;
    }
    Ok(graph.encode(EncodeOptions::default())?)
}

/// Adds a component to a graph.
fn register(graph: &mut CompositionGraph, part: Part<'_>) -> Result<PackageId, Error> {
    let unreadable =
        |error: &dyn std::fmt::Display| Error::Component(part.name.to_owned(), error.to_string());
    let package = Package::from_bytes(part.name, None, part.bytes, graph.types_mut())
        .map_err(|error| unreadable(&error))?;
    let registered = graph.register_package(package);
    registered.map_err(|error| unreadable(&error))
}

fn imports(graph: &CompositionGraph, package: PackageId, name: &str) -> bool {
    graph.types()[graph[package].ty()]
        .imports
        .contains_key(name)
}

fn exports(graph: &CompositionGraph, package: PackageId, name: &str) -> bool {
    graph.types()[graph[package].ty()]
        .exports
        .contains_key(name)
}

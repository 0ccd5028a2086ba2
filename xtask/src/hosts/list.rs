//! The hosts: what each is called, which program it is, and how that is asked for the answer.

use crate::tools::Tool;

/// The shipped model, from the workspace's root.
pub(crate) const MODEL: &str = "models/gust-stories-q8_0.gguf";
/// What all hosts are given, besides the seed 42 and the default sampling.
pub(crate) const PROMPT: &str = "Once upon a time";

/// A host, with one of the builds.
pub(crate) struct Host {
    /// What selects it on the command line.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// The build of the engine; a driver says it itself.
    pub(crate) build: &'static str,
    pub(crate) notes: &'static str,
    pub(crate) tool: Tool,
    pub(crate) way: Way,
    pub(crate) args: &'static [&'static str],
}

/// How a host is asked, and what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Takes the options of `gust run` and prints lines of JSON; run so many times.
    Lines { rounds: usize },
    /// Prints one line of JSON, with the tokens and the median of its own rounds.
    Driver,
    /// Prints the prompt and the answer; the time is that between the first piece and the last.
    Story,
    /// Serves OpenAI's API; the time is that between the first event and the last.
    Server,
}

use Tool::{Chromium, Embed, Firefox, Gust, Node, Node24, Python, WasmEdge, WasmEdgeAot, Wasmtime};

const LINES: Way = Way::Lines { rounds: 5 };

/// All of them. The first one is what the others are compared with.
pub(crate) const HOSTS: [Host; 19] = [
    Host {
        id: "gust",
        name: "gust",
        build: "relaxed",
        notes: "1 thread",
        tool: Gust,
        way: LINES,
        args: &["run", "--threads", "1"],
    },
    Host {
        id: "gust-2",
        name: "gust",
        build: "relaxed",
        notes: "2 threads",
        tool: Gust,
        way: LINES,
        args: &["run", "--threads", "2"],
    },
    Host {
        id: "gust-baseline",
        name: "gust",
        build: "baseline",
        notes: "1 thread, `--component gust-engine-baseline.wasm`",
        tool: Gust,
        way: LINES,
        args: &["run", "--threads", "1", "--component", BASELINE],
    },
    Host {
        id: "gust-baseline-2",
        name: "gust",
        build: "baseline",
        notes: "2 threads",
        tool: Gust,
        way: LINES,
        args: &["run", "--threads", "2", "--component", BASELINE],
    },
    Host {
        id: "wasmtime",
        name: "Wasmtime",
        build: "relaxed",
        notes: "`wasmtime run gust.wasm`",
        tool: Wasmtime,
        way: LINES,
        args: &["run", "--dir", "models", "target/components/gust.wasm"],
    },
    Host {
        id: "wasmtime-baseline",
        name: "Wasmtime",
        build: "baseline",
        notes: "`wasmtime run gust-baseline.wasm`",
        tool: Wasmtime,
        way: LINES,
        args: &[
            "run",
            "--dir",
            "models",
            "target/components/gust-baseline.wasm",
        ],
    },
    Host {
        id: "wasmtime-core",
        name: "Wasmtime",
        build: "relaxed",
        notes: "`wasmtime run gust-core.wasm`, the core module",
        tool: Wasmtime,
        way: LINES,
        args: &["run", "--dir", "models", "target/components/gust-core.wasm"],
    },
    Host {
        id: "wasmtime-serve",
        name: "Wasmtime",
        build: "relaxed",
        notes: "`wasmtime serve gust-http.wasm`, over HTTP",
        tool: Wasmtime,
        way: Way::Server,
        args: &[
            "serve",
            "-Scli",
            // For a command that was built without it.
            "-Opooling-allocator=n",
            "--dir",
            "models",
            "--env",
            "GUST_MODEL=models/gust-stories-q8_0.gguf",
            "--max-instance-reuse-count",
            "1000",
            "--idle-instance-timeout",
            "3600s",
            "target/components/gust-http.wasm",
        ],
    },
    Host {
        id: "embed",
        name: "Rust, stock Wasmtime crate",
        build: "relaxed",
        notes: "`examples/embed`, `gust-solo.wasm`",
        tool: Embed,
        way: Way::Story,
        args: &[SOLO, "models", "gust-stories-q8_0.gguf", PROMPT],
    },
    Host {
        id: "python",
        name: "Python, PyPI wasmtime",
        build: "relaxed",
        notes: "`examples/python`, `gust-solo.wasm`",
        tool: Python,
        way: Way::Driver,
        args: &["xtask/src/hosts/driver.py", SOLO, MODEL, PROMPT],
    },
    Host {
        id: "node",
        name: "Node",
        build: "",
        notes: "1 worker",
        tool: Node,
        way: Way::Driver,
        args: &["web/drivers/node.mjs", "--threads", "1"],
    },
    Host {
        id: "node24",
        name: "Node",
        build: "",
        notes: "Node 24 of npm",
        tool: Node24,
        way: Way::Driver,
        args: &["web/drivers/node.mjs", "--threads", "1"],
    },
    Host {
        id: "chromium",
        name: "Chromium",
        build: "",
        notes: "1 worker",
        tool: Chromium,
        way: Way::Driver,
        args: &["web/drivers/browser.mjs", "--threads", "1"],
    },
    Host {
        id: "chromium-2",
        name: "Chromium",
        build: "",
        notes: "2 workers",
        tool: Chromium,
        way: Way::Driver,
        args: &["web/drivers/browser.mjs", "--threads", "2"],
    },
    Host {
        id: "firefox",
        name: "Firefox",
        build: "",
        notes: "",
        tool: Firefox,
        way: Way::Driver,
        args: &[
            "web/drivers/browser.mjs",
            "--browser",
            "firefox",
            "--threads",
            "1",
        ],
    },
    Host {
        id: "wasmedge-aot",
        name: "WasmEdge",
        build: "relaxed",
        notes: "AOT (`wasmedge compile`), `gust-core.wasm`",
        tool: WasmEdgeAot("gust-core"),
        way: LINES,
        args: &[
            "--run-mode",
            "aot",
            "--dir",
            "models:models",
            "target/hosts/wasmedge/gust-core.so",
        ],
    },
    Host {
        id: "wasmedge-aot-baseline",
        name: "WasmEdge",
        build: "baseline",
        notes: "AOT, `gust-core-baseline.wasm`",
        tool: WasmEdgeAot("gust-core-baseline"),
        way: LINES,
        args: &[
            "--run-mode",
            "aot",
            "--dir",
            "models:models",
            "target/hosts/wasmedge/gust-core-baseline.so",
        ],
    },
    Host {
        id: "wasmedge-interpreter",
        name: "WasmEdge",
        build: "relaxed",
        notes: "interpreter, `gust-core.wasm`",
        tool: WasmEdge,
        way: Way::Lines { rounds: 1 },
        args: &["--dir", "models:models", "target/components/gust-core.wasm"],
    },
    Host {
        id: "wasmedge-interpreter-baseline",
        name: "WasmEdge",
        build: "baseline",
        notes: "interpreter, `gust-core-baseline.wasm`",
        tool: WasmEdge,
        way: Way::Lines { rounds: 1 },
        args: &[
            "--dir",
            "models:models",
            "target/components/gust-core-baseline.wasm",
        ],
    },
];

const BASELINE: &str = "target/engine/gust-engine-baseline.wasm";
const SOLO: &str = "target/components/gust-solo.wasm";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_a_name_of_its_own() {
        let mut ids: Vec<_> = HOSTS.iter().map(|host| host.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), HOSTS.len());
    }
}

//! The built engines from outside: what they import, what they export, and which instructions they contain.

use std::collections::BTreeSet;

use crate::helpers::{engine_component, stock};
use wasmparser::{ComponentExternalKind, Parser, Payload, Validator, WasmFeatures};

const RELAXED: &str = "gust-engine.wasm";
const BASELINE: &str = "gust-engine-baseline.wasm";
const TOKENIZERS: &str = "gust-engine-tokenizers.wasm";

/// What std needs of WASI. No network, no clock except those that std may ask for the time, and no preopened folders.
const WASI: [&str; 16] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure-seed",
];

#[test]
fn it_imports_weights_and_collective_and_a_little_of_wasi() {
    for file in [RELAXED, BASELINE, TOKENIZERS] {
        let (imports, _) = interfaces(&read(file));
        for wanted in ["gust:llm/weights@0.1.0", "gust:llm/collective@0.1.0"] {
            assert!(imports.contains(wanted), "{file} imports {imports:?}");
        }
        for import in &imports {
            let (name, version) = import.split_once('@').unwrap_or((import, ""));
            let ours = name == "gust:llm/weights" || name == "gust:llm/collective";
            // What the tokenizers library seeds its hash tables with.
            let seeds = file == TOKENIZERS && name == "wasi:random/random";
            let wasi = (WASI.contains(&name) || seeds) && version.starts_with("0.2.");
            assert!(ours || wasi, "{file} imports {import}");
        }
    }
}

#[test]
fn it_exports_the_engine_and_what_no_engine_has_to_have() {
    for (file, more) in [
        (RELAXED, None),
        (BASELINE, None),
        (TOKENIZERS, Some("tokenizers")),
    ] {
        let (_, exports) = interfaces(&read(file));
        let names = [
            "adapters",
            "chat",
            "embedding",
            "engine",
            "packing",
            "states",
            "trace",
        ];
        let names = names.into_iter().chain(more);
        let expected: BTreeSet<_> = names.map(|name| format!("gust:llm/{name}@0.1.0")).collect();
        assert_eq!(exports, expected, "{file}");
    }
}

/// The output of `cargo xtask compose` runs in any host: it imports only WASI, and no sockets.
#[test]
fn composed_components_import_nothing_but_wasi() {
    for (name, export) in [
        ("gust-solo", "gust:llm/engine@0.1.0"),
        ("gust", "wasi:cli/run@0.2."),
        ("gust-http", "wasi:http/incoming-handler@0.2."),
    ] {
        for flavor in ["", "-baseline"] {
            let file = format!("components/{name}{flavor}.wasm");
            let bytes = stock::built(&file);
            let (imports, exports) = interfaces(&bytes);
            for import in &imports {
                let wasi = import.starts_with("wasi:") && import.contains("@0.2.");
                assert!(
                    wasi && !import.contains("sockets"),
                    "{file} imports {import}"
                );
            }
            // The library component also exports the engine's optional interfaces.
            let others: Vec<_> = exports
                .iter()
                .filter(|name| {
                    ![
                        "adapters",
                        "chat",
                        "embedding",
                        "packing",
                        "states",
                        "trace",
                    ]
                    .iter()
                    .any(|own| name.starts_with(&format!("gust:llm/{own}@")))
                })
                .collect();
            assert!(
                matches!(others[..], [only] if only.starts_with(export)),
                "{file} exports {exports:?}"
            );
            let wasm2 = WasmFeatures::WASM2 | WasmFeatures::COMPONENT_MODEL;
            let takes = refusal(&bytes, wasm2).is_none();
            assert_eq!(takes, flavor == "-baseline", "{file} without relaxed SIMD");
        }
    }
}

/// Without SIMD neither is valid, so both contain v128 instructions; without relaxed SIMD, only the one that may
/// contain its instructions is invalid. No threads, no 64-bit memory, no more than one memory: any host accepts the
/// baseline.
#[test]
fn both_use_simd_and_one_of_them_relaxed_simd() {
    let wasm2 = WasmFeatures::WASM2 | WasmFeatures::COMPONENT_MODEL;
    let relaxed = read(RELAXED);
    let baseline = read(BASELINE);
    for (file, bytes) in [(RELAXED, &relaxed), (BASELINE, &baseline)] {
        let problem = refusal(bytes, wasm2 - WasmFeatures::SIMD).unwrap_or_default();
        assert!(problem.contains("SIMD"), "{file} without SIMD: `{problem}`");
    }
    assert_eq!(refusal(&baseline, wasm2), None);
    let problem = refusal(&relaxed, wasm2).unwrap_or_default();
    assert!(
        problem.contains("relaxed SIMD"),
        "without relaxed SIMD: `{problem}`"
    );
    assert_eq!(refusal(&relaxed, wasm2 | WasmFeatures::RELAXED_SIMD), None);
}

fn read(file: &str) -> Vec<u8> {
    let path = engine_component(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Why a host with these features would reject the component.
fn refusal(component: &[u8], features: WasmFeatures) -> Option<String> {
    let result = Validator::new_with_features(features).validate_all(component);
    result.err().map(|error| error.message().to_owned())
}

/// The names of what the outermost component imports and exports.
fn interfaces(component: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap_or_else(|error| panic!("the component: {error}")) {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let import = import.unwrap_or_else(|error| panic!("an import: {error}"));
                    imports.insert(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.unwrap_or_else(|error| panic!("an export: {error}"));
                    if export.kind == ComponentExternalKind::Instance {
                        exports.insert(export.name.name.to_owned());
                    } else {
                        panic!("it exports {} `{}`", export.kind.desc(), export.name.name);
                    }
                }
            }
            _ => {}
        }
    }
    (imports, exports)
}

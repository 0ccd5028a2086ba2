//! A core module in place of the engine's.

use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

use super::cases::Case;

/// The engine's component, and what is to be replaced in it.
struct Engine {
    bytes: Vec<u8>,
    /// Where its code is, a core module.
    code: Range<usize>,
    /// What that exports.
    functions: Vec<(String, FuncType)>,
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/engine/gust-engine.wasm");
    let bytes = std::fs::read(&path);
    let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let code = largest_module(&bytes);
    let functions = functions(&bytes[code.clone()]);
    Engine {
        bytes,
        code,
        functions,
    }
});

/// The engine's component with the code of `case` in place of the engine's.
pub(crate) fn component(case: &Case) -> Vec<u8> {
    let Engine {
        bytes,
        code,
        functions,
    } = &*ENGINE;
    let text = text(functions, case);
    let module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    // A section is its number, its length, and its contents.
    let section = code.start - leb(code.len()).len() - 1;
    assert_eq!(bytes[section], 1, "a core module");
    let mut out = bytes[..=section].to_vec();
    out.extend(leb(module.len()));
    out.extend(module);
    out.extend(&bytes[code.end..]);
    out
}

/// Where the code of a component is: the other modules in it connect it.
fn largest_module(component: &[u8]) -> Range<usize> {
    let modules = Parser::new(0).parse_all(component).filter_map(|payload| {
        match payload.expect("a valid component") {
            Payload::ModuleSection {
                unchecked_range, ..
            } => Some(unchecked_range),
            _ => None,
        }
    });
    modules.max_by_key(|range| range.len()).expect("a module")
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// What cases can use: the imports, and functions for the common steps.
const PRELUDE: &str = r#"
    (import "gust:llm/weights@0.1.0" "open" (func $open (param i32 i32 i32)))
    (import "gust:llm/weights@0.1.0" "[method]blob.size" (func $size (param i32) (result i64)))
    (import "gust:llm/weights@0.1.0" "[method]blob.read" (func $read (param i32 i64 i32 i32)))
    (import "gust:llm/weights@0.1.0" "[method]blob.map-pages" (func $map (param i32 i64 i64 i64 i32)))
    (import "gust:llm/weights@0.1.0" "[resource-drop]blob" (func $drop (param i32)))
    (import "gust:llm/collective@0.1.0" "rank" (func $rank (result i32)))
    (import "gust:llm/collective@0.1.0" "all-gather" (func $gather (param i32 i32 i32)))
    (import "gust:llm/collective@0.1.0" "checkpoint" (func $checkpoint (param i32)))
    (import "[export]gust:llm/engine@0.1.0" "[resource-new]model" (func $new-model (param i32) (result i32)))
    (import "[export]gust:llm/engine@0.1.0" "[resource-drop]model" (func $drop-model (param i32)))
    (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
    (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
    (memory (export "memory") 64)
    (data (i32.const 1024) "model")
    (global $heap (mut i32) (i32.const 0x100000))

    ;; Imports answer at 2048. 0 if it is a success, otherwise 1 and the number of the case of the error.
    (func $kind (result i32)
        (if (result i32) (i32.load8_u (i32.const 2048))
            (then (i32.add (i32.const 1) (i32.load8_u (i32.const 2056))))
            (else (i32.const 0))))
    (func $model (result i32)
        (call $open (i32.const 1024) (i32.const 5) (i32.const 2048))
        (i32.load (i32.const 2056)))
    (func $open-at (param i32 i32) (result i32)
        (call $open (local.get 0) (local.get 1) (i32.const 2048))
        (call $kind))
    (func $read-at (param i64 i32) (result i32)
        (call $read (call $model) (local.get 0) (local.get 1) (i32.const 2048))
        (call $kind))
    ;; Offset, length, address.
    (func $map-at (param i64 i64 i64) (result i32)
        (call $map (call $model) (local.get 0) (local.get 1) (local.get 2) (i32.const 2048))
        (call $kind))
    ;; The error of a gather has one case only, so its answer is packed more closely.
    (func $gather-of (param i32 i32) (result i32)
        (call $gather (local.get 0) (local.get 1) (i32.const 2048))
        (i32.load8_u (i32.const 2048)))
    ;; The answer of `load-model` is at 4096: an error with this number and a text.
    (func $refuse (param $number i32) (param $text i32) (param $length i32) (result i32)
        (i32.store8 (i32.const 4096) (i32.const 1))
        (i32.store8 (i32.const 4104) (local.get $number))
        (i32.store (i32.const 4112) (local.get $text))
        (i32.store (i32.const 4116) (local.get $length))
        (i32.const -1))
    ;; Or a model with this handle.
    (func $accept (param $handle i32) (result i32)
        (i32.store8 (i32.const 4096) (i32.const 0))
        (i32.store (i32.const 4104) (local.get $handle))
        (i32.const -1))
"#;

/// `load-model` does what the case says. A number is answered as the error `context-full`, which carries one; -1 means that
/// the case has written an answer itself.
const LOAD: &str = r#"
    (local $number i32)
    (local.set $number (call $case))
    (if (i32.ne (local.get $number) (i32.const -1))
        (then (drop (call $refuse (i32.const 5) (local.get $number) (i32.const 0)))))
    (i32.const 4096)
"#;

/// Memory in a row, without an end.
const REALLOC: &str = r#"
    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 3)))
    (block $enough
        (br_if $enough (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
        (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16))))))
"#;

/// A module with all that `engine` exports: what the case says, and otherwise code that traps.
fn text(functions: &[(String, FuncType)], case: &Case) -> String {
    let mut text = format!("(module {PRELUDE} {}", case.items);
    text += &format!("(func $case (result i32) {})", case.code);
    for (name, ty) in functions {
        let code = match name.as_str() {
            "gust:llm/engine@0.1.0#load-model" => LOAD,
            "cabi_post_gust:llm/engine@0.1.0#load-model" => case.post_return,
            "cabi_realloc" => case.realloc.unwrap_or(REALLOC),
            "gust:llm/engine@0.1.0#[method]model.info" => case.info,
            "gust:llm/engine@0.1.0#[method]model.metadata" => case.metadata,
            _ if name.starts_with("cabi_post_") || name.contains("[dtor]") => "",
            _ => "unreachable",
        };
        let list = |kind: &str, types: &[ValType]| match types {
            [] => String::new(),
            types => {
                let names: Vec<_> = types.iter().map(ToString::to_string).collect();
                format!("({kind} {})", names.join(" "))
            }
        };
        text += &format!(
            "(func (export \"{name}\") {} {} {code})\n",
            list("param", ty.params()),
            list("result", ty.results())
        );
    }
    text + ")"
}

/// The functions that a module exports.
fn functions(module: &[u8]) -> Vec<(String, FuncType)> {
    let (mut types, mut indices, mut exports) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.expect("a valid module") {
            Payload::TypeSection(section) => {
                let all = section.into_iter_err_on_gc_types();
                types.extend(all.map(|ty| ty.expect("a type")));
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(index) = import.expect("an import").ty {
                        indices.push(index);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                indices.extend(section.into_iter().map(|index| index.expect("an index")));
            }
            Payload::ExportSection(section) => {
                let all = section.into_iter().map(|export| export.expect("an export"));
                exports.extend(all.filter(|export| export.kind == ExternalKind::Func));
            }
            _ => {}
        }
    }
    let of = |export: wasmparser::Export<'_>| {
        let ty: &FuncType = &types[indices[export.index as usize] as usize];
        (export.name.to_owned(), ty.clone())
    };
    exports.into_iter().map(of).collect()
}

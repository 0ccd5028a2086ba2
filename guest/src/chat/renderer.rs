//! The engine: minijinja, with a size check for every value that a template builds.
//!
//! minijinja's fuel accounts for steps and bytes, but lists can contain one another: `x = [x, x]` repeated fifty times
//! builds a value that takes 2^50 steps to print, and `x = [x]` repeated ten thousand times one that overflows the
//! stack when it is dropped. So the compiled template gets a check after each instruction that builds a value out of
//! others, and before each instruction that traverses whole values. A value beyond the limits is an error where it is
//! built, so all others are harmless.

use std::collections::BTreeMap;

use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, eval, make_string_output, parse,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};

use super::{clock, json, methods};
use crate::pulse::work;

/// The most steps of a template; each also pays for 64 bytes. A conversation of a thousand turns needs about ten
/// thousand.
pub(super) const FUEL: u64 = 1_000_000;
/// How deep macros and loops may call one another.
const MAX_RECURSION: usize = 100;
/// The deepest nesting of lists and maps.
const MAX_DEPTH: usize = 48;
/// The most values within a value; a value that it contains twice counts twice.
const MAX_NODES: usize = 1 << 18;
/// The most bytes of strings within a value, counted in the same way.
const MAX_BYTES: usize = 1 << 24;
/// Values that one unit of fuel pays for when a value is weighed.
const NODES_PER_FUEL: usize = 4;

const CHECK: &str = "!value";
const CHECK_STORED: &str = "!stored";

/// Renders a template that has passed the guard.
pub(super) fn render(
    source: &str,
    syntax: SyntaxConfig,
    variables: Value,
) -> Result<String, Error> {
    let template = parse(source, "template", syntax)?;
    let mut code = CodeGenerator::new("template", source);
    code.compile_stmt(&template);
    let (instructions, _) = code.finish();
    let instructions = instrument(&instructions, source);
    let environment = environment();
    let mut text = String::new();
    let mut output = make_string_output(&mut text);
    let blocks = BTreeMap::new();
    eval(
        &environment,
        &instructions,
        variables,
        &blocks,
        &mut output,
        AutoEscape::None,
    )?;
    Ok(text)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_unknown_method_callback(methods::call);
    environment.remove_global("debug");
    environment.add_filter("tojson", json::tojson);
    environment.add_filter(CHECK, |state: &mut State, value: Value| {
        check(state, value, Namespaces::Allowed)
    });
    environment.add_filter(CHECK_STORED, |state: &mut State, value: Value| {
        check(state, value, Namespaces::Refused)
    });
    // Jinja2 does not have these, and their results are lazy: they keep their inputs alive.
    environment.remove_filter("chain");
    environment.remove_filter("zip");
    environment.add_test("sequence", is_sequence);
    environment.add_function("strftime_now", clock::strftime_now);
    environment.add_function("raise_exception", super::raise_exception);
    environment
}

/// In Jinja2 a sequence is anything with a length and items, including strings and maps.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::String | ValueKind::Seq | ValueKind::Map
    )
}

/// A namespace may be a variable but not part of a value, because it could then contain itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespaces {
    Allowed,
    Refused,
}

/// Returns the value itself, or a list of the items that it iterates over, so that lazy iterators never stack up.
fn check(state: &State, value: Value, namespaces: Namespaces) -> Result<Value, Error> {
    // Each instruction between two checks takes about as long as this many steps elsewhere.
    work(64);
    let Some(object) = value.as_object() else {
        return Ok(value);
    };
    let own = is_own(object.type_name());
    if own && namespaces == Namespaces::Allowed {
        return Ok(value);
    }
    if own || value.kind() == ValueKind::Plain && namespaces == Namespaces::Refused {
        return Err(invalid("a value contains a namespace, loop or macro"));
    }
    if matches!(value.kind(), ValueKind::Plain | ValueKind::Invalid) {
        return Ok(value);
    }
    let value = match value.kind() {
        ValueKind::Seq if is_list(object.type_name()) => value,
        ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.take(MAX_NODES + 1).collect(),
        _ => value,
    };
    let nodes = weigh(&value)?;
    state.consume_fuel((nodes / NODES_PER_FUEL) as u64)?;
    Ok(value)
}

/// Whether the type is a list that stores its items; other types compute them on demand.
fn is_list(type_name: &str) -> bool {
    type_name.contains("Vec<") || type_name.contains("Tuple")
}

/// Whether the type is one of the engine's own objects, which are mutable and may contain anything.
fn is_own(type_name: &str) -> bool {
    ["Namespace", "Loop", "Macro", "Closure"]
        .iter()
        .any(|name| type_name.contains(name))
}

/// The number of values within a value, including itself. Takes no more steps than this number or the limits.
pub(super) fn weigh(value: &Value) -> Result<usize, Error> {
    let (mut nodes, mut bytes) = (0usize, 0usize);
    let mut open: Vec<minijinja::value::ValueIter> = Vec::new();
    let mut next = Some(value.clone());
    loop {
        if let Some(value) = next.take() {
            nodes += 1;
            bytes += value.as_str().map_or(0, str::len);
            if nodes > MAX_NODES || bytes > MAX_BYTES {
                return Err(invalid("a value is too large"));
            }
            if let Some(object) = value.as_object() {
                if is_own(object.type_name()) || value.kind() == ValueKind::Plain {
                    return Err(invalid("a value contains a namespace, loop or macro"));
                }
                if open.len() >= MAX_DEPTH {
                    return Err(invalid(format!(
                        "lists and maps are nested more than {MAX_DEPTH} levels deep"
                    )));
                }
                if value.kind() == ValueKind::Map {
                    // Iterating over a map yields its keys.
                    open.push(values_of(&value)?.try_iter()?);
                }
                open.push(value.try_iter()?);
            }
        }
        match open.last_mut() {
            None => return Ok(nodes),
            Some(items) => {
                next = items.next();
                if next.is_none() {
                    open.pop();
                }
            }
        }
    }
}

fn values_of(map: &Value) -> Result<Value, Error> {
    map.try_iter()?.map(|key| map.get_item(&key)).collect()
}

/// Copies the code and inserts the checks.
fn instrument<'s>(code: &Instructions<'s>, source: &'s str) -> Instructions<'s> {
    let all: Vec<_> = (0..).map_while(|at| code.get(at)).collect();
    let (mut places, mut place) = (Vec::with_capacity(all.len() + 1), 0);
    let mut previous = None;
    for &instruction in &all {
        places.push(place);
        let (before, behind) = checks(instruction, previous);
        previous = Some(instruction);
        place += (before.len() + 1 + behind.len()) as u32;
    }
    places.push(place);
    let mut instrumented = Instructions::new("template", source);
    let mut previous = None;
    for (at, instruction) in all.into_iter().enumerate() {
        let line = code.get_line(at as u32).unwrap_or(0) as u16;
        let mut add = |instruction| instrumented.add_with_line(instruction, line);
        let (before, behind) = checks(instruction, previous);
        previous = Some(instruction);
        before.iter().cloned().for_each(|instruction| {
            add(instruction);
        });
        add(moved(instruction.clone(), &places));
        behind.iter().cloned().for_each(|instruction| {
            add(instruction);
        });
    }
    instrumented
}

/// Not a slot in the engine's filter cache.
const UNCACHED: u8 = u8::MAX;
const TOP: Instruction<'static> = Instruction::ApplyFilter(CHECK, Some(1), UNCACHED);
const STORED: Instruction<'static> = Instruction::ApplyFilter(CHECK_STORED, Some(1), UNCACHED);
const SWAP: Instruction<'static> = Instruction::Swap;

type Code = &'static [Instruction<'static>];

/// The checks before and after an instruction.
fn checks(instruction: &Instruction<'_>, previous: Option<&Instruction<'_>>) -> (Code, Code) {
    use Instruction::*;
    const BOTH: Code = &[SWAP, TOP, SWAP, TOP];
    const LOWER: Code = &[SWAP, TOP, SWAP];
    let keywords_on_top = match previous {
        Some(BuildKwargs(_) | MergeKwargs(_)) => true,
        Some(LoadConst(value)) => value.is_kwargs(),
        _ => false,
    };
    match instruction {
        BuildList(_) | BuildTuple(_) | BuildMap(_) | Slice | Add | Mul => (&[], &[TOP]),
        Eq | Ne | Gt | Gte | Lt | Lte | In | StringConcat | CompareAndPreserve(_) => (BOTH, &[]),
        // The value is below the namespace on the stack.
        SetAttr(_) => (&[SWAP, STORED, SWAP], &[]),
        GetItem => (&[TOP], &[]),
        PerformTest(_, Some(1), _) => (&[TOP], &[]),
        PerformTest(_, Some(2), _) if !keywords_on_top => (BOTH, &[]),
        ApplyFilter(_, Some(1), _) => (&[TOP], &[TOP]),
        ApplyFilter(_, Some(2), _) | CallMethod(_, Some(2)) => {
            (if keywords_on_top { LOWER } else { BOTH }, &[TOP])
        }
        ApplyFilter(..) | CallFunction(..) | CallMethod(..) | CallObject(_) => (&[], &[TOP]),
        _ => (&[], &[]),
    }
}

fn moved<'s>(instruction: Instruction<'s>, places: &[u32]) -> Instruction<'s> {
    use Instruction::*;
    let to = |at: u32| places[at as usize];
    match instruction {
        Iterate(at) => Iterate(to(at)),
        Jump(at) => Jump(to(at)),
        JumpIfFalse(at) => JumpIfFalse(to(at)),
        JumpIfFalseOrPop(at) => JumpIfFalseOrPop(to(at)),
        JumpIfTrueOrPop(at) => JumpIfTrueOrPop(to(at)),
        BuildMacro(name, at, flags) => BuildMacro(name, to(at), flags),
        other => other,
    }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

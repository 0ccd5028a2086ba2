//! The engine: minijinja, with every value that a template makes weighed.
//!
//! minijinja's fuel pays for steps and bytes, but lists may hold one another: fifty times `x = [x, x]` is a value that
//! takes 2^50 steps to print, and ten thousand times `x = [x]` one that overflows the stack when it is dropped. So the
//! compiled template gets a check behind each instruction that makes a value of others, and before each that looks
//! through whole values. A value beyond the limits is an error where it is made, and all others are harmless.

use std::collections::BTreeMap;

use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, eval, make_string_output, parse,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};

use super::{clock, json, methods};

/// Steps of a template; each also pays for 64 bytes. A conversation of a thousand turns needs some ten thousand.
pub(super) const FUEL: u64 = 1_000_000;
/// How deep macros and loops may call one another.
const MAX_RECURSION: usize = 100;
/// Lists and maps within one another at most.
const MAX_DEPTH: usize = 48;
/// Values within a value at most, those that it holds twice counted twice.
const MAX_NODES: usize = 1 << 18;
/// Bytes of the texts within a value at most, counted in the same way.
const MAX_BYTES: usize = 1 << 24;
/// Values that one step of fuel pays for when they are weighed.
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
    // Not of Jinja2, and what they give waits for what it was made of.
    environment.remove_filter("chain");
    environment.remove_filter("zip");
    environment.add_test("sequence", is_sequence);
    environment.add_function("strftime_now", clock::strftime_now);
    environment.add_function("raise_exception", super::raise_exception);
    environment
}

/// In Jinja2 whatever has a length and items: texts and maps, too.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::String | ValueKind::Seq | ValueKind::Map
    )
}

/// A namespace may be a variable, but not a part of a value: it could come to hold itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespaces {
    Allowed,
    Refused,
}

/// The value itself, or a list of what it iterates over, so that no iterator waits for another one.
fn check(state: &State, value: Value, namespaces: Namespaces) -> Result<Value, Error> {
    let Some(object) = value.as_object() else {
        return Ok(value);
    };
    let own = is_own(object.type_name());
    if own && namespaces == Namespaces::Allowed {
        return Ok(value);
    }
    if own || value.kind() == ValueKind::Plain && namespaces == Namespaces::Refused {
        return Err(invalid("a namespace, loop or macro is stored in a value"));
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

/// Lists that hold their items; others make them of something else when they are asked.
fn is_list(type_name: &str) -> bool {
    type_name.contains("Vec<") || type_name.contains("Tuple")
}

/// The engine's own objects, which change and may hold anything.
fn is_own(type_name: &str) -> bool {
    ["Namespace", "Loop", "Macro", "Closure"]
        .iter()
        .any(|name| type_name.contains(name))
}

/// The number of values within a value, itself included. Takes no more steps than that or the limits.
pub(super) fn weigh(value: &Value) -> Result<usize, Error> {
    let (mut nodes, mut bytes) = (0usize, 0usize);
    let mut open: Vec<minijinja::value::ValueIter> = Vec::new();
    let mut next = Some(value.clone());
    loop {
        if let Some(value) = next.take() {
            nodes += 1;
            bytes += value.as_str().map_or(0, str::len);
            if nodes > MAX_NODES || bytes > MAX_BYTES {
                return Err(invalid("a value holds too much"));
            }
            if let Some(object) = value.as_object() {
                if is_own(object.type_name()) || value.kind() == ValueKind::Plain {
                    return Err(invalid("a namespace, loop or macro is stored in a value"));
                }
                if open.len() >= MAX_DEPTH {
                    return Err(invalid(format!(
                        "lists and maps are nested more than {MAX_DEPTH} deep"
                    )));
                }
                if value.kind() == ValueKind::Map {
                    // Iterating over a map gives its keys.
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

/// A copy of the code with the checks in it.
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

/// No slot of the engine's cache of filters.
const UNCACHED: u8 = u8::MAX;
const TOP: Instruction<'static> = Instruction::ApplyFilter(CHECK, Some(1), UNCACHED);
const STORED: Instruction<'static> = Instruction::ApplyFilter(CHECK_STORED, Some(1), UNCACHED);
const SWAP: Instruction<'static> = Instruction::Swap;

type Code = &'static [Instruction<'static>];

/// What is checked before and behind an instruction.
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
        // The value lies below the namespace that it is stored in.
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

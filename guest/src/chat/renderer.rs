//! The engine: minijinja, with a size check for every value that a template builds.
//!
//! minijinja's fuel accounts for steps and bytes, but lists can contain one another: `x = [x, x]` repeated fifty times
//! builds a value that takes 2^50 steps to print, and `x = [x]` repeated ten thousand times one that overflows the
//! stack when it is dropped. So the compiled template gets a check after each instruction that builds a value out of
//! others, and before each instruction that traverses whole values. A value beyond the limits is an error where it is
//! built, so all others are harmless.
//!
//! In the same way the code learns who wrote what (`marks`): its raw text and its constants are marked, values are made
//! plain before they are compared or serve as keys, and filters and tests are called through `filters`.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, eval, make_string_output, parse,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, escape_formatter};

use super::filters::Strings;
use super::marks::{Alphabet, Marks, Rendered, keywords, strings};
use super::{Clock, builtins, clock, filters, json, methods};
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
const PLAIN: &str = "!plain";
const PRINTED: &str = "!printed";
const ESCAPED: &str = "!escaped";
const MAP: &str = "!map";
const KEYWORDS: &str = "!keywords";

/// What a template is rendered with.
pub(super) struct Inputs<'a> {
    /// Variables from outside.
    pub(super) variables: BTreeMap<String, Value>,
    /// Variables that belong to the template: the names of the model's tokens.
    pub(super) own: BTreeMap<&'static str, &'a str>,
    pub(super) clock: Clock,
}

/// Why a template could not be rendered.
pub(super) struct Failed {
    pub(super) error: Error,
    /// The error's detail as it may be shown.
    pub(super) detail: Option<String>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let detail = error.detail().map(str::to_owned);
        Self { error, detail }
    }
}

/// Renders a template that has passed the guard.
pub(super) fn render(
    source: &str,
    syntax: SyntaxConfig,
    inputs: Inputs<'_>,
) -> Result<Rendered, Failed> {
    let template = parse(source, "template", syntax)?;
    let mut code = CodeGenerator::new("template", source);
    code.compile_stmt(&template);
    let (code, _) = code.finish();
    let marks = Arc::new(Marks::new(alphabet(&code, &inputs)?)?);
    let texts = Texts::of(&code, &marks);
    let instructions = instrument(&code, source, &marks, &texts)?;
    let environment = environment(&marks, &texts, &inputs.clock);
    let own = inputs.own.iter();
    let own = own.map(|(name, text)| (name.to_string(), Value::from(marks.mark(text))));
    let variables: BTreeMap<String, Value> = own.chain(inputs.variables).collect();
    let (mut output, blocks) = (String::new(), BTreeMap::new());
    let rendered = eval(
        &environment,
        &instructions,
        variables.into(),
        &blocks,
        &mut make_string_output(&mut output),
        AutoEscape::None,
    );
    match rendered {
        Ok(_) => Ok(marks.read(&output)),
        Err(error) => Err(Failed {
            detail: error
                .detail()
                .map(|detail| marks.plain(detail).into_owned()),
            error,
        }),
    }
}

fn alphabet(code: &Instructions<'_>, inputs: &Inputs<'_>) -> Result<Alphabet, Error> {
    let mut alphabet = Alphabet::default();
    for instruction in (0..).map_while(|at| code.get(at)) {
        match instruction {
            Instruction::EmitRaw(text) => alphabet.template(text),
            Instruction::LoadConst(value) => {
                strings(value, &mut |text| alphabet.template(text))?;
            }
            _ => {}
        }
    }
    inputs.own.values().for_each(|text| alphabet.template(text));
    for value in inputs.variables.values() {
        strings(value, &mut |text| alphabet.outside(text))?;
    }
    Ok(alphabet)
}

/// The texts that the instrumented code has and the source has not.
#[derive(Default)]
struct Texts<'s> {
    /// The marked raw texts, in the order of the code.
    raw: Vec<String>,
    /// For each filter and test, the name of what it is called through.
    filters: BTreeMap<&'s str, String>,
    tests: BTreeMap<&'s str, String>,
}

impl<'s> Texts<'s> {
    fn of(code: &Instructions<'s>, marks: &Marks) -> Self {
        let mut texts = Self::default();
        let through = |name: &str| format!("!through {name}");
        for instruction in (0..).map_while(|at| code.get(at)) {
            match *instruction {
                Instruction::EmitRaw(text) => texts.raw.push(marks.mark(text)),
                Instruction::ApplyFilter(name, ..) => {
                    texts.filters.insert(name, through(name));
                }
                Instruction::PerformTest(name, ..) => {
                    texts.tests.insert(name, through(name));
                }
                _ => {}
            }
        }
        texts
    }
}

/// The name of a filter or test as the engine looks it up.
fn normal(name: &str) -> String {
    name.split_ascii_whitespace().collect()
}

fn environment(marks: &Arc<Marks>, texts: &Texts<'_>, clock: &Clock) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    let own = Arc::clone(marks);
    environment.set_unknown_method_callback(move |state, value, method, args| {
        methods::call(state, &own, value, method, args)
    });
    let own = Arc::clone(marks);
    environment.set_formatter(move |output, state, value| {
        let strings = match state.auto_escape() {
            AutoEscape::None => Strings::Inner,
            _ => Strings::All,
        };
        let value = filters::plain(state, &own, value.clone(), strings)?;
        escape_formatter(output, state, &value)
    });
    environment.remove_global("debug");
    environment.add_filter("tojson", json::tojson);
    environment.add_filter(CHECK, |state: &mut State, value: Value| {
        check(state, value, Namespaces::Allowed)
    });
    environment.add_filter(CHECK_STORED, |state: &mut State, value: Value| {
        check(state, value, Namespaces::Refused)
    });
    for (name, strings) in [(PLAIN, Strings::All), (PRINTED, Strings::Inner)] {
        let own = Arc::clone(marks);
        environment.add_filter(name, move |state: &mut State, value: Value| {
            let value = check(state, value, Namespaces::Allowed)?;
            filters::plain(state, &own, value, strings)
        });
    }
    for name in [MAP, KEYWORDS] {
        let own = Arc::clone(marks);
        environment.add_filter(name, move |state: &mut State, flat: Value| {
            let pairs = pairs(state, &own, &flat)?;
            Ok(match name {
                MAP => Value::from_pairs(pairs),
                _ => keywords(pairs),
            })
        });
    }
    // Jinja2 does not have these, and their results are lazy: they keep their inputs alive.
    environment.remove_filter("chain");
    environment.remove_filter("zip");
    environment.add_test("sequence", builtins::is_sequence);
    environment.add_test("iterable", builtins::is_iterable);
    for name in ["default", "d"] {
        environment.add_filter(name, |args: Rest<ValueOrKwargs>| {
            builtins::default(&args.into_values())
        });
    }
    let own = Arc::clone(marks);
    environment.add_filter(
        "indent",
        move |state: &mut State, args: Rest<ValueOrKwargs>| {
            builtins::indent(state, &own, &args.into_values())
        },
    );
    let own = Arc::clone(marks);
    environment.add_filter(ESCAPED, move |state: &mut State, operands: Value| {
        builtins::escaped(state, &own, &operands)
    });
    for (&name, through) in &texts.filters {
        let (own, name) = (Arc::clone(marks), normal(name));
        let apply = move |state: &mut State, args: Rest<ValueOrKwargs>| {
            filters::apply(state, &own, &name, &args.into_values())
        };
        environment.add_filter(normal(through), apply);
    }
    for (&name, through) in &texts.tests {
        let (own, name) = (Arc::clone(marks), normal(name));
        let test = move |state: &mut State, args: Rest<ValueOrKwargs>| {
            filters::test(state, &own, &name, &args.into_values())
        };
        environment.add_test(normal(through), test);
    }
    if *clock != Clock::None {
        let own = Arc::clone(marks);
        environment.add_function("strftime_now", move |state: &mut State, format: &str| {
            clock::strftime_now(state, &own.plain(format))
        });
    }
    let own = Arc::clone(marks);
    environment.add_function("raise_exception", move |message: String| {
        super::raise_exception(own.plain(&message).into_owned())
    });
    environment
}

/// Keys and values that follow one another, as pairs. Keys are plain, because they are looked up.
fn pairs(state: &State, marks: &Marks, flat: &Value) -> Result<Vec<(Value, Value)>, Error> {
    let mut items = flat.try_iter()?;
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let key = check(state, key, Namespaces::Allowed)?;
        pairs.push((filters::plain(state, marks, key, Strings::All)?, value));
    }
    Ok(pairs)
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
    let own = is_own(&value);
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
    let nodes = weigh(&value, &mut |_| {})?;
    state.consume_fuel((nodes / NODES_PER_FUEL) as u64)?;
    Ok(value)
}

/// Whether the type is a list that stores its items; other types compute them on demand.
fn is_list(type_name: &str) -> bool {
    type_name.contains("Vec<") || type_name.contains("Tuple")
}

/// Whether the type is one of the engine's own objects, which are mutable and may contain anything.
pub(super) fn is_own(value: &Value) -> bool {
    let own = ["Namespace", "Loop", "Macro", "Closure"];
    let type_name = value.as_object().map(|object| object.type_name());
    type_name.is_some_and(|type_name| own.iter().any(|name| type_name.contains(name)))
}

/// Whether the value is a namespace.
pub(super) fn is_namespace(value: &Value) -> bool {
    let object = value.as_object();
    object.is_some_and(|object| object.type_name().contains("Namespace"))
}

/// The number of values within a value, including itself. Takes no more steps than this number or the limits. `see` is
/// called with every string.
pub(super) fn weigh(value: &Value, see: &mut dyn FnMut(&str)) -> Result<usize, Error> {
    let (mut nodes, mut bytes) = (0usize, 0usize);
    let mut open: Vec<minijinja::value::ValueIter> = Vec::new();
    let mut next = Some(value.clone());
    loop {
        if let Some(value) = next.take() {
            nodes += 1;
            if let Some(text) = value.as_str() {
                bytes += text.len();
                see(text);
            }
            if nodes > MAX_NODES || bytes > MAX_BYTES {
                return Err(invalid("a value is too large"));
            }
            if value.as_object().is_some() {
                if is_own(&value) || value.kind() == ValueKind::Plain {
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

/// Copies the code, marks what is the template's, and inserts the checks.
fn instrument<'s>(
    code: &Instructions<'s>,
    source: &'s str,
    marks: &Marks,
    texts: &'s Texts<'_>,
) -> Result<Instructions<'s>, Error> {
    let all: Vec<_> = (0..).map_while(|at| code.get(at)).collect();
    let mut raw = texts.raw.iter();
    let mut groups = Vec::with_capacity(all.len());
    for (at, &instruction) in all.iter().enumerate() {
        let previous = at.checked_sub(1).map(|before| all[before]);
        let (before, behind) = checks(instruction, previous);
        let mut group = before.to_vec();
        match instruction {
            Instruction::EmitRaw(_) => {
                group.extend(raw.next().map(|text| Instruction::EmitRaw(text)))
            }
            // The names of a macro's arguments.
            Instruction::LoadConst(value)
                if !matches!(all.get(at + 1), Some(Instruction::BuildMacro(..))) =>
            {
                group.push(Instruction::LoadConst(marks.mark_value(value)?));
            }
            // The first of the unpacked values is on top.
            Instruction::Add if texts.filters.contains_key("safe") => {
                let operands = Instruction::BuildList(Some(2));
                group.extend([operands, TO_ESCAPED, Instruction::UnpackList(2), SWAP]);
                group.push(Instruction::Add);
            }
            Instruction::BuildMap(count) => {
                group.extend([Instruction::BuildList(Some(2 * count)), TO_MAP]);
            }
            Instruction::BuildKwargs(count) => {
                group.extend([Instruction::BuildList(Some(2 * count)), TO_KEYWORDS]);
            }
            Instruction::ApplyFilter(name, count, local) => {
                let name = texts.filters.get(name).map_or(*name, String::as_str);
                group.push(Instruction::ApplyFilter(name, *count, *local));
            }
            Instruction::PerformTest(name, count, local) => {
                let name = texts.tests.get(name).map_or(*name, String::as_str);
                group.push(Instruction::PerformTest(name, *count, *local));
            }
            other => group.push(other.clone()),
        }
        group.extend_from_slice(behind);
        groups.push(group);
    }
    let (mut places, mut place) = (Vec::with_capacity(all.len() + 1), 0);
    for group in &groups {
        places.push(place);
        place += group.len() as u32;
    }
    places.push(place);
    let mut instrumented = Instructions::new("template", source);
    for (at, group) in groups.into_iter().enumerate() {
        let line = code.get_line(at as u32).unwrap_or(0) as u16;
        for instruction in group {
            instrumented.add_with_line(moved(instruction, &places), line);
        }
    }
    Ok(instrumented)
}

/// Not a slot in the engine's filter cache.
const UNCACHED: u8 = u8::MAX;

const TOP: Instruction<'static> = Instruction::ApplyFilter(CHECK, Some(1), UNCACHED);
const TOP_PLAIN: Instruction<'static> = Instruction::ApplyFilter(PLAIN, Some(1), UNCACHED);
const TOP_PRINTED: Instruction<'static> = Instruction::ApplyFilter(PRINTED, Some(1), UNCACHED);
const STORED: Instruction<'static> = Instruction::ApplyFilter(CHECK_STORED, Some(1), UNCACHED);
const TO_ESCAPED: Instruction<'static> = Instruction::ApplyFilter(ESCAPED, Some(1), UNCACHED);
const TO_MAP: Instruction<'static> = Instruction::ApplyFilter(MAP, Some(1), UNCACHED);
const TO_KEYWORDS: Instruction<'static> = Instruction::ApplyFilter(KEYWORDS, Some(1), UNCACHED);
const SWAP: Instruction<'static> = Instruction::Swap;

type Code = &'static [Instruction<'static>];

/// The checks before and after an instruction. Filters and tests look at their arguments themselves.
fn checks(instruction: &Instruction<'_>, previous: Option<&Instruction<'_>>) -> (Code, Code) {
    use Instruction::*;
    const BOTH: Code = &[SWAP, TOP, SWAP, TOP];
    const BOTH_PLAIN: Code = &[SWAP, TOP_PLAIN, SWAP, TOP_PLAIN];
    const BOTH_PRINTED: Code = &[SWAP, TOP_PRINTED, SWAP, TOP_PRINTED];
    const LOWER: Code = &[SWAP, TOP, SWAP];
    let keywords_on_top = match previous {
        Some(BuildKwargs(_) | MergeKwargs(_)) => true,
        Some(LoadConst(value)) => value.is_kwargs(),
        _ => false,
    };
    match instruction {
        BuildList(_) | BuildTuple(_) | BuildMap(_) | Slice | Add | Mul => (&[], &[TOP]),
        Eq | Ne | Gt | Gte | Lt | Lte | In | CompareAndPreserve(_) => (BOTH_PLAIN, &[]),
        StringConcat => (BOTH_PRINTED, &[]),
        // The value is below the namespace on the stack.
        SetAttr(_) => (&[SWAP, STORED, SWAP], &[]),
        GetItem | PushAutoEscape => (&[TOP_PLAIN], &[]),
        CallMethod(_, Some(2)) => (if keywords_on_top { LOWER } else { BOTH }, &[TOP]),
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

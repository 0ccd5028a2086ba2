//! How many instructions the loops of the engine's kernels have, as a committed table, and a guard over it.
//!
//! Times differ from run to run, and there is not one processor of each kind at hand; counts are exact, and Cranelift
//! makes them for processors that nobody here has. They are no speeds: a loop with fewer instructions may be the slower
//! one. But one that grows is seldom faster.
//!
//! In the order of use: a [`Table`] is made from the engine for the three [`COLUMNS`], written as
//! `benches/instructions.json` and, for people, `benches/INSTRUCTIONS.md`; [`check`] compares the engine with it, for the
//! columns that this machine's own Cranelift can compile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use wasmtime::error::Context;
use wasmtime::{Result, bail};

use crate::code::{self, Function, Instruction};
use crate::isa::Isa;
use crate::loops::{self, Count, Loop};
use crate::root;

pub(crate) const HELP: &str = "\
Counts the instructions in the loops of the engine's kernels, as Cranelift compiles them for three processors.

Usage: cargo xtask counts [--check]

Without an option, writes benches/INSTRUCTIONS.md and instructions.json. For processors of another architecture than this
machine's, it builds a compiler once, which takes minutes, and needs llvm-objdump (Debian: apt-get install llvm).

  --check  compares the engine with benches/instructions.json instead, for processors of this architecture, and fails if a
           loop has grown by more than 10 %; `cargo xtask test` does this, too
";

/// What is counted for, with the headings.
const COLUMNS: [(Isa, &str); 3] = [
    (Isa::Avx2, "AVX2"),
    (Isa::Avx512, "AVX-512"),
    (Isa::Dotprod, "arm64"),
];

/// Per cent that a loop may grow by without a word.
const TOLERANCE: usize = 10;

/// Kernels that unpack weights or compute something else: what they multiply are no products of theirs.
const WITHOUT_PRODUCTS: [&str; 3] = ["cross", "cross_quads", "swiglu"];

/// What the table is made of and from.
#[derive(Serialize, Deserialize)]
struct Table {
    /// The compilers. Others make other loops.
    rustc: String,
    wasmtime: String,
    /// How often the kernels have an instruction that adds 8-bit products in 32 bits: `vpdpbusd`, `sdot`.
    dot_products: BTreeMap<String, usize>,
    rows: Vec<Row>,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    /// Its module and name, with the numbers that it is compiled for.
    kernel: String,
    /// The type of weights, or nothing.
    #[serde(rename = "type")]
    ty: String,
    /// Products in a turn of the loop; 0 if it does not multiply.
    products: usize,
    /// By the name of the ISA.
    loops: BTreeMap<String, Turn>,
}

/// A turn of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Turn {
    instructions: usize,
    /// Of these, those that read or write the stack.
    stack: usize,
    /// Whether other loops are inside, whose instructions count once however often they run.
    has_loops: bool,
}

/// Does what the arguments say: `[--check] COMPONENT`.
pub(crate) fn count(args: &[String]) -> Result<()> {
    let (options, files): (Vec<&String>, Vec<_>) =
        args.iter().partition(|arg| arg.starts_with('-'));
    let component = files.first().context("expected a component")?;
    match options.as_slice() {
        [] => write(Path::new(component)),
        [option] if *option == "--check" => check(Path::new(component)),
        [option, ..] => bail!("unknown option `{option}`"),
    }
}

fn write(component: &Path) -> Result<()> {
    let mut table = Table {
        rustc: output(Command::new("rustc").arg("--version"))?,
        wasmtime: wasmtime_version()?,
        dot_products: BTreeMap::new(),
        rows: Vec::new(),
    };
    for (isa, _) in COLUMNS {
        eprintln!("compiling {} for {isa}", component.display());
        let (rows, dot_products) = rows(&code::functions(component, isa)?, isa)?;
        table.dot_products.insert(isa.to_string(), dot_products);
        if table.rows.is_empty() {
            table.rows = rows;
            continue;
        }
        for row in &mut table.rows {
            let found = rows.iter().find(|other| other.names() == row.names());
            // That these agree shows that it is the same loop.
            let Some(found) = found.filter(|found| found.products == row.products) else {
                bail!(
                    "{row}: expected a loop of {} products for {isa}, found {}",
                    row.products,
                    found.map_or("none".to_owned(), |found| found.products.to_string())
                );
            };
            row.loops.extend(found.loops.clone());
        }
    }
    let folder = root().join("benches");
    for (file, text) in [
        ("instructions.json", table.json()?),
        ("INSTRUCTIONS.md", table.page()),
    ] {
        let path = folder.join(file);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

/// Fails if a loop has grown, and if a kernel came or went, because a kernel that is not in the table may grow unseen.
fn check(component: &Path) -> Result<()> {
    let path = json_path();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let table: Table = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a table of instructions", path.display()))?;
    let mut checked = 0;
    let mut complaints = Vec::new();
    for (isa, _) in COLUMNS {
        if code::architecture(isa) != std::env::consts::ARCH {
            continue;
        }
        let (found, _) = rows(&code::functions(component, isa)?, isa)?;
        checked += found.len();
        complaints.extend(differences(&table.rows, &found, isa));
    }
    if complaints.is_empty() {
        println!(
            "{checked} loops of the engine's kernels have at most {TOLERANCE} % more instructions than in {}",
            path.display()
        );
        return Ok(());
    }
    let rustc = output(Command::new("rustc").arg("--version"))?;
    if rustc != table.rustc {
        complaints.push(format!(
            "the table was made with {}, and this engine with {rustc}",
            table.rustc
        ));
    }
    bail!(
        "{}\nhint: `cargo xtask disasm NAME --isa avx2 --loops` shows the code; if the change is meant, `cargo xtask counts` \
         writes the table anew",
        complaints.join("\n")
    )
}

/// What there is to say of the loops that were found, for one ISA, against those of the table.
fn differences(table: &[Row], found: &[Row], isa: Isa) -> Vec<String> {
    let turn = |row: &Row| row.loops.get(isa.name()).copied();
    let mut complaints = Vec::new();
    for row in found {
        let Some(known) = table.iter().find(|known| known.names() == row.names()) else {
            complaints.push(format!("{row}: it is not in the table"));
            continue;
        };
        let (Some(before), Some(now)) = (turn(known), turn(row)) else {
            complaints.push(format!("{row}: the table does not have it for {isa}"));
            continue;
        };
        // A loop that does more in a turn may have more instructions.
        let (more, less) = match (known.products, row.products) {
            (0, _) | (_, 0) => (1, 1),
            (before, now) => (before, now),
        };
        let [before, now] = [before.instructions * less, now.instructions * more];
        if 100 * now > (100 + TOLERANCE) * before {
            let per_turn = |row: &Row| {
                let turn = turn(row).map_or(0, |turn| turn.instructions);
                match row.products {
                    0 => format!("{turn} instructions in a turn"),
                    products => format!("{turn} instructions for {products} products"),
                }
            };
            complaints.push(format!(
                "{row}, {isa}: its loop grew by {} %, from {} to {}; {TOLERANCE} % are allowed",
                100 * now / before - 100,
                per_turn(known),
                per_turn(row),
            ));
        }
    }
    let is_gone = |known: &&Row| !found.iter().any(|row| row.names() == known.names());
    for known in table.iter().filter(is_gone) {
        complaints.push(format!(
            "{known}, {isa}: it is in the table, but not in the engine"
        ));
    }
    complaints
}

/// The kernels among `functions`, in order, and how many instructions they have that add products in 32 bits.
fn rows(functions: &[Function], isa: Isa) -> Result<(Vec<Row>, usize)> {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let mut dot_products = 0;
    for function in functions {
        let Some((kernel, ty)) = names(&function.name) else {
            continue;
        };
        dot_products += function.code.iter().filter(adds_products).count();
        let Some(found) = Loop::of_kernel(&function.code) else {
            continue;
        };
        let turn = &function.code[found.span.clone()];
        let row = Row {
            products: products(found.own(&function.code), &kernel),
            loops: BTreeMap::from([(
                isa.to_string(),
                Turn {
                    instructions: turn.len(),
                    stack: Count::of(turn).stack,
                    has_loops: !found.is_innermost(),
                },
            )]),
            kernel: kernel.clone(),
            ty: ty.clone(),
        };
        // Two of the same name differ in what the name does not say; the longer loop stands for both.
        let length = |row: &Row| row.loops.values().map(|turn| turn.instructions).max();
        let place = rows.entry((kernel, ty)).or_insert_with(|| row.clone());
        if length(&row) > length(place) {
            *place = row;
        }
    }
    if rows.is_empty() {
        bail!(
            "no kernel was found: are the functions' names in the component, and is c++filt installed?"
        );
    }
    Ok((rows.into_values().collect(), dot_products))
}

fn adds_products(instruction: &&Instruction) -> bool {
    let mnemonic = instruction.text.split(' ').next();
    matches!(mnemonic, Some("vpdpbusd" | "sdot" | "udot" | "usdot"))
}

/// How many products a loop of a kernel makes in a turn.
fn products<'a>(code: impl Iterator<Item = &'a Instruction>, kernel: &str) -> usize {
    let function = kernel
        .split('<')
        .next()
        .and_then(|it| it.rsplit("::").next());
    if function.is_some_and(|function| WITHOUT_PRODUCTS.contains(&function)) {
        return 0;
    }
    loops::products(code)
}

/// Takes the kernel and the type from a function's name, if it is one of a kernel:
///
/// - `gust_engine::kernels::simd128::groups::dot_rows::<gust_engine::quant::block32::Q4_0>`
/// - `<gust_engine::quant::block32::Q4_0 as gust_engine::kernels::simd128::quads::DotQuads>::dot_quads::<4: usize>`
fn names(name: &str) -> Option<(String, String)> {
    const KERNELS: [&str; 2] = [
        "gust_engine::kernels::simd128::",
        "gust_engine::kernels::matmul::multiply_numbers",
    ];
    let last = |path: &str| path.rsplit("::").next().unwrap_or(path).to_owned();
    let (ty, rest) = match name.strip_prefix('<') {
        None => (None, name.to_owned()),
        Some(rest) => {
            let (ty, rest) = rest.split_once(" as ")?;
            let (of, function) = rest.split_once(">::")?;
            // The module in place of the trait.
            let (module, _) = of.rsplit_once("::")?;
            (Some(last(ty)), format!("{module}::{function}"))
        }
    };
    if !KERNELS.iter().any(|kernels| rest.starts_with(kernels)) {
        return None;
    }
    let (path, arguments) = match rest.split_once("::<") {
        Some((path, arguments)) => (path, arguments.strip_suffix('>')?),
        None => (rest.as_str(), ""),
    };
    let (numbers, types): (Vec<&str>, Vec<&str>) = arguments
        .split(", ")
        .filter(|argument| !argument.is_empty())
        .partition(|argument| argument.ends_with(": usize"));
    let (module, function) = path.rsplit_once("::")?;
    let mut kernel = format!("{}::{function}", last(module));
    // The number of places that quads are read from is the same for all.
    if ty.is_none() && !numbers.is_empty() {
        let numbers: Vec<&str> = numbers
            .iter()
            .map(|number| number.trim_end_matches(": usize"))
            .collect();
        let _ = write!(kernel, "<{}>", numbers.join(", "));
    }
    let ty = ty.or_else(|| types.first().map(|ty| last(ty)));
    Some((kernel, ty.unwrap_or_default()))
}

impl Row {
    fn names(&self) -> (&str, &str) {
        (&self.kernel, &self.ty)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ty.as_str() {
            "" => write!(f, "{}", self.kernel),
            ty => write!(f, "{} of {ty}", self.kernel),
        }
    }
}

impl Table {
    /// One row on a line.
    fn json(&self) -> Result<String> {
        let rows: Result<Vec<String>, _> = self.rows.iter().map(serde_json::to_string).collect();
        let head = [
            format!("\"rustc\":{}", serde_json::to_string(&self.rustc)?),
            format!("\"wasmtime\":{}", serde_json::to_string(&self.wasmtime)?),
            format!(
                "\"dot_products\":{}",
                serde_json::to_string(&self.dot_products)?
            ),
        ];
        Ok(format!(
            "{{\n{},\n\"rows\":[\n{}\n]}}\n",
            head.join(",\n"),
            rows?.join(",\n")
        ))
    }

    fn page(&self) -> String {
        let mut text = HEAD.to_owned();
        let dot_products: Vec<String> = COLUMNS
            .iter()
            .map(|(isa, heading)| {
                let count = self.dot_products.get(isa.name()).copied().unwrap_or(0);
                format!("{count} on {heading}")
            })
            .collect();
        let _ = write!(
            text,
            "The kernels have this many instructions that add 8-bit products in 32 bits (`vpdpbusd`, `sdot`): {}.\n{DOTS}",
            dot_products.join(", ")
        );
        let _ = writeln!(
            text,
            "Made with {} and Wasmtime {}.\n",
            self.rustc, self.wasmtime
        );
        text.push_str("| kernel | type | products |");
        for (_, heading) in COLUMNS {
            let _ = write!(text, " {heading} | each |");
        }
        let _ = writeln!(text, "\n|---|---|---|{}", "---|---|".repeat(COLUMNS.len()));
        for row in &self.rows {
            let products = match row.products {
                0 => "–".to_owned(),
                products => products.to_string(),
            };
            let _ = write!(text, "| {} | {} | {products} |", row.kernel, row.ty);
            for (isa, _) in COLUMNS {
                let Some(turn) = row.loops.get(isa.name()) else {
                    text.push_str(" – | – |");
                    continue;
                };
                let more = if turn.has_loops { "+" } else { "" };
                let stack = match turn.stack {
                    0 => String::new(),
                    stack => format!(" ({stack})"),
                };
                let each = match row.products {
                    0 => "–".to_owned(),
                    products => format!("{:.2}{more}", turn.instructions as f64 / products as f64),
                };
                let _ = write!(text, " {}{more}{stack} | {each} |", turn.instructions);
            }
            text.push('\n');
        }
        text
    }
}

const HEAD: &str = "\
# Instructions

Written by `cargo xtask counts`; do not edit. `cargo xtask test` fails if a loop has grown by more than 10 % on x86-64.

For each kernel, the instructions in a turn of its loop, as Cranelift compiles it for x86-64 with AVX2, for x86-64 with
AVX-512 (F, DQ, VL, VBMI, BITALG, VNNI), and for arm64 with the dot product; in brackets, how many of them read or write the
stack, which has what does not fit in registers; and instructions for each product. A `+` says that the loop has others
inside, whose instructions count once. The loop is the one that multiplies most, or else the longest. Where the code of a
kernel is the same for several types, LLVM keeps one of them: a type that is missing has the code of another.

`dot_rows` multiplies a token with four rows as they are in the file, `dot_quads` with packed rows; `cross` unpacks four rows,
and `add_products<WIDTH, TOKENS>` multiplies them with a tile of tokens. `multiply_numbers` is for weights without blocks,
`attention` for keys and values.

";

/// What `i16x8.relaxed_dot_i8x16_i7x16_s` becomes.
const DOTS: &str = "\
The engine's one relaxed dot product, `i16x8.relaxed_dot_i8x16_i7x16_s`, adds two products in 16 bits: `vpmaddubsw` on
x86-64; on arm64, with FEAT_DotProd or without, three instructions (`smull`, `smull2`, `addp`). Of the one that adds four
products to a sum of 32 bits, Wasmtime 48 makes a single `sdot` where there is FEAT_DotProd, six instructions where there is
not, and three on x86-64, with VNNI as well.

";

/// The version that gust is built with.
fn wasmtime_version() -> Result<String> {
    let lock =
        std::fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let version = lock
        .split_once("name = \"wasmtime\"\nversion = \"")
        .and_then(|(_, rest)| rest.split('"').next());
    Ok(version.context("Cargo.lock names no Wasmtime")?.to_owned())
}

fn json_path() -> PathBuf {
    root().join("benches/instructions.json")
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot start rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, products: usize, instructions: usize) -> Row {
        let turn = Turn {
            instructions,
            stack: 0,
            has_loops: false,
        };
        Row {
            kernel: kernel.to_owned(),
            ty: "Q4_0".to_owned(),
            products,
            loops: BTreeMap::from([("avx2".to_owned(), turn)]),
        }
    }

    #[test]
    fn kernels_are_known_by_their_names() {
        let found = |name: &str| names(name).map(|(kernel, ty)| format!("{kernel} {ty}"));
        let type_ = "gust_engine::quant::block32::Q4_0";
        for (name, expected) in [
            (
                format!("gust_engine::kernels::simd128::groups::dot_rows::<{type_}>"),
                "groups::dot_rows Q4_0",
            ),
            (
                format!(
                    "gust_engine::kernels::simd128::groups::add_products::<{type_}, 8: usize, 4: usize>"
                ),
                "groups::add_products<8, 4> Q4_0",
            ),
            (
                format!(
                    "<{type_} as gust_engine::kernels::simd128::quads::DotQuads>::dot_quads::<4: usize>"
                ),
                "quads::dot_quads Q4_0",
            ),
            (
                "gust_engine::kernels::simd128::attention::multiply::<2: usize>".to_owned(),
                "attention::multiply<2> ",
            ),
        ] {
            assert_eq!(found(&name).as_deref(), Some(expected));
        }
        assert_eq!(
            found("<gust_engine::Session as core::fmt::Debug>::fmt"),
            None
        );
        assert_eq!(found("gust_engine::kernels::matmul::pack"), None);
    }

    #[test]
    fn a_loop_may_not_grow_unnoticed() {
        let table = [row("a", 128, 100), row("b", 0, 50)];
        let differences = |found: &[Row]| differences(&table, found, Isa::Avx2);
        assert!(differences(&[row("a", 128, 110), row("b", 0, 40)]).is_empty());
        // Twice the work in a turn, and the same for each product.
        assert!(differences(&[row("a", 256, 200), row("b", 0, 50)]).is_empty());
        let grown = differences(&[row("a", 128, 111), row("b", 0, 60)]);
        assert_eq!(
            grown,
            [
                "a of Q4_0, avx2: its loop grew by 11 %, from 100 instructions for 128 products to 111 instructions for \
                 128 products; 10 % are allowed",
                "b of Q4_0, avx2: its loop grew by 20 %, from 50 instructions in a turn to 60 instructions in a turn; \
                 10 % are allowed"
            ]
        );
        let other = differences(&[row("a", 128, 100), row("c", 0, 50)]);
        assert_eq!(other.len(), 2, "{other:?}");
    }

    #[test]
    fn unpacking_makes_no_products() {
        let code = [Instruction {
            address: 0,
            text: "vpmaddubsw xmm0,xmm1,xmm2".to_owned(),
        }];
        let of = |kernel| products(code.iter(), kernel);
        assert_eq!(of("groups::dot_rows"), 16);
        assert_eq!(of("blocks::cross<128>"), 0);
    }
}

//! Loops in machine code, and what is in them.
//!
//! A loop is what a jump backwards spans. Several jumps back to the same place are one loop, up to the last of them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::code::Instruction;

/// A loop, as the numbers of its first instruction and of the one after its last.
#[derive(Debug, PartialEq)]
pub(crate) struct Loop {
    pub(crate) span: Range<usize>,
    /// The instructions of loops inside.
    inner: Vec<Range<usize>>,
}

impl Loop {
    /// Those of a function, by their beginning.
    pub(crate) fn all(code: &[Instruction]) -> Vec<Loop> {
        let index: BTreeMap<u64, usize> = (0..)
            .zip(code)
            .map(|(at, instruction)| (instruction.address, at))
            .collect();
        let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, instruction) in code.iter().enumerate() {
            let to = jump(&instruction.text).and_then(|target| index.get(&target));
            if let Some(&to) = to.filter(|&&to| to <= at) {
                ends.insert(to, at + 1);
            }
        }
        let spans: Vec<Range<usize>> = ends.into_iter().map(|(start, end)| start..end).collect();
        let inside = |outer: &Range<usize>| {
            let is_inside = |inner: &&Range<usize>| {
                *inner != outer && outer.start <= inner.start && inner.end <= outer.end
            };
            spans.iter().filter(is_inside).cloned().collect()
        };
        let make = |span: &Range<usize>| Loop {
            span: span.clone(),
            inner: inside(span),
        };
        spans.iter().map(make).collect()
    }

    /// Whether there is no other loop inside.
    pub(crate) fn is_innermost(&self) -> bool {
        self.inner.is_empty()
    }

    /// The instructions that are in no loop inside.
    pub(crate) fn own<'a>(&self, code: &'a [Instruction]) -> impl Iterator<Item = &'a Instruction> {
        let is_own = move |at: &usize| !self.inner.iter().any(|inner| inner.contains(at));
        let own: Vec<usize> = self.span.clone().filter(is_own).collect();
        own.into_iter().map(|at| &code[at])
    }

    /// The loop in which a kernel does its work: the one whose own instructions make the most products. If an outer loop
    /// makes as many, from a remainder, the innermost; without multiplications, the longest.
    ///
    /// Not simply the longest in all cases: beside it may be loops that only bring memory into the cache, and inside it
    /// small ones that look something up. Not the one in a fixed place either, because LLVM moves and unrolls loops.
    pub(crate) fn of_kernel(code: &[Instruction]) -> Option<Loop> {
        let work = |one: &Loop| {
            let own = one.own(code);
            (products(own), one.is_innermost(), one.own(code).count())
        };
        let all = Loop::all(code);
        match all.iter().any(|one| work(one).0 > 0) {
            true => all.into_iter().max_by_key(work),
            false => all.into_iter().max_by_key(|one| one.own(code).count()),
        }
    }
}

/// Where a jump goes.
fn jump(text: &str) -> Option<u64> {
    // Behind `<` is the name of that place.
    let text = text.split('<').next()?.trim();
    let (mnemonic, operands) = text.split_once(' ')?;
    let is_jump = mnemonic.starts_with('j')
        || mnemonic == "b"
        || mnemonic.starts_with("b.")
        || ["cbz", "cbnz", "tbz", "tbnz"].contains(&mnemonic);
    let target = operands.rsplit([' ', ',']).next()?;
    let target = target.trim_start_matches("0x");
    u64::from_str_radix(target, 16).ok().filter(|_| is_jump)
}

/// How many products the instructions make. A kernel multiplies weights with one kind of numbers, the narrowest that it
/// multiplies at all; what else it multiplies are scales.
pub(crate) fn products<'a>(code: impl Iterator<Item = &'a Instruction>) -> usize {
    let mut products = [0; 3];
    for instruction in code {
        if let Some((kind, lanes)) = multiplication(&instruction.text) {
            products[kind as usize] += lanes;
        }
    }
    products.into_iter().find(|count| *count > 0).unwrap_or(0)
}

/// What a vector instruction multiplies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    /// Integers of 8 bits.
    Bytes,
    /// Integers of 16 bits.
    Words,
    /// Floats, and integers of 32 bits.
    Floats,
}

/// What an instruction multiplies, and how many of them.
fn multiplication(text: &str) -> Option<(Numbers, usize)> {
    let (mnemonic, operands) = text.split_once(' ')?;
    match mnemonic {
        "vpmaddubsw" | "vpdpbusd" | "sdot" | "udot" | "usdot" => Some((Numbers::Bytes, 16)),
        "vpmaddwd" | "vpmullw" => Some((Numbers::Words, 8)),
        "vmulps" | "vpmulld" => Some((Numbers::Floats, 4)),
        // Unsigned ones (`umull`) unpack weights of three values.
        "smull" | "smull2" | "smlal" | "smlal2" | "mul" | "mla" | "fmul" => {
            // The arrangement of the first factor, as in `v1.8h, v2.8b, v3.8b`: these work on one half of it.
            let factor = operands.split(", ").nth(1)?.rsplit('.').next()?;
            match factor {
                "8b" | "16b" => Some((Numbers::Bytes, 8)),
                "8h" if ["mul", "mla"].contains(&mnemonic) => Some((Numbers::Words, 8)),
                "4h" | "8h" => Some((Numbers::Words, 4)),
                "4s" => Some((Numbers::Floats, 4)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// How many instructions of which kind.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Count {
    pub(crate) all: usize,
    /// On vector registers.
    pub(crate) vector: usize,
    /// That read or write memory of the component.
    pub(crate) memory: usize,
    /// That read or write the stack: what did not fit in registers.
    pub(crate) stack: usize,
    pub(crate) calls: usize,
}

impl Count {
    pub(crate) fn of(code: &[Instruction]) -> Self {
        let mut count = Self {
            all: code.len(),
            ..Self::default()
        };
        for Instruction { text, .. } in code {
            // Behind `<` is the name of where a jump goes, which has brackets of its own.
            let operands = text.split('<').next().unwrap_or(text);
            let accesses = operands.contains('[') && !text.starts_with("lea");
            let is_stack = ["[rsp", "[rbp", "[sp", "[x29"]
                .iter()
                .any(|base| operands.contains(base));
            count.vector += usize::from(is_vector(operands));
            count.calls += usize::from(text.starts_with("call") || text.starts_with("bl"));
            count.stack += usize::from(accesses && is_stack);
            count.memory += usize::from(accesses && !is_stack);
        }
        count
    }
}

/// Whether an operand is a vector register: `xmm3`, or on arm64 `v3.4s` or `q3`.
fn is_vector(text: &str) -> bool {
    text.split([' ', ',', '{', '}']).skip(1).any(|operand| {
        let register = operand.trim_start_matches(['v', 'q']);
        operand.starts_with("xmm")
            || (register.len() < operand.len()
                && register.starts_with(|c: char| c.is_ascii_digit()))
    })
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            all,
            vector,
            memory,
            stack,
            calls,
        } = self;
        write!(
            f,
            "{all} instructions, {vector} on vectors, {memory} on memory, {stack} on the stack, {calls} calls"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::parsed;

    const X86: &str = "
0000000000000040 <wasm[0]::function[7]::dot>:
      40:\tpush   rbp
      41:\tvmovdqu xmm0,XMMWORD PTR [rsp+0x10]
      47:\tvpmaddwd xmm1,xmm1,XMMWORD PTR [rdi+rax*1]        # a comment
      4b:\tje     47 <wasm[0]::function[7]::dot+0x7>
      4c:\tdec    rax
      50:\tjne    47 <wasm[0]::function[7]::dot+0x7>
      52:\tcall   90 <other>
      57:\tjmp    41 <wasm[0]::function[7]::dot+0x1>

0000000000000090 <other>:
      90:\tret
";

    /// A loop that loads, and one that multiplies, as LLVM writes them.
    const ARM64: &str = "
0000000000000010 <wasm[0]::function[9]::dot>:
      10:      \tldr\tq0, [x1, #16]
      14:      \tldr\tq1, [sp]
      18:      \tadd\tx1, x1, #32
      1c:      \tb.ne\t0x10 <wasm[0]::function[9]::dot>
      20:      \tsmull\tv2.8h, v0.8b, v1.8b
      24:      \tcbnz\tw3, 0x20 <wasm[0]::function[9]::dot+0x10>
      28:      \tret
";

    #[test]
    fn functions_and_their_loops_are_found() {
        let functions = parsed(X86);
        assert_eq!(functions.len(), 2);
        let dot = &functions[0];
        assert_eq!(dot.name, "wasm[0]::function[7]::dot");
        assert_eq!(
            dot.code[2].text,
            "vpmaddwd xmm1,xmm1,XMMWORD PTR [rdi+rax*1]"
        );
        let loops = Loop::all(&dot.code);
        // Two jumps to one place are one loop.
        let spans: Vec<_> = loops.iter().map(|one| one.span.clone()).collect();
        assert_eq!(spans, [1..8, 2..6]);
        assert!(loops[1].is_innermost() && !loops[0].is_innermost());
        assert_eq!(loops[0].own(&dot.code).count(), 3);
        assert_eq!(Loop::of_kernel(&dot.code).map(|one| one.span), Some(2..6));
        assert_eq!(Loop::of_kernel(&functions[1].code), None);
        let all = Count {
            all: 8,
            vector: 2,
            memory: 1,
            stack: 1,
            calls: 1,
        };
        assert_eq!(Count::of(&dot.code), all);
    }

    #[test]
    fn the_loop_that_multiplies_counts_not_the_longest() {
        let dot = &parsed(ARM64)[0].code;
        assert_eq!(Loop::of_kernel(dot).map(|one| one.span), Some(4..6));
        let count = Count::of(dot);
        assert_eq!((count.all, count.vector), (7, 3));
        assert_eq!((count.memory, count.stack), (1, 1));
    }

    #[test]
    fn products_are_counted_by_lanes() {
        for (text, expected) in [
            ("vpmaddubsw xmm0,xmm1,xmm2", Some((Numbers::Bytes, 16))),
            ("vpmaddwd xmm0,xmm1,xmm2", Some((Numbers::Words, 8))),
            ("sdot v0.4s, v1.16b, v2.16b", Some((Numbers::Bytes, 16))),
            ("smull2 v3.8h, v4.16b, v5.16b", Some((Numbers::Bytes, 8))),
            ("smull v3.4s, v4.4h, v5.4h", Some((Numbers::Words, 4))),
            ("mul v3.8h, v4.8h, v5.8h", Some((Numbers::Words, 8))),
            ("fmul v3.4s, v4.4s, v5.4s", Some((Numbers::Floats, 4))),
            ("fmul s3, s4, s5", None),
            ("mul x3, x4, x5", None),
            ("vpaddw xmm0,xmm1,xmm2", None),
        ] {
            assert_eq!(multiplication(text), expected, "{text}");
        }
        let code: Vec<Instruction> = ["vpmaddubsw xmm0,xmm1,xmm2", "vpmaddwd xmm0,xmm0,xmm3"]
            .map(|text| Instruction {
                address: 0,
                text: text.to_owned(),
            })
            .to_vec();
        assert_eq!(products(code.iter()), 16, "the others are scales");
        assert_eq!(products(code[1..].iter()), 8);
        assert_eq!(products([].iter()), 0);
    }
}

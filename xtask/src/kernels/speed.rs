//! How fast the engine's kernels are in WebAssembly, against what this processor can do at all.
//!
//! The component is the engine's package with the feature `bench`. In the order of the file: what is measured of each
//! type, the component and its clock, the table. Measured on one core.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use wasmtime::component::{
    Component, ComponentNamedList, Instance, Lift, Linker, Lower, ResourceTable,
};
use wasmtime::error::Context;
use wasmtime::{Config, Engine, Error, Result, Store, bail};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::isa::{Isa, restrict};
use crate::processor::processor;
use crate::root;

pub(crate) const HELP: &str = "\
Measures the engine's kernels in WebAssembly, on one core.

Usage: cargo xtask bench --kernels [--only TEXT] [--isa ISA] [--quick] [--json] [--save]

  --only TEXT  the types whose names hold this text
  --isa ISA    compiled for fewer instructions than the processor has: avx2 or avx512 on x86-64, neon or dotprod on arm64
  --quick      shorter measurements
  --json       one JSON object on stdout instead of a table
  --save       writes benches/kernels.txt, too, which becomes a part of RESULTS.md (`cargo xtask bench --report`); with
               --isa, benches/ISA/kernels.txt
";

/// Columns of every matrix: the width of TinyLlama-1.1B and Llama-3.2-1B.
const COLS: u32 = 2048;
/// Rows of activations in the engine's batch.
const BATCH: u32 = 32;
/// Bytes that no core has in a cache of its own. A shared last level may still have them: the measured bandwidth, of the
/// same bytes, is what there is to be had either way. Not a round number: parts of a matrix that are read in turn would
/// lie in the same sets of the caches.
const FAR: u32 = 613_437_123;
/// Bytes of a matrix that stays in a core's own cache.
const NEAR: u32 = 512 << 10;
/// Bytes of a matrix like those of the models, for products with many tokens.
const USUAL: u32 = 6 << 20;

/// Measures, as the arguments say.
pub(crate) fn measure(args: &[String]) -> Result<()> {
    Order::parse(args)?.carry_out()
}

struct Order {
    file: String,
    only: String,
    isa: Isa,
    json: bool,
    save: bool,
    pace: Pace,
}

/// How long is measured.
#[derive(Clone, Copy)]
struct Pace {
    /// Of which the median counts.
    rounds: usize,
    /// The least that a round takes.
    seconds: f64,
}

/// What is printed with `--json`. Speeds are in 10^9 per second.
#[derive(Serialize)]
struct Report {
    processor: String,
    /// What the kernels were compiled for, and what this is of the processor's features.
    isa: &'static str,
    features: Vec<&'static str>,
    ceilings: Ceilings,
    /// By name of the type.
    types: BTreeMap<String, Speeds>,
}

/// What one core does without any work around it.
#[derive(Serialize)]
struct Ceilings {
    /// GB/s of reading.
    read_far: f64,
    read_near: f64,
    /// 10^9 8-bit multiplications a second, each with its addition in 16 bits.
    multiply_add: f64,
    /// 10^9 activations a second.
    quantize: f64,
}

#[derive(Serialize)]
struct Speeds {
    bits_per_weight: f64,
    /// GB/s of weights multiplied with one row of activations.
    vector_far: f64,
    vector_near: f64,
    /// 10^9 multiplications a second, with as many rows of activations.
    gmac_1_near: f64,
    gmac_4: f64,
    gmac_32: f64,
}

impl Order {
    fn parse(args: &[String]) -> Result<Self> {
        let mut order = Self {
            file: String::new(),
            only: String::new(),
            isa: Isa::Native,
            json: false,
            save: false,
            pace: Pace {
                rounds: 7,
                seconds: 0.1,
            },
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--only" => order.only = args.next().context("`--only` needs a text")?.clone(),
                "--isa" => {
                    let name = args.next().context("`--isa` needs a name")?;
                    let names: Vec<&str> = Isa::known().iter().map(|isa| isa.name()).collect();
                    order.isa = Isa::named(name).with_context(|| {
                        format!("`--isa`: expected {}, found `{name}`", names.join(", "))
                    })?;
                }
                "--json" => order.json = true,
                "--save" => order.save = true,
                "--quick" => {
                    order.pace = Pace {
                        rounds: 3,
                        seconds: 0.03,
                    }
                }
                flag if flag.starts_with('-') => bail!("unknown option `{flag}`"),
                file => order.file = file.to_owned(),
            }
        }
        Ok(order)
    }

    fn carry_out(&self) -> Result<()> {
        let mut kernels = Kernels::load(&self.file, self.isa, self.pace)?;
        let names: Vec<String> = kernels.call("types", ())?;
        let wanted = |name: &&String| name.to_lowercase().contains(&self.only.to_lowercase());
        let names: Vec<&String> = names.iter().filter(wanted).collect();
        if names.is_empty() {
            bail!("`--only`: no type's name holds `{}`", self.only);
        }
        let ceilings = kernels.ceilings()?;
        let mut text = String::new();
        let mut say = |part: String| {
            if !self.json {
                print!("{part}");
            }
            text += &part;
        };
        let (processor, features) = (processor(), self.isa.features());
        say(format!(
            "{processor}, {}: {}\n",
            self.isa,
            features.join(" ")
        ));
        say(ceilings.text());
        let mut types = BTreeMap::new();
        for name in names {
            let speeds = kernels.speeds(name)?;
            say(speeds.row(name, &ceilings) + "\n");
            types.insert(name.clone(), speeds);
        }
        if self.save {
            let folder = match self.isa {
                Isa::Native => root().join("benches"),
                isa => root().join("benches").join(isa.name()),
            };
            let file = folder.join("kernels.txt");
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(&file, text))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&Report {
                    processor,
                    isa: self.isa.name(),
                    features,
                    ceilings,
                    types
                })?
            );
        }
        Ok(())
    }
}

/// The component, running.
struct Kernels {
    store: Store<State>,
    instance: Instance,
    pace: Pace,
}

impl Kernels {
    /// Compiles as gust's host does: its settings are the defaults where they touch code.
    fn load(file: &str, isa: Isa, pace: Pace) -> Result<Self> {
        if let Err(lacking) = isa.check() {
            bail!(
                "`--isa {isa}`: expected {}, found {}",
                lacking.expected,
                lacking.found
            );
        }
        let mut config = Config::new();
        restrict(&mut config, isa);
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, file)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        let state = State {
            wasi: WasiCtx::builder().inherit_stderr().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&engine, state);
        let instance = linker.instantiate(&mut store, &component)?;
        Ok(Self {
            store,
            instance,
            pace,
        })
    }

    fn ceilings(&mut self) -> Result<Ceilings> {
        let far = self.prepare("Q8_0", FAR, 1)?;
        let read_far = self.rate("read", far.bytes)?;
        let near = self.prepare("Q8_0", NEAR, 1)?;
        let read_near = self.rate("read", near.bytes)?;
        self.prepare("Q8_0", NEAR, BATCH)?;
        let quantize = self.rate("quantize", f64::from(BATCH * COLS))?;
        // A turn is too short to be counted one by one.
        let turn: u64 = self.call("multiply-add", (1000_u32,))?;
        let multiply_add = self.rate_of(
            |kernels, times| {
                let _: u64 = kernels.call("multiply-add", (times * 1000,))?;
                Ok(())
            },
            turn as f64,
        )?;
        Ok(Ceilings {
            read_far,
            read_near,
            multiply_add,
            quantize,
        })
    }

    fn speeds(&mut self, name: &str) -> Result<Speeds> {
        let far = self.prepare(name, FAR, 1)?;
        let vector_far = self.rate("multiply", far.bytes)?;
        let near = self.prepare(name, NEAR, 1)?;
        let vector_near = self.rate("multiply", near.bytes)?;
        let usual = self.prepare(name, USUAL, 4)?;
        let gmac_4 = self.rate("multiply", 4.0 * usual.weights)?;
        let usual = self.prepare(name, USUAL, BATCH)?;
        let gmac_32 = self.rate("multiply", f64::from(BATCH) * usual.weights)?;
        Ok(Speeds {
            bits_per_weight: 8.0 * far.bytes / far.weights,
            vector_far,
            vector_near,
            gmac_1_near: vector_near * near.weights / near.bytes,
            gmac_4,
            gmac_32,
        })
    }

    fn prepare(&mut self, name: &str, bytes: u32, tokens: u32) -> Result<Matrix> {
        type Made = (Result<(u32, u32), String>,);
        let (made,): Made = self.call_raw("prepare", (name, COLS, bytes, tokens))?;
        let (rows, bytes) = made.map_err(Error::msg)?;
        Ok(Matrix {
            weights: f64::from(rows) * f64::from(COLS),
            bytes: f64::from(bytes),
        })
    }

    /// 10^9 units a second, where one turn of `function` does so many.
    fn rate(&mut self, function: &str, units: f64) -> Result<f64> {
        let turns = |kernels: &mut Self, times: u32| match function {
            "read" => kernels.call::<_, u64>(function, (times,)).map(drop),
            _ => kernels.call_raw::<_, ()>(function, (times,)),
        };
        self.rate_of(turns, units)
    }

    fn rate_of(&mut self, turns: impl Fn(&mut Self, u32) -> Result<()>, units: f64) -> Result<f64> {
        // The first turn also faults pages in. Then as many as make a round long enough.
        turns(self, 1)?;
        let mut times = 1;
        while self.time(&turns, times)? < self.pace.seconds && times < 1 << 20 {
            times *= 2;
        }
        let mut seconds = Vec::new();
        for _ in 0..self.pace.rounds {
            seconds.push(self.time(&turns, times)?);
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds[(seconds.len() - 1) / 2];
        Ok(f64::from(times) * units / median / 1e9)
    }

    fn time(&mut self, turns: impl Fn(&mut Self, u32) -> Result<()>, times: u32) -> Result<f64> {
        let start = Instant::now();
        turns(self, times)?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn call<P: ComponentNamedList + Lower, R: Lift + Send + Sync + 'static>(
        &mut self,
        function: &str,
        params: P,
    ) -> Result<R>
    where
        (R,): ComponentNamedList + Lift,
    {
        let (result,): (R,) = self.call_raw(function, params)?;
        Ok(result)
    }

    fn call_raw<P: ComponentNamedList + Lower, R: ComponentNamedList + Lift>(
        &mut self,
        function: &str,
        params: P,
    ) -> Result<R> {
        let function = self
            .instance
            .get_typed_func::<P, R>(&mut self.store, function)?;
        function.call(&mut self.store, params)
    }
}

struct Matrix {
    weights: f64,
    bytes: f64,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl Ceilings {
    fn text(&self) -> String {
        let Self {
            read_far,
            read_near,
            multiply_add,
            quantize,
        } = self;
        format!(
            "one core reads {read_far:.1} GB/s of {} MiB, {read_near:.1} GB/s of {} KiB\n\
             it does {multiply_add:.1} GMAC/s of 8-bit products and 16-bit sums (vpmaddubsw and vpaddw, 128 bits)\n\
             activations are quantised at {quantize:.2} G/s\n\
             \n\
             \x20        bits per   one token, from memory   one token, from cache   4 tokens   32 tokens\n\
             type       weight     GB/s   % of reading      GB/s      GMAC/s       GMAC/s     GMAC/s   % of peak\n",
            FAR >> 20,
            NEAR >> 10,
        )
    }
}

impl Speeds {
    fn row(&self, name: &str, ceilings: &Ceilings) -> String {
        format!(
            "{name:<8} {:>8.2} {:>8.1} {:>14.0} {:>9.1} {:>11.1} {:>12.1} {:>10.1} {:>11.0}",
            self.bits_per_weight,
            self.vector_far,
            100.0 * self.vector_far / ceilings.read_far,
            self.vector_near,
            self.gmac_1_near,
            self.gmac_4,
            self.gmac_32,
            100.0 * self.gmac_32 / ceilings.multiply_add,
        )
    }
}

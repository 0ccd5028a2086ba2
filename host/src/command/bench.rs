//! `gust bench`: how fast a model runs on this machine.

mod processor;
mod serve;
mod trace;

use std::time::{Duration, Instant};

use clap::Args;
use gust::{Event, GenerationOptions, ModelInfo, Session, SessionOptions};
use serde::Serialize;

use super::args::{KvType, ModelArgs};
use super::failure::Failure;
use super::lora::LoraArgs;
use super::open::open_to_generate;
use super::output::{Output, table};
use super::progress::Progress;
use super::signals;
use super::units::{bytes, count, milliseconds, per_second};
use trace::Trace;

/// Measure how fast a model runs on this machine
///
/// Processes a prompt of random tokens and generates tokens after it, several times, and reports medians. One more
/// round at the start warms up the caches and does not count. With --depth, the prompt follows that many other tokens,
/// which are processed only once. With --isa, the engine does without some of the processor's instructions, as it would
/// on a processor that lacks them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust bench -m model.gguf
  gust bench -m model.gguf --prompt-tokens 512 --repeat 10 --json
  gust bench -m model.gguf --depth 4096 --prompt-tokens 1
  gust bench -m model.gguf --trace
  gust bench -m model.gguf --isa avx2
  perf record -e cpu-clock -g gust bench -m model.gguf --profile && perf report --no-children --stdio | c++filt")]
pub(super) struct BenchArgs {
    /// Number of prompt tokens
    #[arg(short, long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    prompt_tokens: u32,
    /// Number of tokens to generate
    #[arg(short = 'n', long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    gen_tokens: u32,
    /// Number of tokens that the context holds before the prompt
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    depth: u32,
    /// Number of rounds to take the median of
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Data type of the KV cache
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    kv_type: KvType,
    /// Speculative decoding by prompt lookup, up to N tokens at a time. Random tokens do not show what it gains
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=31))]
    lookup: u32,
    /// Run one more round at the end, and report the time of each operator
    #[arg(long)]
    trace: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Run the measurements that stdin asks for, one per line: `prefill TOKENS` or `decode TOKENS DEPTH`. The other
    /// options set the size of the context
    #[arg(long, hide_short_help = true, conflicts_with_all = ["json", "repeat", "trace"])]
    serve: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    lora: LoraArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    model: String,
    architecture: String,
    parameters: u64,
    weight_bytes: u64,
    mapped_bytes: u64,
    threads: usize,
    /// Its name, as the system tells it.
    processor: String,
    /// Which of its instructions the engine was compiled for.
    isa: &'static str,
    /// What this is of the features that Cranelift knows.
    features: Vec<&'static str>,
    depth: u32,
    prompt_tokens: u32,
    gen_tokens: u32,
    repeat: u32,
    engine_ms: f64,
    load_ms: f64,
    time_to_first_token_ms: f64,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    /// Absent if the system does not report it.
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Trace>,
}

/// One round's times.
struct Round {
    prefill: Duration,
    first_token: Duration,
    decode: Duration,
}

pub(super) fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let start = Instant::now();
    let opened = open_to_generate(&args.model, None, None)?;
    let info = opened.model.info();
    let context = fitting_context(args, info)?;
    let options = SessionOptions {
        context_length: Some(context),
        kv_type: Some(args.kv_type.into()),
    };
    let mut session = args.lora.session(&opened.model, &options)?;
    if args.serve {
        return serve::serve(
            &mut session,
            info.vocabulary_size,
            args.model.isa,
            start.elapsed(),
        );
    }
    let tokens = random_tokens(args.depth + args.prompt_tokens, info.vocabulary_size);
    let rounds = measure(&mut session, &tokens, args)?;
    let peak_memory_bytes = peak_memory();
    let trace = match args.trace {
        true => {
            let prompt = &tokens[args.depth as usize..];
            Some(trace::trace(&opened.model, &mut session, prompt, args)?)
        }
        false => None,
    };

    let prefill = median(rounds.iter().map(|round| round.prefill));
    let decode = median(rounds.iter().map(|round| round.decode));
    let report = Report {
        model: if info.name.is_empty() {
            args.model.name()
        } else {
            info.name.clone()
        },
        architecture: info.architecture.clone(),
        parameters: info.parameters,
        weight_bytes: info.weight_bytes,
        mapped_bytes: info.mapped_bytes,
        threads: opened.model.threads(),
        processor: processor::processor(),
        isa: args.model.isa.name(),
        features: args.model.isa.features(),
        depth: args.depth,
        prompt_tokens: args.prompt_tokens,
        gen_tokens: args.gen_tokens,
        repeat: args.repeat,
        engine_ms: milliseconds(opened.engine_time),
        load_ms: milliseconds(opened.load_time),
        time_to_first_token_ms: milliseconds(median(rounds.iter().map(|round| round.first_token))),
        prefill_tokens_per_second: per_second(args.prompt_tokens.into(), prefill),
        decode_tokens_per_second: per_second(args.gen_tokens.into(), decode),
        peak_memory_bytes,
        trace,
    };
    let mut output = Output::new();
    if args.json {
        output.json(&report)?;
    } else {
        output.text(&listing(&report))?;
        if let Some(trace) = &report.trace {
            output.text(&trace.text())?;
        }
    }
    output.flush()
}

/// A context that holds the tokens before the prompt, the prompt, the first token, and those decoded after it.
fn fitting_context(args: &BenchArgs, info: &ModelInfo) -> Result<u32, Failure> {
    let parts = [args.depth, args.prompt_tokens, 1, args.gen_tokens];
    match parts.into_iter().try_fold(0, u32::checked_add) {
        Some(needed) if needed <= info.context_length => Ok(needed),
        _ => Err(Failure::usage(format!(
            "too many tokens: expected at most the model's context of {}, found {} + {} + 1 + {}",
            info.context_length, args.depth, args.prompt_tokens, args.gen_tokens
        ))
        .hint("use a smaller --depth, --prompt-tokens or --gen-tokens")),
    }
}

fn measure(session: &mut Session, tokens: &[u32], args: &BenchArgs) -> Result<Vec<Round>, Failure> {
    let progress = Progress::start("measuring");
    let reporter = progress.reporter();
    let handle = session.cancel_handle();
    let _guard = signals::cancels(&handle);
    let (before, prompt) = tokens.split_at(args.depth as usize);
    session.feed(before)?;
    let mut rounds = Vec::new();
    for index in 0..=args.repeat {
        session.truncate(args.depth)?;
        let round = round(session, prompt, args)?;
        // The first round warms up.
        if index > 0 {
            rounds.push(round);
        }
        reporter.done(u64::from(index) + 1, u64::from(args.repeat) + 1);
    }
    Ok(rounds)
}

fn round(session: &mut Session, prompt: &[u32], args: &BenchArgs) -> Result<Round, Failure> {
    begin_answer(session, args.gen_tokens + 1, args.lookup)?;
    let start = Instant::now();
    session.feed(prompt)?;
    let prefill = start.elapsed();
    // The first token needs no forward pass of its own, so it does not count as decoded.
    generate(session, 1)?;
    let first_token = start.elapsed();
    generate(session, args.gen_tokens)?;
    Ok(Round {
        prefill,
        first_token,
        decode: start.elapsed() - first_token,
    })
}

/// Begins an answer of this many tokens, always the most probable ones.
fn begin_answer(session: &mut Session, tokens: u32, lookup: u32) -> Result<(), Failure> {
    Ok(session.configure(&GenerationOptions {
        temperature: Some(0.0),
        ignore_end: Some(true),
        max_tokens: Some(tokens),
        lookup: Some(lookup),
        ..Default::default()
    })?)
}

/// Generates this many tokens.
fn generate(session: &mut Session, tokens: u32) -> Result<(), Failure> {
    for index in 0..tokens {
        if let Event::Finished { .. } = session.next_event()? {
            return Err(Failure::failed(format!(
                "expected {tokens} tokens, found the end of the answer after {index}"
            )));
        }
    }
    Ok(())
}

/// Random tokens from the whole vocabulary, the same ones every time.
fn random_tokens(count: u32, vocabulary_size: u32) -> Vec<u32> {
    // Knuth's linear congruential generator (MMIX); its high bits are the good ones.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % vocabulary_size.max(1)
    };
    (0..count).map(|_| next()).collect()
}

/// The median; of an even number of times, the lower of the two in the middle.
fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times
        .get(times.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

/// The peak resident memory of this process, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn listing(report: &Report) -> String {
    let row = |name: &str, value: String, remark: String| vec![name.to_owned(), value, remark];
    table(&[
        row(
            "model",
            super::output::printable(&report.model),
            format!("{} parameters", count(report.parameters)),
        ),
        row(
            "weights",
            bytes(report.weight_bytes),
            format!("{} mapped", bytes(report.mapped_bytes)),
        ),
        row("threads", report.threads.to_string(), String::new()),
        row("isa", report.isa.to_owned(), report.processor.clone()),
        row("features", String::new(), report.features.join(" ")),
        row(
            "engine",
            format!("{:.1} ms", report.engine_ms),
            String::new(),
        ),
        row("load", format!("{:.1} ms", report.load_ms), String::new()),
        row(
            "first token",
            format!("{:.1} ms", report.time_to_first_token_ms),
            match report.depth {
                0 => format!("after {} tokens", report.prompt_tokens),
                depth => format!("after {} tokens at depth {depth}", report.prompt_tokens),
            },
        ),
        row(
            "prefill",
            format!("{:.1} tokens/s", report.prefill_tokens_per_second),
            format!(
                "{} tokens, median of {}",
                report.prompt_tokens, report.repeat
            ),
        ),
        row(
            "decode",
            format!("{:.1} tokens/s", report.decode_tokens_per_second),
            format!("{} tokens, median of {}", report.gen_tokens, report.repeat),
        ),
        row(
            "peak memory",
            report.peak_memory_bytes.map_or("unknown".to_owned(), bytes),
            String::new(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let times =
            |list: &[u64]| median(list.iter().map(|&ms| Duration::from_millis(ms))).as_millis();
        assert_eq!(
            (times(&[9, 1, 5]), times(&[4, 1, 3, 2]), times(&[7])),
            (5, 2, 7)
        );
    }

    #[test]
    fn prompts_stay_inside_the_vocabulary() {
        assert!(random_tokens(1000, 7).iter().all(|&id| id < 7));
        assert_eq!(random_tokens(5, 512), random_tokens(5, 512));
    }
}

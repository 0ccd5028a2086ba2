//! Flags shared by several subcommands, and their conversion to the library's types.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};
use gust::{Isa, Mapping};

use super::units::{
    parse_bytes, parse_factor, parse_penalty, parse_seconds, parse_share, parse_temperature,
    parse_whole,
};

/// Which model to run, in which engine, under which limits.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelArgs {
    /// GGUF file to load [default: the model that ships with gust]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) model: Option<PathBuf>,
    /// Use this tokenizer.json (Hugging Face) instead of the vocabulary in the model's file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) tokenizer: Option<PathBuf>,
    /// Use another engine: a component that exports gust:llm/engine
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) component: Option<PathBuf>,
    /// Wrap the engine in middleware, innermost first: filter, jitter, log, or component files
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) with: Vec<gust::Middleware>,
    /// Phrases for `--with filter`, one per line; GUST_FILTER_ACTION=mask masks them instead of stopping
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "with")]
    pub(super) filter_list: Option<PathBuf>,
    /// Map the file instead of copying the weights: ready at once, but slower per token [default: what suits the command
    /// and the available memory]
    #[arg(long, overrides_with = "no_mmap")]
    mmap: bool,
    /// Copy the weights into the engine instead of mapping the file: faster per token
    #[arg(long, overrides_with = "mmap")]
    no_mmap: bool,
    /// Number of compute threads [default: one per physical core; fewer for small models, more above 3 GiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) threads: Option<u32>,
    /// Maximum memory for the engine, weights included, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(super) max_memory: Option<u64>,
    /// Maximum time for one call into the engine (a load, a chunk of a prompt, a token)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(super) call_timeout: Option<Duration>,
    /// Write /tmp/perf-PID.map, so that Linux's perf can name the engine's functions: run perf record -e cpu-clock -g
    /// gust bench --profile, then perf report
    #[arg(long, hide_short_help = true)]
    pub(super) profile: bool,
    /// Compile the engine for fewer instructions than the processor has, to measure how fast it is without them. The
    /// answers are the same
    #[arg(long, value_name = "ISA", default_value_t, value_parser = isa_parser(), hide_short_help = true)]
    pub(super) isa: Isa,
}

/// Takes the names of what this architecture has.
fn isa_parser() -> impl TypedValueParser<Value = Isa> {
    let names = Isa::known().iter().map(|isa| isa.name());
    PossibleValuesParser::new(names).map(|name| Isa::named(&name).unwrap_or_default())
}

impl ModelArgs {
    /// Whether weights are mapped, given what suits the command.
    pub(super) fn mapping(&self, suitable: Mapping) -> Mapping {
        match (self.mmap, self.no_mmap) {
            (true, _) => Mapping::Allowed,
            (_, true) => Mapping::Copy,
            _ => suitable,
        }
    }

    /// The model's name in messages.
    pub(super) fn name(&self) -> String {
        match &self.model {
            Some(path) => path.display().to_string(),
            None => "the shipped model".to_owned(),
        }
    }
}

/// The size of a session's context, and how its keys and values are stored.
#[derive(Debug, Args)]
#[command(next_help_heading = "Context")]
pub(super) struct SessionArgs {
    /// Context size in tokens [default: the model's context, at most 4096]
    #[arg(short, long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) context: Option<u32>,
    /// Data type of the KV cache
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    pub(super) kv_type: KvType,
}

impl SessionArgs {
    pub(super) fn options(&self) -> gust::SessionOptions {
        gust::SessionOptions {
            context_length: self.context,
            kv_type: Some(self.kv_type.into()),
        }
    }
}

/// The data type of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KvType {
    /// Half precision
    F16,
    /// Single precision: twice the memory
    F32,
    /// 8 bits per value and one scale per 32 values: about half the memory
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<KvType> for gust::KvType {
    fn from(kv_type: KvType) -> Self {
        match kv_type {
            KvType::F16 => gust::KvType::F16,
            KvType::F32 => gust::KvType::F32,
            KvType::Q8_0 => gust::KvType::Q8_0,
        }
    }
}

/// A whole number, or none if -1 is given.
type Whole<T> = Option<T>;

/// How the next tokens are chosen and where an answer ends.
#[derive(Debug, Args)]
#[command(next_help_heading = "Generation")]
pub(super) struct GenerationArgs {
    /// Maximum number of tokens to generate [default: -1, until the model ends its text or the context is full]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_whole::<u32>)]
    max_tokens: Option<Whole<u32>>,
    /// Stop before this text would appear; can be given more than once
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) stop: Vec<String>,
    /// Keep generating after the model has ended its text
    #[arg(long)]
    pub(super) ignore_eos: bool,
    #[command(flatten)]
    pub(super) sampling: SamplingArgs,
    #[command(flatten)]
    pub(super) speculation: SpeculationArgs,
}

impl GenerationArgs {
    /// The most tokens to generate, if there is a limit.
    pub(super) fn max_tokens(&self) -> Option<u32> {
        self.max_tokens.flatten()
    }

    /// The library's options, with this seed.
    pub(super) fn options(&self, seed: u64) -> gust::GenerationOptions {
        gust::GenerationOptions {
            max_tokens: self.max_tokens(),
            stop: self.stop.clone(),
            ignore_end: Some(self.ignore_eos),
            seed: Some(seed),
            lookup: self.speculation.lookup,
            draft_max: self.speculation.draft_max,
            ..self.sampling.options()
        }
    }
}

/// Speculative decoding: proposed tokens are computed together, which gives the same text sooner.
#[derive(Debug, Args)]
#[command(next_help_heading = "Speculative decoding (same text, faster)")]
pub(super) struct SpeculationArgs {
    /// Propose up to N tokens that followed an earlier occurrence of the latest ones, 0 to 31; 0 is off [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=31))]
    pub(super) lookup: Option<u32>,
    /// A smaller GGUF model with the same vocabulary, which also proposes tokens
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) draft_model: Option<PathBuf>,
    /// With --draft-model: propose up to N tokens at a time, 0 to 31 [default: 7]
    #[arg(long, value_name = "N", requires = "draft_model", value_parser = clap::value_parser!(u32).range(0..=31))]
    pub(super) draft_max: Option<u32>,
}

/// The sampler chain, in order: penalties, top-k, typical, top-p, min-p, temperature.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(super) struct SamplingArgs {
    /// Sampling temperature; 0 always picks the most probable token [default: 0.8]
    #[arg(short, long, value_name = "T", value_parser = parse_temperature, allow_negative_numbers = true)]
    pub(super) temperature: Option<f32>,
    /// Keep the K most probable tokens; 0 and -1 keep all [default: 40]
    #[arg(long, value_name = "K", value_parser = parse_whole::<u32>)]
    top_k: Option<Whole<u32>>,
    /// Keep the smallest set of tokens whose probabilities sum to P [default: 0.95]
    #[arg(long, value_name = "P", value_parser = parse_share, allow_negative_numbers = true)]
    pub(super) top_p: Option<f32>,
    /// Keep tokens at least P times as probable as the most probable one [default: 0.05]
    #[arg(long, value_name = "P", value_parser = parse_share, allow_negative_numbers = true)]
    pub(super) min_p: Option<f32>,
    /// Locally typical sampling with probability mass P [default: 1, off]
    #[arg(long, value_name = "P", value_parser = parse_share, allow_negative_numbers = true)]
    pub(super) typical_p: Option<f32>,
    /// Divide the logits of recent tokens by X [default: 1, off]
    #[arg(long, value_name = "X", value_parser = parse_factor, allow_negative_numbers = true)]
    pub(super) repeat_penalty: Option<f32>,
    /// Subtract X from the logit of a recent token once per occurrence, -2 to 2 [default: 0]
    #[arg(long, value_name = "X", value_parser = parse_penalty, allow_negative_numbers = true)]
    pub(super) frequency_penalty: Option<f32>,
    /// Subtract X once from the logit of each recent token, -2 to 2 [default: 0]
    #[arg(long, value_name = "X", value_parser = parse_penalty, allow_negative_numbers = true)]
    pub(super) presence_penalty: Option<f32>,
    /// How many of the last tokens count as recent; -1 is all [default: 64]
    #[arg(long, value_name = "N", value_parser = parse_whole::<u32>)]
    penalty_window: Option<Whole<u32>>,
    /// Random seed; the same seed gives the same text [default: -1, random, shown in the summary]
    #[arg(short, long, value_name = "N", value_parser = parse_whole::<u64>)]
    seed: Option<Whole<u64>>,
}

impl SamplingArgs {
    /// The given seed, or a random one.
    pub(super) fn seed(&self) -> u64 {
        self.seed.flatten().unwrap_or_else(random_seed)
    }

    fn options(&self) -> gust::GenerationOptions {
        gust::GenerationOptions {
            temperature: self.temperature,
            top_k: self.top_k.map(Option::unwrap_or_default),
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical_p,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            penalty_window: self.penalty_window.map(|n| n.unwrap_or(u32::MAX)),
            ..Default::default()
        }
    }
}

/// A seed from the system. It has 32 bits, so that it is easy to type.
pub(super) fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

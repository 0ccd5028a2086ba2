//! `gust inspect`: what is in a model file, and how much memory it needs.

use std::collections::BTreeMap;

use clap::Args;
use gust::{KvType, MetadataEntry, Model, ModelInfo, Scope, SessionOptions, TensorEntry};
use serde::Serialize;

use super::args::ModelArgs;
use super::failure::Failure;
use super::open::open;
use super::output::{Output, printable, table};
use super::units::{bytes, count};

/// The engine's own default for a session's context, in tokens.
const DEFAULT_CONTEXT: u32 = 4096;
/// Values with more characters than this are cut in the listing for people.
const VALUE_WIDTH: usize = 72;

/// Show what is in a model file and how much memory it needs
///
/// Works on any GGUF file, and says whether gust runs it, and if not, what is missing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust inspect -m model.gguf
  gust inspect -m model.gguf --context 32768
  gust inspect -m model.gguf --json | jq .memory")]
pub(super) struct InspectArgs {
    /// Estimate the memory for a context of this many tokens [default: the model's context, at most 4096]
    #[arg(short, long, value_name = "TOKENS")]
    context: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// Whether gust runs the model.
    runs: bool,
    /// What keeps gust from running it.
    obstacle: Option<String>,
    model: Overview,
    metadata: Vec<Metadata>,
    tensors: Vec<Tensor>,
    types: Vec<TypeSize>,
    memory: Memory,
    /// The number of threads that would compute.
    threads: usize,
}

#[derive(Serialize)]
struct Overview {
    name: String,
    architecture: String,
    parameters: u64,
    vocabulary_size: u32,
    context_length: u32,
    embedding_length: u32,
    block_count: u32,
    bos: Option<u32>,
    end_of_generation: Vec<u32>,
    has_chat_template: bool,
}

#[derive(Serialize)]
struct Metadata {
    key: String,
    #[serde(rename = "type")]
    value_type: String,
    length: u64,
    value: String,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    #[serde(rename = "type")]
    element_type: String,
    shape: Vec<u64>,
    offset: u64,
    size: u64,
}

/// All tensors of one type.
#[derive(Serialize)]
struct TypeSize {
    #[serde(rename = "type")]
    element_type: String,
    tensors: usize,
    bytes: u64,
}

/// The memory needed to run the model, in bytes.
#[derive(Serialize)]
struct Memory {
    context: u32,
    weights: u64,
    kv_f16: u64,
    kv_f32: u64,
    total_f16: u64,
    total_f32: u64,
}

pub(super) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    // Weights are mapped and not read, so that this takes little longer than the metadata alone.
    let (model, obstacle) = match open(&args.model, Scope::Full) {
        Ok(opened) => (opened.model, None),
        Err(failure) => {
            let Some(obstacle) = failure.message() else {
                return Err(failure);
            };
            (open(&args.model, Scope::Metadata)?.model, Some(obstacle))
        }
    };
    let report = report(&model, obstacle, args.context)?;
    let mut output = Output::new();
    if args.json {
        output.json(&report)?;
    } else {
        output.text(&listing(&report))?;
    }
    output.flush()
}

fn report(
    model: &Model,
    obstacle: Option<String>,
    context: Option<u32>,
) -> Result<Report, Failure> {
    let (info, tensors) = (model.info(), model.tensors()?);
    let context = context.unwrap_or_else(|| info.context_length.min(DEFAULT_CONTEXT));
    let mut types: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for tensor in &tensors {
        let (tensors, bytes) = types.entry(&tensor.element_type).or_default();
        *tensors += 1;
        *bytes = bytes.saturating_add(tensor.size);
    }
    let mut types: Vec<TypeSize> = types
        .into_iter()
        .map(|(name, (tensors, bytes))| TypeSize {
            element_type: name.to_owned(),
            tensors,
            bytes,
        })
        .collect();
    types.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    let kv_f16 = kv_bytes(model, context, KvType::F16);
    let kv_f32 = kv_bytes(model, context, KvType::F32);
    let memory = Memory {
        context,
        weights: info.weight_bytes,
        kv_f16,
        kv_f32,
        total_f16: info.weight_bytes.saturating_add(kv_f16),
        total_f32: info.weight_bytes.saturating_add(kv_f32),
    };
    let metadata = model.metadata()?.into_iter().map(|entry| {
        let MetadataEntry {
            key,
            value_type,
            length,
            value,
        } = entry;
        Metadata {
            key,
            value_type,
            length,
            value,
        }
    });
    let tensors = tensors.into_iter().map(|entry| {
        let TensorEntry {
            name,
            element_type,
            shape,
            offset,
            size,
        } = entry;
        Tensor {
            name,
            element_type,
            shape,
            offset,
            size,
        }
    });
    Ok(Report {
        runs: obstacle.is_none(),
        obstacle,
        model: overview(info),
        metadata: metadata.collect(),
        tensors: tensors.collect(),
        types,
        memory,
        threads: model.threads(),
    })
}

/// What a session keeps of its tokens: as much as one reserves, which depends on windows and recurrent layers. Where there
/// can be no such session, because the model does not run or the context does not fit, as if each layer kept all tokens.
fn kv_bytes(model: &Model, context: u32, kv_type: KvType) -> u64 {
    let options = SessionOptions {
        context_length: Some(context),
        kv_type: Some(kv_type),
    };
    let session = model.session(&options);
    let reserved = session.and_then(|session| session.usage());
    reserved.map_or_else(
        |_| {
            let f16 = model.info().kv_bytes_per_token;
            let size = if kv_type == KvType::F32 { 2 } else { 1 };
            f16.saturating_mul(size).saturating_mul(context.into())
        },
        |usage| usage.kv_bytes,
    )
}

fn overview(info: &ModelInfo) -> Overview {
    Overview {
        name: info.name.clone(),
        architecture: info.architecture.clone(),
        parameters: info.parameters,
        vocabulary_size: info.vocabulary_size,
        context_length: info.context_length,
        embedding_length: info.embedding_length,
        block_count: info.block_count,
        bos: info.bos,
        end_of_generation: info.end_of_generation.clone(),
        has_chat_template: info.chat_template.is_some(),
    }
}

/// The report for people. Everything that comes from the file is made safe to print.
fn listing(report: &Report) -> String {
    let Report {
        runs: _,
        obstacle,
        model,
        metadata,
        tensors,
        types,
        memory,
        threads,
    } = report;
    let overview = [
        ("name", printable(&model.name)),
        ("architecture", printable(&model.architecture)),
        ("parameters", count(model.parameters)),
        (
            "vocabulary",
            format!("{} tokens", count(model.vocabulary_size.into())),
        ),
        (
            "context",
            format!("{} tokens", count(model.context_length.into())),
        ),
        ("width", count(model.embedding_length.into())),
        ("layers", count(model.block_count.into())),
        (
            "chat template",
            if model.has_chat_template { "yes" } else { "no" }.to_owned(),
        ),
        ("threads", threads.to_string()),
        (
            "runs",
            match obstacle {
                None => "yes".to_owned(),
                Some(obstacle) => format!("no: {}", printable(obstacle)),
            },
        ),
    ];
    let overview = table(&overview.map(|(name, value)| vec![name.to_owned(), value]));
    let metadata_rows: Vec<Vec<String>> = metadata.iter().map(metadata_row).collect();
    let tensor_rows: Vec<Vec<String>> = tensors.iter().map(tensor_row).collect();
    let type_rows: Vec<Vec<String>> = types
        .iter()
        .map(|row| {
            vec![
                printable(&row.element_type),
                format!("{} tensors", row.tensors),
                bytes(row.bytes),
            ]
        })
        .collect();
    let memory_rows = table(&[
        vec!["weights".to_owned(), bytes(memory.weights)],
        vec!["KV cache, f16".to_owned(), bytes(memory.kv_f16)],
        vec!["KV cache, f32".to_owned(), bytes(memory.kv_f32)],
        vec!["total, f16".to_owned(), bytes(memory.total_f16)],
    ]);
    format!(
        "{overview}\nmetadata: {} keys\n{}\ntensors: {}\n{}\nsizes by type\n{}\nmemory for a context of {} tokens\n{memory_rows}",
        metadata.len(),
        table(&metadata_rows),
        tensors.len(),
        table(&tensor_rows),
        table(&type_rows),
        count(memory.context.into()),
    )
}

fn metadata_row(entry: &Metadata) -> Vec<String> {
    let kind = match entry.length {
        1 if !entry.value_type.starts_with("array") => entry.value_type.clone(),
        length => format!("{} ({})", entry.value_type, count(length)),
    };
    let mut value: String = entry.value.chars().take(VALUE_WIDTH).collect();
    if value.len() < entry.value.len() {
        value.push('…');
    }
    vec![printable(&entry.key), printable(&kind), printable(&value)]
}

fn tensor_row(tensor: &Tensor) -> Vec<String> {
    let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
    vec![
        printable(&tensor.name),
        printable(&tensor.element_type),
        shape.join(" x "),
        bytes(tensor.size),
    ]
}

//! Converts between the contract's records and this library's types.

#[cfg(all(target_arch = "wasm32", feature = "component"))]
use super::bindings::exports::gust::llm::embedding as wit_embedding;
use super::{wit, wit_chat};
use crate::chat::{Message, families};
use crate::error::{Error, Mismatch, Result, invalid_argument};
use crate::gguf::{TensorInfo, Value};
use crate::loaded::Model;
use crate::model::KvType;
#[cfg(all(target_arch = "wasm32", feature = "component"))]
use crate::model::Pooling;
use crate::sampler::SamplerOptions;
use crate::session::{
    Event, FinishReason, GenerationOptions, SessionOptions, SpeculationOptions, Usage,
};
use crate::tokenizer::Tokenizer;

/// The key of a file's chat template.
const TEMPLATE: &str = "tokenizer.chat_template";
/// The key of the one for conversations with tools.
const TEMPLATE_WITH_TOOLS: &str = "tokenizer.chat_template.tool_use";
/// Longer metadata strings are truncated to this many bytes.
const MAX_VALUE: usize = 65_536;
/// How many elements of an array are shown.
const SHOWN_ELEMENTS: usize = 8;

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(name) => Self::NotFound(name),
            Error::InvalidModel(what) => Self::InvalidModel(what.into()),
            Error::Unsupported(what) => Self::Unsupported(what.into()),
            Error::OutOfMemory { needed, available } => {
                Self::OutOfMemory(wit::Shortage { needed, available })
            }
            Error::PromptTooLong { tokens, limit } => {
                Self::PromptTooLong(wit::Overflow { tokens, limit })
            }
            Error::ContextFull(limit) => Self::ContextFull(limit),
            Error::InvalidArgument(what) => Self::InvalidArgument(what.into()),
            Error::Io(reason) => Self::Io(reason),
            Error::Aborted(reason) => Self::Aborted(reason),
        }
    }
}

impl From<Mismatch> for wit::Mismatch {
    fn from(what: Mismatch) -> Self {
        Self {
            subject: what.subject,
            expected: what.expected,
            found: what.found,
        }
    }
}

/// The template in the model's file. Some have another one for conversations with tools.
pub(super) fn own_template<'t>(model: &'t Model, tools: Option<&str>) -> Result<Option<&'t str>> {
    let metadata = &model.gguf().metadata;
    let with_tools = match tools {
        Some(_) => metadata.str(TEMPLATE_WITH_TOOLS)?,
        None => None,
    };
    let own = with_tools.or(metadata.str(TEMPLATE)?);
    Ok(own.filter(|own| !own.is_empty()))
}

pub(super) fn no_template() -> wit::Error {
    let expected = "a chat template in the model or in the call's options, or tokens that tell the model's family";
    invalid_argument(TEMPLATE, expected, "none").into()
}

pub(super) fn message(message: wit::ChatMessage) -> Message {
    Message::new(message.role, message.content)
}

pub(super) fn turn(message: wit_chat::Message) -> Message {
    Message {
        role: message.role,
        content: message.content,
        fields: message.fields,
    }
}

pub(super) fn session_options(options: wit::SessionOptions) -> SessionOptions {
    SessionOptions {
        context_length: options.context_length,
        kv_type: options.kv_type.map(|kv_type| match kv_type {
            wit::KvType::F16 => KvType::F16,
            wit::KvType::F32 => KvType::F32,
            wit::KvType::Q80 => KvType::Q8_0,
        }),
    }
}

#[cfg(all(target_arch = "wasm32", feature = "component"))]
pub(super) fn pooling(pooling: wit_embedding::Pooling) -> Pooling {
    match pooling {
        wit_embedding::Pooling::None => Pooling::None,
        wit_embedding::Pooling::Mean => Pooling::Mean,
        wit_embedding::Pooling::Cls => Pooling::Cls,
        wit_embedding::Pooling::Last => Pooling::Last,
        wit_embedding::Pooling::Rank => Pooling::Rank,
    }
}

#[cfg(all(target_arch = "wasm32", feature = "component"))]
pub(super) fn pooling_of(pooling: Pooling) -> wit_embedding::Pooling {
    match pooling {
        Pooling::None => wit_embedding::Pooling::None,
        Pooling::Mean => wit_embedding::Pooling::Mean,
        Pooling::Cls => wit_embedding::Pooling::Cls,
        Pooling::Last => wit_embedding::Pooling::Last,
        Pooling::Rank => wit_embedding::Pooling::Rank,
    }
}

pub(super) fn generation_options(options: wit::GenerationOptions) -> GenerationOptions {
    let default = SamplerOptions::default();
    GenerationOptions {
        sampler: SamplerOptions {
            temperature: options.temperature.unwrap_or(default.temperature),
            top_k: options.top_k.unwrap_or(default.top_k),
            top_p: options.top_p.unwrap_or(default.top_p),
            min_p: options.min_p.unwrap_or(default.min_p),
            typical_p: options.typical_p.unwrap_or(default.typical_p),
            repeat_penalty: options.repeat_penalty.unwrap_or(default.repeat_penalty),
            frequency_penalty: options
                .frequency_penalty
                .unwrap_or(default.frequency_penalty),
            presence_penalty: options.presence_penalty.unwrap_or(default.presence_penalty),
            penalty_window: options.penalty_window.unwrap_or(default.penalty_window),
            seed: options.seed.unwrap_or(default.seed),
        },
        max_tokens: options.max_tokens,
        stop: options.stop.unwrap_or_default(),
        ignore_end: options.ignore_end.unwrap_or(false),
        logprobs: options.logprobs,
        speculation: SpeculationOptions {
            lookup: options.lookup,
            draft: options.draft_max,
        },
    }
}

pub(super) fn event(event: Event) -> wit::Event {
    match event {
        Event::Token {
            id,
            bytes,
            logprob,
            top,
        } => wit::Event::Token(wit::TokenEvent {
            id,
            bytes,
            logprob,
            top: top
                .into_iter()
                .map(|(id, logprob)| wit::Candidate { id, logprob })
                .collect(),
        }),
        Event::Finished { reason, bytes } => wit::Event::Finished(wit::Finish {
            reason: match reason {
                FinishReason::EndOfSequence => wit::FinishReason::EndOfSequence,
                FinishReason::Stop => wit::FinishReason::Stop,
                FinishReason::Length => wit::FinishReason::Length,
            },
            bytes,
        }),
    }
}

pub(super) fn usage(usage: Usage) -> wit::Usage {
    wit::Usage {
        context_used: usage.context_used,
        context_length: usage.context_length,
        fed: usage.fed,
        generated: usage.generated,
        kv_bytes: usage.kv_bytes,
        drafted: usage.drafted,
        accepted: usage.accepted,
    }
}

/// What is known from the parts that were loaded. If only the metadata was loaded, numbers that are missing or wrong in
/// it are 0.
pub(super) fn info(model: &Model) -> wit::ModelInfo {
    let gguf = model.gguf();
    let metadata = &gguf.metadata;
    let text = |key: &str| metadata.str(key).ok().flatten().map(str::to_owned);
    let architecture = text("general.architecture").unwrap_or_default();
    let number = |key: &str| {
        metadata
            .u32(&format!("{architecture}.{key}"))
            .ok()
            .flatten()
    };
    let plan = model
        .plan()
        .or_else(|| crate::model::Plan::from_gguf(gguf).ok());
    let tokenizer = model.tokenizer().ok();
    let listed = || Some(metadata.strings("tokenizer.ggml.tokens").ok()??.len() as u32);
    wit::ModelInfo {
        name: text("general.name").unwrap_or_default(),
        parameters: gguf
            .tensors
            .iter()
            .map(|t| t.shape.iter().product::<u64>())
            .sum(),
        vocabulary_size: tokenizer
            .map(|t| t.vocab_size())
            .or_else(listed)
            .unwrap_or(0),
        context_length: number("context_length").unwrap_or(0),
        embedding_length: number("embedding_length").unwrap_or(0),
        block_count: number("block_count").unwrap_or(0),
        weight_bytes: gguf
            .tensors
            .iter()
            .map(|t| t.size)
            .fold(0, u64::saturating_add),
        mapped_bytes: model.mapped_bytes(),
        kv_bytes_per_token: plan.map_or(0, |plan| plan.kv_bytes_per_token(KvType::F16)),
        bos: tokenizer.and_then(|t| t.bos()),
        end_of_generation: tokenizer
            .map(|t| t.end_of_generation().to_vec())
            .unwrap_or_default(),
        chat_template: text(TEMPLATE),
        architecture,
    }
}

/// All metadata, and what the engine assumes because the file does not say it.
pub(super) fn metadata(model: &Model) -> Vec<wit::MetadataEntry> {
    let entry = |(key, value): (&str, &Value)| {
        let (value_type, length) = match value {
            Value::Array(array) => {
                let element = array.element_type().name();
                (format!("array of {element}"), array.len() as u64)
            }
            other => (other.value_type().name().to_owned(), 1),
        };
        wit::MetadataEntry {
            key: key.to_owned(),
            value_type,
            length,
            value: value_text(value),
        }
    };
    let assumed = |key: &str, value: String| wit::MetadataEntry {
        key: key.to_owned(),
        value_type: "assumed".to_owned(),
        length: 1,
        value,
    };
    let tokenizer = model.tokenizer().ok();
    let pre = tokenizer.and_then(Tokenizer::assumption);
    let pre = pre.map(|name| assumed("tokenizer.ggml.pre", name.to_owned()));
    let metadata = &model.gguf().metadata;
    let family = match own_template(model, None) {
        Ok(None) => tokenizer.and_then(|tokenizer| families::assumed(tokenizer, metadata)),
        _ => None,
    };
    let template = family.map(|family| {
        assumed(
            TEMPLATE,
            format!("{}, because {}", family.name, family.reason),
        )
    });
    let of_file = metadata.iter().map(entry);
    of_file.chain(pre).chain(template).collect()
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(bytes) => {
            String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_VALUE)]).into_owned()
        }
        Value::Array(array) => {
            let elements = (0..SHOWN_ELEMENTS).map_while(|i| array.get(i));
            let elements: Vec<serde_json::Value> = elements.map(|v| json(&v)).collect();
            serde_json::Value::from(elements).to_string()
        }
        scalar => json(scalar).to_string(),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::F32(v) => (*v).into(),
        Value::F64(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::String(_) => value_text(value).into(),
        Value::Array(_) => serde_json::Value::Null,
        integer => {
            let integer = integer.as_integer().unwrap_or_default();
            serde_json::Number::from_i128(integer).map_or(serde_json::Value::Null, Into::into)
        }
    }
}

pub(super) fn tensor(tensor: &TensorInfo) -> wit::TensorEntry {
    wit::TensorEntry {
        name: tensor.name.clone(),
        element_type: tensor.ty.name().to_owned(),
        shape: tensor.shape.clone(),
        offset: tensor.offset,
        size: tensor.size,
    }
}

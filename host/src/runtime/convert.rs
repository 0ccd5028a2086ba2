//! Conversions between the types generated from `wit/` and the public ones.

use crate::runtime::bindings::exports::gust::llm::engine as wit;
use crate::types::{
    Candidate, ChatMessage, ChatOptions, Error, Event, FinishReason, GenerationOptions, KvType,
    LoadOptions, Mapping, MetadataEntry, Mismatch, ModelInfo, Scope, SessionOptions, TensorEntry,
    Token, TokenizeOptions, Usage,
};

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::NotFound(name) => Error::NotFound(name),
            wit::Error::InvalidModel(mismatch) => Error::InvalidModel(mismatch.into()),
            wit::Error::Unsupported(mismatch) => Error::Unsupported(mismatch.into()),
            wit::Error::OutOfMemory(wit::Shortage { needed, available }) => {
                Error::OutOfMemory { needed, available }
            }
            wit::Error::PromptTooLong(wit::Overflow { tokens, limit }) => {
                Error::PromptTooLong { tokens, limit }
            }
            wit::Error::ContextFull(limit) => Error::ContextFull { limit },
            wit::Error::InvalidArgument(mismatch) => Error::InvalidArgument(mismatch.into()),
            wit::Error::Io(reason) => Error::Io(reason),
            wit::Error::Aborted(reason) => Error::Aborted(reason),
        }
    }
}

impl From<wit::Mismatch> for Mismatch {
    fn from(
        wit::Mismatch {
            subject,
            expected,
            found,
        }: wit::Mismatch,
    ) -> Self {
        Mismatch {
            subject,
            expected,
            found,
        }
    }
}

impl From<&LoadOptions> for wit::LoadOptions {
    fn from(options: &LoadOptions) -> Self {
        wit::LoadOptions {
            scope: Some(match options.scope {
                Scope::Metadata => wit::LoadScope::Metadata,
                Scope::Vocabulary => wit::LoadScope::Vocabulary,
                Scope::Full => wit::LoadScope::Full,
            }),
            // Decided by now; see `placement`.
            allow_mapping: Some(options.mmap != Mapping::Copy),
        }
    }
}

impl From<&SessionOptions> for wit::SessionOptions {
    fn from(options: &SessionOptions) -> Self {
        wit::SessionOptions {
            context_length: options.context_length,
            kv_type: options.kv_type.map(|kv_type| match kv_type {
                KvType::F16 => wit::KvType::F16,
                KvType::F32 => wit::KvType::F32,
                KvType::Q8_0 => wit::KvType::Q80,
            }),
        }
    }
}

impl From<&GenerationOptions> for wit::GenerationOptions {
    fn from(options: &GenerationOptions) -> Self {
        wit::GenerationOptions {
            max_tokens: options.max_tokens,
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
            min_p: options.min_p,
            typical_p: options.typical_p,
            repeat_penalty: options.repeat_penalty,
            frequency_penalty: options.frequency_penalty,
            presence_penalty: options.presence_penalty,
            penalty_window: options.penalty_window,
            seed: options.seed,
            stop: (!options.stop.is_empty()).then(|| options.stop.clone()),
            ignore_end: options.ignore_end,
            logprobs: options.logprobs,
            lookup: options.lookup,
            draft_max: options.draft_max,
        }
    }
}

impl From<&TokenizeOptions> for wit::TokenizeOptions {
    fn from(options: &TokenizeOptions) -> Self {
        wit::TokenizeOptions {
            add_special: options.add_special,
            parse_special: options.parse_special,
        }
    }
}

impl From<&ChatMessage> for wit::ChatMessage {
    fn from(message: &ChatMessage) -> Self {
        wit::ChatMessage {
            role: message.role.clone(),
            content: message.content.clone(),
        }
    }
}

impl From<&ChatOptions> for wit::ChatOptions {
    fn from(options: &ChatOptions) -> Self {
        wit::ChatOptions {
            add_generation_prompt: options.add_generation_prompt,
            template: options.template.clone(),
            variables: options.variables.clone(),
        }
    }
}

impl From<wit::ModelInfo> for ModelInfo {
    fn from(info: wit::ModelInfo) -> Self {
        ModelInfo {
            architecture: info.architecture,
            name: info.name,
            parameters: info.parameters,
            vocabulary_size: info.vocabulary_size,
            context_length: info.context_length,
            embedding_length: info.embedding_length,
            block_count: info.block_count,
            weight_bytes: info.weight_bytes,
            mapped_bytes: info.mapped_bytes,
            kv_bytes_per_token: info.kv_bytes_per_token,
            bos: info.bos,
            end_of_generation: info.end_of_generation,
            chat_template: info.chat_template,
        }
    }
}

impl From<wit::MetadataEntry> for MetadataEntry {
    fn from(entry: wit::MetadataEntry) -> Self {
        let wit::MetadataEntry {
            key,
            value_type,
            length,
            value,
        } = entry;
        MetadataEntry {
            key,
            value_type,
            length,
            value,
        }
    }
}

impl From<wit::TensorEntry> for TensorEntry {
    fn from(entry: wit::TensorEntry) -> Self {
        let wit::TensorEntry {
            name,
            element_type,
            shape,
            offset,
            size,
        } = entry;
        TensorEntry {
            name,
            element_type,
            shape,
            offset,
            size,
        }
    }
}

impl From<wit::Event> for Event {
    fn from(event: wit::Event) -> Self {
        match event {
            wit::Event::Token(token) => Event::Token(Token {
                id: Some(token.id),
                bytes: token.bytes,
                logprob: token.logprob,
                top: token.top.into_iter().map(Candidate::from).collect(),
            }),
            wit::Event::Finished(finish) => Event::Finished {
                reason: finish.reason.into(),
                bytes: finish.bytes,
            },
        }
    }
}

impl From<wit::Candidate> for Candidate {
    fn from(wit::Candidate { id, logprob }: wit::Candidate) -> Self {
        Candidate { id, logprob }
    }
}

impl From<wit::FinishReason> for FinishReason {
    fn from(reason: wit::FinishReason) -> Self {
        match reason {
            wit::FinishReason::EndOfSequence => FinishReason::EndOfSequence,
            wit::FinishReason::Stop => FinishReason::Stop,
            wit::FinishReason::Length => FinishReason::Length,
        }
    }
}

impl From<wit::Usage> for Usage {
    fn from(usage: wit::Usage) -> Self {
        Usage {
            context_used: usage.context_used,
            context_length: usage.context_length,
            fed: usage.fed,
            generated: usage.generated,
            kv_bytes: usage.kv_bytes,
            drafted: usage.drafted,
            accepted: usage.accepted,
        }
    }
}

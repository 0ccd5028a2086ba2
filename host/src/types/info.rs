//! What a model says about itself, what a session has used, and what the time was spent on.

use std::time::Duration;

/// What a model says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// `general.architecture`.
    pub architecture: String,
    /// `general.name`, or empty.
    pub name: String,
    /// The number of weights.
    pub parameters: u64,
    /// Tokens in the vocabulary.
    pub vocabulary_size: u32,
    /// The context length that it was trained for, in tokens.
    pub context_length: u32,
    /// Width of the residual stream.
    pub embedding_length: u32,
    /// The number of layers.
    pub block_count: u32,
    /// Bytes of all tensors in the file.
    pub weight_bytes: u64,
    /// Bytes of tensors that were mapped, not copied. Bytes that several instances have mapped count once for each.
    pub mapped_bytes: u64,
    /// Bytes that one token takes in an F16 KV cache, over all layers. A layer with a window keeps only the tokens that it
    /// sees.
    pub kv_bytes_per_token: u64,
    /// The begin-of-sequence token, if there is one.
    pub bos: Option<u32>,
    /// The tokens that end an answer.
    pub end_of_generation: Vec<u32>,
    /// `tokenizer.chat_template`, if there is one.
    pub chat_template: Option<String>,
}

/// One key of a file's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEntry {
    /// Its name, such as `general.architecture`.
    pub key: String,
    /// GGUF's name for the type; for an array, `array of` and the type of its elements.
    pub value_type: String,
    /// The number of elements of an array; 1 for anything else.
    pub length: u64,
    /// The value as text; for an array, its first eight elements as JSON. Long strings are cut at 65,536 bytes.
    pub value: String,
}

impl MetadataEntry {
    /// Whether the file does not say this, and the engine assumed it to go on.
    pub fn is_assumed(&self) -> bool {
        self.value_type == "assumed"
    }
}

/// One row of a file's table of tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// ggml's name for the type, such as `Q4_K`.
    pub element_type: String,
    /// Elements per dimension, the fastest-varying first, as in the file.
    pub shape: Vec<u64>,
    /// Offset from the start of the file, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
}

/// What a session has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens in the context.
    pub context_used: u32,
    /// Tokens that the context can hold.
    pub context_length: u32,
    /// Tokens fed since the session began.
    pub fed: u64,
    /// Tokens generated since the session began.
    pub generated: u64,
    /// Bytes of the KV cache, the draft model's included.
    pub kv_bytes: u64,
    /// Tokens proposed by speculative decoding since the session began.
    pub drafted: u64,
    /// Of those, the tokens that were chosen.
    pub accepted: u64,
}

/// The time that one operator of an engine took, over all layers and tokens (see
/// [`Model::stop_trace`](crate::Model::stop_trace)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorTime {
    /// What it computes: GGUF's name for its weights, if it has any, such as `ffn_gate`.
    pub operator: String,
    /// How many times it was computed: once for each layer and batch.
    pub calls: u64,
    /// The total time.
    pub time: Duration,
}

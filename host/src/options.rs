//! What a caller can choose: how a model is loaded, how a session is laid out, how an answer is made.
//!
//! The records mirror those of `wit/engine.wit`; an absent field has the engine's default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Source;

/// How a model is loaded.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// How much of the file is loaded. Default: all of it.
    pub scope: Scope,
    /// Whether weights may be mapped. Default: yes.
    pub mmap: Mapping,
    /// How many threads compute, each with an instance of the engine and a share of the weights. Any number gives the same
    /// answers, to the last bit. At least 1, and 1 where a component does not import `gust:llm/collective`. Default: the
    /// physical cores that the process may use; for a small model fewer, and for one that needs the memories of more
    /// instances (an instance holds less than 4 GiB), more. Unless the [scope](Self::scope) is full, one instance loads.
    pub threads: Option<u32>,
    /// What the instances may use. Default: no more limits than WebAssembly's own.
    pub limits: Limits,
    /// A smaller model of the same vocabulary, loaded beside the first into the same instance. It proposes tokens to the
    /// sessions of that (speculative decoding), which is left to choose: the answers are the same, and come sooner.
    /// Default: none.
    pub draft: Option<Source>,
    /// Told how loading goes, from the thread that loads. Default: nobody.
    pub progress: Option<ProgressFn>,
}

/// A function that is told of progress.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("scope", &self.scope)
            .field("mmap", &self.mmap)
            .field("threads", &self.threads)
            .field("limits", &self.limits)
            .field("draft", &self.draft)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

/// How much of a model's file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Metadata and the table of tensors.
    Metadata,
    /// The tokenizer and the chat template too. There are no sessions.
    Vocabulary,
    /// All of it.
    #[default]
    Full,
}

/// Whether weights may be mapped from their file or are copied into the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Mapped where that can be done, else copied.
    #[default]
    Allowed,
    /// Copied.
    Copy,
}

/// What the engine may use for one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of linear memory in all instances together, mapped weights included. Default: 4 GiB for each, which is all that
    /// WebAssembly can address.
    pub memory: Option<u64>,
    /// Wall time of one call into the engine: loading, one chunk of a prompt, one token. Default: no limit.
    ///
    /// The embedded engine is ended when it next calls the host, which it does at every read and in every layer. Other
    /// components are ended wherever they are, for which they are compiled a second time and run up to a quarter slower.
    pub call_time: Option<Duration>,
}

/// How a piece of work goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The model is being read.
    Loading {
        /// Bytes read or mapped so far. Parts that are read twice count twice, up to `total`.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
}

/// How a session is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionOptions {
    /// Room for this many tokens: 1 up to the model's context length. Default: the model's, at most 4,096.
    pub context_length: Option<u32>,
    /// The number type of the cached keys and values. Default: F16.
    pub kv_type: Option<KvType>,
}

/// The number type of the cached keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// Half precision: two bytes a number.
    F16,
    /// Single precision: four bytes a number.
    F32,
    /// 8 bits a number and a scale for each 32: 34 bytes for 32 numbers. The heads of the model must be a multiple of 32
    /// wide.
    Q8_0,
}

/// How the next tokens are chosen and where an answer ends.
///
/// The order of the chain is: penalties, top-k, typical, top-p, min-p, temperature. The defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerationOptions {
    /// At most this many tokens per answer. Default: until the context is full.
    pub max_tokens: Option<u32>,
    /// 0 chooses the most probable token (greedy). 0 or more, finite. Default: 0.8.
    pub temperature: Option<f32>,
    /// Keeps the k most probable tokens; 0 keeps all. Default: 40.
    pub top_k: Option<u32>,
    /// Keeps the fewest tokens whose probabilities sum to p, 0 to 1; 1 keeps all. Default: 0.95.
    pub top_p: Option<f32>,
    /// Keeps tokens at least p times as probable as the best, 0 to 1; 0 keeps all. Default: 0.05.
    pub min_p: Option<f32>,
    /// Locally typical sampling with mass p, 0 to 1; 1 keeps all. Default: 1.
    pub typical_p: Option<f32>,
    /// Divides the logits of recent tokens, above 0; 1 is off. Default: 1.
    pub repeat_penalty: Option<f32>,
    /// Subtracted once per occurrence of a recent token, -2 to 2. Default: 0.
    pub frequency_penalty: Option<f32>,
    /// Subtracted once from each recent token, -2 to 2. Default: 0.
    pub presence_penalty: Option<f32>,
    /// How many of the last tokens count as recent; 0 turns the penalties off. Default: 64.
    pub penalty_window: Option<u32>,
    /// Same model, tokens, options and seed: same tokens. Default: 0.
    pub seed: Option<u64>,
    /// An answer ends before any of these texts would appear. At most 64, none empty. Default: none.
    pub stop: Vec<String>,
    /// Goes on after an end-of-generation token. Default: no.
    pub ignore_end: Option<bool>,
    /// Report log-probabilities: the chosen token's and those of this many best tokens, 0 to 1,024. Default: none.
    pub logprobs: Option<u32>,
    /// Speculative decoding by prompt look-up: where the last tokens occurred before, those that followed them are
    /// proposed, at most this many at a time (0 to 31; 0 is off), and computed together. The answer is the same, and comes
    /// sooner. Default: 7.
    pub lookup: Option<u32>,
    /// The same with what the draft model (see [`LoadOptions::draft`]) proposes where the look-up finds nothing.
    /// Default: 7.
    pub draft_max: Option<u32>,
}

/// How text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenizeOptions {
    /// Adds the tokens that the model wants around a text, such as begin-of-sequence. Default: yes.
    pub add_special: Option<bool>,
    /// Reads the names of control tokens in the text as those tokens. For templates only: text of users must not be
    /// able to say `<|im_end|>`. Default: no.
    pub parse_special: Option<bool>,
}

/// What becomes of control tokens in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// They give no text.
    #[default]
    Hide,
    /// They give their names.
    Render,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, or what else the model's template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl ChatMessage {
    /// A turn of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        ChatMessage {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// How a conversation becomes a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChatOptions {
    /// Ends with the head of an answer. Default: yes.
    pub add_generation_prompt: Option<bool>,
    /// A Jinja template instead of the model's own. Default: the model's.
    pub template: Option<String>,
    /// More variables for the template: a JSON object as text. Default: none.
    pub variables: Option<String>,
}

//! Options: how a model is loaded, how a session is set up, and how an answer is generated.
//!
//! The structs mirror the records of `wit/engine.wit`; an absent field means the engine's default.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Source;

/// How a model is loaded.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// How much of the file is loaded. Default: all of it.
    pub scope: Scope,
    /// Whether weights are mapped or copied. Default: [`Mapping::Auto`].
    pub mmap: Mapping,
    /// The number of compute threads, each with an instance of the engine and a share of the weights. Any number gives
    /// the same answers, to the last bit. Must be 1 to 256, and exactly 1 if the component does not import
    /// `gust:llm/collective`. Default: the number of physical cores that the process may use; fewer for a small model,
    /// and more for a model that needs the memory of more instances (an instance holds less than 4 GiB). Unless the
    /// [scope](Self::scope) is full, only one instance loads the model.
    pub threads: Option<u32>,
    /// What the instances may use. Default: no limits other than WebAssembly's own.
    pub limits: Limits,
    /// A smaller model with the same vocabulary, loaded next to the main model into the same instance. It proposes
    /// tokens to the main model's sessions (speculative decoding), and the main model makes the choice: the answers are
    /// the same, but come sooner. Default: none.
    pub draft: Option<Source>,
    /// The `tokenizer.json` of Hugging Face's that is used in place of the file's own vocabulary, also for the draft model.
    /// A larger engine runs it, which is embedded with the feature `tokenizers`; another component must export
    /// `gust:llm/tokenizers`. With [`Limits::call_time`], it is compiled with interruption points, as other components are.
    /// Default: none.
    pub tokenizer: Option<Source>,
    /// A callback for the progress of loading, called on the thread that loads. Default: none.
    pub progress: Option<ProgressFn>,
}

/// A callback for progress.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("scope", &self.scope)
            .field("mmap", &self.mmap)
            .field("threads", &self.threads)
            .field("limits", &self.limits)
            .field("draft", &self.draft)
            .field("tokenizer", &self.tokenizer)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

/// How much of a model's file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Metadata and the table of tensors.
    Metadata,
    /// Also the tokenizer and the chat template. There are no sessions.
    Vocabulary,
    /// All of it.
    #[default]
    Full,
}

/// Whether weights are mapped from their file or copied into the instance. The answers are the same.
///
/// A mapped model is ready at once, and processes share its pages. A copied one takes as long as reading it and memory
/// of its own, but the engine interleaves rows on the way (as [`Engine::pack`](crate::Engine::pack) does in a file),
/// with which it generates up to twice as fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Copied if that takes at most half of the memory that is available, otherwise mapped.
    #[default]
    Auto,
    /// Mapped where possible, otherwise copied: for a few tokens, or to share the pages.
    Allowed,
    /// Always copied.
    Copy,
}

/// What the engine may use for one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes that all instances together take: linear memory, mapped weights included, tables, and what the host keeps
    /// for them. Default: 4 GiB per instance, which is all that WebAssembly can address.
    pub memory: Option<u64>,
    /// Wall-clock time of one call into the engine: loading, one chunk of a prompt, one token. Default: no limit.
    ///
    /// The embedded engine is stopped when it next calls the host, which it does at every read and in every layer.
    /// Other components are stopped wherever they are; for that, they are compiled a second time, within the same time,
    /// and run up to a quarter slower.
    pub call_time: Option<Duration>,
}

/// The progress of a piece of work.
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

/// How a session is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionOptions {
    /// The size of the context in tokens, from 1 to the model's context length. Default: the model's, at most 4,096.
    pub context_length: Option<u32>,
    /// The data type of the KV cache. Default: F16.
    pub kv_type: Option<KvType>,
}

/// The data type of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// Half precision: two bytes per value.
    F16,
    /// Single precision: four bytes per value.
    F32,
    /// 8 bits per value and one scale per 32 values: 34 bytes for 32 values. The width of the model's heads must be a
    /// multiple of 32.
    Q8_0,
}

/// How the next tokens are chosen and where an answer ends.
///
/// The sampler chain runs in this order: penalties, top-k, typical, top-p, min-p, temperature. The defaults are
/// llama.cpp's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerationOptions {
    /// The maximum number of tokens per answer. Default: until the context is full.
    pub max_tokens: Option<u32>,
    /// The sampling temperature, 0 or more, finite; 0 always picks the most probable token (greedy). Default: 0.8.
    pub temperature: Option<f32>,
    /// Keeps the k most probable tokens; 0 keeps all. Default: 40.
    pub top_k: Option<u32>,
    /// Keeps the smallest set of tokens whose probabilities sum to p, 0 to 1; 1 keeps all. Default: 0.95.
    pub top_p: Option<f32>,
    /// Keeps tokens at least p times as probable as the most probable one, 0 to 1; 0 keeps all. Default: 0.05.
    pub min_p: Option<f32>,
    /// Locally typical sampling with probability mass p, 0 to 1; 1 keeps all. Default: 1.
    pub typical_p: Option<f32>,
    /// Divides the logits of recent tokens, above 0; 1 is off. Default: 1.
    pub repeat_penalty: Option<f32>,
    /// Subtracted from the logit of a recent token once per occurrence, -2 to 2. Default: 0.
    pub frequency_penalty: Option<f32>,
    /// Subtracted once from the logit of each recent token, -2 to 2. Default: 0.
    pub presence_penalty: Option<f32>,
    /// How many of the last tokens count as recent; 0 turns the penalties off. Default: 64.
    pub penalty_window: Option<u32>,
    /// The random seed: the same model, tokens, options and seed give the same tokens. Default: 0.
    pub seed: Option<u64>,
    /// An answer ends before any of these texts would appear. At most 64, none empty. Default: none.
    pub stop: Vec<String>,
    /// Continues after an end-of-generation token. Default: no.
    pub ignore_end: Option<bool>,
    /// Reports log-probabilities: the chosen token's, and those of this many of the most probable tokens, 0 to 1,024.
    /// Default: none.
    pub logprobs: Option<u32>,
    /// Speculative decoding by prompt lookup: if the latest tokens have occurred before, the tokens that followed them
    /// are proposed, at most this many at a time (0 to 31; 0 is off), and computed together. The answer is the same,
    /// but comes sooner. Default: 7.
    pub lookup: Option<u32>,
    /// The same for the tokens that the draft model (see [`LoadOptions::draft`]) proposes when the lookup finds
    /// nothing. Default: 7.
    pub draft_max: Option<u32>,
}

/// How text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenizeOptions {
    /// Adds the special tokens that the model expects around a text, such as begin-of-sequence, but none that would end the
    /// text, because it is to be continued (see [`Model::tokenize_whole`](crate::Model::tokenize_whole)). Default: yes.
    pub add_special: Option<bool>,
    /// Turns the names of control tokens in the text into those tokens. For templates only: text from users must not be
    /// able to say `<|im_end|>`. Default: no.
    pub parse_special: Option<bool>,
}

/// How control tokens become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// They produce no text.
    #[default]
    Hide,
    /// They produce their names.
    Render,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, `tool`, or another role that the model's template knows.
    pub role: String,
    /// The text of the message.
    pub content: String,
    /// Everything else that a message can have (`name`, `tool_calls`, `reasoning_content`, ...): a JSON object as text.
    /// These fields override the ones above; `"content": null` is a message without a text. Default: nothing else.
    pub fields: Option<String>,
}

impl ChatMessage {
    /// A message from `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        ChatMessage {
            role: role.into(),
            content: content.into(),
            fields: None,
        }
    }

    /// The same message with other fields.
    pub fn with_fields(mut self, fields: impl Into<String>) -> Self {
        self.fields = Some(fields.into());
        self
    }
}

/// How a conversation becomes a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChatOptions {
    /// Ends the prompt with the header of an answer. Default: yes.
    pub add_generation_prompt: Option<bool>,
    /// A Jinja template instead of the model's own, or the name of one that the engine has, such as `chatml`. Default: the
    /// model's, or that of its family if the file has none.
    pub template: Option<String>,
    /// Additional variables for the template: a JSON object as text. Default: none.
    pub variables: Option<String>,
}

/// How a conversation becomes the tokens of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenderOptions {
    /// Ends the prompt with the header of an answer. Default: yes.
    pub add_generation_prompt: Option<bool>,
    /// A Jinja template instead of the model's own, or the name of one that the engine has, such as `chatml`. Default: the
    /// model's, or that of its family if the file has none.
    pub template: Option<String>,
    /// The tools that the model may call: a JSON array as text. Default: none.
    pub tools: Option<String>,
    /// Additional variables for the template, such as `enable_thinking`: a JSON object as text. The names that are set
    /// already (`messages`, `tools`, `bos_token`, ...) are refused. Default: none.
    pub variables: Option<String>,
    /// The time for templates that write the date. Default: the time of the call, in UTC.
    pub now: Option<SystemTime>,
}

/// A conversation as the model gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// What to feed, with the begin-of-sequence token if the model expects one.
    pub tokens: Vec<u32>,
    /// The text that the template wrote.
    pub text: String,
}

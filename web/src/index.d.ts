/**
 * gust: language models in a WebAssembly sandbox, in Node and in the browser.
 *
 * Typical use: {@link load}, {@link Model.tokenize}, {@link Model.session}, {@link Session.feed}, then
 * {@link Session.text} or {@link Session.tokens}. The names are those of the Rust library; the defaults are llama.cpp's.
 * The computation runs in workers, so nothing here blocks.
 */

/**
 * A file of a model. In Node: a path, a `file:` URL or bytes. In a page: a URL, a `Blob`, a `File`, bytes, or the
 * handle of a file (in the page's own file system, or from a picker).
 */
export type SourceFile = string | URL | Uint8Array | Blob | FileHandle;

/** What this package uses of a `FileSystemFileHandle`. */
export interface FileHandle {
  readonly kind: "file";
  readonly name: string;
  getFile(): Promise<Blob>;
}

/**
 * Where a model comes from: a file, or a list of all files of a model that was split into several.
 *
 * If a file's name is that of the first of several (`x-00001-of-00003.gguf`), the others are found by their names where
 * that is possible: beside a path or a URL, and in the page's own file system. A list of one is that file alone. The
 * files of a longer list may have any order if their names have these numbers; otherwise they are in order.
 */
export type Source = SourceFile | SourceFile[];

/**
 * Loads a model.
 *
 * In a page, a model from a URL is fetched once and kept in the origin private file system; a copy that no longer has the
 * hashes of what was fetched is fetched again. Every file of a split model is checked; one that is missing is a
 * `not-found` with its name.
 *
 * @throws {GustError} `not-found`, `invalid-model`, `unsupported`, `out-of-memory`, `invalid-argument`, `io`
 */
export function load(source: Source, options?: LoadOptions): Promise<Model>;

/** Deletes all models that `load` has fetched and kept. Only in pages. Fails if one of them is in use. */
export function clearCache(): Promise<void>;

/** How to load a model. */
export interface LoadOptions {
  /** How much of the file to load. Default: `full`. With `metadata` and `vocabulary`, sessions are not available. */
  scope?: "metadata" | "vocabulary" | "full";
  /**
   * The number of workers, each with an instance of the engine and a share of the weights. Any number gives the same
   * answers, to the last bit. More than one needs `SharedArrayBuffer`, which in a page needs cross-origin isolation.
   * More than 64 are an `invalid-argument`, unless there are more processors or the file needs more.
   * Default: the number of cores, fewer for small models, more for those above 3 GiB (an instance holds less than 4 GiB).
   */
  threads?: number;
  /** Which build of the engine to use. Default: `relaxed` if the host has relaxed SIMD. Both give the same tokens. */
  build?: "relaxed" | "baseline";
  /** A smaller model with the same vocabulary that proposes tokens: the answers are the same, and arrive sooner. */
  draft?: Source;
  /**
   * A `tokenizer.json` of Hugging Face's, used in place of the vocabulary in the model's file, also for the draft model. A
   * larger engine runs it, which is fetched only then.
   */
  tokenizer?: Source;
  /** Receives the progress of fetching and loading. */
  onProgress?: (progress: LoadProgress) => void;
  /** Aborts loading. The promise is then rejected with the signal's reason. */
  signal?: AbortSignal;
}

/** The progress of loading. Both numbers are bytes. */
export interface LoadProgress {
  stage: "fetching" | "loading";
  done: number;
  /** Absent if the server does not report it. */
  total?: number;
  /** While a model in several files is fetched: which of them the numbers are about, from 1. */
  file?: number;
  /** How many files there are, if there are several. */
  files?: number;
}

/** A loaded model, in its own workers. */
export interface Model {
  /** What the model's file says about the model. */
  readonly info: Readonly<ModelInfo>;
  /** The number of workers. */
  readonly threads: number;
  /** Which build of the engine runs. */
  readonly build: "relaxed" | "baseline";
  /**
   * All metadata, in file order. It is followed by what the engine had to assume because the file does not say it: such
   * an entry has the type `assumed`.
   */
  metadata(): Promise<MetadataEntry[]>;
  /** All tensors, in file order. */
  tensors(): Promise<TensorEntry[]>;
  /** Turns text into tokens. */
  tokenize(text: string, options?: TokenizeOptions): Promise<Uint32Array>;
  /** Turns tokens into UTF-8. Control tokens give nothing, or their names if `renderSpecial` is set. */
  detokenize(tokens: Uint32Array | number[], options?: { renderSpecial?: boolean }): Promise<Uint8Array>;
  /**
   * Renders a conversation with the model's chat template and tokenizes it. Only the template can write control tokens:
   * their names in messages, tools and variables are text.
   */
  render(messages: ChatMessage[], options?: RenderOptions): Promise<Prompt>;
  /** Renders a conversation into a text. In it, nobody can tell who wrote the name of a control token. */
  renderChat(messages: ChatMessage[], options?: ChatOptions): Promise<string>;
  /** What the file says about the model's vectors. Needs the scope `full`, as do the next two. */
  embeddingInfo(): Promise<EmbeddingInfo>;
  /**
   * The vector of a text, or the vectors of several; a text may be given as tokens. With the pooling `none`, those of
   * all tokens, one after the other. A text has at least one token, and at most as many as `info.contextLength`
   * (`prompt-too-long`). A pooling that the model has no tensors for is an `invalid-argument`.
   */
  embed(text: string | Uint32Array, options?: EmbedOptions): Promise<Float32Array>;
  embed(texts: (string | Uint32Array)[], options?: EmbedOptions): Promise<Float32Array[]>;
  /** Sorts documents by their relevance to a query. `unsupported` if the model is not a reranker. */
  rerank(query: string, documents: string[], options?: RerankOptions): Promise<RankedDocument[]>;
  /** The tokens of a query and a document, as a reranker expects them. */
  tokenizePair(query: string, document: string): Promise<Uint32Array>;
  /**
   * Loads an adapter of this model (LoRA): a GGUF file as llama.cpp's `convert_lora_to_gguf` writes it. Sessions take it
   * with {@link Session.setAdapters}. One that was made for another model is an `invalid-argument`; one that changes what
   * the engine cannot change is `unsupported`.
   */
  loadAdapter(source: SourceFile, options?: { signal?: AbortSignal }): Promise<Adapter>;
  /** Creates an empty session. */
  session(options?: SessionOptions): Promise<Session>;
  /** Terminates the workers, and with them all sessions. */
  close(): Promise<void>;
}

/**
 * A sequence of tokens, what the model has computed for it, and the options for continuing it.
 *
 * Calls are executed one at a time, in the order in which they are made. An aborted call is rejected with the signal's
 * reason, within a token if there is `SharedArrayBuffer`, otherwise between two tokens; the session stays usable.
 */
export interface Session {
  /** Why the last answer ended; undefined while it is being generated. */
  readonly finishReason: FinishReason | undefined;
  /** Sets how the next tokens are chosen, starts a new answer, and reseeds the random numbers. */
  configure(options: GenerationOptions): Promise<void>;
  /**
   * Adds the changes of these adapters, each times its scale (default: 1), in place of those before; an empty list detaches
   * all. Afterwards the session is as if its tokens had been fed with them, and a new answer starts: tokens are computed
   * again when they are needed. A state that is saved now restores only in a session with the same adapters and scales in
   * the same order. A fork has the same adapters; a draft model has none. The scale 0 is as if the adapter were not there.
   */
  setAdapters(adapters: ScaledAdapter[]): Promise<void>;
  /** Appends tokens. */
  feed(tokens: Uint32Array | number[], options?: FeedOptions): Promise<void>;
  /** Chooses the next token and appends it, or returns that the answer has ended. */
  nextEvent(options?: CallOptions): Promise<Event>;
  /**
   * The tokens of the answer, until it ends. No token is computed before it is requested. If text was held back at the
   * end because it might have become a stop text, a last item without `id` has it.
   */
  tokens(options?: CallOptions): AsyncGenerator<Token, void, undefined>;
  /** The text of the answer in whole characters, a few at a time, until it ends. No item is empty. */
  text(options?: CallOptions): AsyncGenerator<string, void, undefined>;
  /**
   * Appends tokens, and returns for each the natural logarithm of its probability given all tokens before it. The first
   * token of an empty session has no such probability and gets 0.
   */
  score(tokens: Uint32Array | number[], options?: FeedOptions): Promise<Float32Array>;
  /** Drops all tokens from position `length` on. */
  truncate(length: number): Promise<void>;
  /** The logits after the last token: one for each token of the vocabulary. */
  logits(): Promise<Float32Array>;
  /** Makes an independent copy. */
  fork(): Promise<Session>;
  /** Returns the whole state, for `restore` in a session of the same model and options, with any number of threads. */
  save(): Promise<Uint8Array>;
  /** Restores a saved state. */
  restore(state: Uint8Array): Promise<void>;
  /** What the session has used. */
  usage(): Promise<Usage>;
  /** Releases its memory. */
  close(): Promise<void>;
}

/** An adapter of a model, which any number of its sessions can take. */
export interface Adapter {
  /** The names of the tensors of its file that are not used: the weights of norms, if these were trained too. */
  readonly leftOut: string[];
  /** Releases its memory. Sessions that have taken it keep what they need. */
  close(): Promise<void>;
}

/** An adapter, and how much of its changes is added. */
export interface ScaledAdapter {
  adapter: Adapter;
  /** Any finite number. Default: 1. */
  scale?: number;
}

/** The layout of a session. */
export interface SessionOptions {
  /** Capacity in tokens, from 1 to the model's context length. Default: the model's, but at most 4,096. */
  contextLength?: number;
  /** The number type of the cached keys and values. Default: `f16`. */
  kvType?: "f16" | "f32" | "q8-0";
}

/**
 * How the next tokens are chosen and where an answer ends. The order of the chain is: penalties, top-k, typical, top-p,
 * min-p, temperature. The defaults are llama.cpp's.
 */
export interface GenerationOptions {
  /** At most this many tokens per answer. Default: until the context is full. */
  maxTokens?: number;
  /** At least 0; 0 always chooses the most probable token (greedy). Default: 0.8. */
  temperature?: number;
  /** Keeps the k most probable tokens; 0 keeps all. Default: 40. */
  topK?: number;
  /** Keeps the smallest set of tokens whose probabilities sum to p, 0 to 1; 1 keeps all. Default: 0.95. */
  topP?: number;
  /** Keeps tokens at least p times as probable as the best, 0 to 1; 0 keeps all. Default: 0.05. */
  minP?: number;
  /** Locally typical sampling with mass p, 0 to 1; 1 keeps all. Default: 1. */
  typicalP?: number;
  /** Divides the logits of recent tokens, greater than 0; 1 is off. Default: 1. */
  repeatPenalty?: number;
  /** Subtracted once per occurrence of a recent token, -2 to 2. Default: 0. */
  frequencyPenalty?: number;
  /** Subtracted once from each recent token, -2 to 2. Default: 0. */
  presencePenalty?: number;
  /** How many of the last tokens count as recent; 0 disables the penalties. Default: 64. */
  penaltyWindow?: number;
  /** The same model, tokens, options and seed give the same tokens in every host. Below 2^64. Default: 0. */
  seed?: number | bigint;
  /** An answer ends before any of these texts would appear. At most 64, none empty. Default: none. */
  stop?: string[];
  /** Continues after an end-of-generation token. Default: false. */
  ignoreEnd?: boolean;
  /** Reports log-probabilities of the chosen token and of this many most probable tokens, 0 to 1,024. Default: none. */
  logprobs?: number;
  /** Speculative decoding by prompt lookup: at most this many tokens at a time, 0 to 31; 0 is off. Default: 7. */
  lookup?: number;
  /** The same for tokens that the draft model proposes. Default: 7. */
  draftMax?: number;
}

/** How to turn text into tokens. */
export interface TokenizeOptions {
  /** Adds the tokens that the model expects around a text, such as begin-of-sequence. Default: true. */
  addSpecial?: boolean;
  /**
   * Parses the names of control tokens in the text as those tokens. For templates only: user text must not be able to
   * produce `<|im_end|>`. Default: false.
   */
  parseSpecial?: boolean;
}

/** One turn of a conversation. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or any other role that the model's template knows. */
  role: string;
  /** The text; for `render` also parts, or null if there is no text. */
  content?: string | unknown[] | null;
  /** For `render`: what else a message can have, such as `name`, `tool_calls` or `reasoning_content`. */
  [field: string]: unknown;
}

/** How to turn a conversation into tokens. */
export interface RenderOptions extends ChatOptions {
  /** The tools that the model may call. */
  tools?: unknown[];
  /** The time for templates that write the date; it is taken as local time. Default: now. */
  now?: Date;
}

/** A conversation as the model gets it. */
export interface Prompt {
  /** What to feed, with the begin-of-sequence token if the model expects one. */
  tokens: Uint32Array;
  /** The text that the template wrote. */
  text: string;
}

/** How to turn a conversation into a prompt. */
export interface ChatOptions {
  /** Ends the prompt with the header of the assistant's answer. Default: true. */
  addGenerationPrompt?: boolean;
  /**
   * A Jinja template to use instead of the model's own, or the name of one that the engine has, such as `chatml`.
   * Default: the model's, or that of its family if the file has none.
   */
  template?: string;
  /**
   * Additional variables for the template, such as `enable_thinking`; they are passed as JSON. `render` refuses the names
   * that are set already: `messages`, `tools`, `bos_token` and so on.
   */
  variables?: Record<string, unknown>;
}

/**
 * Which of a text's hidden states represent it: all of them (one vector per token), their mean, the first one, the last
 * one, or the outputs of a classifier (one number per label; a reranker has one label).
 */
export type Pooling = "none" | "mean" | "cls" | "last" | "rank";

/** What a model's file says about its vectors. */
export interface EmbeddingInfo {
  pooling: Pooling;
  /** Whether the model only embeds. Then it has no sessions. */
  embedsOnly: boolean;
  /** The classifier's labels, if it has any with names. */
  labels: string[];
}

/** How to make vectors of texts. */
export interface EmbedOptions extends TextsOptions {
  /** Default: what the model's file says, and if it says nothing, `mean`. */
  pooling?: Pooling;
  /** Scales vectors to length 1, so that a dot product is a cosine. A classifier's outputs never are. Default: true. */
  normalize?: boolean;
}

/** How to sort documents. */
export interface RerankOptions extends TextsOptions {
  /** Returns only this many, the most relevant ones. Default: all. */
  top?: number;
}

/** For calls with several texts. */
export interface TextsOptions {
  /**
   * Aborts the call: within the text that is being computed if there is `SharedArrayBuffer`, otherwise after it. The
   * model stays usable.
   */
  signal?: AbortSignal;
  /** Receives after each text how many are done. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** A document and its relevance. */
export interface RankedDocument {
  /** Its number in the list that was given, from 0. */
  index: number;
  /** The higher, the more relevant. */
  score: number;
  document: string;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface FeedOptions extends CallOptions {
  /** Receives after each chunk how many tokens have been taken. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** The result of {@link Session.nextEvent}. */
export type Event = ({ type: "token" } & Token) | { type: "finished"; reason: FinishReason; bytes: Uint8Array };

/** A token of an answer. */
export interface Token {
  /** Its number in the vocabulary. Absent only in the last item of {@link Session.tokens}, if text was held back. */
  id: number | undefined;
  /** The text that this token made final. A character may span several tokens. */
  bytes: Uint8Array;
  /** The natural logarithm of its probability, if `logprobs` was requested. */
  logprob: number | undefined;
  /** The most probable tokens, best first: as many as `logprobs` requested. */
  top: { id: number; logprob: number }[];
}

/** Why an answer ended: the model ended it, a stop text would have appeared, or it has `maxTokens` tokens. */
export type FinishReason = "end-of-sequence" | "stop" | "length";

/** What a model's file says about the model. */
export interface ModelInfo {
  architecture: string;
  /** May be empty. */
  name: string;
  /** The number of weights. */
  parameters: number;
  /** The number of tokens in the vocabulary. */
  vocabularySize: number;
  /** The context length in tokens that it was trained for. */
  contextLength: number;
  /** The width of the residual stream. */
  embeddingLength: number;
  /** The number of layers. */
  blockCount: number;
  /** The size of all tensors in the file, in bytes. */
  weightBytes: number;
  /** Bytes of tensors that the first worker read directly into place. */
  mappedBytes: number;
  /** Bytes of keys and values per token of context, over all layers, in F16. */
  kvBytesPerToken: number;
  /** The begin-of-sequence token, if there is one. */
  bos: number | undefined;
  /** The tokens that end an answer. */
  endOfGeneration: Uint32Array;
  /** The model's Jinja template, if there is one. */
  chatTemplate: string | undefined;
}

/** One entry of a file's metadata. */
export interface MetadataEntry {
  key: string;
  /** GGUF's name for the type; for an array, `array of` and the type of its elements. */
  valueType: string;
  /** The number of elements if it is an array, otherwise 1. */
  length: number;
  /** The value as text; for an array, its first eight elements as JSON. Strings are truncated to 65,536 bytes. */
  value: string;
}

/** One row of a file's tensor table. */
export interface TensorEntry {
  name: string;
  /** ggml's name for the type, such as `Q4_K`. */
  elementType: string;
  /** Elements per dimension, the fastest-varying first, as in the file. */
  shape: number[];
  /** The offset from the start of the file, in bytes. */
  offset: number;
  /** The size in bytes. */
  size: number;
}

/** What a session has used. */
export interface Usage {
  /** Tokens in the context. */
  contextUsed: number;
  /** The capacity of the context in tokens. */
  contextLength: number;
  /** Tokens fed since the session was created. */
  fed: number;
  /** Tokens generated since the session was created. */
  generated: number;
  /** The size of the KV cache, in all workers together, in bytes. */
  kvBytes: number;
  /** Tokens proposed by speculative decoding since the session was created. */
  drafted: number;
  /** How many of the proposed tokens were chosen. */
  accepted: number;
}

/** What was checked, what was expected, and what was found. */
export interface Mismatch {
  subject: string;
  expected: string;
  found: string;
}

/**
 * Why a call failed, for programs. After an error the model and the session are as they were before the call, except
 * for `lost` and `io`, after which they can no longer be used.
 */
export type ErrorCode =
  | "not-found"
  | "invalid-model"
  | "unsupported"
  | "out-of-memory"
  | "prompt-too-long"
  | "context-full"
  | "invalid-argument"
  | "io"
  | "aborted"
  | "lost"
  | "closed";

/** Why a call failed. `message` is for people. */
export class GustError extends Error {
  readonly code: ErrorCode;
  /** The contents of the message: a {@link Mismatch} for `invalid-model`, `unsupported` and `invalid-argument`. */
  readonly detail: unknown;
  /** What to do about it. */
  readonly hint: string | undefined;
}

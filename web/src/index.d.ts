/**
 * gust: language models in a WebAssembly sandbox, in Node and in the browser.
 *
 * The way through: {@link load}, {@link Model.tokenize}, {@link Model.session}, {@link Session.feed}, then
 * {@link Session.text} or {@link Session.tokens}. The names are those of the Rust library; the defaults are llama.cpp's.
 * Computing happens in workers, so that nothing here blocks.
 */

/** Where a model's bytes come from. In Node: a path, a `file:` URL, bytes. In a page: an address, a `Blob` or `File`, bytes. */
export type Source = string | URL | Uint8Array | Blob;

/**
 * Loads a model.
 *
 * In a page, what has an address is fetched once and kept in the page's own file system.
 *
 * @throws {GustError} `not-found`, `invalid-model`, `unsupported`, `out-of-memory`, `invalid-argument`, `io`
 */
export function load(source: Source, options?: LoadOptions): Promise<Model>;

/** Deletes all models that `load` has fetched and kept. Only in pages. Fails while one of them is in use. */
export function clearCache(): Promise<void>;

/** How a model is loaded. */
export interface LoadOptions {
  /** How much of the file is loaded. Default: `full`. Of `metadata` and `vocabulary` there are no sessions. */
  scope?: "metadata" | "vocabulary" | "full";
  /**
   * Workers that compute, each with an instance of the engine and a share of the weights. Any number gives the same
   * answers, to the last bit. More than one need `SharedArrayBuffer`: in a page, cross-origin isolation. Default: as many
   * as there are cores, fewer for small models, more for those above 3 GiB (an instance holds less than 4 GiB).
   */
  threads?: number;
  /** Which build of the engine. Default: `relaxed` where the host has relaxed SIMD. Both give the same tokens. */
  build?: "relaxed" | "baseline";
  /** A smaller model of the same vocabulary that proposes tokens: the answers are the same, and come sooner. */
  draft?: Source;
  /** Told how fetching and loading go. */
  onProgress?: (progress: LoadProgress) => void;
  /** Ends loading. The promise is then rejected with the signal's reason. */
  signal?: AbortSignal;
}

/** How loading goes. Both numbers are bytes. */
export interface LoadProgress {
  stage: "fetching" | "loading";
  done: number;
  /** Absent where the server does not say it. */
  total?: number;
}

/** A loaded model, in workers of its own. */
export interface Model {
  /** What the model says of itself. */
  readonly info: Readonly<ModelInfo>;
  /** How many workers compute. */
  readonly threads: number;
  /** Which build of the engine runs. */
  readonly build: "relaxed" | "baseline";
  /** All metadata, in the order of the file. */
  metadata(): Promise<MetadataEntry[]>;
  /** All tensors, in the order of the file. */
  tensors(): Promise<TensorEntry[]>;
  /** Text to tokens. */
  tokenize(text: string, options?: TokenizeOptions): Promise<Uint32Array>;
  /** Tokens to UTF-8. Control tokens give nothing, or their names when `renderSpecial` is set. */
  detokenize(tokens: Uint32Array | number[], options?: { renderSpecial?: boolean }): Promise<Uint8Array>;
  /** A conversation to the prompt that the model's chat template makes of it. Tokenize it with `parseSpecial`. */
  renderChat(messages: ChatMessage[], options?: ChatOptions): Promise<string>;
  /** An empty session. */
  session(options?: SessionOptions): Promise<Session>;
  /** Ends the workers, and with them all sessions. */
  close(): Promise<void>;
}

/**
 * A sequence of tokens, what the model has computed for it, and how it goes on.
 *
 * Calls go in one after the other, in the order in which they are made. What is aborted is rejected with the signal's
 * reason, within a token where there is `SharedArrayBuffer` and between two else; the session stays usable.
 */
export interface Session {
  /** Why the last answer ended; absent while it goes on. */
  readonly finishReason: FinishReason | undefined;
  /** Sets how the next tokens are chosen, begins a new answer, and starts the random numbers anew. */
  configure(options: GenerationOptions): Promise<void>;
  /** Appends tokens. */
  feed(tokens: Uint32Array | number[], options?: FeedOptions): Promise<void>;
  /** Chooses the next token and appends it, or says that the answer is over. */
  nextEvent(options?: CallOptions): Promise<Event>;
  /**
   * The tokens of the answer, until it is over. No token is computed before it is asked for. When text was held back at
   * the end because it might have become a stop text, a last item without `id` has it.
   */
  tokens(options?: CallOptions): AsyncGenerator<Token, void, undefined>;
  /** The text of the answer in whole characters, a few at a time, until it is over. No item is empty. */
  text(options?: CallOptions): AsyncGenerator<string, void, undefined>;
  /**
   * Appends tokens, and gives for each the natural logarithm of its probability after all tokens before it. The first
   * token of an empty session has none and is given 0.
   */
  score(tokens: Uint32Array | number[], options?: FeedOptions): Promise<Float32Array>;
  /** Forgets all tokens from `length` on. */
  truncate(length: number): Promise<void>;
  /** The logits after the last token: one for each token of the vocabulary. */
  logits(): Promise<Float32Array>;
  /** An independent copy. */
  fork(): Promise<Session>;
  /** All of the state, for `restore` in a session of the same model and options, also with another number of threads. */
  save(): Promise<Uint8Array>;
  /** Becomes what was saved. */
  restore(state: Uint8Array): Promise<void>;
  /** What the session has used. */
  usage(): Promise<Usage>;
  /** Gives its memory back. */
  close(): Promise<void>;
}

/** How a session is laid out. */
export interface SessionOptions {
  /** Room for this many tokens: 1 up to the model's context length. Default: the model's, at most 4,096. */
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
  /** 0 chooses the most probable token (greedy). 0 or more. Default: 0.8. */
  temperature?: number;
  /** Keeps the k most probable tokens; 0 keeps all. Default: 40. */
  topK?: number;
  /** Keeps the fewest tokens whose probabilities sum to p, 0 to 1; 1 keeps all. Default: 0.95. */
  topP?: number;
  /** Keeps tokens at least p times as probable as the best, 0 to 1; 0 keeps all. Default: 0.05. */
  minP?: number;
  /** Locally typical sampling with mass p, 0 to 1; 1 keeps all. Default: 1. */
  typicalP?: number;
  /** Divides the logits of recent tokens, above 0; 1 is off. Default: 1. */
  repeatPenalty?: number;
  /** Subtracted once per occurrence of a recent token, -2 to 2. Default: 0. */
  frequencyPenalty?: number;
  /** Subtracted once from each recent token, -2 to 2. Default: 0. */
  presencePenalty?: number;
  /** How many of the last tokens count as recent; 0 turns the penalties off. Default: 64. */
  penaltyWindow?: number;
  /** Same model, tokens, options and seed: same tokens, in every host. Below 2^64. Default: 0. */
  seed?: number | bigint;
  /** An answer ends before any of these texts would appear. At most 64, none empty. Default: none. */
  stop?: string[];
  /** Goes on after an end-of-generation token. Default: false. */
  ignoreEnd?: boolean;
  /** Report log-probabilities: the chosen token's and those of this many best tokens, 0 to 1,024. Default: none. */
  logprobs?: number;
  /** Speculative decoding by prompt look-up: at most this many tokens at a time, 0 to 31; 0 is off. Default: 7. */
  lookup?: number;
  /** The same with what the draft model proposes. Default: 7. */
  draftMax?: number;
}

/** How text becomes tokens. */
export interface TokenizeOptions {
  /** Adds the tokens that the model wants around a text, such as begin-of-sequence. Default: true. */
  addSpecial?: boolean;
  /**
   * Reads the names of control tokens in the text as those tokens. For templates only: text of users must not be able to
   * say `<|im_end|>`. Default: false.
   */
  parseSpecial?: boolean;
}

/** One turn of a conversation. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or what else the model's template knows. */
  role: string;
  content: string;
}

/** How a conversation becomes a prompt. */
export interface ChatOptions {
  /** Ends with the head of an answer. Default: true. */
  addGenerationPrompt?: boolean;
  /** A Jinja template instead of the model's own. */
  template?: string;
  /** More variables for the template; they are given to it as JSON. */
  variables?: Record<string, unknown>;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface FeedOptions extends CallOptions {
  /** Told after each chunk how many tokens have been taken. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** What a session answers when it is asked for the next token. */
export type Event = ({ type: "token" } & Token) | { type: "finished"; reason: FinishReason; bytes: Uint8Array };

/** A token of an answer. */
export interface Token {
  /** Its number in the vocabulary. Absent only in the last item of {@link Session.tokens}, when text was held back. */
  id: number | undefined;
  /** The text that became certain with this token. A character may span two tokens. */
  bytes: Uint8Array;
  /** Natural logarithm of its probability, when `logprobs` was asked for. */
  logprob: number | undefined;
  /** The best tokens, most probable first: as many as `logprobs` asked for. */
  top: { id: number; logprob: number }[];
}

/** Why an answer ended: the model ended it, a stop text would have appeared, `maxTokens` were given. */
export type FinishReason = "end-of-sequence" | "stop" | "length";

/** What a model says of itself. */
export interface ModelInfo {
  architecture: string;
  /** May be empty. */
  name: string;
  /** The number of weights. */
  parameters: number;
  /** Tokens. */
  vocabularySize: number;
  /** Tokens of context that it was trained for. */
  contextLength: number;
  /** Width of the residual stream. */
  embeddingLength: number;
  /** Layers. */
  blockCount: number;
  /** Bytes of all tensors in the file. */
  weightBytes: number;
  /** Bytes of tensors that were put in place in one piece, by the first worker. */
  mappedBytes: number;
  /** Bytes of keys and values that one token of context takes, in F16, over all layers. */
  kvBytesPerToken: number;
  /** Begin-of-sequence, where there is one. */
  bos: number | undefined;
  /** The tokens that end an answer. */
  endOfGeneration: Uint32Array;
  /** A Jinja template, where there is one. */
  chatTemplate: string | undefined;
}

/** One key of a file's metadata. */
export interface MetadataEntry {
  key: string;
  /** GGUF's name of the type; for an array `array of` and the type of its elements. */
  valueType: string;
  /** The number of elements of an array; 1 for anything else. */
  length: number;
  /** The value as text. Of an array, its first eight elements as JSON. Long strings are cut at 65,536 bytes. */
  value: string;
}

/** One row of a file's table of tensors. */
export interface TensorEntry {
  name: string;
  /** ggml's name of the type, such as `Q4_K`. */
  elementType: string;
  /** Elements per dimension, the fastest first, as in the file. */
  shape: number[];
  /** Bytes from the start of the file. */
  offset: number;
  /** Bytes. */
  size: number;
}

/** What a session has used. */
export interface Usage {
  /** Tokens in the context. */
  contextUsed: number;
  /** Tokens that there is room for. */
  contextLength: number;
  /** Tokens fed since the session began. */
  fed: number;
  /** Tokens generated since the session began. */
  generated: number;
  /** Bytes of the cache of keys and values, of all workers together. */
  kvBytes: number;
  /** Tokens proposed by speculative decoding since the session began. */
  drafted: number;
  /** Of those, the tokens that were chosen. */
  accepted: number;
}

/** What was looked at, what it should have been, and what it was. */
export interface Mismatch {
  subject: string;
  expected: string;
  found: string;
}

/**
 * Why something failed, for a program to go by. After an error the model and the session are as they were before the call,
 * but for `lost` and `io`, after which they cannot be used any more.
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

/** Why something failed. `message` is a sentence for people. */
export class GustError extends Error {
  readonly code: ErrorCode;
  /** What the message is made of: a {@link Mismatch} for `invalid-model`, `unsupported` and `invalid-argument`. */
  readonly detail: unknown;
  /** What to do about it. */
  readonly hint: string | undefined;
}

// The caller's options, checked before they reach the engine, because a misspelt name or an invalid number would
// otherwise be misinterpreted silently.

import { invalidArgument } from "./error.js";

const integer = { what: "an integer from 0 to 4294967295", is: (x) => Number.isInteger(x) && x >= 0 && x < 2 ** 32 };
const number = { what: "a number", is: (x) => typeof x === "number" };
const boolean = { what: "true or false", is: (x) => typeof x === "boolean" };
const string = { what: "a string", is: (x) => typeof x === "string" };
const strings = { what: "an array of strings", is: (x) => Array.isArray(x) && x.every(string.is) };
const callback = { what: "a function", is: (x) => typeof x === "function" };
const signal = { what: "an AbortSignal", is: (x) => typeof x?.throwIfAborted === "function" };
const anything = { what: "anything", is: () => true };
const oneOf = (...values) => ({ what: `one of ${values.join(", ")}`, is: (x) => values.includes(x) });
const seed = {
  what: "an integer from 0 to 18446744073709551615, as a bigint above 9007199254740991",
  is: (x) => (Number.isSafeInteger(x) || typeof x === "bigint") && x >= 0 && x < 2n ** 64n,
};

export const LOAD_OPTIONS = {
  scope: oneOf("metadata", "vocabulary", "full"),
  threads: integer,
  build: oneOf("relaxed", "baseline"),
  draft: anything,
  tokenizer: anything,
  onProgress: callback,
  signal,
};

export const ADAPTER_OPTIONS = { signal };

/** What there is of an adapter that a session takes. */
export const SCALED_ADAPTER = { adapter: anything, scale: number };

export const SESSION_OPTIONS = { contextLength: integer, kvType: oneOf("f16", "f32", "q8-0") };

export const GENERATION_OPTIONS = {
  maxTokens: integer,
  temperature: number,
  topK: integer,
  topP: number,
  minP: number,
  typicalP: number,
  repeatPenalty: number,
  frequencyPenalty: number,
  presencePenalty: number,
  penaltyWindow: integer,
  seed,
  stop: strings,
  ignoreEnd: boolean,
  logprobs: integer,
  lookup: integer,
  draftMax: integer,
};

export const TOKENIZE_OPTIONS = { addSpecial: boolean, parseSpecial: boolean };

export const DETOKENIZE_OPTIONS = { renderSpecial: boolean };

export const CHAT_OPTIONS = { addGenerationPrompt: boolean, template: string, variables: anything };

export const RENDER_OPTIONS = {
  addGenerationPrompt: boolean,
  template: string,
  tools: { what: "an array", is: Array.isArray },
  variables: anything,
  now: { what: "a valid Date", is: (x) => x instanceof Date && !Number.isNaN(x.getTime()) },
};

const pooling = oneOf("none", "mean", "cls", "last", "rank");

export const EMBED_OPTIONS = { pooling, normalize: boolean, signal, onProgress: callback };

export const RERANK_OPTIONS = { top: integer, signal, onProgress: callback };

export const CALL_OPTIONS = { signal, onProgress: callback };

/** Throws if `options` has a name or a value that `known` does not allow. `undefined` counts as absent. */
export function check(subject, options, known) {
  if (typeof options !== "object" || options === null) {
    throw invalidArgument(subject, "an object", options);
  }
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) {
      throw invalidArgument(subject, `one of ${Object.keys(known).join(", ")}`, name);
    }
    if (value !== undefined && !known[name].is(value)) {
      throw invalidArgument(name, known[name].what, typeof value === "string" ? `"${value}"` : value);
    }
  }
}

/** Checks tokens and returns them as the engine expects them: 32-bit integers. */
export function tokenIds(tokens) {
  if (!(tokens instanceof Uint32Array) && !(Array.isArray(tokens) && tokens.every(integer.is))) {
    throw invalidArgument("tokens", "a Uint32Array or an array of token numbers", typeof tokens);
  }
  return Uint32Array.from(tokens);
}

/** Checks a text, or its tokens, and returns it as the engine expects it. */
export function textOrTokens(value) {
  if (!string.is(value) && !(value instanceof Uint32Array)) {
    const expected = "a string, the Uint32Array of a text's tokens, or an array of those";
    throw invalidArgument("texts", expected, Array.isArray(value) ? "an array" : typeof value);
  }
  return string.is(value) ? value : tokenIds(value);
}

export function texts(subject, values) {
  if (!strings.is(values)) {
    throw invalidArgument(subject, strings.what, Array.isArray(values) ? "an array with others" : typeof values);
  }
  return values;
}

export function list(subject, values) {
  if (!Array.isArray(values)) {
    throw invalidArgument(subject, "an array", typeof values);
  }
  return values;
}

export function text(subject, value) {
  if (!string.is(value)) {
    throw invalidArgument(subject, string.what, typeof value);
  }
  return value;
}

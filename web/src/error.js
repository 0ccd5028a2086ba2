// Errors.
//
// There is one class. Programs should act on `code`: the cases of `error` in `wit/engine.wit`, and two of this package:
// `lost`, after which the model and its sessions can no longer be used, and `closed`.

const SENTENCES = {
  "not-found": (name) => `no model at \`${name}\``,
  "invalid-model": (mismatch) => `invalid model: ${sentence(mismatch)}`,
  unsupported: (mismatch) => `unsupported: ${sentence(mismatch)}`,
  "out-of-memory": ({ needed, available = "fewer" }) =>
    `out of memory: needed ${needed} bytes, available ${available} bytes`,
  "prompt-too-long": ({ tokens, limit }) => `prompt too long: ${tokens} tokens, room for ${limit}`,
  "context-full": (limit) => `context full: all ${limit} tokens are used`,
  "invalid-argument": (mismatch) => `invalid argument: ${sentence(mismatch)}`,
  io: (reason) => `reading failed: ${reason}`,
  aborted: (reason) => `aborted: ${reason}`,
  lost: (reason) => `the engine failed: ${reason}`,
  closed: (what) => `${what} is closed`,
};

const HINTS = {
  "not-found": "check the path or the URL; a model in several files needs all of them, if need be as a list",
  "invalid-model": "the file may be cut short or not a GGUF file; download it again",
  unsupported: "use another file of the model, another model, or a newer version of this package",
  "out-of-memory": "use a smaller context, a smaller model, or more threads",
  "prompt-too-long": "shorten the prompt or raise the context length",
  "context-full": "raise the context length, or truncate the session",
};

export class GustError extends Error {
  name = "GustError";

  constructor(code, detail) {
    super(SENTENCES[code](detail));
    this.code = code;
    this.detail = detail;
    this.hint = HINTS[code];
  }
}

/** The same error with what it is about, and with another hint if there is one. */
export function about(error, subject, hint = error.hint) {
  const { code, detail, message } = error;
  return Object.assign(new GustError(code, detail), { message: subject ? `${subject}: ${message}` : message, hint });
}

export function invalidArgument(subject, expected, found) {
  return new GustError("invalid-argument", { subject, expected, found: String(found) });
}

function sentence({ subject, expected, found }) {
  return `${subject}: expected ${expected}, found ${found}`;
}

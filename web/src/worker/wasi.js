// The little of `wasi:*` that a component's standard library needs, with nothing behind it.
//
// No folder is opened, there are no arguments and no environment, input is empty and output goes nowhere, except for
// the last words on standard error: the message of a panic.

/** How many characters of standard error are kept. */
const LAST_WORDS = 8192;

/** The imports, as jco names them, and `lastWords()`, which takes what there is. */
export function wasi() {
  let words = "";
  const text = new TextDecoder();

  class Nothing {}
  class InputStream {}
  class OutputStream {
    checkWrite() {
      return BigInt(LAST_WORDS);
    }
    write(bytes) {
      words = (words + text.decode(bytes, { stream: true })).slice(-LAST_WORDS);
    }
    blockingFlush() {}
    subscribe() {
      return new Pollable();
    }
  }
  class Pollable {
    block() {}
  }
  class Silent extends OutputStream {
    write() {}
  }

  const imports = {
    "wasi:cli/environment": { getEnvironment: () => [] },
    "wasi:cli/exit": {
      exit() {
        throw new Error("the engine wanted to exit");
      },
    },
    "wasi:cli/stdin": { getStdin: () => new InputStream() },
    "wasi:cli/stdout": { getStdout: () => new Silent() },
    "wasi:cli/stderr": { getStderr: () => new OutputStream() },
    "wasi:cli/terminal-input": { TerminalInput: Nothing },
    "wasi:cli/terminal-output": { TerminalOutput: Nothing },
    "wasi:cli/terminal-stdin": { getTerminalStdin: () => undefined },
    "wasi:cli/terminal-stdout": { getTerminalStdout: () => undefined },
    "wasi:cli/terminal-stderr": { getTerminalStderr: () => undefined },
    "wasi:clocks/monotonic-clock": { now: () => BigInt(Math.round(performance.now() * 1e6)) },
    "wasi:clocks/wall-clock": {
      now() {
        const now = Date.now();
        return { seconds: BigInt(Math.floor(now / 1000)), nanoseconds: (now % 1000) * 1_000_000 };
      },
    },
    "wasi:io/error": { Error: Nothing },
    "wasi:io/poll": { Pollable },
    "wasi:io/streams": { InputStream, OutputStream },
    "wasi:random/insecure-seed": {
      insecureSeed: () => crypto.getRandomValues(new BigUint64Array(2)),
    },
  };
  const lastWords = () => {
    const taken = words.trim();
    words = "";
    return taken;
  };
  return { imports, lastWords };
}

// Stubs for the few `wasi:*` interfaces that a component's standard library needs.
//
// No folder is opened, there are no arguments and no environment, input is empty and output is discarded, except for
// the end of standard error, which has the message of a panic.

/** How many characters at the end of standard error are kept. */
const LAST_WORDS = 8192;

/** The imports, with jco's names, and `lastWords()`, which removes and returns the kept characters. */
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
        throw new Error("the engine tried to exit");
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
    // Only the engine with tokenizers imports it, as seeds for hash tables.
    "wasi:random/random": {
      getRandomU64: () => crypto.getRandomValues(new BigUint64Array(1))[0],
    },
  };
  const lastWords = () => {
    const taken = words.trim();
    words = "";
    return taken;
  };
  return { imports, lastWords };
}

// The package in Node: workers are threads, and a model is a file or bytes.

import { readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { GustError, invalidArgument } from "./error.js";
import { loader } from "./load.js";
import { sharedBuffer } from "./meeting.js";

export { GustError } from "./error.js";

export const load = loader({
  // An address is a path or bytes.
  address: (source) => (source instanceof Uint8Array ? source : filePath(source)),
  nameOf: (address) => (typeof address === "string" ? address : undefined),
  neighbour: (path, rename) => rename(path),

  async find(address) {
    if (address instanceof Uint8Array) {
      const size = address.length;
      return { source: { bytes: shared(address) }, size, filled: size };
    }
    const path = address;
    try {
      const found = await stat(path);
      if (!found.isFile()) {
        throw new GustError("io", `${path} is not a file`);
      }
      return { source: { path }, size: found.size, filled: filled(found) };
    } catch (error) {
      if (error instanceof GustError) {
        throw error;
      }
      throw error.code === "ENOENT" ? new GustError("not-found", path) : new GustError("io", error.message);
    }
  },

  async compile(file) {
    return WebAssembly.compile(await readFile(new URL(`../dist/${file}`, import.meta.url)));
  },

  worker() {
    // Without this program's options, such as `--input-type`, which only apply to its main module.
    const worker = new Worker(new URL("./worker/node.js", import.meta.url), { execArgv: [] });
    worker.unref();
    let isEnding = false;
    return {
      post: (message) => worker.postMessage(message),
      receive: (listener) => worker.on("message", listener),
      lost(listener) {
        worker.on("error", (error) => listener(String(error?.message ?? error)));
        worker.on("exit", (code) => listener(`its worker ended with exit code ${code}`));
      },
      // A program exits by itself when nothing is being computed, even if the model was not closed.
      hold: () => worker.ref(),
      release: () => isEnding || worker.unref(),
      end() {
        // The program must not exit while someone waits for the worker to end.
        isEnding = true;
        worker.ref();
        return worker.terminate();
      },
    };
  },

  processors: availableParallelism,
  sharesMemory: () => true,
});

function filePath(source) {
  if (source instanceof URL && source.protocol === "file:") {
    return fileURLToPath(source);
  }
  if (typeof source === "string" && !/^[a-z]+:\/\//i.test(source)) {
    return source;
  }
  throw invalidArgument(
    "source",
    "a path, a file: URL, a Uint8Array or a list of those (download a remote model to a file first)",
    source,
  );
}

/**
 * How many bytes of a file can be something else than holes, which cost its author nothing. A file system that
 * compresses stores weights in no less than a quarter of their size; one that does not say how much it stores is
 * believed.
 */
function filled({ size, blocks }) {
  return blocks > 0 ? Math.min(size, 4 * 512 * blocks) : size;
}

/** A copy that all workers can read. */
function shared(bytes) {
  const copy = new Uint8Array(sharedBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

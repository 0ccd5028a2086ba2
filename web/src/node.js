// The package in Node: workers are threads, and a model is a file or bytes.

import { readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { GustError, invalidArgument } from "./error.js";
import { loader } from "./load.js";

export { GustError } from "./error.js";

export const load = loader({
  async find(source) {
    if (source instanceof Uint8Array) {
      return { source: { bytes: shared(source) }, size: source.length };
    }
    const path = filePath(source);
    try {
      const found = await stat(path);
      if (!found.isFile()) {
        throw new GustError("io", `${path} is not a file`);
      }
      return { source: { path }, size: found.size };
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
    // Without the options of this program, such as `--input-type`, which only its main module understands.
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
      // A program ends by itself when nothing is being computed, also where nobody has closed the model.
      hold: () => worker.ref(),
      release: () => isEnding || worker.unref(),
      end() {
        // Who waits for it must not be left waiting by the program's end.
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
    "a path, a file: URL or a Uint8Array (fetch what is elsewhere into a file first)",
    source,
  );
}

/** A copy that all workers can look at. */
function shared(bytes) {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

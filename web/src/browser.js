// The package in a page: workers are Web Workers, and a model is a URL, a `Blob` (a `File` is one) or bytes.
//
// A model from a URL is fetched once and kept in the origin private file system (OPFS), where all workers read it.

import { GustError, invalidArgument } from "./error.js";
import { loader } from "./load.js";

export { GustError } from "./error.js";

export const load = loader({
  async find(source, { onProgress, signal }) {
    if (source instanceof Blob) {
      return inBlob(source);
    }
    if (source instanceof Uint8Array) {
      return inBlob(new Blob([source]));
    }
    const url = address(source);
    return (await keep(url, onProgress, signal)) ?? inBlob(await fetchBlob(url, signal));
  },

  async compile(file) {
    const response = fetch(ENGINE[file]);
    try {
      return await WebAssembly.compileStreaming(response.then((found) => found.clone()));
    } catch (error) {
      // The server may send `.wasm` files with the wrong type; then compile from the bytes.
      const found = await response;
      if (!found.ok || error instanceof WebAssembly.CompileError) {
        throw error;
      }
      return WebAssembly.compile(await found.arrayBuffer());
    }
  },

  worker() {
    const worker = new Worker(new URL("./worker/browser.js", import.meta.url), { type: "module" });
    return {
      post: (message) => worker.postMessage(message),
      receive: (listener) => worker.addEventListener("message", ({ data }) => listener(data)),
      lost: (listener) => worker.addEventListener("error", (event) => listener(workerError(event))),
      hold: () => undefined,
      release: () => undefined,
      end: () => worker.terminate(),
    };
  },

  processors: () => navigator.hardwareConcurrency ?? 1,
  sharesMemory: () => globalThis.crossOriginIsolated === true,
});

/** Deletes all models that `load` has fetched and kept. Fails if one of them is in use. */
export async function clearCache() {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry("gust", { recursive: true }).catch((error) => {
    if (error.name !== "NotFoundError") {
      throw error;
    }
  });
}

// Listed one by one so that bundlers find the files.
const ENGINE = {
  "engine.core.wasm": new URL("../dist/engine.core.wasm", import.meta.url),
  "engine-baseline.core.wasm": new URL("../dist/engine-baseline.core.wasm", import.meta.url),
  "engine.core2.wasm": new URL("../dist/engine.core2.wasm", import.meta.url),
  "engine.core3.wasm": new URL("../dist/engine.core3.wasm", import.meta.url),
};

function address(source) {
  try {
    return new URL(source, globalThis.document?.baseURI ?? location.href).href;
  } catch {
    throw invalidArgument("source", "a URL, a Blob, a File or a Uint8Array", source);
  }
}

function inBlob(blob) {
  return { source: { blob }, size: blob.size };
}

/** Lets a worker fetch the model at this URL and keep it. Undefined if there is no file system to keep it in. */
function keep(url, onProgress, signal) {
  const worker = new Worker(new URL("./worker/keep.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    worker.addEventListener("error", (event) => reject(new GustError("lost", workerError(event))));
    worker.addEventListener("message", ({ data }) => {
      if ("done" in data) {
        onProgress?.({ stage: "fetching", ...data });
      } else if ("kept" in data) {
        resolve(data.kept && { source: { kept: data.kept.name }, size: data.kept.size });
      } else {
        reject(new GustError(data.code, data.detail));
      }
    });
    worker.postMessage(url);
  }).finally(() => worker.terminate());
}

async function fetchBlob(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) {
    throw new GustError(response.status === 404 ? "not-found" : "io", `${url}: status ${response.status}`);
  }
  return response.blob();
}

function workerError(event) {
  return event.message || "its worker could not be started";
}

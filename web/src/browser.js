// The package in a page: workers are Web Workers, and a model is a URL, a `Blob` (a `File` is one), the handle of a
// file, or bytes.
//
// A model from a URL is fetched once and kept in the origin private file system (OPFS), where all workers read it.

import { GustError, invalidArgument } from "./error.js";
import { loader } from "./load.js";

export { GustError } from "./error.js";

export const load = loader({
  // An address is a URL, a Blob or a handle.
  address,
  nameOf: (address) => (address instanceof URL ? address.pathname : address.name),
  neighbour,

  async find(address, { onProgress, signal }) {
    if (address instanceof URL) {
      const url = address.href;
      return (await keep(url, onProgress, signal)) ?? inBlob(await fetchBlob(url, signal));
    }
    return inBlob(address instanceof Blob ? address : await fileOf(address));
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
  "tokenizers.core.wasm": new URL("../dist/tokenizers.core.wasm", import.meta.url),
  "tokenizers-baseline.core.wasm": new URL("../dist/tokenizers-baseline.core.wasm", import.meta.url),
  "tokenizers.core2.wasm": new URL("../dist/tokenizers.core2.wasm", import.meta.url),
  "tokenizers.core3.wasm": new URL("../dist/tokenizers.core3.wasm", import.meta.url),
};

function address(source) {
  if (source instanceof Blob || isFileHandle(source)) {
    return source;
  }
  if (source instanceof Uint8Array) {
    return new Blob([source]);
  }
  try {
    if (typeof source === "string" || source instanceof URL) {
      return new URL(source, globalThis.document?.baseURI ?? location.href);
    }
  } catch {
    // Not the address of anything.
  }
  const expected = "a URL, a Blob, a File, the handle of a file, a Uint8Array or a list of those";
  throw invalidArgument("source", expected, source);
}

function isFileHandle(source) {
  return typeof FileSystemFileHandle === "function" && source instanceof FileSystemFileHandle;
}

/** A URL beside a URL, and a file in the page's own file system beside another. Nothing is beside a `File`. */
async function neighbour(address, rename) {
  if (address instanceof URL) {
    const other = new URL(address);
    other.pathname = rename(address.pathname);
    return other;
  }
  return isFileHandle(address) ? handleBeside(address, rename(address.name)) : undefined;
}

/** Undefined for a file that the user picked: such a file does not say in which folder it is. */
async function handleBeside(handle, name) {
  let folder = await navigator.storage.getDirectory().catch(() => undefined);
  const path = await folder?.resolve(handle);
  if (!path) {
    return undefined;
  }
  for (const part of path.slice(0, -1)) {
    folder = await folder.getDirectoryHandle(part);
  }
  return folder.getFileHandle(name).catch((error) => refuse(error, name));
}

function fileOf(handle) {
  return handle.getFile().catch((error) => refuse(error, handle.name));
}

function refuse(error, name) {
  throw error.name === "NotFoundError"
    ? new GustError("not-found", name)
    : new GustError("io", `${name}: ${error.message}`);
}

function inBlob(blob) {
  return { source: { blob }, size: blob.size, filled: blob.size };
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
        const { name, size } = data.kept ?? {};
        resolve(data.kept && { source: { kept: name }, size, filled: size });
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

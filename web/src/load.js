// Loading: chooses the build of the engine and the number of threads, and loads the model.
//
// `loader` creates the `load` function of an environment (node.js, browser.js), which is passed as `host`:
//   address(source)                     a source in a form that the next three take, checked
//   nameOf(address)                     the file's name or path, if it has one
//   neighbour(address, rename)          the address (or a promise) of the file that is named `rename(name)` in the same
//                                       folder; undefined if nothing can be found there
//   find(address, {onProgress, signal}) what the workers open, and its size in bytes: { source, size }
//   compile(name)                       the core module with this name in dist/
//   worker()                            a worker: post, receive, lost, hold, release, end (which may return a promise)
//   processors()                        how many threads can run at the same time
//   sharesMemory()                      whether SharedArrayBuffer is available

import { Group } from "./group.js";
import { invalidArgument } from "./error.js";
import { build, engineModules } from "./engine.js";
import { filesOf } from "./files.js";
import { Model } from "./model.js";
import { LOAD_OPTIONS, check } from "./options.js";

/** Bytes of a model per thread. With fewer, waiting for each other costs the threads more than they save. */
const PER_THREAD = 1 << 23;
/** Bytes of a model file that an instance can hold: less than the addressable 4 GiB, because a context needs memory. */
const PER_INSTANCE = 3 * 2 ** 30;

export function loader(host) {
  return async function load(source, options = {}) {
    check("load options", options, LOAD_OPTIONS);
    const { signal, onProgress, scope, draft } = options;
    signal?.throwIfAborted();
    const chosen = build(options.build);
    const modules = engineModules(host, chosen);
    // This is awaited below; if finding the model fails first, a rejection here must not be unhandled.
    modules.catch(() => undefined);
    const found = await find(source, host, onProgress, signal);
    const foundDraft = draft === undefined ? undefined : await find(draft, host, undefined, signal);
    const total = found.size;
    const size = scope === undefined || scope === "full" ? threads(options.threads, total, host) : 1;
    const group = await Group.start({
      host,
      size,
      modules: await modules,
      sources: { model: found.source, ...(foundDraft && { draft: foundDraft.source }) },
      onRead: onProgress && ((read) => onProgress({ stage: "loading", done: Math.min(read, total), total })),
      signal,
    });
    const files = { model: found.source.files.length, draft: foundDraft?.source.files.length };
    return Model.load(group, { ...options, build: chosen, files });
  };
}

/** Finds all files of a source. */
async function find(source, host, onProgress, signal) {
  const addresses = await filesOf(source, host);
  const found = [];
  for (const [i, address] of addresses.entries()) {
    signal?.throwIfAborted();
    const of = addresses.length > 1 ? { file: i + 1, files: addresses.length } : {};
    const report = onProgress && ((progress) => onProgress({ ...progress, ...of }));
    found.push(await host.find(address, { onProgress: report, signal }));
  }
  return {
    source: { name: host.nameOf(addresses[0]), files: found.map(({ source }) => source) },
    size: found.reduce((sum, { size }) => sum + size, 0),
  };
}

/** The requested number, or the default for a file of `bytes` bytes. */
function threads(asked, bytes, host) {
  const most = host.sharesMemory() ? Infinity : 1;
  if (asked !== undefined) {
    if (asked === 0 || asked > most) {
      const expected =
        asked === 0 ? "at least 1" : "1, because this page is not cross-origin isolated (serve it with COOP and COEP)";
      throw invalidArgument("threads", expected, asked);
    }
    return asked;
  }
  const worthwhile = Math.floor(bytes / PER_THREAD);
  const needed = Math.ceil(bytes / PER_INSTANCE);
  return Math.min(most, Math.max(1, needed, Math.min(cores(host.processors()), worthwhile)));
}

/** A guess: nothing here tells whether two processors share a core. On large machines most do, on small ones not. */
function cores(processors) {
  return processors <= 4 ? processors : Math.ceil(processors / 2);
}

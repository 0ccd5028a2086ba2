// Loading: which build of the engine, how many threads, and the model that comes of it.
//
// `loader` makes the `load` of an environment (node.js, browser.js), which is given as `host`:
//   find(source, {onProgress, signal})  what workers open, and its size in bytes: { source, size }
//   compile(name)                       the core module of this name in dist/
//   worker()                            a worker: post, receive, lost, hold, release, end (which may give a promise)
//   processors()                        how many threads run at the same time
//   sharesMemory()                      whether there is SharedArrayBuffer

import { Ensemble } from "./ensemble.js";
import { invalidArgument } from "./error.js";
import { build, engineModules } from "./engine.js";
import { Model } from "./model.js";
import { LOAD_OPTIONS, check } from "./options.js";

/** Bytes of a model for each thread. With fewer, what the threads wait for each other costs more than they save. */
const PER_THREAD = 1 << 23;
/** Bytes of a model's file that an instance holds: less than the 4 GiB that it can address, because a context takes room. */
const PER_INSTANCE = 3 * 2 ** 30;

export function loader(host) {
  return async function load(source, options = {}) {
    check("load options", options, LOAD_OPTIONS);
    const { signal, onProgress, scope, draft } = options;
    signal?.throwIfAborted();
    const chosen = build(options.build);
    const modules = engineModules(host, chosen);
    // It is awaited below; until then, an error of finding the model must not make this one unhandled.
    modules.catch(() => undefined);
    const found = await host.find(source, { onProgress, signal });
    const foundDraft = draft === undefined ? undefined : await host.find(draft, { signal });
    const total = found.size;
    const size = scope === undefined || scope === "full" ? threads(options.threads, total, host) : 1;
    const ensemble = await Ensemble.start({
      host,
      size,
      modules: await modules,
      sources: { model: found.source, ...(foundDraft && { draft: foundDraft.source }) },
      onRead: onProgress && ((read) => onProgress({ stage: "loading", done: Math.min(read, total), total })),
      signal,
    });
    return Model.load(ensemble, { ...options, build: chosen });
  };
}

/** The number asked for, or the default for a file of `bytes` bytes. */
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

/** A guess: nothing here tells whether two processors share a core. Larger machines mostly have such, small ones not. */
function cores(processors) {
  return processors <= 4 ? processors : Math.ceil(processors / 2);
}

// Loading: chooses the build of the engine and the number of threads, and loads the model.
//
// `loader` creates the `load` function of an environment (node.js, browser.js), which is passed as `host`:
//   address(source)                     a source in a form that the next three take, checked
//   nameOf(address)                     the file's name or path, if it has one
//   neighbour(address, rename)          the address (or a promise) of the file that is named `rename(name)` in the same
//                                       folder; undefined if nothing can be found there
//   find(address, {onProgress, signal}) what the workers open, its size in bytes, and how much of that is no hole:
//                                       { source, size, filled }
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
/** More instances than this have no smaller shares of any model. */
const MOST = 256;
/**
 * How many threads can be asked for on any machine. More than there are processors only wait for each other, but some
 * browsers report fewer processors than there are.
 */
const ANYWHERE = 64;

export function loader(host) {
  return async function load(source, options = {}) {
    check("load options", options, LOAD_OPTIONS);
    const { signal, onProgress, scope, draft, tokenizer } = options;
    signal?.throwIfAborted();
    const chosen = build(options.build);
    const modules = engineModules(host, tokenizer === undefined ? "engine" : "tokenizers", chosen);
    // This is awaited below; if finding the model fails first, a rejection here must not be unhandled.
    modules.catch(() => undefined);
    const found = await find(source, host, onProgress, signal);
    const foundDraft = draft === undefined ? undefined : await find(draft, host, undefined, signal);
    const foundTokenizer = tokenizer === undefined ? undefined : await find(tokenizer, host, undefined, signal);
    const total = found.size;
    const most = mostThreads(found.filled, host);
    const asked = threads(options.threads, most, host);
    const isFull = scope === undefined || scope === "full";
    const size = isFull ? (asked ?? defaultThreads(found.filled, most, host)) : 1;
    let isLoaded = false;
    const onRead = (read) => isLoaded || onProgress?.({ stage: "loading", done: Math.min(read, total), total });
    const group = await Group.start({
      host,
      size,
      modules: await modules,
      sources: {
        model: found.source,
        ...(foundDraft && { draft: foundDraft.source }),
        ...(foundTokenizer && { tokenizer: foundTokenizer.source }),
      },
      onRead,
      signal,
    });
    const files = { model: found.source.files.length, draft: foundDraft?.source.files.length };
    const model = await Model.load(group, {
      ...options,
      build: chosen,
      files,
      findAdapter: (source) => findAdapter(source, host),
    });
    // What is read from now on is of adapters.
    isLoaded = true;
    return model;
  };
}

/** Finds the file of an adapter: what the workers open. */
async function findAdapter(source, host) {
  const { source: found } = await find(source, host);
  if (found.files.length > 1) {
    throw invalidArgument("source", "an adapter in one file", `${found.files.length} files`);
  }
  return found;
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
  const sum = (field) => found.reduce((total, file) => total + file[field], 0);
  return {
    source: { name: host.nameOf(addresses[0]), files: found.map(({ source }) => source) },
    size: sum("size"),
    filled: sum("filled"),
  };
}

/** The number asked for, if it is one that there can be. */
function threads(asked, most, host) {
  if (asked === 0 || asked > most) {
    throw invalidArgument("threads", asked === 0 ? "at least 1" : `at most ${most}: ${why(host)}`, asked);
  }
  return asked;
}

/** Why there are no more threads. */
function why(host) {
  return host.sharesMemory()
    ? `this machine reports ${host.processors()} processors`
    : "this page is not cross-origin isolated (serve it with COOP and COEP)";
}

/** The most for a file of `bytes` bytes. */
function mostThreads(bytes, host) {
  return host.sharesMemory() ? Math.max(ANYWHERE, host.processors(), needed(bytes)) : 1;
}

function defaultThreads(bytes, most, host) {
  const worthwhile = Math.floor(bytes / PER_THREAD);
  return Math.min(most, Math.max(1, needed(bytes), Math.min(cores(host.processors()), worthwhile)));
}

/** How many instances hold a file of `bytes` bytes. */
function needed(bytes) {
  return Math.min(MOST, Math.ceil(bytes / PER_INSTANCE));
}

/** A guess: nothing here tells whether two processors share a core. On large machines most do, on small ones not. */
function cores(processors) {
  return processors <= 4 ? processors : Math.ceil(processors / 2);
}

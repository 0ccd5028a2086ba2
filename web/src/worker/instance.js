// One running instance of the engine: the core modules that jco generated from the component, and their imports.

import { instantiate as plain } from "../../dist/engine.js";
import { collective } from "./collective.js";
import { wasi } from "./wasi.js";
import { weights } from "./weights.js";

const COLLECTIVE = "gust:llm/collective@0.1.0";

/**
 * Creates an instance. `modules` are the compiled core modules by jco's names, `models` are what `open` finds (see
 * weights.js), `member` is its place in the group, and `onRead` receives the number of bytes read.
 */
export async function instance({ modules, models, member, onRead }) {
  const { imports, lastWords } = wasi();
  let main;
  const core = (module, coreImports = {}) => {
    const isMain = COLLECTIVE in coreImports;
    const own = isMain ? { [COLLECTIVE]: collective(member, () => main) } : {};
    const { exports } = new WebAssembly.Instance(module, { ...unsignedImports(coreImports), ...own });
    if (isMain) {
      main = exports;
    }
    return { exports: unsignedExports(exports) };
  };
  // The larger engine is fetched where it is needed.
  const withTokenizers = "tokenizers.core.wasm" in modules;
  const { instantiate } = withTokenizers ? await import("../../dist/tokenizers.js") : { instantiate: plain };
  const { engine, chat, embedding, adapters, tokenizers } = await instantiate(
    (name) => modules[name],
    {
      ...imports,
      "gust:llm/weights": weights(models, () => main.memory, onRead),
      "gust:llm/collective": NEVER_CALLED,
    },
    core,
  );
  return { engine, chat, embedding, adapters, tokenizers, lastWords };
}

/** jco requires these. The engine uses others (collective.js). */
const NEVER_CALLED = { rank: unreachable, size: unreachable, allGather: unreachable, checkpoint: unreachable };

function unreachable() {
  throw new Error("the engine does not import `collective` under the name that this package expects");
}

// WebAssembly passes 32-bit numbers to JavaScript as signed. jco 1.35 does not convert them, so an address above 2 GiB
// is negative and gets rejected. All 32-bit parameters and results of the engine's functions are addresses, lengths,
// handles or cases, none of them signed, so they are made unsigned here, between jco's code and the core modules.

const unsigned = (value) => (typeof value === "number" ? value >>> 0 : value);

/** The originals of functions that were made unsigned: between two core modules no JavaScript is needed. */
const originals = new WeakMap();

function unsignedImports(imports) {
  const take = (call) => originals.get(call) ?? ((...args) => call(...args.map(unsigned)));
  return mapValues(imports, (functions) => mapFunctions(functions, take));
}

function unsignedExports(exports) {
  return mapFunctions(exports, (call) => {
    const give = (...args) => unsigned(call(...args));
    originals.set(give, call);
    return give;
  });
}

function mapFunctions(object, change) {
  return mapValues(object, (value) => (typeof value === "function" ? change(value) : value));
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));
}

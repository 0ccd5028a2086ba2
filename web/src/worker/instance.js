// One running instance of the engine: the core modules that jco made of the component, and what they import.

import { instantiate } from "../../dist/engine.js";
import { collective } from "./collective.js";
import { wasi } from "./wasi.js";
import { weights } from "./weights.js";

const COLLECTIVE = "gust:llm/collective@0.1.0";

/**
 * Makes an instance. `modules` are the compiled core modules by the names that jco gave them, `blobs` what `open` finds
 * (see weights.js), `member` its place in the group, `onRead` is told how many bytes were read.
 */
export async function instance({ modules, blobs, member, onRead }) {
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
  const { engine } = await instantiate(
    (name) => modules[name],
    {
      ...imports,
      "gust:llm/weights": weights(blobs, () => main.memory, onRead),
      "gust:llm/collective": NEVER_CALLED,
    },
    core,
  );
  return { engine, lastWords };
}

/** jco wants them. The engine has others (collective.js). */
const NEVER_CALLED = { rank: unreachable, size: unreachable, allGather: unreachable, checkpoint: unreachable };

function unreachable() {
  throw new Error("the engine does not take `collective` under the name that this package knows");
}

// WebAssembly hands 32-bit numbers to JavaScript as signed ones. jco 1.35 takes them as they come, so that an address
// above 2 GiB is negative and is refused. Everything that the engine's functions take and give is an address, a length,
// a handle or a case, none of them signed, and so they are made unsigned here, between jco's code and the core modules.

const unsigned = (value) => (typeof value === "number" ? value >>> 0 : value);

/** Of functions that give unsigned numbers, what they were before: between two core modules no JavaScript is needed. */
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

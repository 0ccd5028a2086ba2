// One running instance of the engine: the core modules that jco made of the component, and what they import.

import { instantiate } from "../../dist/engine.js";
import { wasi } from "./wasi.js";
import { weights } from "./weights.js";

/**
 * Makes an instance. `modules` are the compiled core modules by the names that jco gave them, `blobs` what `open` finds
 * (see weights.js), `collective` the member's place in its group, `onRead` is told how many bytes were read.
 */
export async function instance({ modules, blobs, collective, onRead }) {
  const { imports, lastWords } = wasi();
  let memory;
  const core = (module, coreImports) => {
    const made = new WebAssembly.Instance(module, unsignedImports(coreImports));
    memory ??= made.exports.memory;
    return { exports: unsignedExports(made.exports) };
  };
  const { engine } = await instantiate(
    (name) => modules[name],
    {
      ...imports,
      "gust:llm/weights": weights(blobs, () => memory, onRead),
      "gust:llm/collective": {
        rank: () => collective.rank(),
        size: () => collective.size(),
        allGather: (part) => collective.allGather(part),
        checkpoint: () => collective.checkpoint(),
      },
    },
    core,
  );
  return { engine, lastWords };
}

// WebAssembly hands 32-bit numbers to JavaScript as signed ones. jco 1.35 takes them as they come, so that an address
// above 2 GiB is negative and is refused. Everything that the engine's functions take and give is an address, a length,
// a handle or a case, none of them signed, and so they are made unsigned here, between jco's code and the core modules.

const unsigned = (value) => (typeof value === "number" ? value >>> 0 : value);

/** Of functions that give unsigned numbers, what they were before: between two core modules no JavaScript is needed. */
const originals = new WeakMap();

function unsignedImports(imports = {}) {
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

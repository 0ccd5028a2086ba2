// `npm run build`: creates `dist/` from the engines in `../target/engine` (`cargo xtask web` builds them): `engine` and, for
// models with a `tokenizer.json`, `tokenizers`, each in two builds.
//
// jco turns a component into core modules and JavaScript that implements the canonical ABI. Both builds have the same
// interface, so the same JavaScript works with both, and only the first core module differs.
//
// jco is used as a library, the one that its command is built on. Its dependency for files, which is not used here, is
// pinned to 0.2.0 (`overrides` in package.json): three packages of 0.3.2 were never published, and `npm ci` misses
// them.

import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { transpile } from "@bytecodealliance/jco-transpile";

const ENGINES = new URL("../target/engine/", import.meta.url);
const DIST = new URL("dist/", import.meta.url);

const engines = {
  ...(await both("engine", "gust-engine.wasm", "gust-engine-baseline.wasm")),
  ...(await both("tokenizers", "gust-engine-tokenizers.wasm", "gust-engine-tokenizers-baseline.wasm")),
};

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST, { recursive: true });
for (const [name, bytes] of Object.entries(engines)) {
  await writeFile(new URL(name, DIST), bytes);
  console.error(`dist/${name}: ${Math.ceil(bytes.length / 1024)} KiB`);
}

/** The files of an engine: the core modules of both builds, and the JavaScript that works with either. */
async function both(name, relaxedFile, baselineFile) {
  const relaxed = await transpiled(name, relaxedFile);
  const baseline = await transpiled(name, baselineFile);
  const files = {};
  for (const [file, bytes] of Object.entries(relaxed)) {
    if (!file.endsWith(`${name}.core.wasm`) && !same(bytes, baseline[file])) {
      throw new Error(`${file} differs between the two builds of the engine; rebuild both with: cargo xtask web`);
    }
    files[file] = bytes;
  }
  files[`${name}-baseline.core.wasm`] = baseline[`${name}.core.wasm`];
  files[`${name}.js`] = quiet(files[`${name}.js`]);
  return files;
}

async function transpiled(name, file) {
  const path = new URL(file, ENGINES);
  try {
    await readFile(path);
  } catch {
    throw new Error(`no engine at ${path.pathname}; build it first: cargo xtask web`);
  }
  const { files } = await transpile(path.pathname, {
    name,
    instantiation: "async",
    nodejsCompat: false,
    namespacedExports: false,
    emitTypescriptDeclarations: false,
    wasiShim: false,
    noComponentErrorWrapping: true,
    minify: true,
    base64Cutoff: 0,
  });
  return Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name.replace(/^.*\//, ""), bytes]));
}

function same(left, right) {
  return right !== undefined && Buffer.compare(left, right) === 0;
}

/** Removes a check of `process.env` from every call, which took a tenth of a small model's time in Node. */
function quiet(bytes) {
  const text = new TextDecoder().decode(bytes);
  const look = "globalThis?.process?.env?.JCO_DEBUG";
  if (!text.includes(look)) {
    throw new Error(`jco's code no longer has \`${look}\`; check whether this step of build.mjs is still needed`);
  }
  return new TextEncoder().encode(text.replaceAll(look, "false"));
}

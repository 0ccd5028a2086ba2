// `npm run build`: creates `dist/` from the two builds of the engine in `../target/engine` (`cargo xtask build`).
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

const relaxed = await transpiled("gust-engine.wasm");
const baseline = await transpiled("gust-engine-baseline.wasm");

const engines = {};
for (const [name, bytes] of Object.entries(relaxed)) {
  if (!name.endsWith("engine.core.wasm") && !same(bytes, baseline[name])) {
    throw new Error(`${name} differs between the two builds of the engine; rebuild both with: cargo xtask build`);
  }
  engines[name] = bytes;
}
engines["engine-baseline.core.wasm"] = baseline["engine.core.wasm"];
engines["engine.js"] = quiet(engines["engine.js"]);

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST, { recursive: true });
for (const [name, bytes] of Object.entries(engines)) {
  await writeFile(new URL(name, DIST), bytes);
  console.error(`dist/${name}: ${Math.ceil(bytes.length / 1024)} KiB`);
}

async function transpiled(file) {
  const path = new URL(file, ENGINES);
  try {
    await readFile(path);
  } catch {
    throw new Error(`no engine at ${path.pathname}; build it first: cargo xtask build`);
  }
  const { files } = await transpile(path.pathname, {
    name: "engine",
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

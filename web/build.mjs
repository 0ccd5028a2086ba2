// `npm run build`: makes `dist/` out of the two builds of the engine in `../target/engine` (`cargo xtask build`).
//
// jco turns a component into core modules and JavaScript that speaks the canonical ABI. Both builds have the same
// interface, so that one JavaScript serves both, and only the first core module differs.
//
// jco is here as the library that its command is made of. What it depends on for files, and does not use here, is held back
// to 0.2.0 (`overrides` in package.json): of 0.3.2, three packages were never published, and `npm ci` misses them.

import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { transpile } from "@bytecodealliance/jco-transpile";

const ENGINES = new URL("../target/engine/", import.meta.url);
const DIST = new URL("dist/", import.meta.url);

const relaxed = await transpiled("gust-engine.wasm");
const baseline = await transpiled("gust-engine-baseline.wasm");

const engines = {};
for (const [name, bytes] of Object.entries(relaxed)) {
  if (!name.endsWith("engine.core.wasm") && !same(bytes, baseline[name])) {
    throw new Error(`${name} differs between the two builds of the engine; build both again: cargo xtask build`);
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

/** Without a look at `process.env` in every call: that took a tenth of the time of a small model in Node. */
function quiet(bytes) {
  const text = new TextDecoder().decode(bytes);
  const look = "globalThis?.process?.env?.JCO_DEBUG";
  if (!text.includes(look)) {
    throw new Error(`jco's code no longer has \`${look}\`; see whether this step of build.mjs is still needed`);
  }
  return new TextEncoder().encode(text.replaceAll(look, "false"));
}

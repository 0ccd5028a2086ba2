// The engine's two builds, and its compiled modules.

import { GustError, invalidArgument } from "./error.js";

/** Modules with one function that uses relaxed-simd, and one that uses simd128. */
const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0];
// i16x8.relaxed_dot_i8x16_i7x16_s of two splats of 0.
const RELAXED = [10, 15, 1, 13, 0, 0x41, 0, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x92, 0x02, 0x0b];
// i8x16.splat of 0.
const SIMD = [10, 8, 1, 6, 0, 0x41, 0, 0xfd, 0x0f, 0x0b];

const runs = (body) => WebAssembly.validate(new Uint8Array([...HEADER, ...body]));

/** The requested build, `relaxed` or `baseline`, or the faster one that runs here. Both give the same tokens. */
export function build(asked) {
  if (!runs(SIMD)) {
    throw new GustError("unsupported", { subject: "this host", expected: "WebAssembly with SIMD", found: "no SIMD" });
  }
  if (asked === "relaxed" && !runs(RELAXED)) {
    throw invalidArgument("build", "baseline, because this host has no relaxed SIMD", asked);
  }
  return asked ?? (runs(RELAXED) ? "relaxed" : "baseline");
}

const compiled = {};

/**
 * The compiled modules of a build of `engine`, or of `tokenizers`, which is the engine for models with a `tokenizer.json`:
 * by jco's names. They are compiled once, however many models are loaded.
 */
export function engineModules(host, engine, build) {
  const key = `${engine}-${build}`;
  compiled[key] ??= compileAll(host, engine, build);
  // If compiling fails, perhaps because there is no network, the next call tries again.
  compiled[key].catch(() => delete compiled[key]);
  return compiled[key];
}

async function compileAll(host, engine, build) {
  const files = {
    [`${engine}.core.wasm`]: build === "relaxed" ? `${engine}.core.wasm` : `${engine}-baseline.core.wasm`,
    [`${engine}.core2.wasm`]: `${engine}.core2.wasm`,
    [`${engine}.core3.wasm`]: `${engine}.core3.wasm`,
  };
  const modules = Object.entries(files).map(async ([name, file]) => [name, await host.compile(file)]);
  return Object.fromEntries(await Promise.all(modules));
}

// What the tests share: the shipped model, and the command `gust`, which is what this package is compared with.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "gust-llm";

export const MODEL = fileURLToPath(new URL("../../models/gust-stories-q8_0.gguf", import.meta.url));
const GUST = process.env.GUST ?? fileURLToPath(new URL("../../target/release/gust", import.meta.url));

/** Has `gust` work with the shipped model, and gives the lines that it prints. `{ input }` may come first. */
export function gust(...args) {
  const options = typeof args[0] === "object" ? args.shift() : {};
  const { stdout, stderr, status, error } = spawnSync(GUST, args, { encoding: "utf8", maxBuffer: 1 << 26, ...options });
  if (error) {
    throw new Error(`${GUST} cannot be run (${error.code}); build it: cargo xtask build`);
  }
  if (status !== 0) {
    throw new Error(`gust ${args.join(" ")}: ${stderr}`);
  }
  return stdout.trimEnd().split("\n");
}

/** The tokens that `gust run` gives, as it prints them: `id`, `text`, and with `--logprobs` `logprob` and `top`. */
export function gustRun(...args) {
  return gust("run", "--json", "--quiet", ...args)
    .map((line) => JSON.parse(line))
    .filter((line) => "id" in line);
}

/** Loads a model, has `work` do something with it, and closes it. */
export async function withModel(options, work, source = MODEL) {
  const model = await load(source, options);
  try {
    return await work(model);
  } finally {
    await model.close();
  }
}

/** A session that has read a prompt. */
export async function begin(model, prompt, options = {}) {
  const session = await model.session();
  await session.configure(options);
  await session.feed(await model.tokenize(prompt));
  return session;
}

/** The numbers of the tokens that are left of an answer. */
export async function ids(session, options) {
  const found = [];
  for await (const { id } of session.tokens(options)) {
    found.push(id);
  }
  return found;
}

/** A folder for the time of a test. */
export async function inFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), "gust-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The first example in this language in the README. */
export function readmeExample(language) {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  return readme.match(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "s"))[1];
}

// Runs the shipped model in this Node, for the table that `cargo xtask hosts` prints, and writes one line of JSON.
//
//   node drivers/node.mjs [--threads N] [--model FILE]
//
// The table is of the shipped model. Another one is for measuring.

import { parseArgs } from "node:util";
import { load } from "gust-llm";
import { measure } from "./measure.js";

const { values } = parseArgs({ options: { threads: { type: "string" }, model: { type: "string" } } });
const threads = values.threads && Number(values.threads);
const source = values.model ?? new URL("../../models/gust-stories-q8_0.gguf", import.meta.url);

try {
  const model = await load(source, { threads });
  const measured = await measure(model);
  await model.close();
  console.log(JSON.stringify({ host: "Node", version: process.versions.node, ...measured }));
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}

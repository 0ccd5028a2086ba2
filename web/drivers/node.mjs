// Runs the shipped model in this Node, for the table that `cargo xtask hosts` prints, and writes one line of JSON.
//
//   node drivers/node.mjs [--threads N]
//
// The speed is the median of five answers after the first one, in which V8 still compiles.

import { parseArgs } from "node:util";
import { load } from "gust-llm";
import { measure } from "./measure.js";

const { values } = parseArgs({ options: { threads: { type: "string" } } });
const threads = values.threads && Number(values.threads);
const shipped = new URL("../../models/gust-stories-q8_0.gguf", import.meta.url);

const model = await load(shipped, { threads });
const { tokens, first, speed } = await measure(model);
const notes = `${model.threads} worker${model.threads === 1 ? "" : "s"}; first answer ${first.toFixed(0)} tokens/s`;
console.log(
  JSON.stringify({
    host: "Node",
    version: process.versions.node,
    build: model.build,
    tokens,
    tokens_per_second: speed,
    notes,
  }),
);
await model.close();

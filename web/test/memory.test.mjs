// Addresses above 2 GiB: jco 1.35 alone takes them for negative numbers, and fails.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { ALONE } from "../src/meeting.js";
import { build } from "../src/engine.js";
import { instance } from "../src/worker/instance.js";
import { bytesBlob } from "../src/worker/bytes.js";
import { lora } from "./gguf.mjs";
import { MODEL, gust, gustRun, inFolder } from "./helpers.mjs";

test("the engine works with what lies above 2 GiB", async () => {
  const dist = (file) => new WebAssembly.Module(readFileSync(new URL(`../dist/${file}`, import.meta.url)));
  const memories = [];
  const { Instance } = WebAssembly;
  WebAssembly.Instance = class extends Instance {
    constructor(module, imports) {
      super(module, imports);
      memories.push(this.exports.memory);
    }
  };
  const highest = { address: 0 };
  const file = readFileSync(MODEL);
  const adapterFile = lora(file, { architecture: "llama", seed: 1 });
  const blob = bytesBlob(file);
  const watched = {
    size: blob.size,
    read(target, offset) {
      highest.address = Math.max(highest.address, target.byteOffset);
      return blob.read(target, offset);
    },
  };
  const { engine, embedding, adapters } = await instance({
    modules: {
      "engine.core.wasm": dist(build() === "relaxed" ? "engine.core.wasm" : "engine-baseline.core.wasm"),
      "engine.core2.wasm": dist("engine.core2.wasm"),
      "engine.core3.wasm": dist("engine.core3.wasm"),
    },
    models: { model: { files: [watched] }, adapter: { files: [bytesBlob(adapterFile)] } },
    member: ALONE,
    onRead: () => undefined,
  }).finally(() => (WebAssembly.Instance = Instance));

  // The allocator takes what it needs behind what there is. Pages that nobody touches cost nothing.
  const memory = memories.find((memory) => memory !== undefined);
  memory.grow((2.25 * 2 ** 30) / 65536);

  const model = engine.loadModel("model", {});
  assert.ok(highest.address > 2 ** 31, `weights at ${highest.address}`);
  const session = model.newSession({});
  session.configure({ seed: 42n, maxTokens: 20, stop: ["nowhere"], logprobs: 2 });
  const tokens = model.tokenize("Once upon a time", {});
  assert.deepEqual(Array.from(tokens), [1, 452, 451, 264, 381]);
  session.feed(tokens);
  const ids = [];
  for (let event = session.nextToken(); event.tag === "token"; event = session.nextToken()) {
    ids.push(event.val.id);
  }
  assert.deepEqual(
    ids,
    gustRun("--seed", "42", "-n", "20", "Once upon a time").map(({ id }) => id),
  );
  const [embedded] = gust("embed", "--json", "--normalize", "none", "--pooling", "mean", "Once upon a time");
  const vector = embedding.embed(model, tokens, { pooling: "mean" });
  assert.deepEqual(vector, Float32Array.from(JSON.parse(embedded).embedding));
  assert.deepEqual(embedding.info(model), { pooling: "none", embedsOnly: false, labels: [] });
  assert.equal(model.info().name, "gust-stories");
  assert.throws(() => engine.loadModel("other", {}), { tag: "not-found", val: "other" });
  assert.throws(() => session.truncate(500), { tag: "invalid-argument" });
  const copy = session.fork();
  copy.restore(session.save());
  assert.deepEqual(copy.logits(), session.logits());

  copy.truncate(0);
  adapters.attach(copy, [[adapters.load("adapter", model), -0.5]]);
  copy.feed(tokens);
  const adapted = await inFolder((folder) => {
    const path = join(folder, "lora.gguf");
    writeFileSync(path, adapterFile);
    return JSON.parse(gust("logits", "--json", "--lora", `${path}:-0.5`, "--tokens", tokens.join())[0]).logits;
  });
  assert.deepEqual(copy.logits(), Float32Array.from(adapted));
});

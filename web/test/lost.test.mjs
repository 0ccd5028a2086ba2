// Workers that are gone: an error for who called, and nobody who waits for them.

import assert from "node:assert/strict";
import test from "node:test";
import { Worker } from "node:worker_threads";
import { load } from "gust-llm";
import { MODEL, begin, ids } from "./helpers.mjs";

/** Loads the model with two workers, and gives those too, the lead first. */
async function loaded() {
  const workers = new Set();
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (...message) {
    workers.add(this);
    return postMessage.apply(this, message);
  };
  try {
    return { model: await load(MODEL, { threads: 2 }), workers: [...workers] };
  } finally {
    Worker.prototype.postMessage = postMessage;
  }
}

for (const rank of [0, 1]) {
  test(`worker ${rank} ends in the middle of a call`, async () => {
    const { model, workers } = await loaded();
    const session = await begin(model, "Tom");
    const feeding = session.feed(Array(400).fill(5));
    setTimeout(() => workers[rank].terminate(), 5);
    await assert.rejects(feeding, { code: "lost" });
    await assert.rejects(session.nextEvent(), { code: "lost" });
    await assert.rejects(model.tokenize("x"), { code: "lost" });
    await model.close();
  });

  test(`worker ${rank} ends between two calls`, async () => {
    const { model, workers } = await loaded();
    const session = await begin(model, "Tom", { maxTokens: 3 });
    assert.equal((await ids(session)).length, 3);
    await workers[rank].terminate();
    await assert.rejects(session.feed([5]), { code: "lost", message: /its worker ended/ });
    await model.close();
  });
}

// Adapters: attached, scaled and detached in one session, with the logits that the command gives, to the last bit.

import assert from "node:assert/strict";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";
import { lora, names, split } from "./gguf.mjs";
import { MODEL, gust, ids, inFolder, withModel } from "./helpers.mjs";

/** "Once upon a time". */
const TOKENS = [1, 452, 451, 264, 381];
const model = readFileSync(MODEL);
const files = [1, 2].map((seed) => lora(model, { architecture: "llama", seed }));
/** The numbers and scales of the adapters that a session has. */
const SETS = [[], [[0, 1]], [[0, -0.5]], [[1, 1]], [[0, 0.5], [1, 2]], [[1, 2], [0, 0.5]]];

/** The command's logits after the prompt for each set. */
const expected = inFolder((folder) => {
  const paths = files.map((file, i) => {
    const path = join(folder, `${i}.gguf`);
    writeFileSync(path, file);
    return path;
  });
  return SETS.map((set) => {
    const args = set.flatMap(([i, scale]) => ["--lora", `${paths[i]}:${scale}`]);
    const [line] = gust("logits", "--json", "--tokens", TOKENS.join(), ...args);
    return Float32Array.from(JSON.parse(line).logits);
  });
});

/** A session that has read the prompt. */
async function begin(model, options = {}) {
  const session = await model.session();
  await session.configure(options);
  await session.feed(TOKENS);
  return session;
}

const scaled = (adapters, set) => set.map(([i, scale]) => ({ adapter: adapters[i], scale }));

for (const threads of [1, 3]) {
  test(`a session takes and leaves adapters, ${threads} threads`, async () => {
    const logits = await expected;
    assert.equal(new Set(logits.map((one) => one.join())).size, SETS.length, "each set makes a difference");
    await withModel({ threads }, async (model) => {
      const adapters = [await model.loadAdapter(files[0]), await model.loadAdapter(files[1])];
      const [session, other] = [await begin(model), await begin(model)];
      for (const i of [4, 0, 2, 1, 5, 3, 0]) {
        await session.setAdapters(scaled(adapters, SETS[i]));
        assert.deepEqual(await session.logits(), logits[i], `set ${i}`);
        assert.deepEqual(await other.logits(), logits[0], "another session has none");
      }
      // The default is 1. With 0, it is as if it were not there.
      await session.setAdapters([{ adapter: adapters[0] }, { adapter: adapters[1], scale: 0 }]);
      assert.deepEqual(await session.logits(), logits[1]);
      // A session and its copy keep what they need.
      const copy = await session.fork();
      await Promise.all(adapters.map((adapter) => adapter.close()));
      await copy.truncate(1);
      await copy.feed(TOKENS.slice(1));
      assert.deepEqual(await copy.logits(), logits[1]);
      await assert.rejects(copy.setAdapters([{ adapter: adapters[0] }]), { code: "closed" });
    });
  });
}

test("an adapter names what it does without", async () => {
  const norms = ["output_norm.weight", "blk.0.attn_norm.weight"];
  await withModel({ threads: 2 }, async (model) => {
    assert.deepEqual((await model.loadAdapter(files[0])).leftOut, []);
    const adapter = await model.loadAdapter(lora(readFileSync(MODEL), { architecture: "llama", seed: 1, norms }));
    assert.deepEqual(adapter.leftOut, norms);
  });
});

test("a new answer begins with other adapters", async () => {
  await withModel({}, async (model) => {
    const session = await begin(model, { maxTokens: 4, temperature: 0 });
    const plain = await ids(session);
    assert.equal(session.finishReason, "length");
    const adapter = await model.loadAdapter(files[0]);
    await session.setAdapters([{ adapter }]);
    assert.equal(session.finishReason, undefined);
    assert.equal((await ids(session)).length, 4);
    await session.setAdapters([]);
    await session.truncate(TOKENS.length);
    assert.deepEqual(await ids(session), plain);
  });
});

test("a saved state restores only with the same adapters and scales", async () => {
  const [plain, state] = await withModel({}, async (model) => {
    const session = await begin(model);
    const plain = await session.save();
    await session.setAdapters([{ adapter: await model.loadAdapter(files[0]), scale: 0.5 }]);
    return [plain, await session.save()];
  });
  await withModel({ threads: 2 }, async (model) => {
    const [same, other] = [await model.loadAdapter(files[0]), await model.loadAdapter(files[1])];
    const session = await model.session();
    const refused = { code: "invalid-argument", message: /other adapters/ };
    for (const set of [[], [{ adapter: same }], [{ adapter: other, scale: 0.5 }]]) {
      await session.setAdapters(set);
      await assert.rejects(session.restore(state), refused);
    }
    await assert.rejects(session.restore(plain), refused);
    await session.setAdapters([{ adapter: same, scale: 0.5 }]);
    await session.restore(state);
    const before = await session.logits();
    await session.setAdapters([]);
    await session.setAdapters([{ adapter: same, scale: 0.5 }]);
    assert.deepEqual(await session.logits(), before);
  });
});

for (const threads of [1, 3]) {
  test(`what is refused changes nothing, ${threads} threads`, async () => {
    const logits = await expected;
    await withModel({ threads }, async (model) => {
      const session = await begin(model);
      const [good] = files;
      const wrong = Buffer.from(good);
      // The end of the last row of the last matrix, which only one worker keeps.
      wrong.fill(0xff, wrong.length - 32);
      const foreign = lora(readFileSync(MODEL), { architecture: "gemma3", seed: 1 });
      for (const [source, code, message] of [
        [wrong, "invalid-model", /finite numbers/],
        [good.subarray(0, good.length - 64), "invalid-model", /cut short/],
        [Buffer.from("GGUF"), "invalid-model", /end of the file/],
        [MODEL, "unsupported", /general\.type/],
        [foreign, "invalid-argument", /gemma3/],
        ["/no/such/adapter.gguf", "not-found", /adapter\.gguf/],
        ["https://example.org/adapter.gguf", "invalid-argument", /source/],
        [[good, good], "invalid-argument", /an adapter in one file, found 2 files/],
        [undefined, "invalid-argument", /source/],
      ]) {
        await assert.rejects(model.loadAdapter(source), { code, message });
      }
      await assert.rejects(model.loadAdapter(good, { scale: 1 }), { code: "invalid-argument" });
      await assert.rejects(model.loadAdapter(good, { signal: AbortSignal.abort() }), { name: "AbortError" });
      const adapter = await model.loadAdapter(good);
      for (const adapters of [undefined, { adapter }, [adapter], [{ scale: 1 }], [{ adapter, scale: "1" }], [null]]) {
        await assert.rejects(session.setAdapters(adapters), { code: "invalid-argument" });
      }
      for (const scale of [NaN, Infinity, 1e99]) {
        const set = session.setAdapters([{ adapter, scale }]);
        await assert.rejects(set, { code: "invalid-argument", message: /finite/ });
      }
      await withModel({ scope: "vocabulary" }, async (other) => {
        await assert.rejects(other.loadAdapter(good), { code: "invalid-argument" });
      });
      await withModel({}, async (other) => {
        const foreign = await other.loadAdapter(good);
        const set = session.setAdapters([{ adapter: foreign }]);
        await assert.rejects(set, { code: "invalid-argument", message: /another model/ });
      });
      assert.deepEqual(await session.logits(), logits[0]);
      await session.setAdapters([{ adapter }]);
      assert.deepEqual(await session.logits(), logits[1]);
    });
  });
}

test("an adapter is a path, a URL or bytes, and its file is closed again", async () => {
  const logits = await expected;
  await inFolder(async (folder) => {
    const path = join(folder, "lora.gguf");
    writeFileSync(path, files[0]);
    const stages = [];
    await withModel({ onProgress: ({ stage }) => stages.push(stage) }, async (model) => {
      stages.length = 0;
      const openFiles = () => (process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0);
      const before = openFiles();
      for (const source of [path, pathToFileURL(path), new Uint8Array(files[0])]) {
        const session = await begin(model);
        await session.setAdapters([{ adapter: await model.loadAdapter(source) }]);
        assert.deepEqual(await session.logits(), logits[1]);
      }
      assert.equal(openFiles(), before);
      assert.deepEqual(stages, [], "the model is loaded, so nothing is reported about it");
    });
    // In several files, as llama.cpp's `gguf-split` writes models: the others are found, and are too many.
    split(files[0], 2).forEach((bytes, i) => writeFileSync(join(folder, names(2)[i]), bytes));
    await withModel({}, async (model) => {
      const first = model.loadAdapter(join(folder, names(2)[0]));
      await assert.rejects(first, { code: "invalid-argument", message: /one file/ });
    });
  });
});

test("what is closed while a call waits is there for that call", async () => {
  const logits = await expected;
  await withModel({ threads: 2 }, async (model) => {
    const adapter = await model.loadAdapter(files[0]);
    const session = await begin(model);
    const attached = session.setAdapters([{ adapter }]);
    adapter.close();
    await attached;
    const computed = session.logits();
    session.close();
    assert.deepEqual(await computed, logits[1]);
    await assert.rejects(session.logits(), { code: "closed" });
  });
});

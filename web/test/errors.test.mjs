// What goes wrong is an error that a program can act on, and never a program that hangs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { GustError, load } from "gust-llm";
import { MODEL, begin, ids, inFolder, withModel } from "./helpers.mjs";

const bytes = readFileSync(MODEL);
const cwd = fileURLToPath(new URL("..", import.meta.url));

for (const threads of [1, 2]) {
  test(`bytes that are no model, ${threads} threads`, async () => {
    const cases = [
      ["nothing", new Uint8Array()],
      ["no GGUF", new TextEncoder().encode("<!doctype html>".repeat(99))],
      ["a header alone", bytes.subarray(0, 24)],
      ["cut in the metadata", bytes.subarray(0, 9999)],
      ["cut in the weights", bytes.subarray(0, bytes.length - 1)],
    ];
    await inFolder(async (folder) => {
      for (const [name, content] of cases) {
        const path = join(folder, "model.gguf");
        writeFileSync(path, content);
        for (const source of [path, content]) {
          await assert.rejects(load(source, { threads }), (error) => {
            assert.ok(error instanceof GustError);
            assert.equal(error.code, "invalid-model", `${name}: ${error.message}`);
            assert.match(error.message, /^invalid model: .+: expected .+, found .+/);
            assert.ok(error.hint.includes("cut short"));
            return true;
          });
        }
      }
    });
  });

  test(`what a session refuses leaves it as it was, ${threads} threads`, async () => {
    await withModel({ threads }, async (model) => {
      const options = { seed: 1, maxTokens: 20 };
      const whole = await ids(await begin(model, "Tom", options));
      const session = await begin(model, "Tom", options);
      await assert.rejects(session.feed(Array(600).fill(5)), { code: "prompt-too-long" });
      await assert.rejects(session.feed([4_000_000]), { code: "invalid-argument" });
      await assert.rejects(session.truncate(400), { code: "invalid-argument" });
      await assert.rejects(session.configure({ ...options, topP: 2 }), { code: "invalid-argument" });
      assert.deepEqual(await ids(session), whole);
    });
  });

  test(`a full context, ${threads} threads`, async () => {
    await withModel({ threads }, async (model) => {
      const session = await model.session({ contextLength: 8 });
      await session.configure({ ignoreEnd: true });
      await session.feed([1, 452, 451, 264]);
      await assert.rejects(ids(session), { code: "context-full", detail: 8 });
      await session.truncate(4);
      await session.configure({ maxTokens: 2, ignoreEnd: true });
      assert.equal((await ids(session)).length, 2);
    });
  });

  test(`a file that is cut short between being found and being read, ${threads} threads`, async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "model.gguf");
      writeFileSync(path, bytes);
      const onProgress = () => writeFileSync(path, bytes.subarray(0, 100_000));
      // Whether it is seen depends on who is faster; what counts is that it ends, and as what it ends.
      await load(path, { threads, onProgress }).then(
        (model) => model.close(),
        (error) => assert.ok(["io", "invalid-model"].includes(error.code), error.message),
      );
    });
  });

  test(`a model that is closed in the middle of a call, ${threads} threads`, async () => {
    const model = await load(MODEL, { threads });
    const session = await begin(model, "Tom");
    const pending = ids(session);
    setTimeout(() => model.close(), 3);
    await assert.rejects(pending, { code: "closed" });
    await assert.rejects(session.nextEvent(), { code: "closed" });
    await assert.rejects(model.tokenize("x"), { code: "closed" });
  });
}

test("a model that is not there", async () => {
  await assert.rejects(load("/no/such/model.gguf"), {
    code: "not-found",
    message: "no model at `/no/such/model.gguf`",
  });
  await assert.rejects(load(new URL("file:///no/such/model.gguf")), { code: "not-found" });
  await assert.rejects(load(new URL(".", import.meta.url)), { code: "io" });
  await assert.rejects(load("https://example.org/model.gguf"), { code: "invalid-argument" });
  await assert.rejects(load(undefined), { code: "invalid-argument" });
});

test("options with a misspelt name or a value that is none are refused", async () => {
  const wrong = { code: "invalid-argument" };
  await assert.rejects(load(MODEL, { thread: 2 }), {
    ...wrong,
    message: /expected one of scope, threads.*, found thread$/,
  });
  await assert.rejects(load(MODEL, { threads: 0 }), wrong);
  await assert.rejects(load(MODEL, { build: "fast" }), wrong);
  await withModel({}, async (model) => {
    await assert.rejects(model.session({ contextLength: 0 }), wrong);
    await assert.rejects(model.session({ contextLength: 513 }), wrong);
    await assert.rejects(model.session({ context: 64 }), wrong);
    await assert.rejects(model.tokenize(5), wrong);
    const session = await model.session();
    for (const options of [
      { max_tokens: 5 },
      { maxTokens: -1 },
      { maxTokens: 1.5 },
      { temperature: "0" },
      { stop: "x" },
      { seed: -1 },
    ]) {
      await assert.rejects(session.configure(options), wrong, JSON.stringify(options));
    }
    await assert.rejects(session.configure({ temperature: -1 }), wrong);
    await assert.rejects(session.feed([1.5]), wrong);
    await assert.rejects(session.feed("text"), wrong);
    await assert.rejects(session.nextEvent(), wrong);
    await session.close();
    await assert.rejects(session.feed([1]), { code: "closed" });
  });
});

test("more threads than there can be are refused, and the most are said", async () => {
  const refused = (expected) => ({ code: "invalid-argument", message: new RegExp(`threads: expected ${expected}`) });
  const most = Math.max(64, availableParallelism());
  const limit = refused(`at most ${most}: this machine reports ${availableParallelism()} processors, found`);
  for (const scope of ["full", "metadata"]) {
    for (const threads of [most + 1, 1000, 2 ** 32 - 1]) {
      await assert.rejects(load(MODEL, { threads, scope }), limit);
    }
    await assert.rejects(load(MODEL, { threads: 0, scope }), refused("at least 1, found 0"));
  }
  // A file that claims a size: its holes call for no workers.
  await inFolder(async (folder) => {
    const path = join(folder, "model.gguf");
    writeFileSync(path, bytes);
    truncateSync(path, 2 ** 42);
    await withModel({}, (model) => assert.ok(model.threads <= availableParallelism(), `${model.threads}`), path);
  });
});

// Elsewhere the address space of a process cannot be limited.
const isLinux = process.platform === "linux";

test("workers that find no room are an error that says what to do", { skip: !isLinux }, () => {
  // Each worker reserves at least 4 GiB of address space.
  const program = `import { load } from "gust-llm";
    await load(${JSON.stringify(MODEL)}, { threads: 16 }).catch(({ code, hint }) => console.log(code + ": " + hint));`;
  const limited = ["-c", 'ulimit -v 30000000; exec "$0" --input-type=module -e "$1"', process.execPath, program];
  const { stdout, stderr, signal } = spawnSync("sh", limited, { encoding: "utf8", timeout: 30_000, cwd });
  assert.equal(signal, null);
  assert.match(stdout, /^lost: use fewer threads/, stderr);
});

test("loading can be aborted", async () => {
  const reason = new Error("enough");
  const controller = new AbortController();
  const onProgress = () => controller.abort(reason);
  await assert.rejects(load(MODEL, { onProgress, signal: controller.signal }), reason);
});

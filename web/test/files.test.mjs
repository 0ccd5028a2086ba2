// Models in several files: found by the first one's name or given as a list, and each of them checked.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";
import { load } from "gust-llm";
import { names, split } from "./gguf.mjs";
import { MODEL, begin, gustRun, ids, inFolder, withModel } from "./helpers.mjs";

const PROMPT = "Once upon a time";
const whole = readFileSync(MODEL);
const reference = gustRun("--seed", "42", "-n", "20", PROMPT).map(({ id }) => id);

/** A folder with the model in `count` files, and their paths. */
function inFiles(count, work) {
  return inFolder((folder) => {
    const paths = names(count).map((name) => join(folder, name));
    split(whole, count).forEach((part, i) => writeFileSync(paths[i], part));
    return work(paths, folder);
  });
}

const answer = async (source, options) =>
  withModel(options, async (model) => ids(await begin(model, PROMPT, { seed: 42, maxTokens: 20 })), source);

for (const threads of [1, 2, 3]) {
  test(`the first of several files, or a list in any order, is the whole model, ${threads} threads`, async () => {
    for (const count of [2, 3, 5]) {
      await inFiles(count, async (paths) => {
        const parts = paths.map((path) => readFileSync(path));
        const sources = [paths[0], pathToFileURL(paths[0]), paths, paths.toReversed(), parts];
        for (const source of [...sources, [pathToFileURL(paths[0]), ...paths.slice(1)]]) {
          assert.deepEqual(await answer(source, { threads }), reference, `${count} files: ${source}`);
        }
      });
    }
  });

  test(`a file that is missing is named, ${threads} threads`, async () => {
    await inFiles(3, async ([first, second, third]) => {
      const parts = [first, second, third].map((path) => readFileSync(path));
      const named = (name) => ({ code: "not-found", message: `no model at \`${name}\``, hint: /all of them/ });
      // In a list, and where a list of one is that file alone.
      await assert.rejects(load([first, third], { threads }), named(second));
      await assert.rejects(load([third, second], { threads }), named(first));
      await assert.rejects(load([first], { threads }), named(second));
      await assert.rejects(load([parts[0]], { threads }), named("model-00002-of-00003"));
      await assert.rejects(load(parts.slice(0, 2), { threads }), named("model-00003-of-00003"));
      await assert.rejects(load(MODEL, { threads, draft: parts.slice(0, 1) }), named("draft-00002-of-00003"));
      await inFolder(async (empty) => {
        const alone = join(empty, "x-00001-of-00003.gguf");
        writeFileSync(alone, parts[0]);
        await assert.rejects(load(alone, { threads }), named(join(empty, "x-00002-of-00003.gguf")));
      });
    });
  });

  test(`files that do not belong together are refused, ${threads} threads`, async () => {
    await inFiles(3, async (paths, folder) => {
      const [first, second, third] = paths.map((path) => readFileSync(path));
      const invalid = (message) => ({ code: "invalid-model", message });
      await assert.rejects(load([first, third, second], { threads }), invalid(/split\.no = 1 .*found 2 and 3/));
      await assert.rejects(load([first, second, whole], { threads }), invalid(/split\.no = 2 .*found none and none/));
      await assert.rejects(load([second, first, third], { threads }), invalid(/load the one that ends with -00001-of/));
      await assert.rejects(load(paths[1], { threads }), invalid(/load the one that ends with -00001-of-00003/));
      await assert.rejects(
        load([first, second, third.subarray(0, third.length - 40)], { threads }),
        invalid(/cut short/),
      );
      truncateSync(paths[2], third.length - 40);
      await assert.rejects(load(paths[0], { threads }), invalid(/cut short/));

      const wrong = (message) => ({ code: "invalid-argument", message });
      await assert.rejects(load([whole, second], { threads }), wrong(/as the first one says \(1\), found 2$/));
      await assert.rejects(load([first, second, third, third], { threads }), wrong(/first one says \(3\), found 4$/));
      const other = join(folder, "y-00002-of-00003.gguf");
      await assert.rejects(
        load([paths[0], other, paths[2]], { threads }),
        wrong(/files of one model.*found .*y-00002/),
      );
      await assert.rejects(load([paths[0], paths[1], paths[1]], { threads }), wrong(/each file once, found .* twice$/));
    });
  });
}

test("a list holds files", async () => {
  const wrong = { code: "invalid-argument" };
  await assert.rejects(load([]), wrong);
  await assert.rejects(load([5]), wrong);
  await assert.rejects(load([[MODEL]]), wrong);
  assert.deepEqual(await answer([MODEL]), reference);
});

test("only the files after the first are looked for, and only in its folder", async () => {
  await inFiles(2, async ([first, second], folder) => {
    // A model whose name only looks as if there were more.
    const plain = join(folder, "x-1-of-2.gguf");
    writeFileSync(plain, whole);
    assert.deepEqual(await answer(plain), reference);
    // A name with the number of another folder.
    const inner = join(folder, "y-00001-of-00002");
    mkdirSync(inner);
    writeFileSync(join(inner, "model.gguf"), whole);
    assert.deepEqual(await answer(join(inner, "model.gguf")), reference);
    // A name without an extension.
    const [bare, ...others] = [first, second].map((path) => path.replace(".gguf", ""));
    writeFileSync(bare, readFileSync(first));
    writeFileSync(others[0], readFileSync(second));
    assert.deepEqual(await answer(bare), reference);
    // A file is needed, not anything with its name.
    await inFolder(async (elsewhere) => {
      const alone = join(elsewhere, "x-00001-of-00002.gguf");
      writeFileSync(alone, readFileSync(first));
      mkdirSync(join(elsewhere, "x-00002-of-00002.gguf"));
      await assert.rejects(load(alone), { code: "io", message: /x-00002-of-00002.gguf is not a file/ });
    });
  });
});

test("a draft model may be in several files, and progress counts all of them", async () => {
  await inFiles(3, async ([first]) => {
    const steps = [];
    const options = { draft: first, threads: 2, onProgress: (step) => steps.push(step) };
    assert.deepEqual(await answer(first, options), reference);
    const { done, total } = steps.at(-1);
    const size = split(whole, 3).reduce((sum, part) => sum + part.length, 0);
    assert.equal(total, size);
    assert.ok(steps.every((step, i) => step.stage === "loading" && step.done >= (steps[i - 1]?.done ?? 0)));
    assert.ok(done > 0.9 * size, `${done} of ${size}`);
  });
});

test("what a model in several files says of itself is what the whole says", async () => {
  await inFiles(3, async ([first]) => {
    const said = async (model) => [model.info, (await model.tensors()).map(({ name }) => name)];
    const about = (source) => withModel({ scope: "metadata" }, said, source);
    assert.deepEqual(await about(first), await about(MODEL));
  });
});

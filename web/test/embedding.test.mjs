// Texts as vectors: what `gust embed` and `gust rerank` give for the same model and texts, to the last bit.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { encoder } from "./gguf.mjs";
import { gust, inFolder, withModel } from "./helpers.mjs";

const TEXTS = ["a cat", "The quick brown fox jumps over the lazy dog, which does not mind at all.", "five!"];
const DOCUMENTS = Array.from({ length: 7 }, (_, i) => `document ${i * i}`);
const bert = encoder();
const reranker = encoder({ ranks: true });

/** What the command prints of each text. */
function embedded(file, ...args) {
  return inFolder((folder) => {
    const path = join(folder, "tiny.gguf");
    writeFileSync(path, file);
    return TEXTS.map((text) => {
      const { embedding } = JSON.parse(gust("embed", "-m", path, "--json", ...args, text)[0]);
      return Float32Array.from(embedding);
    });
  });
}

const length = (vector) => Math.hypot(...vector);

for (const threads of [1, 2, 3]) {
  test(`vectors are the command's, ${threads} threads`, async () => {
    const cases = [
      [{}, []],
      [{ normalize: false }, ["--normalize", "none"]],
      [{ pooling: "none" }, ["--pooling", "none"]],
      [{ pooling: "cls" }, ["--pooling", "cls"]],
      [{ pooling: "last", normalize: false }, ["--pooling", "last", "--normalize", "none"]],
    ];
    await withModel(
      { threads },
      async (model) => {
        assert.deepEqual(await model.embeddingInfo(), { pooling: "mean", embedsOnly: true, labels: [] });
        const seen = new Set();
        for (const [options, args] of cases) {
          const vectors = await model.embed(TEXTS, options);
          assert.deepEqual(vectors, await embedded(bert, ...args), args.join(" "));
          seen.add(vectors.join());
        }
        assert.equal(seen.size, cases.length, "the options make a difference");
      },
      bert,
    );
    await withModel(
      { threads },
      async (model) => assert.deepEqual(await model.embed(TEXTS), await embedded(reranker)),
      reranker,
    );
  });

  test(`an embedding that was aborted leaves the model usable, ${threads} threads`, async () => {
    // The shipped model takes long enough for a text.
    await withModel({ threads }, async (model) => {
      const tokens = Uint32Array.from({ length: 512 }, (_, i) => 300 + i);
      const whole = await model.embed(tokens);
      assert.equal(whole.length, model.info.embeddingLength);
      for (const delay of [0, 2, 5]) {
        const controller = new AbortController();
        const reason = new Error("enough");
        const progress = [];
        const onProgress = ({ done, total }) => progress.push(`${done}/${total}`);
        const call = model.embed(Array(50).fill(tokens), { signal: controller.signal, onProgress });
        setTimeout(() => controller.abort(reason), delay);
        await assert.rejects(call, reason);
        assert.ok(progress.length < 50, `${progress.length} texts`);
      }
      assert.deepEqual(await model.embed(tokens), whole);
      const signal = AbortSignal.abort();
      await assert.rejects(model.embed("a cat", { signal }), { name: "AbortError" });
    });
  });

  test(`documents are sorted as the command sorts them, ${threads} threads`, async () => {
    const query = "a query";
    await withModel(
      { threads },
      async (model) => {
        const progress = [];
        const onProgress = ({ done, total }) => progress.push(`${done}/${total}`);
        const ranked = await model.rerank(query, DOCUMENTS, { onProgress });
        assert.deepEqual(
          progress,
          DOCUMENTS.map((_, i) => `${i + 1}/7`),
        );
        assert.deepEqual(ranked.map(({ index }) => index).sort(), [0, 1, 2, 3, 4, 5, 6]);
        const pairs = await Promise.all(DOCUMENTS.map((document) => model.tokenizePair(query, document)));
        const scores = (await model.embed(pairs)).map(([score]) => score);
        const expected = scores.map((score, index) => ({ index, score, document: DOCUMENTS[index] }));
        assert.deepEqual(
          ranked,
          expected.sort((a, b) => b.score - a.score),
        );
        assert.ok(ranked[0].score > ranked[6].score);
        assert.deepEqual(await model.rerank(query, DOCUMENTS, { top: 2 }), ranked.slice(0, 2));
        assert.deepEqual(await model.rerank(query, []), []);
        // The command reads lines; one is enough to compare with, as the order was checked.
        const [best] = ranked;
        const printed = await rerankedByCommand(query, [best.document]);
        assert.equal(Math.fround(printed[0].score), best.score);
        const signal = AbortSignal.abort();
        await assert.rejects(model.rerank(query, DOCUMENTS, { signal }), { name: "AbortError" });
        // A file with a classifier need not ask for it.
        const scoresOf = (model) => model.rerank(query, DOCUMENTS);
        assert.deepEqual(await withModel({}, scoresOf, encoder({ ranks: true, pooling: 1 })), ranked);
      },
      reranker,
    );
  });
}

function rerankedByCommand(query, documents) {
  return inFolder((folder) => {
    const path = join(folder, "tiny.gguf");
    writeFileSync(path, reranker);
    return gust({ input: documents.join("\n") }, "rerank", "-m", path, "--json", query).map((line) => JSON.parse(line));
  });
}

test("one text gives one vector, a list one for each, and tokens are texts", async () => {
  await withModel(
    {},
    async (model) => {
      const [first, second] = await model.embed(TEXTS);
      assert.deepEqual(await model.embed(TEXTS[0]), first);
      assert.deepEqual(await model.embed(await model.tokenize(TEXTS[1])), second);
      assert.deepEqual(await model.embed([TEXTS[0], await model.tokenize(TEXTS[1])]), [first, second]);
      assert.deepEqual(await model.embed([]), []);
      assert.ok(Math.abs(length(first) - 1) < 1e-6);
      const each = await model.embed(TEXTS[1], { pooling: "none" });
      const count = (await model.tokenize(TEXTS[1])).length;
      assert.equal(each.length, 64 * count);
      for (let token = 0; token < count; token++) {
        assert.ok(Math.abs(length(each.subarray(64 * token, 64 * (token + 1))) - 1) < 1e-6);
      }
    },
    bert,
  );
});

test("what cannot be embedded is an error that says which text, and what to do", async () => {
  const long = "x".repeat(1000);
  await withModel(
    {},
    async (model) => {
      await assert.rejects(model.embed(["a cat", long]), {
        code: "prompt-too-long",
        message: /^text 1: prompt too long: \d+ tokens, room for 96$/,
        hint: /split the text/,
      });
      await assert.rejects(model.embed(long), { code: "prompt-too-long", message: /^prompt too long/ });
      const wrong = (message) => ({ code: "invalid-argument", message });
      await assert.rejects(model.embed(["a cat", ""]), wrong(/^text 1: .*at least one/));
      await assert.rejects(model.embed(Uint32Array.of(64)), wrong(/a number below 64/));
      await assert.rejects(model.embed("a cat", { pooling: "rank" }), wrong(/classifier/));
      await assert.rejects(model.embed("a cat", { pooling: "max" }), wrong(/one of none, mean, cls, last, rank/));
      await assert.rejects(model.embed("a cat", { normalise: true }), wrong(/found normalise$/));
      await assert.rejects(model.embed([1, 2, 3]), wrong(/Uint32Array/));
      await assert.rejects(model.embed(), wrong(/a string/));
      await assert.rejects(model.rerank("a query", "a document"), wrong(/an array of strings/));
      await assert.rejects(model.rerank("a query", DOCUMENTS), { code: "unsupported", hint: /reranker/ });
      await assert.rejects(model.session(), { code: "unsupported" });
      // None of it did any harm.
      assert.deepEqual(await model.embed(TEXTS), await embedded(bert));
    },
    bert,
  );
  await withModel(
    { scope: "vocabulary" },
    (model) => assert.rejects(model.embed("a cat"), { code: "invalid-argument" }),
    bert,
  );
});

test("a model that generates embeds as well, by the mean if its file says nothing", async () => {
  await withModel({ threads: 2 }, async (model) => {
    assert.deepEqual(await model.embeddingInfo(), { pooling: "none", embedsOnly: false, labels: [] });
    const vector = await model.embed(TEXTS[1]);
    assert.deepEqual(vector, await model.embed(TEXTS[1], { pooling: "mean" }));
    const [line] = gust("embed", "--json", TEXTS[1]);
    assert.deepEqual(vector, Float32Array.from(JSON.parse(line).embedding));
  });
});

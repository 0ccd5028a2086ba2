// Sessions: what they do besides giving tokens, and how they are stopped.

import assert from "node:assert/strict";
import test from "node:test";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { MODEL, begin, ids, withModel } from "./helpers.mjs";

const PROMPT = "Lily had a";
const OPTIONS = { seed: 11, maxTokens: 40 };

for (const threads of [1, 2]) {
  test(`an answer that was aborted goes on as if nothing had been, ${threads} threads`, async () => {
    await withModel({ threads }, async (model) => {
      const whole = await ids(await begin(model, PROMPT, OPTIONS));
      const session = await begin(model, PROMPT, OPTIONS);
      const controller = new AbortController();
      const found = [];
      await assert.rejects(
        async () => {
          for await (const { id } of session.tokens({ signal: controller.signal })) {
            if (found.push(id) === 7) {
              controller.abort();
            }
          }
        },
        { name: "AbortError" },
      );
      assert.deepEqual(found, whole.slice(0, 7));
      assert.deepEqual([...found, ...(await ids(session))], whole);
    });
  });

  test(`a token that is aborted while it is computed leaves no trace, ${threads} threads`, async () => {
    await withModel({ threads }, async (model) => {
      const whole = await ids(await begin(model, PROMPT, OPTIONS));
      const session = await begin(model, PROMPT, OPTIONS);
      const found = [];
      for (let round = 0; session.finishReason === undefined; round++) {
        const controller = new AbortController();
        // Every other one is aborted at once, so that the flag is up before or while the workers compute.
        const event = session.nextEvent({ signal: controller.signal });
        if (round % 2 === 0) {
          setImmediate(() => controller.abort(new Error("enough")));
        }
        await event.then(
          ({ type, id }) => type === "token" && found.push(id),
          (error) => assert.equal(error.message, "enough"),
        );
      }
      assert.deepEqual(found, whole);
    });
  });

  test(`reading a prompt can be aborted, ${threads} threads`, async () => {
    await withModel({ threads }, async (model) => {
      const session = await model.session();
      const tokens = Array.from({ length: 500 }, (_, i) => 300 + i);
      const controller = new AbortController();
      const reason = new Error("enough");
      setTimeout(() => controller.abort(reason), 5);
      await assert.rejects(session.feed(tokens, { signal: controller.signal }), reason);
      const { contextUsed } = await session.usage();
      assert.ok(contextUsed < 500, `${contextUsed} tokens were taken`);
      await session.feed(tokens.slice(contextUsed));
      const resumed = await session.logits();
      await session.truncate(0);
      const progress = [];
      await session.feed(tokens, { onProgress: ({ done, total }) => progress.push([done, total]) });
      assert.deepEqual(await session.logits(), resumed);
      assert.deepEqual(progress.at(-1), [500, 500]);
    });
  });
}

test("a signal that is aborted already stops everything before it begins", async () => {
  const signal = AbortSignal.abort();
  await assert.rejects(
    withModel({ signal }, () => undefined),
    { name: "AbortError" },
  );
  await withModel({}, async (model) => {
    const session = await begin(model, PROMPT);
    await assert.rejects(session.nextEvent({ signal }), { name: "AbortError" });
    await assert.rejects(session.feed([5], { signal }), { name: "AbortError" });
    assert.equal((await session.usage()).generated, 0);
  });
});

test("no token is computed before it is asked for", async () => {
  await withModel({}, async (model) => {
    const session = await begin(model, PROMPT, OPTIONS);
    for await (const { id } of session.tokens()) {
      assert.equal(typeof id, "number");
      break;
    }
    assert.equal((await session.usage()).generated, 1);
  });
});

test("forks, saved states and truncated sessions go on alike, also with other numbers of threads", async () => {
  let state;
  const whole = await withModel({ threads: 2 }, async (model) => {
    const session = await begin(model, PROMPT, OPTIONS);
    state = await session.save();
    const fork = await session.fork();
    const tokens = await ids(session);
    assert.deepEqual(await ids(fork), tokens);
    const { contextUsed } = await session.usage();
    await session.truncate(contextUsed - tokens.length);
    await session.configure(OPTIONS);
    assert.deepEqual(await ids(session), tokens);
    return tokens;
  });
  await withModel({ threads: 1 }, async (model) => {
    const session = await model.session();
    await session.restore(state);
    await session.configure(OPTIONS);
    assert.deepEqual(await ids(session), whole);
    await assert.rejects(session.restore(state.subarray(0, 99)), { code: "invalid-argument" });
  });
});

test("scores are the log-probabilities of what was said", async () => {
  await withModel({}, async (model) => {
    const session = await begin(model, PROMPT, { temperature: 0, maxTokens: 6, logprobs: 0 });
    const said = [];
    for await (const token of session.tokens()) {
      said.push(token);
    }
    const scored = await model.session();
    await scored.feed(await model.tokenize(PROMPT));
    const scores = await scored.score(said.map(({ id }) => id));
    scores.forEach((score, i) => assert.ok(Math.abs(score - said[i].logprob) < 1e-4, `${score} ${said[i].logprob}`));
  });
});

test("calls go in one after the other, in the order in which they are made", async () => {
  await withModel({ threads: 2 }, async (model) => {
    const alone = await ids(await begin(model, PROMPT, OPTIONS));
    const sessions = await Promise.all([1, 2, 3].map(() => begin(model, PROMPT, OPTIONS)));
    const answers = await Promise.all(sessions.map((session) => ids(session)));
    answers.forEach((answer) => assert.deepEqual(answer, alone));
    const session = await model.session();
    const tokens = await model.tokenize(PROMPT);
    await Promise.all([session.configure(OPTIONS), session.feed(tokens)]);
    assert.deepEqual(await ids(session), alone);
  });
});

test("a draft model changes nothing but the speed", async () => {
  const draft = MODEL.replace("q8_0", "q4_0");
  const whole = await withModel({}, async (model) => ids(await begin(model, PROMPT, OPTIONS)));
  for (const threads of [1, 2]) {
    await withModel({ draft, threads }, async (model) => {
      const session = await begin(model, PROMPT, OPTIONS);
      assert.deepEqual(await ids(session), whole);
      const { drafted, accepted } = await session.usage();
      assert.ok(drafted > 0 && accepted <= drafted, `${drafted} ${accepted}`);
    });
  }
});

test("a model is a path, a file: URL or bytes", async () => {
  const whole = await withModel({}, async (model) => ids(await begin(model, PROMPT, OPTIONS)));
  for (const source of [pathToFileURL(MODEL), readFileSync(MODEL)]) {
    const found = await withModel({ threads: 2 }, async (model) => ids(await begin(model, PROMPT, OPTIONS)), source);
    assert.deepEqual(found, whole);
  }
});

test("loading tells how far it is", async () => {
  const steps = [];
  await withModel({ onProgress: (step) => steps.push(step) }, () => undefined);
  assert.ok(steps.length > 5);
  for (const [i, { stage, done, total }] of steps.entries()) {
    assert.equal(stage, "loading");
    assert.equal(total, 4_184_352);
    assert.ok(done <= total && done >= (steps[i - 1]?.done ?? 0));
  }
});

test("memory of closed sessions is given back", async () => {
  await withModel({}, async (model) => {
    for (let round = 0; round < 300; round++) {
      // Together 3.6 GB: more than an instance can hold beside the rest, if none were given back.
      const session = await model.session({ kvType: "f32" });
      await session.feed([1]);
      await session.close();
    }
  });
});

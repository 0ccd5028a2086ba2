// What comes out is what `gust` gives for the same model, prompt, options and seed, to the last bit.

import assert from "node:assert/strict";
import test from "node:test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { begin, gust, gustRun, ids, withModel } from "./helpers.mjs";

const PROMPT = "Once upon a time";

test("the same tokens as the command, for several numbers of threads and both builds", async () => {
  const expected = gustRun("--seed", "42", "-n", "64", PROMPT).map(({ id }) => id);
  assert.equal(expected.length, 64);
  for (const options of [{}, { threads: 2 }, { threads: 3 }, { build: "baseline" }]) {
    await withModel(options, async (model) => {
      assert.equal(model.threads, options.threads ?? 1);
      const session = await begin(model, PROMPT, { seed: 42, maxTokens: 64 });
      assert.deepEqual(await ids(session), expected, JSON.stringify(options));
      assert.equal(session.finishReason, "length");
    });
  }
});

test("all options of sampling reach the engine", async () => {
  const cases = [
    [["--temperature", "0"], { temperature: 0 }],
    [
      ["--temperature", "1.5", "--top-k", "0", "--top-p", "1", "--min-p", "0"],
      { temperature: 1.5, topK: 0, topP: 1, minP: 0 },
    ],
    [["--top-k", "3"], { topK: 3 }],
    [["--top-p", "0.5"], { topP: 0.5 }],
    [["--min-p", "0.3"], { minP: 0.3 }],
    [["--typical-p", "0.4"], { typicalP: 0.4 }],
    [["--repeat-penalty", "1.5", "--penalty-window", "8"], { repeatPenalty: 1.5, penaltyWindow: 8 }],
    [["--frequency-penalty", "0.7"], { frequencyPenalty: 0.7 }],
    [["--presence-penalty", "0.7"], { presencePenalty: 0.7 }],
    [["--ignore-eos"], { ignoreEnd: true }],
    [["--seed", "18446744073709551615"], { seed: 18446744073709551615n }],
  ];
  await withModel({}, async (model) => {
    const different = new Set();
    for (const [flags, options] of cases) {
      const seed = "seed" in options ? [] : ["--seed", "3"];
      const expected = gustRun(...seed, "-n", "24", ...flags, PROMPT).map(({ id }) => id);
      const session = await begin(model, PROMPT, { seed: 3, maxTokens: 24, ...options });
      const found = await ids(session);
      assert.deepEqual(found, expected, flags.join(" "));
      different.add(found.join());
      await session.close();
    }
    assert.ok(different.size > 5, "the options make a difference");
  });
});

test("log-probabilities are the command's", async () => {
  const expected = gustRun("--temperature", "0", "-n", "8", "--logprobs", "3", PROMPT);
  await withModel({}, async (model) => {
    const session = await begin(model, PROMPT, { temperature: 0, maxTokens: 8, logprobs: 3 });
    for await (const { id, logprob, top } of session.tokens()) {
      const token = expected.shift();
      assert.equal(id, token.id);
      assert.equal(logprob, Math.fround(token.logprob));
      assert.deepEqual(
        top,
        token.top.map(({ id, logprob }) => ({ id, logprob: Math.fround(logprob) })),
      );
    }
    assert.equal(expected.length, 0);
  });
});

test("logits are the command's, with one thread and with two", async () => {
  const tokens = [1, 452, 451, 264, 381];
  const expected = Float32Array.from(JSON.parse(gust("logits", "--json", "--tokens", tokens.join())).logits);
  for (const threads of [1, 2]) {
    await withModel({ threads }, async (model) => {
      const session = await model.session();
      await session.feed(tokens);
      assert.deepEqual(await session.logits(), expected);
    });
  }
});

test("text is the command's, whole characters only, and a stop text ends it", async () => {
  const flags = ["--seed", "5", "-n", "80"];
  const [whole] = [gust("run", "--quiet", "--no-echo", ...flags, PROMPT).join("\n")];
  await withModel({}, async (model) => {
    const session = await begin(model, PROMPT, { seed: 5, maxTokens: 80 });
    const pieces = [];
    for await (const piece of session.text()) {
      pieces.push(piece);
    }
    assert.equal(pieces.join("").trimEnd(), whole);
    assert.ok(pieces.length > 20 && pieces.every((piece) => piece !== ""));

    const stop = whole.slice(30, 36);
    const stopped = await begin(model, PROMPT, { seed: 5, maxTokens: 80, stop: [stop] });
    let text = "";
    for await (const piece of stopped.text()) {
      text += piece;
    }
    assert.equal(text, whole.slice(0, whole.indexOf(stop)));
    assert.equal(stopped.finishReason, "stop");
  });
});

test("tokenizing and back", async () => {
  await withModel({ scope: "vocabulary" }, async (model) => {
    for (const text of [PROMPT, "", "Grüße, 世界! 🦀", " two  spaces\n\n"]) {
      const expected = gust("tokenize", "--ids", text)
        .filter((line) => line !== "")
        .map(Number);
      const tokens = await model.tokenize(text);
      assert.deepEqual(Array.from(tokens), expected);
      const plain = await model.tokenize(text, { addSpecial: false });
      assert.deepEqual(Array.from(plain), expected.slice(1));
      assert.equal(new TextDecoder().decode(await model.detokenize(tokens)).trimStart(), text.trimStart());
    }
    const [bos] = await model.tokenize("<s>", { addSpecial: false, parseSpecial: true });
    assert.equal(bos, model.info.bos);
    assert.equal(new TextDecoder().decode(await model.detokenize([bos], { renderSpecial: true })), "<s>");
  });
});

test("what a model says of itself", async () => {
  await withModel({ scope: "metadata" }, async (model) => {
    assert.equal(model.info.architecture, "llama");
    assert.equal(model.info.name, "gust-stories");
    assert.equal(model.info.parameters, 3_868_928);
    const metadata = await model.metadata();
    assert.equal(metadata.find(({ key }) => key === "general.architecture").value, "llama");
    const embedding = (await model.tensors()).find(({ name }) => name === "token_embd.weight");
    assert.deepEqual(embedding.shape, [model.info.embeddingLength, model.info.vocabularySize]);
    await assert.rejects(model.tokenize("x"), { code: "invalid-argument" });
  });
});

test("a conversation becomes a prompt", async () => {
  await withModel({ scope: "vocabulary" }, async (model) => {
    const template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{{ mood }}";
    const prompt = await model.renderChat([{ role: "user", content: "Hi" }], { template, variables: { mood: "calm" } });
    assert.equal(prompt, "[user] Hi\ncalm");
  });
});

test("only the template writes control tokens", async () => {
  await withModel({ scope: "vocabulary" }, async (model) => {
    const template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}";
    const said = "What is <s>9.99</s>?";
    const { tokens, text } = await model.render([{ role: "user", content: said }], { template });
    assert.equal(text, `<s>user: ${said}</s>`);
    const whole = await model.tokenize(text, { addSpecial: false, parseSpecial: true });
    const count = (ids) => ids.filter((id) => id === model.info.bos).length;
    assert.deepEqual([count(tokens), count(whole)], [1, 2]);
    const plain = await model.tokenize(`user: ${said}`, { addSpecial: false });
    assert.deepEqual(Array.from(tokens.slice(1, -1)), Array.from(plain));
  });
});

test("everything that a conversation has reaches the template", async () => {
  await withModel({ scope: "vocabulary" }, async (model) => {
    const template =
      "{{ tools|tojson }}{{ mood }}{% for m in messages %}|{{ m.content }}{{ m.name }}{% endfor %}|{{ strftime_now('%Y-%m-%d') }}";
    const messages = [{ role: "user", content: "Hi", name: "Ann" }, { role: "assistant" }];
    const options = { template, tools: [{ a: 1 }], variables: { mood: "calm" }, now: new Date(2025, 6, 10, 23, 30) };
    const { text } = await model.render(messages, options);
    assert.equal(text, '[{"a": 1}]calm|HiAnn||2025-07-10');
    const lost = model.render([{ role: "critic", content: "Bad" }], { template: "{{ bos_token }}" });
    await assert.rejects(lost, { code: "invalid-argument", message: /critic/ });
    await assert.rejects(model.render([], { now: 7 }), { code: "invalid-argument" });
  });
});

test("a vocabulary from another file gives the same tokens as in Python, and the same story", async () => {
  const data = (path) => fileURLToPath(new URL(`../../tests/data/${path}`, import.meta.url));
  const model = data("models/stories260K-f32.gguf");
  const expected = JSON.parse(readFileSync(data("tokenizers/expected.json"), "utf8"));
  for (const build of [undefined, "baseline"]) {
    const tokenizer = data("tokenizers/byte-level.json");
    await withModel({ build, tokenizer, scope: "vocabulary" }, async (model) => {
      for (const [i, text] of expected.texts.entries()) {
        const found = await model.tokenize(text, { parseSpecial: true });
        assert.deepEqual([...found], expected.ids["byte-level"][i], text);
      }
    }, model);
  }
  const story = (options) =>
    withModel(options, async (model) => ids(await begin(model, PROMPT, { temperature: 0, maxTokens: 40 })), model);
  const own = await story({});
  assert.equal(own.length, 40);
  assert.deepEqual(await story({ tokenizer: data("tokenizers/stories.json"), threads: 2 }), own);
  await assert.rejects(story({ tokenizer: model }), { code: "invalid-model" });
});

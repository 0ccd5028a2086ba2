// `npm run test:browser`: the package and the demo page in Chromium.

import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { serve } from "../demo/server.mjs";
import { startChromium } from "./chromium.mjs";
import { encoder, lora, names, split } from "./gguf.mjs";
import { MODEL, gust, gustRun, inFolder, readmeExample } from "./helpers.mjs";

const PROMPT = "Once upon a time";
const SHIPPED = "/models/gust-stories-q8_0.gguf";

let browser;
before(async () => (browser = await startChromium()));
after(() => browser?.close());

/**
 * Has `work` do something in an empty page of its own, which has files of its own too. It makes no requests to anywhere
 * but its server, except `options.others`, in this order.
 */
async function inPage(options, work) {
  const server = await serve(options);
  const context = await browser.newContext();
  const page = await context.newPage();
  const strays = [];
  page.on("pageerror", (error) => strays.push(error.message));
  page.on(
    "request",
    (request) =>
      request.url().startsWith(server.url) || request.url().startsWith("blob:") || strays.push(request.url()),
  );
  try {
    await page.goto(`${server.url}${options.at ?? "test/blank.html"}`);
    await work(page, server, context);
    assert.deepEqual(strays, options.others ?? [], "errors in the page, and requests to anywhere else");
  } finally {
    await context.close();
    await server.close();
  }
}

/** Loads a model in the page, and gives the tokens of an answer and what is known of the model. */
function tokens(page, source, options) {
  return page.evaluate(
    async ([source, options, prompt]) => {
      const { load } = await import("/src/browser.js");
      const stages = new Set();
      try {
        const model = await load(source, { ...options, onProgress: ({ stage }) => stages.add(stage) });
        const session = await model.session();
        await session.configure({ seed: 42, maxTokens: 40 });
        await session.feed(await model.tokenize(prompt));
        const ids = [];
        for await (const { id } of session.tokens()) {
          ids.push(id);
        }
        await model.close();
        return { ids, threads: model.threads, build: model.build, stages: [...stages] };
      } catch (error) {
        return { code: error.code, message: error.message };
      }
    },
    [source, options, PROMPT],
  );
}

const reference = () => gustRun("--seed", "42", "-n", "40", PROMPT).map(({ id }) => id);

test("an isolated page: the command's tokens, with one worker and with several, of both builds", async () => {
  const ids = reference();
  await inPage({}, async (page) => {
    const stages = ["fetching", "loading"];
    assert.deepEqual(await tokens(page, SHIPPED), { ids, threads: 1, build: "relaxed", stages });
    for (const options of [{ threads: 2 }, { threads: 3 }, { build: "baseline" }]) {
      const { threads = 1, build = "relaxed" } = options;
      assert.deepEqual(await tokens(page, SHIPPED, options), { ids, threads, build, stages: ["loading"] });
    }
  });
});

test("a page that is not isolated: one worker, and no more than that", async () => {
  const ids = reference();
  await inPage({ isolated: false }, async (page) => {
    assert.equal(await page.evaluate(() => crossOriginIsolated), false);
    const found = await tokens(page, SHIPPED);
    assert.deepEqual(found, { ids, threads: 1, build: "relaxed", stages: ["fetching", "loading"] });
    const refused = await tokens(page, SHIPPED, { threads: 2 });
    assert.equal(refused.code, "invalid-argument");
    assert.match(refused.message, /cross-origin isolated/);
  });
});

for (const isolated of [true, false]) {
  test(`an answer that was aborted goes on as if nothing had been, ${isolated ? "" : "not "}isolated`, async () => {
    const ids = reference();
    await inPage({ isolated }, async (page) => {
      const found = await page.evaluate(
        async ([source, prompt]) => {
          const { load } = await import("/src/browser.js");
          const model = await load(source);
          const session = await model.session();
          await session.configure({ seed: 42, maxTokens: 40 });
          await session.feed(await model.tokenize(prompt));
          const ids = [];
          let aborts = 0;
          while (session.finishReason === undefined) {
            const controller = new AbortController();
            setTimeout(() => controller.abort(), 4);
            try {
              for await (const { id } of session.tokens({ signal: controller.signal })) {
                ids.push(id);
              }
            } catch (error) {
              aborts += error.name === "AbortError" ? 1 : NaN;
            }
          }
          return { ids, aborts };
        },
        [SHIPPED, PROMPT],
      );
      assert.deepEqual(found.ids, ids);
      assert.ok(found.aborts > 0, `${found.aborts} aborts`);
    });
  });
}

test("a model is fetched once, and again when it has changed", async () => {
  await inFolder((folder) => {
    const file = join(folder, "model.gguf");
    copyFileSync(MODEL, file);
    return inPage({ files: { "/model.gguf": file } }, async (page, { requests }, context) => {
      const gets = () => requests.splice(0).filter((request) => request.endsWith("/model.gguf"));
      const { ids } = await tokens(page, "/model.gguf", { threads: 2 });
      assert.deepEqual(ids, reference());
      assert.deepEqual(gets(), ["GET /model.gguf"]);

      const again = await tokens(page, "/model.gguf");
      assert.deepEqual([again.ids, again.stages], [ids, ["loading"]]);
      assert.deepEqual(gets(), ["HEAD /model.gguf"]);

      // Two pages at once, and after a reload.
      const other = await context.newPage();
      await other.goto(page.url());
      const both = await Promise.all([tokens(page, "/model.gguf"), tokens(other, "/model.gguf", { threads: 2 })]);
      assert.deepEqual(
        both.map((found) => found.ids),
        [ids, ids],
      );
      assert.deepEqual(gets(), ["HEAD /model.gguf", "HEAD /model.gguf"]);

      writeFileSync(file, readFileSync(MODEL.replace("q8_0", "q4_0")));
      const changed = await tokens(page, "/model.gguf");
      assert.deepEqual(gets(), ["HEAD /model.gguf", "GET /model.gguf"]);
      const small = MODEL.replace("q8_0", "q4_0");
      assert.deepEqual(
        changed.ids,
        gustRun("-m", small, "--seed", "42", "-n", "40", PROMPT).map(({ id }) => id),
      );

      await page.evaluate(async () => (await import("/src/browser.js")).clearCache());
      await tokens(page, "/model.gguf");
      assert.deepEqual(gets(), ["GET /model.gguf"]);
    });
  });
});

test("without a network, what is kept is good", async () => {
  await inPage({}, async (page, { requests }, context) => {
    const { ids } = await tokens(page, SHIPPED);
    await context.route(`**${SHIPPED}`, (route) => route.abort());
    requests.length = 0;
    assert.deepEqual((await tokens(page, SHIPPED)).ids, ids);
    assert.ok(!requests.some((request) => request.endsWith(SHIPPED)), "the network was away");
  });
});

test("a kept copy that was damaged is fetched again, or is an error without a network", async () => {
  const damage = async (at) => {
    const gust = await (await navigator.storage.getDirectory()).getDirectoryHandle("gust");
    for await (const [name, handle] of gust.entries()) {
      if (name.endsWith(".gguf")) {
        const writable = await handle.createWritable({ keepExistingData: true });
        const byte = new Uint8Array(await (await handle.getFile()).slice(at, at + 1).arrayBuffer());
        await writable.write({ type: "write", position: at, data: byte.map((value) => value ^ 1) });
        await writable.close();
      }
    }
  };
  await inPage({}, async (page, { requests }, context) => {
    const { ids } = await tokens(page, SHIPPED);
    // In a weight, where nothing else would notice it.
    await page.evaluate(damage, 4_000_000);
    requests.length = 0;
    assert.deepEqual((await tokens(page, SHIPPED)).ids, ids);
    assert.deepEqual(
      requests.filter((request) => request.endsWith(SHIPPED)),
      [`HEAD ${SHIPPED}`, `GET ${SHIPPED}`],
    );
    await page.evaluate(damage, 100);
    await context.route(`**${SHIPPED}`, (route) => route.abort());
    const refused = await tokens(page, SHIPPED);
    assert.equal(refused.code, "io");
    assert.match(refused.message, /the copy of .*gust-stories.* that was kept is damaged/);
  });
});

test("what is left of a fetch that was aborted is not taken for a model", async () => {
  await inPage({}, async (page, { requests }) => {
    const message = await page.evaluate(async (source) => {
      const { load } = await import("/src/browser.js");
      const controller = new AbortController();
      const options = { signal: controller.signal, onProgress: () => controller.abort(new Error("enough")) };
      return load(source, options).then(
        () => "loaded",
        (error) => error.message,
      );
    }, SHIPPED);
    assert.equal(message, "enough");
    assert.deepEqual((await tokens(page, SHIPPED)).ids, reference());
    assert.deepEqual(
      requests.filter((request) => request.endsWith(SHIPPED)),
      [`GET ${SHIPPED}`, `GET ${SHIPPED}`],
    );
  });
});

test("addresses where there is no model, or something else", async () => {
  await inPage({}, async (page) => {
    assert.equal((await tokens(page, "/models/none.gguf")).code, "not-found");
    const html = await tokens(page, "/demo/index.html");
    assert.equal(html.code, "invalid-model");
    assert.equal((await tokens(page, "http://[")).code, "invalid-argument");
  });
});

/** A page whose server has the shipped model in three files, and their URL paths. */
function inPageWithFiles(work, options = {}) {
  return inFolder((folder) => {
    const files = {};
    for (const [i, part] of split(readFileSync(MODEL), 3).entries()) {
      const name = names(3)[i];
      writeFileSync(join(folder, name), part);
      files[`/split/${name}`] = join(folder, name);
    }
    return inPage({ ...options, files }, (page, server) => work(page, Object.keys(files), files, server));
  });
}

test("the first URL of several, or a list of them, is the whole model, and each file is kept", async () => {
  const ids = reference();
  await inPageWithFiles(async (page, paths, files, { requests }) => {
    const got = (method) => requests.splice(0).filter((request) => request.startsWith(`${method} /split/`));
    const fetched = await tokens(page, `${paths[0]}?key=5`, { threads: 2 });
    assert.deepEqual([fetched.ids, fetched.stages], [ids, ["fetching", "loading"]]);
    assert.deepEqual(
      got("GET"),
      paths.map((path) => `GET ${path}`),
    );
    assert.deepEqual((await tokens(page, `${paths[0]}?key=5`)).ids, ids);
    assert.deepEqual(
      got("HEAD"),
      paths.map((path) => `HEAD ${path}`),
    );
    assert.deepEqual((await tokens(page, paths.toReversed(), { threads: 2 })).ids, ids);

    delete files[paths[1]];
    for (const source of [paths[0], [paths[2], paths[0]], [paths[0]]]) {
      await page.evaluate(async () => (await import("/src/browser.js")).clearCache());
      const lost = await tokens(page, source);
      assert.equal(lost.code, "not-found");
      assert.match(lost.message, /split\/x-00002-of-00003\.gguf/, `${source}`);
    }
  });
});

test("fetching several files tells which one it is at", async () => {
  await inPageWithFiles(async (page, [path]) => {
    const steps = await page.evaluate(async (path) => {
      const { load } = await import("/src/browser.js");
      const steps = new Set();
      const onProgress = ({ stage, file, files }) => stage === "fetching" && steps.add(`${file}/${files}`);
      await (await load(path, { onProgress })).close();
      return [...steps];
    }, path);
    assert.deepEqual(steps, ["1/3", "2/3", "3/3"]);
  });
});

for (const isolated of [true, false]) {
  test(`several files of the user's, and of the page's own file system, ${isolated ? "" : "not "}isolated`, async () => {
    const ids = reference();
    await inPageWithFiles(
      async (page, paths) => {
        const found = await page.evaluate(
          async ([paths, prompt, isolated]) => {
            const { load } = await import("/src/browser.js");
            const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("own", { create: true });
            const files = [];
            const handles = [];
            for (const path of paths) {
              const bytes = await (await fetch(path)).arrayBuffer();
              const name = path.replace("/split/", "");
              files.push(new File([bytes], name));
              const handle = await folder.getFileHandle(name, { create: true });
              const writable = await handle.createWritable();
              await writable.write(bytes);
              await writable.close();
              handles.push(handle);
            }
            const blobs = files.map((file) => new Blob([file]));
            const answer = async (source) => {
              try {
                const model = await load(source, { threads: isolated ? 2 : 1 });
                const session = await model.session();
                await session.configure({ seed: 42, maxTokens: 40 });
                await session.feed(await model.tokenize(prompt));
                const ids = [];
                for await (const { id } of session.tokens()) {
                  ids.push(id);
                }
                await model.close();
                return ids;
              } catch ({ code, message }) {
                return `${code}: ${message}`;
              }
            };
            const whole = [
              files,
              files.toReversed(),
              blobs,
              handles,
              handles.toReversed(),
              handles[0],
              [handles[0], ...files.slice(1)],
            ];
            const results = { whole: [], failed: [] };
            for (const source of whole) {
              results.whole.push(await answer(source));
            }
            for (const source of [files[0], files.slice(0, 2), [blobs[0]], [files[1], files[0], files[2], files[2]]]) {
              results.failed.push(await answer(source));
            }
            await folder.removeEntry(handles[2].name);
            results.failed.push(await answer(handles[0]), await answer(folder));
            return results;
          },
          [paths, PROMPT, isolated],
        );
        assert.deepEqual(found.whole, Array(7).fill(ids));
        const [file, list, blob, twice, handle, directory] = found.failed;
        assert.equal(file, "not-found: no model at `x-00002-of-00003.gguf`");
        assert.equal(list, "not-found: no model at `x-00003-of-00003.gguf`");
        assert.equal(blob, "not-found: no model at `model-00002-of-00003`");
        assert.match(twice, /^invalid-argument: .*each file once, found x-00003-of-00003.gguf twice$/);
        assert.equal(handle, "not-found: no model at `x-00003-of-00003.gguf`");
        assert.match(directory, /^invalid-argument: .*the handle of a file/);
      },
      { isolated },
    );
  });
}

for (const isolated of [true, false]) {
  test(`a page embeds and ranks texts, ${isolated ? "" : "not "}isolated`, async () => {
    await inFolder(async (folder) => {
      const [bert, reranker] = [join(folder, "bert.gguf"), join(folder, "reranker.gguf")];
      writeFileSync(bert, encoder());
      writeFileSync(reranker, encoder({ ranks: true }));
      const files = { "/bert.gguf": bert, "/reranker.gguf": reranker };
      await inPage({ files, isolated }, async (page) => {
        const found = await page.evaluate(
          async (threads) => {
            const { load } = await import("/src/browser.js");
            const model = await load("/bert.gguf", { threads });
            const vectors = (await model.embed(["a cat", "five!"])).map((vector) => Array.from(vector));
            const long = Array(5000).fill("a cat, and what else there is to be said about it");
            const controller = new AbortController();
            setTimeout(() => controller.abort(new Error("enough")), 30);
            const aborted = await model.embed(long, { signal: controller.signal }).catch(({ message }) => message);
            const again = Array.from(await model.embed("a cat"));
            await model.close();
            const other = await load("/reranker.gguf", { threads });
            const ranked = await other.rerank("a query", ["one", "two two two", "three"]);
            await other.close();
            return { vectors, aborted, again, ranked };
          },
          isolated ? 2 : 1,
        );
        const [expected] = gust("embed", "-m", bert, "--json", "a cat").map((line) => JSON.parse(line).embedding);
        assert.deepEqual(found.vectors[0], Array.from(Float32Array.from(expected)));
        assert.equal(found.vectors.length, 2);
        assert.equal(found.aborted, "enough");
        assert.deepEqual(found.again, found.vectors[0]);
        assert.deepEqual(found.ranked.map(({ index }) => index).sort(), [0, 1, 2]);
      });
    });
  });
}

for (const isolated of [true, false]) {
  test(`adapters from a URL and from a file, ${isolated ? "" : "not "}isolated`, async () => {
    const adapter = lora(readFileSync(MODEL), { architecture: "llama", seed: 1 });
    await inFolder((folder) => {
      const file = join(folder, "lora.gguf");
      writeFileSync(file, adapter);
      const tokens = "1,452,451,264,381";
      const logits = (...args) =>
        JSON.parse(gust("logits", "--json", "--tokens", tokens, ...args)[0]).logits.map(Math.fround);
      const expected = [logits("--lora", `${file}:0.5`), logits("--lora", file), logits()];
      return inPage({ isolated, files: { "/lora.gguf": file } }, async (page, { requests }) => {
        const found = await page.evaluate(
          async ([source, prompt]) => {
            const { load } = await import("/src/browser.js");
            const model = await load(source);
            const session = await model.session();
            await session.feed(await model.tokenize(prompt));
            // Twice from the URL: the file must be free again after the first time.
            const [url, again] = [await model.loadAdapter("/lora.gguf"), await model.loadAdapter("/lora.gguf")];
            const bytes = await (await fetch("/lora.gguf")).arrayBuffer();
            const file = await model.loadAdapter(new File([bytes], "lora.gguf"));
            const found = [];
            for (const set of [[{ adapter: url, scale: 0.5 }], [{ adapter: file }], [{ adapter: again }], []]) {
              await session.setAdapters(set);
              found.push(Array.from(await session.logits()));
            }
            await model.close();
            return found;
          },
          [SHIPPED, PROMPT],
        );
        const [half, whole, none] = expected;
        assert.deepEqual(found, [half, whole, whole, none]);
        // Fetched and kept once; the other time is the test's own.
        assert.equal(requests.filter((request) => request === "GET /lora.gguf").length, 2);
      });
    });
  });
}

test("the demo streams a story, stops, and leaves spans for the developer tools", async () => {
  const story = gust("run", "--quiet", "--seed", "42", "-n", "400", PROMPT).join("\n");
  await inPage({ at: "demo/" }, async (page) => {
    await page.locator("#go:enabled").click();
    await page.locator("#answer[aria-busy=false]").waitFor();
    await page.waitForFunction(() => document.querySelector("#count").textContent === "244");
    assert.equal((await page.locator("#answer").innerText()).trimEnd(), story);
    assert.ok(Number(await page.locator("#speed").textContent()) > 0);
    assert.match(await page.locator("#first").textContent(), /^[\d.]+ ms$/);
    const spans = await page.evaluate(() => performance.getEntriesByType("measure").map(({ name }) => name));
    for (const name of ["gust: prompt", "gust: first token", "gust: token", "gust: answer"]) {
      assert.ok(spans.includes(name), name);
    }

    await page.locator("#go").click();
    await page.waitForFunction(() => document.querySelector("#made").textContent.length > 20);
    await page.locator("#stop").click();
    await page.locator("#go:enabled").waitFor();
    const stopped = (await page.locator("#answer").innerText()).trimEnd();
    assert.ok(story.startsWith(stopped) && stopped.length < story.length, stopped);
    assert.equal(await page.locator("#trouble").isVisible(), false);
  });
});

test("the demo opens a file of the user's, and says what is wrong with another", async () => {
  await inPage({ at: "demo/" }, async (page) => {
    await page.locator("#go:enabled").waitFor();
    await page
      .locator("#file")
      .setInputFiles({ name: "no.gguf", mimeType: "", buffer: Buffer.from("<!doctype html>") });
    await page.locator("#trouble").waitFor();
    assert.match(await page.locator("#trouble").textContent(), /invalid model: .*Hint: the file may be cut short/);
    // What was there before still works.
    assert.equal(await page.locator("#name").textContent(), "gust-stories");

    const tiny = readFileSync(MODEL.replace("stories-q8_0", "tiny"));
    await page.evaluate((bytes) => {
      const files = new DataTransfer();
      files.items.add(new File([new Uint8Array(bytes)], "tiny.gguf"));
      dispatchEvent(Object.assign(new Event("drop", { cancelable: true }), { dataTransfer: files }));
    }, Array.from(tiny));
    await page.waitForFunction(() => /gust-tiny/.test(document.querySelector("#name").textContent));
    await page
      .locator("#chat")
      .setChecked(false)
      .catch(() => undefined);
    await page.locator("#go:enabled").click();
    await page.waitForFunction(() => Number(document.querySelector("#count").textContent) > 5);
    assert.equal(await page.locator("#trouble").isVisible(), false);
  });
});

test("the demo fetches a model from elsewhere only if the user says so", async () => {
  const named = (page, name) =>
    page.waitForFunction((name) => document.querySelector("#name").textContent === name, name);
  const linked = "https://elsewhere.example/tiny.gguf";
  await inPage({ at: `demo/?model=${linked}`, others: [linked] }, async (page, server, context) => {
    const headers = { "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin" };
    let asked = false;
    const path = MODEL.replace("stories-q8_0", "tiny");
    await context.route(linked, (route) => {
      assert.ok(asked, "nothing is fetched before the user says so");
      return route.fulfill({ path, headers });
    });
    await named(page, "gust-stories");
    assert.equal(await page.locator("#linked").textContent(), linked);
    asked = true;
    await page.locator("#fetch").click();
    await named(page, "gust-tiny");
    assert.equal(await page.locator("#ask").isVisible(), false);
  });
  await inPage({ at: "demo/?model=/models/gust-tiny.gguf" }, async (page) => {
    await named(page, "gust-tiny");
    assert.equal(await page.locator("#ask").isVisible(), false);
  });
});

test("the README's example for pages runs as it stands there", async () => {
  await inFolder((folder) => {
    const file = join(folder, "example.html");
    writeFileSync(file, `<!doctype html>\n<link rel="icon" href="/demo/icon.svg">\n<body>\n${readmeExample("html")}`);
    return inPage({ files: { "/example.html": file }, at: "example.html" }, async (page) => {
      const words = (text) => text.trim().split(/\s+/).join(" ");
      const story = words(gust("run", "--quiet", "--no-echo", "--seed", "42", "-n", "100", PROMPT).join(" "));
      await page.waitForFunction((length) => document.body.innerText.trim().length >= length, story.length);
      assert.equal(words(await page.evaluate(() => document.body.innerText)), story);
    });
  });
});

test("a page takes a tokenizer from another file", async () => {
  const data = (path) => readFileSync(new URL(`../../tests/data/${path}`, import.meta.url));
  const files = [data("models/stories260K-q8_0.gguf").toString("base64"), data("tokenizers/stories.json").toString()];
  await inPage({}, async (page) => {
    const [own, other] = await page.evaluate(async ([model, tokenizer]) => {
      const { load } = await import("/src/browser.js");
      const bytes = Uint8Array.from(atob(model), (character) => character.charCodeAt(0));
      const tokens = async (options) => {
        const loaded = await load(bytes, { scope: "vocabulary", ...options });
        const found = await loaded.tokenize("Once upon a time, there was a fox.");
        await loaded.close();
        return [...found];
      };
      return [await tokens({}), await tokens({ tokenizer: new Blob([tokenizer]) })];
    }, files);
    assert.ok(own.length > 5);
    assert.deepEqual(other, own);
  });
});

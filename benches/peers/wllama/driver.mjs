// Measures wllama in headless Chromium: node driver.mjs MODEL THREADS CONTEXT. See ../README.md.
//
// Run in the folder with node_modules. CHROMIUM names the browser. The page comes from a server here that sets the two
// headers without which a browser gives no threads (COOP and COEP); the model is read through it, too. Times are those
// that wllama reports of its own work (`timings`), so that nothing of the browser around it counts.

import { createReadStream, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.cwd(), "here.js"));
const { chromium } = require("playwright-core");
const packageFolder = join(process.cwd(), "node_modules/@wllama/wllama");
const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json")));

const [model, threads, context] = process.argv.slice(2);
const say = (answer) => console.log(JSON.stringify(answer));

const FILES = {
  "/": ["text/html", null],
  "/index.js": ["text/javascript", join(packageFolder, "esm/index.js")],
  "/wllama.wasm": ["application/wasm", join(packageFolder, "esm/wasm/wllama.wasm")],
  "/model.gguf": ["application/octet-stream", model],
};

const server = createServer((request, response) => {
  const found = FILES[request.url];
  if (!found) return response.writeHead(404).end();
  const [type, file] = found;
  const headers = {
    "Content-Type": type,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
  };
  if (!file) return response.writeHead(200, headers).end("<!doctype html><title>wllama</title>");
  headers["Content-Length"] = statSync(file).size;
  response.writeHead(200, headers);
  createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const page = await browser.newPage();
page.setDefaultTimeout(0);
page.on("pageerror", (error) => console.error(String(error)));
await page.goto(`http://127.0.0.1:${server.address().port}/`);

const load = ({ threads, context }) =>
  (async () => {
    const { Wllama, LoggerWithoutDebug } = await import("/index.js");
    const response = await fetch("/model.gguf");
    const blob = await response.blob();
    const wllama = new Wllama({ default: "/wllama.wasm" }, { logger: LoggerWithoutDebug, suppressNativeLog: true });
    const start = performance.now();
    await wllama.loadModel([blob], {
      n_ctx: context, n_threads: threads, n_gpu_layers: 0, n_batch: 512, n_parallel: 1, warmup: false,
    });
    globalThis.wllama = wllama;
    return {
      isolated: crossOriginIsolated,
      threads: wllama.getNumThreads(),
      load_ms: performance.now() - start,
    };
  })();

// The server inside keeps what it computed for the last prompt and goes on from there (cache_prompt). The first of the
// tokens comes with the prompt, which is why its timings count it nowhere.
const complete = ({ prompt, tokens, cache }) =>
  (async () => {
    const answer = await globalThis.wllama.createCompletion({
      prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, cache_prompt: cache,
    });
    return answer.timings;
  })();

// wllama takes text only. In the vocabularies of the synthetic models a letter with its space is a token, and so is the
// begin of the sequence.
const filler = (count) =>
  Array.from({ length: count - 1 }, (_, i) => String.fromCharCode(97 + ((i * 7) % 26))).join(" ");

let loaded;
try {
  loaded = await page.evaluate(load, { threads: Number(threads), context: Number(context) });
  if (loaded.threads !== Number(threads)) throw new Error(`asked for ${threads} threads, found ${loaded.threads}`);
} catch (error) {
  say({ error: String(error) });
  process.exit(1);
}
say({
  ready: true,
  version: `wllama ${version}, Chromium ${browser.version()}`,
  load_ms: loaded.load_ms,
});

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...numbers] = line.trim().split(/\s+/);
  const [tokens, depth] = numbers.map(Number);
  try {
    if (verb === "prefill" && tokens > 0) {
      const timings = await page.evaluate(complete, { prompt: filler(Math.max(tokens, 2)), tokens: 1, cache: false });
      if (timings.prompt_n !== tokens) throw new Error(`${timings.prompt_n} of ${tokens} tokens were computed`);
      say({ seconds: timings.prompt_ms / 1000 });
    } else if (verb === "decode" && tokens > 0) {
      const prompt = filler(Math.max(depth, 2));
      const timings = await page.evaluate(complete, { prompt, tokens: tokens + 1, cache: true });
      // Whatever it counts, the time of one is the same.
      say({ seconds: (timings.predicted_ms / 1000 / timings.predicted_n) * tokens });
    } else {
      say({ error: `expected prefill or decode, found ${line}` });
    }
  } catch (error) {
    say({ error: String(error) });
  }
}
await browser.close();
server.close();

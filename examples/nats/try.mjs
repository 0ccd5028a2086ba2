// Runs all of it on this machine, end to end: nats-server, two "machines" (a `wasmtime serve` and a worker), clients. It
// says what happened, and fails where something did not.
//
//     cargo xtask compose && cargo xtask compose --with jitter
//     npm install && node try.mjs
//
// Needs Node 20, `wasmtime` (WASMTIME names another, WASMTIME_FLAGS gives `serve` more options) and `nats-server`
// (NATS_SERVER; on Debian `apt-get install nats-server`).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

import { connect } from "@nats-io/transport-node";

import { complete } from "./client.mjs";
import { events } from "./events.mjs";

const { WASMTIME = "wasmtime", WASMTIME_FLAGS = "", NATS_SERVER = "nats-server" } = process.env;
const WORKSPACE = fileURLToPath(new URL("../..", import.meta.url));
const FAST = "target/components/gust-http.wasm";
/** Slowed down to 20 tokens a second, so that an answer has a middle. */
const SLOW = "target/components/gust-http-jitter.wasm";
const PROMPT = { prompt: "Once upon a time", seed: 42, max_tokens: 60 };

const children = new Set();
setTimeout(() => fail("nothing more happened within two minutes"), 120_000).unref();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

const natsUrl = `nats://127.0.0.1:${await freePort()}`;
const broker = run(NATS_SERVER, ["--addr", "127.0.0.1", "--port", new URL(natsUrl).port]);
await broker.says(/Server is ready/);
const nc = await connect({ servers: natsUrl });

// Two machines, as fast as they are.
let machines = [await machine("A", FAST), await machine("B", FAST)];
const expected = await overHttp(machines[0], PROMPT);

const streamed = await collect(complete(nc, PROMPT));
assert.equal(streamed.text, expected.text);
assert.ok(streamed.pieces > 10);
say(`an answer came in ${streamed.pieces} pieces, and is the one that the server gives over HTTP`);

const http = [];
const nats = [];
for (let i = 0; i < 20; i++) {
  http.push((await overHttp(machines[i % 2], PROMPT)).first);
  nats.push((await collect(complete(nc, PROMPT))).first);
}
say(`first piece after ${median(http)} ms over HTTP, after ${median(nats)} ms through NATS (medians of 20)`);

const crowd = await Promise.all(Array.from({ length: 40 }, () => collect(complete(nc, PROMPT))));
assert.ok(crowd.every((answer) => answer.text === expected.text));
const shares = machines.map((each) => each.worker.count(/: done/));
assert.ok(Math.min(...shares) > 0);
say(`40 requests at once: all the same answer; since the start A gave ${shares[0]} answers and B ${shares[1]}`);

await assert.rejects(collect(complete(nc, { ...PROMPT, temperature: -1 })), /temperature/);
say("a wrong request fails with the engine's own message");
await Promise.all(machines.map((each) => each.leave()));

// The same two, slowly.
machines = [await machine("A", SLOW), await machine("B", SLOW)];

const abort = new AbortController();
const cancelled = begin(complete(nc, PROMPT, { signal: abort.signal }));
await cancelled.pieces(5);
let { worker } = busy();
let since = Date.now();
abort.abort();
await assert.rejects(cancelled.end, { name: "AbortError" });
await worker.says(/: cancelled/);
say(`cancelled after 5 pieces: the worker stopped ${Date.now() - since} ms later`);

const client = script("client.mjs", [PROMPT.prompt]);
await client.says(/Once upon a time\S/);
({ worker } = busy());
const cancellations = worker.count(/: cancelled/);
since = Date.now();
client.kill("SIGKILL");
await worker.says(/: cancelled/, cancellations);
say(`a client killed in the middle: the worker stopped ${Date.now() - since} ms later`);

await interrupted("a server killed in the middle", (victim) => victim.server.kill("SIGKILL"));
await machines.find((each) => each.server.exitCode !== null || each.server.signalCode !== null).restart();
await interrupted("a machine killed in the middle", (victim) => {
  victim.server.kill("SIGKILL");
  victim.worker.kill("SIGKILL");
});
const survivor = machines.find((each) => each.worker.signalCode === null);
const before = survivor.worker.count(/: done/);
assert.equal((await collect(complete(nc, PROMPT))).text, expected.text);
await survivor.worker.says(/: done/, before);
say("the next request was answered by the other machine");

const last = begin(complete(nc, PROMPT));
await last.pieces(5);
survivor.worker.kill("SIGTERM");
assert.equal((await last.end).text, expected.text);
await survivor.leave();
say("a worker that is told to leave finishes its answer first");

since = Date.now();
await assert.rejects(collect(complete(nc, PROMPT, { patience: 1000 })), /no worker took the request/);
say(`without a worker a client with a patience of 1000 ms gives up after ${Date.now() - since} ms`);

await nc.close();
broker.kill();
say("all as it should be");

/** One request, and what happens to its machine after five pieces. The text is whole all the same. */
async function interrupted(title, kill) {
  const notes = [];
  const answer = begin(complete(nc, PROMPT, { note: (text) => notes.push(text) }));
  await answer.pieces(5);
  kill(busy());
  const { text, longest } = await answer.end;
  assert.equal(text, expected.text);
  assert.ok(notes.length > 0);
  say(`${title}: the client waited ${longest} ms at most for its next piece; the text is the same, nothing twice`);
  for (const note of new Set(notes)) say(`    its notes: ${note}`);
}

/** The machine that has a request. */
function busy() {
  const found = machines.filter(({ worker }) => worker.count(/: taken/) > worker.count(/: (done|cancelled)/));
  assert.equal(found.length, 1);
  return found[0];
}

/** A `wasmtime serve` and the worker beside it. */
async function machine(name, component) {
  const address = `127.0.0.1:${await freePort()}`;
  const url = `http://${address}`;
  const flags = WASMTIME_FLAGS.split(" ").filter(Boolean);
  const model = ["--dir", "models", "--env", "GUST_MODEL=models/gust-stories-q8_0.gguf", "--env", "GUST_JITTER_MS=50"];
  const reuse = ["--max-instance-reuse-count", "1000", "--idle-instance-timeout", "3600s"];
  const serve = async () => {
    const args = ["serve", ...flags, "-Scli", "--addr", address, ...model, ...reuse, component];
    const server = run(WASMTIME, args, { cwd: WORKSPACE });
    await server.says(/Serving HTTP/);
    return server;
  };
  const it = { name, url, server: await serve(), worker: script("worker.mjs", [], { GUST_URL: url }) };
  await it.worker.says(/taking requests/);
  it.restart = async () => {
    it.server = await serve();
    const ready = it.worker.count(/taking requests/);
    await it.worker.says(/taking requests/, ready);
  };
  it.leave = async () => {
    if (!it.worker.killed) it.worker.kill("SIGTERM");
    if (it.worker.exitCode === null) await once(it.worker, "exit");
    assert.equal(it.worker.exitCode, 0);
    it.server.kill();
  };
  return it;
}

/** One of the programs beside this one. */
function script(name, args, variables) {
  const env = { ...process.env, NATS_URL: natsUrl, ...variables };
  return run(process.execPath, [fileURLToPath(new URL(name, import.meta.url)), ...args], { env });
}

/** A program whose output can be waited for. */
function run(program, args, options = {}) {
  const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      output += text;
      child.emit("output");
    });
  }
  child.on("error", (error) => fail(`cannot start ${program}: ${error.message}; the head of this file says where it comes from`));
  child.count = (pattern) => output.match(new RegExp(pattern, "g"))?.length ?? 0;
  child.says = async (pattern, times = 0) => {
    const late = setTimeout(() => fail(`${program} did not say ${pattern}; it said:\n${output}`), 20_000);
    while (child.count(pattern) <= times) await once(child, "output");
    clearTimeout(late);
  };
  return child;
}

/** An answer in the making: `pieces(n)` is when there are so many, `end` all of it. */
function begin(answer) {
  const waiting = [];
  let count = 0;
  const end = (async () => {
    const all = { text: "", pieces: 0, first: undefined, longest: 0 };
    const start = performance.now();
    let last = start;
    for await (const text of answer) {
      const now = performance.now();
      all.first ??= Number((now - start).toFixed(1));
      all.longest = Math.max(all.longest, Math.round(now - last));
      last = now;
      all.text += text;
      all.pieces = count += 1;
      for (const each of waiting) if (count >= each.count) each.resolve();
    }
    return all;
  })();
  end.catch(() => {});
  return { end, pieces: (wanted) => new Promise((resolve) => waiting.push({ count: wanted, resolve })) };
}

function collect(answer) {
  return begin(answer).end;
}

/** The same from a machine's server, without NATS. */
function overHttp(machine, body) {
  return collect(
    (async function* () {
      const request = {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...body, stream: true }),
      };
      for await (const event of events(await fetch(`${machine.url}/v1/completions`, request))) {
        const text = event === "[DONE]" ? "" : JSON.parse(event).choices[0].text;
        if (text !== "") yield text;
      }
    })(),
  );
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

function say(text) {
  console.log(text);
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

// A client: publishes a prompt, prints the story as it streams.
//
//     NATS_URL=nats://127.0.0.1:4222 node client.mjs "Once upon a time"

import { randomInt } from "node:crypto";
import { pathToFileURL } from "node:url";

import { connect, createInbox } from "@nats-io/transport-node";

/** A worker that is silent for longer is given up, in milliseconds: it gives two signs of life a second. */
const SILENCE = 2000;

/**
 * The text of an answer, in the pieces in which it comes. `body` is that of OpenAI's `/v1/completions`.
 *
 * A worker that dies is replaced: the same prompt and seed are the same tokens on every machine, so the request is sent
 * again, and what has been shown already is left out. Fails when `signal` aborts, when the request is wrong, and when
 * nobody has taken it for `patience` milliseconds. `note` is told what happens meanwhile.
 */
export async function* complete(nc, body, { signal, patience = 30_000, note = () => {} } = {}) {
  const request = JSON.stringify({ seed: randomInt(2 ** 31), ...body, stream: true });
  let shown = "";
  let idleSince = Date.now();
  for (;;) {
    let text = "";
    let outcome = "lost";
    for await (const event of replies(nc, "gust.v1.completions", request, signal)) {
      if (event === "busy" || event === "done") {
        outcome = event;
        break;
      }
      if (event.error) {
        if (event.error.type !== "server_error") throw new Error(event.error.message);
        note(event.error.message);
        break;
      }
      idleSince = Date.now();
      text += event.choices[0]?.text ?? "";
      if (text.length > shown.length) {
        yield text.slice(shown.length);
        shown = text;
      }
    }
    signal?.throwIfAborted();
    if (outcome === "done") return;
    if (Date.now() - idleSince > patience) throw new Error(`no worker took the request within ${patience} ms`);
    note(outcome === "busy" ? "all workers are busy" : "the worker is gone; asking another");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The events of one reply, then "done" or "busy". Ends without either when the worker is silent or `signal` aborts. */
async function* replies(nc, subject, data, signal) {
  const reply = createInbox();
  const subscription = nc.subscribe(reply);
  // Unsubscribing cancels.
  const stop = () => subscription.unsubscribe();
  signal?.addEventListener("abort", stop);
  let timer = setTimeout(stop, SILENCE);
  try {
    nc.publish(subject, data, { reply });
    for await (const message of subscription) {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE);
      const text = message.string();
      if (message.headers?.code === 503) yield "busy";
      else if (text === "[DONE]") yield "done";
      else if (text !== "") yield JSON.parse(text);
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    stop();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
  const [prompt = "Once upon a time"] = process.argv.slice(2);
  process.stdout.write(prompt);
  const answer = complete(nc, { prompt, max_tokens: 200 }, { note: console.error });
  for await (const text of answer) process.stdout.write(text);
  process.stdout.write("\n");
  await nc.close();
}

// A worker: takes requests from a NATS queue group and has the server beside it, such as `wasmtime serve`, answer them.
//
//     NATS_URL=nats://127.0.0.1:4222 GUST_URL=http://127.0.0.1:8080 GUST_AT_ONCE=1 node worker.mjs
//
// A request is a message to `gust.v1.completions` or `gust.v1.chat.completions` whose data is the body of OpenAI's API.
// The reply is a message for each event of the answer, in OpenAI's JSON, and `[DONE]` at the end. An empty message in
// between says that the worker is alive; it comes at once and then twice a second. Whoever stops listening to the
// replies has cancelled: the worker notices with its next empty message, and the engine stops.

import { connect, errors } from "@nats-io/transport-node";

import { events } from "./events.mjs";

const defaults = { NATS_URL: "nats://127.0.0.1:4222", GUST_URL: "http://127.0.0.1:8080", GUST_AT_ONCE: "1" };
const settings = { ...defaults, ...process.env };
/** Time between two signs of life, in milliseconds. */
const PULSE = 500;

const nc = await connect({ servers: settings.NATS_URL, maxReconnectAttempts: -1 });
const waiting = new Set();
let stopping = false;
let ready = false;
// What has begun is finished; nothing new is taken.
process.on("SIGTERM", () => {
  stopping = true;
  for (const subscription of waiting) subscription.unsubscribe();
});
await Promise.all(Array.from({ length: Number(settings.GUST_AT_ONCE) }, takeRequests));
await nc.close();

/** Takes one request after the other. While it has one it is not in the group: NATS gives the next to somebody else. */
async function takeRequests() {
  while (await healthy()) {
    const subscription = nc.subscribe("gust.v1.>", { queue: "gust", max: 1 });
    waiting.add(subscription);
    for await (const request of subscription) await answer(request);
    waiting.delete(subscription);
  }
}

/** Waits until the server is there: a worker without one would answer fastest of all, with errors. False at the end. */
async function healthy() {
  while (!stopping) {
    const health = await fetch(`${settings.GUST_URL}/health`).catch(() => null);
    if (health?.ok && !ready) console.error(`taking requests of ${settings.NATS_URL} for ${settings.GUST_URL}`);
    ready = health?.ok === true;
    if (ready) break;
    await new Promise((resolve) => setTimeout(resolve, PULSE));
  }
  return !stopping;
}

async function answer(request) {
  const cancelled = new AbortController();
  const signOfLife = () =>
    nc.request(request.reply, "", { timeout: PULSE }).catch((error) => {
      // Nobody answers it: that it was delivered is enough.
      if (isNobody(error)) cancelled.abort();
    });
  const pulse = setInterval(signOfLife, PULSE);
  signOfLife();
  let sent = 0;
  console.error(`${request.subject}: taken`);
  try {
    const [, ...path] = request.subject.split(".");
    const response = await fetch(`${settings.GUST_URL}/${path.join("/")}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: request.data,
      signal: cancelled.signal,
    });
    for await (const event of events(response)) {
      if (event === "[DONE]") continue;
      request.respond(event);
      sent += 1;
    }
  } catch (error) {
    if (!cancelled.signal.aborted) {
      const message = `the server of this worker broke off: ${error.cause?.message ?? error.message}`;
      request.respond(JSON.stringify({ error: { message, type: "server_error" } }));
    }
  } finally {
    clearInterval(pulse);
    request.respond("[DONE]");
    console.error(`${request.subject}: ${cancelled.signal.aborted ? "cancelled" : "done"} after ${sent} events`);
  }
}

function isNobody(error) {
  return error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders());
}

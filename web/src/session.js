// A session: a sequence of tokens, and how it continues.

import { Adapter } from "./adapter.js";
import { GustError, invalidArgument } from "./error.js";
import { CALL_OPTIONS, GENERATION_OPTIONS, SCALED_ADAPTER, check, list, tokenIds } from "./options.js";
import { plainNumbers } from "./numbers.js";

export class Session {
  #group;
  #resource;
  #isClosed = false;

  /** Why the last answer ended; undefined while it is being generated. */
  finishReason = undefined;

  constructor(group, resource) {
    this.#group = group;
    this.#resource = resource;
  }

  async configure(options) {
    check("generation options", options, GENERATION_OPTIONS);
    const { seed } = options;
    await this.#call("configure", [{ ...options, seed: seed === undefined ? undefined : BigInt(seed) }]);
    this.finishReason = undefined;
  }

  async setAdapters(adapters) {
    const scaled = list("adapters", adapters).map((one) => {
      check("one of the adapters", one, SCALED_ADAPTER);
      const { adapter, scale = 1 } = one;
      if (!(adapter instanceof Adapter)) {
        throw invalidArgument("adapter", "one that `loadAdapter` returned", adapter);
      }
      return [adapter.resourceIn(this.#group), scale];
    });
    await this.#group.call({ call: "attach", from: "adapters", of: this.#open(), with: scaled });
    this.finishReason = undefined;
  }

  async feed(tokens, options = {}) {
    // The first call gets all of them, so that too many are rejected before any is taken.
    await this.#inChunks(tokens, options, "feed", (taken) => taken);
  }

  async nextEvent(options = {}) {
    check("options", options, CALL_OPTIONS);
    const { tag, val } = await this.#call("nextToken", [], options.signal);
    if (tag === "finished") {
      this.finishReason = val.reason;
    }
    return { type: tag, ...val };
  }

  async *tokens(options = {}) {
    for (;;) {
      const { type, ...event } = await this.nextEvent(options);
      if (type === "token") {
        yield event;
        continue;
      }
      if (event.bytes.length > 0) {
        // Text that was held back because it might have become a stop text, but did not.
        yield { id: undefined, bytes: event.bytes, logprob: undefined, top: [] };
      }
      return;
    }
  }

  async *text(options = {}) {
    const characters = new TextDecoder("utf-8", { ignoreBOM: true });
    for await (const { bytes } of this.tokens(options)) {
      const whole = characters.decode(bytes, { stream: true });
      if (whole !== "") {
        yield whole;
      }
    }
    const rest = characters.decode();
    if (rest !== "") {
      yield rest;
    }
  }

  async score(tokens, options = {}) {
    const scores = [];
    await this.#inChunks(tokens, options, "score", (chunk) => {
      scores.push(...chunk);
      return chunk.length;
    });
    return Float32Array.from(scores);
  }

  async truncate(length) {
    if (!Number.isInteger(length) || length < 0 || length >= 2 ** 32) {
      throw invalidArgument("length", "a number of tokens", length);
    }
    await this.#call("truncate", [length]);
    this.finishReason = undefined;
  }

  async logits() {
    return this.#call("logits");
  }

  async fork() {
    const copy = new Session(this.#group, await this.#group.make({ call: "fork", of: this.#open() }));
    copy.finishReason = this.finishReason;
    return copy;
  }

  async save() {
    return this.#call("save");
  }

  async restore(state) {
    if (!(state instanceof Uint8Array)) {
      throw invalidArgument("state", "a Uint8Array from `save`", typeof state);
    }
    await this.#call("restore", [state]);
    this.finishReason = undefined;
  }

  async usage() {
    const usages = (await this.#group.callEach({ call: "usage", of: this.#open() })).map(plainNumbers);
    const kvBytes = usages.reduce((sum, usage) => sum + usage.kvBytes, 0);
    return { ...usages[0], kvBytes };
  }

  async close() {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#group.discard(this.#resource);
    }
  }

  async [Symbol.asyncDispose ?? Symbol.for("asyncDispose")]() {
    await this.close();
  }

  /** Calls the engine with the rest of `tokens` until none is left. `count` returns how many a call has taken. */
  async #inChunks(tokens, options, call, count) {
    check("options", options, CALL_OPTIONS);
    const ids = tokenIds(tokens);
    for (let done = 0; done < ids.length; ) {
      done += count(await this.#call(call, [ids.subarray(done)], options.signal));
      this.finishReason = undefined;
      options.onProgress?.({ done, total: ids.length });
    }
  }

  #call(call, args = [], signal = undefined) {
    return this.#group.call({ call, of: this.#open(), args }, signal);
  }

  #open() {
    if (this.#isClosed) {
      throw new GustError("closed", "the session");
    }
    return this.#resource;
  }
}

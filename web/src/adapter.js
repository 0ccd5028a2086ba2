// An adapter: a small change of a model (LoRA), which sessions take.

import { GustError, invalidArgument } from "./error.js";

export class Adapter {
  #group;
  #resource;
  #isClosed = false;

  constructor(group, resource, leftOut) {
    this.#group = group;
    this.#resource = resource;
    this.leftOut = leftOut;
  }

  /** Its number among the resources of `group`. */
  resourceIn(group) {
    if (this.#isClosed) {
      throw new GustError("closed", "the adapter");
    }
    if (this.#group !== group) {
      throw invalidArgument("adapter", "one that was loaded for the session's model", "one of another model");
    }
    return this.#resource;
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
}

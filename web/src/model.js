// A loaded model.

import {
  CHAT_OPTIONS,
  DETOKENIZE_OPTIONS,
  RENDER_OPTIONS,
  SESSION_OPTIONS,
  TOKENIZE_OPTIONS,
  check,
  text,
  tokenIds,
} from "./options.js";
import { plainNumbers } from "./numbers.js";
import { Session } from "./session.js";

export class Model {
  #group;
  #resource;
  #draft;

  /** Loads the model that was given to the group's members. */
  static async load(group, { scope, draft, build, signal }) {
    const model = new Model();
    const onAbort = () => group.close();
    signal?.addEventListener("abort", onAbort);
    try {
      const load = (name) => group.make({ call: "loadModel", args: [name, { scope }] }, signal);
      model.#group = group;
      model.build = build;
      model.#resource = await load("model");
      model.#draft = draft === undefined ? undefined : await load("draft");
      const infos = await group.callEach({ call: "info", of: model.#resource });
      model.info = Object.freeze(plainNumbers(infos[0]));
      return model;
    } catch (error) {
      await group.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  get threads() {
    return this.#group.size;
  }

  async metadata() {
    return plainNumbers(await this.#ask("metadata"));
  }

  async tensors() {
    return plainNumbers(await this.#ask("tensors"));
  }

  async tokenize(prompt, options = {}) {
    check("tokenize options", options, TOKENIZE_OPTIONS);
    return this.#ask("tokenize", text("text", prompt), options);
  }

  async detokenize(tokens, options = {}) {
    check("detokenize options", options, DETOKENIZE_OPTIONS);
    return this.#ask("detokenize", tokenIds(tokens), options.renderSpecial ?? false);
  }

  async renderChat(messages, options = {}) {
    check("chat options", options, CHAT_OPTIONS);
    const turns = messages.map(({ role, content }) => ({
      role: text("role", role),
      content: text("content", content),
    }));
    const { variables } = options;
    return this.#ask("renderChat", turns, {
      ...options,
      variables: variables === undefined ? undefined : JSON.stringify(variables),
    });
  }

  async render(messages, options = {}) {
    check("render options", options, RENDER_OPTIONS);
    const { tools, variables, now = new Date() } = options;
    const json = (value) => (value === undefined ? undefined : JSON.stringify(value));
    const given = { ...options, tools: json(tools), variables: json(variables), now: localSeconds(now) };
    const turns = messages.map(turn);
    return this.#group.ask({ call: "render", from: "chat", of: this.#resource, args: [turns, given] });
  }

  async session(options = {}) {
    check("session options", options, SESSION_OPTIONS);
    const group = this.#group;
    const session = await group.make({ call: "newSession", of: this.#resource, args: [options] });
    if (this.#draft !== undefined) {
      await group.call({ call: "setDraftModel", of: session, with: this.#draft });
    }
    return new Session(group, session);
  }

  /** Terminates the workers. */
  async close() {
    await this.#group.close();
  }

  async [Symbol.asyncDispose ?? Symbol.for("asyncDispose")]() {
    await this.close();
  }

  #ask(call, ...args) {
    return this.#group.ask({ call, of: this.#resource, args });
  }
}

/** A message as the engine expects it: what is more than a role and a text is JSON. */
function turn({ role, content, ...others }) {
  const isText = typeof content === "string";
  const fields = isText ? others : { content: content ?? null, ...others };
  return {
    role: text("role", role),
    content: isText ? content : undefined,
    fields: Object.keys(fields).length === 0 ? undefined : JSON.stringify(fields),
  };
}

/** Seconds since 1970 on a clock that shows the local time: a prompt has the user's date. */
function localSeconds(date) {
  return BigInt(Math.floor(date.getTime() / 1000) - 60 * date.getTimezoneOffset());
}

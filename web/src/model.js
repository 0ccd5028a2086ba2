// A loaded model.

import {
  ADAPTER_OPTIONS,
  CHAT_OPTIONS,
  DETOKENIZE_OPTIONS,
  EMBED_OPTIONS,
  RENDER_OPTIONS,
  RERANK_OPTIONS,
  SESSION_OPTIONS,
  TOKENIZE_OPTIONS,
  check,
  text,
  textOrTokens,
  texts,
  tokenIds,
} from "./options.js";
import { Adapter } from "./adapter.js";
import { embedEach, normalized, ranked } from "./embedding.js";
import { GustError, invalidArgument } from "./error.js";
import { plainNumbers } from "./numbers.js";
import { Session } from "./session.js";

export class Model {
  #group;
  #resource;
  #draft;
  #findAdapter;

  /**
   * Loads the model that was given to the group's members. `files` are the numbers of files that were given;
   * `findAdapter` finds what the members open.
   */
  static async load(group, { scope, draft, tokenizer, build, signal, files, findAdapter }) {
    const model = new Model();
    const onAbort = () => group.close();
    signal?.addEventListener("abort", onAbort);
    try {
      const load = async (name) => {
        const own = { call: "loadModel", args: [name, { scope }] };
        const other = { call: "loadModel", from: "tokenizers", args: [name, "tokenizer", { scope }] };
        const resource = await group.make(tokenizer === undefined ? own : other, signal);
        await checkCount(group, resource, files[name]);
        return resource;
      };
      model.#group = group;
      model.#findAdapter = findAdapter;
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

  async embeddingInfo() {
    return this.#group.ask(this.#embedding("info"));
  }

  async embed(given, options = {}) {
    check("embed options", options, EMBED_OPTIONS);
    const isList = Array.isArray(given);
    const inputs = (isList ? given : [given]).map(textOrTokens);
    const pooling = options.pooling ?? (await this.#pooling());
    const vectors = await embedEach(inputs, { isList, ...options }, async (input) => {
      const tokens = typeof input === "string" ? await this.#group.ask(this.#embedding("tokenize", input)) : input;
      const vector = await this.#vector(tokens, pooling, options.signal);
      const isScaled = pooling !== "rank" && (options.normalize ?? true);
      return isScaled ? normalized(vector, pooling === "none" ? tokens.length : 1) : vector;
    });
    return isList ? vectors : vectors[0];
  }

  async rerank(query, documents, options = {}) {
    check("rerank options", options, RERANK_OPTIONS);
    text("query", query);
    texts("documents", documents);
    if (!(await this.#ranks(query))) {
      const { pooling } = await this.embeddingInfo();
      const expected = "a reranker, which has a classifier for the pooling rank";
      const mismatch = { subject: "model", expected, found: `pooling ${pooling}` };
      const hint = "use a reranker such as bge-reranker; `embed` compares texts by their vectors";
      throw Object.assign(new GustError("unsupported", mismatch), { hint });
    }
    const scores = await embedEach(documents, { isList: true, ...options }, async (document) => {
      // The first label is the relevance.
      const [score] = await this.#vector(await this.tokenizePair(query, document), "rank", options.signal);
      return score;
    });
    return ranked(documents, scores).slice(0, options.top);
  }

  async tokenizePair(query, document) {
    return this.#group.ask(this.#embedding("tokenizePair", text("query", query), text("document", document)));
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

  async loadAdapter(source, options = {}) {
    check("adapter options", options, ADAPTER_OPTIONS);
    const { signal } = options;
    signal?.throwIfAborted();
    const adapter = await this.#findAdapter(source);
    const load = { call: "load", from: "adapters", args: ["adapter"], with: this.#resource, sources: { adapter } };
    const resource = await this.#group.make(load, signal);
    const leftOut = await this.#group.ask({ call: "leftOut", from: "adapters", of: resource, args: [] });
    return new Adapter(this.#group, resource, leftOut);
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

  /** Whether the model has a classifier. Its file need not ask for that pooling: llama.cpp's converter leaves it open. */
  async #ranks(query) {
    if ((await this.embeddingInfo()).pooling === "rank") {
      return true;
    }
    try {
      await this.#vector(await this.tokenizePair(query, ""), "rank");
    } catch (error) {
      if (error.code === "invalid-argument" && error.detail.subject === "pooling") {
        return false;
      }
    }
    return true;
  }

  /** The pooling that the file asks for; if it asks for none, the mean. */
  async #pooling() {
    const { pooling } = await this.embeddingInfo();
    return pooling === "none" ? "mean" : pooling;
  }

  #vector(tokens, pooling, signal) {
    return this.#group.call(this.#embedding("embed", tokens, { pooling }), signal);
  }

  #embedding(call, ...args) {
    return { call, from: "embedding", of: this.#resource, args };
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

/** Refuses files that the engine did not ask for: they belong to another model. */
async function checkCount(group, resource, given) {
  if (given > 1) {
    const metadata = await group.ask({ call: "metadata", of: resource });
    const count = metadata.find(({ key }) => key === "split.count")?.value ?? "1";
    if (count !== String(given)) {
      throw invalidArgument("source", `as many files as the first one says (${count})`, given);
    }
  }
}

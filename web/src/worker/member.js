// The code of a worker: it has one instance of the engine, and executes calls into it one at a time.
//
// The first message starts it. Each further message is a call:
//   { call, of, from, with, args, sources, keep, dropped }
// It calls the method `call` of the resource `of` (of the engine if there is none), or the function `call` of the
// interface `from` with the resource `of`, if there is one, before the arguments. It passes `with` after the arguments:
// a resource, or a list of resources, each with a number. It keeps the result as the resource `keep`. Resources are
// numbers that the caller chose; `dropped` are those that are no longer used. `sources` are open for this call alone.
// An answer is one of
//   { done: value }, { refused: error }, { lost: reason }
// where `error` is the engine's `error` variant, and `reason` says why the instance has ended.

import { ALONE, Meeting, Member } from "../meeting.js";
import { instance } from "./instance.js";

/** Answers the messages of `port`. `open` opens the caller's sources as blobs (see weights.js). */
export function serve(port, open) {
  let answer = async (start) => {
    const member = await Resident.start(start, open, (read) => port.post({ read }));
    answer = (call) => member.answer(call);
    return { done: undefined };
  };
  port.receive(async (message) => {
    try {
      port.post(await answer(message));
    } catch (error) {
      port.post({ lost: String(error?.message ?? error) });
    }
  });
}

/** An instance, its resources and its place in the group. */
class Resident {
  static async start({ rank, meeting, modules, sources }, open, onRead) {
    const member = meeting && new Member(new Meeting(meeting.buffer, meeting.size, meeting.processors), rank);
    const models = await opened(sources, open);
    const size = models.model.files.reduce((sum, blob) => sum + blob.size, 0);
    const report = rank === 0 ? inSteps(size, onRead) : () => undefined;
    const { lastWords, ...interfaces } = await instance({
      modules,
      models,
      member: member ?? ALONE,
      onRead: report,
    });
    return new Resident({ interfaces, lastWords, member, models, open });
  }

  constructor(parts) {
    Object.assign(this, parts);
    this.resources = new Map();
  }

  async answer(call) {
    const answer = await this.#withSources(call);
    this.member?.meeting.leave(this.member.rank(), !("done" in answer));
    return answer;
  }

  /** Performs a call while its sources are open. */
  async #withSources({ sources = {}, ...call }) {
    let models = {};
    try {
      models = await opened(sources, this.open);
      Object.assign(this.models, models);
      return this.#perform(call);
    } catch (error) {
      return { refused: { tag: "io", val: String(error?.message ?? error) } };
    } finally {
      for (const [name, { files }] of Object.entries(models)) {
        delete this.models[name];
        files.forEach((blob) => blob.close());
      }
    }
  }

  #perform({ call, of, from, with: other, args, keep, dropped }) {
    try {
      for (const id of dropped) {
        this.resources.get(id)?.[Symbol.dispose ?? Symbol.for("dispose")]();
        this.resources.delete(id);
      }
      const resource = this.resources.get(of);
      const given = other === undefined ? args : [...args, this.#resolved(other)];
      const value =
        from === undefined
          ? (resource ?? this.interfaces.engine)[call](...given)
          : this.interfaces[from][call](...(of === undefined ? [] : [resource]), ...given);
      if (keep === undefined) {
        return { done: value };
      }
      this.resources.set(keep, value);
      return { done: undefined };
    } catch (error) {
      // jco throws the engine's own errors unchanged, and an `Error` for any other failure.
      if (!(error instanceof Error) && error?.tag !== undefined) {
        return { refused: error };
      }
      const words = this.lastWords().replace(/\nnote: run with `RUST_BACKTRACE=1`.*$/s, "");
      const trap = String(error?.message ?? error);
      return { lost: words === "" ? trap : `${words} (${trap})` };
    }
  }

  /** A resource, or a list of resources, each with a number. */
  #resolved(other) {
    return Array.isArray(other)
      ? other.map(([id, number]) => [this.resources.get(id), number])
      : this.resources.get(other);
  }
}

/** Opens the files of models. */
async function opened(sources, open) {
  const models = {};
  for (const [model, { name, files }] of Object.entries(sources)) {
    models[model] = { name, files: [] };
    for (const file of files) {
      models[model].files.push(await open(file));
    }
  }
  return models;
}

/** Reports to `onRead` how many bytes have been read, about a hundred times in total for `size` bytes. */
function inSteps(size, onRead) {
  let read = 0;
  let told = 0;
  return (count) => {
    read += count;
    if (read - told >= size / 100) {
      told = read;
      onRead(read);
    }
  };
}

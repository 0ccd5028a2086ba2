// A group: the instances of the engine that compute one model together, and how they are called.
//
// Each member lives in a worker. All execute the same calls with the same arguments, and synchronise in the meeting
// (meeting.js); the result of the first member, the lead, is used. Only the lead executes calls that need no weights.
// Calls are executed one at a time, in the order in which they were made. A group that has ended rejects every call
// with the reason.

import { GustError, about } from "./error.js";
import { CANCELLED_CALL, Meeting } from "./meeting.js";

export class Group {
  #members;
  #meeting;
  #queue = Promise.resolve();
  #dropped = [];
  #nextResource = 1;
  #ended;
  #workersEnded;

  /**
   * Starts `size` members. `host` creates the workers, `modules` are the engine's, `sources` are what `weights` finds
   * by name, each a name and the files of a model. `onRead` receives the number of bytes that the lead has read.
   */
  static async start({ host, size, modules, sources, onRead, signal }) {
    const group = new Group(host, size, onRead);
    const onAbort = () => group.#end(signal.reason);
    signal?.addEventListener("abort", onAbort);
    try {
      const meeting = group.#meeting && { buffer: group.#meeting.words.buffer, size, processors: host.processors() };
      await group.#run(group.#members, (rank) => ({ rank, meeting, modules, sources }));
    } catch (error) {
      await group.close();
      const isCrowded = size > 1 && error?.code === "lost" && /memory/i.test(error.message);
      throw isCrowded ? about(error, undefined, "use fewer threads: each needs memory and address space") : error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
    return group;
  }

  constructor(host, size, onRead) {
    this.#meeting = host.sharesMemory() ? new Meeting(Meeting.buffer(size), size, host.processors()) : undefined;
    this.#members = Array.from({ length: size }, (_, rank) => {
      const worker = host.worker();
      const member = { rank, worker, settle: undefined };
      worker.receive((message) => ("read" in message ? onRead?.(message.read) : member.settle?.(message)));
      worker.lost((reason) => {
        // It can no longer leave by itself, and the others must not wait for it.
        this.#meeting?.leave(rank, true);
        member.settle ? member.settle({ lost: reason }) : this.#end(new GustError("lost", reason));
      });
      return member;
    });
  }

  /** The number of members. */
  get size() {
    return this.#members.length;
  }

  /** Calls only the lead, for calls that need no other member and change nothing. */
  ask(call) {
    return this.#enqueue(async () => (await this.#perform([this.#members[0]], call))[0]);
  }

  /** Calls all members and returns the lead's result. If it is cancelled, the session is as it was before. */
  async call(call, signal) {
    return (await this.callEach(call, signal))[0];
  }

  /** Calls all members and returns their results, the lead's first. */
  callEach(call, signal) {
    return this.#enqueue(() => this.#perform(this.#members, call, signal));
  }

  /** Creates a resource in all members, and returns its number. */
  make(call, signal) {
    const keep = this.#nextResource++;
    return this.#enqueue(async () => {
      await this.#perform(this.#members, { ...call, keep }, signal);
      return keep;
    });
  }

  /** Releases a resource after the calls that have been made. The members learn of it with the next one. */
  discard(resource) {
    this.#enqueue(async () => this.#dropped.push(resource));
  }

  /** Terminates all workers and waits for them. The current call is rejected with an error. */
  async close() {
    this.#end(new GustError("closed", "the model"));
    await this.#workersEnded;
  }

  #enqueue(work) {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #perform(members, call, signal) {
    signal?.throwIfAborted();
    // Resources can only be released in a call that all members execute.
    const dropped = members === this.#members ? this.#dropped.splice(0) : [];
    const message = { args: [], ...call, dropped };
    const onAbort = () => this.#meeting?.cancel();
    this.#meeting?.begin(members.length);
    signal?.addEventListener("abort", onAbort);
    try {
      return await this.#run(members, () => message, signal);
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Sends each of `members` its message, and waits for all answers. */
  async #run(members, messageFor, signal) {
    if (this.#ended) {
      throw this.#ended;
    }
    const answers = await Promise.all(
      members.map((member) => {
        const answer = new Promise((resolve) => (member.settle = resolve));
        member.worker.hold();
        member.worker.post(messageFor(member.rank));
        return answer.finally(() => {
          member.settle = undefined;
          member.worker.release();
        });
      }),
    );
    return this.#agreed(answers, messageFor(0), signal);
  }

  /** The results of all members, if all have succeeded; the failure of one is the result for all. */
  #agreed(answers, { keep }, signal) {
    const cause = this.#meeting?.firstFailed() ?? -1;
    const first = (kind) =>
      answers[cause]?.[kind] !== undefined ? answers[cause] : answers.find((answer) => kind in answer);
    const lost = first("lost");
    if (lost) {
      throw this.#end(new GustError("lost", lost.lost));
    }
    const refused = first("refused");
    if (!refused) {
      return answers.map((answer) => answer.done);
    }
    const { tag, val } = refused.refused;
    const isCancelled = tag === "aborted" && val === CANCELLED_CALL && signal?.aborted;
    const error = isCancelled ? signal.reason : new GustError(tag, val);
    if (answers.some((answer) => "done" in answer)) {
      if (keep === undefined) {
        // Some members have executed the call and others have not: they cannot continue together.
        throw this.#end(error);
      }
      this.discard(keep);
    }
    throw error;
  }

  #end(reason) {
    if (!this.#ended) {
      this.#ended = reason;
      const ends = this.#members.map(({ rank, worker, settle }) => {
        this.#meeting?.leave(rank, true);
        settle?.({ lost: String(reason?.message ?? reason) });
        return worker.end();
      });
      this.#workersEnded = Promise.all(ends);
    }
    return this.#ended;
  }
}

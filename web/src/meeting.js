// The `collective` import: where the instances of a group meet, each in its own worker.
//
// They synchronise through one SharedArrayBuffer. `allGather` is a barrier: a member that arrives spins for a moment,
// because the others are usually closer behind than that, and then sleeps. It cannot hang: a member that ends a call,
// successfully or not, leaves, and a member that waits for one that has left must leave too. Cancellation travels with
// the parts of a gather, so all members learn of it at the same gather and are in the same state afterwards.
//
// The buffer starts with 32-bit words: those of the meeting, then SEAT words for each member, on separate cache lines.
// After them, each member has space for its parts of the last two gathers. Two are enough: a member that brings its
// next part has read all parts of the previous gather, and so has every member that lets that gather end.

import { GustError } from "./error.js";

/** The words of the meeting. */
const CANCEL = 0;
const FAILED = 1; // 1 + the rank of the first member of this call that failed
const NEWS = 2; // counts the events that sleepers wait for
const SLEEPERS = 3; // members that sleep or are about to sleep

/** The words of a member. */
const SEAT = 32;
const ARRIVED = 0; // how many barriers of this call it has reached
const GONE = 1;
const LENGTH = 2; // bytes of its part, for each of the two places
const CANCELLED = 4; // whether it had seen that the call is cancelled, for each of the two places

/** Bytes of a part that are gathered at once; a longer part takes several turns. */
const ROOM = 1 << 18;

/** How long a waiting member spins, in milliseconds: longer than members with the same work are usually apart. */
const PATIENCE = 0.1;

/** Why a member must leave a call, in jco's form for errors of imports: with a payload. */
class Leave extends Error {
  constructor(reason) {
    super(reason);
    this.payload = { tag: "aborted", val: reason };
  }
}

/** The reason that `allGather` and `checkpoint` give if the call was cancelled. */
export const CANCELLED_CALL = "cancelled";

/** Memory that all workers can reach. */
export function sharedBuffer(length) {
  try {
    return new SharedArrayBuffer(length);
  } catch (error) {
    throw error instanceof RangeError ? new GustError("out-of-memory", { needed: length }) : error;
  }
}

/** The shared state of instances that compute together. */
export class Meeting {
  /** A buffer for `size` members. */
  static buffer(size) {
    return sharedBuffer(4 * SEAT * (1 + size) + 2 * ROOM * size);
  }

  /** The meeting in a buffer. `processors` is how many members can run at the same time. */
  constructor(buffer, size, processors) {
    this.size = size;
    this.words = new Int32Array(buffer, 0, SEAT * (1 + size));
    this.bytes = new Uint8Array(buffer, 4 * SEAT * (1 + size));
    // No spinning with more members than processors: a member that is behind needs the processor.
    this.patience = size <= processors ? PATIENCE : 0;
  }

  /** Begins a call of the first `called` members. No member may be in a call. */
  begin(called) {
    Atomics.store(this.words, CANCEL, 0);
    Atomics.store(this.words, FAILED, 0);
    for (let rank = 0; rank < this.size; rank++) {
      Atomics.store(this.words, seat(rank) + ARRIVED, 0);
      Atomics.store(this.words, seat(rank) + GONE, rank < called ? 0 : 1);
    }
  }

  /** Makes all members leave their current call. */
  cancel() {
    Atomics.store(this.words, CANCEL, 1);
  }

  isCancelled() {
    return Atomics.load(this.words, CANCEL) === 1;
  }

  /** Ends the call of one member, which may have failed. Has no effect if it has already left. */
  leave(rank, hasFailed) {
    if (this.isGone(rank)) {
      return;
    }
    if (hasFailed) {
      Atomics.compareExchange(this.words, FAILED, 0, 1 + rank);
    }
    Atomics.store(this.words, seat(rank) + GONE, 1);
    this.wake();
  }

  isGone(rank) {
    return Atomics.load(this.words, seat(rank) + GONE) === 1;
  }

  /** The rank of the member that failed first in this call, the cause of any later failures; -1 if none failed. */
  firstFailed() {
    return Atomics.load(this.words, FAILED) - 1;
  }

  /** The lengths of the parts at a place. */
  lengths(place) {
    return Array.from({ length: this.size }, (_, rank) => Atomics.load(this.words, seat(rank) + LENGTH + place));
  }

  /** Copies the members' parts at a place into `gathered`: from each part, the bytes from `done` on. */
  collect(gathered, lengths, place, done) {
    let start = 0;
    for (let rank = 0; rank < this.size; rank++) {
      const length = Math.min(lengths[rank] - done, ROOM);
      if (length > 0) {
        const from = room(rank, place);
        gathered.set(this.bytes.subarray(from, from + length), start + done);
      }
      start += lengths[rank];
    }
  }

  wake() {
    if (Atomics.load(this.words, SLEEPERS) > 0) {
      Atomics.add(this.words, NEWS, 1);
      Atomics.notify(this.words, NEWS);
    }
  }

  /** Waits until `over` holds. Other members make it true and then call `wake`. */
  wait(over) {
    if (stayAwake(this.patience, over)) {
      return;
    }
    // This order is the opposite of `wake`'s: either the waker sees the sleeper, or the sleeper sees the waker's
    // change.
    Atomics.add(this.words, SLEEPERS, 1);
    for (;;) {
      const news = Atomics.load(this.words, NEWS);
      if (over()) {
        Atomics.sub(this.words, SLEEPERS, 1);
        return;
      }
      Atomics.wait(this.words, NEWS, news);
    }
  }
}

/** A member's place in a group: the functions of `gust:llm/collective`. */
export class Member {
  constructor(meeting, rank) {
    this.meeting = meeting;
    this.number = rank;
  }

  rank() {
    return this.number;
  }

  size() {
    return this.meeting.size;
  }

  /**
   * Brings a part, waits for the other members' parts, and returns all of them concatenated in order of rank, in the
   * array that `allocate` creates for their total length. `part` is not read any more after calling `allocate`.
   */
  allGather(part, allocate) {
    const { meeting, number } = this;
    const isCancelled = meeting.isCancelled();
    const rest = part.length > ROOM ? part.slice() : part;
    let place = this.#bring(rest, 0, isCancelled);
    const lengths = meeting.lengths(place);
    const gathered = allocate(lengths.reduce((sum, length) => sum + length, 0));
    const longest = Math.max(...lengths);
    for (let done = 0; ; ) {
      meeting.collect(gathered, lengths, place, done);
      done += ROOM;
      if (done >= longest) {
        return gathered;
      }
      place = this.#bring(rest, done, isCancelled);
    }
  }

  /** Asks whether to continue. Several members could see a cancellation at different points, so they use gathers. */
  checkpoint() {
    if (this.meeting.size === 1 && this.meeting.isCancelled()) {
      throw new Leave(CANCELLED_CALL);
    }
  }

  /** Shows the others the part from byte `done` on, and waits for theirs. Returns the place of the parts. */
  #bring(part, done, isCancelled) {
    const { meeting, number } = this;
    const { words } = meeting;
    const own = seat(number);
    if (meeting.isGone(number)) {
      throw new Leave("this member has left the call");
    }
    const turn = Atomics.load(words, own + ARRIVED) + 1;
    const place = turn % 2;
    meeting.bytes.set(part.subarray(done, done + ROOM), room(number, place));
    Atomics.store(words, own + LENGTH + place, part.length);
    Atomics.store(words, own + CANCELLED + place, isCancelled ? 1 : 0);
    Atomics.store(words, own + ARRIVED, turn);
    meeting.wake();

    let isTold = false;
    const hasCome = (rank) => Atomics.load(words, seat(rank) + ARRIVED) >= turn;
    meeting.wait(() => {
      for (let rank = 0; rank < meeting.size; rank++) {
        if (!hasCome(rank)) {
          return meeting.isGone(rank);
        }
      }
      return true;
    });
    for (let rank = 0; rank < meeting.size; rank++) {
      if (!hasCome(rank)) {
        // It will never arrive, and this member must not continue without it.
        meeting.leave(number, true);
        throw new Leave(`instance ${rank} of the group has left the call`);
      }
      if (Atomics.load(words, seat(rank) + CANCELLED + place) === 1) {
        isTold = true;
      }
    }
    if (isTold) {
      throw new Leave(CANCELLED_CALL);
    }
    return place;
  }
}

/** A group of one without shared memory: it cannot receive anything while it computes. */
export const ALONE = {
  rank: () => 0,
  size: () => 1,
  allGather(part, allocate) {
    const own = part.slice();
    const gathered = allocate(own.length);
    gathered.set(own);
    return gathered;
  },
  checkpoint: () => undefined,
};

function seat(rank) {
  return SEAT * (1 + rank);
}

function room(rank, place) {
  return ROOM * (2 * rank + place);
}

/** Spins until `over` holds, for at most `patience` milliseconds. Returns whether it holds. */
function stayAwake(patience, over) {
  const LOOKS = 64; // between two reads of the clock
  let start;
  for (;;) {
    for (let look = 0; look < LOOKS; look++) {
      if (over()) {
        return true;
      }
    }
    const now = performance.now();
    start ??= now;
    if (now - start >= patience) {
      return over();
    }
  }
}

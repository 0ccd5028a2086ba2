// The `collective` import: the group of instances that compute one model, each in a worker of its own.
//
// They meet in one SharedArrayBuffer. `allGather` is a barrier: who comes spins for a moment, because the others are
// usually less than that behind, and then sleeps. It cannot hang: whoever ends a call, well or not, leaves, and who
// waits for one that has left is told to leave too. Cancelling is decided by the parts of a gather, so that all members
// are told at the same one and are in the same state afterwards.
//
// Of the buffer, 32-bit words come first: those of the group, then SEAT words for each member, on cache lines of their
// own. Behind them each member has room for its parts of the last two gathers. Two are enough: who brings the next one
// has read all of the one before, and so has everyone who lets that gather end.

/** The words of the group. */
const CANCEL = 0;
const FAILED = 1; // 1 + the rank of the first member of this call that failed
const NEWS = 2; // counts what sleepers may wait for
const SLEEPERS = 3; // members that sleep or are about to

/** The words of a member. */
const SEAT = 32;
const ARRIVED = 0; // barriers of this call that it has come to
const GONE = 1;
const LENGTH = 2; // bytes of its part, for each of the two places
const CANCELLED = 4; // whether it had seen that the call is cancelled, for each of the two places

/** Bytes of a part that are gathered at once; a longer one takes several turns. */
const ROOM = 1 << 18;

/** How long who waits stays awake, in milliseconds: longer than members that have the same to do are usually apart. */
const PATIENCE = 0.1;

/** Why a member is to leave a call, as jco wants the errors of imports: with a payload. */
class Leave extends Error {
  constructor(reason) {
    super(reason);
    this.payload = { tag: "aborted", val: reason };
  }
}

/** What `allGather` and `checkpoint` say where the call was cancelled. */
export const CANCELLED_CALL = "cancelled";

/** Instances that compute together: what all of them share. */
export class Group {
  /** A buffer for `size` members. */
  static buffer(size) {
    return new SharedArrayBuffer(4 * SEAT * (1 + size) + 2 * ROOM * size);
  }

  /** The group of one buffer. `processors` is how many members can run at the same time. */
  constructor(buffer, size, processors) {
    this.size = size;
    this.words = new Int32Array(buffer, 0, SEAT * (1 + size));
    this.bytes = new Uint8Array(buffer, 4 * SEAT * (1 + size));
    // None where there are more members than processors: those that are behind need the one that would spin.
    this.patience = size <= processors ? PATIENCE : 0;
  }

  /** Begins a call of the first `called` members. Nobody may be in a call. */
  begin(called) {
    Atomics.store(this.words, CANCEL, 0);
    Atomics.store(this.words, FAILED, 0);
    for (let rank = 0; rank < this.size; rank++) {
      Atomics.store(this.words, seat(rank) + ARRIVED, 0);
      Atomics.store(this.words, seat(rank) + GONE, rank < called ? 0 : 1);
    }
  }

  /** Has all members leave the call that they are in. */
  cancel() {
    Atomics.store(this.words, CANCEL, 1);
  }

  isCancelled() {
    return Atomics.load(this.words, CANCEL) === 1;
  }

  /** Ends the call of one member, which may have failed. Of no effect where it has left already. */
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

  /** The rank of the member that failed first in this call: the cause, where others failed because of it. Else -1. */
  firstFailed() {
    return Atomics.load(this.words, FAILED) - 1;
  }

  /** The lengths of the parts at a place. */
  lengths(place) {
    return Array.from({ length: this.size }, (_, rank) => Atomics.load(this.words, seat(rank) + LENGTH + place));
  }

  /** Copies what the members have at a place to where it belongs: of each part, the bytes from `done` on. */
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

  /** Waits until `over` holds, which others make true and then `wake`. */
  wait(over) {
    if (stayAwake(this.patience, over)) {
      return;
    }
    // In this order, and `wake` in the opposite one: either it sees a sleeper, or the sleeper what it has done.
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
  constructor(group, rank) {
    this.group = group;
    this.number = rank;
  }

  rank() {
    return this.number;
  }

  size() {
    return this.group.size;
  }

  /**
   * Brings a part, waits for the others', and gives all of them put together, in order of rank, in the array of so many
   * bytes that `allocate` makes. `part` is not looked at any more after that.
   */
  allGather(part, allocate) {
    const { group, number } = this;
    const isCancelled = group.isCancelled();
    const rest = part.length > ROOM ? part.slice() : part;
    let place = this.#bring(rest, 0, isCancelled);
    const lengths = group.lengths(place);
    const gathered = allocate(lengths.reduce((sum, length) => sum + length, 0));
    const longest = Math.max(...lengths);
    for (let done = 0; ; ) {
      group.collect(gathered, lengths, place, done);
      done += ROOM;
      if (done >= longest) {
        return gathered;
      }
      place = this.#bring(rest, done, isCancelled);
    }
  }

  /** Asks whether to go on. Several members could see it at different places; they are told at a gather. */
  checkpoint() {
    if (this.group.size === 1 && this.group.isCancelled()) {
      throw new Leave(CANCELLED_CALL);
    }
  }

  /** Shows the others the part from byte `done` on, and waits for theirs. Gives the place where they are. */
  #bring(part, done, isCancelled) {
    const { group, number } = this;
    const { words } = group;
    const own = seat(number);
    if (group.isGone(number)) {
      throw new Leave("this member has left the call");
    }
    const turn = Atomics.load(words, own + ARRIVED) + 1;
    const place = turn % 2;
    group.bytes.set(part.subarray(done, done + ROOM), room(number, place));
    Atomics.store(words, own + LENGTH + place, part.length);
    Atomics.store(words, own + CANCELLED + place, isCancelled ? 1 : 0);
    Atomics.store(words, own + ARRIVED, turn);
    group.wake();

    let isTold = false;
    const hasCome = (rank) => Atomics.load(words, seat(rank) + ARRIVED) >= turn;
    group.wait(() => {
      for (let rank = 0; rank < group.size; rank++) {
        if (!hasCome(rank)) {
          return group.isGone(rank);
        }
      }
      return true;
    });
    for (let rank = 0; rank < group.size; rank++) {
      if (!hasCome(rank)) {
        // It will not come any more, and this one must not go on without it.
        group.leave(number, true);
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

/** A group of one where no memory can be shared: nothing can be said to it while it computes. */
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

/** Spins until `over` holds, at most for `patience` milliseconds. Says whether it does. */
function stayAwake(patience, over) {
  const LOOKS = 64; // between two at the clock
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

// The barrier: parts of any length arrive whole and in order, and nobody waits for what will not come.

import assert from "node:assert/strict";
import test from "node:test";
import { Worker } from "node:worker_threads";
import { Meeting } from "../src/meeting.js";

/** Has `size` workers run `body(member, meeting)` at the same time, and gives what each of them returns or throws. */
async function together(size, body, meanwhile = () => undefined) {
  const meeting = new Meeting(Meeting.buffer(size), size, 2);
  meeting.begin(size);
  const code = `
    const { parentPort, workerData: { buffer, size, rank, meeting } } = require("node:worker_threads");
    import(meeting).then(async ({ Meeting, Member }) => {
      const meeting = new Meeting(buffer, size, 2);
      const member = new Member(meeting, rank);
      const make = (length) => new Uint8Array(length);
      try {
        parentPort.postMessage({ value: await (${body})(member, meeting, make) });
      } catch (error) {
        parentPort.postMessage({ error: error.payload ?? String(error) });
      }
    });`;
  const outcomes = Array.from({ length: size }, (_, rank) => {
    const workerData = {
      buffer: meeting.words.buffer,
      size,
      rank,
      meeting: new URL("../src/meeting.js", import.meta.url).href,
    };
    const worker = new Worker(code, { eval: true, workerData });
    return new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject)).finally(() =>
      worker.terminate(),
    );
  });
  await meanwhile(meeting);
  return { meeting, outcomes: await Promise.all(outcomes) };
}

test("parts of all lengths, also longer than the room, in order of rank", async () => {
  const { outcomes } = await together(3, (member, meeting, make) => {
    for (let round = 0; round < 300; round++) {
      const length = (rank) => (round % 50 === 7 ? 300_000 * rank + 5 : (round * (rank + 3)) % 700);
      const part = new Uint8Array(length(member.rank())).fill(16 * member.rank() + (round % 16));
      part[0] = 255;
      const all = member.allGather(part, make);
      let at = 0;
      for (let rank = 0; rank < 3; rank++) {
        const expected = new Uint8Array(length(rank)).fill(16 * rank + (round % 16));
        expected[0] = 255;
        const found = all.subarray(at, (at += expected.length));
        if (Buffer.compare(found, expected) !== 0) {
          throw new Error(`round ${round}, part ${rank}`);
        }
      }
      if (at !== all.length) {
        throw new Error(`round ${round}: ${all.length} bytes`);
      }
    }
    return "done";
  });
  assert.deepEqual(outcomes, Array(3).fill({ value: "done" }));
});

test("who waits for a member that has left is told to leave too", async () => {
  const { outcomes, meeting } = await together(3, (member, meeting, make) => {
    for (let round = 0; round < 5; round++) {
      if (round === 3 && member.rank() === 1) {
        meeting.leave(1, true);
        return "left";
      }
      member.allGather(new Uint8Array(4), make);
    }
    return "done";
  });
  assert.deepEqual(outcomes[1], { value: "left" });
  for (const rank of [0, 2]) {
    assert.equal(outcomes[rank].error.tag, "aborted");
    assert.match(outcomes[rank].error.val, /instance \d of the group has left the call/);
  }
  assert.equal(meeting.firstFailed(), 1);
});

test("all members are told at the same gather that the call is cancelled", async () => {
  const cancelSoon = (meeting) => new Promise((resolve) => setTimeout(() => resolve(meeting.cancel()), 100));
  const count = (member, meeting, make) => {
    let gathers = 0;
    try {
      for (;;) {
        member.checkpoint();
        member.allGather(new Uint8Array(100), make);
        gathers++;
      }
    } catch (error) {
      return { gathers, ...error.payload };
    }
  };
  const { outcomes } = await together(3, count, cancelSoon);
  const [first, ...others] = outcomes.map(({ value }) => value);
  assert.deepEqual({ tag: first.tag, val: first.val }, { tag: "aborted", val: "cancelled" });
  others.forEach((other) => assert.deepEqual(other, first));
});

test("a group of one is told at a checkpoint", async () => {
  const { outcomes } = await together(1, (member, meeting) => {
    member.checkpoint();
    meeting.cancel();
    member.checkpoint();
  });
  assert.deepEqual(outcomes, [{ error: { tag: "aborted", val: "cancelled" } }]);
});

// The judge of the end-to-end tests finds what it is there for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inOrder, onceEach } from "./judge.ts";
import type { GapLog, Got, Report, SubLog } from "./plan.ts";

const sub = (got: Got[], gaps: GapLog[] = []): SubLog => ({ channel: "c", got, gaps, status: [], subscribed: 1, ended: undefined });
const gap = (after: [number, number], next: [number, number]): GapLog =>
  ({ after: { epoch: after[0], seq: after[1] }, next: { epoch: next[0], seq: next[1] }, reason: "trimmed", reset: false });

test("what is in order passes", () => {
  inOrder(sub([[1, 5, 5, 0], [1, 6, 6, 0], [1, 7, 7, 0]]), 7);
  inOrder(sub([[1, 5, 5, 0], [1, 9, 9, 0]], [gap([1, 5], [1, 9])]), 9);
  inOrder(sub([[1, 5, 5, 0], [2, 1, 6, 0]], [gap([1, 5], [2, 1])]), 6);
});

const faults: Record<string, [SubLog, last: number]> = {
  "a double": [sub([[1, 5, 5, 0], [1, 5, 5, 0], [1, 6, 6, 0]]), 6],
  "a hole": [sub([[1, 5, 5, 0], [1, 7, 7, 0]]), 7],
  "a hole behind right positions": [sub([[1, 5, 5, 0], [1, 6, 7, 0]]), 7],
  "another order": [sub([[1, 6, 6, 0], [1, 5, 5, 0]]), 5],
  "a gap too wide": [sub([[1, 5, 5, 0], [1, 9, 9, 0]], [gap([1, 4], [1, 9])]), 9],
  "a gap too narrow": [sub([[1, 5, 5, 0], [1, 9, 9, 0]], [gap([1, 5], [1, 8])]), 9],
  "a gap told twice": [sub([[1, 5, 5, 0], [1, 9, 9, 0]], [gap([1, 5], [1, 9]), gap([1, 5], [1, 9])]), 9],
  "a gap where nothing is missing": [sub([[1, 5, 5, 0], [1, 6, 6, 0]], [gap([1, 5], [1, 6])]), 6],
  "another epoch without a gap": [sub([[1, 5, 5, 0], [2, 1, 6, 0]]), 6],
  "the end missing": [sub([[1, 5, 5, 0]]), 6],
  "nothing": [sub([]), 0],
  "an end": [{ ...sub([[1, 5, 5, 0]]), ended: "done" }, 5],
};
for (const [name, [log, last]] of Object.entries(faults)) {
  test(`${name} does not`, () => assert.throws(() => inOrder(log, last), assert.AssertionError));
}

test("publishes stand once, where they were acknowledged", () => {
  const report = (acks: Report["acks"]): Report => ({ states: [], subs: [], acks, refusals: [], errors: [], visits: 0 });
  const kept = (...list: [number, number, string][]) => list.map(([epoch, seq, text]) => ({ epoch, seq, text, publisher: "p" }));
  onceEach(report([[1, 1, "a"], [1, 2, "b"]]), kept([1, 1, "a"], [1, 2, "b"], [1, 3, "c"]));
  onceEach(report([[1, 1, "a"], [2, 1, "b"]]), kept([2, 1, "b"]), 2);
  for (const list of [kept([1, 1, "a"]), kept([1, 1, "b"], [1, 2, "a"]), kept([1, 1, "a"], [1, 2, "b"], [1, 3, "b"])]) {
    assert.throws(() => onceEach(report([[1, 1, "a"], [1, 2, "b"]]), list), assert.AssertionError);
  }
  assert.throws(() => onceEach(report([]), kept([1, 1, "a"])), assert.AssertionError);
});

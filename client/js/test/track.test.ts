import assert from "node:assert/strict";
import { test } from "node:test";
import type { GapReason } from "../src/link.ts";
import type { Position } from "../src/position.ts";
import { track } from "../src/track.ts";
import type { Reading, Track } from "../src/track.ts";
import { at } from "./reading.ts";

const live: Reading = { channel: "demo:x", from: { kind: "live" }, latest: false, limit: 0, barrier: false, own: true, datagram: false };

/** A frame, what becomes of it, and where the track stands then. */
type Step = [frame: Frame, want: string, last: Position];
type Frame = (t: Track) => string;

const ok =
  (p: Position, head = p): Frame =>
  (t) =>
    t.ok(p, head);
const message =
  (p: Position): Frame =>
  (t) =>
    t.message(p);
const gap =
  (after: Position, next: Position, reason: GapReason): Frame =>
  (t) => {
    const h = t.gap(after, next, reason);
    const found = h ? `${h.after.epoch}:${h.after.seq}-${h.next.epoch}:${h.next.seq} ${h.reason}` : "none";
    return found + (t.complete() ? " complete" : "");
  };

const cases: [name: string, options: Partial<Reading>, steps: Step[]][] = [
  ["in order", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(1, 5)), "take", at(1, 5)],
    [message(at(1, 6)), "take", at(1, 6)],
  ]],
  ["the overlap of a second link", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(1, 5)), "take", at(1, 5)],
    [ok(at(1, 4), at(1, 6)), "take", at(1, 5)],
    [message(at(1, 5)), "skip", at(1, 5)],
    [message(at(1, 6)), "take", at(1, 6)],
  ]],
  ["a second link that begins too late", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [ok(at(1, 6)), "hole", at(1, 4)],
    [ok(at(1, 6)), "broken", at(1, 4)],
  ]],
  ["a hole", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(1, 6)), "hole", at(1, 4)],
    [message(at(1, 5)), "take", at(1, 5)],
    [message(at(1, 7)), "hole", at(1, 5)],
    [message(at(1, 7)), "broken", at(1, 5)],
  ]],
  ["another epoch without a gap", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(2, 1)), "hole", at(1, 4)],
  ]],
  ["another epoch without a gap, by its next number", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(2, 5)), "hole", at(1, 4)],
  ]],
  ["a channel that did not exist", {}, [
    [ok(at(0, 0)), "take", at(0, 0)],
    [message(at(9, 1)), "take", at(9, 1)],
  ]],
  ["a channel that did not exist, and loses its first", {}, [
    [ok(at(0, 0)), "take", at(0, 0)],
    [message(at(9, 2)), "hole", at(0, 0)],
  ]],
  ["gaps", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [gap(at(1, 4), at(1, 8), "trimmed"), "1:4-1:8 trimmed", at(1, 7)],
    [gap(at(1, 4), at(1, 8), "trimmed"), "none", at(1, 7)],
    [message(at(1, 8)), "take", at(1, 8)],
    [gap(at(1, 8), at(2, 1), "epoch"), "1:8-2:1 epoch", at(2, 0)],
    [gap(at(1, 8), at(2, 1), "epoch"), "none", at(2, 0)],
    [message(at(2, 1)), "take", at(2, 1)],
  ]],
  ["a gap that overlaps what came", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(1, 5)), "take", at(1, 5)],
    [gap(at(1, 4), at(1, 9), "compacted"), "1:5-1:9 compacted", at(1, 8)],
  ]],
  ["an epoch that voids what came", {}, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(1, 5)), "take", at(1, 5)],
    [message(at(1, 6)), "take", at(1, 6)],
    [gap(at(1, 5), at(2, 1), "epoch"), "1:5-2:1 epoch", at(2, 0)],
  ]],
  ["a home that began again below", {}, [
    [ok(at(5, 90)), "take", at(5, 90)],
    [gap(at(5, 90), at(5, 3), "epoch"), "5:90-5:3 epoch", at(5, 2)],
    [message(at(5, 3)), "take", at(5, 3)],
    [ok(at(5, 90)), "hole", at(5, 3)],
  ]],
  ["latest skips without a gap", { latest: true }, [
    [ok(at(1, 4)), "take", at(1, 4)],
    [message(at(1, 9)), "take", at(1, 9)],
    [message(at(1, 8)), "skip", at(1, 9)],
  ]],
  ["a limit", { limit: 2 }, [
    [ok(at(1, 0), at(1, 9)), "take", at(1, 0)],
    [message(at(1, 1)), "take", at(1, 1)],
    [message(at(1, 2)), "last", at(1, 2)],
  ]],
  ["a limit's head, of the first link", { limit: 20 }, [
    [ok(at(1, 0), at(1, 2)), "take", at(1, 0)],
    [message(at(1, 1)), "take", at(1, 1)],
    [ok(at(1, 1), at(1, 99)), "take", at(1, 1)],
    [message(at(1, 2)), "last", at(1, 2)],
  ]],
  ["a limit on nothing", { limit: 20 }, [[ok(at(1, 2)), "done", at(1, 2)]]],
  ["a limit whose head was trimmed meanwhile", { limit: 20 }, [
    [ok(at(1, 0), at(1, 5)), "take", at(1, 0)],
    [gap(at(1, 0), at(1, 5), "trimmed"), "1:0-1:5 trimmed", at(1, 4)],
    [gap(at(1, 4), at(1, 8), "trimmed"), "1:4-1:8 trimmed complete", at(1, 7)],
  ]],
  ["a limit whose head was trimmed unseen", { limit: 20, latest: true }, [
    [ok(at(1, 0), at(1, 5)), "take", at(1, 0)],
    [message(at(1, 6)), "done", at(1, 0)],
  ]],
];

for (const [name, options, steps] of cases) {
  test(`track: ${name}`, () => {
    const t = track({ ...live, ...options });
    steps.forEach(([frame, want, last], i) => {
      assert.equal(frame(t), want, `step ${i}`);
      assert.deepEqual(t.last, last, `step ${i}`);
    });
  });
}

test("track asks for the rest", () => {
  const t = track({ ...live, from: { kind: "last", count: 9 }, limit: 5, barrier: true });
  assert.deepEqual(t.request(7), { ...live, from: { kind: "last", count: 9 }, limit: 5, barrier: true, credit: 7 });
  t.ok(at(1, 1), at(1, 9));
  t.message(at(1, 2));
  assert.deepEqual(t.request(8), { ...live, from: { kind: "after", position: at(1, 2) }, limit: 4, credit: 8 });
});

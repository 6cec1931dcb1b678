// Holds what a page reports to what the relay promises.
import assert from "node:assert/strict";
import type { GapLog, Got, Report, SubLog } from "./plan.ts";
import type { Kept } from "./stage.ts";

const spell = (p: { epoch: number; seq: number }) => `${p.epoch}:${p.seq}`;

/**
 * Every number from the first to `last` came once and in order, but for what lies in a gap; and
 * every gap lies where messages are missing.
 */
export function inOrder(log: SubLog, last: number): void {
  const { channel, got } = log;
  const gaps = new Set<GapLog>(log.gaps);
  assert.equal(log.ended, undefined, `${channel}: the subscription ended`);
  assert.ok(got.length > 0, `${channel}: no message came`);
  for (let i = 1; i < got.length; i++) {
    const [a, b] = [got[i - 1]!, got[i]!];
    if (b[0] === a[0] && b[1] === a[1] + 1) {
      assert.equal(b[2], a[2] + 1, `${channel}: message ${b[2]} at ${b[0]}:${b[1]} follows ${a[2]}`);
      continue;
    }
    // Between two messages that are no neighbours stands one gap, from the one to the other.
    const between = [...gaps].filter((g) => spell(g.after) === `${a[0]}:${a[1]}` && spell(g.next) === `${b[0]}:${b[1]}`);
    assert.equal(between.length, 1,
      `${channel}: from ${a[2]} at ${a[0]}:${a[1]} to ${b[2]} at ${b[0]}:${b[1]} there must be one gap; gaps: ${JSON.stringify(log.gaps)}`);
    assert.ok(b[2] > a[2], `${channel}: ${b[2]} comes after ${a[2]}`);
    gaps.delete(between[0]!);
  }
  assert.deepEqual([...gaps], [], `${channel}: gaps where nothing is missing`);
  assert.equal(got.at(-1)![2], last, `${channel}: the last message`);
}

/**
 * Every acknowledged publish stands where the acknowledgement said, and no text stands twice.
 * epoch: judge that one only, as what a dead home held is gone.
 */
export function onceEach(report: Report, kept: readonly Kept[], epoch?: number): void {
  const at = new Map(kept.map((k) => [spell(k), k.text]));
  assert.equal(new Set(kept.map((k) => k.text)).size, kept.length, "a message stands twice");
  for (const [e, s, text] of report.acks) {
    if (epoch === undefined || e === epoch) assert.equal(at.get(`${e}:${s}`), text, `acknowledged at ${e}:${s}`);
  }
  assert.ok(report.acks.length > 0, "no publish was acknowledged");
}

/** The longest pause between two messages, in ms. */
export function longestPause(got: readonly Got[]): number {
  let longest = 0;
  for (let i = 1; i < got.length; i++) longest = Math.max(longest, got[i]![3] - got[i - 1]![3]);
  return longest;
}

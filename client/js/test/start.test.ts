import assert from "node:assert/strict";
import { test } from "node:test";
import { BadRequestError } from "../src/errors.ts";
import { parseStart } from "../src/start.ts";
import type { From } from "../src/start.ts";

const max = Number.MAX_SAFE_INTEGER;

test("what a caller writes", () => {
  const good: [From, unknown][] = [
    ["live", { kind: "live" }],
    ["start", { kind: "first" }],
    ["last:50", { kind: "last", count: 50 }],
    ["last:0", { kind: "last", count: 0 }],
    [`last:${max}`, { kind: "last", count: max }],
    [{ epoch: 3, seq: 41 }, { kind: "after", position: { epoch: 3, seq: 41 } }],
    [{ epoch: 0, seq: 0 }, { kind: "after", position: { epoch: 0, seq: 0 } }],
    [{ epoch: max, seq: max }, { kind: "after", position: { epoch: max, seq: max } }],
    [{ since: "10m" }, { kind: "since", ms: 600_000 }],
    [{ since: "1h30m" }, { kind: "since", ms: 5_400_000 }],
    [{ since: "7d" }, { kind: "since", ms: 604_800_000 }],
    [{ since: "1.5s" }, { kind: "since", ms: 1500 }],
    [{ since: "250ms" }, { kind: "since", ms: 250 }],
    [{ since: "2s5ms" }, { kind: "since", ms: 2005 }],
    [{ since: 90_000 }, { kind: "since", ms: 90_000 }],
    [{ since: 0 }, { kind: "since", ms: 0 }],
  ];
  for (const [from, want] of good) assert.deepEqual(parseStart(from), want);
});

test("a position may be a message's, or have more to it", () => {
  class Place {
    get epoch() { return 3; }
    get seq() { return 4; }
  }
  assert.deepEqual(parseStart(new Place()), { kind: "after", position: { epoch: 3, seq: 4 } });
});

test("anything else is a BadRequestError that shows the value and says what to write", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const bad: unknown[] = [
    undefined, null, "", "Live", "first", "last", "last:", "last:-1", "last:1.5", "last:1e3", "last: 5", `last:${2 ** 53}`, "last:99999999999999999999",
    7, true, 10n, Symbol("s"), () => {}, [], {}, cyclic, { epoch: 1 }, { seq: 1 }, { epoch: -1, seq: 0 }, { epoch: 1, seq: 0.5 },
    { epoch: 2 ** 53, seq: 1 }, { epoch: 1, seq: 2 ** 53 }, { epoch: "1", seq: "2" }, { epoch: NaN, seq: 1 }, { epoch: 1n, seq: 1n },
    { since: "" }, { since: "10" }, { since: "10 m" }, { since: "10min" }, { since: "-5s" }, { since: "m" }, { since: "1e3s" }, { since: -1 },
    { since: NaN }, { since: Infinity }, { since: 2 ** 53 }, { since: "999999999999999d" }, { since: new Date(0) }, { since: undefined }, { since: null },
  ];
  for (const from of bad)
    assert.throws(
      () => parseStart(from as From),
      (e) => e instanceof BadRequestError && e.message.includes('give "live"') && e.message.length < 300,
      String((from as any)?.since ?? typeof from),
    );
  assert.throws(() => parseStart("last:-1" as From), /from "last:-1"/);
  assert.throws(() => parseStart({ epoch: 2 ** 53, seq: 1 }), /9007199254740992/);
});

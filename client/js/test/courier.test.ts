import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { Code } from "../src/codes.ts";
import { letterCost, startCourier } from "../src/courier.ts";
import type { Courier } from "../src/courier.ts";
import { BusyError, ClosedError, ForbiddenError, UnknownOutcomeError } from "../src/errors.ts";
import type { LinkLike, Publication } from "../src/link.ts";
import { restAfter } from "../src/outbox.ts";
import type { End } from "../src/session.ts";
import { settle, virtualTime } from "./time.ts";

function end(code: number, retryAfter = 0): End {
  return { code, retryAfter, deadline: 0, detail: "", alternatives: [], last: undefined };
}

/** A link that answers publishes when a test says so. */
class Held {
  sent: Publication[] = [];
  answers: Parameters<LinkLike["publish"]>[1][] = [];
  /** Publishes that it takes before it is full. */
  room = Infinity;
  onRoom: (() => void) | undefined;
  end: End | undefined;

  publish: LinkLike["publish"] = (p, answer) => {
    if (this.room < 1) return false;
    this.room--;
    this.sent.push(p);
    this.answers.push(answer);
    return true;
  };

  get link(): LinkLike {
    return this as unknown as LinkLike;
  }

  ok(i: number): void {
    this.answers[i]!({ epoch: 1, seq: i + 1 }, undefined);
  }

  refuse(i: number, code: number, retryAfter = 0): void {
    this.answers[i]!(undefined, end(code, retryAfter));
  }

  free(n: number): void {
    this.room = n;
    const f = this.onRoom;
    this.onRoom = undefined;
    f?.();
  }
}

/** What became of a promise, without leaving it unread. */
function outcome<T>(p: Promise<T>): { at?: T; error?: unknown; settled: boolean } {
  const r: { at?: T; error?: unknown; settled: boolean } = { settled: false };
  p.then(
    (at) => Object.assign(r, { at, settled: true }),
    (error: unknown) => Object.assign(r, { error, settled: true }),
  );
  return r;
}

function started(limit = 1 << 20): { co: Courier; h: Held } {
  const co = startCourier(limit);
  const h = new Held();
  co.use(h.link, "alice");
  return { co, h };
}

const body = new Uint8Array(100);

test("publishes of one turn leave together, in order, and resolve with their positions", async () => {
  const { co, h } = started();
  const got = Array.from({ length: 200 }, () => outcome(co.post("demo:x", body)));
  assert.equal(h.sent.length, 0, "sent from inside the call");
  assert.equal(co.pending, 200);
  await Promise.resolve();
  assert.deepEqual(
    h.sent.map((p) => p.n),
    got.map((_, i) => i + 1),
  );
  for (let i = 0; i < 200; i++) h.ok(i);
  await settle();
  assert.deepEqual(
    got.map((g) => g.at?.seq),
    got.map((_, i) => i + 1),
  );
  assert.equal(co.pending, 0);
});

test("what waits is bounded in bytes: past that, busy at once", async () => {
  const cost = body.length + letterCost;
  const { co, h } = started(10 * cost);
  for (let i = 0; i < 10; i++) outcome(co.post("demo:x", body));
  const refused = outcome(co.post("demo:x", body));
  await settle();
  assert.ok(refused.error instanceof BusyError);
  assert.match(refused.error.message, /demo:x.*3560.*await/);
  assert.equal(refused.error.retryable, true);
  assert.equal(h.sent.length, 10);
  h.ok(0);
  outcome(co.post("demo:x", body));
  await settle();
  assert.equal(h.sent.length, 11);
});

test("a publish larger than the bound is taken when nothing else waits", async () => {
  const { co, h } = started(10);
  outcome(co.post("demo:x", body));
  await settle();
  assert.equal(h.sent.length, 1);
});

test("a full link is tried again when it has room, and the order stands", async () => {
  const { co, h } = started();
  h.room = 2;
  for (let i = 0; i < 5; i++) outcome(co.post("demo:x", body));
  await settle();
  assert.equal(h.sent.length, 2);
  outcome(co.post("demo:x", body)); // asks no link that said it is full
  h.room = 9;
  await settle();
  assert.equal(h.sent.length, 2);
  h.free(9);
  await settle();
  assert.deepEqual(
    h.sent.map((p) => p.n),
    [1, 2, 3, 4, 5, 6],
  );
});

test("a channel with much to send does not hold up another, also where room comes in drops", async () => {
  for (const room of [10, 1000]) {
    const { co, h } = started();
    h.room = 0;
    for (let i = 0; i < 500; i++) outcome(co.post("demo:much", body));
    outcome(co.post("demo:one", body));
    await settle();
    for (let i = 0; i < 10; i++) {
      h.free(room);
      await settle();
    }
    const before = h.sent.findIndex((p) => p.channel === "demo:one");
    assert.ok(before >= 0 && before <= 64, `room ${room}: ${before} of the other channel went first`);
    h.free(Infinity);
    await settle();
    assert.equal(h.sent.length, 501);
  }
});

test("a refused channel waits, another does not", async (t) => {
  const time = virtualTime(t);
  const { co, h } = started();
  const slow = outcome(co.post("demo:slow", body));
  await settle();
  h.refuse(0, Code.busy, 5000);
  const quick = outcome(co.post("demo:quick", body));
  await settle();
  h.ok(1);
  await time.advance(4900);
  assert.ok(quick.at);
  assert.equal(h.sent.length, 2);
  await time.advance(2000); // 5 s and at most a quarter
  assert.equal(h.sent.length, 3);
  h.ok(2);
  await settle();
  assert.ok(slow.at);
});

test("what was lost goes again over the next link, under its number", async () => {
  const { co, h } = started();
  const got = [outcome(co.post("demo:x", body)), outcome(co.post("demo:x", body))];
  await settle();
  h.end = end(Code.link_lost);
  h.refuse(0, Code.unknown);
  h.refuse(1, Code.unknown);
  outcome(co.post("demo:x", body));
  await settle();
  assert.equal(h.sent.length, 2, "sent on a link that has ended");
  co.use(undefined);
  outcome(co.post("demo:x", body));
  await settle();
  const next = new Held();
  co.use(next.link, "alice");
  await settle();
  assert.deepEqual(
    next.sent.map((p) => p.n),
    [1, 2, 3, 4],
  );
  assert.deepEqual(next.sent[0]?.producer, h.sent[0]?.producer);
  next.ok(0);
  next.ok(1);
  await settle();
  assert.deepEqual(
    got.map((g) => g.at?.seq),
    [1, 2],
  );
});

test("what flies when the link is replaced goes over the new one at once", async () => {
  const { co, h } = started();
  outcome(co.post("demo:x", body));
  await settle();
  const next = new Held();
  co.use(next.link, "alice");
  await settle();
  assert.deepEqual(
    [...h.sent, ...next.sent].map((p) => p.n),
    [1, 1],
  );
});

test("each of many channels waits for its own time", async (t) => {
  const time = virtualTime(t);
  const { co, h } = started();
  for (let i = 0; i < 4; i++) outcome(co.post("demo:" + i, body));
  await settle();
  const next = new Held();
  co.use(next.link, "alice");
  await settle();
  for (let i = 0; i < 4; i++) next.refuse(i, Code.busy, 1000 * (4 - i));
  await settle();
  h.ok(1); // late: demo:1 waits for nothing more
  await settle();
  await time.advance(6000);
  assert.deepEqual(
    next.sent.slice(4).map((p) => p.channel),
    ["demo:3", "demo:2", "demo:0"],
  );
});

test("a timer that fires early is set again", async (t) => {
  const { co, h } = started();
  const set = t.mock.method(globalThis, "setTimeout", (() => 1) as unknown as typeof setTimeout);
  outcome(co.post("demo:x", body));
  await settle();
  h.refuse(0, Code.busy, 1000);
  await settle();
  assert.equal(set.mock.callCount(), 1);
  (set.mock.calls[0]!.arguments[0] as () => void)();
  await settle();
  assert.equal(set.mock.callCount(), 2);
  co.use(undefined);
  await settle();
});

test("the link that was replaced is forgotten: its room wakes nobody, its answer counts", async () => {
  const { co, h } = started();
  h.room = 1;
  const got = outcome(co.post("demo:x", body));
  outcome(co.post("demo:x", body));
  await settle();
  const room = h.onRoom!;
  const next = new Held();
  next.room = 0;
  co.use(next.link, "alice");
  await settle();
  assert.equal(h.onRoom, undefined);
  next.room = 9;
  room();
  await settle();
  assert.equal(next.sent.length, 0);
  h.ok(0);
  await settle();
  assert.deepEqual(got.at, { epoch: 1, seq: 1 });
});

test("abort: before, while it waits, in flight, and after", async () => {
  const { co, h } = started();
  const before = outcome(co.post("demo:x", body, undefined, AbortSignal.abort("never mind")));
  await settle();
  assert.equal(before.error, "never mind");
  assert.equal(co.pending, 0);

  h.room = 0;
  const waits = new AbortController();
  const unsent = outcome(co.post("demo:x", body, undefined, waits.signal));
  await settle();
  waits.abort();
  await settle();
  assert.equal(unsent.error, waits.signal.reason, "it does not stand and will not");
  assert.equal((unsent.error as DOMException).name, "AbortError");
  assert.equal(co.pending, 0);
  h.free(9);
  await settle();
  assert.equal(h.sent.length, 0);

  const flies = new AbortController();
  const sent = outcome(co.post("demo:x", body, undefined, flies.signal));
  await settle();
  flies.abort();
  await settle();
  assert.ok(sent.error instanceof UnknownOutcomeError);
  assert.equal(sent.error.cause, flies.signal.reason);
  assert.equal(co.pending, 1, "its number is to be used up");
  h.refuse(0, Code.unknown);
  await settle();
  assert.deepEqual(
    h.sent.map((p) => [p.n, p.void]),
    [
      [1, false],
      [1, true],
    ],
  );
  h.refuse(1, Code.voided);
  assert.equal(co.pending, 0);

  const late = new AbortController();
  const done = outcome(co.post("demo:x", body, undefined, late.signal));
  await settle();
  h.ok(2);
  late.abort();
  await settle();
  assert.ok(done.at);
});

test("a signal for many publishes keeps none of them", async () => {
  const { co, h } = started();
  const c = new AbortController();
  const add = mock.method(c.signal, "addEventListener");
  const remove = mock.method(c.signal, "removeEventListener");
  for (let i = 0; i < 50; i++) outcome(co.post("demo:x", body, undefined, c.signal));
  await settle();
  for (let i = 0; i < 50; i++) h.ok(i);
  assert.deepEqual(
    remove.mock.calls.map((x) => x.arguments[1]),
    add.mock.calls.map((x) => x.arguments[1]),
  );
  assert.equal(add.mock.callCount(), 50);
});

test("giving up twenty thousand costs a moment, whatever their order", async () => {
  const { co, h } = started(1 << 30);
  h.room = 0;
  const each = Array.from({ length: 20_000 }, () => new AbortController());
  for (const c of each) outcome(co.post("demo:x", body, undefined, c.signal));
  await settle();
  const from = performance.now();
  for (const c of each.reverse()) c.abort("never mind");
  assert.equal(co.pending, 0);
  assert.ok(performance.now() - from < 1000, `took ${performance.now() - from} ms`);
});

for (const same of [true, false]) {
  test(`another token: the same subject: ${same}`, async () => {
    const { co, h } = started();
    const first = outcome(co.post("demo:x", body));
    outcome(co.post("demo:rests", body));
    await settle();
    h.ok(1);
    co.use(undefined);
    const next = new Held();
    co.use(next.link, same ? "alice" : "bob");
    outcome(co.post("demo:x", body));
    outcome(co.post("demo:rests", body));
    await settle();
    assert.equal(first.error instanceof UnknownOutcomeError, !same);
    assert.equal(next.sent.length, same ? 3 : 2);
    for (const p of next.sent) {
      const known = h.sent.some((q) => Buffer.from(q.producer).equals(p.producer));
      assert.equal(known, same, `number ${p.n} of ${p.channel} goes under a known producer: ${known}`);
    }
  });
}

test("an id has its own producer and number, once", async () => {
  const { co, h } = started();
  const producer = new Uint8Array(16).fill(7);
  const got = [outcome(co.post("demo:x", body, producer)), outcome(co.post("demo:x", body, producer))];
  outcome(co.post("demo:x", body));
  await settle();
  assert.deepEqual(
    h.sent.map((p) => [p.n, p.producer[0] === 7 && p.producer[15] === 7]),
    [
      [1, true],
      [1, true],
      [1, false],
    ],
  );
  h.ok(0);
  h.refuse(1, Code.forbidden);
  await settle();
  assert.ok(got[0]?.at);
  assert.ok(got[1]?.error instanceof ForbiddenError);
  assert.equal(co.pending, 1);
});

test("memory follows the channels in use", async (t) => {
  const time = virtualTime(t);
  const { co, h } = started();
  const dropped = t.mock.method(Map.prototype, "delete");
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 60; i++) outcome(co.post(`demo:${round}-${i}`, body));
    await settle();
    for (let i = 60 * round; i < 60 * round + 60; i++) if (i) h.ok(i); // the first stays open
    await settle();
    await time.advance(restAfter);
  }
  const names = dropped.mock.calls.map((c) => String(c.arguments[0])).filter((k) => k.startsWith("demo:"));
  assert.ok(600 - names.length <= 128, `${600 - names.length} channels are remembered of 600, 60 at a time`);
  assert.ok(!names.includes("demo:0-0"), "dropped one with an unanswered publish");
  h.ok(0);
  await settle();
  assert.equal(co.pending, 0);
});

test("no timer but for a wait that a refusal asks for", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((r) => r === "Timeout").length;
  const none = timers();
  const { co, h } = started();
  outcome(co.post("demo:x", body));
  await settle();
  assert.equal(timers(), none);
  h.refuse(0, Code.busy, 60_000);
  await settle();
  assert.equal(timers(), none + 1);
  outcome(co.post("demo:y", body));
  await settle();
  assert.equal(timers(), none + 1);
  h.end = end(Code.link_lost);
  outcome(co.post("demo:z", body));
  await settle();
  assert.equal(timers(), none, "a link that ended is nothing to wait for");
  h.end = undefined;
  outcome(co.post("demo:z", body));
  await settle();
  assert.equal(timers(), none + 1);
  co.use(undefined);
  await settle();
  assert.equal(timers(), none, "without a link there is nothing to wait for");
  co.use(h.link, "alice");
  await settle();
  const id = new AbortController();
  const i = h.sent.length;
  outcome(co.post("demo:id", body, new Uint8Array(16).fill(7), id.signal));
  await settle();
  h.refuse(i, Code.busy, 60_000);
  await settle();
  assert.equal(timers(), none + 1);
  id.abort();
  await settle();
  assert.equal(timers(), none, "nothing waits that was given up");
  const y = h.sent.findLastIndex((p) => p.channel === "demo:y");
  h.refuse(y, Code.busy, 60_000);
  await settle();
  assert.equal(timers(), none + 1);
  co.abandon(new ClosedError("closed"));
  await settle();
  assert.equal(timers(), none);
});

test("closing: drained waits, abandon ends the rest and refuses what follows", async () => {
  const { co, h } = started();
  const error = new ClosedError("relay.close() was called");
  const sent = outcome(co.post("demo:x", body));
  await settle();
  h.room = 0;
  const unsent = outcome(co.post("demo:x", body));
  const drained = outcome(co.drained());
  await settle();
  assert.ok(!sent.settled && !unsent.settled && !drained.settled);
  co.abandon(error);
  const refused = outcome(co.post("demo:x", body));
  await settle();
  assert.equal(refused.error, error);
  assert.ok(sent.error instanceof UnknownOutcomeError);
  assert.equal(sent.error.cause, error);
  assert.equal(unsent.error, error);
  assert.ok(drained.settled);
  assert.equal(co.pending, 0);
  h.ok(0); // too late, and harmless
  await settle();

  const other = started();
  const got = outcome(other.co.post("demo:x", body));
  await settle();
  const all = outcome(other.co.drained());
  other.h.ok(0);
  await settle();
  assert.ok(got.at && all.settled);
  const at_once = outcome(other.co.drained());
  await settle();
  assert.ok(at_once.settled);
});

test("posted before a link stands, it goes when one does", async () => {
  const co = startCourier(1 << 20);
  const got = outcome(co.post("demo:x", body));
  await settle();
  const h = new Held();
  co.use(h.link);
  await settle();
  h.ok(0);
  await settle();
  assert.ok(got.at);
});

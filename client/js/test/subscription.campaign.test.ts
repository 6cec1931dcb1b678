// Reading one channel whose messages are removed and whose continuity breaks, over links that are
// lost, replaced, refused and skip, by a consumer that takes when it likes.
//
//   MERIDIAN_SEED=7 MERIDIAN_FOR=60s node --test test/subscription.campaign.test.ts
import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { Code } from "../src/codes.ts";
import type { Feed } from "../src/feed.ts";
import { encodeMessage } from "../src/message.ts";
import { before } from "../src/position.ts";
import type { Position } from "../src/position.ts";
import { Queue } from "../src/queue.ts";
import { subscribe } from "../src/subscription.ts";
import type { Gap, Subscription } from "../src/subscription.ts";
import { at, FakeHost, FakeLink } from "./reading.ts";
import type { FakeSubscription } from "./reading.ts";
import { virtualTime } from "./time.ts";

/** Uniform in [0, 1), from a seed (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What the home has: of its current epoch only, and of that what was not removed. */
class Channel {
  epoch = 1;
  head = 0;
  readonly keys: string[] = [""]; // of the current epoch's messages, by seq
  readonly removed = new Set<number>();
  /** Of epochs that were broken: the last seq that is known to have survived. */
  readonly survived = new Map<number, number>();

  publish(key: string): void {
    this.keys[++this.head] = key;
  }
  remove(from: number, to: number): void {
    for (let seq = from; seq <= to; seq++) this.removed.add(seq);
  }
  /** The home died, and came back with less. */
  breaks(survived: number): void {
    this.survived.set(this.epoch, survived);
    this.epoch++;
    this.head = 0;
    this.removed.clear();
    this.keys.length = 1;
  }
  /** The first position after seq that can be sent; beyond the head: none. */
  next(seq: number): number {
    do seq++;
    while (this.removed.has(seq));
    return seq;
  }
}

/** One run. */
class Storm {
  readonly rng: () => number;
  readonly channel = new Channel();
  readonly host = new FakeHost();
  readonly sub: Subscription;
  readonly feed: Feed;
  readonly latest: boolean;
  readonly large: boolean;
  links: FakeLink[] = [];
  sent = new Map<FakeSubscription, { at: Position; count: number } | undefined>();
  /** What the consumer was told: everything up to here came, or was named. */
  seen: Position | undefined;
  newest = new Map<string, number>(); // of a latest one: the newest seq by key, in the epoch
  asking = false;
  messages = 0;
  gaps = 0;
  breaks: Position[] = []; // as gaps said them
  over = false;

  constructor(seed: number) {
    this.rng = random(seed);
    this.latest = this.chance(0.3);
    this.large = this.chance(0.2);
    for (let n = this.up(30); n > 0; n--) this.publish();
    const from = this.pick(["live", "start", "last:5"] as const);
    this.sub = subscribe(this.host, "demo:x", {
      from, mode: this.latest ? "latest" : "reliable", window: this.large ? 1 << 20 : this.pick([1, 100, 1000, 5000]),
    });
    [this.feed] = [...this.host.feeds] as [Feed];
    this.sub.on("gap", (g) => this.gap(g));
    this.sub.on("subscribed", (s) => {
      if (!s.resumed) this.seen = s.position;
    });
  }

  chance(p: number): boolean {
    return this.rng() < p;
  }
  up(n: number): number {
    return Math.floor(this.rng() * n);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.up(list.length)]!;
  }
  publish(): void {
    this.channel.publish(this.pick(["a", "b", "c", "d"]));
  }
  body(seq: number): Uint8Array {
    const size = this.large ? this.up(300_000) : this.chance(0.02) ? 5000 : this.up(200);
    const m = { bytes: new Uint8Array(size), key: this.channel.keys[seq]!, headers: { seq: `${this.channel.epoch}:${seq}` } };
    return encodeMessage(m, 0);
  }

  step(): void {
    const { channel } = this;
    const roll = this.rng();
    if (roll < 0.2) for (let n = this.up(8); n >= 0; n--) this.publish();
    else if (roll < 0.22) channel.remove(1, this.up(channel.head + 1));
    else if (roll < 0.25) {
      const from = 1 + this.up(channel.head);
      channel.remove(from, Math.min(from + this.up(4), channel.head));
    } else if (roll < 0.26) channel.breaks(this.up(channel.head + 1));
    else if (roll < 0.6) for (const l of this.links) this.serve(l);
    else if (roll < 0.85) void this.take();
    else if (roll < 0.88) this.lose();
    else if (roll < 0.93) this.connect();
    else if (roll < 0.95) this.someone()?.end(Code.going_away, { deadline: 1000 });
    else if (roll < 0.98) {
      const s = this.someone();
      s?.end(this.pick([Code.unavailable, Code.moved, Code.slow_reader, Code.busy]), { retryAfter: this.pick([0, 0, 500]) });
    } else this.skip();
  }

  someone(): FakeSubscription | undefined {
    return this.pick(this.links.flatMap((l) => l.subs.filter((s) => s.open && this.sent.has(s))));
  }

  /** Another link to use; the one before it serves on. */
  connect(): void {
    const l = new FakeLink();
    this.links.push(l);
    this.host.use(l);
    for (const old of this.links.slice(0, -2)) old.lose();
    this.links = this.links.slice(-2);
  }

  lose(): void {
    const l = this.pick(this.links);
    if (!l) return;
    this.links = this.links.filter((other) => other !== l);
    l.lose();
    if (this.host.link() === l) this.host.use(undefined);
  }

  /** The relay sends what credit allows. */
  serve(l: FakeLink, most = this.up(20)): void {
    for (const s of [...l.subs]) {
      for (let n = most; n >= 0 && s.open && this.send(s); n--);
    }
  }

  /** Sends one frame; false: there is none. */
  send(s: FakeSubscription): boolean {
    const c = this.channel;
    const state = this.sent.get(s);
    if (!state) {
      const position = this.begin(s);
      this.sent.set(s, { at: position, count: 0 });
      s.ok(position, at(c.epoch, c.head));
      return true;
    }
    const { at: done } = state;
    if (done.epoch !== c.epoch) {
      const next = at(c.epoch, c.next(0));
      state.at = at(c.epoch, next.seq - 1);
      const after = at(done.epoch, Math.min(done.seq, c.survived.get(done.epoch)!));
      this.breaks.push(after);
      s.gap(after, next, "epoch");
      return true;
    }
    let seq = c.next(done.seq);
    if (!this.latest && seq !== done.seq + 1) {
      state.at = at(c.epoch, seq - 1);
      s.gap(done, at(c.epoch, seq), "trimmed");
      return true;
    }
    if (this.latest && this.chance(0.5)) {
      // The reader is behind: of each key the newest.
      while (seq < c.head && c.keys.lastIndexOf(c.keys[seq]!) !== seq) seq = c.next(seq);
    }
    if (seq > c.head || s.credit <= 0) return false;
    state.at = at(c.epoch, seq);
    state.count++;
    s.send(c.epoch, seq, this.body(seq));
    return true;
  }

  /** A fault of the relay: it leaves one out. Never twice in a row. */
  skip(): void {
    const s = this.someone();
    const state = s && this.sent.get(s);
    const seq = (state?.at.seq ?? 0) + 2;
    if (!state || this.latest || state.count === 0 || state.at.epoch !== this.channel.epoch) return;
    if (seq > this.channel.head || s.credit <= 0) return;
    s.send(this.channel.epoch, seq, this.body(seq));
  }

  begin(s: FakeSubscription): Position {
    const c = this.channel;
    const { from } = s.request;
    switch (from.kind) {
      case "live":
        return at(c.epoch, c.head);
      case "after":
        return from.position;
      case "last":
        return at(c.epoch, Math.max(0, c.head - from.count));
      default:
        return at(c.epoch, c.next(0) - 1);
    }
  }

  async take(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    for (let n = 1 + this.up(10); n > 0; n--) {
      const r = await this.sub.next();
      if (r.done && this.over) return;
      assert.ok(!r.done, "it goes on");
      const m = r.value;
      assert.equal(m.headers["seq"], `${m.position.epoch}:${m.position.seq}`);
      this.messages++;
      const { seen } = this;
      assert.ok(seen && before(seen, m.position), `${show(m.position)} after ${show(seen)}`);
      if (!this.latest) {
        assert.deepEqual(m.position, at(seen.epoch, seen.seq + 1), "none is missing without a gap");
      }
      this.seen = m.position;
      if (m.position.epoch === this.channel.epoch) this.newest.set(m.key!, m.position.seq);
    }
    this.asking = false;
  }

  gap({ after, next, reason, reset }: Gap): void {
    this.gaps++;
    const { channel: c, seen } = this;
    assert.ok(seen && before(seen, next));
    assert.equal(reset, reason === "epoch");
    if (!reset) assert.deepEqual(after, seen, "it begins where the messages end");
    else if (this.latest) assert.ok(after.seq <= c.survived.get(after.epoch)!, "what is held beyond is void");
    else {
      // A relay knows what survived only up to where it had read.
      assert.equal(after.epoch, seen.epoch);
      assert.ok(this.breaks.some((p) => p.epoch === seen.epoch && Math.min(p.seq, seen.seq) === after.seq), "what is held beyond is void");
    }
    assert.equal(reset, seen.epoch !== next.epoch);
    if (next.epoch === c.epoch) {
      for (let seq = reset ? 1 : seen.seq + 1; seq < next.seq; seq++) assert.ok(c.removed.has(seq), `${seq} still exists`);
    }
    this.seen = at(next.epoch, next.seq - 1);
  }

  check(largest: number): void {
    const { size } = this.feed.window;
    const body = this.large ? 301_000 : 5_100;
    assert.ok(largest <= size + body, `${largest} bytes wait in a window of ${size}`);
    for (const l of this.links) {
      assert.ok(l.subs.filter((s) => s.open).length <= 2, "one, and its successor");
      for (const s of l.subs) assert.ok(!s.open || s.credit <= size, `credit ${s.credit} of a window of ${size}`);
    }
  }

  /** All is well again: everything comes, and is taken. */
  async calm(time: { advance(ms: number): Promise<void> }): Promise<void> {
    this.publish();
    this.connect();
    for (let i = 0; i < 1000 && !(this.seen?.epoch === this.channel.epoch && this.seen.seq === this.channel.head); i++) {
      for (const l of this.links) this.serve(l, 100);
      void this.take();
      await time.advance(i % 10 ? 0 : 1000);
      this.check(0);
    }
    assert.deepEqual(this.seen, at(this.channel.epoch, this.channel.head), "everything came");
    await time.advance(25_000); // the longest wait
    this.serve(this.host.link()!);
    assert.deepEqual(this.links.map((l) => l.joined), this.links.map((l) => (l === this.host.link() ? 1 : 0)), "one link is in use");
    this.over = true;
    this.sub.close();
    assert.ok(this.links.every((l) => l.joined === 0));
  }
}

/** Lets a consumer take some messages. */
async function turns(): Promise<void> {
  for (let i = 0; i < 4; i++) await Promise.resolve();
}

function show(p: Position | undefined): string {
  return p ? `${p.epoch}:${p.seq}` : "nothing";
}

function milliseconds(text = "2s"): number {
  const m = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (!m) throw new Error(`MERIDIAN_FOR: ${text} is not a duration like 30s`);
  return Number(m[1]) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[m[2] as "ms"];
}

test("campaign", async (t) => {
  const seed = Number(process.env["MERIDIAN_SEED"] ?? 1);
  const length = milliseconds(process.env["MERIDIAN_FOR"]);
  const clock = process.hrtime.bigint;
  const start = clock();
  const time = virtualTime(t);
  let largest = 0;
  const put = Queue.prototype.put;
  mock.method(Queue.prototype, "put", function (this: Queue, ...args: Parameters<typeof put>) {
    put.apply(this, args);
    largest = Math.max(largest, this.bytes);
  });
  t.after(() => mock.restoreAll());
  const sum = { storms: 0, messages: 0, gaps: 0 };
  for (; clock() - start < BigInt(length) * 1_000_000n; sum.storms++) {
    const storm = new Storm(seed + sum.storms);
    mock.method(Math, "random", () => storm.rng());
    let failed: unknown;
    const fail = (e: unknown): void => {
      failed ??= e;
    };
    process.on("unhandledRejection", fail).on("uncaughtException", fail);
    try {
      for (let i = 0; i < 300; i++) {
        largest = 0;
        for (let n = storm.up(4); n >= 0; n--) storm.step();
        await (i % 30 ? turns() : time.advance(storm.pick([200, 2500])));
        storm.check(largest);
        if (failed) throw failed;
      }
      await storm.calm(time);
      await new Promise(setImmediate);
      if (failed) throw failed;
    } catch (e) {
      t.diagnostic(`failed with MERIDIAN_SEED=${seed + sum.storms}`);
      throw e;
    } finally {
      process.off("unhandledRejection", fail).off("uncaughtException", fail);
    }
    sum.messages += storm.messages;
    sum.gaps += storm.gaps;
  }
  t.diagnostic(`seed ${seed}: ${sum.storms} storms, ${sum.messages} messages, ${sum.gaps} gaps`);
  assert.ok(sum.messages > 10 * sum.storms && sum.gaps > 0, "something happened");
});

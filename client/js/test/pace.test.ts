import assert from "node:assert/strict";
import test from "node:test";
import { Code } from "../src/codes.ts";
import { startCourier } from "../src/courier.ts";
import type { Courier } from "../src/courier.ts";
import type { LinkLike, Publication } from "../src/link.ts";
import { startPace } from "../src/pace.ts";
import type { Position } from "../src/position.ts";
import type { End } from "../src/session.ts";
import { settle, virtualTime } from "./time.ts";

function end(code: number, retryAfter = 0): End {
  return { code, retryAfter, deadline: 0, detail: "", alternatives: [], last: undefined };
}

test("a new pace bounds nothing, whatever else is refused", () => {
  const p = startPace();
  p.flight = 1e6;
  p.answered(end(Code.busy, 5000), 0, 0);
  p.answered(end(Code.forbidden), 0, 0);
  p.answered(undefined, 0, 0);
  assert.ok(p.open(0));
  assert.equal(p.flight, 1e6 - 3);
});

test("a rate refused: a pause, half the window, and by and by more", () => {
  const p = startPace();
  const open = () => {
    let n = 0;
    for (p.flight = 0; p.flight < 1e5 && p.open(1e6); n++) p.flight++;
    return n;
  };
  p.flight = 600;
  for (let i = 0; i < 600; i++) p.answered(end(Code.publish_rate, 1000), 0, 0);
  assert.ok(!p.open(999));
  assert.ok(p.open(1000));
  assert.equal(open(), 300, "halved once for all that were in flight together");
  for (let i = 0; i < 160; i++) p.answered(undefined, 2000, 0);
  assert.equal(open(), 310);
  p.flight = 10;
  p.answered(end(Code.byte_rate), 3000, 0);
  assert.equal(open(), 64, "no less");
  p.flight = 1e5;
  p.answered(end(Code.byte_rate), 9000, 0);
  assert.equal(open(), 1024, "no more");
  p.flight = 1e9;
  for (let i = 0; i < 16 * 65_536; i++) p.answered(undefined, 20_000, 0);
  assert.equal(open(), 1e5, "no bound any more");
});

// A client that publishes to many channels as fast as it can, over a session with a limit, gets
// what the limit allows, and its repeats are few. The relay ends a session with more than 20,000
// requests a second that come to nothing.
test("many channels over a limit", async (t) => {
  const time = virtualTime(t);
  const channels = 20;
  const perSecond = 10_000;
  const seconds = 5;
  const refused = new Map<number, number>();
  const last = new Map<string, number>();
  let tokens = perSecond;
  let filled = performance.now();
  const home = (p: Publication): { at?: Position; end?: End } => {
    const now = performance.now();
    tokens = Math.min(tokens + ((now - filled) / 1000) * perSecond, perSecond);
    filled = now;
    const n = last.get(p.channel) ?? 0;
    const rate = tokens < 1;
    if (rate || p.n > n + 1) {
      const second = Math.floor(now / 1000);
      refused.set(second, (refused.get(second) ?? 0) + 1);
      return { end: rate ? end(Code.publish_rate, 100) : end(Code.out_of_order) };
    }
    tokens--;
    last.set(p.channel, p.n);
    return { at: { epoch: 1, seq: p.n } };
  };
  let waiting: (() => void)[] = [];
  let flight = 0;
  const link = {
    end: undefined,
    onRoom: undefined as (() => void) | undefined,
    publish(p: Publication, answer: (at: Position | undefined, end: End | undefined) => void): boolean {
      if (flight >= 8192) return false; // of 1 MiB, at 128 B each
      flight++;
      const got = home(p);
      if (!waiting.length) {
        setTimeout(() => {
          const list = waiting;
          waiting = [];
          for (const f of list) f();
          queueMicrotask(() => link.onRoom?.());
        }, 1);
      }
      waiting.push(() => {
        flight--;
        answer(got.at, got.end);
      });
      return true;
    },
  };
  const co = startCourier(64 << 20);
  co.use(link as unknown as LinkLike);
  let done = 0;
  for (let i = 0; i < perSecond * seconds; i++) void co.post(`demo:${i % channels}`, new Uint8Array(0)).then(() => done++);
  await settle();
  await time.advance(seconds * 1000);
  t.diagnostic(`${done} done; refused each second: ${[...refused.values()]}`);
  assert.ok(done >= perSecond * seconds * 0.8, `${done} messages in ${seconds} s; the limit allows ${perSecond * (seconds + 1)}`);
  for (const [second, n] of refused) assert.ok(n <= 15_000, `second ${second}: ${n} refused`);
});

/** A link that answers all that was sent when a test says so. */
class Held {
  end = undefined;
  onRoom = undefined;
  readonly sent: string[] = [];
  #answers: ((at: Position | undefined, end: End | undefined) => void)[] = [];

  publish(p: Publication, answer: (at: Position | undefined, end: End | undefined) => void): boolean {
    this.sent.push(p.channel);
    this.#answers.push(answer);
    return true;
  }

  get link(): LinkLike {
    return this as unknown as LinkLike;
  }

  /** With success, or with an end. */
  async answer(e?: End): Promise<void> {
    for (const f of this.#answers.splice(0)) f(e ? undefined : { epoch: 1, seq: this.sent.length }, e);
    await settle();
  }
}

/** A courier whose link was refused once, and answered once: its window is 64 1/16, which 65 pass. */
async function slowed(time: { advance(ms: number): Promise<void> }): Promise<{ co: Courier; h: Held }> {
  const co = startCourier(64 << 20);
  const h = new Held();
  co.use(h.link);
  void co.post("demo:first", new Uint8Array(0));
  await settle();
  await h.answer(end(Code.publish_rate, 100));
  await time.advance(1000);
  await h.answer();
  h.sent.length = 0;
  return { co, h };
}

test("a window shared fairly: no channel waits for another's backlog", async (t) => {
  const { co, h } = await slowed(virtualTime(t));
  for (let i = 0; i < 2000; i++) void co.post("demo:much", new Uint8Array(0));
  void co.post("demo:one", new Uint8Array(0));
  await settle();
  assert.equal(h.sent.length, 65);
  await h.answer();
  const at = h.sent.indexOf("demo:one");
  assert.ok(at >= 0 && at <= 65, `sent as number ${at}`);
});

test("the window is the link's: answers of the one before make no room", async (t) => {
  const { co, h } = await slowed(virtualTime(t));
  for (let i = 0; i < 300; i++) void co.post("demo:much", new Uint8Array(0));
  await settle();
  const next = new Held();
  co.use(next.link);
  await settle();
  assert.equal(next.sent.length, 65, "it learned what the relay takes");
  await h.answer();
  assert.equal(next.sent.length, 65);
  await next.answer();
  assert.equal(next.sent.length, 65 + 69); // grown by a sixteenth for each
});

test("paused, it waits by one timer, and only while there is something to send", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((r) => r === "Timeout").length;
  const none = timers();
  const co = startCourier(64 << 20);
  const h = new Held();
  co.use(h.link);
  const give = new AbortController();
  void co.post("demo:x", new Uint8Array(0), new Uint8Array(16).fill(7), give.signal).catch(() => {});
  await settle();
  await h.answer(end(Code.publish_rate, 60_000));
  assert.equal(timers(), none + 1);
  void co.post("demo:y", new Uint8Array(0), undefined, give.signal).catch(() => {});
  await settle();
  assert.equal(h.sent.length, 1, "sent during the pause");
  assert.equal(timers(), none + 1);
  give.abort();
  await settle();
  assert.equal(co.pending, 0);
  assert.equal(timers(), none);
});

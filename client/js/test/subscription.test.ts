import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Code } from "../src/codes.ts";
import { ClosedError, ForbiddenError } from "../src/errors.ts";
import { encodeMessage } from "../src/message.ts";
import { subscribe } from "../src/subscription.ts";
import type { SubscribeOptions } from "../src/subscription.ts";
import { Window } from "../src/window.ts";
import { at, endOf, FakeHost, FakeLink, follow, record } from "./reading.ts";
import { settle, virtualTime } from "./time.ts";

function open(options: SubscribeOptions = {}, limit = 0) {
  const link = new FakeLink();
  const host = new FakeHost(link);
  const sub = subscribe(host, "demo:x", options, limit);
  return { link, host, sub, log: record(sub) };
}

const loud: unknown[] = [];
process.on("unhandledRejection", (e) => loud.push(e));
test.after(() => assert.deepEqual(loud, []));

test("begins at once, and what comes before the loop waits", async () => {
  const { link, sub, log } = open({ from: "last:2", mode: "reliable" });
  assert.deepEqual(link.sub.request, {
    channel: "demo:x", from: { kind: "last", count: 2 }, latest: false, limit: 0,
    barrier: false, own: true, datagram: false, credit: 65_536,
  });
  link.sub.ok(at(1, 3), at(1, 5));
  link.sub.run(4, 5);
  assert.deepEqual(await sub.subscribed(), { position: at(1, 3), head: at(1, 5) });
  void follow(sub, log);
  await settle();
  assert.deepEqual(log, ["subscribed 1:3", "4", "5"]);
  link.sub.run(6, 6);
  await settle();
  assert.equal(log.at(-1), "6");
});

test("waits for a link", async () => {
  const host = new FakeHost();
  const sub = subscribe(host, "demo:x", {});
  const link = host.use(new FakeLink())!;
  assert.equal(link.subs.length, 1);
  host.use(link);
  assert.equal(link.subs.length, 1, "a state change opens nothing");
  sub.close();
  assert.equal(link.joined, 0);
});

test("breaking the loop closes it, and the next loop is done", async () => {
  const { link, host, sub } = open();
  link.sub.ok(at(1, 0));
  link.sub.run(1, 3);
  for await (const m of sub) {
    assert.deepEqual(m.position, at(1, 1));
    break;
  }
  assert.ok(link.sub.closed);
  assert.equal(host.feeds.size + link.joined, 0);
  for await (const m of sub) assert.fail(`message ${m.position.seq} after the end`);
});

test("a second loop is refused while one runs", async () => {
  const { sub, log } = open();
  void follow(sub, log);
  await assert.rejects(async () => {
    for await (const _ of sub) assert.fail("read twice");
  }, { name: "BadRequestError", message: /another loop/ });
});

test("calls of next are served in order", async () => {
  const { link, sub } = open();
  const calls = [sub.next(), sub.next(), sub.next()];
  link.sub.ok(at(1, 0));
  link.sub.run(1, 2);
  sub.close();
  const got = (await Promise.all(calls)).map((r) => (r.done ? "done" : r.value.text()));
  assert.deepEqual(got, ["1", "2", "done"]);
});

test("a gap is told between the messages that it parts", async (t) => {
  const time = virtualTime(t);
  const { link, sub, log } = open();
  void follow(sub, log, () => time.advance(0).then(() => new Promise((r) => setTimeout(r, 1000))));
  link.sub.ok(at(1, 0));
  link.sub.run(1, 3);
  link.sub.gap(at(1, 3), at(1, 8), "trimmed");
  link.sub.gap(at(1, 7), at(1, 9), "compacted");
  link.sub.run(9, 9);
  link.sub.gap(at(1, 8), at(2, 1), "epoch");
  link.sub.sink.status("lost");
  link.sub.send(2, 1);
  await settle();
  assert.deepEqual(log, ["subscribed 1:0", "lost", "1"], "nothing of what was not taken");
  await time.advance(2500);
  assert.deepEqual(log.slice(3), ["2", "3"]);
  await time.advance(10_000);
  assert.deepEqual(log.slice(5), ["gap 1:3-1:9 compacted", "9", "gap 1:8-2:1 epoch reset", "1"]);
});

test("holes that meet are one, and keep that continuity was broken", async () => {
  const { link, sub, log } = open();
  link.sub.ok(at(1, 0));
  link.sub.run(1, 3);
  link.sub.gap(at(1, 3), at(1, 8), "trimmed");
  link.sub.gap(at(1, 2), at(2, 1), "epoch");
  link.sub.gap(at(2, 0), at(2, 5), "trimmed");
  void follow(sub, log);
  await settle();
  assert.deepEqual(log, ["subscribed 1:0", "1", "2", "3", "gap 1:2-2:5 epoch reset"]);
});

test("a gap is told at once to a consumer that waits", async () => {
  const { link, sub, log } = open();
  void follow(sub, log);
  link.sub.ok(at(1, 0));
  link.sub.gap(at(1, 0), at(1, 4), "trimmed");
  assert.deepEqual(log, ["subscribed 1:0", "gap 1:0-1:4 trimmed"]);
});

test("credit comes back as the consumer takes, half a window at a time", async () => {
  const { link, sub } = open({ window: 1000 });
  const s = link.sub;
  s.ok(at(1, 0));
  const body = encodeMessage({ bytes: new Uint8Array(97) }, 0); // 99 bytes
  let seq = 0;
  while (s.credit > 0) s.send(1, ++seq, body);
  assert.equal(seq, 11);
  assert.deepEqual(s.grants, []);
  for (let i = 0; i < 5; i++) await sub.next();
  assert.deepEqual(s.grants, [], "less than half a window was taken");
  await sub.next();
  assert.deepEqual(s.grants, [1000 - 5 * 99 - (1000 - 11 * 99)]);
  assert.equal(s.credit + 5 * 99, 1000, "what is granted and what waits are the window");
});

test("a consumer that waited for credit gets a larger window, up to the largest", async (t) => {
  const time = virtualTime(t);
  const { link, sub, log } = open({ window: 65_536 });
  void follow(sub, []);
  const s = link.sub;
  s.ok(at(1, 0));
  const body = encodeMessage({ bytes: new Uint8Array(16_380) }, 0); // 16,384 bytes
  let seq = 0;
  const sizes: number[] = [];
  for (let round = 0; round < 20; round++) {
    while (s.credit > 0) s.send(1, ++seq, body);
    await time.advance(200); // a round trip
    sizes.push(s.credit);
  }
  assert.ok(sizes[0]! <= 131_072, "it doubles once a window");
  assert.ok(Math.max(...sizes) <= 1 << 20);
  assert.ok(sizes.at(-1)! > 1 << 19, `${sizes.at(-1)}: at the largest, more than half of it is always granted`);
  assert.equal(log.length, 1);
});

for (const [name, pause, per, most] of [
  ["that takes 7 KB/s of 50 keeps its window of 10 KB", 150, 200, 10_000],
  ["that takes 20 KB/s of 50 gets a window for two seconds at most", 50, 200, 40_000],
  ["of a channel with 5 KB/s keeps its window of 10 KB", 0, 2000, 10_000],
] as const) {
  test(`a consumer ${name}`, async (t) => {
    const time = virtualTime(t);
    const { link, sub } = open({ window: 10_000 });
    void follow(sub, [], () => new Promise((r) => (pause ? setTimeout(r, pause) : r(undefined))));
    const s = link.sub;
    s.ok(at(1, 0));
    const body = encodeMessage({ bytes: new Uint8Array(996) }, 0); // 999 bytes
    let seq = 0;
    for (let round = 0; round < 50; round++) {
      for (let n = 0; s.credit > 0 && n < 10; n++) s.send(1, ++seq, body);
      await time.advance(per);
      assert.ok(s.credit <= most, `credit ${s.credit}`);
    }
    assert.ok(seq > 60, `${seq} messages`);
  });
}

test("a window grows only while its consumer waits", (t) => {
  virtualTime(t);
  const w = new Window(1000);
  w.took(1000);
  assert.equal(w.size, 1000, "it never waited");
  w.waited = true;
  w.took(500);
  assert.equal(w.size, 1000, "half of it went by");
  w.took(500);
  assert.equal(w.size, 2000);
  w.took(2000);
  assert.equal(w.size, 2000, "it does not wait any more");
});

test("goes on after the last message that came, on the next link", async () => {
  const { link, host, sub, log } = open();
  link.sub.ok(at(1, 0));
  link.sub.run(1, 3);
  link.lose();
  host.use(undefined);
  assert.equal(link.joined, 0);
  const next = host.use(new FakeLink())!;
  assert.deepEqual(next.sub.request.from, { kind: "after", position: at(1, 3) });
  assert.equal(next.sub.request.credit, 65_536 - 9, "three messages of three bytes wait");
  next.sub.ok(at(1, 3), at(1, 5));
  next.sub.run(4, 5);
  void follow(sub, log);
  await settle();
  assert.deepEqual(log, ["subscribed 1:0", "resumed 1:3", "1", "2", "3", "4", "5"]);
});

test("a link that replaces another takes over at its OK", async () => {
  const { link, host, sub, log } = open();
  void follow(sub, log);
  link.sub.ok(at(1, 0));
  link.sub.run(1, 2);
  const next = host.use(new FakeLink())!;
  link.sub.run(3, 4);
  assert.ok(!link.sub.closed, "it serves until the next one stands");
  next.sub.ok(at(1, 2), at(1, 4));
  assert.ok(link.sub.closed);
  assert.deepEqual([link.joined, next.joined], [0, 1]);
  link.sub.sink.message(1, 5, encodeMessage({ text: "late" }, 0), false);
  link.sub.sink.end(endOf(Code.forbidden));
  next.sub.run(3, 5);
  await settle();
  assert.deepEqual(log, ["subscribed 1:0", "resumed 1:4", "1", "2", "3", "4", "5"]);
});

test("a successor that does not stand yet gives way to another", () => {
  const { link, host } = open();
  link.sub.ok(at(1, 0));
  const second = host.use(new FakeLink())!;
  const third = host.use(new FakeLink())!;
  assert.ok(second.sub.closed && link.sub.open);
  assert.deepEqual([link.joined, second.joined, third.joined], [1, 0, 1]);
  third.sub.ok(at(1, 0));
  assert.deepEqual([link.joined, second.joined, third.joined], [0, 0, 1]);
});

test("a successor has the whole window once it stands", async () => {
  const { link, host, sub } = open({ window: 1000 });
  const body = encodeMessage({ bytes: new Uint8Array(897) }, 0); // 900 bytes
  link.sub.ok(at(1, 0));
  link.sub.send(1, 1, body);
  const next = host.use(new FakeLink())!;
  assert.equal(next.sub.credit, 100);
  await sub.next();
  next.sub.ok(at(1, 1));
  assert.equal(next.sub.credit, 1000);
});

test("an end that is announced many times is one", async (t) => {
  const time = virtualTime(t);
  t.mock.method(Math, "random", () => 0.99);
  const { link } = open();
  link.sub.ok(at(1, 0));
  for (let i = 0; i < 20; i++) link.sub.end(Code.going_away, { deadline: 1000 - i });
  await time.advance(20);
  assert.equal(link.subs.length, 2);
});

test("what comes twice is granted again", async () => {
  const { link, host, sub } = open({ window: 1000 });
  link.sub.ok(at(1, 0));
  const body = encodeMessage({ bytes: new Uint8Array(97) }, 0);
  const next = host.use(new FakeLink())!;
  for (let seq = 1; seq <= 11; seq++) link.sub.send(1, seq, body);
  for (let i = 0; i < 11; i++) await sub.next();
  next.sub.ok(at(1, 0));
  for (let seq = 1; seq <= 11; seq++) next.sub.send(1, seq, body);
  assert.ok(next.sub.credit > 0, `credit ${next.sub.credit}: it would stand still`);
});

test("of two first requests only one is open", () => {
  const { link, host } = open();
  const next = host.use(new FakeLink())!;
  assert.ok(link.sub.closed);
  assert.equal(link.joined, 0);
  next.sub.ok(at(1, 7));
});

test("an announced end opens the successor first", async (t) => {
  const time = virtualTime(t);
  const { link, sub, log } = open();
  void follow(sub, log);
  const old = link.sub;
  old.ok(at(1, 0));
  old.run(1, 1);
  old.end(Code.going_away, { deadline: 1000 });
  await time.advance(10);
  assert.equal(link.subs.length, 2);
  old.run(2, 2);
  assert.deepEqual(link.sub.request.from, { kind: "after", position: at(1, 1) });
  link.sub.ok(at(1, 1), at(1, 2));
  assert.ok(old.closed);
  link.sub.run(2, 3);
  await settle();
  assert.equal(log.filter((l) => l.startsWith("resumed")).length, 1);
  assert.deepEqual(log.filter((l) => /^\d/.test(l)), ["1", "2", "3"]);
});

test("a relay that announces ends all the time is asked ever more slowly", async (t) => {
  const time = virtualTime(t);
  mock.method(Math, "random", () => 0.99);
  t.after(() => mock.restoreAll());
  const { link } = open();
  const told = new Set<unknown>();
  for (let i = 0; i < 600; i++) {
    const s = link.sub;
    if (s.open && !told.has(s)) {
      told.add(s);
      s.ok(at(1, 0));
      s.end(Code.going_away, { deadline: 10_000 });
    }
    await time.advance(100);
  }
  assert.ok(link.subs.length < 80, `${link.subs.length} subscriptions within a minute`);
  assert.ok(link.subs.length > 40, `${link.subs.length} subscriptions within a minute`);
});

test("what stood for five seconds is asked for again soon", async (t) => {
  const time = virtualTime(t);
  t.mock.method(Math, "random", () => 0.99);
  const { link } = open();
  for (let i = 1; i <= 6; i++) {
    link.sub.ok(at(1, 0));
    await time.advance(6_000);
    link.sub.end(Code.busy);
    await time.advance(1_600);
    assert.equal(link.subs.length, i + 1);
  }
});

test("tries again after a wait, and gives up on a final refusal", async (t) => {
  const time = virtualTime(t);
  const { link, host, sub, log } = open();
  const reading = follow(sub, log);
  link.sub.end(Code.busy, { retryAfter: 10_000 });
  await time.advance(9_900);
  host.use(link);
  assert.equal(link.subs.length, 1, "it waits as long as it was told");
  await time.advance(3_000);
  assert.equal(link.subs.length, 2);
  link.sub.end(Code.forbidden, { detail: "no subscribe on demo:x" });
  await assert.rejects(sub.subscribed(), ForbiddenError);
  const e = (await reading) as ForbiddenError;
  assert.ok(e instanceof ForbiddenError && e.code === Code.forbidden && e.message.includes("demo:x"));
  assert.deepEqual(log, ["end ForbiddenError", "threw ForbiddenError"]);
  assert.equal(host.feeds.size + link.joined, 0);
  await assert.rejects(sub.next(), ForbiddenError, "it stays the reason");
});

test("a successor's refusal is final only once the old one is gone", async (t) => {
  const time = virtualTime(t);
  const { link, host, sub, log } = open();
  void follow(sub, log);
  link.sub.ok(at(1, 0));
  const next = host.use(new FakeLink())!;
  next.sub.end(Code.forbidden);
  link.sub.run(1, 1);
  await time.advance(20_000);
  assert.deepEqual(log, ["subscribed 1:0", "1"]);
  assert.ok(next.subs.length === 2 && link.sub.open, "asked again");
  next.sub.end(Code.forbidden);
  link.lose();
  await time.advance(20_000);
  assert.equal(next.subs.length, 3);
  next.sub.end(Code.forbidden);
  await settle();
  assert.deepEqual(log.slice(2), ["end ForbiddenError", "threw ForbiddenError"]);
});

test("a successor's refusal is final at once if the old one is gone", async () => {
  const { link, host, sub } = open();
  link.sub.ok(at(1, 0));
  const next = host.use(new FakeLink())!;
  link.lose();
  next.sub.end(Code.forbidden);
  await assert.rejects(sub.next(), ForbiddenError);
});

test("close after a refusal just ends the loop", async () => {
  const { link, sub } = open();
  link.sub.ok(at(1, 0));
  link.sub.run(1, 1);
  link.sub.end(Code.forbidden);
  sub.close();
  assert.deepEqual(await sub.next(), { value: undefined, done: true });
});

test("a relay that leaves one out is asked again, once", async () => {
  const { link, sub, log } = open();
  void follow(sub, log);
  link.sub.ok(at(1, 0));
  link.sub.run(1, 1);
  link.sub.send(1, 3);
  assert.deepEqual(link.sub.request.from, { kind: "after", position: at(1, 1) });
  assert.ok(link.subs[0]!.closed);
  link.sub.ok(at(1, 1));
  link.sub.run(2, 3);
  link.sub.send(1, 5);
  link.sub.ok(at(1, 3));
  link.sub.send(1, 5);
  await settle();
  assert.deepEqual(log.filter((l) => /^\d/.test(l)), ["1", "2", "3"]);
  assert.ok(log.includes("end ProtocolError"));
  assert.equal(log.at(-1), "threw ProtocolError");
});

test("what waits is delivered before the end", async () => {
  for (const [code, error] of [[Code.forbidden, ForbiddenError], [Code.done, undefined]] as const) {
    const { link, sub, log } = open();
    link.sub.ok(at(1, 0));
    link.sub.run(1, 2);
    link.sub.gap(at(1, 2), at(1, 4), "trimmed");
    link.sub.end(code);
    const e = await follow(sub, log);
    assert.ok(error ? e instanceof error : e === undefined);
    assert.deepEqual(log.slice(2, -1), ["1", "2", "gap 1:2-1:4 trimmed"]);
  }
});

test("a closed client ends it", async () => {
  const { host, sub, log } = open();
  const reading = follow(sub, log);
  const err = new ClosedError("the client was closed");
  host.close(err);
  assert.equal(await reading, err);
  await assert.rejects(sub.subscribed(), ClosedError);
  assert.throws(() => subscribe(host, "demo:x", {}), ClosedError);
  assert.deepEqual(log, ["end ClosedError", "threw ClosedError"]);
});

test("close ends the loop and drops what waits", async () => {
  const { link, sub, log } = open();
  link.sub.ok(at(1, 0));
  link.sub.run(1, 2);
  sub.close();
  sub.close();
  assert.equal(await follow(sub, log), undefined);
  assert.deepEqual(log, ["subscribed 1:0", "end", "done"]);
  const other = open();
  other.sub.close();
  await assert.rejects(other.sub.subscribed(), ClosedError);
});

test("no timer is left after the end", () => {
  const { link, sub } = open();
  const timers = () => process.getActiveResourcesInfo().filter((r) => r === "Timeout").length;
  const before = timers();
  link.sub.end(Code.busy);
  assert.equal(timers(), before + 1);
  sub.close();
  assert.equal(timers(), before);
});

test("a listener that throws, or closes, breaks nothing", async () => {
  const { link, sub } = open();
  sub.on("gap", () => sub.close());
  link.sub.ok(at(1, 0));
  link.sub.run(1, 1);
  link.sub.gap(at(1, 1), at(1, 3), "trimmed");
  link.sub.run(3, 3);
  const log: string[] = [];
  await follow(sub, log);
  assert.deepEqual(log, ["1", "done"]);
});

test("what cannot be is refused with what to give", () => {
  const host = new FakeHost();
  for (const [options, text] of [
    [{ mode: "fast" }, /mode is "fast": give "reliable" or "latest"/],
    [{ datagram: true }, /latest/],
    [{ from: "lst:5" }, /from "lst:5"/],
    [{ window: 0 }, /window is 0/],
    ["live", /options is "live": give an object/],
  ] as const) {
    assert.throws(() => subscribe(host, "demo:x", options as SubscribeOptions), { name: "BadRequestError", message: text });
  }
  assert.equal(host.feeds.size, 0);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { BusyError, ConnectionError, UnauthorizedError } from "../src/errors.ts";
import type { Publication, SubscribeRequest, SubscriptionSink } from "../src/link.ts";
import { newLink } from "../src/requests.ts";
import { MAX } from "../src/varint.ts";
import { defaultWelcome, encodeDown, frame, messageBody } from "./codec/relay.ts";
import { FakeRelay, oblige } from "./fake-session.ts";
import { settle, virtualTime } from "./time.ts";

process.on("unhandledRejection", () => (process.exitCode = 1));

const at = (seq: number, epoch = 1) => ({ epoch, seq });

function publication(n: number, size = 10): Publication {
  return { channel: "chat:lobby", producer: new Uint8Array(16).fill(7), n, age: 0, void: false, body: new Uint8Array(size) };
}

const live: SubscribeRequest = {
  channel: "chat:lobby", from: { kind: "live" }, latest: false, limit: 0, barrier: false, own: true, datagram: false, credit: 0,
};

/** Notes what a subscription is told. */
function sink(): SubscriptionSink & { log: string[] } {
  const log: string[] = [];
  return {
    log,
    ok: (a, h) => log.push(`ok ${a.epoch}:${a.seq} ${h.epoch}:${h.seq}`),
    message: (e, s, b, free) => log.push(`message ${e}:${s} ${b.length}${free ? " free" : ""}`),
    gap: (a, n, r) => log.push(`gap ${a.epoch}:${a.seq} ${n.epoch}:${n.seq} ${r}`),
    status: (s) => log.push(s),
    end: (e) => log.push(`end ${e.code}${e.deadline ? " in " + e.deadline : ""}`),
  };
}

/** A link that has its Welcome; nothing answers but what the test sends. */
async function welcomed(t: TestContext, relay = new FakeRelay()) {
  const log: string[] = [];
  const link = relay.link({ closed: (e) => log.push(`closed ${e.code}: ${e.detail}`), goAway: (g) => log.push("goAway " + g.reason) });
  await settle();
  relay.behave = () => {};
  t.after(() => link.close(0, ""));
  return { relay, link, log };
}

test("requests leave behind Hello without waiting, in order, with refs that increase", async (t) => {
  const relay = new FakeRelay(() => {});
  const link = relay.link();
  t.after(() => link.close(0, ""));
  assert.equal(link.publish(publication(1), () => {}), false, "publishes wait for Welcome");
  link.subscribe(live, sink());
  link.refresh("next");
  link.ping();
  link.subscribe(live, sink());
  await settle();
  assert.deepEqual(relay.up.map((f) => [f.type, f.ref]), [["hello", 0], ["subscribe", 1], ["refresh", 2], ["ping", 3], ["subscribe", 4]]);
  let room = 0;
  link.onRoom = () => room++;
  relay.send(encodeDown.welcome());
  await settle();
  assert.equal(room, 1);
  assert.equal(link.publish(publication(1), () => {}), true);
  await settle();
  assert.equal(relay.up.at(-1)!.type, "publish");
});

test("what is written in one turn leaves in one write, cut at 64 KiB", async (t) => {
  const { relay, link } = await welcomed(t);
  relay.writes.length = 0;
  for (let n = 1; n <= 3; n++) link.publish(publication(n), () => {});
  await settle();
  assert.equal(relay.writes.length, 1);
  relay.writes.length = 0;
  for (let n = 4; n < 104; n++) link.publish(publication(n, 1000), () => {});
  await settle();
  assert.equal(relay.writes.length, 2);
  assert.ok(relay.writes[0]!.length < 68_000);
  assert.equal(relay.of("publish").length, 103);
});

test("each publish is answered once, with its position or its end", async (t) => {
  const { relay, link, log } = await welcomed(t);
  const answers: unknown[] = [];
  for (let n = 1; n <= 3; n++) link.publish(publication(n), (p, e) => answers.push([n, p, e?.code]));
  assert.ok(!answers.length, "never from inside");
  await settle();
  relay.send(encodeDown.end(2, { code: 50, retryAfter: 7 }));
  relay.send(encodeDown.ok(1, at(1)));
  relay.send(encodeDown.ok(1, at(9)));
  await settle();
  assert.deepEqual(answers, [[2, undefined, 50], [1, at(1), undefined]]);
  relay.end(undefined);
  await settle();
  assert.deepEqual(answers.slice(2), [[3, undefined, 43]]);
  assert.equal(log.length, 1);
  assert.equal(link.publish(publication(4), () => assert.fail()), false, "an ended link takes nothing");
  await settle();
  assert.equal(answers.length, 3);
});

test("publish refuses what the relay would refuse, and says when there is room", async (t) => {
  const limits = { ...defaultWelcome.limits, unanswered: 1000 };
  const { relay, link } = await welcomed(t, new FakeRelay((f, r) => f.type === "hello" && r.send(encodeDown.welcome({ limits }))));
  let room = 0;
  link.onRoom = () => room++;
  assert.equal(link.publish(publication(1, 5000), () => {}), true, "one always passes");
  assert.equal(link.publish(publication(2, 1), () => {}), false);
  await settle();
  assert.equal(room, 0);
  relay.send(encodeDown.ok(1, at(1)));
  await settle();
  assert.equal(room, 1);
  const cost = 100 + 128;
  let taken = 0;
  while (link.publish(publication(2 + taken, 100), () => {})) taken++;
  assert.equal(taken, Math.floor(1000 / cost));
  for (let i = 0; i < taken; i++) relay.send(encodeDown.ok(2 + i, at(2 + i)));
  await settle();
  assert.equal(room, 2, "once for each refusal");
  assert.equal(link.publish(publication(9, 1), () => {}), true);
});

test("publish refuses while the carrier takes nothing", async (t) => {
  const limits = { ...defaultWelcome.limits, unanswered: 1 << 30 };
  const { relay, link } = await welcomed(t, new FakeRelay((f, r) => f.type === "hello" && r.send(encodeDown.welcome({ limits }))));
  relay.stall();
  let n = 0;
  while (n < 1000 && link.publish(publication(n + 1, 1000), () => {})) n++;
  assert.ok(n > 240 && n < 270, `took ${n}`);
  let room = 0;
  link.onRoom = () => room++;
  relay.take();
  await settle();
  assert.equal(room, 1);
  assert.equal(link.publish(publication(n + 1), () => {}), true);
});

test("a publish without an answer for 25 s is unknown, and a late answer finds nobody", async (t) => {
  const time = virtualTime(t);
  const { relay, link } = await welcomed(t);
  const answers: unknown[] = [];
  link.publish(publication(1), (p, e) => void answers.push(e?.code ?? p));
  await time.advance(10_000);
  link.publish(publication(2), (p, e) => answers.push(e?.code ?? p));
  await time.advance(14_000);
  assert.deepEqual(answers, []);
  await time.advance(6_000);
  assert.deepEqual(answers, [43]);
  relay.send(encodeDown.ok(1, at(1)));
  relay.send(encodeDown.ok(2, at(2)));
  await settle();
  assert.deepEqual(answers, [43, at(2)]);
  assert.equal(link.end, undefined);
  // Again after a rest; a ping is not a publish.
  await time.advance(10_000);
  let ponged: unknown;
  const later: unknown[] = [];
  link.ping().then((ms) => (ponged = ms), (e) => (ponged = e));
  link.publish(publication(3), (p, e) => void later.push(e?.code ?? p));
  await time.advance(31_000);
  assert.deepEqual(later, [43]);
  assert.equal(ponged, undefined);
});

test("a subscription gets its frames, and nothing once it is closed", async (t) => {
  const { relay, link } = await welcomed(t);
  const s = sink();
  const sub = link.subscribe(live, s);
  await settle();
  relay.send(encodeDown.ok(1, at(4), at(5)), 1);
  relay.send(encodeDown.message(1, 1, 5, messageBody({ payload: "hi" })), 1);
  relay.send(encodeDown.gap(1, at(5), at(8), "compacted"), 1);
  relay.send(encodeDown.status(1, "lost"), 1);
  relay.send(encodeDown.status(1, "restored"), 1);
  relay.send(encodeDown.end(1, { code: 60, deadline: 500 }), 1);
  relay.send(encodeDown.message(1, 1, 8, messageBody({ payload: "x" })), 1);
  await settle();
  assert.deepEqual(s.log, ["ok 1:4 1:5", "message 1:5 4", "gap 1:5 1:8 compacted", "lost", "restored", "end 60 in 500", "message 1:8 3"]);
  sub.close();
  sub.close();
  sub.grant(100);
  await settle();
  relay.send(encodeDown.message(1, 1, 9, messageBody({ payload: "x" })), 1);
  relay.send(encodeDown.status(1, "lost"), 1);
  relay.send(encodeDown.end(1, { code: 61 }), 1);
  relay.finish(1);
  await settle();
  assert.equal(s.log.length, 7);
  assert.deepEqual(relay.up.slice(2).map((f) => f.type), ["cancel"]);
  assert.equal(link.end, undefined);
});

test("grants of one turn leave as one Credit", async (t) => {
  const { relay, link } = await welcomed(t);
  const a = link.subscribe(live, sink());
  const b = link.subscribe({ ...live, credit: 10 }, sink());
  await settle();
  for (let i = 0; i < 10; i++) {
    a.grant(100);
    b.grant(1);
  }
  a.grant(0);
  await settle();
  assert.deepEqual(relay.of("credit"), [{ type: "credit", ref: 1, bytes: 1000 }, { type: "credit", ref: 2, bytes: 10 }]);
  a.grant(5);
  a.close();
  await settle();
  assert.equal(relay.of("credit").length, 2, "none for one that was closed in the same turn");
});

test("a message may go beyond the credit by a part, and no further", async (t) => {
  const { relay, link, log } = await welcomed(t);
  const s = sink();
  const sub = link.subscribe({ ...live, credit: 10 }, s);
  await settle();
  const body = messageBody({ payload: "12345678" });
  relay.send(encodeDown.ok(1, at(0), at(0)));
  relay.send(encodeDown.message(1, 1, 1, body));
  await settle();
  assert.equal(s.log.length, 2);
  sub.grant(1);
  relay.send(encodeDown.message(1, 1, 2, body));
  await settle();
  assert.equal(s.log.length, 3);
  assert.deepEqual(log, []);
  relay.send(encodeDown.message(1, 1, 3, body));
  await settle();
  assert.deepEqual(s.log.slice(3), ["end 62"]);
  assert.match(log[0]!, /^closed 10: .*credit of ref 1/);
  assert.equal(relay.closed!.code, 10);
});

test("credit that is used up to the byte is used up", async (t) => {
  const { relay, link } = await welcomed(t);
  const body = messageBody({ payload: "12345678" });
  link.subscribe({ ...live, credit: body.length }, sink());
  await settle();
  relay.send(encodeDown.ok(1));
  relay.send(encodeDown.message(1, 1, 1, body));
  await settle();
  const before = link.end;
  assert.equal(before, undefined);
  relay.send(encodeDown.message(1, 1, 2, body));
  await settle();
  assert.equal(link.end?.code, 10);
});

test("what a sink or an answer closes is closed for the bytes behind", async (t) => {
  const { relay, link } = await welcomed(t);
  const s = sink();
  const other = sink();
  s.ok = () => {
    s.log.push("ok");
    link.close(0, "enough");
  };
  link.subscribe(live, s);
  link.subscribe(live, other);
  s.end = () => void toClose.close();
  const toClose = link.subscribe(live, other);
  await settle();
  const bytes = [encodeDown.ok(2), encodeDown.ok(1), encodeDown.message(1, 1, 1, messageBody({})), encodeDown.status(2, "lost")];
  relay.send(Uint8Array.from(bytes.flatMap((b) => [...b])));
  await settle();
  assert.deepEqual([s.log, other.log], [["ok"], ["ok 0:0 0:0", "end 62"]]);
});

test("datagrams: only for a subscription that stands, of no credit, and what does not parse is dropped", async (t) => {
  const { relay, link } = await welcomed(t);
  const s = sink();
  link.subscribe({ ...live, latest: true, datagram: true, credit: 1 }, s);
  await settle();
  const body = messageBody({ payload: "hi" });
  relay.datagram(encodeDown.datagram(1, 1, 1, body));
  relay.datagram(encodeDown.datagram(99, 1, 1, body));
  relay.datagram(new Uint8Array([0x80]));
  relay.datagram(new Uint8Array(0));
  relay.send(encodeDown.ok(1, at(0), at(0)));
  for (let i = 2; i < 5; i++) relay.datagram(encodeDown.datagram(1, 1, i, body));
  relay.send(encodeDown.message(1, 1, 5, body));
  await settle();
  assert.deepEqual(s.log, ["ok 1:0 1:0", "message 1:2 4 free", "message 1:3 4 free", "message 1:4 4 free", "message 1:5 4 free"]);
  assert.equal(link.end, undefined);
});

test("over WebSocket a subscription by datagram takes credit", async (t) => {
  const { relay, link } = await welcomed(t, new FakeRelay(oblige, "websocket"));
  const s = sink();
  link.subscribe({ ...live, latest: true, datagram: true }, s);
  await settle();
  relay.send(encodeDown.ok(1, at(0), at(0)));
  relay.send(encodeDown.message(1, 1, 1, messageBody({ payload: "hi" })));
  await settle();
  assert.deepEqual(s.log, ["ok 1:0 1:0", "message 1:1 4"]);
});

test("the end of a subscription's own stream without its End is the end of the subscription", async (t) => {
  for (const reset of [undefined, 0, 56]) {
    const { relay, link } = await welcomed(t);
    const s = sink();
    const sub = link.subscribe(live, s);
    await settle();
    relay.send(encodeDown.ok(1, at(0), at(0)), 1);
    relay.finish(1, reset);
    relay.send(encodeDown.end(1, { code: 56 }));
    await settle();
    assert.deepEqual(s.log, ["ok 1:0 1:0", "end " + (reset || 62)]);
    sub.close();
    assert.equal(link.end, undefined);
  }
});

test("refresh, ping and GoAway", async (t) => {
  const time = virtualTime(t);
  const { relay, link, log } = await welcomed(t);
  const refresh = link.refresh("next");
  const refused = link.refresh("bad");
  const ping = link.ping();
  await time.advance(30);
  relay.send(encodeDown.ok(1, undefined, undefined, 5000));
  relay.send(encodeDown.end(2, { code: 20, detail: "no" }));
  relay.send(encodeDown.pong(3));
  relay.send(encodeDown.goAway({ deadline: 9 }));
  assert.equal(await refresh, 5000);
  await assert.rejects(refused, (e) => e instanceof UnauthorizedError && e.code === 20 && /no/.test(e.message));
  assert.equal(await ping, 30);
  await settle();
  assert.deepEqual(log, ["goAway 60"]);
});

test("pings without an answer are bounded", async (t) => {
  const { relay, link } = await welcomed(t);
  for (let i = 0; i < 64; i++) link.ping();
  await assert.rejects(link.ping(), BusyError);
  await settle();
  relay.send(encodeDown.pong(7));
  await settle();
  link.ping();
  await assert.rejects(link.ping(), BusyError);
});

test("any byte is a sign of life", async (t) => {
  const time = virtualTime(t);
  const { relay, link } = await welcomed(t);
  const before = link.heard;
  await time.advance(50);
  relay.send(encodeDown.goAway().subarray(0, 1));
  await settle();
  assert.equal(link.heard - before, 50);
});

test("when the session ends, everything open is told once, and what comes later at once", async (t) => {
  for (const how of ["relay", "here"] as const) {
    const { relay, link, log } = await welcomed(t);
    const order: string[] = [];
    const s = sink();
    s.end = (e) => order.push("sub " + e.code);
    link.publish(publication(1), (_, e) => order.push("publish " + e?.code));
    link.subscribe(live, s);
    const closed = link.subscribe(live, s);
    const ping = link.ping();
    const refresh = link.refresh("x");
    await settle();
    if (how === "relay") {
      relay.send(encodeDown.end(0, { code: 60, detail: "draining" }));
      relay.end(10, "the carrier adds nothing");
    } else {
      link.close(60, "draining");
      link.close(10, "again");
    }
    link.onRoom = () => order.push("room");
    closed.close();
    await settle();
    assert.deepEqual(order, ["publish 43", "sub 62"], how);
    assert.deepEqual(log, ["closed 60: draining"], how);
    assert.equal(link.end?.code, 60);
    for (const p of [ping, refresh, link.ping(), link.refresh("y")]) await assert.rejects(p, ConnectionError);
    const late = link.subscribe(live, s);
    assert.equal(order.length, 2, "never from inside");
    const never = link.subscribe(live, s);
    never.close();
    await settle();
    assert.deepEqual(order.slice(2), ["sub 62"]);
    late.grant(1);
    late.close();
    relay.send(encodeDown.goAway());
    relay.finish(0);
    relay.end(undefined);
    await settle();
    assert.equal(log.length, 1);
  }
});

test("every code of a session's end is told as it is, whichever way it comes", async (t) => {
  for (const code of [...Array(70).keys(), 998, 999]) {
    for (const way of ["frame", "close", "reset"] as const) {
      const { relay, link, log } = await welcomed(t);
      if (way === "frame") relay.send(encodeDown.end(0, { code, detail: "why" }));
      else if (way === "close") relay.end(code, "why");
      else relay.finish(0, code);
      await settle();
      assert.equal(link.end?.code, code || 62, way);
      assert.equal(log.length, 1);
    }
  }
  for (const way of ["fin", "broken"]) {
    const { relay, link } = await welcomed(t);
    if (way === "fin") relay.finish(0);
    else relay.end(undefined);
    await settle();
    assert.equal(link.end?.code, 62, way);
  }
});

test("a link that never said Hello tells nobody of its end", async () => {
  const { link, handler } = newLink({ welcome: () => assert.fail(), goAway: () => assert.fail(), closed: () => assert.fail() });
  handler.closed(61, "another carrier was faster");
  await settle();
  assert.equal(link.end?.code, 61);
});

test("no Welcome", async (t) => {
  const time = virtualTime(t);
  const relay = new FakeRelay(() => {});
  const log: number[] = [];
  const s = sink();
  const link = relay.link({ closed: (e) => log.push(e.code) });
  link.subscribe(live, s);
  await time.advance(9_900);
  assert.equal(link.end, undefined);
  await time.advance(200);
  assert.deepEqual(log, [25]);
  assert.deepEqual(s.log, ["end 62"]);
  assert.match(link.end!.detail, /10000 ms/);
  assert.equal(relay.closed?.code, 61);
});

test("what is out of place ends the session with protocol", async (t) => {
  const body = messageBody({ payload: "hi" });
  const cases: Record<string, (r: FakeRelay) => void> = {
    "a second Welcome": (r) => r.send(encodeDown.welcome()),
    "a Welcome on another stream": (r) => r.send(encodeDown.welcome(), 1),
    "a second OK of a subscription": (r) => {
      r.send(encodeDown.ok(1, at(0), at(0)), 1);
      r.send(encodeDown.ok(1, at(0), at(0)), 1);
    },
    "a message before OK": (r) => r.send(encodeDown.message(1, 1, 1, body), 1),
    "a gap before OK": (r) => r.send(encodeDown.gap(1, at(0), at(1)), 1),
    "a status before OK": (r) => r.send(encodeDown.status(1, "lost"), 1),
    "an announcement before OK": (r) => r.send(encodeDown.end(1, { code: 60, deadline: 5 }), 1),
    "a message for a publish": (r) => r.send(encodeDown.message(2, 1, 1, body)),
    "a gap for a ping": (r) => r.send(encodeDown.gap(3, at(0), at(1))),
    "a status for a refresh": (r) => r.send(encodeDown.status(4, "lost")),
    "an End of a publish without a code": (r) => r.send(encodeDown.end(2)),
    "an End of a refresh without a code": (r) => r.send(encodeDown.end(4)),
    "an OK for a ping": (r) => r.send(encodeDown.ok(3)),
    "an End for a ping": (r) => r.send(encodeDown.end(3, { code: 50 })),
    "a Pong for a refresh": (r) => r.send(encodeDown.pong(4)),
    "a Pong for a publish": (r) => r.send(encodeDown.pong(2)),
    "an OK for a ref that nobody used": (r) => r.send(encodeDown.ok(5, at(1))),
    "an End for such a ref": (r) => r.send(encodeDown.end(MAX)),
    "a message for such a ref": (r) => r.send(encodeDown.message(5, 1, 1, body)),
    "a Pong for such a ref": (r) => r.send(encodeDown.pong(5)),
    "a frame that only goes up": (r) => r.send(frame(0x02, 0)),
    "a stream that ends within a frame": (r) => {
      r.send(encodeDown.ok(1).subarray(0, 2), 1);
      r.finish(1);
    },
    "the first stream's end within a frame": (r) => {
      r.send(encodeDown.ok(1).subarray(0, 2));
      r.finish();
    },
    "more streams than lanes": (r) => {
      for (let i = 1; i < 30; i++) r.send(encodeDown.ok(1).subarray(0, 1), i);
    },
  };
  for (const [name, act] of Object.entries(cases)) {
    const { relay, link, log } = await welcomed(t);
    link.subscribe(live, sink());
    link.publish(publication(1), () => {});
    link.ping().catch(() => {});
    link.refresh("x").catch(() => {});
    await settle();
    act(relay);
    await settle();
    assert.equal(link.end?.code, 10, name);
    assert.equal(relay.closed?.code, 10, name);
    assert.equal(log.length, 1, name);
  }
});

test("before Welcome nothing is an answer but on a stream of its own, which may be faster", async (t) => {
  const first = new FakeRelay(() => {});
  const early = first.link();
  first.send(encodeDown.welcome(), 1);
  await settle();
  assert.equal(early.end?.code, 10, "Welcome comes on the first stream");
  for (const [f, code] of [[encodeDown.ok(1), 10], [encodeDown.goAway(), 10], [encodeDown.end(0, { code: 20 }), 20]] as const) {
    const relay = new FakeRelay(() => {});
    const link = relay.link();
    link.subscribe(live, sink());
    relay.send(f);
    await settle();
    assert.equal(link.end?.code, code);
  }
  const relay = new FakeRelay(() => {});
  const link = relay.link();
  t.after(() => link.close(0, ""));
  const s = sink();
  link.subscribe(live, s);
  await settle();
  relay.send(encodeDown.ok(1, at(0), at(0)), 1);
  relay.send(encodeDown.welcome());
  await settle();
  assert.equal(link.end, undefined);
  assert.deepEqual(s.log, ["ok 1:0 1:0"]);
});

test("a sink that throws ends the session, and takes nothing from the others", async (t) => {
  const { relay, link, log } = await welcomed(t);
  const bad = sink();
  bad.message = () => {
    throw new Error("a defect");
  };
  const good = sink();
  link.subscribe(live, bad);
  link.subscribe(live, good);
  relay.send(encodeDown.ok(1));
  relay.send(encodeDown.message(1, 1, 1, messageBody({})));
  await settle();
  assert.deepEqual(log, ["closed 63: a defect"]);
  assert.deepEqual(good.log, ["end 62"]);
  assert.deepEqual(bad.log, ["ok 0:0 0:0", "end 62"]);
});


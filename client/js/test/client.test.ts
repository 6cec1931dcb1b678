import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { connect } from "../src/client.ts";
import type { Relay } from "../src/client.ts";
import { BadRequestError, BusyError, ClosedError, ForbiddenError, ProtocolError, TooLargeError, UnauthorizedError, UnknownOutcomeError } from "../src/errors.ts";
import type { ConnectOptions } from "../src/options.ts";
import type { StateChange } from "../src/state.ts";
import { defaultWelcome, encodeDown, frame, messageBody } from "./codec/relay.ts";
import type { Up } from "./codec/relay.ts";
import { fakeWebSocket, oblige } from "./fake-session.ts";
import type { FakeRelay } from "./fake-session.ts";
import type { VirtualTime } from "./time.ts";
import { settle, virtualTime } from "./time.ts";

process.on("unhandledRejection", (err) => {
  throw err;
});

interface Net {
  readonly time: VirtualTime;
  readonly relays: FakeRelay[];
  readonly urls: string[];
  readonly changes: StateChange[];
  /** Its own client. */
  readonly relay: Relay;
}

/** A client over relays in memory; behave: what the n-th does about a frame. */
function net(t: TestContext, behave: (f: Up, relay: FakeRelay, n: number) => void = (f, r) => oblige(f, r), options: ConnectOptions = {}): Net {
  const time = virtualTime(t);
  const relays: FakeRelay[] = [];
  const urls: string[] = [];
  const changes: StateChange[] = [];
  const WebSocket = fakeWebSocket((r, url) => {
    const n = relays.push(r) - 1;
    urls.push(url);
    r.behave = (f, r) => behave(f, r, n);
  });
  const relay = connect("https://h:444", { carriers: ["websocket"], WebSocket, ...options });
  relay.on("state", (c) => changes.push(c));
  t.after(() => relay.close({ timeout: 0 }));
  return { time, relays, urls, changes, relay };
}

const text = (f: Up) => (f.type === "publish" ? new TextDecoder().decode(f.publication.body) : "");
const jwt = (claims: object) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.secret`;

test("idle, connecting, connected, reconnecting, connected, closed", async (t) => {
  const n = net(t);
  assert.equal(n.relay.state, "idle");
  assert.equal(n.changes.length, 0, "nothing is told in the turn of connect");
  await n.time.advance(100);
  assert.equal(n.relay.state, "connected");
  assert.equal(n.urls[0], "wss://h:444/v1/session");
  n.relays[0]!.end(undefined);
  await n.time.advance(2_000);
  await n.relay.close();
  assert.deepEqual(n.changes.map((c) => [c.from, c.to]), [
    ["idle", "connecting"], ["connecting", "connected"], ["connected", "reconnecting"], ["reconnecting", "connected"], ["connected", "closed"],
  ]);
  const [, connected, lost, , closed] = n.changes;
  assert.deepEqual([connected!.edge, connected!.region, connected!.carrier, connected!.reason], ["edge-test", "test", "websocket", undefined]);
  assert.equal(lost!.edge, undefined);
  assert.match(lost!.reason!.message, /lost/);
  assert.ok(closed!.reason instanceof ClosedError);
  assert.equal(n.relay.change, closed);
  assert.deepEqual(n.relays[1]!.closed?.code, 0);
});

test("a failed attempt is told", async (t) => {
  const n = net(t, () => {}, { getToken: () => { throw new Error("down"); } });
  await n.time.advance(20_000);
  assert.deepEqual([...new Set(n.changes.map((c) => c.to))], ["connecting"]);
  assert.ok(n.changes.length > 1);
  assert.match(n.relay.change.reason!.message, /getToken: down/);
});

test("publish and subscribe before connected: in the order of the calls, nothing lost", async (t) => {
  const n = net(t);
  const channel = n.relay.channel("chat:lobby");
  const sub = channel.subscribe();
  const published = Promise.all(["a", "b", "c"].map((text) => channel.publish({ text })));
  await n.time.advance(100);
  assert.deepEqual((await published).map((p) => p.position.seq), [1, 2, 3]);
  assert.deepEqual(n.relays[0]!.of("publish").map((f) => text(f).at(-1)), ["a", "b", "c"]);
  assert.deepEqual(n.relays[0]!.up.slice(0, 2).map((f) => f.type), ["hello", "subscribe"], "subscribed before Welcome");
  assert.ok(await sub.subscribed());
});

test("what waits while there is no session goes with the next", async (t) => {
  const n = net(t, (f, r, i) => {
    if (i === 0 && f.type === "publish") r.end(undefined);
    else oblige(f, r);
  });
  await n.time.advance(100);
  const published = n.relay.channel("chat:lobby").publish({ text: "hi" });
  await n.time.advance(5_000);
  assert.deepEqual(await published, { position: { epoch: 1, seq: 1 } });
  const [first, second] = n.relays.map((r) => r.of("publish")[0]!.publication);
  assert.deepEqual([first!.producer, first!.n], [second!.producer, second!.n]);
});

test("an id makes a producer of the token's subject", async (t) => {
  const n = net(t, undefined, { token: jwt({ sub: "üser-17" }) });
  const published = n.relay.channel("chat:lobby").publish({ text: "hi", id: "order 7" });
  for (let i = 0; i < 50 && !n.relays[0]?.of("publish").length; i++) {
    await new Promise(setImmediate); // the digest is made elsewhere
    await n.time.advance(10);
  }
  await published;
  const subject = Buffer.from("üser-17");
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(BigInt(subject.length));
  const want = createHash("sha256").update(Buffer.concat([size, subject, Buffer.from("order 7")])).digest().subarray(0, 16);
  const { publication } = n.relays[0]!.of("publish")[0]!;
  assert.deepEqual([Buffer.from(publication.producer), publication.n], [want, 1]);
});

test("an id without a subject to bind it to", async (t) => {
  for (const token of ["", "opaque", jwt({ sub: "" }), jwt({ sub: 7 }), "a.!!!.c", "a.eyJ.c"]) {
    await t.test(token, async (t) => {
      const channel = net(t, undefined, { token }).relay.channel("chat:lobby");
      await assert.rejects(channel.publish({ text: "hi", id: "7" }), (err) => err instanceof BadRequestError && /sub/.test(err.message));
      for (const id of ["", 7 as never]) await assert.rejects(channel.publish({ text: "hi", id }), BadRequestError);
    });
  }
});

test("close waits for what was published, and refuses what comes", async (t) => {
  const held: (() => void)[] = [];
  const n = net(t, (f, r) => (f.type === "publish" ? void held.push(() => oblige(f, r)) : oblige(f, r)));
  const channel = n.relay.channel("chat:lobby");
  const published = channel.publish({ text: "hi" });
  const sub = channel.subscribe();
  const loop = sub.next();
  loop.catch(() => {});
  await n.time.advance(100);
  const closing = n.relay.close();
  assert.equal(n.relay.close(), closing);
  await assert.rejects(channel.publish({ text: "late" }), ClosedError);
  await n.time.advance(1_000);
  assert.equal(n.relay.state, "connected");
  held[0]!();
  await settle();
  await closing;
  assert.ok(await published);
  await assert.rejects(loop, ClosedError);
  await assert.rejects(sub.next(), ClosedError);
  await assert.rejects(channel.publish({ text: "later" }), ClosedError);
  await assert.rejects((async () => { for await (const _ of channel.history()); })(), ClosedError);
  assert.throws(() => channel.subscribe(), ClosedError);
  assert.equal(n.relays[0]!.closed?.code, 0);
  assert.equal(n.relay.state, "closed");
});

test("close waits for an id's producer too", async (t) => {
  let give!: (token: string) => void;
  const n = net(t, undefined, { getToken: () => new Promise((resolve) => (give = resolve)) });
  const published = n.relay.channel("chat:lobby").publish({ text: "hi", id: "7" });
  await n.time.advance(1_000);
  const closing = n.relay.close();
  await n.time.advance(1_000);
  give(jwt({ sub: "u" }));
  for (let i = 0; i < 50 && n.relay.state !== "closed"; i++) {
    await new Promise(setImmediate);
    await n.time.advance(10);
  }
  assert.deepEqual(await published, { position: { epoch: 1, seq: 1 } });
  await closing;
});

test("close waits 5 s, or as told; what may stand is said", async (t) => {
  for (const [timeout, wait] of [[undefined, 5_000], [200, 200], [0, 0]] as const) {
    await t.test(`${timeout}`, async (t) => {
      const n = net(t, (f, r) => void (f.type !== "publish" && oblige(f, r)));
      const sent = n.relay.channel("chat:lobby").publish({ text: "hi" });
      sent.catch(() => {});
      await n.time.advance(100);
      const closing = n.relay.close(timeout === undefined ? {} : { timeout });
      if (wait) {
        await n.time.advance(wait - 20);
        assert.equal(n.relay.state, "connected");
      }
      await n.time.advance(40);
      assert.equal(n.relay.state, "closed");
      await closing;
      await assert.rejects(sent, UnknownOutcomeError);
    });
  }
});

test("close waits for as long as it is told, also beyond what a timer takes", async (t) => {
  for (const timeout of [Infinity, 2 ** 31]) {
    await t.test(`${timeout}`, async (t) => {
      const abort = new AbortController();
      const n = net(t, (f, r) => void (f.type !== "publish" && oblige(f, r)), { signal: abort.signal });
      n.relay.channel("chat:lobby").publish({ text: "hi" }).catch(() => {});
      await n.time.advance(100);
      // Virtual timers have no bound; real ones beyond it fire at once.
      const { setTimeout } = globalThis;
      const waits: unknown[] = [];
      globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => (waits.push(args[1]), setTimeout(...args))) as typeof setTimeout;
      const closing = n.relay.close({ timeout });
      globalThis.setTimeout = setTimeout;
      assert.deepEqual(waits.map((ms) => (ms as number) < 2 ** 31), [true]);
      abort.abort();
      await closing;
    });
  }
});

test("closed before it was connected: what was not sent does not stand", async (t) => {
  const n = net(t, () => {});
  const waiting = n.relay.channel("chat:lobby").publish({ text: "hi" });
  waiting.catch(() => {});
  await n.time.advance(100);
  void n.relay.close({ timeout: 0 });
  await n.time.advance(10);
  await assert.rejects(waiting, ClosedError);
});

test("closed in the turn of connect: nothing is dialled, nothing is left", async (t) => {
  const n = net(t);
  const sub = n.relay.channel("chat:lobby").subscribe();
  await n.relay.close();
  await n.time.advance(1_000);
  assert.equal(n.relay.state, "closed");
  await assert.rejects(sub.next(), ClosedError);
  await assert.rejects(sub.subscribed(), ClosedError);
});

test("signal", async (t) => {
  await t.test("aborted before", async (t) => {
    const n = net(t, undefined, { signal: AbortSignal.abort(new Error("no more")) });
    await n.time.advance(100);
    assert.deepEqual([n.relay.state, n.relays.length], ["closed", 0]);
    assert.equal((n.relay.change.reason!.cause as Error).message, "no more");
  });
  await t.test("aborted later", async (t) => {
    const stop = new AbortController();
    const n = net(t, undefined, { signal: stop.signal });
    await n.time.advance(100);
    stop.abort();
    assert.equal(n.relay.state, "closed");
    await settle();
    assert.equal(n.relays[0]!.closed?.code, 0);
    await assert.rejects(n.relay.channel("chat:lobby").publish({ text: "hi" }), ClosedError);
  });
});

test("a client that was closed leaves no listener behind", async (t) => {
  const stop = new AbortController();
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page) as typeof addEventListener;
  t.after(() => delete (globalThis as { addEventListener?: unknown }).addEventListener);
  const n = net(t, undefined, { signal: stop.signal });
  await n.time.advance(100);
  assert.equal(getEventListeners(page, "online").length, 1);
  assert.equal(getEventListeners(stop.signal, "abort").length, 1);
  const other = connect("https://h", { signal: stop.signal });
  await Promise.all([n.relay.close(), other.close()]);
  assert.equal(getEventListeners(page, "online").length, 0);
  assert.equal(getEventListeners(stop.signal, "abort").length, 0);
});

test("another subject publishes by another producer", async (t) => {
  let sub = "a";
  const n = net(t, undefined, { getToken: () => jwt({ sub }) });
  const channel = n.relay.channel("chat:lobby");
  for (const next of ["a", "b", "b"]) {
    sub = next;
    n.relays.at(-1)?.end(21);
    await n.time.advance(2_000);
    void channel.publish({ text: "hi" });
    await n.time.advance(100);
  }
  const producers = n.relays.map((r) => Buffer.from(r.of("publish")[0]!.publication.producer).toString("hex"));
  assert.notEqual(producers[0], producers[1]);
  assert.equal(producers[1], producers[2]);
});

test("every listener is told in the order in which things happened", async (t) => {
  const stop = new AbortController();
  const n = net(t, undefined, { signal: stop.signal });
  const told: string[] = [];
  n.relay.on("state", (c) => void (c.to === "connected" && stop.abort()));
  n.relay.on("state", (c) => void told.push(c.to));
  await n.time.advance(100);
  assert.deepEqual(told, ["connecting", "connected", "closed"]);
});

test("await using closes", async (t) => {
  const n = net(t);
  await n.time.advance(100);
  await n.relay[Symbol.asyncDispose]();
  assert.equal(n.relay.state, "closed");
});

test("refused for good: everything ends with why", async (t) => {
  for (const [code, type] of [[20, UnauthorizedError], [22, ForbiddenError], [23, UnauthorizedError], [24, ForbiddenError]] as const) {
    await t.test(`${code}`, async (t) => {
      const n = net(t, (f, r) => {
        if (f.type !== "hello") return;
        r.send(encodeDown.end(0, { code, detail: "because" }));
        r.end(code);
      });
      const channel = n.relay.channel("chat:lobby");
      const sub = channel.subscribe();
      const calls = [channel.publish({ text: "hi" }), sub.next(), sub.subscribed()];
      const all = Promise.all(calls.map((p) => assert.rejects(p, (err) => err instanceof type && /because/.test(err.message))));
      await n.time.advance(1_000);
      await all;
      assert.equal(n.relay.state, "closed");
      assert.ok(n.relay.change.reason instanceof type);
      await assert.rejects(channel.publish({ text: "hi" }), type);
      assert.throws(() => channel.subscribe(), type);
      await n.relay.close();
    });
  }
});

test("a token is told to nobody", async (t) => {
  const token = jwt({ sub: "u" });
  const said: unknown[] = [];
  const n = net(t, (f, r) => {
    if (f.type !== "hello") return;
    assert.equal(f.token, token);
    r.send(encodeDown.end(0, { code: 20, detail: "no" }));
    r.end(20);
  }, { getToken: async () => token });
  n.relay.on("state", (c) => said.push(c, c.reason?.message, c.reason?.stack, c.reason?.cause));
  await n.time.advance(10_000);
  await n.relay.channel("chat:lobby").publish({ text: "hi" }).catch((err: Error) => said.push(err, err.message, err.stack));
  assert.ok(said.length > 5);
  assert.ok(!said.map((s) => String(s) + JSON.stringify(s)).join().includes(token));
});

test("a listener that throws is reported, and stops nothing", async (t) => {
  const n = net(t);
  const thrown: unknown[] = [];
  const caught = (err: unknown) => thrown.push(err);
  process.setUncaughtExceptionCaptureCallback(caught);
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const stop = n.relay.on("state", () => {
    throw new Error("listener");
  });
  await n.time.advance(100);
  assert.equal(n.relay.state, "connected");
  await new Promise(setImmediate);
  assert.equal(thrown.length, 2);
  stop();
  n.relays[0]!.end(undefined);
  await n.time.advance(2_000);
  assert.equal(thrown.length, 2, "removed");
});

test("a listener may close, at every state", async (t) => {
  for (const at of ["connecting", "connected", "reconnecting", "suspended"] as const) {
    await t.test(at, async (t) => {
      let down = false;
      const n = net(t, (f, r) => {
        if (f.type === "hello" && (down || at === "suspended")) r.end(undefined);
        else oblige(f, r);
      });
      n.relay.on("state", (c) => {
        if (c.to === at) void n.relay.close({ timeout: 0 });
      });
      await n.time.advance(100);
      down = true;
      n.relays[0]?.end(undefined);
      await n.time.advance(150_000);
      assert.equal(n.relay.state, "closed");
      assert.equal(n.changes.filter((c) => c.to === "closed").length, 1);
      const dialled = n.relays.length;
      await n.time.advance(60_000);
      assert.equal(n.relays.length, dialled);
    });
  }
});

test("the relay's limit of a payload holds once it is known", async (t) => {
  const n = net(t, (f, r) => (f.type === "hello" ? r.send(encodeDown.welcome({ limits: { ...defaultWelcome.limits, payload: 10 } })) : oblige(f, r)));
  const channel = n.relay.channel("chat:lobby");
  await n.time.advance(100);
  await assert.rejects(channel.publish({ text: "12345678901" }), TooLargeError);
  assert.ok(await Promise.race([channel.publish({ text: "1234567890" }), n.time.advance(100)]));
});

test("unanswered bounds what waits", async (t) => {
  const n = net(t, () => {}, { unanswered: 1_000 });
  const channel = n.relay.channel("chat:lobby");
  for (let i = 0; i < 3; i++) channel.publish({ text: "hi" }).catch(() => {});
  await assert.rejects(channel.publish({ text: "hi" }), BusyError);
});

test("channel names", (t) => {
  const { relay } = net(t);
  for (const name of ["a:b", "chat:lobby", "a-1:x y/ü:z*", "a:" + "é".repeat(96), `${"a".repeat(32)}:\u{1F600}`]) assert.equal(relay.channel(name).name, name);
  const bad = ["", "chat", "chat:", ":x", "Chat:x", "1a:x", "-a:x", "a_b:x", `${"a".repeat(33)}:x`, "a:" + "é".repeat(97), "a:\n", "a:\u0085", "a:\ud800", "a:x\u007f", "a:b\n", 7, null, undefined, {}];
  for (const name of bad) {
    assert.throws(() => relay.channel(name as string), (err) => err instanceof BadRequestError && /namespace:name/.test(err.message), JSON.stringify(name));
  }
});

test("GoAway: subscriptions move without a gap, then the old session is closed", async (t) => {
  const body = messageBody({ payload: "m" });
  const n = net(t, (f, r, i) => {
    if (f.type !== "subscribe") return oblige(f, r);
    r.send(encodeDown.ok(f.ref, { epoch: 1, seq: i ? 1 : 0 }, { epoch: 1, seq: 1 }));
    r.send(encodeDown.message(f.ref, 1, i + 1, body));
  });
  const sub = n.relay.channel("chat:lobby").subscribe();
  await n.time.advance(100);
  n.relays[0]!.send(encodeDown.goAway({ deadline: 10_000, alternatives: ["https://other"] }));
  await n.time.advance(100);
  assert.equal(n.urls[1], "wss://other/v1/session");
  assert.deepEqual(n.relays[1]!.of("subscribe")[0]!.request.from, { kind: "after", position: { epoch: 1, seq: 1 } });
  assert.equal(n.relays[0]!.closed?.code, 0);
  assert.deepEqual([(await sub.next()).value!.position.seq, (await sub.next()).value!.position.seq], [1, 2]);
  assert.deepEqual(n.changes.map((c) => c.to), ["connecting", "connected", "connected"]);
});

test("garbage instead of a protocol: told, and tried again", async (t) => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const n = net(t, (f, r, i) => {
    // No frame has such a header, nor has part of it. An even type that is not known would end the client.
    if (i < 20) r.send(Uint8Array.from({ length: 1 + i * 7 }, (_, at) => (at < 11 ? 255 : random() * 256)));
    else oblige(f, r);
  });
  await n.time.advance(20_000);
  for (let i = 0; i < 30 && n.relay.state !== "connected"; i++) await n.time.advance(20_000);
  assert.equal(n.relay.state, "connected");
  assert.ok(n.changes.filter((c) => c.reason).length >= 20);
  assert.ok(n.changes.every((c) => !c.reason || c.reason.name !== "TypeError"));
});

test("a frame that must be known and is not: closed with a ProtocolError", async (t) => {
  const n = net(t, (_, r) => r.send(frame(0x30, 0)));
  await n.time.advance(1_000);
  assert.equal(n.relay.state, "closed");
  assert.ok(n.relay.change.reason instanceof ProtocolError && n.relay.change.reason.code === 11);
});

test("silence at every point", async (t) => {
  const n = net(t, (f, r, i) => {
    // The first says nothing, the second Welcome and nothing else.
    if (i >= 2 || (i === 1 && f.type === "hello")) oblige(f, r);
  });
  const channel = n.relay.channel("chat:lobby");
  const sub = channel.subscribe();
  const published = channel.publish({ text: "hi" });
  await n.time.advance(60_000);
  await n.time.advance(20_000);
  assert.ok(n.relays.length >= 3);
  assert.ok(await published);
  assert.ok(await sub.subscribed());
  assert.equal(n.relay.state, "connected");
});

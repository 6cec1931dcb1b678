// A good conversation, cut, changed and broken off at every byte: whatever comes, the link ends
// with a code, nothing throws, and everything that was asked is answered once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MeridianError } from "../src/errors.ts";
import type { SubscribeRequest } from "../src/link.ts";
import type { End } from "../src/session.ts";
import { encodeDown, frame, messageBody } from "./codec/relay.ts";
import { FakeRelay } from "./fake-session.ts";
import { settle } from "./time.ts";

let unhandled = 0;
process.on("unhandledRejection", () => unhandled++);
process.on("uncaughtException", () => unhandled++);

const at = (seq: number) => ({ epoch: 3, seq });
const reading: SubscribeRequest = {
  channel: "chat:lobby", from: { kind: "live" }, latest: false, limit: 0, barrier: false, own: true, datagram: false, credit: 1000,
};
const message = messageBody({ payload: "hi", key: "a", headers: [["h", "v"]], contentType: "text/plain", publisher: "user-17", time: 1767225600000 });

/** Every frame that comes down: refs are those of `converse`. */
const frames = [
  encodeDown.welcome({ tokenExpires: 60_000 }),
  encodeDown.ok(1, at(41), at(42)),
  encodeDown.message(1, 3, 42, message),
  encodeDown.gap(1, at(42), at(50), "compacted"),
  encodeDown.status(1, "lost"),
  encodeDown.pong(2),
  encodeDown.ok(3, undefined, undefined, 5000),
  encodeDown.ok(4, at(43)),
  encodeDown.end(5, { code: 50, retryAfter: 10, detail: "busy" }),
  frame(0x11, 4, new Uint8Array(3)), // of a newer relay
  encodeDown.goAway({ deadline: 1000, alternatives: ["https://b.example"] }),
  encodeDown.end(1, { code: 61, last: at(50) }),
  encodeDown.end(0, { code: 60, detail: "draining", alternatives: ["https://b.example"] }),
];
const good = new Uint8Array(frames.reduce((n, f) => n + f.length, 0));
frames.reduce((n, f) => (good.set(f, n), n + f.length), 0);

/** Asks for one thing of each kind, lets act answer, breaks the carrier, and checks what was told. */
async function converse(name: string, act: (relay: FakeRelay) => void): Promise<End> {
  const relay = new FakeRelay(() => {});
  const ends: End[] = [];
  const told = { publishes: [0, 0], subEnds: 0, afterEnd: 0, calls: 0 };
  const link = relay.link({ closed: (e) => ends.push(e) });
  link.subscribe(reading, {
    ok: () => (told.afterEnd += told.subEnds),
    message: () => (told.afterEnd += told.subEnds),
    gap: () => (told.afterEnd += told.subEnds),
    status: () => (told.afterEnd += told.subEnds),
    end: (e) => {
      told.afterEnd += told.subEnds;
      if (!e.deadline) told.subEnds++;
    },
  });
  const calls = [link.ping(), link.refresh("x")].map((p) =>
    p.then(
      (n) => assert.ok(n >= 0),
      (e) => assert.ok(e instanceof MeridianError, name),
    ).then(() => told.calls++),
  );
  const publish = () => {
    for (const i of [0, 1]) {
      const p = { channel: "chat:lobby", producer: new Uint8Array(16), n: i + 1, age: 0, void: false, body: new Uint8Array(4) };
      if (!link.publish(p, (_, e) => (assert.ok(!e || e.code > 0), told.publishes[i]!++))) told.publishes[i]!++;
    }
  };
  const welcome = frames[0]!.length;
  relay.send(good.subarray(0, welcome)); // so that there are publishes
  await settle();
  publish();
  await settle();
  act(relay);
  await settle();
  relay.end(undefined, "the carrier broke");
  await settle();
  await Promise.all(calls);
  assert.equal(ends.length, 1, name);
  assert.equal(link.end, ends[0], name);
  assert.ok(ends[0]!.code > 0 && ends[0]!.code < 1000, name);
  assert.deepEqual(told, { publishes: [1, 1], subEnds: 1, afterEnd: 0, calls: 2 }, name);
  return ends[0]!;
}

const rest = good.subarray(frames[0]!.length);

test("the good conversation is good", async () => {
  const end = await converse("whole", (r) => r.send(rest));
  assert.deepEqual([end.code, end.detail, end.alternatives], [60, "draining", ["https://b.example"]]);
  const bytewise = await converse("bytewise", (r) => {
    for (let i = 0; i < rest.length; i++) r.send(rest.subarray(i, i + 1));
  });
  assert.equal(bytewise.code, 60);
});

test("cut at every byte, then FIN, a reset, silence, or the end of the carrier", async () => {
  const boundaries = new Set<number>();
  frames.slice(1).reduce((n, f) => (boundaries.add(n), n + f.length), 0);
  for (let n = 0; n < rest.length; n++) {
    const fin = await converse(`FIN at ${n}`, (r) => (r.send(rest.subarray(0, n)), r.finish()));
    assert.equal(fin.code, boundaries.has(n) ? 62 : 10, `FIN at ${n}`);
    const reset = await converse(`reset at ${n}`, (r) => (r.send(rest.subarray(0, n)), r.finish(0, 56)));
    assert.equal(reset.code, 56);
    const broken = await converse(`broken at ${n}`, (r) => r.send(rest.subarray(0, n)));
    assert.equal(broken.code, 62);
    const own = await converse(`FIN at ${n} of another stream`, (r) => (r.send(rest.subarray(0, n), 1), r.finish(1)));
    assert.equal(own.code, boundaries.has(n) ? 62 : 10, `FIN at ${n} of another stream`);
  }
});

test("every bit of every byte changed", async () => {
  const codes = new Map<number, number>();
  for (let n = 0; n < rest.length; n++) {
    for (let bit = 0; bit < 8; bit++) {
      const bytes = rest.slice();
      bytes[n]! ^= 1 << bit;
      const { code } = await converse(`bit ${bit} of ${n}`, (r) => r.send(bytes));
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
  }
  // What is no longer the protocol is mostly seen; what still parses is believed.
  assert.ok((codes.get(10) ?? 0) > 200, JSON.stringify([...codes]));
  assert.ok((codes.get(11) ?? 0) > 5, JSON.stringify([...codes]));
  assert.equal(codes.get(63), undefined, "a fault of this side: " + JSON.stringify([...codes]));
});

test("the Welcome cut or changed", async () => {
  const welcome = frames[0]!;
  for (let n = 0; n < welcome.length * 9; n++) {
    const relay = new FakeRelay(() => {});
    const log: number[] = [];
    const link = relay.link({ closed: (e) => log.push(e.code) });
    const bytes = welcome.slice();
    if (n < welcome.length) {
      relay.send(bytes.subarray(0, n));
      relay.finish();
    } else {
      const m = n - welcome.length;
      bytes[m >> 3]! ^= 1 << (m & 7);
      relay.send(bytes);
      relay.end(undefined);
    }
    await settle();
    assert.equal(log.length, 1);
    assert.equal(log[0], link.end?.code);
    if (n < welcome.length) assert.equal(log[0], n ? 10 : 62);
  }
});

test("random bytes on any stream", async () => {
  let seed = Number(process.env.MERIDIAN_SEED ?? 1);
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  for (let i = 0; i < 500; i++) {
    await converse(`seed ${seed}`, (r) => {
      for (let k = random(5); k >= 0; k--) {
        const bytes = Uint8Array.from({ length: 2 + random(60) }, () => random(256));
        if (random(2)) bytes.set([[0x22, 0x24, 0x26, 0x28, 0x2b, 0x2c, 0x2f][random(7)]!, random(7)]);
        if (random(5)) r.send(bytes, random(3));
        else r.datagram(bytes);
      }
    });
  }
});

test("nothing was left unhandled", async () => {
  await new Promise((r) => setTimeout(r, 0));
  assert.equal(unhandled, 0);
});

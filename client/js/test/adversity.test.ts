// A client whose relay, token or caller is in the way.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { connect } from "../src/client.ts";
import { BadRequestError, ClosedError } from "../src/errors.ts";
import type { ConnectOptions } from "../src/options.ts";
import { encodeDown } from "./codec/relay.ts";
import type { Up } from "./codec/relay.ts";
import { fakeWebSocket, oblige } from "./fake-session.ts";
import type { FakeRelay } from "./fake-session.ts";
import { rig } from "./keeper-rig.ts";
import { settle, virtualTime } from "./time.ts";

function net(t: TestContext, behave: (f: Up, relay: FakeRelay, n: number) => void, options: ConnectOptions = {}) {
  const time = virtualTime(t);
  const relays: FakeRelay[] = [];
  const WebSocket = fakeWebSocket((r) => {
    const n = relays.push(r) - 1;
    r.behave = (f, r) => behave(f, r, n);
  });
  const relay = connect("https://h:444", { carriers: ["websocket"], WebSocket, ...options });
  t.after(() => relay.close({ timeout: 0 }));
  return { time, relays, relay };
}

test("a relay that says GoAway behind every Welcome is not dialled in a loop", async (t) => {
  const n = net(t, (f, r) => {
    oblige(f, r);
    if (f.type === "hello") r.send(encodeDown.goAway({ reason: 60, deadline: 30_000 }));
  });
  await n.time.advance(10_000);
  assert.ok(n.relays.length >= 2, "it moved");
  assert.ok(n.relays.length < 30, `${n.relays.length} sessions in 10 s`);
});

test("a publish with an id whose token does not come ends as the client does", async (t) => {
  const n = net(t, oblige, { getToken: () => new Promise(() => {}) });
  const published = n.relay.channel("chat:lobby").publish({ text: "hi", id: "a" });
  published.catch(() => {});
  await n.time.advance(100);
  const closed = n.relay.close({ timeout: 1_000 });
  await n.time.advance(2_000);
  await closed;
  await assert.rejects(published, ClosedError);
});

test("a signal gives up a publish with an id whose token does not come, and is not kept", async (t) => {
  let give!: (token: string) => void;
  const n = net(t, oblige, { getToken: () => new Promise((resolve) => (give = resolve)) });
  const [stop, go] = [new AbortController(), new AbortController()];
  const chat = n.relay.channel("chat:lobby");
  let error: unknown;
  chat.publish({ text: "hi", id: "a" }, { signal: stop.signal }).catch((e) => (error = e));
  const published = chat.publish({ text: "hi", id: "b" }, { signal: go.signal });
  await n.time.advance(100);
  stop.abort("enough");
  await settle();
  assert.equal(error, "enough");
  chat.publish({ text: "hi", id: "c" }, { signal: AbortSignal.abort("before") }).catch((e) => (error = e));
  await settle();
  assert.equal(error, "before");
  give(`h.${btoa('{"sub":"ann"}')}.s`);
  const closed = n.relay.close();
  // The digest is not made in virtual time.
  await published;
  await closed;
  assert.equal(n.relays[0]!.of("publish").length, 1);
  for (const { signal } of [stop, go]) assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("options that are none", () => {
  for (const options of [null, "token", 7]) {
    assert.throws(() => connect("https://h:444", options as never), BadRequestError);
  }
});

test("another network while a session moves on behalf of GoAway: it moves on the new one", async (t) => {
  const r = rig(t, (n) => (n === 1 ? new Promise(() => {}) : undefined));
  await r.time.advance(10_000);
  r.links[0]!.events.goAway({ reason: 60, deadline: 10_000, alternatives: [] });
  await r.time.advance(100);
  r.keeper.page("online");
  await r.time.advance(1_000);
  assert.equal(r.keeper.current?.link, r.links[2]);
  assert.deepEqual(r.path(), ["connecting", "connected"], "at no time was there none");
});

test("what a server says before Hello ends the session, and its connection", async (t) => {
  const time = virtualTime(t);
  let closes = 0;
  class Rude {
    binaryType = "";
    protocol = "meridian.v1";
    bufferedAmount = 0;
    onopen!: () => void;
    onmessage!: (e: object) => void;
    onerror: unknown;
    onclose: unknown;
    constructor() {
      queueMicrotask(() => {
        this.onopen();
        this.onmessage({ data: new Uint8Array([0x20, 0, 0]).buffer });
        this.onmessage({ data: new Uint8Array([0x20, 0, 0]).buffer });
      });
    }
    send() {}
    close() {
      closes++;
    }
  }
  const relay = connect("https://h:444", { carriers: ["websocket"], WebSocket: Rude as never });
  t.after(() => relay.close({ timeout: 0 }));
  await time.advance(20);
  assert.equal(closes, 1);
});

for (const state of ["connecting", "connected", "reconnecting", "suspended"]) {
  test("a signal that aborts in the listener of " + state + " leaves nothing behind", async (t) => {
    const stop = new AbortController();
    const n = net(t, (f, r, i) => {
      if (state === "suspended" && i) return;
      oblige(f, r);
    }, { signal: stop.signal });
    const states: string[] = [];
    n.relay.on("state", ({ to }) => {
      states.push(to);
      if (to === state) stop.abort();
    });
    const sub = n.relay.channel("chat:lobby").subscribe();
    sub.subscribed().catch(() => {});
    const published = n.relay.channel("chat:lobby").publish({ text: "hi" });
    published.catch(() => {});
    await n.time.advance(1000);
    n.relays[0]?.end(undefined);
    await n.time.advance(200_000);
    assert.equal(states.at(-1), "closed");
    const before = n.relays.length;
    await n.time.advance(200_000);
    assert.equal(n.relays.length, before);
    assert.equal(states.filter((s) => s === "closed").length, 1);
    await assert.rejects(sub.next(), ClosedError);
  });
}

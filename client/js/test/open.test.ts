import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { BadRequestError, ConnectionError, MeridianError } from "../src/errors.ts";
import { openLink, Winner } from "../src/open.ts";
import type { LinkEvents, OpenOptions } from "../src/open.ts";
import type { WebTransportConstructor, WebTransportLike } from "../src/webtransport.ts";
import { encodeDown, UpReader } from "./codec/relay.ts";
import type { Up } from "./codec/relay.ts";
import { fakeWebSocket } from "./fake-session.ts";
import type { FakeRelay } from "./fake-session.ts";
import { settle, virtualTime } from "./time.ts";

let unhandled = 0;
process.on("unhandledRejection", () => (unhandled++, (process.exitCode = 1)));

const refused = fakeWebSocket(() => false);
const silent = class {} as unknown as WebTransportConstructor;

/** A WebTransport whose relay welcomes once it is let. */
function fakeWebTransport() {
  const made: { url: string; options: object; up: Up[]; ready(): void; closed: object | undefined }[] = [];
  const constructor = class implements WebTransportLike {
    readonly ready: Promise<void>;
    readonly closed = new Promise<undefined>(() => {});
    readonly datagrams = { readable: new ReadableStream<Uint8Array>() };
    readonly incomingUnidirectionalStreams = new ReadableStream<ReadableStream<Uint8Array>>();
    readonly incomingBidirectionalStreams = new ReadableStream();
    readonly #m: (typeof made)[0];
    constructor(url: string, options: object) {
      let ready!: () => void;
      this.ready = new Promise((resolve) => (ready = resolve));
      this.#m = { url, options, up: [], ready, closed: undefined };
      made.push(this.#m);
    }
    async createBidirectionalStream() {
      let down!: ReadableStreamDefaultController<Uint8Array>;
      const up = new UpReader((f) => {
        this.#m.up.push(f);
        if (f.type === "hello") down.enqueue(encodeDown.welcome());
      });
      return {
        readable: new ReadableStream<Uint8Array>({ start: (c) => void (down = c) }),
        writable: new WritableStream<Uint8Array>({ write: (b) => up.push(b) }),
      };
    }
    close(info: object = {}) {
      this.#m.closed = info;
    }
  };
  return { made, constructor: constructor as unknown as WebTransportConstructor };
}

function opening(t: TestContext, o: Partial<OpenOptions> & { lanes?: number } = {}) {
  const log: string[] = [];
  const abort = new AbortController();
  const events: LinkEvents = {
    welcome: (w) => log.push("welcome " + w.edge),
    goAway() {},
    closed: (e) => log.push("closed " + e.code),
  };
  const winner = o.winner ?? new Winner();
  const relays: FakeRelay[] = [];
  const urls: string[] = [];
  const WebSocket = fakeWebSocket((r, url) => (relays.push(r), void urls.push(url)));
  const link = openLink({ url: "https://relay.example", WebSocket, WebTransport: silent, carriers: ["webtransport", "websocket"], signal: abort.signal, winner, ...o }, { token: "secret", agent: "test", ...("lanes" in o ? { lanes: o.lanes } : {}) }, events);
  link.then((l) => t.after(() => l.close(0, "")), () => {});
  return { link, log, abort, winner, relays, urls };
}

test("over WebSocket: its URL, Hello, Welcome", async (t) => {
  for (const [url, webSocketURL, want] of [
    ["https://relay.example:8443", undefined, "wss://relay.example:8443/v1/session"],
    ["http://127.0.0.1:80", undefined, "ws://127.0.0.1/v1/session"],
    ["https://relay.example", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/session"],
    ["https://relay.example", "wss://other.example", "wss://other.example/v1/session"],
  ] as const) {
    const { link, log, relays, urls } = opening(t, { url, webSocketURL, carriers: ["websocket"], lanes: 9 });
    const l = await link;
    assert.equal(l.carrier, "websocket");
    await settle();
    assert.deepEqual(urls, [want]);
    assert.deepEqual(log, ["welcome edge-test"]);
    const [hello] = relays[0]!.of("hello");
    assert.deepEqual([hello!.token, hello!.agent, hello!.lanes], ["secret", "test", 0], "no lanes on one stream");
  }
});

test("over WebTransport: its URL, hashes, lanes; the WebSocket is not tried", async (t) => {
  const wt = fakeWebTransport();
  const hash = "ab".repeat(32);
  const { link, log, relays, winner } = opening(t, { WebTransport: wt.constructor, certHashes: async () => [hash], lanes: 7 });
  while (!wt.made.length) await settle();
  wt.made[0]!.ready();
  const l = await link;
  assert.equal(l.carrier, "webtransport");
  while (!log.length) await new Promise(setImmediate);
  assert.equal(wt.made[0]!.url, "https://relay.example/v1/session");
  assert.deepEqual(wt.made[0]!.options, { serverCertificateHashes: [{ algorithm: "sha-256", value: new Uint8Array(32).fill(0xab) }] });
  assert.deepEqual(wt.made[0]!.up, [{ type: "hello", ref: 0, token: "secret", lanes: 7, agent: "test", versionMin: 0, versionMax: 0, streams: 0 }]);
  assert.equal(relays.length, 0);
  assert.deepEqual(winner.order(["websocket", "webtransport"]), ["webtransport", "websocket"]);
});

test("a WebTransport that does not get ready loses, and is closed without a word to anybody", async (t) => {
  const time = virtualTime(t);
  const wt = fakeWebTransport();
  const { link, log, winner } = opening(t, { WebTransport: wt.constructor });
  await time.advance(600);
  const l = await link;
  assert.equal(l.carrier, "websocket");
  await settle();
  assert.deepEqual(wt.made[0]!.closed, {});
  wt.made[0]!.ready();
  await time.advance(2000);
  assert.deepEqual(log, ["welcome edge-test"]);
  assert.deepEqual(wt.made[0]!.up, [], "Hello only on the winner");
  assert.deepEqual(winner.order(["webtransport", "websocket"]), ["websocket", "webtransport"]);
});

test("of two that get ready at about the same time one is closed", async (t) => {
  const won = new Set<string>();
  for (let turns = 0; turns < 40; turns++) {
    const wt = fakeWebTransport();
    let relay: FakeRelay | undefined;
    const WebSocket = fakeWebSocket(async (r) => {
      for (let i = 0; i < 20; i++) await undefined;
      relay = r;
    });
    const { link, log } = opening(t, { WebTransport: wt.constructor, WebSocket, hurry: true });
    for (let i = 0; i < turns || !wt.made.length; i++) await undefined;
    wt.made[0]!.ready();
    const l = await link;
    for (let i = 0; i < 20; i++) await settle();
    won.add(l.carrier);
    assert.equal(wt.made[0]!.closed === undefined, l.carrier === "webtransport", `${l.carrier} after ${turns} turns`);
    assert.equal(!relay || relay.closed !== undefined, l.carrier === "webtransport", `${l.carrier} after ${turns} turns`);
    assert.equal(l.end, undefined);
    assert.deepEqual(log.filter((e) => e.startsWith("closed")), []);
  }
  assert.equal(won.size, 2, [...won].join());
});

test("nothing to try is a BadRequestError, nothing that connects a ConnectionError", async (t) => {
  const none = opening(t, { WebSocket: undefined as never, carriers: ["webtransport"], url: "http://relay.example" });
  await assert.rejects(none.link, (e) => e instanceof BadRequestError && /hand in a WebSocket/.test(e.message));
  const failed = opening(t, { WebSocket: refused, carriers: ["websocket", "webtransport"] });
  await assert.rejects(failed.link, (e) => {
    assert.ok(e instanceof ConnectionError);
    assert.match(e.message, /^no connection to https:\/\/relay\.example: websocket: .*webtransport: /);
    return true;
  });
  const hashes = opening(t, { WebSocket: refused, certHashes: ["abc"] });
  await assert.rejects(hashes.link, /webtransport: .*32 bytes.*websocket: /);
  const throwing = opening(t, { WebSocket: refused, certHashes: () => { throw new Error("no file"); } });
  await assert.rejects(throwing.link, /webtransport: no file; websocket: /);
  for (const o of [none, failed, hashes, throwing]) assert.deepEqual(o.log, []);
});

test("a session that ends as soon as it stands", async (t) => {
  for (const code of [55, undefined]) {
    const WebSocket = fakeWebSocket((r) => {
      r.behave = () => {};
      queueMicrotask(() => r.end(code, "too many"));
    });
    const { link, log } = opening(t, { WebSocket, carriers: ["websocket"] });
    const outcome = await link.then(async (l) => {
      while (!l.end) await settle();
      await settle();
      assert.equal(log.length, 1);
      return l.end.code;
    }, (e) => (assert.ok(e instanceof MeridianError), e.code));
    assert.equal(outcome, code ?? 62);
  }
});

test("the signal gives up until Welcome, and no longer", async (t) => {
  const time = virtualTime(t);
  const dialling = opening(t, { WebSocket: fakeWebSocket((r) => void (r.behave = () => {})), carriers: ["websocket"] });
  dialling.abort.abort(new Error("enough"));
  await assert.rejects(dialling.link, /enough/);
  const waiting = opening(t, { WebSocket: fakeWebSocket((r) => void (r.behave = () => {})), carriers: ["websocket"] });
  const l = await waiting.link;
  waiting.abort.abort(new Error("enough"));
  await settle();
  assert.deepEqual(waiting.log, ["closed 25"]);
  assert.equal(l.end?.code, 25);
  const slow = opening(t, { WebSocket: fakeWebSocket((r) => void (r.behave = () => {})), carriers: ["websocket"], timeout: 300 });
  await slow.link;
  await time.advance(310);
  assert.deepEqual(slow.log, ["closed 25"]);
  const open = opening(t, { carriers: ["websocket"] });
  await open.link;
  await settle();
  open.abort.abort();
  await time.advance(20_000);
  assert.deepEqual(open.log, ["welcome edge-test"]);
});

test("nothing was left unhandled", async () => {
  await new Promise((r) => setTimeout(r, 0));
  assert.equal(unhandled, 0);
});

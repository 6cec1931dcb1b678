// WebTransport against an object made of real web streams: what browsers do with the network under
// it is the end-to-end tests' affair.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../src/codes.ts";
import { defaultLanes, hashBytes, webTransportDial } from "../src/webtransport.ts";
import type { WebTransportConstructor, WebTransportLike } from "../src/webtransport.ts";
import { notingHandler } from "./handler.ts";
import { settle, virtualTime } from "./time.ts";

let unhandled = 0;
process.on("unhandledRejection", () => (unhandled++, (process.exitCode = 1)));
process.on("uncaughtException", () => (unhandled++, (process.exitCode = 1)));

const never = new AbortController().signal;
const bytes = (...b: number[]) => Uint8Array.from(b);

/** As browsers throw it. */
class WebTransportError extends Error {
  readonly source: string;
  readonly streamErrorCode: number | null;
  constructor(source: string, streamErrorCode: number | null = null) {
    super("the " + source + " failed");
    this.source = source;
    this.streamErrorCode = streamErrorCode;
  }
}

/** The half of a stream that comes down. */
class Down {
  controller!: ReadableStreamDefaultController<Uint8Array>;
  cancelled = false;
  readonly readable = new ReadableStream<Uint8Array>({
    start: (c) => void (this.controller = c),
    cancel: () => void (this.cancelled = true),
  });
}

/** The half that goes up. */
class Up {
  controller!: WritableStreamDefaultController;
  aborted = false;
  readonly got: string[] = [];
  /** Set: a write waits for it. */
  gate: Promise<void> | undefined;
  readonly writable = new WritableStream<Uint8Array>({
    start: (c) => void (this.controller = c),
    write: async (b) => {
      await this.gate;
      this.got.push(Buffer.from(b).toString("hex"));
    },
    abort: () => void (this.aborted = true),
  });
}

class FakeTransport implements WebTransportLike {
  readonly ready: Promise<void>;
  readonly closed: Promise<{ closeCode?: number; reason?: string }>;
  readonly datagrams: WebTransportLike["datagrams"];
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  readonly incomingBidirectionalStreams: WebTransportLike["incomingBidirectionalStreams"];
  setReady!: () => void;
  fail!: (e: unknown) => void;
  setClosed!: (info: { closeCode?: number; reason?: string }) => void;
  break!: (e: unknown) => void;
  uni!: ReadableStreamDefaultController<ReadableStream<Uint8Array>>;
  bidi!: ReadableStreamDefaultController<{ readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> }>;
  datagram!: ReadableStreamDefaultController<Uint8Array>;
  readonly down = new Down();
  readonly up = new Up();
  closedWith: object | undefined;
  refuseStream: unknown;

  constructor() {
    this.ready = new Promise((resolve, reject) => ([this.setReady, this.fail] = [resolve, reject]));
    this.closed = new Promise((resolve, reject) => ([this.setClosed, this.break] = [resolve, reject]));
    this.incomingUnidirectionalStreams = new ReadableStream({ start: (c) => void (this.uni = c) });
    this.incomingBidirectionalStreams = new ReadableStream({ start: (c) => void (this.bidi = c) });
    this.datagrams = { readable: new ReadableStream({ start: (c) => void (this.datagram = c) }), incomingHighWaterMark: 1 };
  }

  async createBidirectionalStream() {
    if (this.refuseStream) throw this.refuseStream;
    return { readable: this.down.readable, writable: this.up.writable };
  }

  close(info: { closeCode?: number; reason?: string } = {}): void {
    this.closedWith = info;
    this.end(() => this.setClosed(info));
  }

  /** The session ends as in a browser: every stream breaks, then closed tells. */
  end(tell: () => void): void {
    const e = new WebTransportError("session");
    for (const c of [this.down.controller, this.up.controller, this.uni, this.bidi, this.datagram]) c.error(e);
    tell();
  }
}

/** A constructor that makes this one; notes what it was given. */
function constructorOf(transport: FakeTransport, given: unknown[] = []): WebTransportConstructor {
  return class {
    constructor(...args: unknown[]) {
      given.push(...args);
      return transport;
    }
  } as unknown as WebTransportConstructor;
}

async function opened() {
  const transport = new FakeTransport();
  const handler = notingHandler();
  transport.setReady();
  const session = await webTransportDial(constructorOf(transport), async () => [])("https://x", handler, never);
  return { transport, handler, session };
}

/** Web streams take some turns. */
const turns = () => new Promise<void>((r) => setImmediate(r)).then(settle);

test("bytes both ways, streams and datagrams", async () => {
  const { transport: t, handler, session } = await opened();
  assert.equal(session.carrier, "webtransport");
  session.write(bytes(1, 2));
  session.write(bytes(3));
  t.down.controller.enqueue(bytes(4));
  t.down.controller.enqueue(bytes(5));
  await turns();
  const [a, b] = [new Down(), new Down()];
  t.uni.enqueue(a.readable);
  t.uni.enqueue(b.readable);
  b.controller.enqueue(bytes(6));
  await turns();
  a.controller.enqueue(bytes(7));
  a.controller.close();
  await turns();
  b.controller.error(new WebTransportError("stream", 56));
  t.datagram.enqueue(bytes(8));
  await turns();
  assert.deepEqual(t.up.got, ["0102", "03"]);
  assert.deepEqual(handler.log.filter((e) => e !== "drained"), ["data 0: 0405", "data 2: 06", "data 1: 07", "ended 1 undefined", "datagram 08", "ended 2 56"]);
  assert.equal(t.datagrams.incomingHighWaterMark, 256);
});

test("a stream that nobody reads holds up no other", async () => {
  const { transport: t, handler } = await opened();
  for (let i = 0; i < 50; i++) t.uni.enqueue(new Down().readable);
  const last = new Down();
  t.uni.enqueue(last.readable);
  last.controller.enqueue(bytes(1));
  await turns();
  assert.deepEqual(handler.log, ["data 51: 01"]);
});

test("bidirectional streams of the relay are refused", async () => {
  const { transport: t, handler } = await opened();
  const [down, up] = [new Down(), new Up()];
  t.bidi.enqueue({ readable: down.readable, writable: up.writable });
  down.controller.enqueue(bytes(1));
  await turns();
  assert.ok(down.cancelled && up.aborted);
  assert.deepEqual(handler.log, []);
});

test("the end of the request stream: FIN, every code of a reset and of a stop, told once", async () => {
  const fin = await opened();
  fin.transport.down.controller.close();
  await turns();
  assert.deepEqual(fin.handler.log, ["ended 0 undefined"]);
  for (const code of [...Object.values(Code), 1, 999]) {
    if (!code) continue; // below
    const reset = await opened();
    reset.transport.down.controller.error(new WebTransportError("stream", code));
    await turns();
    assert.deepEqual(reset.handler.log, ["ended 0 " + code]);
    const stop = await opened();
    stop.transport.up.controller.error(new WebTransportError("stream", code));
    stop.session.write(bytes(1));
    await turns();
    stop.transport.down.controller.close();
    await turns();
    assert.equal(stop.handler.log.filter((e) => e !== "drained").join(), "ended 0 " + code);
  }
});

test("every code of a close, from the relay and from here", async () => {
  for (const code of [...Object.values(Code), 1, 998, 999]) {
    const a = await opened();
    a.transport.end(() => a.transport.setClosed({ closeCode: code, reason: "why" }));
    await turns();
    assert.deepEqual(a.handler.log, [`closed ${code} why`], "streams that break with the session say nothing");
    const b = await opened();
    b.session.close(code, "€".repeat(50));
    b.session.close(10, "again");
    b.session.write(bytes(1));
    assert.deepEqual(b.handler.log, [], "never from inside");
    b.transport.down.controller.error(new Error("late"));
    await turns();
    assert.deepEqual(b.transport.closedWith, { closeCode: code, reason: "€".repeat(41) });
    assert.deepEqual(b.handler.log, [`closed ${code} ${"€".repeat(50)}`]);
    assert.deepEqual(b.transport.up.got, []);
  }
});

test("a close with a foreign code or none, and an end without one", async () => {
  for (const info of [{ closeCode: 1000 }, { closeCode: 0x52e4a40f }, {}, undefined as never]) {
    const { transport, handler } = await opened();
    transport.end(() => transport.setClosed(info));
    await turns();
    assert.deepEqual(handler.log, ["closed undefined "]);
  }
  const { transport, handler } = await opened();
  transport.end(() => transport.break(new WebTransportError("session")));
  await turns();
  assert.deepEqual(handler.log, ["closed undefined Error: the session failed"]);
});

test("streams that break before the session ends say nothing, as Firefox has it; without its end they end", async (t) => {
  const time = virtualTime(t);
  for (const half of ["down", "up"] as const) {
    for (const e of [new WebTransportError("stream", 0), new WebTransportError("session"), new WebTransportError("session", 0), new WebTransportError("session", 7), new Error("?"), undefined, null, "text"]) {
      const before = await opened();
      before.transport[half].controller.error(e);
      await turns();
      before.transport.end(() => before.transport.setClosed({ closeCode: 21, reason: "why" }));
      await turns();
      await time.advance(2000);
      assert.deepEqual(before.handler.log, ["closed 21 why"], "the session speaks for itself");
      const alone = await opened();
      alone.transport[half].controller.error(e);
      await turns();
      await time.advance(990);
      assert.deepEqual(alone.handler.log, []);
      await time.advance(20);
      assert.deepEqual(alone.handler.log, ["ended 0 0"]);
    }
  }
});

test("what the carrier has not taken is counted", async () => {
  const { transport, handler, session } = await opened();
  let open!: () => void;
  transport.up.gate = new Promise((r) => (open = r));
  session.write(new Uint8Array(10));
  session.write(new Uint8Array(5));
  assert.equal(session.buffered, 15);
  await turns();
  assert.equal(session.buffered, 15);
  assert.deepEqual(handler.log, []);
  open();
  await turns();
  assert.equal(session.buffered, 0);
  assert.deepEqual(handler.log, ["drained"]);
});

test("what cannot be opened is closed, and rejects", async () => {
  const cases: Record<string, (f: FakeTransport, abort: AbortController) => void> = {
    "the handshake fails": (f) => (f.fail(new Error("the handshake fails")), f.break(new Error("?"))),
    "it closes": (f) => f.setClosed({ closeCode: 55, reason: "it closes" }),
    "it breaks": (f) => f.break(new Error("it breaks")),
    "no stream": (f) => ((f.refuseStream = new Error("no stream")), f.setReady()),
    "given up": (_, abort) => abort.abort(new Error("given up")),
  };
  for (const [name, act] of Object.entries(cases)) {
    const transport = new FakeTransport();
    const handler = notingHandler();
    const abort = new AbortController();
    const dialled = webTransportDial(constructorOf(transport), async () => [])("https://x", handler, abort.signal);
    const failed = assert.rejects(dialled, new RegExp(name));
    await settle();
    act(transport, abort);
    await failed;
    transport.fail(new Error("late"));
    await turns();
    assert.deepEqual(transport.closedWith, {}, name);
    assert.deepEqual(handler.log, []);
  }
  const given: unknown[] = [];
  const dial = webTransportDial(constructorOf(new FakeTransport(), given), async () => []);
  await assert.rejects(dial("https://x", notingHandler(), AbortSignal.abort(new Error("before"))), /before/);
  const throwing = webTransportDial(class { constructor() { throw new SyntaxError("bad URL"); } } as unknown as WebTransportConstructor, async () => []);
  await assert.rejects(throwing("nonsense", notingHandler(), never), /bad URL/);
  const hashless = webTransportDial(constructorOf(new FakeTransport(), given), () => Promise.reject(new Error("no hashes")));
  await assert.rejects(hashless("https://x", notingHandler(), never), /no hashes/);
  assert.deepEqual(given, [], "nothing was constructed");
});

test("hashes of certificates go to the constructor", async () => {
  const given: unknown[] = [];
  const transport = new FakeTransport();
  transport.setReady();
  await webTransportDial(constructorOf(transport, given), async () => [hashBytes("00ff".repeat(16))])("https://x", notingHandler(), never);
  assert.deepEqual(given, ["https://x", { serverCertificateHashes: [{ algorithm: "sha-256", value: Uint8Array.from(Array(32).keys(), (i) => (i % 2 ? 255 : 0)) }] }]);
  const plain: unknown[] = [];
  const other = new FakeTransport();
  other.setReady();
  await webTransportDial(constructorOf(other, plain), async () => [])("https://x", notingHandler(), never);
  assert.deepEqual(plain, ["https://x", {}]);
});

test("a hash is 32 bytes, or their digits, with colons or without", () => {
  const want = Uint8Array.from(Array(32).keys());
  const hex = Buffer.from(want).toString("hex");
  const wide = new Uint8Array(40);
  wide.set(want, 4);
  for (const h of [hex, hex.toUpperCase(), hex.match(/../g)!.join(":"), want, want.buffer, wide.subarray(4, 36), new DataView(wide.buffer, 4, 32)]) {
    assert.deepEqual(hashBytes(h), want);
  }
  for (const h of ["", "abc", hex + "00", hex.slice(2), "zz".repeat(32), new Uint8Array(31)]) {
    assert.throws(() => hashBytes(h), /32 bytes/);
  }
});

test("lanes where the browser delivers what comes on them", () => {
  const chromium = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";
  const safari = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.5 Safari/605.1.15";
  const firefox = (v: number) => `Mozilla/5.0 (X11; Linux x86_64; rv:${v}.0) Gecko/20100101 Firefox/${v}.0`;
  const onPhone = "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0 Mobile/15E148 Safari/604.1";
  assert.deepEqual([chromium, chromium.replace("Chrome", "HeadlessChrome"), safari, onPhone, "", "Node.js/22"].map(defaultLanes), [96, 96, 0, 0, 0, 0]);
  assert.deepEqual([114, 152, 153, 159, 160, 200].map((v) => defaultLanes(firefox(v))), [0, 0, 96, 96, 96, 96]);
});

test("nothing was left unhandled", async () => {
  await new Promise((r) => setTimeout(r, 0));
  assert.equal(unhandled, 0);
});

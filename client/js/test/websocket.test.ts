import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { WebSocket as WsClient, WebSocketServer } from "ws";
import type { WebSocket as WsConnection } from "ws";
import { Code } from "../src/codes.ts";
import type { Session } from "../src/session.ts";
import { clip } from "../src/closing.ts";
import { webSocketDial } from "../src/websocket.ts";
import type { WebSocketConstructor } from "../src/websocket.ts";
import { notingHandler } from "./handler.ts";
import { settle, virtualTime } from "./time.ts";

let unhandled = 0;
process.on("unhandledRejection", () => (unhandled++, (process.exitCode = 1)));
process.on("uncaughtException", () => (unhandled++, (process.exitCode = 1)));

const never = new AbortController().signal;
const bytes = (...b: number[]) => Uint8Array.from(b);

/** The WebSocket of each platform that can be had here. */
const platforms: [string, WebSocketConstructor][] = [
  ["node's", globalThis.WebSocket],
  ["ws", WsClient],
];

interface Pair {
  session: Session;
  handler: ReturnType<typeof notingHandler>;
  far: WsConnection;
  /** What came up: binary messages as hex, texts in quotes. */
  up: string[];
}

async function server(t: TestContext, protocol = "meridian.v1") {
  const wss = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols: () => protocol });
  await once(wss, "listening");
  t.after(() => {
    for (const c of wss.clients) c.terminate();
    wss.close();
  });
  return { wss, url: `ws://127.0.0.1:${(wss.address() as AddressInfo).port}/v1/session` };
}

async function pair(t: TestContext, WebSocket: WebSocketConstructor, s?: Awaited<ReturnType<typeof server>>): Promise<Pair> {
  const { wss, url } = s ?? (await server(t));
  const handler = notingHandler();
  const accepted = once(wss, "connection");
  const session = await webSocketDial(WebSocket)(url, handler, never);
  const far = (await accepted)[0] as WsConnection;
  const up: string[] = [];
  far.on("message", (data, binary) => up.push(binary ? (data as Buffer).toString("hex") : `"${data}"`));
  far.on("error", () => {});
  return { session, handler, far, up };
}

for (const [name, WebSocket] of platforms) {
  test(`${name}: bytes both ways, in order`, async (t) => {
    const { session, handler, far, up } = await pair(t, WebSocket);
    assert.equal(session.carrier, "websocket");
    session.write(bytes(1, 2));
    session.write(bytes(3));
    far.send(bytes(4, 5));
    far.send(bytes());
    far.send(bytes(6, 7, 8));
    await handler.heard("data 0: 0405060708");
    assert.deepEqual(handler.log, ["data 0: 0405060708"]);
    while (up.length < 2) await once(far, "message");
    assert.deepEqual(up, ["0102", "03"]);
  });

  test(`${name}: texts end the stream`, async (t) => {
    for (const [text, want] of [["", "ended 0 undefined"], ["reset 0", "ended 0 0"], ["reset 56", "ended 0 56"], ["stop 999", "ended 0 999"]] as const) {
      const { session, handler, far } = await pair(t, WebSocket);
      far.send(bytes(1));
      far.send(text);
      await handler.heard("ended");
      assert.deepEqual(handler.log, ["data 0: 01", want]);
      session.close(0, "");
      await once(far, "close");
    }
  });

  test(`${name}: any other text, and bytes or FIN behind FIN, end the session with protocol`, async (t) => {
    for (const texts of [["x"], ["reset"], ["reset 1000"], ["reset -1"], ["reset  1"], ["reset 1 "], ["RESET 1"], ["stop x"], ["\0"], ["reset 1\n"], ["", ""], ["reset 1", ""], ["", bytes(1)]]) {
      const { handler, far } = await pair(t, WebSocket);
      for (const text of texts) far.send(text);
      const [code] = await once(far, "close");
      assert.equal(code, 4010, JSON.stringify(texts));
      await handler.heard("closed");
      assert.match(handler.log.at(-1)!, /^closed 10 /, JSON.stringify(texts));
      assert.equal(handler.log.length, texts.length, JSON.stringify(texts));
    }
  });

  test(`${name}: text that is not UTF-8 ends the session`, async (t) => {
    const { handler, far } = await pair(t, WebSocket);
    // Past ws, which would not send it: one unmasked text frame.
    (far as unknown as { _socket: import("node:net").Socket })._socket.write(bytes(0x81, 2, 0xff, 0xfe));
    await handler.heard("closed undefined");
  });

  test(`${name}: every code of a close, from the relay and from here`, async (t) => {
    const s = await server(t);
    for (const code of [...Object.values(Code), 1, 998, 999]) {
      const a = await pair(t, WebSocket, s);
      a.far.close(4000 + code, "why");
      await a.handler.heard("closed");
      assert.deepEqual(a.handler.log, [`closed ${code} why`]);
      const b = await pair(t, WebSocket, s);
      b.session.close(code, "why");
      assert.deepEqual(b.handler.log, [], "never from inside");
      const [far, reason] = await once(b.far, "close");
      assert.deepEqual([far, String(reason)], [4000 + code, "why"]);
      assert.deepEqual(b.handler.log, [`closed ${code} why`]);
    }
    for (const [status, code] of [[1000, 0], [1002, 10], [1001, undefined], [1008, undefined], [1009, undefined], [1011, undefined], [3999, undefined]] as const) {
      const { handler, far } = await pair(t, WebSocket, s);
      far.close(status);
      await handler.heard("closed");
      assert.match(handler.log[0]!, new RegExp(`^closed ${code} `));
    }
  });

  test(`${name}: a connection that breaks`, async (t) => {
    const { session, handler, far } = await pair(t, WebSocket);
    far.terminate();
    await handler.heard("closed undefined");
    session.write(bytes(1));
    session.close(10, "late");
    await settle();
    assert.equal(handler.log.length, 1);
  });

  test(`${name}: closed once, and nothing after it`, async (t) => {
    const { session, handler, far } = await pair(t, WebSocket);
    far.send(bytes(1));
    far.send("");
    session.close(61, "x".repeat(121) + "é€");
    session.close(10, "again");
    session.write(bytes(9));
    const [code, reason] = await once(far, "close");
    assert.deepEqual([code, String(reason)], [4061, "x".repeat(121) + "é"]);
    assert.equal(handler.log.length, 1);
  });

  test(`${name}: what does not leave is counted, until it has left`, async (t) => {
    const { session, handler, far } = await pair(t, WebSocket);
    far.pause();
    const chunk = new Uint8Array(1 << 20);
    for (let i = 0; i < 20; i++) session.write(chunk.slice());
    assert.ok(session.buffered > 1 << 20, `${session.buffered} bytes`);
    assert.deepEqual(handler.log, []);
    far.resume();
    await handler.heard("drained");
    assert.equal(session.buffered, 0);
    assert.deepEqual(handler.log, ["drained"]);
  });

  test(`${name}: what cannot be opened`, async (t) => {
    const dial = webSocketDial(WebSocket);
    const unheard = notingHandler();
    const other = await server(t, "other");
    await assert.rejects(dial(other.url, unheard, never), /protocol/i);
    const http = createServer((_, res) => res.writeHead(403).end()).listen(0, "127.0.0.1");
    await once(http, "listening");
    const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/v1/session`;
    await assert.rejects(dial(url, unheard, never), (e) => e instanceof Error && e.message.length > 10);
    http.closeAllConnections();
    http.close();
    await once(http, "close");
    await assert.rejects(dial(url, unheard, never), (e) => e instanceof Error && e.message.length > 10);
    await assert.rejects(dial("nonsense", unheard, never));
    // One that never answers.
    const silent = createServer().on("upgrade", () => {}).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const abort = new AbortController();
    const upgraded = once(silent, "upgrade");
    const waiting = dial(`ws://127.0.0.1:${(silent.address() as AddressInfo).port}/`, unheard, abort.signal);
    const [, socket] = await upgraded;
    const gone = once(socket, "end");
    socket.on("error", () => {}).resume();
    abort.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await gone;
    socket.destroy();
    silent.close();
    await assert.rejects(dial(url, unheard, AbortSignal.abort(new Error("before"))), /before/);
    assert.deepEqual(unheard.log, []);
  });
}

test("drained is looked for only while much waits, and not for ever", async (t) => {
  const time = virtualTime(t);
  const ws = { binaryType: "", protocol: "meridian.v1", bufferedAmount: 0, send() {}, close() {}, onopen: () => {}, onmessage: null, onerror: null, onclose: (_: object) => {} };
  const handler = notingHandler();
  const dialled = webSocketDial(class { constructor() { return ws; } } as unknown as WebSocketConstructor)("ws://x", handler, never);
  ws.onopen();
  const session = await dialled;
  ws.bufferedAmount = 60_000;
  session.write(bytes(1));
  await time.advance(100);
  ws.bufferedAmount = 70_000;
  session.write(bytes(1));
  session.write(bytes(1));
  await time.advance(100);
  assert.deepEqual(handler.log, []);
  ws.bufferedAmount = 0;
  await time.advance(100);
  assert.deepEqual(handler.log, ["drained"]);
  ws.bufferedAmount = 70_000;
  session.write(bytes(1));
  ws.onclose({ code: 1006, reason: "" });
  ws.bufferedAmount = 0;
  await time.advance(100);
  assert.deepEqual(handler.log, ["drained", "closed undefined "]);
});

test("a server that takes no subprotocol is no relay: browsers leave that to us", async () => {
  let closed = 0;
  const ws = { binaryType: "", protocol: "", onopen: () => {}, close: () => closed++ };
  const dialled = webSocketDial(class { constructor() { return ws; } } as unknown as WebSocketConstructor)("ws://x", notingHandler(), never);
  ws.onopen();
  await assert.rejects(dialled, /subprotocol "", not "meridian.v1"/);
  assert.equal(closed, 1);
});

test("a reason is cut to 123 bytes, not within a character", () => {
  for (const [reason, want] of [["", ""], ["x".repeat(123), "x".repeat(123)], ["x".repeat(124), "x".repeat(123)], ["€".repeat(50), "€".repeat(41)], ["x" + "😀".repeat(40), "x" + "😀".repeat(30)]] as const) {
    assert.equal(clip(reason), want);
  }
});

test("nothing was left unhandled", async () => {
  await new Promise((r) => setTimeout(r, 0));
  assert.equal(unhandled, 0);
});

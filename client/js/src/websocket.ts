// Sessions over WebSocket: one stream, which is the bytes of the binary messages; text messages
// speak about its halves.
import type { Dial, Session, SessionHandler } from "./session.ts";

/** What is needed of a WebSocket: the browser's, Node's own, or that of the package ws. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly protocol: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: unknown;
  onmessage: unknown;
  onerror: unknown;
  onclose: unknown;
}

export type WebSocketConstructor = new (url: string, protocols: string) => WebSocketLike;

const subprotocol = "meridian.v1";
const protocolCode = 10;

// No event says that bytes have left: beyond so many the socket is asked again and again.
const watchFrom = 65_536;
const watchEvery = 10; // ms

// After an error comes the close; in Node not always.
const closeWithin = 1000; // ms

/** Returns a Dial that uses the constructor. */
export function webSocketDial(WebSocket: WebSocketConstructor): Dial {
  return (url, handler, signal) =>
    new Promise((resolve, reject) => {
      const ws = new WebSocket(url, subprotocol);
      ws.binaryType = "arraybuffer";
      const giveUp = () => {
        reject(signal.reason);
        ws.close();
      };
      const settle = () => signal.removeEventListener("abort", giveUp);
      ws.onopen = () => {
        settle();
        if (ws.protocol === subprotocol) return resolve(sessionOn(ws, handler));
        ws.close();
        reject(new Error(`the server speaks subprotocol "${ws.protocol}", not "${subprotocol}"`));
      };
      // Browsers do not say why, and Node does not always close after an error.
      ws.onerror = ws.onclose = (e: { message?: string; reason?: string }) => {
        settle();
        reject(new Error(e.message || e.reason || "it did not open: is the relay there, its certificate trusted, this page's origin on its list?"));
      };
      if (signal.aborted) giveUp();
      else signal.addEventListener("abort", giveUp);
    });
}

function sessionOn(ws: WebSocketLike, handler: SessionHandler): Session {
  let over = false;
  let ended = false; // the relay's half
  let watching = false;

  const finish = (code: number | undefined, reason: string) => {
    if (over) return;
    over = true;
    handler.closed(code, reason);
  };
  const close = (code: number, reason: string) => {
    if (over) return;
    over = true;
    try {
      ws.close(4000 + code, clip(reason));
    } catch {
      // It was over already.
    }
    // The answer of a peer that is gone would be waited for in vain.
    queueMicrotask(() => handler.closed(code, reason));
  };
  const watch = () => {
    if (over) return;
    watching = ws.bufferedAmount > 0;
    if (watching) setTimeout(watch, watchEvery);
    else handler.drained();
  };

  ws.onmessage = ({ data }: { data: ArrayBuffer | string }) => {
    if (over) return;
    if (typeof data !== "string") {
      if (ended) close(protocolCode, "bytes after the end of the stream");
      else if (data.byteLength) handler.data(0, new Uint8Array(data));
      return;
    }
    const [, verb, code] = /^(?:(reset|stop) (\d{1,3}))?$/.exec(data) ?? [, "bad"];
    if (verb === "bad" || (ended && verb !== "stop")) return close(protocolCode, "a text message that is out of place");
    if (ended) return;
    ended = verb !== "stop";
    handler.ended(0, code === undefined ? undefined : +code);
  };
  ws.onerror = (e: { message?: string }) => setTimeout(finish, closeWithin, undefined, e.message ?? "");
  ws.onclose = ({ code, reason }: { code: number; reason: string }) =>
    finish(code >= 4000 && code < 5000 ? code - 4000 : code === 1000 ? 0 : code === 1002 ? protocolCode : undefined, reason);

  return {
    carrier: "websocket",
    write(bytes) {
      if (over) return;
      ws.send(bytes as Uint8Array<ArrayBuffer>);
      if (!watching && ws.bufferedAmount > watchFrom) {
        watching = true;
        setTimeout(watch, watchEvery);
      }
    },
    get buffered() {
      return ws.bufferedAmount;
    },
    close,
  };
}

/** Shortens a reason to the 123 bytes of UTF-8 that a close carries. */
export function clip(reason: string): string {
  const bytes = new TextEncoder().encode(reason);
  if (bytes.length <= 123) return reason;
  let n = 123;
  while ((bytes[n]! & 0xc0) === 0x80) n--;
  return new TextDecoder().decode(bytes.subarray(0, n));
}

// Sessions over WebSocket: one stream, which is the bytes of the binary messages; text messages
// speak about its halves.
import { closing, unlessAborted } from "./closing.ts";
import { Code } from "./codes.ts";
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

// No event says that bytes have left: beyond so many the socket is asked again and again.
const watchFrom = 65_536;
const watchEvery = 10; // ms

// After an error comes the close; in Node not always.
const closeWithin = 1000; // ms

/** Returns a Dial that uses the constructor. */
export function webSocketDial(WebSocket: WebSocketConstructor): Dial {
  return async (url, handler, signal) => {
    signal.throwIfAborted();
    const ws = new WebSocket(url, subprotocol);
    ws.binaryType = "arraybuffer";
    const opened = new Promise<Session>((resolve, reject) => {
      ws.onopen = () => {
        if (ws.protocol === subprotocol) resolve(sessionOn(ws, handler));
        else reject(new Error(`subprotocol "${ws.protocol}", not "${subprotocol}"`));
      };
      // Browsers do not say why, and Node does not always close after an error.
      ws.onerror = ws.onclose = (e: { message?: string; reason?: string }) =>
        reject(new Error(e.message || e.reason || "it did not open: no relay, certificate not trusted, or origin refused"));
    });
    return unlessAborted(signal, opened, () => ws.close());
  };
}

function sessionOn(ws: WebSocketLike, handler: SessionHandler): Session {
  const c = closing(handler, (code, reason) => ws.close(4000 + code, reason));
  let ended = false; // the relay's half
  let watching = false;

  const watch = () => {
    if (c.over) return;
    watching = ws.bufferedAmount > 0;
    if (watching) setTimeout(watch, watchEvery);
    else handler.drained();
  };

  ws.onmessage = ({ data }: { data: ArrayBuffer | string }) => {
    if (c.over) return;
    const text = typeof data === "string" ? /^(?:(reset|stop) (\d{1,3}))?$/.exec(data) : undefined;
    const stop = text?.[1] === "stop";
    if (text === null || (ended && !stop)) c.close(Code.protocol, "malformed order");
    else if (!text) handler.data(0, new Uint8Array(data as ArrayBuffer));
    else if (!ended) {
      ended = !stop;
      handler.ended(0, text[2] ? +text[2] : undefined);
    }
  };
  ws.onerror = (e: { message?: string }) => setTimeout(c.ended, closeWithin, undefined, e.message ?? "");
  ws.onclose = ({ code, reason }: { code: number; reason: string }) =>
    c.ended(code >= 4000 && code < 5000 ? code - 4000 : code === 1000 ? 0 : code === 1002 ? Code.protocol : undefined, reason);

  return {
    carrier: "websocket",
    write(bytes) {
      if (c.over) return;
      ws.send(bytes as Uint8Array<ArrayBuffer>);
      if (!watching && ws.bufferedAmount > watchFrom) {
        watching = true;
        setTimeout(watch, watchEvery);
      }
    },
    get buffered() {
      return ws.bufferedAmount;
    },
    close: c.close,
  };
}

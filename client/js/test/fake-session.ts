// A relay in memory: the far side of one session, and the session that leads to it. Tests script
// it frame by frame, or leave it obliging.
import { newLink } from "../src/requests.ts";
import type { Hello, Link, LinkEvents } from "../src/requests.ts";
import type { Position } from "../src/position.ts";
import type { Carrier, Session, SessionHandler } from "../src/session.ts";
import type { WebSocketConstructor, WebSocketLike } from "../src/websocket.ts";
import { encodeDown, UpReader } from "./codec/relay.ts";
import type { Up } from "./codec/relay.ts";

/** What to do about a frame that came up. */
export type Behaviour = (f: Up, relay: FakeRelay) => void;

/** The far side of one session. What it sends arrives in a later microtask, in order. */
export class FakeRelay {
  readonly carrier: Carrier;
  /** Every frame that came up. */
  readonly up: Up[] = [];
  /** How the client closed the session; undefined: it did not. */
  closed: { code: number; reason: string } | undefined;
  /** Called for each frame that comes up. */
  behave: Behaviour;
  /** The bytes that came up in each write. */
  readonly writes: Uint8Array[] = [];
  readonly session: Session;
  /** Who hears what is sent; set by who made the session. */
  handler: SessionHandler | undefined;
  /** Positions of publishes, by channel. */
  readonly heads = new Map<string, Position>();
  #over = false;
  #stalled = 0;
  #stall = false;
  readonly #reader = new UpReader((f) => {
    this.up.push(f);
    this.behave(f, this);
  });

  constructor(behave: Behaviour = oblige, carrier: Carrier = "webtransport") {
    this.behave = behave;
    this.carrier = carrier;
    const relay = this;
    this.session = {
      carrier,
      write(bytes) {
        if (relay.#over) return;
        relay.writes.push(bytes);
        if (relay.#stall) relay.#stalled += bytes.length;
        queueMicrotask(() => relay.#over || relay.#reader.push(bytes));
      },
      get buffered() {
        return relay.#stalled;
      },
      close(code, reason) {
        if (relay.#over) return;
        relay.#over = true;
        relay.closed = { code, reason };
        queueMicrotask(() => relay.handler?.closed(code, reason));
      },
    };
  }

  /** A link on this session, which has said Hello. */
  link(events: Partial<LinkEvents> = {}, hello: Partial<Hello> = {}): Link {
    const { link, handler, start } = newLink({ welcome() {}, goAway() {}, closed() {}, ...events });
    this.handler = handler;
    start(this.session, { token: "token", agent: "test", lanes: 8, ...hello }, 10_000, new AbortController().signal);
    return link;
  }

  /** Sends bytes on a stream: 0 is that of the requests. */
  send(bytes: Uint8Array, stream = 0): void {
    this.#later((h) => h.data(stream, bytes));
  }

  /** Ends a stream; with a code: resets it. */
  finish(stream = 0, reset?: number): void {
    this.#later((h) => h.ended(stream, reset));
  }

  datagram(bytes: Uint8Array): void {
    this.#later((h) => h.datagram(bytes));
  }

  /** Ends the session; code undefined: it just breaks. */
  end(code: number | undefined, reason = ""): void {
    this.#later((h) => {
      this.#over = true;
      h.closed(code, reason);
    });
  }

  /** The carrier takes no more bytes, until `take`. */
  stall(): void {
    this.#stall = true;
  }

  /** The carrier takes everything that waits. */
  take(): void {
    this.#stall = false;
    this.#stalled = 0;
    this.#later((h) => h.drained());
  }

  /** The frames of a type that came up. */
  of<T extends Up["type"]>(type: T): Extract<Up, { type: T }>[] {
    return this.up.filter((f): f is Extract<Up, { type: T }> => f.type === type);
  }

  #later(fn: (h: SessionHandler) => void): void {
    queueMicrotask(() => this.#over || (this.handler && fn(this.handler)));
  }
}

/**
 * Answers everything with success: publishes stand at 1:1, 1:2, … of their channel, subscriptions
 * begin at its head and are sent nothing. Cancel is answered.
 */
export function oblige(f: Up, relay: FakeRelay): void {
  const head = (channel: string) => relay.heads.get(channel) ?? { epoch: 1, seq: 0 };
  switch (f.type) {
    case "hello":
      return relay.send(encodeDown.welcome());
    case "publish": {
      const { epoch, seq } = head(f.publication.channel);
      const at = { epoch, seq: seq + 1 };
      relay.heads.set(f.publication.channel, at);
      return relay.send(encodeDown.ok(f.ref, at));
    }
    case "subscribe": {
      const at = head(f.request.channel);
      return relay.send(encodeDown.ok(f.ref, at, at));
    }
    case "cancel":
      return relay.send(encodeDown.end(f.ref, { code: 61 }));
    case "refresh":
      return relay.send(encodeDown.ok(f.ref, undefined, undefined, 60_000));
    case "ping":
      return relay.send(encodeDown.pong(f.ref));
  }
}

/**
 * A WebSocket constructor for `connect`, with no network under it: `accept` is called for each
 * session, in a later microtask, and may return false to refuse it, or a promise. The relay's `send` takes
 * stream 0 only.
 */
export function fakeWebSocket(accept: (relay: FakeRelay, url: string) => boolean | void | Promise<boolean | void>): WebSocketConstructor {
  return class implements WebSocketLike {
    binaryType = "";
    protocol = "";
    onopen: unknown;
    onmessage: unknown;
    onerror: unknown;
    onclose: unknown;
    readonly #relay = new FakeRelay(oblige, "websocket");
    #state: "connecting" | "open" | "over" = "connecting";

    constructor(url: string, protocol: string) {
      this.#relay.handler = {
        data: (_, bytes) => this.#tell(this.onmessage, { data: bytes.slice().buffer }),
        ended: (_, code) => this.#tell(this.onmessage, { data: code === undefined ? "" : "reset " + code }),
        datagram() {},
        drained() {},
        closed: (code, reason) => this.#end(code === undefined ? 1006 : 4000 + code, reason),
      };
      queueMicrotask(async () => {
        const accepted = this.#state === "connecting" && (await accept(this.#relay, url));
        if (this.#state !== "connecting") return;
        if (accepted === false) {
          this.#tell(this.onerror, {});
          return this.#end(1006, "");
        }
        this.#state = "open";
        this.protocol = protocol;
        this.#tell(this.onopen, {});
      });
    }

    get bufferedAmount(): number {
      return this.#relay.session.buffered;
    }

    send(bytes: Uint8Array): void {
      if (this.#state === "connecting") throw new Error("InvalidStateError: not open yet");
      this.#relay.session.write(bytes.slice());
    }

    close(code = 4000, reason = ""): void {
      if (this.#state === "connecting") this.#end(1006, "");
      this.#relay.session.close(code - 4000, reason);
    }

    #end(code: number, reason: string): void {
      if (this.#state === "over") return;
      this.#state = "over";
      queueMicrotask(() => this.#tell(this.onclose, { code, reason }));
    }

    #tell(listener: unknown, event: object): void {
      (listener as ((event: object) => void) | undefined)?.(event);
    }
  };
}

import type { Position } from "./position.ts";

/** What carries a session. */
export type Carrier = "webtransport" | "websocket";

/**
 * One connection on some carrier, with the request stream open: bytes up, bytes down. It knows
 * nothing of frames. Everything that arrives is pushed to the handler at once; credit, not the
 * reader, bounds what arrives.
 */
export interface Session {
  readonly carrier: Carrier;
  /**
   * Sends bytes on the request stream, in order; the buffer belongs to the session from then on.
   * Never throws: after the end they are dropped.
   */
  write(bytes: Uint8Array): void;
  /** Bytes written that the carrier has not taken yet. */
  readonly buffered: number;
  /** Ends the session; `handler.closed` follows, with the same code unless the other side was first. */
  close(code: number, reason: string): void;
}

/** Who is told what arrives on a session. Calls never come from inside a call of the session, and none after closed. */
export interface SessionHandler {
  /** Bytes of a stream: 0 is the request stream, others are the ones that the relay opened. The handler may keep them. */
  data(stream: number, bytes: Uint8Array): void;
  /** The stream ended by FIN, or by a reset with a code. */
  ended(stream: number, reset: number | undefined): void;
  datagram(bytes: Uint8Array): void;
  /** `buffered` has come down to 0. */
  drained(): void;
  /** The session is over, once. code: the relay's (0 to 999), or undefined if the carrier just broke. */
  closed(code: number | undefined, reason: string): void;
}

/** Opens a session; rejects with what the carrier says. `signal` gives up. The handler is called only after it resolved. */
export type Dial = (url: string, handler: SessionHandler, signal: AbortSignal) => Promise<Session>;

/** What ended a request: code 0 is done. */
export interface End {
  readonly code: number;
  /** Milliseconds to wait before repeating; 0: the code's own rule. */
  readonly retryAfter: number;
  /** Milliseconds that the subscription is still served: an announcement. 0: over. */
  readonly deadline: number;
  readonly detail: string;
  /** Other edges, of a session's end. */
  readonly alternatives: readonly string[];
  /** The last message sent of a subscription; undefined: none. */
  readonly last: Position | undefined;
}

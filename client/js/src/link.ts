import type { Position } from "./position.ts";
import type { Carrier, End } from "./session.ts";

/** What a relay said of itself and of its limits. */
export interface Welcome {
  readonly session: string;
  readonly edge: string;
  readonly region: string;
  readonly limits: {
    /** Bytes of one message's payload; 0: not said. */
    readonly payload: number;
    /** Bytes of publishes without an answer, 128 added for each; 0: not said. */
    readonly unanswered: number;
    readonly subscriptions: number;
    readonly streams: number;
  };
  /** Milliseconds from now; 0: never. */
  readonly tokenExpires: number;
}

/** One publish as it travels. */
export interface Publication {
  readonly channel: string;
  /** 16 bytes. */
  readonly producer: Uint8Array;
  readonly n: number;
  /** Milliseconds since the first attempt. */
  readonly age: number;
  readonly void: boolean;
  /** An encoded message; empty when void. */
  readonly body: Uint8Array;
}

/** Where a subscription begins, as on the wire. */
export type WireStart =
  | { readonly kind: "live" }
  | { readonly kind: "first" }
  | { readonly kind: "after"; readonly position: Position }
  | { readonly kind: "last"; readonly count: number }
  | { readonly kind: "since"; readonly ms: number };

export interface SubscribeRequest {
  readonly channel: string;
  readonly from: WireStart;
  readonly latest: boolean;
  /** Messages; 0: endless. */
  readonly limit: number;
  readonly barrier: boolean;
  readonly own: boolean;
  readonly datagram: boolean;
  /** Bytes to begin with. */
  readonly credit: number;
}

export type GapReason = "trimmed" | "compacted" | "epoch";

/**
 * Takes what comes for one subscription, in order. Calls come from the session's reader and must
 * not throw. After `end` with deadline 0 nothing more comes.
 */
export interface SubscriptionSink {
  ok(at: Position, head: Position): void;
  /** body is an encoded message that the sink may keep; it shares its buffer with others. It took body.length of credit unless `free`. */
  message(epoch: number, seq: number, body: Uint8Array, free: boolean): void;
  gap(after: Position, next: Position, reason: GapReason): void;
  status(state: "lost" | "restored"): void;
  end(end: End): void;
}

/** A subscription on one link. */
export interface LinkSubscription {
  /** Grants so many bytes more. Cheap: grants of one turn leave together. */
  grant(bytes: number): void;
  /** Ends it without a further call of the sink. */
  close(): void;
}

/** What the client's parts need of a session that has said Hello: `Link` in open.ts is the real one. */
export interface LinkLike {
  readonly carrier: Carrier;
  /** Undefined until the relay has answered Hello. */
  readonly welcome: Welcome | undefined;
  /** Why the link ended; undefined while it lives. */
  readonly end: End | undefined;
  /**
   * Sends a publish; `answer` is called once, never from inside: with the position, or with the
   * end. False: too much waits; nothing was sent, try again after `onRoom`.
   */
  publish(p: Publication, answer: (at: Position | undefined, end: End | undefined) => void): boolean;
  /** Called when publish may take something again after it returned false. One at a time. */
  onRoom: (() => void) | undefined;
  /** The sink's first call is ok, or end for a refusal; never from inside. */
  subscribe(r: SubscribeRequest, sink: SubscriptionSink): LinkSubscription;
  /** Resolves with the milliseconds until the new token expires, 0: never. */
  refresh(token: string): Promise<number>;
  /** Resolves with the round trip in milliseconds. */
  ping(): Promise<number>;
  /** Ends the session with a code of the protocol. Every open request gets its end: publishes `unknown`, subscriptions `link_lost`. */
  close(code: number, reason: string): void;
}

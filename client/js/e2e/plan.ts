// What a test tells a page to do, and what the page reports.
import type { Position } from "../src/position.ts";

export interface Plan {
  readonly url: string;
  /** Where tokens come from: a URL of the test's own server. */
  readonly token: string;
  /** Of connect. */
  readonly options: Record<string, unknown>;
  readonly subs: readonly {
    readonly channel: string;
    /** Milliseconds that the consumer awaits after each message; absent: none; never: it takes none. */
    readonly pause?: number | "never";
    readonly options?: Record<string, unknown>;
  }[];
}

export interface GapLog {
  readonly after: Position;
  readonly next: Position;
  readonly reason: string;
  readonly reset: boolean;
}

/** Epoch, seq, the number in the payload, and when it was taken on the page's steady clock in ms. */
export type Got = readonly [epoch: number, seq: number, n: number, at: number];

export interface SubLog {
  readonly channel: string;
  readonly got: Got[];
  readonly gaps: GapLog[];
  /** Of the way to the home. */
  readonly status: string[];
  /** How often it stood. */
  subscribed: number;
  /** Undefined while it goes on. */
  ended: string | undefined;
}

export interface StateLog {
  readonly from: string;
  readonly to: string;
  readonly reason: string | undefined;
  readonly edge: string | undefined;
  readonly carrier: string | undefined;
  readonly at: number;
}

export interface Report {
  readonly states: StateLog[];
  readonly subs: SubLog[];
  /** Publishes that were acknowledged: epoch, seq, text. */
  readonly acks: [epoch: number, seq: number, text: string][];
  readonly refusals: [text: string, why: string][];
  /** Uncaught errors and unhandled rejections. */
  readonly errors: string[];
  /** How often the page came back from the back-forward cache. */
  visits: number;
}

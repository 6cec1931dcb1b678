// The frames of the protocol: those that go up are written here, those that come down are read.

import { ProtocolViolation } from "./codes.ts";
import type { GapReason, Publication, SubscribeRequest, Welcome } from "./link.ts";
import { zero } from "./position.ts";
import type { Position } from "./position.ts";
import type { End } from "./session.ts";
import { splitter } from "./splitter.ts";
import type { Splitter } from "./splitter.ts";
import { Cursor, exact, malformed, MAX, Writer } from "./varint.ts";
import type { Value } from "./varint.ts";

export { ProtocolViolation, Writer };

const starts = ["live", "after", "last", "since", "first"];
const reasons: readonly GapReason[] = ["trimmed", "compacted", "epoch"];

/** What numbers from the relay are held to: durations to a day, as timers take no more than 2^31 ms; codes; measures. */
const bounds: Record<string, number> = { d: 86_400_000, c: 999, m: MAX };

/** Writes a frame: its fields from 1 on; what is 0 or empty is left out. */
function frame(w: Writer, type: number, ref: number, ...values: Value[]): void {
  w.varint(type);
  w.varint(ref);
  w.sized(() => w.fields(values));
}

/** lanes: streams of their own that the client takes; 0: none. */
export function appendHello(w: Writer, h: { token: string; lanes: number; agent: string }): void {
  frame(w, 2, 0, 0, 0, 0, h.token, h.lanes, h.agent);
}

export function appendPublish(w: Writer, ref: number, p: Publication): void {
  frame(w, 4, ref, p.channel, p.producer, p.n, p.age, +p.void, 0, p.body);
}

export function appendSubscribe(w: Writer, ref: number, r: SubscribeRequest): void {
  const { kind, position = zero, count = 0, ms = 0 } = r.from as { kind: string; position?: Position; count?: number; ms?: number };
  frame(
    w, 6, ref, r.channel, starts.indexOf(kind), position.epoch, position.seq, count, ms,
    +r.latest, r.limit, +r.barrier, +r.own, +r.datagram, r.credit,
  );
}

export function appendCredit(w: Writer, ref: number, bytes: number): void {
  frame(w, 8, ref, bytes);
}

export function appendCancel(w: Writer, ref: number): void {
  frame(w, 10, ref);
}

export function appendRefresh(w: Writer, ref: number, token: string): void {
  frame(w, 12, ref, token);
}

export function appendPing(w: Writer, ref: number): void {
  frame(w, 14, ref);
}

/** Takes the frames of a stream, in order. What a call throws, `push` throws. */
export interface FrameSink {
  welcome(w: Welcome): void;
  /** tokenExpires: of a Refresh, in milliseconds, at most a day; 0: never, or not one. */
  ok(ref: number, at: Position, head: Position, tokenExpires: number): void;
  /** ref 0: the session's. */
  end(ref: number, end: End): void;
  /** body is an encoded message, and a view of bytes that were pushed. */
  message(ref: number, epoch: number, seq: number, body: Uint8Array): void;
  gap(ref: number, after: Position, next: Position, reason: GapReason): void;
  status(ref: number, state: "lost" | "restored"): void;
  pong(ref: number): void;
  /** deadline: milliseconds from now, at most a day. */
  goAway(g: { reason: number; deadline: number; alternatives: readonly string[] }): void;
}

/** Of each frame that comes down: its longest body in bytes, and how it is given to the sink. */
const frames: Record<number, readonly [longest: number, give: (sink: FrameSink, ref: number, c: Cursor) => void]> = {
  0x20: [8192, (sink, _, c) => {
    const [session, edge, region, [payload, unanswered, subscriptions, streams], , , tokenExpires] = fields(c, "tttw--d");
    sink.welcome({ session, edge, region, limits: { payload, unanswered, subscriptions, streams }, tokenExpires });
  }],
  0x22: [256, (sink, ref, c) => {
    const v = fields(c, "ppppd");
    sink.ok(ref, position(v, 0), position(v, 2), v[4]);
  }],
  0x24: [8192, (sink, ref, c) => {
    const v = fields(c, "cddthpp");
    const [code, retryAfter, deadline, detail, [, alternatives], epoch, seq] = v;
    sink.end(ref, { code, retryAfter, deadline, detail, alternatives, last: epoch || seq ? position(v, 5) : undefined });
  }],
  0x26: [1053984, (sink, ref, c) => sink.message(ref, exact(c.number()), exact(c.number()), message(c))],
  0x28: [256, (sink, ref, c) => {
    const v = fields(c, "ppppm");
    sink.gap(ref, position(v, 0), position(v, 2), reasons[v[4] - 1] ?? "trimmed");
  }],
  0x2b: [64, (sink, ref, c) => {
    const [state] = fields(c, "m");
    if (state === 1 || state === 2) sink.status(ref, state === 1 ? "lost" : "restored");
  }],
  0x2c: [64, (sink, ref) => sink.pong(ref)],
  0x2f: [8192, (sink, _, c) => {
    const [reason, deadline, alternatives] = fields(c, "cdl");
    sink.goAway({ reason, deadline, alternatives });
  }],
};

/**
 * Reads the frames of one stream that comes down. `push` and `finish` throw ProtocolViolation,
 * with the code that the session ends with.
 */
export function frameReader(sink: FrameSink): Splitter {
  return splitter(
    (type) => {
      // The frames that only go up.
      if (type > 0 && type < 15 && type % 2 === 0) malformed();
      return frames[type]?.[0];
    },
    (type, ref, c) => {
      // Welcome and GoAway are of the session, End may be, others are of a request.
      if (type !== 0x24 && (type === 0x20 || type === 0x2f) === ref > 0) malformed();
      frames[type]![1](sink, ref, c);
    },
  );
}

/** Reads a message's structure to its end; its bytes. */
function message(c: Cursor): Uint8Array {
  const body = c.bytes.subarray(c.at, c.end);
  while (c.next()) if (c.tag === 26) for (const entry = c.inner(); entry.next(); );
  return body;
}

/** The bodies in others: Limits of Welcome, Hint of End. */
const inner: Record<string, string> = { w: "mmmm", h: "tl" };

/**
 * Reads the fields of a body, from 1 on, as `kinds` says: t text, l list of text, p part of a
 * position, w and h a body in it, - nothing that is used; a number that `bounds` has is held to it.
 */
function fields(c: Cursor, kinds: string, v: any[] = empty(kinds)): any[] {
  while (c.next()) {
    const i = (c.tag >>> 3) - 1;
    const kind = kinds[i] ?? "-";
    if (c.tag % 8 === ("tlwh".includes(kind) ? 2 : 0)) {
      if (kind === "t") v[i] = c.text();
      else if (kind === "l") v[i].push(c.text());
      else if (inner[kind]) fields(c.inner(), inner[kind], v[i]);
      else v[i] = Math.min(c.value, bounds[kind] ?? Infinity);
    }
  }
  return v;
}

function empty(kinds: string): any[] {
  return Array.from(kinds, (kind) => (kind === "t" ? "" : kind === "l" ? [] : inner[kind] ? empty(inner[kind]) : 0));
}

/** Of a field that stands twice, the last holds, so that they are looked at when all are read. */
function position(v: readonly number[], at: number): Position {
  return { epoch: exact(v[at]!), seq: exact(v[at + 1]!) };
}

/** Reads a datagram; undefined: it does not parse, and is to be dropped. body is a view of it. */
export function decodeDatagram(
  bytes: Uint8Array,
): { ref: number; epoch: number; seq: number; body: Uint8Array } | undefined {
  try {
    const c = new Cursor(bytes);
    return { ref: exact(c.number()), epoch: exact(c.number()), seq: exact(c.number()), body: message(c) };
  } catch {
    return undefined;
  }
}

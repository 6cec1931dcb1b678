// The frames of the protocol: those that go up are written here, those that come down are read.

import { ProtocolViolation } from "./codes.ts";
import type { GapReason, Publication, SubscribeRequest, Welcome } from "./link.ts";
import type { Position } from "./position.ts";
import type { End } from "./session.ts";
import { Splitter } from "./splitter.ts";
import { Cursor, MAX, Writer, malformed } from "./varint.ts";

export { ProtocolViolation, Writer };

const starts = ["live", "after", "last", "since", "first"];
const reasons: readonly GapReason[] = ["trimmed", "compacted", "epoch"];

/** Durations from the relay are bounded to a day: timers take no more than 2^31 ms. */
const day = 86_400_000;

function frame(w: Writer, type: number, ref: number, fill: (w: Writer) => void = () => {}): void {
  w.varint(type);
  w.varint(ref);
  w.sized(fill);
}

/** lanes: streams of their own that the client takes; 0: none. */
export function appendHello(w: Writer, h: { token: string; lanes: number; agent: string }): void {
  frame(w, 2, 0, () => {
    w.data(4, h.token);
    w.number(5, h.lanes);
    w.data(6, h.agent);
  });
}

export function appendPublish(w: Writer, ref: number, p: Publication): void {
  frame(w, 4, ref, () => {
    w.data(1, p.channel);
    w.data(2, p.producer);
    w.number(3, p.n);
    w.number(4, p.age);
    w.number(5, p.void);
    w.data(7, p.body);
  });
}

export function appendSubscribe(w: Writer, ref: number, r: SubscribeRequest): void {
  const { from } = r;
  frame(w, 6, ref, () => {
    w.data(1, r.channel);
    w.number(2, starts.indexOf(from.kind));
    if (from.kind === "after") {
      w.number(3, from.position.epoch);
      w.number(4, from.position.seq);
    }
    if (from.kind === "last") w.number(5, from.count);
    if (from.kind === "since") w.number(6, from.ms);
    w.number(7, r.latest);
    w.number(8, r.limit);
    w.number(9, r.barrier);
    w.number(10, r.own);
    w.number(11, r.datagram);
    w.number(12, r.credit);
  });
}

export function appendCredit(w: Writer, ref: number, bytes: number): void {
  frame(w, 8, ref, () => w.number(1, bytes));
}

export function appendCancel(w: Writer, ref: number): void {
  frame(w, 10, ref);
}

export function appendRefresh(w: Writer, ref: number, token: string): void {
  frame(w, 12, ref, () => w.data(1, token));
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

/** Longest body of each frame that comes down, in bytes. Throws for those that only go up. */
function longest(type: number): number | undefined {
  if (type > 0 && type < 15 && type % 2 === 0) malformed(`stream: frame ${type} goes up`);
  return bounds[type];
}

const bounds: Record<number, number> = {
  0x20: 8192, 0x22: 256, 0x24: 8192, 0x26: 1053984, 0x28: 256, 0x2b: 64, 0x2c: 64, 0x2f: 8192,
};

/**
 * Reads the frames of one stream that comes down. `push` and `finish` throw ProtocolViolation,
 * with the code that the session ends with.
 */
export class FrameReader extends Splitter {
  constructor(sink: FrameSink) {
    super(longest, (type, ref, body) => read(sink, type, ref, body));
  }
}

function read(sink: FrameSink, type: number, ref: number, c: Cursor): void {
  const ofSession = type === 0x20 || type === 0x2f;
  if (type !== 0x24 && ofSession === ref > 0) malformed(`ref ${ref} of frame ${type}`);
  if (type === 0x26) {
    const epoch = c.name();
    const seq = c.name();
    const from = c.at;
    check(c);
    sink.message(ref, epoch, seq, c.bytes.subarray(from, c.end));
  } else if (type === 0x2c) {
    sink.pong(ref);
  } else if (type === 0x20) {
    const [session, edge, region, [payload, unanswered, subscriptions, streams], , , tokenExpires] = fields(c, "tttw--d");
    sink.welcome({ session, edge, region, limits: { payload, unanswered, subscriptions, streams }, tokenExpires });
  } else if (type === 0x22) {
    const v = fields(c, "ppppd");
    sink.ok(ref, position(v), position(v, 2), v[4]);
  } else if (type === 0x24) {
    const v = fields(c, "cddthpp");
    const [code, retryAfter, deadline, detail, [, alternatives], epoch, seq] = v;
    sink.end(ref, { code, retryAfter, deadline, detail, alternatives, last: epoch || seq ? position(v, 5) : undefined });
  } else if (type === 0x28) {
    const v = fields(c, "ppppu");
    sink.gap(ref, position(v), position(v, 2), reasons[v[4] - 1] ?? "trimmed");
  } else if (type === 0x2b) {
    const [state] = fields(c, "u");
    if (state === 1 || state === 2) sink.status(ref, state === 1 ? "lost" : "restored");
  } else {
    const [reason, deadline, alternatives] = fields(c, "cdl");
    sink.goAway({ reason, deadline, alternatives });
  }
}

/** Reads a message's structure to its end. */
function check(c: Cursor): void {
  while (c.next()) if (c.tag === 26) for (const entry = c.inner(); entry.next(); );
}

/** The bodies in others: Limits of Welcome, Hint of End. */
const inner: Record<string, string> = { w: "mmuu", h: "tl" };

/**
 * Reads the fields of a body, from 1 on, as `kinds` says: t text, l list of text, p part of a
 * position, d duration, c code, u 32 bits, m measure (held below 2^53), w and h a body in it, any
 * other: not read.
 */
function fields(c: Cursor, kinds: string, v: any[] = empty(kinds)): any[] {
  while (c.next()) {
    const i = (c.tag >>> 3) - 1;
    const kind = kinds[i] ?? "-";
    if (c.tag % 8 === ("tlwh".includes(kind) ? 2 : 0)) {
      if (kind === "t") v[i] = c.text();
      else if (kind === "l") v[i].push(c.text());
      else if (inner[kind]) fields(c.inner(), inner[kind], v[i]);
      else if (kind === "c") v[i] = Math.min(c.low >>> 0, 999);
      else if (kind === "u") v[i] = c.low >>> 0;
      else v[i] = Math.min(c.value, kind === "d" ? day : kind === "m" ? MAX : Infinity);
    }
  }
  // Of a field that stands twice, the last holds.
  if (v.some((n, i) => kinds[i] === "p" && n > MAX)) malformed("position");
  return v;
}

function empty(kinds: string): any[] {
  return Array.from(kinds, (kind) => (kind === "t" ? "" : kind === "l" ? [] : inner[kind] ? empty(inner[kind]) : 0));
}

function position(v: readonly number[], at = 0): Position {
  return { epoch: v[at]!, seq: v[at + 1]! };
}

/** Reads a datagram; undefined: it does not parse, and is to be dropped. body is a view of it. */
export function decodeDatagram(
  bytes: Uint8Array,
): { ref: number; epoch: number; seq: number; body: Uint8Array } | undefined {
  try {
    const c = new Cursor(bytes);
    const ref = c.name();
    const epoch = c.name();
    const seq = c.name();
    const body = bytes.subarray(c.at);
    check(c);
    return { ref, epoch, seq, body };
  } catch {
    return undefined;
  }
}

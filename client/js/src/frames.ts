// The frames of the protocol: those that go up are written here, those that come down are read.

import { ProtocolViolation } from "./codes.ts";
import type { GapReason, Publication, SubscribeRequest, Welcome } from "./link.ts";
import type { Position } from "./position.ts";
import type { End } from "./session.ts";
import { Splitter } from "./splitter.ts";
import { Cursor, MAX, Writer } from "./varint.ts";

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
  if (type === 0x26) return 1053984;
  if (type === 0x20 || type === 0x24 || type === 0x2f) return 8192;
  if (type === 0x22 || type === 0x28) return 256;
  if (type === 0x2b || type === 0x2c) return 64;
  if (type > 0 && type < 15 && type % 2 === 0) throw new ProtocolViolation(`frame of type ${type}, which only goes up`);
  return undefined;
}

/** Reads the frames of one stream that comes down. */
export class FrameReader {
  readonly #splitter: Splitter;

  constructor(sink: FrameSink) {
    this.#splitter = new Splitter(longest, (type, ref, body) => read(sink, type, ref, body));
  }

  /** Takes the next piece of the stream, which must not be changed afterwards. Throws ProtocolViolation with the code that the session ends with. */
  push(chunk: Uint8Array): void {
    this.#splitter.push(chunk);
  }

  /** The stream has ended. Throws if it did so within a frame. */
  finish(): void {
    this.#splitter.finish();
  }
}

function read(sink: FrameSink, type: number, ref: number, c: Cursor): void {
  const ofSession = type === 0x20 || type === 0x2f;
  if (type !== 0x24 && ofSession === ref > 0) throw new ProtocolViolation(`frame of type ${type} with ref ${ref}`);
  switch (type) {
    case 0x26: {
      const epoch = c.name();
      const seq = c.name();
      const from = c.at;
      check(c);
      return sink.message(ref, epoch, seq, c.bytes.subarray(from, c.end));
    }
    case 0x20:
      return sink.welcome(readWelcome(c));
    case 0x22: {
      const v = numbers(c, 4);
      return sink.ok(ref, { epoch: v[1]!, seq: v[2]! }, { epoch: v[3]!, seq: v[4]! }, Math.min(v[5]!, day));
    }
    case 0x24:
      return sink.end(ref, readEnd(c));
    case 0x28: {
      const v = numbers(c, 4, true);
      return sink.gap(ref, { epoch: v[1]!, seq: v[2]! }, { epoch: v[3]!, seq: v[4]! }, reasons[v[5]! - 1] ?? "trimmed");
    }
    case 0x2b: {
      const state = numbers(c, 0, true)[1];
      if (state === 1 || state === 2) sink.status(ref, state === 1 ? "lost" : "restored");
      return;
    }
    case 0x2c:
      return sink.pong(ref);
    case 0x2f:
      return sink.goAway(readGoAway(c));
  }
}

/** Reads a message's structure to its end. */
function check(c: Cursor): void {
  while (c.next()) if (c.tag === 26) for (const entry = c.inner(); entry.next(); );
}

/** The varint fields 1 to 5 of a body, by number. The first few name something; the others may be enums, of 32 bits. */
function numbers(c: Cursor, names: number, enums?: boolean): number[] {
  const v = [0, 0, 0, 0, 0, 0];
  while (c.next()) {
    const field = c.tag / 8;
    if (field < 6 && c.tag % 8 === 0) v[field] = enums && field > names ? c.low : c.value;
  }
  for (let i = 1; i <= names; i++) if (v[i]! > MAX) throw new ProtocolViolation("position not below 2^53");
  return v;
}

function readWelcome(c: Cursor): Welcome {
  let session = "";
  let edge = "";
  let region = "";
  let tokenExpires = 0;
  const limits = { payload: 0, unanswered: 0, subscriptions: 0, streams: 0 };
  while (c.next()) {
    if (c.tag === 10) session = c.text();
    if (c.tag === 18) edge = c.text();
    if (c.tag === 26) region = c.text();
    if (c.tag === 34) {
      for (const l = c.inner(); l.next(); ) {
        if (l.tag === 8) limits.payload = Math.min(l.value, MAX);
        if (l.tag === 16) limits.unanswered = Math.min(l.value, MAX);
        if (l.tag === 24) limits.subscriptions = l.low >>> 0;
        if (l.tag === 32) limits.streams = l.low >>> 0;
      }
    }
    if (c.tag === 56) tokenExpires = Math.min(c.value, day);
  }
  return { session, edge, region, limits, tokenExpires };
}

function readEnd(c: Cursor): End {
  let code = 0;
  let retryAfter = 0;
  let deadline = 0;
  let detail = "";
  let epoch = 0;
  let seq = 0;
  const alternatives: string[] = [];
  while (c.next()) {
    if (c.tag === 8) code = Math.min(c.low >>> 0, 999);
    if (c.tag === 16) retryAfter = Math.min(c.value, day);
    if (c.tag === 24) deadline = Math.min(c.value, day);
    if (c.tag === 34) detail = c.text();
    if (c.tag === 42) {
      for (const h = c.inner(); h.next(); ) {
        if (h.tag === 10) h.text();
        if (h.tag === 18) alternatives.push(h.text());
      }
    }
    if (c.tag === 48) epoch = c.value;
    if (c.tag === 56) seq = c.value;
  }
  if (epoch > MAX || seq > MAX) throw new ProtocolViolation("position not below 2^53");
  return { code, retryAfter, deadline, detail, alternatives, last: epoch || seq ? { epoch, seq } : undefined };
}

function readGoAway(c: Cursor): { reason: number; deadline: number; alternatives: readonly string[] } {
  let reason = 0;
  let deadline = 0;
  const alternatives: string[] = [];
  while (c.next()) {
    if (c.tag === 8) reason = Math.min(c.low >>> 0, 999);
    if (c.tag === 16) deadline = Math.min(c.value, day);
    if (c.tag === 26) alternatives.push(c.text());
  }
  return { reason, deadline, alternatives };
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
